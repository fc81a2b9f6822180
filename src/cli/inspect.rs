//! `token-exposure inspect`.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use jiff::Timestamp;
use parking_lot::RwLock;

use super::{
    LogFormat,
    cluster::{Cluster, ClusterArgs},
};
use crate::{
    cluster::{explain, list, probe},
    index::Index,
    model::{
        InputKind, LabelSelector, ServiceAccountRef,
        pod::TOKEN_MOUNT_PATH,
        token::{TokenClaims, TokenPermissions, TokenStatus},
    },
    output::inspect::{self, Seen},
    token::claims::parse_token,
};

/// How much of the input is read: a token has some 1,000 characters.
const MOST_BYTES: u64 = 64 * 1024;

/// Which token.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Neither the token nor its signature is printed; nothing is sent anywhere without --with-cluster.

Exit codes:
  0  it is a token, and accepted if the cluster was asked
  1  the cluster does not accept it
  2  it is no token of a ServiceAccount, or the cluster could not be asked

Examples:
  kubectl create token mail -n shop | token-exposure inspect -
  token-exposure inspect --with-cluster /tmp/token
  token-exposure inspect                 in a pod: its own")]
pub(super) struct Args {
    /// The file that holds the token, or - for standard input [default: that of the pod]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Show the token to the current cluster: is it accepted, as whom, and what may it do
    #[arg(long)]
    with_cluster: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Dissects one token.
pub(super) async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    super::start_logging(LogFormat::Text, "warn");
    let own = Path::new(TOKEN_MOUNT_PATH).join("token");
    let (place, text) = match &args.file {
        Some(file) if file == Path::new("-") => {
            ("standard input".to_owned(), read(io::stdin().lock()))
        }
        Some(file) => (file.display().to_string(), File::open(file).and_then(read)),
        None => (
            format!("{} (give a FILE, or - for standard input)", own.display()),
            File::open(&own).and_then(read),
        ),
    };
    let text = text.with_context(|| place.clone())?;
    let token = parse_token(&text).with_context(|| place)?;
    let seen = if args.with_cluster {
        let cluster = args.cluster.connect().await?;
        Some(ask(&cluster, text.trim(), &token).await?)
    } else {
        None
    };
    let mut out = io::stdout().lock();
    inspect::write(&mut out, &token, Timestamp::now(), seen.as_ref())?;
    out.flush()?;
    let rejected = seen.is_some_and(|seen| matches!(seen.standing, TokenStatus::Rejected(_)));
    Ok(ExitCode::from(u8::from(rejected)))
}

fn read(from: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(MOST_BYTES).read_to_end(&mut bytes)?;
    // What is not text is no token, and is told as such.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Asks the API server: with the token who it is, and with our own credential what it may do.
async fn ask(cluster: &Cluster, token: &str, claims: &TokenClaims) -> anyhow::Result<Seen> {
    let holder = cluster.client_with(token)?;
    let standing = probe::standing(&holder).await;
    let standing = standing
        .map_err(|error| anyhow::anyhow!("the cluster cannot be asked: {}", explain(&error)))?;
    let (standing, powers) = match standing {
        TokenStatus::Rejected(_) => {
            let why = probe::rejection(&cluster.client, token).await;
            (TokenStatus::Rejected(why), None)
        }
        standing @ (TokenStatus::Accepted(..) | TokenStatus::Denied(_)) => {
            let powers = match by_bindings(cluster, &claims.account).await {
                Some(powers) => powers,
                None => by_own_answer(&holder, &claims.account.namespace).await,
            };
            (standing, Some(powers))
        }
    };
    Ok(Seen {
        server: cluster.server(),
        standing,
        powers,
    })
}

/// What the bindings of the cluster give to an account; `None` where we may not read them all.
async fn by_bindings(cluster: &Cluster, account: &ServiceAccountRef) -> Option<TokenPermissions> {
    const KINDS: [InputKind; 4] = [
        InputKind::Role,
        InputKind::ClusterRole,
        InputKind::RoleBinding,
        InputKind::ClusterRoleBinding,
    ];
    let index = Arc::new(RwLock::new(Index::new(&KINDS)));
    let wanted = list::Wanted {
        kinds: &KINDS,
        namespace: None,
        pods: &LabelSelector::default(),
    };
    let errors = list::list_all(&cluster.client, &index, &wanted, &|_, _| {}).await;
    let explanation = || index.read().explain(account);
    errors
        .is_empty()
        .then(|| TokenPermissions::Cluster(Box::new(explanation())))
}

/// What the API server tells the holder of the token.
async fn by_own_answer(holder: &kube::Client, namespace: &str) -> TokenPermissions {
    match probe::own_rules(holder, namespace).await {
        Ok(rules) => TokenPermissions::Namespace(namespace.into(), rules),
        Err(error) => TokenPermissions::Unknown(explain(&error)),
    }
}
