//! The table for people: worst verdict first, and a line of counts at the end.

use std::{fmt::Write as _, io};

use comfy_table::{Cell, Color, ContentArrangement, Table, presets::NOTHING};

use crate::model::{Exposure, Level, Verdict, usage::seconds};

/// Which columns a table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Without workloads, and without messages on a narrow terminal.
    Normal,
    /// All columns.
    Wide,
}

/// What the terminal supports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Its width in characters; `None` for lines of any length.
    pub width: Option<u16>,
    /// Whether verdicts are coloured.
    pub colors: bool,
}

/// Writes a table: `exposures` are shown, `all` are the assessed accounts.
///
/// # Errors
/// When the output cannot be written.
pub fn write(
    out: &mut impl io::Write,
    exposures: &[&Exposure],
    all: &[Exposure],
    detail: Detail,
    style: Style,
) -> io::Result<()> {
    if !exposures.is_empty() {
        writeln!(out, "{}", rows(exposures, detail, style))?;
        writeln!(out)?;
        if detail == Detail::Normal && !fits_message(exposures, style) {
            writeln!(
                out,
                "run `token-exposure explain NAMESPACE/NAME` to see why, and what to do"
            )?;
        }
    }
    writeln!(out, "{}", counts(all))
}

fn rows(exposures: &[&Exposure], detail: Detail, style: Style) -> String {
    let mut columns = COLUMNS.to_vec();
    if detail == Detail::Wide {
        columns.push(("WORKLOADS", workloads));
        if exposures.iter().any(|exposure| exposure.usage.is_some()) {
            columns.push(("LAST USED", last_used));
        }
    }
    if detail == Detail::Wide || fits_message(exposures, style) {
        columns.push(("MESSAGE", |exposure, _| {
            Cell::new(visible(&exposure.message))
        }));
    }
    let mut table = empty_table(style);
    table.set_header(columns.iter().map(|(title, _)| *title));
    for exposure in exposures {
        table.add_row(columns.iter().map(|(_, cell)| cell(exposure, style)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<_> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

/// A column: its title, and its cell for an account.
type Column = (&'static str, fn(&Exposure, Style) -> Cell);

/// The columns of every table.
const COLUMNS: [Column; 6] = [
    ("NAMESPACE", |exposure, _| {
        Cell::new(visible(&exposure.account.namespace))
    }),
    ("NAME", |exposure, _| {
        Cell::new(visible(&exposure.account.name))
    }),
    ("VERDICT", |exposure, style| {
        verdict(exposure.verdict, style.colors)
    }),
    ("REASON", |exposure, _| Cell::new(exposure.reason)),
    ("PODS", |exposure, _| Cell::new(exposure.pods)),
    ("PERMISSIONS", |exposure, _| level(exposure)),
];

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

fn level(exposure: &Exposure) -> Cell {
    Cell::new(match exposure.permissions.level {
        Level::None => "None",
        Level::Inherited => "Inherited",
        Level::Direct => "Direct",
    })
}

fn workloads(exposure: &Exposure, _: Style) -> Cell {
    let names: Vec<_> = exposure
        .workloads
        .iter()
        .map(|workload| visible(&workload.workload.to_string()))
        .collect();
    Cell::new(names.join(", "))
}

fn last_used(exposure: &Exposure, _: Style) -> Cell {
    let last = exposure.usage.as_ref().and_then(|used| used.last);
    Cell::new(last.map_or_else(
        || "no use seen".to_owned(),
        |last| seconds(last).to_string(),
    ))
}

/// Whether the terminal is wide enough for messages beside the other columns.
fn fits_message(exposures: &[&Exposure], style: Style) -> bool {
    /// The width of the columns between the names and the message, with their padding.
    const FIXED: usize = 8 + 2 + 20 + 2 + 4 + 2 + 11 + 2;
    const MIN_MESSAGE: usize = 40;
    let Some(width) = style.width else {
        return true;
    };
    let names = exposures.iter().map(|exposure| &exposure.account);
    let widths = names.map(|account| (account.namespace.len(), account.name.len()));
    let (namespace, name) = widths.fold((9, 4), |most, one| (most.0.max(one.0), most.1.max(one.1)));
    usize::from(width) >= namespace + 2 + name + 2 + FIXED + MIN_MESSAGE
}

/// A verdict, coloured by urgency.
fn verdict(verdict: Verdict, colors: bool) -> Cell {
    let color = match verdict {
        Verdict::Unneeded => Color::Red,
        Verdict::Review | Verdict::Unknown => Color::Yellow,
        Verdict::Exempted => Color::Blue,
        Verdict::Needed | Verdict::NoToken => Color::Green,
    };
    let cell = Cell::new(verdict);
    if colors { cell.fg(color) } else { cell }
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
