//! The columns of a table, and which of them a terminal has room for.

use comfy_table::{Cell, Color};

use super::{Style, visible};
use crate::model::{Exposure, Level, Verdict};

/// Returns the text of a cell.
type Text = fn(&Exposure) -> String;

/// The first columns of every table.
pub(super) const COLUMNS: [(&str, Text); 6] = [
    ("NAMESPACE", |exposure| {
        exposure.account.namespace.to_string()
    }),
    ("NAME", |exposure| exposure.account.name.to_string()),
    (VERDICT, |exposure| exposure.verdict.to_string()),
    (REASON, |exposure| exposure.reason.to_string()),
    ("PODS", |exposure| exposure.pods.to_string()),
    (PERMISSIONS, |exposure| level(exposure).to_owned()),
];
/// The column that is coloured.
const VERDICT: &str = "VERDICT";
/// The column whose words may be broken.
pub(super) const MESSAGE: &str = "MESSAGE";
const REASON: &str = "REASON";
const PERMISSIONS: &str = "PERMISSIONS";
/// The columns that a narrow terminal does not get, the first one first: `explain` has what they say.
const DROPPED: [&str; 2] = [PERMISSIONS, REASON];
/// How wide a message is at least.
pub(super) const MIN_MESSAGE: u16 = 40;
/// How many spaces are between two columns.
pub(super) const PADDING: u16 = 2;

/// A column: its title, and its text for each account.
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) texts: Vec<String>,
}

impl Column {
    pub(super) fn new(
        title: &'static str,
        exposures: &[&Exposure],
        text: impl Fn(&Exposure) -> String,
    ) -> Self {
        Self {
            title,
            texts: exposures
                .iter()
                .map(|exposure| visible(&text(exposure)))
                .collect(),
        }
    }

    pub(super) fn cell(&self, place: usize, exposure: &Exposure, style: Style) -> Cell {
        let cell = Cell::new(&self.texts[place]);
        if style.colors && self.title == VERDICT {
            cell.fg(color(exposure.verdict))
        } else {
            cell
        }
    }

    /// The width of its longest text, with the padding.
    fn width(&self) -> usize {
        let texts = self.texts.iter().map(|text| text.chars().count());
        texts.max().unwrap_or_default().max(self.title.len()) + usize::from(PADDING)
    }

    /// The width at which no word is broken, with the padding.
    pub(super) fn narrowest(&self) -> u16 {
        let words = self.texts.iter().flat_map(|text| text.split(' '));
        let longest = words.map(|word| word.chars().count()).max();
        let longest = longest.unwrap_or_default().max(self.title.len());
        u16::try_from(longest).map_or(u16::MAX, |longest| longest.saturating_add(PADDING))
    }
}

/// Leaves out columns until the others fit the terminal; none where they would not fit even then.
pub(super) fn drop_columns(columns: &mut Vec<Column>, style: Style) {
    let Some(width) = style.width.map(usize::from) else {
        return;
    };
    let taken = |left_out: &[&str]| -> usize {
        let kept = columns
            .iter()
            .filter(|kept| !left_out.contains(&kept.title));
        kept.map(|column| usize::from(column.narrowest())).sum()
    };
    let fitting = (0..=DROPPED.len()).find(|count| taken(&DROPPED[..*count]) <= width);
    if let Some(count) = fitting {
        columns.retain(|column| !DROPPED[..count].contains(&column.title));
    }
}

/// Whether the terminal is wide enough for messages beside these columns.
pub(super) fn leaves_room(columns: &[Column], style: Style) -> bool {
    let taken: usize = columns.iter().map(Column::width).sum();
    style
        .width
        .is_none_or(|width| usize::from(width) >= taken + usize::from(MIN_MESSAGE))
}

/// The colour of a verdict: its urgency.
const fn color(verdict: Verdict) -> Color {
    match verdict {
        Verdict::Unneeded => Color::Red,
        Verdict::Review | Verdict::Unknown => Color::Yellow,
        Verdict::Exempted | Verdict::Withheld => Color::Blue,
        Verdict::Needed | Verdict::NoToken => Color::Green,
    }
}

const fn level(exposure: &Exposure) -> &'static str {
    match exposure.permissions.level {
        Level::None => "None",
        Level::Inherited => "Inherited",
        Level::Direct => "Direct",
    }
}
