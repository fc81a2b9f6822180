//! An answer of the API server, piece by piece.

use std::{borrow::Cow, error::Error, io};

use futures::{StreamExt, stream::BoxStream};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Bytes;
use kube::{client::Body, core::Status};

use super::{content, status};
use crate::facts::wire::Malformed;

/// How large an object may be. API servers and etcd accept up to 3 MiB by default.
const MOST_BYTES: usize = 32 << 20;
/// How much of the text of an error is read.
const MOST_ERROR_BYTES: usize = 1 << 20;
/// The largest buffer that is kept for the next object.
const KEPT_BYTES: usize = 1 << 20;

/// An answer that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unusable(Cow<'static, str>);

pub(super) fn unusable(why: impl Into<Cow<'static, str>>) -> kube::Error {
    kube::Error::ReadEvents(io::Error::new(
        io::ErrorKind::InvalidData,
        Unusable(why.into()),
    ))
}

pub(super) fn malformed(_: Malformed) -> kube::Error {
    unusable("the API server's answer is no valid protobuf")
}

/// A length that is no larger than an object may be.
pub(super) fn limited(length: u64) -> kube::Result<usize> {
    let limited = usize::try_from(length).ok();
    let limited = limited.filter(|length| *length <= MOST_BYTES);
    limited.ok_or_else(|| {
        let most = MOST_BYTES >> 20;
        unusable(format!(
            "the API server's answer has an object of {length} bytes; at most {most} MiB are read"
        ))
    })
}

/// An answer, piece by piece.
pub(super) struct Reader {
    chunks: BoxStream<'static, kube::Result<Bytes>>,
    /// What arrived and was not read.
    chunk: Bytes,
    /// What was read from one chunk.
    part: Bytes,
    /// What was read from several.
    joined: Vec<u8>,
    /// How many bytes were read.
    pub(super) position: u64,
}

impl Reader {
    pub(super) fn new(body: Body) -> Self {
        Self::from(body.into_data_stream().boxed())
    }

    /// One of these bytes, which arrive in pieces of a size.
    #[cfg(test)]
    pub(super) fn of(bytes: &[u8], piece: usize) -> Self {
        let pieces: Vec<_> = bytes
            .chunks(piece)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        Self::from(futures::stream::iter(pieces).boxed())
    }

    fn from(chunks: BoxStream<'static, kube::Result<Bytes>>) -> Self {
        Self {
            chunks,
            chunk: Bytes::new(),
            part: Bytes::new(),
            joined: Vec::new(),
            position: 0,
        }
    }

    /// Waits for more, and returns whether there is.
    async fn arrives(&mut self) -> kube::Result<bool> {
        while self.chunk.is_empty() {
            match self.chunks.next().await {
                None => return Ok(false),
                Some(Ok(chunk)) => self.chunk = chunk,
                // As every watch does sooner or later.
                Some(Err(error)) if is_cut(&error) => return Ok(false),
                Some(Err(error)) => return Err(error),
            }
        }
        Ok(true)
    }

    /// The next bytes; `None` if the answer ends before. They are copied only where they arrived in pieces.
    async fn next(&mut self, length: usize) -> kube::Result<Option<&[u8]>> {
        self.position += length as u64;
        if self.chunk.len() >= length {
            self.part = self.chunk.split_to(length);
            return Ok(Some(&self.part));
        }
        self.joined.clear();
        self.joined.shrink_to(KEPT_BYTES);
        while self.joined.len() < length {
            if !self.arrives().await? {
                return Ok(None);
            }
            let missing = length - self.joined.len();
            let piece = self.chunk.split_to(missing.min(self.chunk.len()));
            self.joined.extend_from_slice(&piece);
        }
        Ok(Some(&self.joined))
    }

    /// The next bytes, which must be there.
    pub(super) async fn whole(&mut self, length: usize) -> kube::Result<&[u8]> {
        let cut = || kube::Error::ReadEvents(io::ErrorKind::UnexpectedEof.into());
        self.next(length).await?.ok_or_else(cut)
    }

    /// The next frame of a watch; `None` at its end. A frame that is cut is not there.
    pub(super) async fn frame(&mut self) -> kube::Result<Option<&[u8]>> {
        let Some(&[a, b, c, d]) = self.next(4).await? else {
            return Ok(None);
        };
        let length = limited(u32::from_be_bytes([a, b, c, d]).into())?;
        self.next(length).await
    }

    async fn varint(&mut self) -> kube::Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let &[byte] = self.whole(1).await? else { break };
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(malformed(Malformed))
    }

    /// The number of the next field, a text or a message, and its length.
    pub(super) async fn field(&mut self) -> kube::Result<(u64, u64)> {
        let key = self.varint().await?;
        if key & 7 != 2 {
            return Err(malformed(Malformed));
        }
        Ok((key >> 3, self.varint().await?))
    }

    /// Skips a field, and returns whether there was one.
    pub(super) async fn skip_field(&mut self) -> kube::Result<bool> {
        if !self.arrives().await? {
            return Ok(false);
        }
        let (_, length) = self.field().await?;
        self.whole(limited(length)?).await?;
        Ok(true)
    }

    /// Skips fields until one with this number, and returns its length.
    pub(super) async fn enter(&mut self, wanted: u64) -> kube::Result<u64> {
        loop {
            let (number, length) = self.field().await?;
            if number == wanted {
                return Ok(length);
            }
            self.whole(limited(length)?).await?;
        }
    }

    /// The error that an answer states: in protobuf, in JSON, or as the text of a proxy.
    pub(super) async fn error(&mut self, code: StatusCode) -> Status {
        let mut text = Vec::new();
        while text.len() < MOST_ERROR_BYTES && matches!(self.arrives().await, Ok(true)) {
            text.extend_from_slice(&std::mem::take(&mut self.chunk));
        }
        let stated = content(&text).and_then(status).ok();
        let stated = stated.or_else(|| serde_json::from_slice(&text).ok());
        stated.unwrap_or_else(|| {
            let text = String::from_utf8_lossy(&text);
            Status::failure(text.trim(), "Failed to parse error data").with_code(code.as_u16())
        })
    }
}

/// Whether a connection ended within an answer, as the client for JSON tells it.
fn is_cut(error: &kube::Error) -> bool {
    let mut inner: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = inner {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof)
            || error.to_string().contains("unexpected EOF during chunk")
        {
            return true;
        }
        inner = error.source();
    }
    false
}
