//! Merge keys (`<<`) as kubectl expands them: where they stand, so that they override the fields before them and are
//! overridden by those after them. Mirrors `(*decoder).merge` of sigs.k8s.io/yaml/goyaml.v2.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// A merge key.
pub(super) const MERGE: &str = "<<";

/// A value whose mappings have their entries in order, merge keys among them.
#[derive(Debug)]
pub(super) enum Ordered {
    Scalar(Value),
    List(Vec<Self>),
    Mapping(Vec<(String, Self)>),
}

impl Ordered {
    /// Whether its fields can be merged into a mapping.
    fn is_mergeable(&self) -> bool {
        match self {
            Self::Scalar(value) => value.is_null(),
            Self::List(items) => items.iter().all(Self::is_mergeable),
            Self::Mapping(_) => true,
        }
    }

    /// The value with its merge keys expanded.
    pub(super) fn expanded(self) -> Value {
        match self {
            Self::Scalar(value) => value,
            Self::List(items) => items.into_iter().map(Self::expanded).collect(),
            Self::Mapping(entries) => {
                let mut fields = Map::new();
                for (key, value) in entries {
                    let value = value.expanded();
                    if key == MERGE {
                        merge(&mut fields, value);
                    } else {
                        fields.insert(key, value);
                    }
                }
                fields.into()
            }
        }
    }
}

/// Adds the fields of a mapping, or of several: then the first one wins.
fn merge(fields: &mut Map<String, Value>, value: Value) {
    match value {
        Value::Object(own) => fields.extend(own),
        Value::Array(all) => {
            for one in all.into_iter().rev() {
                merge(fields, one);
            }
        }
        _ => {}
    }
}

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Ordered;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Ordered, E> {
        Ok(Ordered::Scalar(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Ordered, E> {
        Ok(Ordered::Scalar(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Ordered, E> {
        Ok(Ordered::Scalar(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Ordered, E> {
        let number = Number::from_f64(value);
        Ok(Ordered::Scalar(number.map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Ordered, E> {
        Ok(Ordered::Scalar(value.into()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Ordered, E> {
        Ok(Ordered::Scalar(value.into()))
    }

    fn visit_unit<E: Error>(self) -> Result<Ordered, E> {
        Ok(Ordered::Scalar(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Ordered, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Ordered, D::Error> {
        Ordered::deserialize(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Ordered, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Ordered::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Ordered, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = mapping.next_entry::<String, Ordered>()? {
            if key == MERGE && !value.is_mergeable() {
                return Err(Error::custom(
                    "a merge key (<<) needs a mapping, or a list of mappings",
                ));
            }
            entries.push((key, value));
        }
        Ok(Ordered::Mapping(entries))
    }
}
