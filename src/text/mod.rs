//! Text of files and of standard input: which files exist, how much of them is read, and where are errors?

pub mod folders;
mod malformed;
pub mod paths;
pub(crate) mod yaml;

pub(crate) use self::malformed::{Malformed, UNRENDERED, strip_position};
pub use self::paths::Problem;

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// How much is read, in bytes: the input is held in memory.
const MAX_BYTES: u64 = 1 << 30;

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

/// Reads text: UTF-8, or UTF-16 with a byte-order mark.
pub(crate) fn read(from: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is larger than 1 GiB: split it"));
    }
    match bytes[..] {
        [0xff, 0xfe, ref rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, ref rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => String::from_utf8(bytes).map_err(|_| not_utf8()),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> io::Result<String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units = pairs.iter().copied().map(unit);
    let text: Result<String, _> = char::decode_utf16(units).collect();
    text.ok().filter(|_| rest.is_empty()).ok_or_else(not_utf8)
}

fn not_utf8() -> io::Error {
    io::Error::other("it is not UTF-8 text: convert it, or do not scan it")
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
