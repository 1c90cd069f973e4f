//! Calls a canister over HTTP with ic-agent: a local replica, or the Internet Computer.
//!
//! The key that answers are verified with is asked of the other end only where that end is this machine. Anyone
//! else who offers a key of their own would be believed whatever they answer.

use std::path::{Path, PathBuf};

use candid::Principal;
use ic_agent::export::reqwest::Url;
use ic_agent::identity::{AnonymousIdentity, BasicIdentity, Prime256v1Identity, Secp256k1Identity};
use ic_agent::{Agent, AgentError, Identity};

use crate::{CallError, RejectCode, Transport};

/// A [`Transport`] to one canister behind a URL, with one identity.
pub struct AgentTransport {
    agent: Agent,
    canister: Principal,
    endpoint: String,
    runtime: tokio::runtime::Runtime,
}

/// Why there is no transport.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is none, or not one of HTTP.
    #[error("{url:?} is not a URL of a replica: {reason}")]
    Url {
        /// What was given.
        url: String,
        /// Why it will not do.
        reason: String,
    },
    /// The identity's file cannot be read.
    #[error("cannot read the identity {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The identity's file holds no key that can sign.
    #[error("{path} holds no private key in PEM form (Ed25519, secp256k1 or P-256)", path = path.display())]
    Identity {
        /// The file.
        path: PathBuf,
    },
    /// The runtime or the HTTP client did not start.
    #[error("cannot start the HTTP client: {0}")]
    Start(String),
    /// The replica did not give its key.
    #[error(transparent)]
    RootKey(CallError),
}

impl AgentTransport {
    /// Connects to `canister` behind `url`, signing with the private key in `identity`, or anonymously.
    ///
    /// Where the URL is this machine's, the replica is asked for its root key at once, so a replica that is not
    /// running shows here. Elsewhere nothing is sent yet.
    pub fn connect(url: &str, canister: Principal, identity: Option<&Path>) -> Result<Self, ConnectError> {
        let parsed =
            Url::parse(url).map_err(|e| ConnectError::Url { url: url.to_owned(), reason: e.to_string() })?;
        if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
            let reason = "it must start with http:// or https:// and name a host".to_owned();
            return Err(ConnectError::Url { url: url.to_owned(), reason });
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| ConnectError::Start(e.to_string()))?;
        let agent = Agent::builder()
            .with_url(parsed.as_str())
            .with_arc_identity(match identity {
                Some(path) => read_identity(path)?.into(),
                None => std::sync::Arc::new(AnonymousIdentity),
            })
            .build()
            .map_err(|e| ConnectError::Start(e.to_string()))?;
        let endpoint = url.trim_end_matches('/').to_owned();
        if is_local(url) {
            runtime
                .block_on(agent.fetch_root_key())
                .map_err(|e| ConnectError::RootKey(call_error(&endpoint, e)))?;
        }
        Ok(AgentTransport { agent, canister, endpoint, runtime })
    }

    /// Who signs the calls.
    pub fn sender(&self) -> Result<Principal, CallError> {
        self.agent
            .get_principal()
            .map_err(|message| CallError::Protocol { endpoint: self.endpoint.clone(), message })
    }
}

impl Transport for AgentTransport {
    fn update(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        let call = self.agent.update(&self.canister, method).with_arg(arg);
        self.runtime.block_on(call.call_and_wait()).map_err(|e| call_error(&self.endpoint, e))
    }

    fn query(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        let call = self.agent.query(&self.canister, method).with_arg(arg);
        self.runtime.block_on(call.call()).map_err(|e| call_error(&self.endpoint, e))
    }
}

/// Whether the URL's host is this machine by name or loopback address.
pub fn is_local(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let Some(host) = url.host_str() else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn read_identity(path: &Path) -> Result<Box<dyn Identity>, ConnectError> {
    let pem = std::fs::read(path).map_err(|source| ConnectError::Read { path: path.to_owned(), source })?;
    if let Ok(identity) = BasicIdentity::from_pem(&pem) {
        return Ok(Box::new(identity));
    }
    if let Ok(identity) = Secp256k1Identity::from_pem(&pem) {
        return Ok(Box::new(identity));
    }
    match Prime256v1Identity::from_pem(&pem) {
        Ok(identity) => Ok(Box::new(identity)),
        Err(_) => Err(ConnectError::Identity { path: path.to_owned() }),
    }
}

fn call_error(endpoint: &str, error: AgentError) -> CallError {
    match error {
        AgentError::CertifiedReject { reject, .. } | AgentError::UncertifiedReject { reject, .. } => {
            CallError::Rejected {
                code: match reject.reject_code {
                    ic_agent::agent::RejectCode::SysFatal => RejectCode::SysFatal,
                    ic_agent::agent::RejectCode::SysTransient => RejectCode::SysTransient,
                    ic_agent::agent::RejectCode::DestinationInvalid => RejectCode::DestinationInvalid,
                    ic_agent::agent::RejectCode::CanisterReject => RejectCode::CanisterReject,
                    ic_agent::agent::RejectCode::CanisterError => RejectCode::CanisterError,
                },
                error_code: reject.error_code.unwrap_or_default(),
                message: reject.reject_message,
            }
        }
        AgentError::TimeoutWaitingForResponse() => CallError::unreachable(endpoint, "no answer in time"),
        AgentError::TransportError(error) => CallError::unreachable(endpoint, root_cause(&error)),
        AgentError::HttpError(payload) if payload.status >= 500 || payload.status == 429 => {
            CallError::unreachable(endpoint, payload.to_string())
        }
        other => CallError::Protocol { endpoint: endpoint.to_owned(), message: other.to_string() },
    }
}

/// The innermost cause, which names what happened ("connection refused") where the outer ones name who noticed.
fn root_cause(error: &ic_agent::agent_error::TransportError) -> String {
    let ic_agent::agent_error::TransportError::Reqwest(error) = error else { return error.to_string() };
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        for url in
            ["http://localhost:4943", "http://127.0.0.1:8000/", "http://[::1]:80", "http://x.localhost"]
        {
            assert!(is_local(url), "{url}");
        }
        for url in ["https://icp-api.io", "http://localhost.example.org", "http://10.0.0.1", "nonsense"] {
            assert!(!is_local(url), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_said_before_anything_is_sent() {
        for url in ["", "ftp://a", "localhost:4943", "http//x"] {
            let error = AgentTransport::connect(url, Principal::anonymous(), None).err();
            assert!(matches!(error, Some(ConnectError::Url { .. })), "{url}: {error:?}");
        }
    }

    #[test]
    fn a_file_without_a_key_is_named() {
        let missing = Path::new("/nonexistent/key.pem");
        let error =
            AgentTransport::connect("https://icp-api.io", Principal::anonymous(), Some(missing)).err();
        assert!(matches!(error, Some(ConnectError::Read { .. })), "{error:?}");
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let error =
            AgentTransport::connect("https://icp-api.io", Principal::anonymous(), Some(&manifest)).err();
        assert!(matches!(error, Some(ConnectError::Identity { .. })), "{error:?}");
    }

    #[test]
    fn a_replica_that_does_not_run_is_unreachable() {
        // Port 1 of the loopback interface: nothing listens there.
        let error = AgentTransport::connect("http://127.0.0.1:1", Principal::anonymous(), None).err();
        let Some(ConnectError::RootKey(error)) = error else { panic!("{error:?}") };
        assert!(error.is_transient() && error.to_string().contains("127.0.0.1:1"), "{error}");
    }
}
