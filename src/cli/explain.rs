//! `token-exposure explain`.

mod meaning;
mod target;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::bail;

use self::{meaning::meaning, target::Target};
use super::{
    EXIT_ERROR,
    input::{InputArgs, Namespaces, Wanted},
    logging,
    named::Named,
    stdout,
};
use crate::{
    index::{Account, Index},
    model::{LabelSelector, ServiceAccountRef},
    output::{explain, role, table::visible},
};

/// The arguments of `explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  token-exposure explain shop/mail                    the ServiceAccount mail
  token-exposure explain shop/deployment/web          the ServiceAccount of a Deployment
  token-exposure explain shop/pod/web-0 dump.yaml     the ServiceAccount of a pod in a file
  token-exposure explain --verdict latent-binding     the meaning of a verdict or reason")]
pub(super) struct Args {
    /// NAMESPACE/NAME of a ServiceAccount or its username, or NAMESPACE/KIND/NAME of a workload or pod
    #[arg(required_unless_present = "verdict")]
    target: Option<String>,
    #[command(flatten)]
    input: InputArgs,
    /// Output format: text, or role for the smallest Roles that cover what audit logs show
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_default_value = true
    )]
    output: Format,
    /// Print the meaning of a verdict, a reason or the type of a note, and what to do
    #[arg(long, value_name = "NAME", conflicts_with = "target", value_parser = NAMES, hide_possible_values = true)]
    verdict: Option<String>,
}

/// Any text, which is looked up later; a shell completes those that are known.
const NAMES: Named<String> = Named {
    parse: |text| Ok(text.to_owned()),
    names: meaning::names,
};

/// The formats of `explain`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// The chain behind the verdict.
    #[default]
    Text,
    /// Roles and RoleBindings, ready to apply.
    Role,
}

/// Explains a verdict; the exit code is 2 when an input could not be read.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    logging::once();
    let mut out = io::BufWriter::new(stdout());
    if let Some(name) = &args.verdict {
        writeln!(out, "{}", meaning(name)?)?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.output == Format::Role && !args.input.evidence.is_given() {
        bail!("`-o role` needs to know what was used: add `--audit-log`");
    }
    let target = args.target.as_deref().unwrap_or_default();
    let target = Target::parse(target)?;
    let namespace = target.namespace;
    // An account in `default` may be one of objects that name no namespace: then that is a guess, as in a scan.
    let namespaces = if args.input.has_files() && namespace == "default" {
        Namespaces::All
    } else {
        Namespaces::One(namespace)
    };
    let wanted = Wanted {
        namespaces,
        pods: &LabelSelector::default(),
    };
    let input = args.input.read(wanted).await?;
    input.print_messages();
    let index = input.index.read();
    let account = target.account(&index)?;
    if !index
        .account(&account)
        .is_some_and(Account::exists_or_has_pods)
    {
        bail!("{}", not_found(&index, &account));
    }
    let explanation = index.explain(&account);
    match args.output {
        Format::Text => explain::write(&mut out, &explanation)?,
        Format::Role => role::write(&mut out, &explanation)?,
    }
    out.flush()?;
    Ok(if input.is_complete() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_ERROR)
    })
}

/// The error for an unknown account, with the accounts of its namespace.
fn not_found(index: &Index, account: &ServiceAccountRef) -> String {
    const SHOWN: usize = 10;
    let subjects = index
        .accounts()
        .filter(|(_, known)| known.exists_or_has_pods());
    let neighbours = subjects.filter(|(other, _)| other.namespace == account.namespace);
    let names: Vec<_> = neighbours
        .take(SHOWN)
        .map(|(other, _)| &*other.name)
        .collect();
    if names.is_empty() {
        let namespace = &account.namespace;
        return format!(
            "namespace {namespace} has no ServiceAccounts and no pods, or does not exist"
        );
    }
    format!(
        "ServiceAccount {account} was not found, and no pod uses it; ServiceAccounts in this namespace: {}",
        visible(&names.join(", "))
    )
}
