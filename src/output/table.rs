//! The table for people: worst verdict first, and a line of counts at the end.

mod columns;

use std::{fmt::Write as _, io};

use comfy_table::{
    ColumnConstraint, ContentArrangement, Table, Width as ComfyWidth, presets::NOTHING,
};

use self::columns::{COLUMNS, Column, MESSAGE, MIN_MESSAGE, PADDING, drop_columns, leaves_room};
use super::{Scan, defaults, groups, judged, notes_on, rows, usage};
use crate::{
    baseline::Change,
    model::{Exposure, Verdict, WorkloadExposure, note::and_more},
};

/// How many workloads and files a row names.
const MAX_NAMES: usize = 2;
/// How many notes follow the rows, unless all are asked for.
const MAX_NOTES: usize = 10;

/// Which columns a table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Two workloads in each row, and no messages on a narrow terminal. Many findings are grouped.
    Normal,
    /// A row for each account, with all of its workloads and its message.
    Wide,
}

/// What the terminal supports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Its width in characters; `None` for lines of any length.
    pub width: Option<u16>,
    /// Whether verdicts are coloured.
    pub colors: bool,
    /// Whether the reader sees the messages elsewhere, as on a terminal, where standard error prints them.
    pub without_messages: bool,
}

/// Writes a table.
///
/// # Errors
/// When the output cannot be written.
pub fn write(
    out: &mut impl io::Write,
    scan: &Scan<'_>,
    detail: Detail,
    style: Style,
) -> io::Result<()> {
    let shown = scan.shown;
    let is_grouped = detail == Detail::Normal && shown.len() > groups::MAX_ROWS;
    let has_messages = if shown.is_empty() {
        true
    } else if is_grouped {
        write_groups(out, scan, style)?
    } else {
        write_rows(out, scan, shown, detail, style)?
    };
    if !shown.is_empty() {
        writeln!(out)?;
    }
    write_notes(out, scan, detail)?;
    if !has_messages {
        writeln!(
            out,
            "run `token-exposure explain NAMESPACE/NAME` to see why, and what to do"
        )?;
    }
    write_fixed(out, scan)?;
    let messages = scan.messages.iter();
    for message in messages.filter(|_| !style.without_messages) {
        writeln!(out, "{}", message.visible())?;
    }
    writeln!(out, "{}", scan.counts())
}

/// Writes the most valuable findings, then all by cause and file; returns whether the rows have messages.
fn write_groups(out: &mut impl io::Write, scan: &Scan<'_>, style: Style) -> io::Result<bool> {
    writeln!(out, "{}:", groups::title(scan.shown))?;
    let first = groups::most_valuable(scan.shown);
    let has_messages = write_rows(out, scan, &first, Detail::Normal, style)?;
    for group in groups::by_cause(scan) {
        writeln!(out, "\n{}", visible(&group.title()))?;
        for line in group.lines() {
            writeln!(out, "  {}", visible(&line))?;
        }
    }
    writeln!(out, "\n`-o wide` has a row for each ServiceAccount")?;
    Ok(has_messages)
}

/// Writes the notes on the accounts that have a row, and the patch for `default` accounts.
fn write_notes(out: &mut impl io::Write, scan: &Scan<'_>, detail: Detail) -> io::Result<()> {
    let noted = match detail {
        Detail::Normal => notes_on(rows(scan.shown), MAX_NOTES),
        Detail::Wide => notes_on(scan.shown.iter().copied(), usize::MAX),
    };
    for line in &noted {
        writeln!(out, "{}", visible(line))?;
    }
    let defaults = defaults::lines(scan);
    for (place, line) in defaults.iter().enumerate() {
        let indent = if place == 0 { "" } else { "  " };
        writeln!(out, "{indent}{}", visible(line))?;
    }
    if noted.is_empty() && defaults.is_empty() {
        return Ok(());
    }
    writeln!(out)
}

/// Writes what the baseline has and the scan does not find.
fn write_fixed(out: &mut impl io::Write, scan: &Scan<'_>) -> io::Result<()> {
    let mut fixed = scan.fixed();
    for fixed in fixed.by_ref().take(groups::MAX_ROWS) {
        writeln!(out, "fixed since the baseline: {}", visible(&fixed))?;
    }
    match fixed.count() {
        0 => Ok(()),
        more => writeln!(out, "fixed since the baseline: {more} more"),
    }
}

/// Writes a row for each account; returns whether the rows have messages.
fn write_rows(
    out: &mut impl io::Write,
    scan: &Scan<'_>,
    exposures: &[&Exposure],
    detail: Detail,
    style: Style,
) -> io::Result<bool> {
    let limit = match detail {
        Detail::Normal => MAX_NAMES,
        Detail::Wide => usize::MAX,
    };
    let mut columns: Vec<Column> = COLUMNS
        .map(|(title, text)| Column::new(title, exposures, text))
        .into();
    if scan.comparison.is_some() {
        let change = |exposure: &Exposure| {
            scan.worst_change(exposure)
                .map_or("", Change::name)
                .to_owned()
        };
        columns.push(Column::new("BASELINE", exposures, change));
    }
    columns.push(Column::new("WORKLOADS", exposures, |exposure| {
        workloads(exposure, limit)
    }));
    if detail == Detail::Wide && exposures.iter().any(|exposure| exposure.usage.is_some()) {
        columns.push(Column::new("LAST USED", exposures, last_used));
    }
    let files = Column::new("FILE", exposures, |exposure| files(scan, exposure, limit));
    columns.extend(
        files
            .texts
            .iter()
            .any(|text| !text.is_empty())
            .then_some(files),
    );
    if detail == Detail::Normal {
        drop_columns(&mut columns, style);
    }
    let has_messages = detail == Detail::Wide || leaves_room(&columns, style);
    if has_messages {
        columns.push(Column::new(MESSAGE, exposures, |exposure| {
            exposure.message.clone()
        }));
    }
    let mut table = empty_table(style);
    table.set_header(columns.iter().map(|column| column.title));
    for (place, exposure) in exposures.iter().enumerate() {
        table.add_row(
            columns
                .iter()
                .map(|column| column.cell(place, exposure, style)),
        );
    }
    keep_words(&mut table, &columns);
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(has_messages)
}

/// A table without borders, as wide as the terminal.
fn empty_table(style: Style) -> Table {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    if style.colors {
        table.enforce_styling();
    }
    if let Some(width) = style.width {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
    }
    table
}

/// Gives each column the room for its longest word; messages have what is left.
fn keep_words(table: &mut Table, columns: &[Column]) {
    for (column, content) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, PADDING));
        let narrowest = if content.title == MESSAGE {
            MIN_MESSAGE
        } else {
            content.narrowest()
        };
        let narrowest = ComfyWidth::Fixed(narrowest);
        column.set_constraint(ColumnConstraint::LowerBoundary(narrowest));
    }
}

/// The workloads that a row names: those that the verdict is about, or all.
fn named(exposure: &Exposure, limit: usize) -> impl Iterator<Item = &WorkloadExposure> {
    let all = exposure
        .workloads
        .iter()
        .filter(move |_| limit == usize::MAX);
    let some = judged(exposure).filter(move |_| limit != usize::MAX);
    all.chain(some)
}

fn last_used(exposure: &Exposure) -> String {
    exposure
        .usage
        .as_ref()
        .map_or_else(|| usage::NONE_SEEN.to_owned(), usage::last_used)
}

fn workloads(exposure: &Exposure, limit: usize) -> String {
    let shown = named(exposure, limit).take(limit);
    let names: Vec<_> = shown.map(|found| found.workload.to_string()).collect();
    let more = named(exposure, limit).count().saturating_sub(limit);
    names.join(", ") + &and_more(more)
}

/// Where the named workloads are, each place once.
fn files(scan: &Scan<'_>, exposure: &Exposure, limit: usize) -> String {
    let shown = named(exposure, limit).take(limit);
    let places = shown.filter_map(|found| {
        let (file, line) = (scan.place)(&exposure.account, &found.workload)?;
        Some(format!("{}:{line}", file.display()))
    });
    let mut places: Vec<_> = places.collect();
    places.dedup();
    places.join(", ")
}

/// How many accounts have each verdict, in one line.
#[must_use]
pub fn counts(all: &[Exposure]) -> String {
    let mut line = match all.len() {
        1 => "1 ServiceAccount".to_owned(),
        count => format!("{count} ServiceAccounts"),
    };
    let mut separator = ": ";
    for verdict in Verdict::ALL {
        let count = all
            .iter()
            .filter(|exposure| exposure.verdict == verdict)
            .count();
        if count > 0 {
            // Writing to a String cannot fail.
            let _ = write!(line, "{separator}{count} {verdict}");
            separator = ", ";
        }
    }
    line
}

/// Text that is safe to print on a terminal: control characters, and characters that hide or reorder
/// others, are escaped.
#[must_use]
pub fn visible(text: &str) -> String {
    let hides = |character: char| {
        character.is_control()
            || matches!(
                character,
                '\u{ad}'
                    | '\u{61c}'
                    | '\u{180e}'
                    | '\u{200b}'..='\u{200f}'
                    | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}'
                    | '\u{feff}'
                    | '\u{fff9}'..='\u{fffb}'
                    | '\u{fffe}'..='\u{ffff}'
                    | '\u{e0000}'..='\u{e007f}'
            )
    };
    let escaped = |character: char| -> String {
        if hides(character) {
            character.escape_unicode().to_string()
        } else {
            character.to_string()
        }
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_a_terminal_interprets_are_escaped() {
        assert_eq!(
            visible("a\u{1b}[2Jb\u{202e}c\r\u{200b}\u{2028}\u{61c}\u{e0041}é"),
            "a\\u{1b}[2Jb\\u{202e}c\\u{d}\\u{200b}\\u{2028}\\u{61c}\\u{e0041}é"
        );
    }
}
