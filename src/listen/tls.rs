//! The certificates: ours, and the authority of those who may send events.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};

use crate::log::LogLimiter;

/// What fails, as the log limiter remembers it.
const FILES: &str = "certificates of --audit-listen";

/// The files.
#[derive(Clone, Debug)]
pub struct Files {
    /// Our certificate, with those in between.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority that signed the certificates of the clients.
    pub client_ca: PathBuf,
}

/// Why the files cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {cause}")]
pub struct Fault {
    file: String,
    cause: String,
}

/// The content of the files.
#[derive(Clone, PartialEq, Eq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Vec<u8>,
}

/// The certificates as they are in use.
pub struct Tls {
    files: Files,
    content: Content,
    config: Arc<ServerConfig>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

fn fault(file: &Path, cause: impl fmt::Display) -> Fault {
    Fault {
        file: file.display().to_string(),
        cause: cause.to_string(),
    }
}

impl Files {
    fn read(&self) -> Result<Content, Fault> {
        let read = |file: &Path| fs::read(file).map_err(|error| fault(file, error));
        Ok(Content {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            client_ca: read(&self.client_ca)?,
        })
    }

    fn config(&self, content: &Content) -> Result<ServerConfig, Fault> {
        let certificates = |file: &Path, text: &[u8]| {
            let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
            match all {
                Ok(all) if all.is_empty() => Err(fault(file, "has no certificate in PEM")),
                all => all.map_err(|error| fault(file, error)),
            }
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.client_ca, &content.client_ca)? {
            roots
                .add(certificate)
                .map_err(|error| fault(&self.client_ca, error))?;
        }
        let provider = Arc::new(default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|error| fault(&self.client_ca, error))?;
        let chain = certificates(&self.certificate, &content.certificate)?;
        let key =
            PrivateKeyDer::from_pem_slice(&content.key).map_err(|error| fault(&self.key, error))?;
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| fault(&self.certificate, error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|error| fault(&self.key, error))
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, is no PEM, or when the key is not that of the certificate.
    pub fn read(files: Files) -> Result<Self, Fault> {
        let content = files.read()?;
        let config = Arc::new(files.config(&content)?);
        Ok(Self {
            files,
            content,
            config,
        })
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.config.clone().into()
    }

    /// Reads the files again, which are replaced before the certificates expire. Files with errors change nothing.
    pub(super) fn reload(&mut self, log: &LogLimiter) {
        let read = self.files.read();
        if read.as_ref() == Ok(&self.content) {
            return;
        }
        let config = read.and_then(|content| Ok((self.files.config(&content)?, content)));
        match config {
            Ok((config, content)) => {
                self.config = Arc::new(config);
                self.content = content;
                let _ = log.recovered(FILES);
                tracing::info!("the certificates of --audit-listen were read again");
            }
            Err(error) => {
                if log.failed(FILES, "") {
                    tracing::error!(%error, "the certificates of --audit-listen cannot be used; the previous ones stay in use");
                }
            }
        }
    }
}
