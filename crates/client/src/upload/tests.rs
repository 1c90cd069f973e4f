//! The upload against a service in memory that loses messages, forgets chunks and contradicts itself on demand.

use std::cell::RefCell;
use std::collections::BTreeSet;

use ic_nn_types::{ChunkRange, Error, GraphDescription};

use super::*;
use crate::{CallError, RejectCode};

const CHUNK: u32 = 65_536;

#[derive(Default)]
struct Service {
    held: BTreeSet<u32>,
    bytes: Vec<u8>,
    spec: Option<UploadSpec>,
    committed: Option<ModelVersion>,
    /// Sizes of the files, as the last spec had them.
    builders: Option<Vec<u64>>,
    /// Calls by method, in order.
    calls: Vec<String>,
    paused: Vec<Duration>,
    /// `(call number, executed first)`: these calls fail with a transient reject.
    lost: Vec<(usize, bool)>,
    /// This chunk is accepted and not kept.
    forgets: Option<u32>,
    /// Says this number of chunks whatever there are.
    chunks: Option<u32>,
}

#[derive(Default)]
struct Fake(RefCell<Service>);

impl Service {
    fn status(&self) -> UploadStatus {
        let spec = self.spec.clone().unwrap();
        let chunks = u32::try_from(spec.bytes.div_ceil(u64::from(CHUNK))).unwrap();
        let missing = (0..chunks)
            .filter(|index| !self.held.contains(index))
            .map(|index| ChunkRange { first: index, last: index })
            .collect();
        UploadStatus {
            upload: 7,
            name: spec.name,
            bytes: spec.bytes,
            sha256: spec.sha256,
            chunk_bytes: CHUNK,
            chunks: self.chunks.unwrap_or(chunks),
            received: self.held.len() as u32,
            missing,
            failed: None,
        }
    }

    fn execute(&mut self, method: &str, arg: &[u8]) -> Vec<u8> {
        match method {
            "upload_begin" => {
                let (spec,): (UploadSpec,) = candid::decode_args(arg).unwrap();
                self.bytes.resize(spec.bytes as usize, 0);
                self.builders.clone_from(&spec.builders);
                self.spec = Some(spec);
                ok(self.status())
            }
            "upload_chunk" => {
                let (chunk,): (ChunkRequest,) = candid::decode_args(arg).unwrap();
                if self.forgets != Some(chunk.index) {
                    let start = (chunk.index * CHUNK) as usize;
                    self.bytes[start..start + chunk.data.len()].copy_from_slice(&chunk.data);
                    self.held.insert(chunk.index);
                }
                ok(self.status())
            }
            "upload_commit" => {
                if self.spec.is_none() {
                    return candid::encode_one(Err::<ModelVersion, _>(Error::not_found("upload 7"))).unwrap();
                }
                let status = self.status();
                assert!(status.missing.is_empty());
                let sha256 = Sha256::digest(&self.bytes).to_vec();
                assert_eq!(sha256, status.sha256);
                self.spec = None;
                let version = ModelVersion { name: status.name, version: 3, sha256 };
                self.committed = Some(version.clone());
                ok(version)
            }
            "describe" => {
                let committed = self.committed.clone().unwrap();
                ok(GraphDescription {
                    name: committed.name,
                    version: committed.version,
                    encoding: None,
                    sha256: committed.sha256,
                    bytes: 0,
                    inputs: vec![],
                    outputs: vec![],
                    operators: vec![],
                    parameters: 0,
                    weights: vec![],
                    quantised_operators: 0,
                    macs: None,
                    peak_bytes: None,
                    opset: None,
                    producer: String::new(),
                    provenance: Default::default(),
                    labels: vec![],
                    graph: None,
                    load_instructions: 0,
                    trial_instructions: None,
                    trial_refusal: None,
                    runs: vec![],
                })
            }
            other => panic!("{other} is not part of an upload"),
        }
    }
}

fn ok<R: candid::CandidType>(value: R) -> Vec<u8> {
    candid::encode_one(Ok::<R, Error>(value)).unwrap()
}

impl Transport for Fake {
    fn update(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        let mut service = self.0.borrow_mut();
        let number = service.calls.len();
        service.calls.push(method.to_owned());
        let lost = service.lost.iter().find(|(n, _)| *n == number).copied();
        if lost.is_none_or(|(_, executed)| executed) {
            let reply = service.execute(method, arg);
            if lost.is_none() {
                return Ok(reply);
            }
        }
        Err(CallError::Rejected {
            code: RejectCode::SysTransient,
            error_code: "IC0207".into(),
            message: "busy".into(),
        })
    }

    fn query(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        self.update(method, arg)
    }

    fn pause(&self, duration: Duration) {
        self.0.borrow_mut().paused.push(duration);
    }
}

fn model() -> Vec<u8> {
    (0..200_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn upload(service: Service) -> (Result<ModelVersion, ClientError>, Vec<UploadEvent>, Service) {
    let client = Client::new(Fake(RefCell::new(service)));
    let mut events = Vec::new();
    let result = client.upload("m", &model(), &mut |event| events.push(event));
    (result, events, client.transport().0.take())
}

#[test]
fn every_chunk_is_sent_once_and_progress_ends_at_the_size() {
    let (result, events, service) = upload(Service::default());
    assert_eq!(result.unwrap().version, 3);
    assert_eq!(service.bytes, model());
    let calls =
        ["upload_begin", "upload_chunk", "upload_chunk", "upload_chunk", "upload_chunk", "upload_commit"];
    assert_eq!(service.calls, calls);
    let sent: Vec<u64> = events
        .iter()
        .filter_map(|e| if let UploadEvent::Sent { sent, .. } = e { Some(*sent) } else { None })
        .collect();
    assert_eq!(sent, [65_536, 131_072, 196_608, 200_000]);
    assert_eq!(events[0], UploadEvent::Begun { upload: 7, held: 0 });
    assert_eq!(events.last(), Some(&UploadEvent::Committing));
}

#[test]
fn several_files_lie_one_behind_the_other() {
    let model = model();
    // Ends of files on a chunk's end, within a chunk, and an empty file.
    let files = [&model[..65_536], &model[65_536..65_536], &model[65_536..100_000], &model[100_000..]];
    let client = Client::new(Fake::default());
    client.upload_files("m", &files, None, &mut |_| {}).unwrap();
    assert_eq!(client.transport().0.borrow().bytes, model);
    assert_eq!(client.transport().0.borrow().builders, Some(vec![65_536, 0, 34_464, 100_000]));
    client.upload("m", &model, &mut |_| {}).unwrap();
    assert_eq!(client.transport().0.borrow().builders, None);
}

#[test]
fn a_resumed_upload_sends_only_what_is_missing() {
    let model = model();
    let mut bytes = vec![0; model.len()];
    bytes[..65_536].copy_from_slice(&model[..65_536]);
    bytes[131_072..196_608].copy_from_slice(&model[131_072..196_608]);
    let (result, events, service) = upload(Service { held: [0, 2].into(), bytes, ..Service::default() });
    result.unwrap();
    assert_eq!(events[0], UploadEvent::Begun { upload: 7, held: 131_072 });
    assert_eq!(service.calls.iter().filter(|c| *c == "upload_chunk").count(), 2);
}

#[test]
fn a_lost_message_is_sent_again_after_growing_pauses() {
    let (result, events, service) =
        upload(Service { lost: vec![(2, false), (3, true), (4, false)], ..Service::default() });
    result.unwrap();
    assert_eq!(service.paused, [500, 1_000, 2_000].map(Duration::from_millis));
    let attempts: Vec<u32> = events
        .iter()
        .filter_map(|e| if let UploadEvent::Retrying { attempt, .. } = e { Some(*attempt) } else { None })
        .collect();
    assert_eq!(attempts, [2, 3, 4]);
}

#[test]
fn a_service_that_stays_away_is_given_up_on() {
    let (result, _, service) =
        upload(Service { lost: (0..99).map(|n| (n, false)).collect(), ..Service::default() });
    let error = result.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(service.calls.len() as u32, ATTEMPTS);
}

#[test]
fn a_commit_whose_reply_was_lost_is_found_by_its_sha256() {
    let (result, _, service) = upload(Service { lost: vec![(5, true)], ..Service::default() });
    assert_eq!(result.unwrap().version, 3);
    assert_eq!(service.calls[5..], ["upload_commit", "upload_commit", "describe"]);
}

#[test]
fn a_chunk_that_stays_missing_ends_the_upload() {
    let (result, ..) = upload(Service { forgets: Some(1), ..Service::default() });
    let error = result.unwrap_err();
    assert!(matches!(&error, ClientError::Upload { message, .. } if message.contains("chunk 1")), "{error}");
}

#[test]
fn a_status_that_cannot_be_true_ends_the_upload() {
    for chunks in [0, 3, u32::MAX] {
        let (result, ..) = upload(Service { chunks: Some(chunks), ..Service::default() });
        assert!(matches!(result, Err(ClientError::Upload { .. })), "{result:?}");
    }
}

#[test]
fn an_error_of_the_service_is_final_and_kept_whole() {
    struct Refusing;
    impl Transport for Refusing {
        fn update(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, CallError> {
            let error = Error::new(ErrorCode::Security, "not an admin");
            Ok(candid::encode_one(Err::<UploadStatus, _>(error)).unwrap())
        }
        fn query(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
            self.update(method, arg)
        }
    }
    let error = Client::new(Refusing).upload("m", b"x", &mut |_| {}).unwrap_err();
    assert_eq!(error.service().map(|e| e.code), Some(ErrorCode::Security));
}

#[test]
fn a_reply_of_another_type_is_said_to_be_one() {
    struct Garbage;
    impl Transport for Garbage {
        fn update(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, CallError> {
            Ok(b"DIDL\x00\x01\x71\x02hi".to_vec())
        }
        fn query(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
            self.update(method, arg)
        }
    }
    let client = Client::new(Garbage);
    assert!(matches!(client.upload_commit(1), Err(ClientError::Decode { method: "upload_commit", .. })));
    assert!(matches!(client.server_metadata(), Err(ClientError::Decode { .. })));
}
