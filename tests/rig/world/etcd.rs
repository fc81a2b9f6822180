//! Objects as the API server stores them in etcd: protobuf, in an envelope. They are written through etcd's JSON gateway.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_pb::apimachinery::pkg::runtime::{TypeMeta, Unknown};
use prost::Message;
use serde_json::{Value, json};

use super::Object;

/// How many objects a transaction may have.
const MOST: usize = 128;
/// How many bytes it may have, by default 1.5 MiB.
const MOST_BYTES: usize = 1 << 20;

/// A connection, and what is not written yet.
pub(super) struct Etcd {
    answers: BufReader<TcpStream>,
    puts: Vec<Value>,
    bytes: usize,
}

/// A message in the API server's envelope.
pub fn envelope(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let unknown = Unknown {
        type_meta: Some(TypeMeta {
            api_version: Some(api_version.to_owned()),
            kind: Some(kind.to_owned()),
        }),
        raw: Some(message.to_vec()),
        content_encoding: Some(String::new()),
        content_type: Some(String::new()),
    };
    let mut bytes = b"k8s\0".to_vec();
    unknown.encode(&mut bytes).unwrap();
    bytes
}

impl Etcd {
    pub(super) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            answers: BufReader::new(stream),
            puts: Vec::new(),
            bytes: 0,
        }
    }

    /// Writes an object, with others.
    pub(super) fn put(&mut self, object: &Object) {
        let value = envelope(object.api_version, object.kind, &object.message);
        if self.puts.len() == MOST || self.bytes + value.len() > MOST_BYTES {
            self.flush();
        }
        self.bytes += value.len();
        let (key, value) = (
            BASE64_STANDARD.encode(&object.key),
            BASE64_STANDARD.encode(value),
        );
        self.puts
            .push(json!({ "requestPut": { "key": key, "value": value } }));
    }

    /// Writes what is not written yet.
    pub(super) fn flush(&mut self) {
        let body = json!({ "success": std::mem::take(&mut self.puts) }).to_string();
        self.bytes = 0;
        let head = format!(
            "POST /v3/kv/txn HTTP/1.1\r\nHost: etcd\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let stream = self.answers.get_mut();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let answer = self.answer();
        assert!(answer.0.contains(" 200 "), "{answer:?}");
    }

    /// The status line and the body of an answer.
    fn answer(&mut self) -> (String, Vec<u8>) {
        let status = self.line();
        let (mut length, mut chunked) = (0, false);
        loop {
            let header = self.line().to_ascii_lowercase();
            match header.split_once(": ") {
                None => break,
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(("transfer-encoding", _)) => chunked = true,
                Some(_) => {}
            }
        }
        if !chunked {
            return (status, self.bytes(length));
        }
        let mut body = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line(), 16).unwrap();
            body.extend(self.bytes(length));
            self.line();
            if length == 0 {
                return (status, body);
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.answers.read_exact(&mut bytes).unwrap();
        bytes
    }
}
