//! What switches the tokens off: YAML that kustomize takes as patches, with the kubectl command of each.

use std::{borrow::Cow, io};

use super::table::visible;
use crate::model::{Exposure, Verdict, exposure::Patch};

/// Writes the patches of findings. Those that a person must look at first are commented out.
///
/// # Errors
/// When the output cannot be written.
pub fn write(out: &mut impl io::Write, exposures: &[&Exposure]) -> io::Result<()> {
    for exposure in exposures {
        let Some(remediation) = &exposure.remediation else {
            continue;
        };
        let (account, message) = (&exposure.account, visible(&exposure.message));
        let account_name = visible(&account.to_string());
        writeln!(out, "# {account_name}, {}: {message}", exposure.verdict)?;
        if remediation.patches.is_empty() {
            writeln!(out, "# {}\n", remediation.summary)?;
        }
        for patch in &remediation.patches {
            writeln!(out, "# {}", command(&account.namespace, patch))?;
            let Some(document) = patch.for_kustomize(&account.namespace) else {
                writeln!(
                    out,
                    "# kustomize asks for its apiVersion, which is not known\n"
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

/// The command that applies a patch to the live object; what to do where there can be none.
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
        format!("merge into the manifest of {target}, which cannot be patched in place: {json}")
    })
}

/// A word of a shell's command line, whatever is in it: names in files may be anything.
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
    fn what_a_shell_would_act_on_is_quoted() {
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
