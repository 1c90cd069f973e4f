//! The client's transport over HTTP against the canister's real wasm: what the embedded host answers in process it answers
//! through certificates and signed envelopes too.

use std::ops::Deref;
use std::path::PathBuf;

use candid::Principal;
use ic_ed25519::{PrivateKey, PrivateKeyFormat};
use ic_nn_client::{AgentTransport, CallError, Client, ClientError, RejectCode, Transport, UploadEvent};
use ic_nn_gateway::{Calls, Deployment, repository};
use ic_nn_types::{ErrorCode, InferRequest, ListRequest, Role, Tensor, UploadSpec};
use k256::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use sha2::{Digest, Sha256};

fn digits() -> Vec<u8> {
    std::fs::read(repository("models/digits.onnx")).expect("the digits model is committed")
}

fn connect(
    deployment: &Deployment,
    canister: Principal,
    identity: Option<PathBuf>,
) -> Client<AgentTransport> {
    let transport = AgentTransport::connect(deployment.gateway.url(), canister, identity.as_deref());
    Client::new(transport.expect("the gateway gives its root key"))
}

fn as_owner(deployment: &Deployment) -> Client<AgentTransport> {
    connect(deployment, deployment.canister, Some(deployment.identity("owner")))
}

fn blank() -> InferRequest {
    let image = Tensor::from_f32(vec![1, 1, 8, 8], &[0.0; 64]);
    InferRequest { model: "digits".into(), inputs: vec![("image".into(), image)], ..Default::default() }
}

#[track_caller]
fn rejected<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (RejectCode, String, String) {
    match result {
        Err(ClientError::Call { error: CallError::Rejected { code, error_code, message }, .. }) => {
            (code, error_code, message)
        }
        other => panic!("a rejection is expected, {other:?} came"),
    }
}

/// The main job, with calls answered in either way.
fn a_model_is_served(calls: Calls) {
    let deployment = Deployment::new(calls);
    let owner = as_owner(&deployment);
    assert_eq!(owner.transport().sender(), Ok(deployment.principal("owner")));
    let version = owner.upload("digits", &digits(), &mut |_| {}).expect("the model is accepted");
    assert_eq!((version.name.as_str(), version.version), ("digits", 1));
    let graph = owner.load_by_name("digits").expect("it loads");
    assert_eq!(owner.load_by_name("digits").expect("it is loaded"), graph);
    let certified = owner.infer(&blank()).expect("an update infers");
    let anyone = connect(&deployment, deployment.canister, None);
    assert_eq!(anyone.transport().sender(), Ok(Principal::anonymous()));
    let asked = anyone.infer_query(&blank()).expect("a query infers");
    assert_eq!(asked.outputs, certified.outputs);
    let probabilities = asked.outputs[0].1.to_f32().expect("floats");
    assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-3, "{probabilities:?}");
    let listed = anyone.list(&ListRequest::default()).expect("anyone lists");
    assert_eq!(listed.models.len(), 1, "{listed:?}");
}

#[test]
fn a_model_is_served_over_http() {
    a_model_is_served(Calls::Awaited);
}

#[test]
fn a_call_that_is_only_accepted_is_waited_for() {
    a_model_is_served(Calls::Accepted);
}

#[test]
fn refusals_say_who_refused_what() {
    let deployment = Deployment::new(Calls::Awaited);
    let owner = as_owner(&deployment);
    let stranger = connect(&deployment, deployment.canister, Some(deployment.identity("stranger")));

    // Dropped by `inspect_message`, before the canister pays.
    let (code, error_code, message) = rejected(stranger.load_by_name("digits"));
    assert_eq!((code, error_code.as_str()), (RejectCode::CanisterReject, "IC0406"), "{message}");
    assert!(message.contains("rejected the message"), "{message}");
    // A query is answered, with the service's own words.
    let error = stranger.list_roles().expect_err("roles are for admins");
    assert_eq!(error.service().map(|e| e.code), Some(ErrorCode::Security), "{error}");
    // A role lets the same key in, up to the question itself.
    owner.grant_role(deployment.principal("stranger"), Role::Uploader).expect("a controller grants");
    let error = stranger.load_by_name("digits").expect_err("there is no model");
    assert_eq!(error.service().map(|e| e.code), Some(ErrorCode::NotFound), "{error}");

    let nowhere = Principal::from_text("aaaaa-aa").expect("a principal");
    let unknown = Principal::from_slice(&[0, 0, 0, 0, 0, 99, 0, 0, 1, 1]);
    let identity = || Some(deployment.identity("owner"));
    for (canister, method) in [(unknown, "update"), (unknown, "query")] {
        let client = connect(&deployment, canister, identity());
        let (code, error_code, message) = match method {
            "update" => rejected(client.load_by_name("digits")),
            _ => rejected(client.list(&ListRequest::default())),
        };
        assert_eq!((code, error_code.as_str()), (RejectCode::DestinationInvalid, "IC0301"), "{message}");
        assert!(message.contains(&unknown.to_text()), "{message}");
    }
    assert!(connect(&deployment, nowhere, identity()).load_by_name("digits").is_err());

    // Rejected by the canister itself, in an answer that is certified.
    let error = owner.transport().update("append_chunk", &candid::encode_one(vec![0u8]).expect("it encodes"));
    let Err(CallError::Rejected { code, message, .. }) = error else { panic!("{error:?}") };
    assert_eq!(code, RejectCode::CanisterReject, "{message}");
    assert!(message.contains("no upload open"), "{message}");
}

#[test]
fn an_upload_that_broke_off_is_resumed() {
    let deployment = Deployment::new(Calls::Awaited);
    let owner = as_owner(&deployment);
    // Behind the model a field that ONNX does not know, so that it takes several chunks.
    let mut model = digits();
    let padding = 4_500_000;
    model.extend_from_slice(&[0xa2, 0x06]); // Field 100, length-delimited.
    model.extend_from_slice(&varint(padding));
    model.resize(model.len() + padding, 7);
    let spec = UploadSpec {
        name: "digits".into(),
        bytes: model.len() as u64,
        sha256: Sha256::digest(&model).to_vec(),
        ..Default::default()
    };
    let open = owner.upload_begin(&spec).expect("it begins");
    assert_eq!(open.chunks, 3);
    let last = model[2 * open.chunk_bytes as usize..].to_vec();
    let chunk = ic_nn_types::ChunkRequest { upload: open.upload, index: 2, data: last };
    owner.upload_chunk(&chunk).expect("a chunk is taken");
    let mut events = Vec::new();
    let version = owner.upload("digits", &model, &mut |event| events.push(event)).expect("it is resumed");
    assert_eq!(version.sha256, spec.sha256);
    assert!(
        matches!(events[0], UploadEvent::Begun { upload, held } if upload == open.upload && held > 0),
        "{events:?}"
    );
    let sent = events.iter().filter(|event| matches!(event, UploadEvent::Sent { .. })).count();
    assert_eq!(sent, 2, "only what was missing: {events:?}");
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[test]
fn a_gateway_that_went_away_is_unreachable() {
    let deployment = Deployment::new(Calls::Awaited);
    let owner = as_owner(&deployment);
    owner.list(&ListRequest::default()).expect("it is there");
    let url = deployment.gateway.url().to_owned();
    drop(deployment);
    let error = owner.list(&ListRequest::default()).expect_err("it is gone");
    assert!(error.is_transient() && error.to_string().contains(&url), "{error}");
}

#[test]
fn every_kind_of_key_file_signs() {
    let deployment = Deployment::new(Calls::Awaited);
    let (k256, p256) = (k256::SecretKey::from_slice(&[5; 32]), p256::SecretKey::from_slice(&[5; 32]));
    let (k256, p256) = (k256.expect("a key"), p256.expect("a key"));
    let ed25519 = PrivateKey::deserialize_raw_32(&[5; 32]);
    let of_k256 = Principal::self_authenticating(k256.public_key().to_public_key_der().expect("DER"));
    let of_p256 = Principal::self_authenticating(p256.public_key().to_public_key_der().expect("DER"));
    let of_ed25519 = Principal::self_authenticating(ed25519.public_key().serialize_rfc8410_der());
    // What openssl writes before a key of this curve.
    let parameters = "-----BEGIN EC PARAMETERS-----\nBgUrgQQACg==\n-----END EC PARAMETERS-----\n";
    let files = [
        ("Ed25519", of_ed25519, ed25519.serialize_pkcs8_pem(PrivateKeyFormat::Pkcs8v1)),
        ("Ed25519, PKCS #8 v2", of_ed25519, ed25519.serialize_pkcs8_pem(PrivateKeyFormat::Pkcs8v2)),
        ("Ed25519, old dfx", of_ed25519, ed25519.serialize_pkcs8_pem(PrivateKeyFormat::Pkcs8v2WithRingBug)),
        ("secp256k1, SEC 1", of_k256, text(k256.to_sec1_pem(LineEnding::LF))),
        ("secp256k1, openssl", of_k256, format!("{parameters}{}", text(k256.to_sec1_pem(LineEnding::LF)))),
        ("secp256k1, PKCS #8", of_k256, text(k256.to_pkcs8_pem(LineEnding::LF))),
        ("P-256, SEC 1", of_p256, text(p256.to_sec1_pem(LineEnding::LF))),
        ("P-256, PKCS #8", of_p256, text(p256.to_pkcs8_pem(LineEnding::LF))),
    ];
    let path = deployment.folder.path().join("key.pem");
    for (kind, principal, pem) in files {
        std::fs::write(&path, pem).expect("a file");
        let client = connect(&deployment, deployment.canister, Some(path.clone()));
        assert_eq!(client.transport().sender(), Ok(principal), "{kind}");
        // Answered only to who signed, and about the sender.
        let quota = client.caller_quota(principal);
        quota.unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
}

fn text<E: std::fmt::Debug>(pem: Result<impl Deref<Target = String>, E>) -> String {
    pem.expect("a key is written as PEM").to_string()
}
