//! Which cluster, and as which user: as kubectl decides it.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use kube::{
    Client, Config,
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    cluster::{explain, probe},
    index::SharedIndex,
    model::ApiAudiences,
};

/// Our user agent in the audit log of an API server.
const USER_AGENT: &str = concat!("token-exposure/", env!("CARGO_PKG_VERSION"));
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the API server may be silent: its latency objective for a list of a large cluster is 30 s.
const READ_TIMEOUT: Duration = Duration::from_secs(90);

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
}

/// A connection to a cluster.
pub(super) struct Cluster {
    pub(super) client: Client,
    config: Config,
    /// The namespace of the context.
    pub(super) namespace: String,
    /// Our own bearer token, if we have one.
    own_token: Option<String>,
}

impl ClusterArgs {
    /// Connects as the flags say, else with the pod's own token when run in a pod, else as kubectl does.
    pub(super) async fn connect(&self) -> anyhow::Result<Cluster> {
        let mut config = self.config().await?;
        config.disable_compression = true;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // Against a silent API server; watches have a shorter limit.
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
        let client = Client::try_from(config.clone()).context("the kubeconfig cannot be used")?;
        Ok(Cluster {
            client,
            config,
            namespace,
            own_token,
        })
    }

    async fn config(&self) -> anyhow::Result<Config> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        if let Some(path) = &self.kubeconfig {
            let place = || format!("kubeconfig {} (of --kubeconfig)", path.display());
            let kubeconfig = Kubeconfig::read_from(path).with_context(place)?;
            return Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .with_context(place);
        }
        let unsaid = self.context.is_none() && std::env::var_os("KUBECONFIG").is_none();
        if let Some(config) = unsaid.then(Config::incluster).and_then(Result::ok) {
            return Ok(config);
        }
        Config::from_kubeconfig(&options)
            .await
            .with_context(|| match std::env::var("KUBECONFIG") {
                Ok(paths) => format!("kubeconfig {paths} (of $KUBECONFIG)"),
                Err(_) => "kubeconfig ~/.kube/config: give --kubeconfig, or paths of files to scan"
                    .to_owned(),
            })
    }
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

    /// A client that sends this token and no other credential.
    pub(super) fn client_with(&self, token: &str) -> anyhow::Result<Client> {
        let mut config = self.config.clone();
        config.auth_info = AuthInfo {
            token: Some(SecretString::from(token)),
            ..AuthInfo::default()
        };
        Client::try_from(config).context("the kubeconfig cannot be used")
    }

    /// Finds out what kind of cluster it is, and notes it in the index; `audiences` are those that the
    /// user names.
    pub(super) async fn learn(&self, index: &SharedIndex, audiences: Option<ApiAudiences>) {
        let audiences = match audiences {
            Some(audiences) => audiences,
            None => probe::api_audiences(&self.client, self.own_token.as_deref()).await,
        };
        tracing::debug!(names = ?audiences.names, complete = audiences.complete, "API audiences");
        index.write().set_audiences(audiences);
        match probe::rbac_enforced(&self.client).await {
            Ok(enforced) => index.write().set_rbac_enforced(enforced),
            Err(error) => tracing::warn!(
                cause = explain(&error),
                fix = "grant `create` on `subjectaccessreviews` (apiGroup authorization.k8s.io)",
                "cannot check whether RBAC is enforced; assuming that it is"
            ),
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
