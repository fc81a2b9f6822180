//! Where a text in quotes ends, in JSON that arrives in parts.

use memchr::memchr2;

/// Where in JSON the last byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Quotes {
    #[default]
    Outside,
    /// In a text.
    Within,
    /// In a text, after a backslash.
    Escaped,
}

impl Quotes {
    /// Reads a text up to its end, the quote included, and returns how many bytes of it are here.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> usize {
        let mut count = 0;
        if *self == Self::Escaped {
            *self = Self::Within;
            count = 1;
        }
        while let Some(next) = memchr2(b'"', b'\\', bytes.get(count..).unwrap_or_default()) {
            count += next + 1;
            if bytes[count - 1] == b'"' {
                *self = Self::Outside;
                return count;
            }
            if count == bytes.len() {
                *self = Self::Escaped;
                return count;
            }
            count += 1;
        }
        bytes.len()
    }
}
