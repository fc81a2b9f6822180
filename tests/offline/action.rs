//! The GitHub Action, the pre-commit hook and the snippets for other servers: their steps run as a shell would run them, on a
//! repository made from real manifests, if they are available.
#![allow(clippy::print_stderr, reason = "skipped tests are reported")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::rig::{program_path, run};

/// 12 Deployments, each with its own account, and no RBAC.
const MANIFESTS: &str =
    "../shared/corpus/GoogleCloudPlatform__microservices-demo/release/kubernetes-manifests.yaml";
/// Another workload, of an account that has a finding already.
const ADDED: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: added}\nspec: {selector: {matchLabels: {app: added}}, \
                     template: {metadata: {labels: {app: added}}, spec: {serviceAccountName: frontend, containers: [{name: c, image: i}]}}}\n";

/// A repository, a clone of it without history, as actions/checkout makes it, and the commit before.
struct Checkout {
    dir: tempfile::TempDir,
    base: String,
}

fn git(dir: &Path, args: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args([
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.org",
        "-c",
        "init.defaultBranch=main",
    ]);
    let output = run(git.args(args).current_dir(dir), "");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {args:?}: {error}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Checkout {
    /// A pull request that changes the folder `deploy`; `None` without the corpus.
    fn new(change: impl FnOnce(&Path)) -> Option<Self> {
        Self::of(|_| {}, change)
    }

    /// The same, where the base differs too.
    fn of(before: impl FnOnce(&Path), change: impl FnOnce(&Path)) -> Option<Self> {
        let Ok(manifests) = fs::read_to_string(MANIFESTS) else {
            eprintln!("skipped: {MANIFESTS} is not here");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let origin = dir.path().join("origin");
        fs::create_dir_all(origin.join("deploy")).unwrap();
        fs::write(origin.join("deploy/shop.yaml"), manifests).unwrap();
        before(&origin.join("deploy"));
        git(&origin, &["init", "--quiet"]);
        git(&origin, &["add", "."]);
        git(&origin, &["commit", "--quiet", "-m", "base"]);
        let base = git(&origin, &["rev-parse", "HEAD"]);
        git(&origin, &["checkout", "--quiet", "-b", "change"]);
        change(&origin.join("deploy"));
        git(&origin, &["add", "--all"]);
        git(
            &origin,
            &["commit", "--quiet", "--allow-empty", "-m", "change"],
        );
        let url = format!("file://{}", origin.display());
        git(
            dir.path(),
            &[
                "clone",
                "--quiet",
                "--depth=1",
                "--branch=change",
                &url,
                "clone",
            ],
        );
        Some(Self { dir, base })
    }

    fn clone(&self) -> PathBuf {
        self.dir.path().join("clone")
    }

    /// Runs the steps of the action for a pull request: the exit code, what it printed, and the job summary.
    fn act(&self, inputs: &[(&str, &str)]) -> (i32, String, String) {
        let action: Value =
            serde_yaml::from_str(&fs::read_to_string("action.yml").unwrap()).unwrap();
        let program = program_path().canonicalize().unwrap();
        let mut context: BTreeMap<String, String> = BTreeMap::new();
        for (name, input) in action["inputs"].as_object().unwrap() {
            context.insert(
                format!("inputs.{name}"),
                input["default"].as_str().unwrap().to_owned(),
            );
        }
        context.insert("inputs.paths".to_owned(), "deploy/".to_owned());
        context.insert("inputs.program".to_owned(), program.display().to_string());
        context.insert("github.action_repository".to_owned(), String::new());
        context.insert(
            "github.event.pull_request.base.sha".to_owned(),
            self.base.clone(),
        );
        context.extend(
            inputs
                .iter()
                .map(|(name, value)| (format!("inputs.{name}"), (*value).to_owned())),
        );
        let [output, summary] = ["output", "summary"].map(|name| self.dir.path().join(name));
        fs::write(&summary, "").unwrap();
        let mut printed = String::new();
        let mut code = 0;
        for step in action["runs"]["steps"].as_array().unwrap() {
            let Some(script) = step["run"].as_str() else {
                continue;
            };
            fs::write(&output, "").unwrap();
            let file = self.dir.path().join("step.sh");
            fs::write(&file, script).unwrap();
            // `shell: bash`, as the runner starts it.
            assert_eq!(step["shell"], "bash");
            let mut shell = Command::new("bash");
            shell
                .args(["--noprofile", "--norc", "-e", "-o", "pipefail"])
                .arg(file);
            let folder = step["working-directory"].as_str().unwrap_or(".");
            shell.current_dir(self.clone().join(evaluated(folder, &context)));
            shell
                .env("GITHUB_OUTPUT", &output)
                .env("GITHUB_STEP_SUMMARY", &summary);
            shell.env("RUNNER_TEMP", self.dir.path());
            for (name, value) in step["env"].as_object().into_iter().flatten() {
                shell.env(name, evaluated(value.as_str().unwrap(), &context));
            }
            let done = run(&mut shell, "");
            printed += &String::from_utf8_lossy(&done.stdout);
            printed += &String::from_utf8_lossy(&done.stderr);
            code = done.status.code().unwrap();
            if code != 0 {
                break;
            }
            let Some(id) = step["id"].as_str() else {
                continue;
            };
            for line in fs::read_to_string(&output).unwrap().lines() {
                let (name, value) = line.split_once('=').unwrap();
                context.insert(format!("steps.{id}.outputs.{name}"), value.to_owned());
            }
        }
        (code, printed, fs::read_to_string(&summary).unwrap())
    }

    /// Runs lines of a snippet as its server would, with the program in the path.
    fn shell(&self, script: &str, variables: &[(&str, &str)]) -> (i32, String) {
        let program = program_path().canonicalize().unwrap();
        let bin = self.dir.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        let link = bin.join("token-exposure");
        if !link.exists() {
            std::os::unix::fs::symlink(program, link).unwrap();
        }
        let paths = std::env::var_os("PATH").unwrap();
        let paths = [bin].into_iter().chain(std::env::split_paths(&paths));
        let mut shell = Command::new("bash");
        shell
            .args(["-e", "-o", "pipefail", "-c", script])
            .current_dir(self.clone());
        shell.env("PATH", std::env::join_paths(paths).unwrap());
        shell.envs(variables.iter().copied());
        let done = run(&mut shell, "");
        let printed = [done.stdout, done.stderr].concat();
        (
            done.status.code().unwrap(),
            String::from_utf8(printed).unwrap(),
        )
    }
}

/// The text with the values of its expressions.
fn evaluated(text: &str, context: &BTreeMap<String, String>) -> String {
    let mut evaluated = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (expression, after) = after.split_once("}}").unwrap();
        let expression = expression.trim();
        let value = context.get(expression);
        evaluated += before;
        evaluated += value.unwrap_or_else(|| panic!("{expression} has no value"));
        rest = after;
    }
    evaluated + rest
}

/// Disables the token of the first Deployment.
fn disable_one(deploy: &Path) {
    let file = deploy.join("shop.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let field = "      serviceAccountName: frontend\n";
    assert!(text.contains(field));
    let disabled = format!("{field}      automountServiceAccountToken: false\n");
    fs::write(file, text.replacen(field, &disabled, 1)).unwrap();
}

fn add_one(deploy: &Path) {
    fs::write(deploy.join("added.yaml"), ADDED).unwrap();
}

#[test]
fn a_pull_request_that_adds_a_finding_fails_and_one_that_removes_one_passes_and_says_so() {
    let Some(adds) = Checkout::new(add_one) else {
        return;
    };
    let (code, printed, summary) = adds.act(&[]);
    assert_eq!(code, 1, "{printed}");
    assert!(
        summary.contains("; since the baseline: 1 new, ") && !summary.contains("fixed"),
        "{summary}"
    );
    assert!(
        summary.contains("| **new** **Unneeded** NoPermissions | "),
        "{summary}"
    );
    let results =
        fs::read_to_string(adds.dir.path().join("token-exposure-results/results.sarif")).unwrap();
    let log: Value = serde_json::from_str(&results).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    let new: Vec<_> = results
        .iter()
        .filter(|result| result["baselineState"] == "new")
        .collect();
    let place = &new[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert_eq!((new.len(), place.as_str()), (1, Some("deploy/added.yaml")));
    assert_eq!(adds.act(&[("fail-on", "never")]).0, 0);

    let removes = Checkout::new(disable_one).unwrap();
    let (code, printed, summary) = removes.act(&[]);
    assert_eq!(code, 0, "{printed}");
    assert!(
        summary.contains("; since the baseline: 0 new, "),
        "{summary}"
    );
    assert!(summary.contains("**Fixed since the baseline:**\n\n* Deployment/frontend of ServiceAccount default/frontend"), "{summary}");
    assert!(
        printed.contains("fixed since the baseline: Deployment/frontend of"),
        "{printed}"
    );

    // A folder that is new, one that is not at the root, and a file that cannot be read.
    let moves = Checkout::new(|deploy| fs::rename(deploy, deploy.with_file_name("moved")).unwrap())
        .unwrap();
    let (code, printed, _) = moves.act(&[("paths", "moved\n\n")]);
    assert_eq!(
        code, 1,
        "what a folder had elsewhere is not known: {printed}"
    );
    let (code, printed, _) = moves.act(&[("paths", ".")]);
    assert_eq!(code, 0, "{printed}");
    let (code, printed, _) =
        removes.act(&[("working-directory", "deploy"), ("paths", "shop.yaml")]);
    assert_eq!(code, 0, "{printed}");
    let breaks =
        Checkout::new(|deploy| fs::write(deploy.join("broken.yaml"), "a: [").unwrap()).unwrap();
    assert_eq!(breaks.act(&[]).0, 2);
}

/// What the base has already is found there, whatever paths, folder and program are asked for.
#[test]
fn the_base_is_scanned_as_the_pull_request_is() {
    let Some(same) = Checkout::new(|_| {}) else {
        return;
    };
    let program = program_path().canonicalize().unwrap();
    fs::create_dir(same.clone().join("bin")).unwrap();
    std::os::unix::fs::symlink(program, same.clone().join("bin/program")).unwrap();
    for inputs in [
        &[("paths", "deploy/**/*.yaml")][..],
        &[("paths", "**/shop.yaml\nadded/**/*.yaml")],
        &[("paths", "d?ploy/[a-z]*.yaml")],
        // A folder, with what is in it.
        &[("paths", "d[e]pl*")],
        &[("program", "bin/program")],
        &[
            ("program", "./bin/program"),
            ("working-directory", "deploy"),
            ("paths", "."),
        ],
    ] {
        let (code, printed, summary) = same.act(inputs);
        let is_missing = inputs.iter().any(|(_, value)| value.contains("added"));
        assert_eq!(
            code,
            if is_missing { 2 } else { 0 },
            "{inputs:?}: {printed}"
        );
        assert!(
            summary.contains("; since the baseline: 0 new, "),
            "{inputs:?}: {printed}"
        );
    }
    // Code scanning looks for files from the root of the repository.
    let sarif = fs::read_to_string(same.dir.path().join("token-exposure-results/results.sarif"));
    let log: Value = serde_json::from_str(&sarif.unwrap()).unwrap();
    let place = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "deploy/shop.yaml");
}

#[test]
fn the_action_is_pinned_documented_and_safe_from_its_inputs() {
    let text = fs::read_to_string("action.yml").unwrap();
    let action: Value = serde_yaml::from_str(&text).unwrap();
    for (name, input) in action["inputs"].as_object().unwrap() {
        assert!(
            input["description"].is_string() && input["default"].is_string(),
            "{name}"
        );
    }
    for step in action["runs"]["steps"].as_array().unwrap() {
        // An expression in a script would be code.
        let script = step["run"].as_str().unwrap_or_default();
        assert!(!script.contains("${{"), "{script}");
        if let Some(uses) = step["uses"].as_str() {
            let (_, pin) = uses.split_once('@').unwrap();
            assert!(
                pin.len() == 40 && pin.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{uses}"
            );
            assert!(text.contains(&format!("{uses} # v")), "{uses}");
        }
    }
}

#[test]
fn the_hooks_scan_the_repository() {
    let hooks: Value =
        serde_yaml::from_str(&fs::read_to_string(".pre-commit-hooks.yaml").unwrap()).unwrap();
    let Some(adds) = Checkout::new(add_one) else {
        return;
    };
    for hook in hooks.as_array().unwrap() {
        for field in ["id", "name", "entry", "language"] {
            assert!(hook[field].is_string(), "{hook}");
        }
        // Pre-commit appends file names unless it is told not to.
        assert_eq!(hook["pass_filenames"], false);
        let args = hook["args"].as_array().unwrap().iter();
        let args: Vec<_> = args.map(|arg| arg.as_str().unwrap()).collect();
        let command = format!("{} {}", hook["entry"].as_str().unwrap(), args.join(" "));
        let (code, printed) = adds.shell(&command, &[]);
        assert_eq!(code, 1, "{printed}");
        assert!(printed.contains("Deployment/added"), "{printed}");
    }
}

/// The YAML block below a heading of the document.
fn snippet(heading: &str) -> Value {
    let text = fs::read_to_string("deploy/pull-requests.md").unwrap();
    let (_, after) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let (_, block) = after.split_once("```yaml\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    serde_yaml::from_str(block).unwrap()
}

#[test]
fn the_snippets_for_gitlab_and_azure_compare_with_the_target_branch() {
    let unchanged: fn(&Path) = |_| {};
    let break_one: fn(&Path) = |deploy| fs::write(deploy.join("broken.yaml"), "a: [").unwrap();
    let repair: fn(&Path) = |deploy| {
        fs::remove_file(deploy.join("broken.yaml")).unwrap();
        fs::write(deploy.join("shop.yaml"), "").unwrap();
    };
    for (before, change, code, says) in [
        (
            unchanged,
            add_one as fn(&Path),
            1,
            "since the baseline: 1 new, ",
        ),
        (
            unchanged,
            disable_one,
            0,
            "fixed since the baseline: Deployment/frontend of",
        ),
        // All findings count beside a base that cannot be read.
        (
            break_one,
            |deploy| fs::remove_file(deploy.join("broken.yaml")).unwrap(),
            1,
            "Unneeded",
        ),
        (break_one, repair, 0, "0 ServiceAccounts"),
    ] {
        let Some(checkout) = Checkout::of(before, change) else {
            return;
        };
        let clone = checkout.clone();
        git(
            &clone,
            &[
                "fetch",
                "--quiet",
                "origin",
                "main:refs/remotes/origin/main",
            ],
        );
        let gitlab = snippet("GitLab");
        let lines = gitlab["tokens"]["script"].as_array().unwrap().iter();
        let lines: Vec<_> = lines.map(|line| line.as_str().unwrap()).collect();
        let variables = [
            ("CI_MERGE_REQUEST_DIFF_BASE_SHA", &*checkout.base),
            ("CI_PROJECT_DIR", clone.to_str().unwrap()),
        ];
        let (exit, printed) = checkout.shell(&lines.join("\n"), &variables);
        assert_eq!(exit, code, "{printed}");
        assert!(printed.contains(says), "{printed}");
        let report = &gitlab["tokens"]["artifacts"]["reports"]["junit"];
        assert!(clone.join(report.as_str().unwrap()).is_file());

        let azure = snippet("Azure Pipelines");
        let script = azure["steps"][2]["bash"].as_str().unwrap();
        let variables = [
            ("SYSTEM_PULLREQUEST_TARGETBRANCH", "refs/heads/main"),
            ("AGENT_TEMPDIRECTORY", checkout.dir.path().to_str().unwrap()),
        ];
        let (exit, printed) = checkout.shell(script, &variables);
        assert_eq!(exit, code, "{printed}");
        assert!(
            printed.contains(says) && printed.contains("##vso[task.uploadsummary]"),
            "{printed}"
        );
        assert!(
            clone
                .join(
                    azure["steps"][3]["inputs"]["testResultsFiles"]
                        .as_str()
                        .unwrap()
                )
                .is_file()
        );
    }
}
