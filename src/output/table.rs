//! The table for a person: worst first, and a line of counts at the end.

use std::{fmt::Write as _, io};

use comfy_table::{Cell, Color, ContentArrangement, Table, presets::NOTHING};

use crate::model::{Exposure, Level, Verdict};

/// How much a table tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What there is and what to do.
    Normal,
    /// The workloads too.
    Wide,
}

/// What the reader's terminal can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// How many columns it has; `None` where lines may be of any length.
    pub width: Option<u16>,
    /// Whether verdicts are coloured.
    pub colors: bool,
}

/// Writes a table; `exposures` are those to show, `all` those that were judged.
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
            writeln!(out, "`explain NAMESPACE/NAME` says why, and what to do")?;
        }
    }
    writeln!(out, "{}", counts(all))
}

fn rows(exposures: &[&Exposure], detail: Detail, style: Style) -> String {
    let mut columns = COLUMNS.to_vec();
    if detail == Detail::Wide {
        columns.push(("WORKLOADS", workloads));
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

/// Whether messages can be read beside the other columns; a narrow terminal has no place for them.
fn fits_message(exposures: &[&Exposure], style: Style) -> bool {
    /// Of the columns between the names and the message, with their padding.
    const FIXED: usize = 8 + 2 + 20 + 2 + 4 + 2 + 11 + 2;
    const LEAST: usize = 40;
    let Some(width) = style.width else {
        return true;
    };
    let names = exposures.iter().map(|exposure| &exposure.account);
    let widths = names.map(|account| (account.namespace.len(), account.name.len()));
    let (namespace, name) = widths.fold((9, 4), |most, one| (most.0.max(one.0), most.1.max(one.1)));
    usize::from(width) >= namespace + 2 + name + 2 + FIXED + LEAST
}

/// A verdict, in the colour of its urgency.
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

/// How many there are of each verdict.
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

/// Text that a terminal shows as it is: control characters, and those that hide or reorder others,
/// are spelled out.
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
    let spell = |character: char| -> String {
        if hides(character) {
            character.escape_unicode().to_string()
        } else {
            character.to_string()
        }
    };
    text.chars().map(spell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_spelled_out() {
        assert_eq!(
            visible("a\u{1b}[2Jb\u{202e}c\r\u{200b}\u{2028}\u{61c}\u{e0041}é"),
            "a\\u{1b}[2Jb\\u{202e}c\\u{d}\\u{200b}\\u{2028}\\u{61c}\\u{e0041}é"
        );
    }
}
