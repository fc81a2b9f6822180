//! Reads one file after another into a record.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use memchr::memmem::Finder;

use super::{
    ACCOUNT, MARKS,
    broken::Broken,
    elements, envelope,
    event::{Event, Found},
    may_have_event, names_account, place,
    split::{Piece, Splitter},
    whole,
};
use crate::{
    text::{self, Problem},
    usage::{Delivery, Micros, Record},
};

/// How much is read at once, in bytes.
const BLOCK: usize = 256 << 10;
/// The first bytes of a compressed file.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// How an event of the API server begins in its own files.
const OWN: &[u8] = br#"{"kind":"Event","apiVersion":"audit.k8s.io/"#;

/// Events that CloudWatch sends are compressed, and not read: in a field of this name, or as Base64 of a gzip file.
const COMPRESSED: [&[u8]; 2] = [b"\"awslogs\"", b"\"H4sI"];

/// Whether a text may have compressed events in it.
fn is_compressed(text: &[u8]) -> bool {
    COMPRESSED
        .iter()
        .any(|mark| memchr::memmem::find(text, mark).is_some())
}

/// What lines that matter contain: others are skipped without being parsed.
pub(super) struct Needles([Finder<'static>; 4]);

impl Default for Needles {
    fn default() -> Self {
        // The account of a token; an API server's user and Lease; reviews; pods that get a node.
        Self([ACCOUNT, "apiserver", "tokenreviews", "binding"].map(Finder::new))
    }
}

impl Needles {
    pub(super) fn are_in(&self, line: &[u8]) -> bool {
        self.0.iter().any(|needle| needle.find(line).is_some())
    }
}

/// Reads files.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) record: Record,
    pub(super) problems: Vec<Problem>,
    pub(super) broken: Option<Broken>,
    pub(super) events: u64,
    needles: Needles,
    file: PathBuf,
}

impl Reader {
    /// A reader that leaves out events before this time.
    pub(super) fn since(since: Option<Micros>) -> Self {
        Self {
            record: Record::since(since),
            ..Self::default()
        }
    }

    /// Reads a file to its end, or as far as it can be read.
    pub(super) fn file(&mut self, file: &Path) {
        file.clone_into(&mut self.file);
        let result = if file.as_os_str() == "-" {
            self.stream(&mut BufReader::with_capacity(BLOCK, io::stdin().lock()))
        } else {
            text::open(file).and_then(|opened| self.opened(opened))
        };
        if let Err(error) = result {
            // What follows is not known.
            self.record.unreadable();
            self.problems.push(Problem {
                place: place(file),
                message: format!("cannot be read to its end: {error}"),
            });
        }
        self.record.end_of_file();
    }

    fn opened(&mut self, file: File) -> io::Result<()> {
        let name = self.file.extension().unwrap_or_default();
        if name == "yaml" || name == "yml" {
            let text = text::read(file)?;
            self.yaml(&text);
            return Ok(());
        }
        self.stream(&mut BufReader::with_capacity(BLOCK, file))
    }

    fn stream(&mut self, stream: &mut impl BufRead) -> io::Result<()> {
        if stream.fill_buf()?.starts_with(&GZIP) {
            let plain = MultiGzDecoder::new(stream);
            return self.lines(plain);
        }
        self.lines(stream)
    }

    pub(super) fn lines(&mut self, mut stream: impl Read) -> io::Result<()> {
        let mut splitter = Splitter::default();
        let mut block = vec![0; BLOCK];
        let result = loop {
            match stream.read(&mut block) {
                Ok(0) => break Ok(()),
                Ok(count) => {
                    splitter.feed(&block[..count], &mut |piece, line| self.piece(piece, line));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        splitter.end(&mut |piece, line| self.piece(piece, line));
        result
    }

    /// Leases as YAML, or entries of Cloud Logging as `gcloud` prints them.
    fn yaml(&mut self, text: &str) {
        for (before, document) in text::yaml::documents(text) {
            let line = before + 1;
            let mut found = 0;
            for parsed in text::yaml::parse(document) {
                match parsed {
                    Ok(value) => found += self.contents(&value.value, line),
                    Err(_) => self.broken(line),
                }
            }
            self.is_all(document.as_bytes(), found, line);
        }
    }

    fn piece(&mut self, piece: Piece<'_>, line: usize) {
        match piece {
            Piece::Line(text) => self.line(text, line),
            Piece::LastLine(text) => {
                // A server that goes on writes its last line in parts.
                let is_cut = text.starts_with(b"{")
                    && !(text.ends_with(b"}") || text.ends_with(b"]"))
                    && whole::first(text).is_none();
                if is_cut {
                    self.record.cut();
                    self.note_broken(line);
                } else {
                    self.line(text, line);
                }
            }
            Piece::Value(text) => self.element(text, line),
            Piece::Broken => self.broken(line),
        }
    }

    fn line(&mut self, text: &[u8], line: usize) {
        let is_own = text.starts_with(OWN);
        if !text.starts_with(b"{") && !text.starts_with(b"[") {
            return self.prefixed(text, line);
        }
        if !self.needles.are_in(text) {
            self.other(text, line, is_own);
            return;
        }
        let delivery = if is_own {
            Delivery::File
        } else {
            Delivery::Lossy("a log shipper")
        };
        self.values(text, line, delivery);
    }

    /// A line of somebody who does not matter, if it is whole.
    fn other(&mut self, text: &[u8], line: usize, is_own: bool) {
        if !is_own && is_compressed(text) {
            return self.broken(line);
        }
        let is_whole = whole::seems_whole(text)
            && (text.ends_with(b"}") || text.ends_with(b"]"))
            && if is_own {
                whole::seems_event(text)
            } else {
                whole::has_whole_lists(text)
            };
        if is_whole {
            self.events += u64::from(is_own);
        } else if is_own && whole::has_user(text) != Some(false) {
            self.values(text, line, Delivery::File);
        } else if is_own || whole::is_part(text) {
            self.broken(line);
        }
    }

    /// A line with something before the event, as container runtimes write the time and the stream.
    fn prefixed(&mut self, text: &[u8], line: usize) {
        let is_read = self.needles.are_in(text);
        if is_read || memchr::memmem::find(text, OWN).is_some() {
            self.values(text, line, Delivery::Lossy("the log of a container"));
        } else if whole::is_part(text) {
            // The end of an event whose begin is lost.
            self.broken(line);
        }
    }

    /// The values of a line, one behind the other, whatever is before and behind them.
    fn values(&mut self, mut text: &[u8], line: usize, mut delivery: Delivery) {
        while !text.is_empty() {
            if !text.starts_with(b"{") && !text.starts_with(b"[") {
                let Some(begin) = whole::begin(text) else {
                    // An event in another form than JSON, or the end of one whose begin is lost.
                    if may_have_event(text) || whole::is_part(text) {
                        self.broken(line);
                    }
                    return;
                };
                if may_have_event(&text[..begin]) {
                    self.broken(line);
                }
                text = &text[begin..];
            }
            let length = match self.value(text, line, delivery) {
                Some(length) => length,
                None if whole::is_bracketed_text(text) => 1,
                None => return self.broken(line),
            };
            text = text[length..].trim_ascii_start();
            delivery = Delivery::Lossy("a log shipper");
            if !text.is_empty() {
                // The API server writes one event in each line.
                self.record.delivered(delivery);
            }
        }
    }

    /// The first value of a text: an event, or what contains events. Returns how long it is; `None` if it is no JSON.
    fn value(&mut self, text: &[u8], line: usize, delivery: Delivery) -> Option<usize> {
        let (length, is_event) = match self.event(text, line, delivery) {
            Some(read) => read,
            None => (whole::first(text)?, false),
        };
        let value = &text[..length];
        if !is_event && !elements::elements(value, &mut |piece| self.piece(piece, line)) {
            self.envelope(value, line);
        }
        Some(length)
    }

    /// An element of a list, or a value over several lines.
    fn element(&mut self, text: &[u8], line: usize) {
        if !self.needles.are_in(text) {
            if is_compressed(text) {
                self.broken(line);
            }
            self.events += u64::from(text.starts_with(b"{"));
            return;
        }
        let delivery = Delivery::Lossy("a webhook, or an export of a log,");
        if !matches!(self.event(text, line, delivery), Some((_, true))) {
            self.envelope(text, line);
        }
    }

    /// Reads the event at the begin of a text. Returns how long the value is, if that is known, and whether it is an event.
    fn event(&mut self, text: &[u8], line: usize, delivery: Delivery) -> Option<(usize, bool)> {
        // A list would be read as the fields of an event, in their order.
        if !text.starts_with(b"{") {
            return None;
        }
        let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Event<'_>>();
        let event = values.next()?.ok()?;
        let length = values.byte_offset();
        if !event.has_user() && envelope::is_flat(&text[..length]) {
            return Some((length, false));
        }
        match event.found() {
            Found::Request(request) => {
                self.events += 1;
                self.record.delivered(delivery);
                let reviewed = event.reviewed();
                self.record.add(&crate::usage::Request {
                    reviewed: reviewed.as_deref(),
                    ..request
                });
            }
            Found::Incomplete => self.broken(line),
            Found::Other if text.starts_with(OWN) => self.broken(line),
            Found::Other => return Some((length, false)),
        }
        Some((length, true))
    }

    /// A value that is no event, and may have some in it.
    fn envelope(&mut self, text: &[u8], line: usize) {
        match serde_json::from_slice(text) {
            Ok(value) => {
                let found = self.contents(&value, line);
                self.is_all(text, found, line);
            }
            Err(_) => self.broken(line),
        }
    }

    /// Reads the events and Leases in a value; returns how many it has.
    fn contents(&mut self, value: &serde_json::Value, line: usize) -> usize {
        let mut found = usize::from(envelope::leases(value, &mut self.record));
        envelope::open(value, &mut |event, delivery| {
            found += 1;
            self.enveloped(event, line, delivery);
        });
        found
    }

    /// Notes what was not found in a text: it is in an envelope that we do not know, or damaged.
    fn is_all(&mut self, text: &[u8], found: usize, line: usize) {
        let events: usize = MARKS
            .iter()
            .map(|mark| memchr::memmem::find_iter(text, mark).count())
            .sum();
        if events > found || (found == 0 && names_account(text)) {
            self.broken(line);
        }
    }

    /// An event that was taken out of an envelope.
    fn enveloped(&mut self, event: Option<&serde_json::Value>, line: usize, delivery: Delivery) {
        use serde::Deserialize;
        let Some(event) = event.and_then(|event| Event::deserialize(event).ok()) else {
            return self.broken(line);
        };
        match event.found() {
            Found::Request(request) => {
                self.events += 1;
                self.record.delivered(delivery);
                self.record.add(&request);
            }
            Found::Incomplete | Found::Other => self.broken(line),
        }
    }

    /// A line that is lost: it may have been a request of any account.
    fn broken(&mut self, line: usize) {
        self.record.unreadable();
        self.note_broken(line);
    }

    fn note_broken(&mut self, line: usize) {
        let broken = Broken::one(self.file.clone(), line);
        self.broken = Broken::both(self.broken.take(), Some(broken));
    }
}
