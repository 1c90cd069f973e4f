//! The endpoints: status, call, query and read_state, as agents use them.
//!
//! Owns the rules of the HTTP interface: which path takes which request, what is certified, what is refused before it is let
//! in. Nothing is answered to a request whose envelope did not open.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use candid::Principal;
use ic_certification::hash_tree::Label;
use ic_nn_host::{Host, Reject, Replica};
use ic_transport_types::{
    EnvelopeContent, QueryResponse, ReadStateResponse, RejectCode, RejectResponse, ReplyResponse, RequestId,
    TransportCallResponse,
};
use serde::Serialize;
use serde_bytes::ByteBuf;

use crate::authority::{Authority, cbor};
use crate::call::{CallRecords, CallStatus};
use crate::envelope::Request;
use crate::gateway::Calls;
use crate::state::{self, State};

/// What the host says where a message is too large to be sent; an HTTP error on the Internet Computer.
const HTTP_ERROR: &str = "HTTP400";

/// An HTTP answer.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A text, for refusals.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Answer { status, content_type: "text/plain", body: text.into().into_bytes() }
    }

    fn cbor(value: &impl Serialize) -> Self {
        Answer { status: 200, content_type: "application/cbor", body: cbor(value) }
    }

    fn accepted() -> Self {
        Answer { status: 202, content_type: "text/plain", body: Vec::new() }
    }
}

/// The status endpoint's answer.
#[derive(Serialize)]
struct Status {
    ic_api_version: &'static str,
    impl_version: &'static str,
    replica_health_status: &'static str,
    root_key: ByteBuf,
}

/// What answers requests: the host, the keys, the calls that were let in.
pub struct Endpoints {
    host: Arc<Host>,
    calls: Calls,
    authority: Authority,
    records: Arc<CallRecords>,
}

impl Endpoints {
    /// Endpoints of the host.
    pub fn new(host: Arc<Host>, calls: Calls) -> Self {
        Endpoints { host, calls, authority: Authority::new(), records: Arc::default() }
    }

    /// The key that certificates are verified with, DER.
    pub fn root_key(&self) -> &[u8] {
        &self.authority.root_key
    }

    /// The subnet that has all canisters.
    pub fn subnet_id(&self) -> Principal {
        self.authority.subnet_id()
    }

    /// Moves the host's time to the machine's.
    pub fn keep_time(&self) {
        let behind = now().saturating_sub(self.host.time_nanos());
        if behind > 0 {
            self.host.advance_time(Duration::from_nanos(behind));
        }
    }

    /// Answers a request.
    pub fn answer(&self, method: &str, url: &str, body: &[u8]) -> Answer {
        let path: Vec<&str> = url.split(['/', '?']).skip(1).collect();
        let (version, scope, id, verb) = match (method, path.as_slice()) {
            ("GET", ["api", "v2", "status"]) => return self.status(),
            ("POST", ["api", version, scope, id, verb]) => (*version, *scope, *id, *verb),
            _ => return Answer::text(404, format!("nothing is served at {method} {url}")),
        };
        let Ok(effective) = Principal::from_text(id) else {
            return Answer::text(400, format!("{id} is no principal"));
        };
        let request = match Request::open(body, now()) {
            Ok(request) => request,
            Err(error) => return Answer::text(400, error.to_string()),
        };
        if matches!(scope, "subnet") && effective != self.subnet_id() {
            return Answer::text(
                400,
                format!("{effective} is not the subnet, which is {}", self.subnet_id()),
            );
        }
        let (id, content) = (request.id, request.content);
        match (scope, verb, version, content) {
            ("canister", "call", "v2" | "v3" | "v4", content @ EnvelopeContent::Call { .. }) => {
                self.call(effective, id, content, version)
            }
            ("canister", "query", "v2" | "v3", content @ EnvelopeContent::Query { .. }) => {
                self.query(effective, id, content)
            }
            (
                "canister" | "subnet",
                "read_state",
                "v2" | "v3",
                EnvelopeContent::ReadState { sender, paths, .. },
            ) => self.read_state(sender, &paths),
            _ => Answer::text(400, format!("{url} does not take this request")),
        }
    }

    fn status(&self) -> Answer {
        Answer::cbor(&Status {
            ic_api_version: "0.18.0",
            impl_version: env!("CARGO_PKG_VERSION"),
            replica_health_status: "healthy",
            root_key: ByteBuf::from(self.root_key()),
        })
    }

    fn call(&self, effective: Principal, id: RequestId, content: EnvelopeContent, version: &str) -> Answer {
        let EnvelopeContent::Call { sender, canister_id, method_name, arg, .. } = content else {
            return Answer::text(400, "no call");
        };
        if let Some(refusal) = misrouted(effective, canister_id) {
            return refusal;
        }
        if self.records.get(&id).is_none() {
            self.keep_time();
            let call = match self.host.submit(canister_id, sender, &method_name, &arg) {
                Ok(call) => call,
                Err(reject) if reject.error_code == HTTP_ERROR => return Answer::text(413, reject.message),
                Err(reject) => {
                    return Answer::cbor(&TransportCallResponse::NonReplicatedRejection(refusal(reject)));
                }
            };
            self.records.set(id, sender, CallStatus::Processing);
            let (host, records) = (self.host.clone(), self.records.clone());
            let executing = std::thread::spawn(move || {
                records.set(id, sender, CallStatus::Answered(host.await_call(call)));
            });
            if self.calls == Calls::Awaited && version != "v2" && executing.join().is_err() {
                return Answer::text(500, "the host panicked");
            }
        }
        if version == "v2" || self.calls == Calls::Accepted {
            return Answer::accepted();
        }
        match self.certificate(sender, &[vec!["request_status".into(), Label::from_bytes(id.as_slice())]]) {
            Ok(certificate) => Answer::cbor(&TransportCallResponse::Replied { certificate }),
            Err(refusal) => refusal,
        }
    }

    fn query(&self, effective: Principal, id: RequestId, content: EnvelopeContent) -> Answer {
        let EnvelopeContent::Query { sender, canister_id, method_name, arg, .. } = content else {
            return Answer::text(400, "no query");
        };
        if let Some(refusal) = misrouted(effective, canister_id) {
            return refusal;
        }
        self.keep_time();
        let mut answer = match self.host.query(canister_id, sender, &method_name, &arg) {
            Ok(arg) => QueryResponse::Replied { reply: ReplyResponse { arg }, signatures: Vec::new() },
            Err(reject) if reject.error_code == HTTP_ERROR => return Answer::text(413, reject.message),
            Err(reject) => QueryResponse::Rejected { reject: refusal(reject), signatures: Vec::new() },
        };
        let signature = self.authority.vouch(&answer, id, now());
        let (QueryResponse::Replied { signatures, .. } | QueryResponse::Rejected { signatures, .. }) =
            &mut answer;
        signatures.push(signature);
        Answer::cbor(&answer)
    }

    fn read_state(&self, sender: Principal, paths: &[Vec<Label<Vec<u8>>>]) -> Answer {
        match self.certificate(sender, paths) {
            Ok(certificate) => Answer::cbor(&ReadStateResponse { certificate }),
            Err(refusal) => refusal,
        }
    }

    /// A certificate of what stands at the paths, and of the time.
    fn certificate(&self, sender: Principal, paths: &[Vec<Label<Vec<u8>>>]) -> Result<Vec<u8>, Answer> {
        let mut whole = State::new();
        state::subnet(&mut whole, &self.authority);
        for path in paths {
            let labels: Vec<&[u8]> = path.iter().map(Label::as_bytes).collect();
            match labels.as_slice() {
                [b"time"] | [b"subnet", ..] | [b"canister_ranges", ..] => {}
                [b"request_status", id, ..] => self.call_state(&mut whole, sender, id)?,
                [b"canister", canister, b"metadata", name] => {
                    let found = Principal::try_from_slice(canister).ok().zip(str::from_utf8(name).ok());
                    let section = found.and_then(|(id, name)| self.host.metadata(id, sender, name));
                    if let Some(section) = section {
                        whole.insert(&labels, section);
                    }
                }
                _ => return Err(Answer::text(404, "this path of the state tree is not served here")),
            }
        }
        let mut selected = whole.select(paths);
        state::time(&mut selected, now());
        Ok(self.authority.certify(selected.tree()))
    }

    fn call_state(&self, whole: &mut State, sender: Principal, id: &[u8]) -> Result<(), Answer> {
        let id = id.try_into().map_err(|_| Answer::text(400, "a request id has 32 bytes"))?;
        let id = RequestId::new(id);
        match self.records.get(&id) {
            Some((caller, _)) if caller != sender => Err(Answer::text(403, "the call is another's")),
            Some((_, status)) => {
                state::request_status(whole, &id, &status);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// A refusal where the path names another canister than the request.
fn misrouted(effective: Principal, canister: Principal) -> Option<Answer> {
    (effective != canister && canister != Principal::management_canister())
        .then(|| Answer::text(400, format!("the path names {effective}, the request {canister}")))
}

fn refusal(reject: Reject) -> RejectResponse {
    RejectResponse {
        reject_code: RejectCode::try_from(reject.code as u64).unwrap_or(RejectCode::SysTransient),
        reject_message: reject.message,
        error_code: Some(reject.error_code),
    }
}

/// The machine's time, nanoseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
