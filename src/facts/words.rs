//! Strings that are kept only as what they tell: most of a pod is text that nobody here reads.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::consumers::{self, Hint};

/// The annotations that somebody reads; all others are dropped while parsing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations(Vec<(&'static str, String)>);

/// Present on the mirror of a static pod, with any value.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
/// The account whose token a Secret is made to hold.
pub const TOKEN_OWNER: &str = "kubernetes.io/service-account.name";
/// The uid of that account.
pub const TOKEN_OWNER_UID: &str = "kubernetes.io/service-account.uid";

impl Annotations {
    /// The value of an annotation that somebody reads.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| *known == key);
        found.map(|(_, value)| value.as_str())
    }

    /// The annotation of this key, if somebody reads it.
    fn known(key: &str) -> Option<&'static str> {
        [MIRROR, TOKEN_OWNER, TOKEN_OWNER_UID]
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
                let mut known = Vec::new();
                while let Some(AnnotationKey(key)) = map.next_key()? {
                    match key {
                        Some(key) => {
                            let value: Option<String> = map.next_value()?;
                            known.push((key, value.unwrap_or_default()));
                        }
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Annotations(known))
            }
        }
        deserializer.deserialize_map(Known)
    }
}

/// Declares a string that is kept only as what it tells.
macro_rules! hinting {
    ($($(#[$doc:meta])* $name:ident($kept:ty) = $read:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    VariableName(Option<&'static str>) = consumers::of_variable;
    /// A word of a command line, or the value of an environment variable.
    Word(Hint) = consumers::of_word;
    /// The key of an annotation.
    AnnotationKey(Option<&'static str>) = Annotations::known;
}

/// Reads a string as what it tells; anything else tells nothing.
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
