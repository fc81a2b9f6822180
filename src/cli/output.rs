//! The output of a scan: its formats and files.

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf, absolute},
    str::FromStr,
};

use anyhow::{Context, bail};
use clap::ValueEnum;
use same_file::Handle;

use super::{named::Named, stdout};
use crate::{
    baseline::Comparison,
    files::places::Places,
    index::Index,
    model::{Exposure, ServiceAccountRef, Verdict, Workload},
    output::{
        Message, Scan, html, junit, markdown, objects, patch, rows, sarif,
        table::{self, Detail, Style},
    },
};

/// How many workloads of an account have their line looked up for a table.
const LOCATED: usize = 5;

/// The flags that select the output.
#[derive(Debug, clap::Args)]
pub(super) struct OutputArgs {
    /// Output format: table, wide, json, yaml, sarif, html, junit, markdown or patch; repeatable:
    /// -o table -o sarif=report.sarif
    #[arg(
        short,
        long,
        value_name = "FORMAT[=FILE]",
        default_value = "table",
        hide_default_value = true,
        value_parser = OUTPUTS,
        hide_possible_values = true
    )]
    output: Vec<Output>,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
    /// With -o patch: write the patches into the files
    #[arg(long, requires = "paths")]
    write: bool,
}

/// A format with or without a file; a shell completes the formats.
const OUTPUTS: Named<Output> = Named {
    parse: Output::from_str,
    names: || {
        let formats = Format::value_variants().iter();
        formats.filter_map(ValueEnum::to_possible_value).collect()
    },
};

/// The result of a scan.
pub(super) struct Found<'a> {
    /// All assessed accounts.
    pub(super) all: &'a [Exposure],
    /// The accounts to show, worst first.
    pub(super) shown: &'a [&'a Exposure],
    /// The `default` accounts that one patch hardens.
    pub(super) defaults: &'a [&'a Exposure],
    pub(super) index: &'a Index,
    /// The files and lines of the objects.
    pub(super) places: &'a Places,
    /// Whether a verdict makes the scan fail.
    pub(super) fails: &'a dyn Fn(Verdict) -> bool,
    /// Errors, warnings and notes, which every format contains.
    pub(super) messages: &'a [Message],
    /// The findings beside those of a baseline.
    pub(super) comparison: Option<&'a Comparison>,
}

/// One output: a format, and a file; standard output without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Output {
    format: Format,
    file: Option<PathBuf>,
}

/// The format of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For people, with workloads.
    Wide,
    /// A v1 List of TokenExposureReports.
    Json,
    /// The same List as YAML.
    Yaml,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// One page for a browser, with the chain behind each verdict.
    Html,
    /// For CI servers.
    Junit,
    /// Patches that disable the tokens: for kustomize, each with its kubectl command.
    Patch,
    /// A table for a pull request.
    Markdown,
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (format, file) = match text.split_once('=') {
            Some((format, file)) => (format, Some(file)),
            None => (text, None),
        };
        if file == Some("") {
            return Err(format!("`{text}` has no file name after `=`"));
        }
        let format = Format::from_str(format, false).map_err(|_| {
            let names = Format::value_variants().iter();
            let names = names.filter_map(ValueEnum::to_possible_value);
            let names: Vec<_> = names.map(|name| name.get_name().to_owned()).collect();
            format!(
                "`{format}` is not a format: use one of {}",
                names.join(", ")
            )
        })?;
        Ok(Self {
            format,
            // As in a list of inputs.
            file: file.filter(|file| *file != "-").map(PathBuf::from),
        })
    }
}

impl OutputArgs {
    /// Whether the scanned files are changed.
    pub(super) const fn changes_files(&self) -> bool {
        self.write
    }

    /// The outputs; an error if two have the same destination, or one has that of the baseline. Patches that are written
    /// into the files are not printed.
    pub(super) fn destinations(&self, baseline: Option<&Path>) -> anyhow::Result<Vec<Output>> {
        let is_stdout = |file: &Path| file == Path::new("-");
        if baseline.is_some_and(is_stdout) {
            bail!("`--write-baseline` needs a file: standard output has the findings");
        }
        let all = || self.output_file.clone().filter(|file| !is_stdout(file));
        let with_file = |output: &Output| Output {
            format: output.format,
            file: output.file.clone().or_else(all),
        };
        let mut outputs: Vec<_> = self.output.iter().map(with_file).collect();
        if self.write {
            let all = outputs.len();
            outputs.retain(|output| output.format != Format::Patch);
            if outputs.len() == all {
                bail!("`--write` needs `-o patch`: add it");
            }
        }
        let files = outputs.iter().map(|output| output.file.as_deref());
        let files: Vec<_> = files.chain(baseline.map(Some)).collect();
        for (place, file) in files.iter().enumerate() {
            if !files[..place].iter().any(|other| is_same(*other, *file)) {
                continue;
            }
            match file {
                Some(file) => bail!(
                    "two outputs have the same file {}: set a different file for each, for example `-o json=report.json`",
                    file.display()
                ),
                None => bail!(
                    "two outputs go to standard output: set a file for all but one, for example `-o json=report.json`"
                ),
            }
        }
        Ok(outputs)
    }
}

/// Whether two outputs have the same file, or both have none.
fn is_same(one: Option<&Path>, other: Option<&Path>) -> bool {
    let whole =
        |file: Option<&Path>| file.map(|file| absolute(file).unwrap_or_else(|_| file.to_owned()));
    whole(one) == whole(other)
}

impl Output {
    /// Writes the result of a scan.
    pub(super) fn write(&self, found: &Found<'_>) -> anyhow::Result<()> {
        match &self.file {
            None => {
                let style = Style {
                    without_messages: stderr_is_beside(),
                    ..terminal_style()
                };
                self.write_to(stdout(), found, style)?;
            }
            Some(path) => File::create(path)
                .and_then(|file| self.write_to(file, found, Style::default()))
                .with_context(|| format!("{} cannot be written", path.display()))?,
        }
        Ok(())
    }

    fn write_to(&self, out: impl Write, found: &Found<'_>, style: Style) -> io::Result<()> {
        let mut out = BufWriter::new(out);
        let lines = found.places.lines(self.format.located(found.shown));
        let scan = Scan {
            all: found.all,
            shown: found.shown,
            defaults: found.defaults,
            messages: found.messages,
            comparison: found.comparison,
            fails: found.fails,
            place: &|account, workload| {
                let exact = lines.of(account, workload);
                exact.or_else(|| found.places.document_of(account, workload))
            },
            differing: &|account, workload| found.places.differing(account, workload),
            explain: &|account| found.index.explain(account),
        };
        match self.format {
            Format::Json => objects::write_json(&mut out, &scan)?,
            Format::Yaml => objects::write_yaml(&mut out, &scan)?,
            Format::Sarif => sarif::write(&mut out, &scan)?,
            Format::Html => html::write(&mut out, &scan)?,
            Format::Junit => junit::write(&mut out, &scan)?,
            Format::Patch => patch::write(&mut out, &scan)?,
            Format::Markdown => markdown::write(&mut out, &scan)?,
            Format::Table => table::write(&mut out, &scan, Detail::Normal, style)?,
            Format::Wide => table::write(&mut out, &scan, Detail::Wide, style)?,
        }
        out.flush()
    }
}

impl Format {
    /// The workloads whose line it shows, with their account: each file of them is read again.
    fn located<'a>(self, shown: &[&'a Exposure]) -> Vec<(&'a ServiceAccountRef, &'a Workload)> {
        let (exposures, limit) = match self {
            Self::Json | Self::Yaml | Self::Html | Self::Junit | Self::Patch => return Vec::new(),
            Self::Sarif | Self::Wide => (shown.to_vec(), usize::MAX),
            Self::Table | Self::Markdown => (rows(shown), LOCATED),
        };
        let workloads = exposures.into_iter().flat_map(|exposure| {
            let workloads = exposure.workloads.iter().take(limit);
            workloads.map(|found| (&exposure.account, &found.workload))
        });
        workloads.collect()
    }
}

/// The width of the terminal, and whether to use colours; neither if standard output is not a terminal.
fn terminal_style() -> Style {
    if !io::stdout().is_terminal() {
        return Style::default();
    }
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    Style {
        // A terminal that reports no columns may have any width.
        width: comfy_table::Table::new().width().filter(|width| *width > 0),
        colors: !is_set("NO_COLOR") && !is_dumb,
        ..Style::default()
    }
}

/// Whether the reader of standard output sees standard error too, as on a terminal or in the log of a pipeline.
fn stderr_is_beside() -> bool {
    match (Handle::stdout(), Handle::stderr()) {
        (Ok(out), Ok(error)) => out == error,
        _ => false,
    }
}
