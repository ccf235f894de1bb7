//! The way to the issuer: HTTP over TLS, bounded in time and size, following no redirects.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use url::Url;

/// An issuer that does not take the connection within this time is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A whole answer: some kilobytes.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer: keys of an issuer in rotation are below 20 KB.
const MAX_ANSWER: usize = 256 * 1024;

/// The issuer cannot be asked, or answers what it must not.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The file of those who vouch for its server cannot be used.
    #[error("{} holds no certificates that can be believed", path.display())]
    Authorities {
        /// The file; where the machine's own authorities are meant, what they are called.
        path: PathBuf,
    },
    /// The client cannot be made.
    #[error("no HTTP client can be made")]
    Client(#[source] reqwest::Error),
    /// No answer.
    #[error("{url} does not answer")]
    Away {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that is none.
    #[error("{url} answers {problem}")]
    Answer {
        /// Where.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A client that believes the certificates in `ca_file`, or the machine's authorities.
///
/// # Errors
/// There is nobody to believe.
pub fn client(ca_file: Option<&Path>) -> Result<reqwest::Client, HttpError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]);
    let builder = builder.expect("the provider has suites for TLS 1.3");
    let tls = builder.with_root_certificates(roots(ca_file)?).with_no_client_auth();
    let client = reqwest::Client::builder()
        .use_preconfigured_tls(tls)
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TOTAL_TIMEOUT)
        .no_proxy();
    client.build().map_err(HttpError::Client)
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, HttpError> {
    let mut roots = RootCertStore::empty();
    let found = match ca_file {
        Some(path) => {
            let unfit = || HttpError::Authorities { path: path.to_owned() };
            let certificates = CertificateDer::pem_file_iter(path).map_err(|_| unfit())?;
            let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(|_| unfit())?;
            let (taken, _) = roots.add_parsable_certificates(certificates);
            if taken == 0 {
                return Err(unfit());
            }
            return Ok(roots);
        }
        None => rustls_native_certs::load_native_certs(),
    };
    // A machine without any still reaches an issuer on itself.
    roots.add_parsable_certificates(found.certs);
    Ok(roots)
}

/// Reads a JSON document.
///
/// # Errors
/// No answer, one that is no success, too large, or not of this form.
pub async fn get<T: DeserializeOwned>(client: &reqwest::Client, url: &Url) -> Result<T, HttpError> {
    let away = |source: reqwest::Error| HttpError::Away { url: url.to_string(), source: source.without_url() };
    let wrong = |problem: String| HttpError::Answer { url: url.to_string(), problem };
    let mut response = client.get(url.clone()).send().await.map_err(away)?;
    if !response.status().is_success() {
        return Err(wrong(format!("with status {}", response.status())));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(away)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER {
            return Err(wrong(format!("more than {MAX_ANSWER} bytes")));
        }
    }
    serde_json::from_slice(&body).map_err(|error| wrong(format!("what is not meant: {error}")))
}
