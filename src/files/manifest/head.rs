//! What is an object, and is it a list? Read before anything else of it.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{Body, Head};

/// The head of an object, and its items if it is a list.
pub(super) type Opened<'a> = (Head<'a>, Option<Vec<Body<'a>>>);

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct JsonHead<'a> {
    #[serde(borrow)]
    api_version: Option<&'a RawValue>,
    #[serde(borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    items: Option<&'a RawValue>,
}

pub(super) fn json_head<'a>(text: &'a str) -> serde_json::Result<Opened<'a>> {
    let bodies = |items: Vec<&'a RawValue>| {
        let items = items.into_iter();
        items.map(|item| Body::Json(item.get())).collect()
    };
    if text.starts_with('[') {
        return Ok((Head::default(), Some(bodies(serde_json::from_str(text)?))));
    }
    let wire: JsonHead<'a> = serde_json::from_str(text)?;
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
    Ok((head, items.map(bodies)))
}

pub(super) fn yaml_head<'a>(value: &mut Value) -> Opened<'a> {
    let string = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(|value| value.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let list = if value.is_array() {
        // Some tools write a bare array of objects.
        Some(value.take())
    } else {
        value.get_mut("items").map(Value::take)
    };
    let items = match list {
        Some(Value::Array(items)) => Some(items),
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
