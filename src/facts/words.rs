//! Strings of an object: those of annotations are cut, since most are never read.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::wire::{Fields, Malformed, Proto, Value, entry};
use crate::model::{
    exemption::{EXEMPT, EXEMPT_UNTIL},
    pod::Phase,
};

/// The annotations; long values are cut, but for those that are read as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations(Vec<(Box<str>, Box<str>)>);

/// The labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Vec<(Box<str>, Box<str>)>);

/// Present on the mirror pod of a static pod, with any value.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
/// Names the account whose token a Secret holds.
pub const TOKEN_OWNER: &str = "kubernetes.io/service-account.name";
/// Has the uid of that account.
pub const TOKEN_OWNER_UID: &str = "kubernetes.io/service-account.uid";

/// The annotations that are read as a whole.
const WHOLE: [&str; 5] = [MIRROR, TOKEN_OWNER, TOKEN_OWNER_UID, EXEMPT, EXEMPT_UNTIL];
/// How many bytes are kept of the value of any other annotation.
const MAX_VALUE: usize = 256;

impl Annotations {
    /// The value of an annotation.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter()
            .find(|(known, _)| *known == key)
            .map(|(_, value)| value)
    }

    /// All keys with their values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Annotations;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
                let mut annotations = Vec::new();
                while let Some(key) = map.next_key::<Box<str>>()? {
                    let value = if WHOLE.contains(&&*key) {
                        map.next_value::<Option<Box<str>>>()?.unwrap_or_default()
                    } else {
                        map.next_value::<CutValue>()?.0
                    };
                    annotations.push((key, value));
                }
                Ok(Annotations(annotations))
            }
        }
        deserializer.deserialize_map(All)
    }
}

impl Labels {
    /// The value of a label.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| **known == *key);
        found.map(|(_, value)| &**value)
    }

    /// All keys with their values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }
}

/// Texts by their keys; what is no text is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts(Vec<(Box<str>, Box<str>)>);

impl Texts {
    /// All keys with their texts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Labels::deserialize(deserializer).map(|Labels(texts)| Self(texts))
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Labels {
    fn from(labels: [(&str, &str); N]) -> Self {
        Self(labels.map(|(key, value)| (key.into(), value.into())).into())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Labels;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut labels = Vec::new();
                while let Some((key, LabelValue(value))) = map.next_entry()? {
                    labels.push((key, value));
                }
                Ok(Labels(labels))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// What a function keeps of a text.
fn kept<T>(value: Value<'_>, read: fn(&str) -> T) -> Result<T, Malformed> {
    value.text().map(|text| read(&text))
}

/// The beginning of a text.
fn cut(text: &str) -> Box<str> {
    text[..text.floor_char_boundary(MAX_VALUE)].into()
}

/// Declares a string of which only the result of a function is kept.
macro_rules! hinting {
    ($($(#[$doc:meta])* $name:ident($kept:ty) = $read:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Default, PartialEq, Eq)]
            pub struct $name(pub $kept);

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    deserializer.deserialize_any(Text($read)).map(Self)
                }
            }

            impl Proto for $name {
                fn merge(&mut self, value: Value<'_>) -> Result<(), Malformed> {
                    self.0 = kept(value, $read)?;
                    Ok(())
                }
            }
        )*
    };
}

hinting! {
    /// The name of an environment variable.
    VariableName(Box<str>) = |text| text.into();
    /// A word of a command line, or the value of an environment variable.
    Word(Box<str>) = |text| text.into();
    /// The value of a label.
    LabelValue(Box<str>) = |text| text.into();
    /// The value of an annotation.
    CutValue(Box<str>) = cut;
    /// The phase of a pod.
    PodPhase(Phase) = Phase::named;
}

/// A time, in seconds since 1970; 0 if it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time(pub i64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = |text: &str| text.parse().map_or(0, jiff::Timestamp::as_second);
        deserializer.deserialize_any(Text(seconds)).map(Self)
    }
}

impl Proto for Time {
    fn merge(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        for field in Fields(value.bytes()?) {
            if let (1, seconds) = field? {
                self.0.merge(seconds)?;
            }
        }
        // JSON has no other times.
        self.0 = jiff::Timestamp::from_second(self.0).map_or(0, jiff::Timestamp::as_second);
        Ok(())
    }
}

impl Proto for Annotations {
    fn merge(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        let (key, value) = entry(value)?;
        let kept = if WHOLE.contains(&&*key) {
            value.into()
        } else {
            cut(&value)
        };
        self.0.push((key.into(), kept));
        Ok(())
    }
}

impl Proto for Labels {
    fn merge(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        let (key, value) = entry(value)?;
        self.0.push((key.into(), value.into()));
        Ok(())
    }
}

impl Proto for Texts {
    fn merge(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        let (key, value) = entry(value)?;
        self.0.push((key.into(), value.into()));
        Ok(())
    }
}

/// Reads a string with a function; anything else becomes the default.
struct Text<T>(fn(&str) -> T);

impl<'de, T: Default> Visitor<'de> for Text<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(self.0(text))
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(T::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<T, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(T::default())
    }
}
