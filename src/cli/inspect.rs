//! `token-exposure inspect`.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use jiff::Timestamp;

use crate::{model::pod::TOKEN_MOUNT_PATH, output::inspect, token::anatomy::dissect};

/// How much of the input is read: a token has some 1,000 characters.
const MOST_BYTES: u64 = 64 * 1024;

/// Which token.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is sent anywhere, and neither the token nor its signature is printed.

Examples:
  kubectl create token mail -n shop | token-exposure inspect -
  kubectl exec web-0 -- cat /var/run/secrets/kubernetes.io/serviceaccount/token | token-exposure inspect -
  token-exposure inspect        in a pod: its own")]
pub(super) struct Args {
    /// The file that holds the token, or - for standard input [default: that of the pod we run in]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Dissects one token.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
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
    let token = dissect(&text).with_context(|| place)?;
    let mut out = io::stdout().lock();
    inspect::write(&mut out, &token, Timestamp::now())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn read(from: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(MOST_BYTES).read_to_end(&mut bytes)?;
    // What is not text is no token, and is told as such.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
