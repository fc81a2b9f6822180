//! Text of files and of standard input: which files exist, how much of them is read, and where are errors?

pub mod folders;
mod malformed;
mod merges;
pub(crate) mod parallel;
pub mod paths;
pub(crate) mod pieces;
pub(crate) mod quotes;
pub(crate) mod shell;
pub(crate) mod yaml;

pub(crate) use self::malformed::{Malformed, UNRENDERED, strip_position};
pub use self::paths::Problem;

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Cursor, Read},
    path::Path,
};

/// How much of a text is held in memory, in bytes, where it can be read piece by piece.
const LARGE: u64 = 16 << 20;
/// How much of a text is held in memory, in bytes, where it cannot.
const MAX_BYTES: u64 = 1 << 30;
/// How much of a text is read at once, in bytes, where it is not held in memory.
const BLOCK: usize = 256 << 10;
/// The error for bytes that are no text.
const NOT_UTF8: &str = "it is not UTF-8 text: convert it, or do not scan it";

/// Opens a file or a pipe, but not a device, which may never end.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let kind = fs::metadata(path)?.file_type();
    // A file descriptor from the shell may be the terminal.
    let is_inherited = path.starts_with("/dev/fd") || path == Path::new("/dev/stdin");
    if is_device(kind) && !is_inherited {
        return Err(io::Error::other("it is a device, not a file"));
    }
    File::open(path)
}

#[cfg(unix)]
fn is_device(kind: fs::FileType) -> bool {
    use std::os::unix::fs::FileTypeExt;
    kind.is_char_device() || kind.is_block_device()
}

/// Other systems have no devices among their files.
#[cfg(not(unix))]
const fn is_device(_: fs::FileType) -> bool {
    false
}

/// A text of any size.
pub(crate) enum Text<'a> {
    /// All of it.
    Whole(String),
    /// One that is too large for that: [`pieces`] reads it.
    Large(Box<dyn BufRead + 'a>),
}

/// Reads text: UTF-8, or UTF-16 with a byte-order mark. A large one is to be read piece by piece.
pub(crate) fn begin<'a>(from: impl Read + 'a) -> io::Result<Text<'a>> {
    within(LARGE, from)
}

fn within<'a>(limit: u64, mut from: impl Read + 'a) -> io::Result<Text<'a>> {
    let mut bytes = Vec::new();
    let mut begin = from.by_ref().take(limit + 1);
    begin.read_to_end(&mut bytes)?;
    let is_large = bytes.len() as u64 > limit;
    match bytes[..] {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] if is_large => Err(io::Error::other(format!(
            "it is larger than {} MiB, and not UTF-8 text: convert it",
            limit >> 20
        ))),
        [0xff, 0xfe, ref rest @ ..] => utf16(rest, u16::from_le_bytes).map(Text::Whole),
        [0xfe, 0xff, ref rest @ ..] => utf16(rest, u16::from_be_bytes).map(Text::Whole),
        _ if is_large => {
            let all = Cursor::new(bytes).chain(from);
            Ok(Text::Large(Box::new(BufReader::with_capacity(BLOCK, all))))
        }
        _ => String::from_utf8(bytes)
            .map(Text::Whole)
            .map_err(|_| not_utf8()),
    }
}

/// Reads all of a text.
pub(crate) fn read(from: impl Read) -> io::Result<String> {
    match within(MAX_BYTES, from)? {
        Text::Whole(text) => Ok(text),
        Text::Large(_) => Err(io::Error::other("it is larger than 1 GiB")),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> io::Result<String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units = pairs.iter().copied().map(unit);
    let text: Result<String, _> = char::decode_utf16(units).collect();
    text.ok().filter(|_| rest.is_empty()).ok_or_else(not_utf8)
}

fn not_utf8() -> io::Error {
    io::Error::other(NOT_UTF8)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    #[test]
    fn text_is_decoded_and_other_bytes_are_an_error() {
        assert_eq!(read(&b"k: \xc3\xa9"[..]).unwrap(), "k: é");
        assert_eq!(read(&b"\xff\xfek\0:\0"[..]).unwrap(), "k:");
        assert_eq!(read(&b"\xfe\xff\0k\0:"[..]).unwrap(), "k:");
        for bytes in [&b"k: \xe9"[..], b"\xff\xfek", b"\xff\xfe\x00\xd8"] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains("is not UTF-8 text"), "{error}");
        }
    }

    #[test]
    fn a_device_is_an_error() {
        let error = open(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(error, "it is a device, not a file");
    }
}
