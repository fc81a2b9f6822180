//! One object of a file before its kind is known: JSON text that is parsed on demand, or a YAML document.

mod head;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use self::head::{Opened, json_head, yaml_head};
use crate::text::{Malformed, pieces::Format, strip_position, yaml};

/// One object.
#[derive(Debug)]
pub(crate) struct Manifest<'a> {
    /// The first line of its document, counted from 1.
    pub(crate) line: usize,
    /// Its index in each list that contains it, outermost first.
    pub(crate) items: Box<[usize]>,
    /// The first line of the object itself, if known.
    first_line: Option<usize>,
    /// Its API version and kind, where they are known and it is no list.
    known: Option<(&'a str, &'a str)>,
    body: Body<'a>,
}

#[derive(Debug)]
enum Body<'a> {
    Json(&'a str),
    Yaml(Value),
    /// A list that is parsed item by item; its document follows `before` lines.
    YamlList {
        document: &'a str,
        before: usize,
        list: yaml::List<'a>,
    },
    /// An item of such a list, after this many lines of the file.
    YamlItem(usize, &'a str),
}

/// How many lists may contain an object, one in the other. Each is read once for each list around it.
const MOST_LISTS: usize = 8;

/// The kind of an object, and its items if it is a list.
#[derive(Debug, Default)]
pub(crate) struct Head<'a> {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) items: Option<Vec<Manifest<'a>>>,
}

/// An object of which only the name is read.
#[derive(Default, Deserialize)]
struct Named {
    #[serde(default)]
    metadata: Name,
}

#[derive(Default, Deserialize)]
struct Name {
    #[serde(default)]
    name: String,
}

impl Head<'_> {
    /// The API group; empty for core.
    pub(crate) fn group(&self) -> &str {
        self.api_version
            .rsplit_once('/')
            .map_or("", |(group, _)| group)
    }
}

impl Head<'_> {
    /// That of a list whose fields other than its items are this document.
    pub(crate) fn of_list(text: &str) -> Self {
        let mut value = yaml::first(text).unwrap_or_default();
        yaml_head(&mut value).0
    }
}

impl<'a> Manifest<'a> {
    /// An item of a list that is read piece by piece, which so many lines precede, with its API version and kind where
    /// they are known.
    pub(crate) fn item(
        before: usize,
        format: Format,
        text: &'a str,
        known: Option<(&'a str, &'a str)>,
    ) -> Self {
        Self {
            line: before + 1,
            items: Box::default(),
            first_line: None,
            known,
            body: match format {
                Format::Json => Body::Json(text),
                Format::Yaml => Body::YamlItem(before, text),
            },
        }
    }

    /// An object at the same place.
    pub(crate) fn with(&self, object: Value) -> Manifest<'static> {
        Manifest {
            line: self.line,
            items: self.items.clone(),
            first_line: self.first_line,
            known: None,
            body: Body::Yaml(object),
        }
    }

    /// The same without the text of the file, if it is parsed.
    fn owned(self) -> Option<Manifest<'static>> {
        let Body::Yaml(value) = self.body else {
            return None;
        };
        Some(Manifest {
            line: self.line,
            items: self.items,
            first_line: self.first_line,
            known: None,
            body: Body::Yaml(value),
        })
    }

    /// The first line of the object, counted from 1; that of its document if its own is not known.
    pub(crate) fn own_line(&self) -> usize {
        self.first_line.unwrap_or(self.line)
    }

    /// Whether it has fields, as every object has.
    pub(crate) fn is_object(&self) -> bool {
        match &self.body {
            Body::Json(text) => text.trim_start().starts_with('{'),
            Body::Yaml(value) => value.is_object(),
            Body::YamlList { .. } | Body::YamlItem(..) => true,
        }
    }

    /// The name of the object; empty if it has none.
    pub(crate) fn name(&self) -> String {
        self.read::<Named>().unwrap_or_default().metadata.name
    }

    /// Reads the object as a type.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, String> {
        let message = |error: &serde_path_to_error::Error<serde_json::Error>| match error
            .path()
            .to_string()
            .as_str()
        {
            "." => strip_position(error.inner()),
            path => format!("`{path}`: {}", strip_position(error.inner())),
        };
        let of_value = |value: &Value| {
            serde_path_to_error::deserialize(value).map_err(|error| message(&error))
        };
        match &self.body {
            Body::Json(text) => {
                let json = &mut serde_json::Deserializer::from_str(text);
                serde_path_to_error::deserialize(json).or_else(|error| {
                    // Like for the API server, the last of several fields with the same name counts.
                    match last_fields(text).filter(|_| is_duplicate(error.inner())) {
                        Some(value) => of_value(&value),
                        None => Err(message(&error)),
                    }
                })
            }
            Body::Yaml(value) => of_value(value),
            Body::YamlList { document, .. } | Body::YamlItem(_, document) => {
                let parsed = yaml::parse(document).into_iter().next();
                let parsed = parsed.ok_or("the document is empty")?;
                of_value(&parsed.map_err(|error| error.to_string())?.value)
            }
        }
    }

    /// Reads the kind of the object. Items are moved out, not copied.
    ///
    /// # Errors
    /// When an item of a large list is not valid YAML, or in too many lists.
    pub(crate) fn head(&mut self) -> Result<Head<'a>, Malformed> {
        if let Some((api_version, kind)) = self.known {
            return Ok(Head {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
                items: None,
            });
        }
        if self.items.len() > MOST_LISTS {
            let message = format!(
                "is an item of more than {MOST_LISTS} lists, one in the other: write one list of all objects"
            );
            return Err(Malformed::at(self.own_line(), 0, message));
        }
        let json = match self.body {
            Body::Json(text) => json_head(text),
            Body::Yaml(_) | Body::YamlList { .. } | Body::YamlItem(..) => Ok(Opened::default()),
        };
        if let (Body::Json(text), Err(error)) = (&self.body, &json) {
            if !error.is_data() {
                return Err(Malformed::from_json(error).in_document(self.line - 1, text));
            }
            if let Some(value) = last_fields(text).filter(|_| is_duplicate(error)) {
                self.body = Body::Yaml(value);
            }
        }
        if let Body::YamlItem(before, text) = self.body {
            self.first_line = Some(before + 1);
            self.body = Body::Yaml(yaml_item(before, text)?);
        }
        let (mut head, items) = match &mut self.body {
            Body::Json(_) => json.unwrap_or_default(),
            Body::Yaml(value) => yaml_head(value),
            Body::YamlList { before, list, .. } => {
                let (head, _) = yaml_head(&mut list.head);
                let items = std::mem::take(&mut list.items).into_iter();
                let body = |(number, text)| Body::YamlItem(*before + number, text);
                (head, Some(items.map(body).collect()))
            }
            Body::YamlItem(..) => Opened::default(),
        };
        let item = |(index, body)| Manifest {
            line: self.line,
            items: self.items.iter().copied().chain([index]).collect(),
            first_line: None,
            known: None,
            body,
        };
        head.items = items.map(|items| items.into_iter().enumerate().map(item).collect());
        Ok(head)
    }
}

/// The value of JSON text in which the last of several fields with the same name counts.
fn last_fields(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

fn is_duplicate(error: &serde_json::Error) -> bool {
    error.to_string().starts_with("duplicate field")
}

/// The one object in an item of a list.
fn yaml_item(before: usize, text: &str) -> Result<Value, Malformed> {
    let parsed = yaml::parse(text).into_iter().next();
    let value = match parsed {
        Some(Ok(parsed)) => parsed.value,
        Some(Err(error)) => return Err(Malformed::from_yaml(&error).in_document(before, text)),
        None => Value::Null,
    };
    match value {
        Value::Array(mut items) => Ok(items.pop().unwrap_or_default()),
        _ => Err(Malformed::at(
            before + 1,
            1,
            "is not a valid item of the list",
        )),
    }
}

/// The objects of a file; in JSON, up to the first that cannot be parsed.
pub(crate) fn manifests(
    text: &str,
) -> Box<dyn Iterator<Item = Result<Manifest<'_>, Malformed>> + '_> {
    manifests_after(0, text)
}

/// The objects of a YAML file, parsed; `None` for JSON and for large lists, which are parsed object by object.
pub(crate) fn parsed(text: &str) -> Option<Vec<Result<Manifest<'static>, Malformed>>> {
    let begin = text.trim_start_matches('\u{feff}').trim_start();
    if begin.starts_with(['{', '[']) {
        return None;
    }
    let owned = |manifest: Result<Manifest<'_>, Malformed>| match manifest {
        Ok(manifest) => manifest.owned().map(Ok),
        Err(malformed) => Some(Err(malformed)),
    };
    yaml(0, text).map(owned).collect()
}

/// The objects of a part of a file, which so many lines precede.
pub(crate) fn manifests_after(
    before: usize,
    text: &str,
) -> Box<dyn Iterator<Item = Result<Manifest<'_>, Malformed>> + '_> {
    let text = text.trim_start_matches('\u{feff}');
    match text.trim_start().chars().next() {
        // Text with document markers is YAML, which includes JSON.
        Some('{' | '[') if !text.contains("\n---") => {
            let mut objects = json(before, text).peekable();
            // YAML may begin like this too. Text that is neither is reported as JSON.
            if matches!(objects.peek(), Some(Err(_))) {
                let mut documents = yaml(before, text).peekable();
                if matches!(documents.peek(), Some(Ok(_))) {
                    return Box::new(documents);
                }
            }
            Box::new(objects)
        }
        _ => Box::new(yaml(before, text)),
    }
}

fn json(before: usize, text: &str) -> impl Iterator<Item = Result<Manifest<'_>, Malformed>> {
    let objects = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let (mut seen, mut line) = (0, before + 1);
    objects.map(move |object| match object {
        Ok(object) => {
            // The object is a slice of the text.
            let begin = object.get().as_ptr().addr() - text.as_ptr().addr();
            line += text[seen..begin].matches('\n').count();
            seen = begin;
            Ok(Manifest {
                line,
                items: Box::default(),
                first_line: None,
                known: None,
                body: Body::Json(object.get()),
            })
        }
        Err(error) => {
            let mut malformed = Malformed::from_json(&error);
            malformed.message += "; the rest of the file is not read";
            Err(malformed.in_document(before, text))
        }
    })
}

/// The documents of a YAML text. Each is parsed alone: an error in one does not affect the others, and only
/// one is in memory at a time.
fn yaml(before: usize, text: &str) -> impl Iterator<Item = Result<Manifest<'_>, Malformed>> {
    yaml::documents(text).flat_map(move |(lines, document)| {
        let before = before + lines;
        if let Some(list) = yaml::list(document) {
            return vec![Ok(Manifest {
                line: before + 1,
                items: Box::default(),
                first_line: None,
                known: None,
                body: Body::YamlList {
                    document,
                    before,
                    list,
                },
            })];
        }
        let manifest = |parsed: yaml::Parsed| match parsed {
            Ok(parsed) => Ok(Manifest {
                line: before + usize::try_from(parsed.referenced.line()).unwrap_or_default(),
                items: Box::default(),
                first_line: None,
                known: None,
                body: Body::Yaml(parsed.value),
            }),
            Err(error) => Err(Malformed::from_yaml(&error).in_document(before, document)),
        };
        yaml::parse(document).into_iter().map(manifest).collect()
    })
}
