//! Which cluster, and as which user: as kubectl decides it.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, anyhow};
use kube::{
    Config,
    config::{AuthInfo, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use secrecy::{ExposeSecret, SecretString};

use super::{duration::duration, flags_given};
use crate::{
    client::{Connection, within},
    cluster::probe,
    index::SharedIndex,
    model::{ApiAudiences, ServiceAccountRef},
    token::claims::parse_token,
};

/// Our user agent in the audit log of an API server.
const USER_AGENT: &str = concat!("token-exposure/", env!("CARGO_PKG_VERSION"));
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After how long without a byte a connection counts as dead; watches have a shorter limit of their own.
const READ_TIMEOUT: Duration = Duration::from_secs(90);

/// What stands for no limit.
const NO_LIMIT: Duration = Duration::from_hours(24 * 365);

/// Which cluster, and as which user.
#[derive(Debug, clap::Args)]
pub(super) struct ClusterArgs {
    /// The kubeconfig file [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The user to act as
    #[arg(long = "as", value_name = "USER")]
    impersonate: Option<String>,
    /// A group to act as; repeatable
    #[arg(long = "as-group", value_name = "GROUP", requires = "impersonate")]
    impersonate_groups: Vec<String>,
    /// How long the API server may take to answer one request, for example 2m; 0 is no limit
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    request_timeout: Duration,
}

/// A connection to a cluster.
pub(super) struct Cluster {
    pub(super) connection: Connection,
    config: Config,
    /// How long the API server may take to answer one request.
    pub(super) timeout: Duration,
    /// The namespace of the context.
    pub(super) namespace: String,
    /// Our own bearer token, if we have one.
    own_token: Option<String>,
}

impl ClusterArgs {
    /// The flags that say which cluster, and as which user.
    pub(super) fn given(&self) -> impl Iterator<Item = &'static str> + use<> {
        flags_given([
            (self.kubeconfig.is_some(), "--kubeconfig"),
            (self.context.is_some(), "--context"),
            (self.impersonate.is_some(), "--as"),
        ])
    }

    /// Connects as the flags say, else with the pod's own token when run in a pod, else as kubectl does.
    ///
    /// Where there is no kubeconfig, the error says what to do, and which input there is `otherwise`.
    pub(super) async fn connect(&self, otherwise: &str) -> anyhow::Result<Cluster> {
        let mut config = self.config(otherwise).await?;
        config.disable_compression = true;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        config.reset_reader_on_write = true;
        let name = http::HeaderValue::from_static(USER_AGENT);
        config.headers.push((http::header::USER_AGENT, name));
        if let Some(user) = &self.impersonate {
            config.auth_info.impersonate = Some(user.clone());
            config.auth_info.impersonate_groups = Some(self.impersonate_groups.clone());
        }
        let own_token = own_token(&config);
        let namespace = config.default_namespace.clone();
        let connection = connection(config.clone())?;
        let timeout = match self.request_timeout {
            Duration::ZERO => NO_LIMIT,
            limit => limit,
        };
        Ok(Cluster {
            connection,
            config,
            timeout,
            namespace,
            own_token,
        })
    }

    async fn config(&self, otherwise: &str) -> anyhow::Result<Config> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        if let Some(path) = &self.kubeconfig {
            let place = || format!("kubeconfig {} (of --kubeconfig)", path.display());
            let kubeconfig = Kubeconfig::read_from(path).map_err(plain);
            let config = Config::from_custom_kubeconfig(kubeconfig.with_context(place)?, &options);
            return config.await.map_err(plain).with_context(place);
        }
        let unsaid = self.context.is_none() && std::env::var_os("KUBECONFIG").is_none();
        if let Some(config) = unsaid.then(Config::incluster).and_then(Result::ok) {
            return Ok(config);
        }
        Config::from_kubeconfig(&options)
            .await
            .map_err(plain)
            .with_context(|| match std::env::var("KUBECONFIG") {
                Ok(paths) => format!("kubeconfig {paths} (of $KUBECONFIG)"),
                Err(_) => format!("kubeconfig ~/.kube/config: give --kubeconfig{otherwise}"),
            })
    }
}

/// The error in one line, whose text has the cause already, and file names in two kinds of quotes.
#[allow(clippy::needless_pass_by_value, reason = "as `map_err` wants it")]
fn plain(error: KubeconfigError) -> anyhow::Error {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let bare = first.replace("'\"", "").replace("\"'", "");
    anyhow!(bare.replace(": error: line ", ": line "))
}

fn connection(config: Config) -> anyhow::Result<Connection> {
    Connection::new(config).context("the kubeconfig cannot be used")
}

fn own_token(config: &Config) -> Option<String> {
    let auth = &config.auth_info;
    let from_file = || std::fs::read_to_string(auth.token_file.as_ref()?).ok();
    let token = auth
        .token
        .as_ref()
        .map(|token| token.expose_secret().to_owned())
        .or_else(from_file)?;
    Some(token.trim().to_owned())
}

impl Cluster {
    /// The URL of the API server.
    pub(super) fn server(&self) -> String {
        self.config.cluster_url.to_string()
    }

    /// The account of our own token, if it is one of a ServiceAccount and we act as nobody else.
    pub(super) fn own_account(&self) -> Option<ServiceAccountRef> {
        let token = self.own_token.as_deref()?;
        let acts_as_another = self.config.auth_info.impersonate.is_some();
        let claims = parse_token(token).ok().filter(|_| !acts_as_another)?;
        Some(claims.account)
    }

    /// A client that sends this token and no other credential.
    pub(super) fn connection_with(&self, token: &str) -> anyhow::Result<Connection> {
        let mut config = self.config.clone();
        config.auth_info = AuthInfo {
            token: Some(SecretString::from(token)),
            ..AuthInfo::default()
        };
        connection(config)
    }

    /// Finds out what kind of cluster it is, and notes it in the index; `audiences` are those that the
    /// user names. Returns a warning where it could not. Where a request `was_denied`, an authorizer decides.
    pub(super) async fn learn(
        &self,
        index: &SharedIndex,
        audiences: Option<ApiAudiences>,
        was_denied: bool,
    ) -> Option<String> {
        let client = &self.connection.client;
        let audiences = if let Some(audiences) = audiences {
            audiences
        } else {
            let learned = probe::api_audiences(client, self.own_token.as_deref());
            let learned = tokio::time::timeout(self.timeout, learned).await;
            learned.unwrap_or_default()
        };
        tracing::debug!(names = ?audiences.names, complete = audiences.complete, "API audiences");
        index.write().set_audiences(audiences);
        if was_denied {
            return None;
        }
        match within(self.timeout, probe::rbac_enforced(client)).await {
            Ok(enforced) => {
                index.write().set_rbac_enforced(enforced);
                None
            }
            Err(cause) => Some(format!(
                "cannot check whether RBAC is enforced; assuming that it is: {cause}: grant `create` on \
                 `subjectaccessreviews` (apiGroup authorization.k8s.io)"
            )),
        }
    }
}

/// The audiences that the user names, by flags or else in the configuration: a complete list.
pub(super) fn given(flags: &[String], config: &[String]) -> Option<ApiAudiences> {
    let names = if flags.is_empty() { config } else { flags };
    (!names.is_empty()).then(|| ApiAudiences {
        names: names.iter().cloned().collect(),
        complete: true,
    })
}
