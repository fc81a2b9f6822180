//! Protobuf, as the API server writes it. A value is a piece of the message, and is copied only where it is kept;
//! fields that are not read are skipped. Wrong bytes are an error.

use std::borrow::Cow;

use prost::encoding::{self, DecodeContext, WireType, skip_field};

/// Bytes that are no message of the type that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed protobuf")]
pub struct Malformed;

impl From<prost::DecodeError> for Malformed {
    fn from(_: prost::DecodeError) -> Self {
        Self
    }
}

/// The value of a field.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A number or a boolean.
    Number(u64),
    /// A text or a message.
    Bytes(&'a [u8]),
    /// Of a type that no field that we read has.
    Other,
}

impl<'a> Value<'a> {
    /// The bytes of a text or a message.
    ///
    /// # Errors
    /// When it is none.
    pub const fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number(_) | Self::Other => Err(Malformed),
        }
    }

    /// A text. As in JSON, bytes that are no UTF-8 are replaced.
    ///
    /// # Errors
    /// When it is none.
    pub fn text(self) -> Result<Cow<'a, str>, Malformed> {
        // Nearly all texts are valid: checking that alone is much faster.
        self.bytes().map(|bytes| match str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => String::from_utf8_lossy(bytes),
        })
    }

    const fn number(self) -> Result<u64, Malformed> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Bytes(_) | Self::Other => Err(Malformed),
        }
    }
}

/// A field: its number, its value, and all of its bytes.
pub(super) type Whole<'a> = (u32, Value<'a>, &'a [u8]);

/// The fields of a message, with their numbers; it ends after the first error.
#[derive(Clone, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    /// The next field, and all of its bytes.
    ///
    /// # Errors
    /// As of [`Iterator::next`].
    pub(super) fn next_whole(&mut self) -> Result<Option<Whole<'a>>, Malformed> {
        let before = self.0;
        let Some((number, value)) = self.next().transpose()? else {
            return Ok(None);
        };
        Ok(Some((
            number,
            value,
            &before[..before.len() - self.0.len()],
        )))
    }

    fn read(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let key = varint(&mut self.0)?;
        let number = u32::try_from(key >> 3).map_err(|_| Malformed)?;
        if !(encoding::MIN_TAG..=encoding::MAX_TAG).contains(&number) {
            return Err(Malformed);
        }
        let value = match WireType::try_from(key & 7)? {
            WireType::Varint => Value::Number(varint(&mut self.0)?),
            WireType::LengthDelimited => {
                let length = varint(&mut self.0)?;
                let length = usize::try_from(length).map_err(|_| Malformed)?;
                let (value, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
                self.0 = rest;
                Value::Bytes(value)
            }
            other => {
                // Groups may be nested, up to a limit.
                skip_field(other, number, &mut self.0, DecodeContext::default())?;
                Value::Other
            }
        };
        Ok((number, value))
    }
}

/// The next number: most have one byte.
#[inline]
fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    match **bytes {
        [byte, ref rest @ ..] if byte < 0x80 => {
            *bytes = rest;
            Ok(byte.into())
        }
        _ => Ok(encoding::decode_varint(bytes)?),
    }
}

/// What is read from the value of a field. A field that occurs again replaces or completes what is known, as protobuf
/// says.
pub trait Proto: Default {
    /// Reads one value.
    ///
    /// # Errors
    /// When it is not of this type.
    fn merge(&mut self, value: Value<'_>) -> Result<(), Malformed>;
}

/// How a message is read.
pub type Decode<T> = fn(&[u8]) -> Result<Box<T>, Malformed>;

/// Reads a message, into the memory where it stays: some types have a thousand bytes.
///
/// # Errors
/// When the bytes are none of this type.
pub fn decode<T: Proto>(message: &[u8]) -> Result<Box<T>, Malformed> {
    let mut decoded = Box::<T>::default();
    decoded.merge(Value::Bytes(message))?;
    Ok(decoded)
}

/// Key and value of an entry of a map.
///
/// # Errors
/// When it is none.
pub fn entry(value: Value<'_>) -> Result<(Cow<'_, str>, Cow<'_, str>), Malformed> {
    let (mut key, mut text) = (Cow::default(), Cow::default());
    for field in Fields(value.bytes()?) {
        match field? {
            (1, value) => key = value.text()?,
            (2, value) => text = value.text()?,
            _ => {}
        }
    }
    Ok((key, text))
}

impl Proto for String {
    fn merge(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        *self = value.text()?.into_owned();
        Ok(())
    }
}

impl Proto for Box<str> {
    fn merge(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        *self = value.text()?.into();
        Ok(())
    }
}

impl Proto for bool {
    fn merge(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        *self = value.number()? != 0;
        Ok(())
    }
}

impl Proto for i64 {
    fn merge(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        // Negative numbers are written as their two's complement.
        *self = value.number()?.cast_signed();
        Ok(())
    }
}

impl<T: Proto> Proto for Option<T> {
    fn merge(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        self.get_or_insert_default().merge(value)
    }
}

/// A list: each value is another item.
impl<T: Proto> Proto for Vec<T> {
    fn merge(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        self.push_mut(T::default()).merge(value)
    }
}

impl<T: Proto> Proto for Box<T> {
    fn merge(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        (**self).merge(value)
    }
}
