//! Asks the API server for protobuf, which costs it and us a fraction of JSON. An answer is read as it arrives: one
//! object is in memory at a time.

mod reader;

use std::borrow::Cow;

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use http::{HeaderValue, Request, header};
use kube::{
    Client,
    client::Body,
    core::{Status, WatchEvent},
};

use self::reader::{Reader, Unusable, limited, malformed, unusable};
use super::object::Object;
use crate::{
    client::Failed,
    facts::{
        Kind,
        wire::{self, Fields, ListMetadata, Malformed, Status as StatusWire, decode},
    },
    model::InputKind,
};

/// What every answer begins with.
const MAGIC: &[u8; 4] = b"k8s\0";
const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// What a list is asked for as. API servers that cannot leave out a field ignore that they are asked to.
const LIST: &str = "application/vnd.kubernetes.protobuf;drop=metadata.managedFields";
/// The same for a watch. JSON is not named as an alternative: an API server without protobuf shall refuse at once,
/// not begin a long answer.
const WATCH: &str = "application/vnd.kubernetes.protobuf;stream=watch;drop=metadata.managedFields";
/// Whether a request failed because the API server, or a proxy before it, has no usable protobuf.
pub(super) fn is_refused(failed: &Failed) -> bool {
    match failed {
        Failed::Api(kube::Error::Api(status)) => matches!(status.code, 406 | 415),
        Failed::Api(kube::Error::ReadEvents(error)) => {
            matches!(error.get_ref(), Some(inner) if inner.is::<Unusable>())
        }
        _ => false,
    }
}

/// Says once that a kind is read as JSON instead.
pub(super) fn log_refusal(kind: InputKind, cause: &impl std::fmt::Display) {
    static IS_SAID: std::sync::Once = std::sync::Once::new();
    tracing::debug!(kind = kind.name(), %cause, "no protobuf");
    IS_SAID.call_once(
        || tracing::info!(kind = kind.name(), %cause, "no protobuf: reading JSON instead"),
    );
}

/// What a watch sends.
pub(super) enum Event<K: Kind> {
    /// An object is there.
    Changed(Object<K>),
    /// An object is gone.
    Deleted(Object<K>),
    /// Everything up to this version was sent.
    Bookmark { version: String, ends_list: bool },
    /// The watch failed.
    Failed(Box<Status>),
}

/// Marks the bookmark that ends a streamed list.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

impl<K: Kind> From<WatchEvent<Object<K>>> for Event<K> {
    fn from(event: WatchEvent<Object<K>>) -> Self {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => Self::Changed(object),
            WatchEvent::Deleted(object) => Self::Deleted(object),
            WatchEvent::Bookmark(bookmark) => {
                let metadata = bookmark.metadata;
                Self::Bookmark {
                    version: metadata.resource_version,
                    ends_list: metadata.annotations.contains_key(INITIAL_EVENTS_END),
                }
            }
            WatchEvent::Error(status) => Self::Failed(status.boxed()),
        }
    }
}

/// Reads an object from protobuf.
type Decode<K> = wire::Decode<<K as Kind>::Wire>;

/// Watches a kind.
pub(super) async fn watch<K: Kind>(
    client: &Client,
    request: Request<Vec<u8>>,
    decode: Decode<K>,
) -> kube::Result<BoxStream<'static, kube::Result<Event<K>>>> {
    Ok(events(send(client, request, WATCH).await?, decode))
}

/// The events of an answer to a watch.
fn events<K: Kind>(
    reader: Reader,
    decode: Decode<K>,
) -> BoxStream<'static, kube::Result<Event<K>>> {
    let events = stream::try_unfold(reader, move |mut reader| async move {
        let Some(frame) = reader.frame().await? else {
            return Ok(None);
        };
        let event = event(frame, decode).map_err(malformed)?;
        Ok(Some((event, reader)))
    });
    events.boxed()
}

/// The event in a frame.
fn event<K: Kind>(frame: &[u8], decode: Decode<K>) -> Result<Event<K>, Malformed> {
    let (mut kind, mut object) = (Cow::default(), &[][..]);
    for field in Fields(frame) {
        match field? {
            (1, value) => kind = value.text()?,
            (2, value) => object = first(value.bytes()?)?,
            _ => {}
        }
    }
    let object = content(object)?;
    Ok(match &*kind {
        "ADDED" | "MODIFIED" => Event::Changed(Object::new(decode(object)?)),
        "DELETED" => Event::Deleted(Object::new(decode(object)?)),
        "BOOKMARK" => {
            let object = Object::<K>::new(decode(object)?);
            Event::Bookmark {
                version: object.version().to_owned(),
                ends_list: object.has_annotation(INITIAL_EVENTS_END),
            }
        }
        "ERROR" => Event::Failed(status(object)?.boxed()),
        _ => return Err(Malformed),
    })
}

/// The first field of a message.
fn first(message: &[u8]) -> Result<&[u8], Malformed> {
    let mut first = &[][..];
    for field in Fields(message) {
        if let (1, value) = field? {
            first = value.bytes()?;
        }
    }
    Ok(first)
}

/// What is in the API server's envelope (`runtime.Unknown`).
fn content(envelope: &[u8]) -> Result<&[u8], Malformed> {
    let mut content = &[][..];
    for field in Fields(envelope.strip_prefix(MAGIC).ok_or(Malformed)?) {
        if let (2, value) = field? {
            content = value.bytes()?;
        }
    }
    Ok(content)
}

fn status(message: &[u8]) -> Result<Status, Malformed> {
    let wire: Box<StatusWire> = decode(message)?;
    let code = u16::try_from(wire.code).map_err(|_| Malformed)?;
    Ok(Status::failure(&wire.message, &wire.reason).with_code(code))
}

/// Reads one page of a list, calls a function with each object, and returns what the page says about the list.
pub(super) async fn page<K: Kind>(
    client: &Client,
    request: Request<Vec<u8>>,
    decode: Decode<K>,
    each: impl FnMut(Object<K>),
) -> kube::Result<ListMetadata> {
    read_page(send(client, request, LIST).await?, decode, each).await
}

async fn read_page<K: Kind>(
    mut reader: Reader,
    decode_object: Decode<K>,
    mut each: impl FnMut(Object<K>),
) -> kube::Result<ListMetadata> {
    if reader.whole(MAGIC.len()).await? != MAGIC {
        return Err(malformed(Malformed));
    }
    // The envelope has the list, which has the objects: neither is ever in memory as a whole.
    let list = reader.enter(2).await?;
    let end = reader.position.checked_add(list);
    let end = end.ok_or_else(|| malformed(Malformed))?;
    let mut metadata = ListMetadata::default();
    while reader.position < end {
        let (number, length) = reader.field().await?;
        if end
            .checked_sub(reader.position)
            .is_none_or(|left| length > left)
        {
            return Err(malformed(Malformed));
        }
        let value = reader.whole(limited(length)?).await?;
        match number {
            1 => metadata = *decode(value).map_err(malformed)?,
            2 => each(Object::new(decode_object(value).map_err(malformed)?)),
            _ => {}
        }
    }
    // An answer that was cut after the list is not complete.
    while reader.skip_field().await? {}
    Ok(metadata)
}

/// Sends a request, and returns the answer when it is protobuf.
async fn send(
    client: &Client,
    request: Request<Vec<u8>>,
    accept: &'static str,
) -> kube::Result<Reader> {
    let (mut head, body) = request.into_parts();
    let headers = &mut head.headers;
    headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    let answer = client
        .send(Request::from_parts(head, Body::from(body)))
        .await?;
    let (head, body) = answer.into_parts();
    let mut reader = Reader::new(body);
    if !head.status.is_success() {
        return Err(kube::Error::Api(reader.error(head.status).await.boxed()));
    }
    let media_type = head.headers.get(header::CONTENT_TYPE);
    let media_type = media_type
        .and_then(|value| value.to_str().ok())
        .unwrap_or("no type");
    if media_type.split(';').next() != Some(MEDIA_TYPE) {
        return Err(unusable(format!(
            "the API server's answer is {media_type}, not {MEDIA_TYPE}"
        )));
    }
    Ok(reader)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use futures::TryStreamExt;
    use k8s_pb::{
        api::core::v1::{Namespace, NamespaceList},
        apimachinery::pkg::{
            apis::meta::v1::{ListMeta, ObjectMeta, WatchEvent},
            runtime::{RawExtension, TypeMeta, Unknown},
        },
    };
    use prost::Message;

    use super::*;
    use crate::facts::Namespaces;

    const DECODE: Decode<Namespaces> = crate::facts::wire::decode;

    fn envelope(object: &impl Message) -> Vec<u8> {
        let unknown = Unknown {
            type_meta: Some(TypeMeta {
                api_version: Some("v1".to_owned()),
                kind: Some("Anything".to_owned()),
            }),
            raw: Some(object.encode_to_vec()),
            content_encoding: Some(String::new()),
            content_type: Some(String::new()),
        };
        [&MAGIC[..], &unknown.encode_to_vec()].concat()
    }

    fn namespace(name: &str, annotation: Option<&str>) -> Namespace {
        Namespace {
            metadata: Some(ObjectMeta {
                name: Some(name.to_owned()),
                resource_version: Some("7".to_owned()),
                annotations: annotation
                    .map(|key| (key.to_owned(), "true".to_owned()))
                    .into_iter()
                    .collect(),
                ..ObjectMeta::default()
            }),
            ..Namespace::default()
        }
    }

    fn list() -> Vec<u8> {
        envelope(&NamespaceList {
            metadata: Some(ListMeta {
                resource_version: Some("42".to_owned()),
                r#continue: Some("next".to_owned()),
                remaining_item_count: Some(5),
                ..ListMeta::default()
            }),
            items: ["a", "b", "c"].map(|name| namespace(name, None)).into(),
        })
    }

    fn frame(kind: &str, object: &impl Message) -> Vec<u8> {
        let event = WatchEvent {
            r#type: Some(kind.to_owned()),
            object: Some(RawExtension {
                raw: Some(envelope(object)),
            }),
        };
        let event = event.encode_to_vec();
        let length = u32::try_from(event.len()).unwrap().to_be_bytes();
        [&length[..], &event].concat()
    }

    /// What a page has that arrives in pieces of this size.
    async fn page_of(bytes: &[u8], piece: usize) -> Result<(String, ListMetadata), Failed> {
        let mut names = String::new();
        let apply = |object: Object<Namespaces>| names += object.name();
        let metadata = read_page(Reader::of(bytes, piece), DECODE, apply).await;
        metadata
            .map(|metadata| (names, metadata))
            .map_err(Failed::Api)
    }

    #[tokio::test]
    async fn a_page_is_read_however_it_arrives() {
        let list = list();
        for piece in 1..list.len() {
            let (names, metadata) = page_of(&list, piece).await.unwrap();
            let said = (
                &*metadata.resource_version,
                &*metadata.continue_,
                metadata.remaining_item_count,
            );
            assert_eq!((&*names, said), ("abc", ("42", "next", Some(5))));
        }
    }

    /// A cut list is no refusal of protobuf, and never complete.
    #[tokio::test]
    async fn a_cut_page_is_an_error() {
        let list = list();
        for end in 0..list.len() {
            // Without the last fields of the envelope, all objects are there.
            if let Err(failed) = page_of(&list[..end], 10).await {
                assert!(!is_refused(&failed), "{end}: {failed}");
            } else {
                assert!(end >= list.len() - 4, "{end}");
            }
        }
    }

    #[tokio::test]
    async fn a_page_that_is_no_protobuf_is_a_refusal() {
        let huge = [
            &MAGIC[..],
            &[0x12, 0xff, 0xff, 0xff, 0x7f, 0x12, 0xff, 0xff, 0xff, 0x7e],
        ]
        .concat();
        for bytes in [
            &b"<html>log in</html>"[..],
            b"{\"kind\":\"PodList\"}",
            &huge,
        ] {
            let failed = page_of(bytes, 100).await.unwrap_err();
            assert!(is_refused(&failed), "{failed}");
        }
    }

    #[tokio::test]
    async fn events_are_read_however_they_arrive() {
        let status = k8s_pb::apimachinery::pkg::apis::meta::v1::Status {
            code: Some(410),
            reason: Some("Expired".to_owned()),
            ..Default::default()
        };
        let stream = [
            frame("ADDED", &namespace("a", None)),
            frame("MODIFIED", &namespace("b", None)),
            frame("DELETED", &namespace("c", None)),
            frame("BOOKMARK", &namespace("", None)),
            frame("BOOKMARK", &namespace("", Some(INITIAL_EVENTS_END))),
            frame("ERROR", &status),
        ]
        .concat();
        for piece in 1..stream.len() {
            let events: Vec<_> = events::<Namespaces>(Reader::of(&stream, piece), DECODE)
                .try_collect()
                .await
                .unwrap();
            let events = events.iter().map(|event| match event {
                Event::Changed(object) => format!("+{}", object.name()),
                Event::Deleted(object) => format!("-{}", object.name()),
                Event::Bookmark { version, ends_list } => format!("{version} {ends_list}"),
                Event::Failed(status) => status.code.to_string(),
            });
            assert_eq!(
                events.collect::<Vec<_>>(),
                ["+a", "+b", "-c", "7 false", "7 true", "410"]
            );
        }
        // What is cut is not there, as in JSON.
        let cut = events::<Namespaces>(Reader::of(&stream[..stream.len() - 1], 9), DECODE);
        assert_eq!(cut.try_collect::<Vec<_>>().await.unwrap().len(), 5);
    }

    #[tokio::test]
    async fn wrong_frames_are_a_refusal() {
        for frame in [
            &[0xff; 8][..],
            &[0, 0, 0, 2, 0xff, 0xff],
            b"{\"type\":\"ADDED\"}\n",
            &frame("NEW", &namespace("a", None)),
        ] {
            let failed = events::<Namespaces>(Reader::of(frame, 100), DECODE)
                .try_next()
                .await
                .err()
                .unwrap();
            assert!(is_refused(&Failed::Api(failed)), "{frame:?}");
        }
    }

    #[tokio::test]
    async fn errors_are_stated_in_any_format() {
        let status = k8s_pb::apimachinery::pkg::apis::meta::v1::Status {
            code: Some(403),
            reason: Some("Forbidden".to_owned()),
            message: Some("no".to_owned()),
            ..Default::default()
        };
        let json = br#"{"kind":"Status","code":403,"reason":"Forbidden","message":"no"}"#;
        for text in [&envelope(&status)[..], json, b" no\n"] {
            let status = Reader::of(text, 3).error(http::StatusCode::FORBIDDEN).await;
            assert_eq!((status.code, &*status.message), (403, "no"));
            assert_eq!(status.is_forbidden(), text != b" no\n");
        }
    }
}
