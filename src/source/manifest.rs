//! One object of a file, before its kind is known: JSON text that is looked into where needed, or a
//! YAML document.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

/// What a file turned out not to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// The line, counted from 1; 0 when unknown.
    pub(super) line: usize,
    /// The column, counted from 1; 0 when unknown.
    pub(super) column: usize,
    pub(super) message: String,
}

impl Malformed {
    /// What the parser says, with the place apart.
    pub(super) fn from_yaml(error: &serde_saphyr::Error) -> Self {
        let (line, column) = error
            .location()
            .map_or((0, 0), |location| (location.line(), location.column()));
        Self {
            line: usize::try_from(line).unwrap_or_default(),
            column: usize::try_from(column).unwrap_or_default(),
            message: strip_position(error.without_snippet()),
        }
    }
}

/// One object.
#[derive(Debug)]
pub(super) struct Manifest<'a> {
    /// The line that its document begins in, counted from 1.
    pub(super) line: usize,
    /// Its places in the lists of objects that it is in.
    pub(super) items: Box<[usize]>,
    body: Body<'a>,
}

#[derive(Debug)]
enum Body<'a> {
    Json(&'a str),
    Yaml(serde_json::Value),
}

/// What kind of object it is, and its items if it is a list.
#[derive(Debug, Default)]
pub(super) struct Head<'a> {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) items: Option<Vec<Manifest<'a>>>,
}

impl Head<'_> {
    /// The API group; empty for core.
    pub(super) fn group(&self) -> &str {
        self.api_version
            .rsplit_once('/')
            .map_or("", |(group, _)| group)
    }
}

impl<'a> Manifest<'a> {
    /// Reads the object as a type.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, String> {
        let path = |error: serde_path_to_error::Error<serde_json::Error>| match error
            .path()
            .to_string()
            .as_str()
        {
            "." => strip_position(error.inner()),
            path => format!("`{path}`: {}", strip_position(error.inner())),
        };
        match &self.body {
            Body::Json(text) => {
                serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(text))
                    .map_err(path)
            }
            Body::Yaml(value) => serde_path_to_error::deserialize(value).map_err(path),
        }
    }

    /// Reads what kind of object it is. Items are handed out, not copied.
    pub(super) fn head(&mut self) -> Head<'a> {
        let (mut head, items) = match &mut self.body {
            Body::Json(text) => json_head(text),
            Body::Yaml(value) => yaml_head(value),
        };
        let item = |(place, body)| Manifest {
            line: self.line,
            items: self.items.iter().copied().chain([place]).collect(),
            body,
        };
        head.items = items.map(|items| items.into_iter().enumerate().map(item).collect());
        head
    }
}

/// What an object says of itself, and the items that it has if it is a list.
type Opened<'a> = (Head<'a>, Option<Vec<Body<'a>>>);

fn json_head<'a>(text: &'a str) -> Opened<'a> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Wire<'a> {
        #[serde(borrow)]
        api_version: Option<&'a RawValue>,
        #[serde(borrow)]
        kind: Option<&'a RawValue>,
        #[serde(borrow)]
        items: Option<&'a RawValue>,
    }
    let Ok(wire) = serde_json::from_str::<Wire<'_>>(text) else {
        return Opened::default();
    };
    let string = |raw: Option<&RawValue>| {
        raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default()
    };
    let items: Option<Vec<&'a RawValue>> = wire
        .items
        .and_then(|items| serde_json::from_str(items.get()).ok());
    let head = Head {
        api_version: string(wire.api_version),
        kind: string(wire.kind),
        items: None,
    };
    let bodies = |items: Vec<&'a RawValue>| {
        let items = items.into_iter();
        items.map(|item| Body::Json(item.get())).collect()
    };
    (head, items.map(bodies))
}

fn yaml_head<'a>(value: &mut serde_json::Value) -> Opened<'a> {
    let string = |value: &serde_json::Value, key: &str| {
        value
            .get(key)
            .and_then(|value| value.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let items = match value.get_mut("items").map(serde_json::Value::take) {
        Some(serde_json::Value::Array(items)) => Some(items),
        _ => None,
    };
    let head = Head {
        api_version: string(value, "apiVersion"),
        kind: string(value, "kind"),
        items: None,
    };
    (
        head,
        items.map(|items| items.into_iter().map(Body::Yaml).collect()),
    )
}

/// The message of an error without its position, which is told apart, or counts from the object and
/// not the file.
fn strip_position(error: &impl ToString) -> String {
    let message = error.to_string();
    let bare = message.split(" at line ").next();
    bare.unwrap_or_default().to_owned()
}

/// The objects of a file, up to the first that cannot be parsed.
pub(super) fn manifests(
    text: &str,
) -> Box<dyn Iterator<Item = Result<Manifest<'_>, Malformed>> + '_> {
    let text = text.trim_start_matches('\u{feff}');
    match text.trim_start().chars().next() {
        Some('{' | '[') => {
            let mut objects = json(text).peekable();
            // YAML may begin so, too; if it is neither, it was meant as JSON.
            if matches!(objects.peek(), Some(Err(_))) {
                let mut documents = yaml(text).peekable();
                if matches!(documents.peek(), Some(Ok(_))) {
                    return Box::new(documents);
                }
            }
            Box::new(objects)
        }
        _ => Box::new(yaml(text)),
    }
}

fn json(text: &str) -> impl Iterator<Item = Result<Manifest<'_>, Malformed>> {
    let objects = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let (mut seen, mut line) = (0, 1);
    objects.map(move |object| match object {
        Ok(object) => {
            // It is a part of the text.
            let begin = object.get().as_ptr().addr() - text.as_ptr().addr();
            line += text[seen..begin].matches('\n').count();
            seen = begin;
            Ok(Manifest {
                line,
                items: Box::default(),
                body: Body::Json(object.get()),
            })
        }
        Err(error) => Err(Malformed {
            line: error.line(),
            column: error.column(),
            message: strip_position(&error),
        }),
    })
}

fn yaml(text: &str) -> impl Iterator<Item = Result<Manifest<'_>, Malformed>> {
    // Real text has fewer of anything than bytes; only what aliases multiply is held to the defaults.
    let most = text.len() + 1024;
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        emit_comments: false,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: None,
            max_documents: most,
            max_nodes: most,
            max_events: 4 * most,
            max_total_scalar_bytes: 4 * most,
            max_depth: 256,
        },
    };
    let mut reader = text.as_bytes();
    let documents: Vec<_> =
        serde_saphyr::read_with_options::<_, Spanned<serde_json::Value>>(&mut reader, options)
            .collect();
    documents.into_iter().map(|document| match document {
        Ok(document) => Ok(Manifest {
            line: usize::try_from(document.referenced.line()).unwrap_or_default(),
            items: Box::default(),
            body: Body::Yaml(document.value),
        }),
        Err(error) => Err(Malformed::from_yaml(&error)),
    })
}
