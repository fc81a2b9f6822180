//! Which programs do commands and scripts run? A program runs where its name, or a path to it, is the first word of a
//! command: not where it is an argument, part of an address, or a word of a sentence.

/// What ends a word.
const ENDS: &str = ";|&()`\"'<>";
/// What comes before the first word of a command.
const BEFORE: [char; 6] = [';', '|', '&', '(', ')', '`'];
/// Words before the first one of a command.
const KEYWORDS: [&str; 18] = [
    "then", "do", "else", "elif", "if", "while", "until", "exec", "time", "eval", "export",
    "local", "readonly", "alias", "!", "{", "\\", "@",
];
/// Programs that run the one that follows them and their options.
const RUNNERS: [&str; 21] = [
    "env",
    "sudo",
    "nohup",
    "nice",
    "ionice",
    "timeout",
    "xargs",
    "watch",
    "retry",
    "tini",
    "dumb-init",
    "catatonit",
    "su-exec",
    "gosu",
    "setsid",
    "stdbuf",
    "busybox",
    "bash",
    "powershell",
    "pwsh",
    "cmd",
];

/// Whether a value looks like a script, not like a name, a list or a sentence.
pub(super) fn is_script(value: &str) -> bool {
    let signs = ["\n", "&&", "||", "; ", " | ", "$(", "`", "sh -c ", "exec "];
    value.starts_with("#!") || signs.iter().any(|sign| value.contains(sign))
}

/// Whether a text is a call of a program, or a script that contains one.
pub(super) fn runs(text: &str, program: &str) -> bool {
    let mut places = text.match_indices(program);
    places.any(|(place, _)| {
        let rest = &text[place + program.len()..];
        let ends = |next: char| next.is_whitespace() || next == '$' || ENDS.contains(next);
        rest.chars().next().is_none_or(ends) && is_first_word(&text[..place])
    })
}

/// Whether what follows a text is the first word of a command, or the end of a path that is.
fn is_first_word(before: &str) -> bool {
    let is_of_word = |next: char| !next.is_whitespace() && !ENDS.contains(next);
    let rest = before.trim_end_matches(is_of_word);
    let path = &before[rest.len()..];
    let path = match path.split_once('=') {
        Some((name, value)) if is_name(name) => value,
        _ => path,
    };
    if !path.is_empty() && !path.ends_with('/') || path.contains("://") {
        return false;
    }
    let unquoted = rest.trim_end_matches(['"', '\'']);
    if unquoted.len() < rest.len() && unquoted.ends_with('[') {
        // The words of a command, as in `["kubectl", "get"]`.
        return true;
    }
    follows_no_word(command(unquoted))
}

/// What a text has of its last command.
fn command(text: &str) -> &str {
    let ends = text.char_indices().rev().find(|(place, character)| {
        let is_line = *character == '\n' && !text[..*place].trim_end_matches('\r').ends_with('\\');
        is_line || BEFORE.contains(character)
    });
    ends.map_or(text, |(place, character)| {
        &text[place + character.len_utf8()..]
    })
}

/// Whether the words of a command are only such as come before its first one.
fn follows_no_word(words: &str) -> bool {
    let mut runner: Option<&str> = None;
    let mut previous = "";
    for word in words.split_whitespace() {
        let word = word.trim_matches(['"', '\'', ',']);
        let program = word.rsplit('/').next().unwrap_or(word);
        let is_option = word.starts_with('-') || word.starts_with('+');
        let is_plain = word.is_empty()
            || KEYWORDS.contains(&word)
            || word.split_once('=').is_some_and(|(name, _)| is_name(name));
        if runner.is_some() && is_command_option(word) {
            (runner, previous) = (None, "");
            continue;
        }
        let is_value = previous.starts_with('-') || word.starts_with(|c: char| c.is_ascii_digit());
        let is_runner =
            RUNNERS.contains(&program) || program.ends_with("sh") || program.contains("entrypoint");
        match runner {
            None if is_plain => {}
            None if is_runner => runner = Some(program),
            Some(_) if is_plain || is_option || is_value => {}
            _ => return false,
        }
        previous = word;
    }
    true
}

/// Whether the word after an option of a shell is a command, as after `-c` and `-ec`.
fn is_command_option(word: &str) -> bool {
    let letters = word.strip_prefix('-').unwrap_or_default();
    let is_shell = letters.ends_with('c') && letters.bytes().all(|byte| byte.is_ascii_lowercase());
    is_shell && letters.len() <= 6 || matches!(word, "-Command" | "--" | "/C" | "/c")
}

/// Whether a word can be the name of a variable.
fn is_name(word: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !word.is_empty() && word.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_runs_where_it_is_the_first_word_of_a_command() {
        for (text, expected) in [
            ("kubectl", true),
            ("/usr/bin/kubectl get", true),
            ("sh -c kubectl get pods", true),
            ("bash -o pipefail -ec cd /x && kubectl apply", true),
            ("set -e\nkubectl version", true),
            ("if ! kubectl get pod; then exit 1; fi", true),
            ("for i in 1 2; do\n  ./kubectl get", true),
            ("echo $(kubectl get ns)", true),
            ("X=`kubectl get ns`", true),
            ("KUBECONFIG=/k kubectl get", true),
            ("timeout -s KILL 30 kubectl wait", true),
            ("tini -- kubectl proxy", true),
            ("/docker-entrypoint.sh kubectl proxy", true),
            ("subprocess.run(['kubectl', 'get'])", true),
            ("KUBECTL=/usr/local/bin/kubectl", true),
            ("cat x | xargs -n 1 kubectl delete", true),
            ("echo x && \\\n  kubectl get", true),
            ("sh -c echo kubectl is installed", false),
            ("helm kubectl jq", false),
            ("to see the logs use kubectl logs", false),
            ("curl -LO https://dl.k8s.io/v1/bin/kubectl", false),
            ("mv /tmp/kubectl /usr/local/bin/", false),
            ("apk add \\\n  kubectl", false),
            ("# kubectl get pods", false),
            ("docker run bitnami/kubectl get", false),
            ("kubectlx get", false),
            ("no-kubectl get", false),
            ("grep -c kubectl x", false),
        ] {
            assert_eq!(runs(text, "kubectl"), expected, "{text}");
        }
        assert!(runs("sh -c oc registry login", "oc") && !runs("echo oc", "oc"));
        assert!(!runs("localhost:80/oc-mirror", "oc") && !runs("--doc", "oc"));
    }

    #[test]
    fn a_value_is_a_script_by_its_signs() {
        for value in [
            "a && b",
            "#!/bin/sh",
            "x=$(kubectl get)",
            "set -e\nkubectl get",
        ] {
            assert!(is_script(value), "{value}");
        }
        for value in ["helm kubectl jq", "kubectl", "use kubectl to see logs"] {
            assert!(!is_script(value), "{value}");
        }
    }
}
