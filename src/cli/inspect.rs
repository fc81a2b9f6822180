//! `token-exposure inspect`.

mod hint;

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, anyhow, bail};
use jiff::Timestamp;
use parking_lot::RwLock;

use super::{
    cluster::{Cluster, ClusterArgs},
    logging, print_message, stdout,
};
use crate::{
    client::{Connection, within},
    cluster::{list, probe},
    index::Index,
    model::{
        InputKind, LabelSelector, ServiceAccountRef,
        pod::TOKEN_MOUNT_PATH,
        token::{TokenClaims, TokenPermissions, TokenStatus},
    },
    output::inspect::{self, ClusterAnswer},
    token::{claims::parse_token, redact::looks_like_token},
};

/// How many bytes of the input are read: a token has about 1,000.
const MAX_BYTES: u64 = 64 * 1024;

/// The arguments of `inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The token and its signature are never printed. Nothing is sent anywhere without --with-cluster.

Exit codes:
  0  the input is a ServiceAccount token; with --with-cluster, the API server accepts it
  1  the API server rejects the token
  2  the input is not a ServiceAccount token, or the API server could not be asked

Examples:
  kubectl create token mail -n shop | token-exposure inspect -
  token-exposure inspect --with-cluster /tmp/token
  token-exposure inspect                 in a pod: the token of the pod")]
pub(super) struct Args {
    /// The file with the token, or - for standard input [default: the token of the pod]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Send the token to the current cluster to see whether it is accepted, as which user, and which
    /// permissions it has
    #[arg(long)]
    with_cluster: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Prints what a token contains.
pub(super) async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    logging::once();
    let own = Path::new(TOKEN_MOUNT_PATH).join("token");
    let (place, text) = match &args.file {
        Some(file) if file == Path::new("-") => {
            ("standard input".to_owned(), read(io::stdin().lock()))
        }
        Some(file) if looks_like_token(&file.to_string_lossy()) => bail!(
            "FILE is the token itself, which the history of the shell has now: consider it leaked. Pass a token on \
             standard input: `kubectl create token NAME | token-exposure inspect -`"
        ),
        Some(file) => (file.display().to_string(), File::open(file).and_then(read)),
        None => (
            format!("{} (use FILE, or - for standard input)", own.display()),
            File::open(&own).and_then(read),
        ),
    };
    let text = text.with_context(|| place.clone())?;
    let token = parse_token(&text)
        .map_err(|why| match hint::of(&text) {
            Some(hint) => anyhow!("{hint}"),
            None => why.into(),
        })
        .with_context(|| place)?;
    let answer = if args.with_cluster {
        let cluster = args.cluster.connect(", or remove `--with-cluster`").await?;
        Some(ask(&cluster, text.trim(), &token).await?)
    } else {
        for flag in args.cluster.given() {
            let message = format!("warning: {flag} has no effect without `--with-cluster`");
            print_message(&message);
        }
        None
    };
    let mut out = stdout();
    inspect::write(&mut out, &token, Timestamp::now(), answer.as_ref())?;
    out.flush()?;
    let rejected = answer.is_some_and(|answer| matches!(answer.status, TokenStatus::Rejected(_)));
    Ok(ExitCode::from(u8::from(rejected)))
}

fn read(from: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES).read_to_end(&mut bytes)?;
    // Input that is not text is then rejected as not being a token.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Asks the API server whose token it is, with the token itself, and which permissions the account has, with
/// the user's own credentials.
async fn ask(
    cluster: &Cluster,
    token: &str,
    claims: &TokenClaims,
) -> anyhow::Result<ClusterAnswer> {
    let bearer = cluster.connection_with(token)?;
    let status = within(cluster.timeout, probe::token_status(&bearer.client)).await;
    let status = status.map_err(|failed| anyhow!("cannot ask the API server: {failed}"))?;
    let (status, permissions) = match status {
        TokenStatus::Rejected(_) => {
            let why = probe::rejection(&cluster.connection.client, token);
            // It is rejected, also where nobody says why.
            let why = within(cluster.timeout, why).await.unwrap_or_default();
            (TokenStatus::Rejected(why), None)
        }
        status @ (TokenStatus::Accepted(..) | TokenStatus::Denied(_)) => {
            let permissions = match permissions_by_bindings(cluster, &claims.account).await {
                Some(permissions) => permissions,
                None => {
                    permissions_by_self_review(cluster, &bearer, &claims.account.namespace).await
                }
            };
            (status, Some(permissions))
        }
    };
    Ok(ClusterAnswer {
        server: cluster.server(),
        status,
        permissions,
    })
}

/// What the bindings of the cluster grant to an account; `None` if reading any of them is denied.
async fn permissions_by_bindings(
    cluster: &Cluster,
    account: &ServiceAccountRef,
) -> Option<TokenPermissions> {
    const KINDS: [InputKind; 4] = [
        InputKind::Role,
        InputKind::ClusterRole,
        InputKind::RoleBinding,
        InputKind::ClusterRoleBinding,
    ];
    let index = Arc::new(RwLock::new(Index::new(&KINDS)));
    let wanted = list::Wanted {
        kinds: &KINDS,
        pods: &LabelSelector::default(),
        timeout: cluster.timeout,
    };
    let errors = list::list_all(&cluster.connection, &index, &wanted, &|_, _| {}).await;
    let explanation = || index.read().explain(account);
    errors
        .is_empty()
        .then(|| TokenPermissions::Cluster(Box::new(explanation())))
}

/// What the API server answers to a SelfSubjectRulesReview with the token.
async fn permissions_by_self_review(
    cluster: &Cluster,
    bearer: &Connection,
    namespace: &str,
) -> TokenPermissions {
    let own_rules = probe::own_rules(&bearer.client, namespace);
    match within(cluster.timeout, own_rules).await {
        Ok(rules) => TokenPermissions::Namespace(namespace.into(), rules),
        Err(failed) => TokenPermissions::Unknown(failed.to_string()),
    }
}
