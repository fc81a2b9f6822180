//! What do kustomize and helm make of a folder? They run as programs of the user's own, with limits on time and output.

use std::{
    borrow::Cow,
    fs, io,
    path::{Component, Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
};

use crate::text::{
    Problem,
    folders::{Folder, Form, Rendered},
};

/// How long rendering one folder may take: it may fetch other folders.
const TIMEOUT: Duration = Duration::from_mins(1);
/// How much a program may print, in bytes.
const MAX_BYTES: u64 = 64 << 20;
/// How much of its messages is kept, in bytes.
const MAX_MESSAGE_BYTES: u64 = 16 << 10;
/// How many folders are rendered at once.
const PARALLEL: usize = 4;
/// The annotation in which kustomize says where an object comes from, and its field.
const ORIGIN: &str = "config.kubernetes.io/origin: |";
const ORIGIN_PATH: &str = "path: ";
/// The comment in which helm says it.
const SOURCE: &str = "# Source: ";

/// How charts are rendered, in helm's own words.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The namespace of the release.
    pub namespace: String,
    /// Files with values.
    pub values: Vec<PathBuf>,
    /// Values, as `name=value`.
    pub set: Vec<String>,
}

/// What came of rendering a folder.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The manifests.
    pub rendered: Vec<Rendered>,
    /// The folders that could not be rendered, with what the program said.
    pub problems: Vec<Problem>,
    /// What programs said that succeeded.
    pub warnings: Vec<Problem>,
}

/// Renders folders; `progress` is called after each.
pub async fn render(folders: &[Folder], options: &Options, progress: &dyn Fn(u64, u64)) -> Outcome {
    let mut outcome = Outcome::default();
    let mut said = Vec::new();
    progress(0, folders.len() as u64);
    let runs =
        stream::iter(folders).map(async |folder| (folder, folder_to_text(folder, options).await));
    let mut runs = std::pin::pin!(runs.buffered(PARALLEL));
    while let Some((folder, result)) = runs.next().await {
        progress(1, 0);
        let problem = |message| Problem {
            place: folder.command(),
            message,
        };
        match result {
            Ok((rendered, message)) => {
                outcome.rendered.push(rendered);
                said.extend(message.map(problem));
            }
            Err(message) => outcome.problems.push(problem(message)),
        }
    }
    outcome.warnings = once(said);
    outcome
}

/// Each message once, for the first folder that it is about: most are about how a whole repository is written.
fn once(said: Vec<Problem>) -> Vec<Problem> {
    let mut told: Vec<(Problem, usize)> = Vec::new();
    for problem in said {
        let known = told.iter_mut();
        let mut known = known.filter(|(known, _)| known.message == problem.message);
        match known.next() {
            Some((_, others)) => *others += 1,
            None => told.push((problem, 0)),
        }
    }
    let message = |(mut problem, others): (Problem, usize)| {
        if others > 0 {
            let folders = if others == 1 { "folder" } else { "folders" };
            let more = format!(" (the same for {others} more {folders})");
            problem.message.push_str(&more);
        }
        problem
    };
    told.into_iter().map(message).collect()
}

/// What a program printed, and what it said.
struct Printed {
    text: String,
    said: Option<String>,
}

async fn folder_to_text(
    folder: &Folder,
    options: &Options,
) -> Result<(Rendered, Option<String>), String> {
    let (printed, sources) = match &folder.form {
        Form::Chart(name) => {
            let printed = run(&mut helm(name, &folder.path, options)).await?;
            let sources = helm_sources(&printed.text, &folder.path);
            (printed, sources)
        }
        Form::Kustomization => kustomize(&folder.path).await?,
    };
    let root = match folder.form {
        Form::Chart(_) => "Chart.yaml",
        Form::Kustomization => "kustomization.yaml",
    };
    let rendered = Rendered {
        place: folder.command(),
        text: printed.text,
        sources,
        root: folder.path.join(root),
    };
    Ok((rendered, printed.said))
}

fn helm(name: &str, chart: &Path, options: &Options) -> Command {
    let mut helm = Command::new("helm");
    helm.args(["template", "--namespace", &options.namespace]);
    for file in &options.values {
        helm.arg("--values").arg(file);
    }
    for value in &options.set {
        helm.args(["--set", value]);
    }
    // What follows is no flag, whatever the author of the chart wrote.
    helm.args(["--", name]).arg(chart);
    helm
}

/// Renders a kustomization. One around it, which only asks for the origin of each object, says which files they come from;
/// where that fails, the folder is rendered alone, and its own error counts.
async fn kustomize(folder: &Path) -> Result<(Printed, Vec<(usize, PathBuf)>), String> {
    let program = if is_installed("kustomize") {
        &["kustomize", "build"][..]
    } else {
        &["kubectl", "kustomize"]
    };
    let build = |folder: &Path| {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg("--").arg(folder);
        command
    };
    if let Ok(around) = around(folder)
        && let Ok(printed) = run(&mut build(around.path())).await
    {
        let sources = kustomize_sources(&printed.text, around.path(), folder);
        return Ok((printed, sources));
    }
    Ok((run(&mut build(folder)).await?, Vec::new()))
}

/// A temporary kustomization of a folder, which asks for origins.
fn around(folder: &Path) -> io::Result<tempfile::TempDir> {
    let dir = tempfile::tempdir()?;
    let from = dir.path().canonicalize()?;
    let to = folder.canonicalize()?;
    let ups = from
        .components()
        .filter(|part| matches!(part, Component::Normal(_)));
    let mut relative: PathBuf = ups.map(|_| Component::ParentDir).collect();
    relative.extend(
        to.components()
            .filter(|part| matches!(part, Component::Normal(_))),
    );
    let resource = serde_json::to_string(&relative)?;
    let content = format!("resources: [{resource}]\nbuildMetadata: [originAnnotations]\n");
    fs::write(dir.path().join("kustomization.yaml"), content)?;
    Ok(dir)
}

fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&paths).any(|path| path.join(&name).is_file())
}

/// Runs a program to its end; an error is what it said, as it is.
async fn run(command: &mut Command) -> Result<Printed, String> {
    let program = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("`{program}` is not installed, or not in $PATH: install it, or scan what it renders elsewhere"),
        _ => format!("`{program}` cannot be run: {error}"),
    })?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let finished = tokio::time::timeout(TIMEOUT, async {
        // A program that prints too much is stopped: its pipe is closed.
        let (out, err) = tokio::join!(first(out, MAX_BYTES), said(err));
        if out.len() as u64 > MAX_BYTES {
            return Ok((None, out, err));
        }
        child.wait().await.map(|status| (Some(status), out, err))
    });
    let (status, out, err) = match finished.await {
        Ok(Ok(finished)) => finished,
        Ok(Err(error)) => return Err(format!("`{program}` failed: {error}")),
        Err(_) => {
            return Err(format!(
                "did not end within {} seconds and was stopped",
                TIMEOUT.as_secs()
            ));
        }
    };
    let err = in_one_line(&String::from_utf8_lossy(&err));
    match status {
        None => Err(format!(
            "printed more than {} MiB and was stopped",
            MAX_BYTES >> 20
        )),
        Some(status) if !status.success() => Err(failure(&program, status, err)),
        Some(_) => Ok(Printed {
            text: String::from_utf8(out)
                .map_err(|_| "printed text that is not UTF-8".to_owned())?,
            said: (!err.is_empty()).then_some(err),
        }),
    }
}

/// What a program said, as one message: a line of its own could look like another, or like a command to a CI server.
fn in_one_line(said: &str) -> String {
    let mut lines: Vec<Cow<'_, str>> = Vec::new();
    for line in said.lines().map(|line| without_klog(line.trim())) {
        if !line.is_empty() && !lines.contains(&line) {
            lines.push(line);
        }
    }
    // Reasons before what kustomize says of old fields.
    lines.sort_by_key(|line| line.starts_with("# Warning"));
    lines.join(" | ")
}

/// A line without what kubectl adds to its last error: time, process id and line of its code (k8s.io/klog, k8s.io/component-base/cli).
fn without_klog(line: &str) -> Cow<'_, str> {
    let Some((_, error)) = line.split_once("] \"command failed\" err=") else {
        return line.into();
    };
    serde_json::from_str::<String>(error).map_or_else(|_| error.into(), Into::into)
}

fn failure(program: &str, status: ExitStatus, said: String) -> String {
    if said.is_empty() {
        format!("`{program}` failed: {status}")
    } else {
        said
    }
}

/// The first bytes of a stream: one more than `limit` where it has more.
async fn first(stream: Option<impl AsyncRead + Unpin>, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // What was read before an error counts: the exit status says that the program failed.
        let _ = stream.take(limit + 1).read_to_end(&mut bytes).await;
    }
    bytes
}

/// The first messages of a program; the rest is read too, so that it does not wait.
async fn said(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let Some(mut stream) = stream else {
        return Vec::new();
    };
    let bytes = first(Some(&mut stream), MAX_MESSAGE_BYTES).await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    bytes
}

/// From which line on what helm printed comes from which template.
fn helm_sources(text: &str, chart: &Path) -> Vec<(usize, PathBuf)> {
    let lines = text.lines().enumerate();
    let named = lines.filter_map(|(number, line)| Some((number + 1, line.strip_prefix(SOURCE)?)));
    let sources = named.map(|(line, source)| {
        // Its first part is the name of the chart, not of the folder.
        let inside = source.split_once('/').map_or(source, |(_, inside)| inside);
        let file = chart.join(inside);
        // A chart in an archive has no file to edit.
        let file = if file.is_file() {
            file
        } else {
            chart.join("Chart.yaml")
        };
        (line, file)
    });
    sources.collect()
}

/// The same for kustomize. The annotation is somewhere in the object, whose document begins before.
fn kustomize_sources(text: &str, around: &Path, folder: &Path) -> Vec<(usize, PathBuf)> {
    let mut sources = Vec::new();
    let (mut begin, mut is_next) = (1, false);
    for (number, line) in text.lines().enumerate() {
        if line == "---" {
            begin = number + 1;
        }
        let content = line.trim_start();
        if let Some(path) = content.strip_prefix(ORIGIN_PATH).filter(|_| is_next)
            && let Ok(file) = around.join(path.trim()).canonicalize()
        {
            sources.push((begin, as_named(&file, folder)));
        }
        is_next = content == ORIGIN;
    }
    sources
}

/// A real path as the user would write it: relative, where the folder is.
fn as_named(file: &Path, folder: &Path) -> PathBuf {
    if folder.is_absolute() {
        return file.to_owned();
    }
    let here = Path::new(".").canonicalize().unwrap_or_default();
    file.strip_prefix(&here).unwrap_or(file).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_again_and_again_is_shown_once() {
        assert_eq!(in_one_line("a\n b\n\na\nb"), "a | b");
        let said = "# Warning: old\nE1128 18:29:15.436171   17107 run.go:72] \"command failed\" err=\"no \\\"x\\\"\"\n";
        assert_eq!(in_one_line(said), "no \"x\" | # Warning: old");
        let said = ["a", "b", "a", "a"].into_iter().enumerate();
        let said = said.map(|(number, message)| Problem {
            place: number.to_string(),
            message: message.to_owned(),
        });
        let told: Vec<_> = once(said.collect())
            .iter()
            .map(Problem::to_string)
            .collect();
        assert_eq!(told, ["0: a (the same for 2 more folders)", "1: b"]);
    }

    #[tokio::test]
    async fn what_a_program_says_is_the_error() {
        let sh = |script: &str| {
            let mut sh = Command::new("sh");
            sh.args(["-c", script]);
            sh
        };
        let result = async |script: &str| run(&mut sh(script)).await.map(|printed| printed.text);
        assert_eq!(
            result("echo one; echo two >&2").await,
            Ok("one\n".to_owned())
        );
        assert_eq!(
            result("echo half; printf 'Error: a\\n  b\\n' >&2; exit 3").await,
            Err("Error: a | b".to_owned())
        );
        assert_eq!(
            result("exit 3").await,
            Err("`sh` failed: exit status: 3".to_owned())
        );
        assert_eq!(
            result("yes").await,
            Err("printed more than 64 MiB and was stopped".to_owned())
        );
        let missing = run(&mut Command::new("no-such-program-of-ours")).await;
        let missing = missing.map(|printed| printed.text);
        assert!(
            matches!(&missing, Err(why) if why.contains("is not installed")),
            "{missing:?}"
        );
    }
}
