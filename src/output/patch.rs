//! Patches that disable the tokens: YAML for kustomize, each with its `kubectl patch` command.

use std::{borrow::Cow, io};

use super::{Scan, table::visible};
use crate::{
    baseline::Change,
    model::{Verdict, exposure::Patch},
};

/// Writes the patches of findings. Those that a person must review first are commented out.
///
/// # Errors
/// When the output cannot be written.
pub fn write(out: &mut impl io::Write, scan: &Scan<'_>) -> io::Result<()> {
    for message in scan.messages {
        writeln!(out, "# {}", message.visible())?;
    }
    for fixed in scan.fixed() {
        writeln!(out, "# fixed since the baseline: {}", visible(&fixed))?;
    }
    for exposure in scan.shown {
        let Some(remediation) = &exposure.remediation else {
            continue;
        };
        let (account, message) = (&exposure.account, visible(&exposure.message));
        let account_name = visible(&account.to_string());
        let change = scan.worst_change(exposure).map(Change::name);
        let change = change.map_or(String::new(), |change| format!(" ({change})"));
        writeln!(
            out,
            "# {account_name}, {}{change}: {message}",
            exposure.verdict
        )?;
        if remediation.patches.is_empty() {
            writeln!(out, "# {}\n", remediation.summary)?;
        }
        for patch in &remediation.patches {
            writeln!(out, "# {}", command(&account.namespace, patch))?;
            let Some(document) = patch.for_kustomize(&account.namespace) else {
                writeln!(
                    out,
                    "# in a kustomization: an entry of `patches` with this object as its `target`\n"
                )?;
                continue;
            };
            let yaml = serde_saphyr::to_string(&document).map_err(io::Error::other)?;
            let comment = if exposure.verdict == Verdict::Unneeded {
                ""
            } else {
                "# "
            };
            writeln!(out, "{comment}---")?;
            for line in yaml.lines() {
                writeln!(out, "{comment}{line}")?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

/// The command that applies a patch to the live object, or what to do if that cannot be patched.
pub(super) fn command(namespace: &str, patch: &Patch) -> String {
    let (target, json) = (&patch.target, patch.patch.to_string());
    visible(&if patch.is_live() {
        format!(
            "kubectl -n {} patch {} {} --type={} --patch {}",
            quoted(namespace),
            quoted(&target.kind.to_lowercase()),
            quoted(&target.name),
            patch.kind(),
            quoted(&json)
        )
    } else {
        format!(
            "{target} cannot be patched in the cluster: merge this patch into its manifest and recreate it: {json}"
        )
    })
}

/// One word of a shell command, quoted if needed: names in files may contain any character.
fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''")).into()
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn characters_that_a_shell_interprets_are_quoted() {
        for (word, expected) in [
            ("shop", "shop"),
            ("a;curl x|sh", "'a;curl x|sh'"),
            ("it's $(id)", r"'it'\''s $(id)'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
