//! A proxy before the API server, for faults that it cannot be brought to show. The controller talks plain HTTP to it;
//! the administrator of the tests goes past it.

use std::{
    convert::Infallible, io, net::SocketAddr, pin::Pin, sync::Arc, thread::JoinHandle,
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Bytes, Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body, config::Kubeconfig};
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::watch};

use super::{ControlPlane, runtime};

/// How requests are answered.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// With this status code, headers and body.
    Status(u16, &'static [(&'static str, &'static str)], &'static str),
    /// Never.
    Nothing,
    /// Rightly, after this time.
    Late(Duration),
}

/// What happens to the answers that are being sent.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// They end as if complete.
    End,
    /// Their connections break.
    Break,
    /// Nothing more is sent, and the connections stay open.
    Silence,
    /// The rest is sent byte by byte, ten in a second.
    Slow,
    /// One more line is sent, then they end.
    Line(&'static str),
    /// These bytes are sent, then they end.
    Bytes(&'static [u8]),
}

/// What happens to requests for protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protobuf {
    /// They are passed on.
    Passed,
    /// They are answered with 406.
    Refused,
    /// Their answers are JSON.
    Replaced,
    /// Their answers have wrong bytes.
    Garbled,
}

type Chunk = Result<Frame<Bytes>, io::Error>;
type Outgoing = UnsyncBoxBody<Bytes, io::Error>;

/// What the proxy does now.
struct State {
    client: Client,
    fault: Mutex<Option<(&'static str, Answer)>>,
    protobuf: Mutex<Protobuf>,
    cuts: watch::Sender<Option<Cut>>,
}

/// A running proxy; it stops when this value is dropped.
pub struct Proxy {
    state: Arc<State>,
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts one before a control plane.
    pub fn start(plane: &ControlPlane) -> Self {
        let kubeconfig = plane.kubeconfig();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            runtime().block_on(async move {
                let mut kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
                // Requests bring their own credential.
                kubeconfig.auth_infos[0].auth_info = Some(kube::config::AuthInfo::default());
                let options = kube::config::KubeConfigOptions::default();
                let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
                let mut config = config.unwrap();
                config.default_retry = false;
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let state = Arc::new(State {
                    client: Client::try_from(config).unwrap(),
                    fault: Mutex::default(),
                    protobuf: Mutex::new(Protobuf::Passed),
                    cuts: watch::channel(None).0,
                });
                let address = listener.local_addr().unwrap();
                ready.send((state.clone(), address)).unwrap();
                tokio::select! {
                    () = serve(listener, state) => {}
                    _ = stopped => {}
                }
            });
        });
        let (state, address) = started.recv().unwrap();
        Self {
            state,
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers requests whose path and query contain a text in this way, from now on.
    pub fn fail(&self, matching: &'static str, answer: Answer) {
        *self.state.fault.lock() = Some((matching, answer));
    }

    /// Does this with requests for protobuf, from now on.
    pub fn protobuf(&self, what: Protobuf) {
        *self.state.protobuf.lock() = what;
    }

    /// Passes all requests on again.
    pub fn pass(&self) {
        *self.state.fault.lock() = None;
    }

    /// Cuts all answers that are being sent.
    pub fn cut(&self, how: Cut) {
        self.state.cuts.send_replace(Some(how));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().unwrap().join();
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    loop {
        let (connection, _) = listener.accept().await.unwrap();
        let state = state.clone();
        let service = service_fn(move |request| answer(state.clone(), request));
        tokio::spawn(async move {
            let server = hyper::server::conn::http1::Builder::new();
            // A connection that breaks is what is wanted.
            let _ = server
                .serve_connection(TokioIo::new(connection), service)
                .await;
        });
    }
}

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Outgoing>, Infallible> {
    let target = request.uri().path_and_query().unwrap().to_string();
    let fault = *state.fault.lock();
    let answer = fault.and_then(|(matching, answer)| target.contains(matching).then_some(answer));
    match answer {
        Some(Answer::Nothing) => std::future::pending().await,
        Some(Answer::Status(status, headers, body)) => Ok(stated(status, headers, body)),
        Some(Answer::Late(time)) => {
            tokio::time::sleep(time).await;
            Ok(pass(&state, request, target).await)
        }
        None => Ok(pass(&state, request, target).await),
    }
}

/// An answer with this status, headers and body.
fn stated(status: u16, headers: &[(&str, &str)], body: &'static str) -> Response<Outgoing> {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
    answer.body(UnsyncBoxBody::new(body)).unwrap()
}

/// Wrong bytes, after some right ones.
fn garbled(chunk: &Bytes) -> Bytes {
    let bytes = chunk.iter().enumerate();
    bytes
        .map(|(at, byte)| if at % 16 < 12 { *byte } else { 0xff })
        .collect()
}

async fn pass(state: &State, request: Request<Incoming>, target: String) -> Response<Outgoing> {
    let (mut head, body) = request.into_parts();
    let accept = head.headers.get(header::ACCEPT);
    let asks = accept.is_some_and(|accept| accept.to_str().unwrap().contains("protobuf"));
    let protobuf = if asks {
        *state.protobuf.lock()
    } else {
        Protobuf::Passed
    };
    match protobuf {
        Protobuf::Refused => {
            return stated(
                406,
                &[],
                "only the following media types are accepted: application/json",
            );
        }
        Protobuf::Replaced => drop(head.headers.remove(header::ACCEPT)),
        Protobuf::Passed | Protobuf::Garbled => {}
    }
    let Ok(body) = body.collect().await else {
        return gone();
    };
    head.uri = target.parse().unwrap();
    head.headers.remove(header::HOST);
    let request = Request::from_parts(head, Body::from(body.to_bytes()));
    let cuts = state.cuts.subscribe();
    let Ok(answer) = state.client.send(request).await else {
        return gone();
    };
    let (head, body) = answer.into_parts();
    let data = body.into_data_stream();
    let data = data.map(move |chunk| {
        let chunk = chunk.map_err(io::Error::other)?;
        let is_garbled = protobuf == Protobuf::Garbled;
        Ok(Frame::data(if is_garbled {
            garbled(&chunk)
        } else {
            chunk
        }))
    });
    let body = StreamBody::new(cuttable(Box::pin(data), cuts));
    Response::from_parts(head, BodyExt::boxed_unsync(body))
}

fn gone() -> Response<Outgoing> {
    let body = Full::new(Bytes::new()).map_err(|never| match never {});
    let answer = Response::builder().status(502);
    answer.body(UnsyncBoxBody::new(body)).unwrap()
}

type Data = Pin<Box<dyn Stream<Item = Chunk> + Send>>;

/// The same data, byte by byte.
fn bytewise(data: Data) -> Data {
    let bytes = data.flat_map(|chunk| {
        let data = chunk.map(|frame| frame.into_data().unwrap_or_default());
        let bytes: Vec<_> = match data {
            Ok(data) => (0..data.len())
                .map(|at| Ok(Frame::data(data.slice(at..=at))))
                .collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(bytes)
    });
    let slow = bytes.then(|byte| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        byte
    });
    Box::pin(slow)
}

/// An answer until it is cut.
fn cuttable(data: Data, cuts: watch::Receiver<Option<Cut>>) -> impl Stream<Item = Chunk> + Send {
    stream::unfold(Some((data, cuts)), |state| async {
        let (mut data, mut cuts) = state?;
        let cut = tokio::select! {
            biased;
            changed = cuts.changed() => changed.ok().and_then(|()| *cuts.borrow())?,
            chunk = data.next() => return Some((chunk?, Some((data, cuts)))),
        };
        match cut {
            Cut::Slow => Some((Ok(Frame::data(Bytes::new())), Some((bytewise(data), cuts)))),
            Cut::End => None,
            Cut::Break => Some((Err(io::Error::other("broken")), None)),
            Cut::Silence => std::future::pending().await,
            Cut::Line(line) => Some((Ok(Frame::data(Bytes::from(line))), None)),
            Cut::Bytes(bytes) => Some((Ok(Frame::data(Bytes::from(bytes))), None)),
        }
    })
}
