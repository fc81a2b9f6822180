//! The command line: help, completion, manual.

use std::{
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

use crate::rig::{self, program, program_path};

const COMMANDS: [&str; 7] = [
    "controller",
    "scan",
    "explain",
    "inspect",
    "crd",
    "completions",
    "man",
];
/// The height of a terminal, in lines.
const SCREEN: usize = 60;

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn help_fits_a_screen_and_gives_an_example() {
    let helps = COMMANDS.map(|command| vec![command, "--help"]);
    for args in helps.into_iter().chain([vec!["--help"]]) {
        let help = text(&program(&args, ""));
        let lines = help.lines().count();
        assert!(lines <= SCREEN, "{args:?}: {lines} lines\n{help}");
        assert!(help.contains("Example"), "{args:?}: {help}");
        assert!(
            help.lines().all(|line| line.chars().count() <= 100),
            "{help}"
        );
        // Both flags print the same help.
        let last = args.len() - 1;
        let short = [&args[..last], &["-h"]].concat();
        assert_eq!(text(&program(&short, "")), help);
    }
}

#[test]
fn help_of_scan_reads_well() {
    insta::assert_snapshot!(text(&program(&["scan", "--help"], "")));
}

/// The program under another name.
fn called(name: &str, dir: &Path) -> Command {
    let link = dir.join(name);
    if !link.exists() {
        symlink(program_path(), &link).unwrap();
    }
    Command::new(link)
}

#[test]
fn the_kubectl_plugin_has_help_and_completion_for_kubectl() {
    let dir = tempfile::tempdir().unwrap();
    called("kubectl-token_exposure", dir.path());
    let paths = std::env::var_os("PATH").unwrap();
    let paths = std::env::split_paths(&paths).chain([dir.path().to_owned()]);
    let paths = std::env::join_paths(paths).unwrap();
    let kubectl = |args: &[&str]| {
        let mut kubectl = Command::new(rig::kubectl());
        text(&kubectl.env("PATH", &paths).args(args).output().unwrap())
    };
    let help = kubectl(&["token-exposure", "scan", "-h"]);
    assert!(
        help.contains("Usage: kubectl token-exposure scan"),
        "{help}"
    );
    let help = text(&program(&["scan", "-h"], ""));
    assert!(help.contains("Usage: token-exposure scan"), "{help}");

    // For completion, kubectl runs a program of this name.
    called("kubectl_complete-token_exposure", dir.path());
    let completed = kubectl(&["__complete", "token-exposure", "scan", "--fail-on", ""]);
    assert_eq!(completed, "unneeded\nreview\nunknown\nnever\n:4\n");
    let completed = kubectl(&["__complete", "token-exposure", "insp"]);
    assert!(
        completed.starts_with("inspect\tShow what a token contains"),
        "{completed}"
    );
    // Without candidates, the shell completes file names.
    let completed = kubectl(&["__complete", "token-exposure", "inspect", "no-such-file"]);
    assert_eq!(completed, ":0\n");
}

#[test]
fn completions_contain_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&program(&["completions", shell], ""));
        for word in ["controller", "explain", "inspect", "fail-on"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(program(&["completions", "dos"], "").status.code(), Some(2));
}

/// As bash asks for candidates: by the words of the line, and the one before the cursor.
#[test]
fn bash_completes_what_follows_a_command() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    std::fs::write(&script, program(&["completions", "bash"], "").stdout).unwrap();
    for (words, expected) in [
        (&["ins"][..], "inspect"),
        (&["scan", "--fail-on", ""], "unneeded review unknown never"),
        (&["scan", "--with-cl"], "--with-cluster"),
        (&["scan", "-o", "js"], "json"),
        (
            &["scan", "-o", ""],
            "table wide json yaml sarif html junit patch markdown",
        ),
        (&["explain", "--verdict", "Latent"], "LatentBinding"),
        (&["explain", "--verdict", "Shared"], "SharedPermissions"),
        (&["help", "ma"], "man"),
    ] {
        let all = [&["token-exposure"], words].concat();
        let last = all.len() - 1;
        let asked = format!(
            "source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD={last}; \
             _token__exposure token-exposure '{}' '{}'; echo \"${{COMPREPLY[*]}}\"",
            all[last],
            all[last - 1]
        );
        let mut bash = Command::new("bash");
        bash.args(["--noprofile", "--norc", "-c", &asked]);
        let completed = text(&rig::run(bash.arg(&script).args(&all), ""));
        assert_eq!(completed.trim(), expected, "{words:?}");
    }
}

#[test]
fn every_command_has_a_page_in_the_manual() {
    let page = text(&program(&["man"], ""));
    assert!(page.contains(".TH token-exposure 1"), "{page}");
    for command in COMMANDS {
        let page = text(&program(&["man", command], ""));
        let title = format!(".TH token-exposure-{command} 1");
        assert!(page.contains(&title), "{command}: {page}");
        assert!(page.contains("Examples:"), "{command}");
        let version = env!("CARGO_PKG_VERSION").replace('-', "\\-");
        let source = format!(" \"token-exposure {version}\"");
        let title = page.lines().find(|line| line.starts_with(".TH "));
        assert!(
            title.is_some_and(|title| title.contains(&source)),
            "{title:?}"
        );
        // Each option has a text.
        let lines: Vec<_> = page.lines().collect();
        for (place, line) in lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.starts_with("\\fB\\-"))
        {
            let told = lines
                .get(place + 1)
                .is_some_and(|told| !told.is_empty() && !told.starts_with('.'));
            assert!(told, "{command}: {line}");
        }
    }
    let none = program(&["man", "sing"], "");
    assert_eq!(none.status.code(), Some(2));
    let error = String::from_utf8(none.stderr).unwrap();
    assert!(
        error.starts_with("error: `sing` is not a command: use one of controller, "),
        "{error}"
    );
}
