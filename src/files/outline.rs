//! Where are the nodes of a document? The outline of one YAML or JSON document: its mappings and lists with
//! their positions in the text. Scalars that no patch compares or changes are left out.

use granit_parser::{Event, Parser, Span, StructureStyle};

/// The fields whose scalars a patch compares or changes.
const KEPT: [&str; 4] = [
    "name",
    "mountPath",
    "automountServiceAccountToken",
    "serviceAccountName",
];

/// A node of a document; offsets are in bytes.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) start: usize,
    /// After its last character.
    pub(crate) end: usize,
    pub(crate) content: Content,
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum Content {
    /// A scalar.
    Scalar(String),
    /// `{…}`, or keys on lines of their own.
    Mapping(Style, Vec<(Key, Node)>),
    /// `[…]`, or items on lines of their own.
    List(Style, Vec<Node>),
    /// An alias of another node.
    Alias,
    /// A scalar that is not needed.
    LeftOut,
}

/// How a mapping or a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Each entry on lines of its own.
    Block,
    /// Between brackets.
    Flow,
}

/// The key of an entry.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Node {
    /// The entry of a mapping; the last one counts where it has several.
    pub(crate) fn entry(&self, name: &str) -> Option<&(Key, Self)> {
        match &self.content {
            Content::Mapping(_, entries) => entries.iter().rev().find(|(key, _)| key.name == name),
            _ => None,
        }
    }

    /// The item at these indices in nested lists of objects.
    pub(crate) fn item(&self, indices: &[usize]) -> Option<&Self> {
        let Some((first, rest)) = indices.split_first() else {
            return Some(self);
        };
        match &self.entry("items")?.1.content {
            Content::List(_, items) => items.get(*first)?.item(rest),
            _ => None,
        }
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(text) => Some(text),
            _ => None,
        }
    }
}

/// The outline of the first document of a text; `None` if it is empty or cannot be parsed.
pub(crate) fn outline(text: &str) -> Option<Node> {
    let options = granit_parser::options! { emit_comments: false };
    let mut events = Events {
        parser: Parser::new_from_str_with_options(text, options),
    };
    loop {
        match events.next()? {
            (Event::DocumentStart(..), _) => {
                let first = events.next()?;
                return events.node(first, true);
            }
            (Event::StreamEnd, _) => return None,
            _ => {}
        }
    }
}

struct Events<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
}

impl<'a> Events<'a> {
    fn next(&mut self) -> Option<(Event<'a>, Span)> {
        self.parser.next_event()?.ok()
    }

    /// The node that begins with an event; the text of a scalar only if it is `wanted`.
    fn node(&mut self, (event, span): (Event<'a>, Span), wanted: bool) -> Option<Node> {
        let start = span.start.byte_offset()?;
        let mut end = span.end.byte_offset()?;
        let content = match event {
            Event::Scalar(text, ..) if wanted => Content::Scalar(text.into_owned()),
            Event::Scalar(..) => Content::LeftOut,
            Event::MappingStart(style, ..) => {
                let mut entries = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::MappingEnd {
                        end = closing(style, &span, end)?;
                        break;
                    }
                    let (key, value) = self.entry((event, span))?;
                    end = value.end.max(key.end);
                    entries.push((key, value));
                }
                Content::Mapping(style.into(), entries)
            }
            Event::SequenceStart(style, ..) => {
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::SequenceEnd {
                        end = closing(style, &span, end)?;
                        break;
                    }
                    let item = self.node((event, span), wanted)?;
                    end = item.end;
                    items.push(item);
                }
                Content::List(style.into(), items)
            }
            Event::Alias(_) => Content::Alias,
            _ => return None,
        };
        Some(Node {
            start,
            end,
            content,
        })
    }

    fn entry(&mut self, (event, span): (Event<'a>, Span)) -> Option<(Key, Node)> {
        let name = match &event {
            Event::Scalar(name, ..) => name.clone().into_owned(),
            _ => String::new(),
        };
        let key = self.node((event, span), false)?;
        let wanted = KEPT.contains(&name.as_str());
        let first = self.next()?;
        let value = self.node(first, wanted)?;
        let key = Key {
            name,
            start: key.start,
            end: key.end,
        };
        Some((key, value))
    }
}

/// The end of a collection: that of its closing bracket, or that of its last entry.
fn closing(style: StructureStyle, span: &Span, last: usize) -> Option<usize> {
    match style {
        StructureStyle::Flow => span.end.byte_offset(),
        StructureStyle::Block => Some(last),
    }
}

impl From<StructureStyle> for Style {
    fn from(style: StructureStyle) -> Self {
        match style {
            StructureStyle::Block => Self::Block,
            StructureStyle::Flow => Self::Flow,
        }
    }
}
