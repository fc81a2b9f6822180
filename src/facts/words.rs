//! Strings of which only the needed information is kept: most text of a pod is never used.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::consumers::{self, Hint};
use crate::model::exemption::{EXEMPT, EXEMPT_UNTIL};

/// The annotations: the known ones with their values, and the keys of all others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    known: Vec<(&'static str, String)>,
    /// With whether the value is anything but `false`.
    others: Vec<(Box<str>, bool)>,
}

/// The labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Vec<(Box<str>, Box<str>)>);

/// Present on the mirror pod of a static pod, with any value.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
/// Names the account whose token a Secret holds.
pub const TOKEN_OWNER: &str = "kubernetes.io/service-account.name";
/// Has the uid of that account.
pub const TOKEN_OWNER_UID: &str = "kubernetes.io/service-account.uid";

impl Annotations {
    /// The value of a known annotation.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.known.iter().find(|(known, _)| *known == key);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether there is an annotation of this key with a value other than `false`.
    #[must_use]
    pub fn enables(&self, key: &str) -> bool {
        let mut others = self.others.iter();
        others.any(|(other, enables)| *enables && **other == *key)
            || self.get(key).is_some_and(is_not_false)
    }

    /// The annotation of this key, if it is known.
    fn known(key: &str) -> Option<&'static str> {
        [MIRROR, TOKEN_OWNER, TOKEN_OWNER_UID, EXEMPT, EXEMPT_UNTIL]
            .into_iter()
            .chain(consumers::annotations())
            .find(|known| *known == key)
    }
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Known;
        impl<'de> Visitor<'de> for Known {
            type Value = Annotations;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
                let mut annotations = Annotations::default();
                while let Some(key) = map.next_key::<Box<str>>()? {
                    if let Some(key) = Annotations::known(&key) {
                        let value: Option<String> = map.next_value()?;
                        annotations.known.push((key, value.unwrap_or_default()));
                    } else {
                        let NotFalse(enables) = map.next_value()?;
                        annotations.others.push((key, enables));
                    }
                }
                Ok(annotations)
            }
        }
        deserializer.deserialize_map(Known)
    }
}

impl Labels {
    /// The value of a label.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| **known == *key);
        found.map(|(_, value)| &**value)
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

fn is_not_false(value: &str) -> bool {
    !value.eq_ignore_ascii_case("false")
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
        )*
    };
}

hinting! {
    /// The name of an environment variable.
    VariableName(Box<str>) = |text| text.into();
    /// A word of a command line, or the value of an environment variable.
    Word(Hint) = consumers::hint_of_word;
    /// The value of a label.
    LabelValue(Box<str>) = |text| text.into();
    /// Whether the value of an annotation is anything but `false`.
    NotFalse(bool) = is_not_false;
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
