//! Reads one file after another into a record.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use memchr::memmem::Finder;

use super::{
    envelope,
    event::{Event, Found},
    place,
    split::{self, Piece, Splitter},
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

/// Events that CloudWatch sends in a field of this name: they are compressed, and not read.
const COMPRESSED: &[u8] = b"\"awslogs\"";

/// How the name of an account begins.
const ACCOUNT: &str = "system:serviceaccount:";

/// Lines that could not be read: how many, and the first.
#[derive(Debug)]
pub(super) struct Broken {
    count: u64,
    file: PathBuf,
    line: usize,
}

impl Broken {
    /// Both together, with the first of them in the order of files.
    pub(super) fn both(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => {
                let count = one.count + other.count;
                let is_first = (&one.file, one.line) <= (&other.file, other.line);
                let first = if is_first { one } else { other };
                Some(Self { count, ..first })
            }
            (one, other) => one.or(other),
        }
    }

    /// The warning for people.
    pub(super) fn problem(&self) -> Problem {
        let more = match self.count {
            1 => String::new(),
            count => format!("; {count} such lines in all"),
        };
        Problem {
            place: format!("{}:{}", place(&self.file), self.line),
            message: format!("is not a whole audit event{more}"),
        }
    }
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

    /// Objects as YAML: only Leases are of interest.
    fn yaml(&mut self, text: &str) {
        for (before, document) in text::yaml::documents(text) {
            // Events are read as JSON only.
            if document.contains("auditID") {
                self.broken(before + 1);
            }
            for parsed in text::yaml::parse(document) {
                match parsed {
                    Ok(value) => drop(envelope::leases(&value.value, &mut self.record)),
                    Err(_) => self.broken(before + 1),
                }
            }
        }
    }

    fn piece(&mut self, piece: Piece<'_>, line: usize) {
        match piece {
            Piece::Line(text) => self.line(text, line),
            Piece::LastLine(text) => {
                // A server that goes on writes its last line in parts.
                let is_whole = text.ends_with(b"}") || text.ends_with(b"]");
                if is_whole || !text.starts_with(b"{") {
                    self.line(text, line);
                } else {
                    self.record.cut();
                    self.note_broken(line);
                }
            }
            Piece::Value(text) => {
                if self.needles.are_in(text) {
                    self.value(
                        text,
                        line,
                        Delivery::Lossy("a webhook, or an export of a log,"),
                    );
                } else {
                    self.events += 1;
                }
            }
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
        self.value(text, line, delivery);
    }

    /// A line of somebody who does not matter, if it is whole.
    fn other(&mut self, text: &[u8], line: usize, is_own: bool) {
        if !is_own && memchr::memmem::find(text, COMPRESSED).is_some() {
            return self.broken(line);
        }
        let is_whole = whole::seems_whole(text)
            && (text.ends_with(b"}") || text.ends_with(b"]"))
            && (!is_own || whole::seems_event(text));
        if is_whole {
            self.events += u64::from(is_own);
        } else if is_own && whole::has_user(text) != Some(false) {
            self.value(text, line, Delivery::File);
        } else if is_own || serde_json::from_slice::<serde::de::IgnoredAny>(text).is_err() {
            self.broken(line);
        }
    }

    /// A line with something before the event, as container runtimes write the time and the stream.
    fn prefixed(&mut self, text: &[u8], line: usize) {
        match memchr::memmem::find(text, OWN) {
            Some(begin) => self.value(
                &text[begin..],
                line,
                Delivery::Lossy("the log of a container"),
            ),
            // The end of an event whose begin is lost.
            None if whole::is_part(text) => self.broken(line),
            None => {}
        }
    }

    /// One value: an event, or what contains events.
    fn value(&mut self, text: &[u8], line: usize, delivery: Delivery) {
        // A list would be read as the fields of an event, in their order.
        let is_object = text.starts_with(b"{");
        if is_object
            && let Ok(event) = serde_json::from_slice::<Event<'_>>(text)
            && (event.has_user() || !envelope::is_flat(text))
        {
            match event.found() {
                Found::Request(request) => {
                    self.events += 1;
                    self.record.delivered(delivery);
                    let reviewed = event.reviewed();
                    let reviewed = reviewed.as_deref();
                    return self.record.add(&crate::usage::Request {
                        reviewed,
                        ..request
                    });
                }
                Found::Incomplete => return self.broken(line),
                Found::Other if text.starts_with(OWN) => return self.broken(line),
                Found::Other => {}
            }
        }
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let is_list = split::elements(text, &mut |piece| {
            if let Piece::Value(part) = piece {
                parts.push(part.to_vec());
            }
        });
        // A list of texts, such as a line of Loki and its time, is opened as a whole.
        if is_list && !parts.is_empty() {
            for part in parts {
                self.piece(Piece::Value(&part), line);
            }
            return;
        }
        let Ok(value) = serde_json::from_slice(text) else {
            return self.broken(line);
        };
        let mut is_known = envelope::leases(&value, &mut self.record);
        envelope::open(&value, &mut |event, delivery| {
            is_known = true;
            self.enveloped(event, line, delivery);
        });
        // In an envelope that we do not know, or damaged.
        if !is_known && memchr::memmem::find(text, ACCOUNT.as_bytes()).is_some() {
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
            Found::Incomplete => self.broken(line),
            Found::Other => {}
        }
    }

    /// A line that is lost: it may have been a request of any account.
    fn broken(&mut self, line: usize) {
        self.record.unreadable();
        self.note_broken(line);
    }

    fn note_broken(&mut self, line: usize) {
        let broken = Broken {
            count: 1,
            file: self.file.clone(),
            line,
        };
        self.broken = Broken::both(self.broken.take(), Some(broken));
    }
}
