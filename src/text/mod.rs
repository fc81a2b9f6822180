//! Text of files and of standard input: which files there are, how much of them is read, and what is wrong
//! with it.

mod malformed;
pub mod paths;
pub(crate) mod yaml;

pub(crate) use self::malformed::{Malformed, UNRENDERED, strip_position};
pub use self::paths::Problem;

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::FileTypeExt,
    path::Path,
};

/// How much is read, in bytes: a larger input takes as much memory.
const MOST: u64 = 1 << 30;

/// Opens a file that ends: pipes do, devices may not.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let kind = fs::metadata(path)?.file_type();
    // What a shell hands over by number may be its terminal.
    let is_handed_over = path.starts_with("/dev/fd") || path == Path::new("/dev/stdin");
    if (kind.is_char_device() || kind.is_block_device()) && !is_handed_over {
        return Err(io::Error::other("it is a device, and no file"));
    }
    File::open(path)
}

/// Reads text: UTF-8, or UTF-16 with a byte-order mark.
pub(crate) fn read(from: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        return Err(io::Error::other("it has more than 1 GiB: split it"));
    }
    match bytes[..] {
        [0xff, 0xfe, ref rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, ref rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => String::from_utf8(bytes).map_err(|_| no_text()),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> io::Result<String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units = pairs.iter().copied().map(unit);
    let text: Result<String, _> = char::decode_utf16(units).collect();
    text.ok().filter(|_| rest.is_empty()).ok_or_else(no_text)
}

fn no_text() -> io::Error {
    io::Error::other("it is not UTF-8 text: convert it, or leave it out")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    #[test]
    fn text_is_decoded_or_told_to_be_none() {
        assert_eq!(read(&b"k: \xc3\xa9"[..]).unwrap(), "k: é");
        assert_eq!(read(&b"\xff\xfek\0:\0"[..]).unwrap(), "k:");
        assert_eq!(read(&b"\xfe\xff\0k\0:"[..]).unwrap(), "k:");
        for bytes in [&b"k: \xe9"[..], b"\xff\xfek", b"\xff\xfe\x00\xd8"] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains("is not UTF-8 text"), "{error}");
        }
    }

    #[test]
    fn a_device_is_no_file() {
        let error = open(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(error, "it is a device, and no file");
    }
}
