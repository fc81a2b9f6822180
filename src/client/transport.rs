//! How bytes come from the API server. TLS reads a record at a time, of 4 KiB where many objects are sent: a buffer
//! under it takes several of them from the system at once.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{TryFutureExt, future::BoxFuture};
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection, HttpConnector},
    },
    rt::{TokioExecutor, TokioIo},
};
use kube::client::{Body, ClientBuilder, ConfigExt};
use tokio::{io::BufReader, net::TcpStream};
use tower::{BoxError, Service, ServiceBuilder};

use super::Throttle;

/// How many bytes are read at once, at most, of each connection.
const BUFFER: usize = 32 * 1024;

/// A client as the configuration says, without retries of its own. It is what [`ClientBuilder`] makes, but for the
/// buffer.
pub(super) fn client(config: kube::Config, throttle: &Throttle) -> kube::Result<kube::Client> {
    if config.proxy_url.is_some() {
        let client = ClientBuilder::try_from(config)?.with_layer(throttle);
        return Ok(client.build());
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let tls = config.rustls_https_connector_with_connector(Buffering(tcp))?;
    let mut connector = TimeoutConnector::new(tls);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let http = Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(throttle)
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(kube::Client::new(service, config.default_namespace))
}

/// Makes connections that read through a buffer.
#[derive(Clone)]
struct Buffering(HttpConnector);

impl Service<Uri> for Buffering {
    type Response = Buffered;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = BoxFuture<'static, Result<Buffered, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let connection = self.0.call(server);
        Box::pin(connection.map_ok(|stream| {
            let stream = BufReader::with_capacity(BUFFER, stream.into_inner());
            Buffered(TokioIo::new(stream))
        }))
    }
}

/// A connection that reads through a buffer.
struct Buffered(TokioIo<BufReader<TcpStream>>);

impl Connection for Buffered {
    fn connected(&self) -> Connected {
        self.0.inner().get_ref().connected()
    }
}

impl Read for Buffered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Buffered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }
}
