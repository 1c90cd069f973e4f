//! The registry's interface: labels, version policies, retirement, deletion with proof, where models come from, and
//! uploads that fail, are abandoned, or come by `ic-file-uploader`.

use std::time::Duration;

use candid::encode_args;
use ic_nn_host::RejectCode;
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, element};
use ic_nn_tests::service::{Service, controller, refused, spec};
use ic_nn_types::{
    ChunkRequest, DeleteRequest, ErrorCode, IndexEntry, InitArgs, ListRequest, MAX_CHUNK_BYTES, ModelState,
    Provenance, Tensor, UploadSpec, VersionPolicy,
};
use serde_bytes::ByteBuf;

/// Versions of `m` that answer x = -3 with 3, 0, -3 and 3 (Neg, Relu, Identity, Abs).
fn versions(service: &Service<'_>) {
    for op in ["Neg", "Relu", "Identity", "Abs"] {
        service.upload("m", &onnx::unary(op, element::FLOAT, &[Dim::Is(1)])).expect("it is accepted");
    }
}

/// The version that a name means, told by an inference.
fn answering(service: &Service<'_>, model: &str) -> Result<u64, ic_nn_client::ClientError> {
    let x = vec![("x".to_owned(), Tensor::from_f32(vec![1], &[-3.0]))];
    service.controller().infer(&ic_nn_tests::service::request(model, x)).map(|r| r.version)
}

#[test]
fn labels_are_set_moved_and_removed() {
    on_every_runtime("labels", |replica| {
        let service = Service::deploy(replica, None);
        versions(&service);
        let caller = service.controller();
        caller.set_label("m:2", "stable").expect("it is set");
        caller.set_label("m:1", "old").expect("it is set");
        caller.set_label("m:2", "tested").expect("a version takes several");
        assert_eq!(answering(&service, "m@stable"), Ok(2));
        assert_eq!(answering(&service, "m@latest"), Ok(4));
        assert_eq!(caller.describe("m:2").expect("it is there").labels, ["stable", "tested"]);
        assert_eq!(caller.describe("m@latest").expect("it is there").labels, ["latest"]);
        caller.set_label("m:3", "stable").expect("it moves");
        assert_eq!(answering(&service, "m@stable"), Ok(3));
        assert_eq!(caller.describe("m:2").expect("it is there").labels, ["tested"]);
        caller.set_label("m@old", "older").expect("a label names a version here too");
        assert_eq!(answering(&service, "m@older"), Ok(1));
        caller.remove_label("m", "stable").expect("it is removed");
        refused(answering(&service, "m@stable"), ErrorCode::NotFound, &["stable", "older"]);
        refused(caller.remove_label("m", "stable"), ErrorCode::NotFound, &["stable"]);
        let invalid = ErrorCode::InvalidArgument;
        refused(caller.set_label("m:1", "latest"), invalid, &["latest"]);
        refused(caller.remove_label("m", "latest"), invalid, &["latest"]);
        for bad in ["", "1", "a b", "a@b", "a:1", &"x".repeat(65)] {
            refused(caller.set_label("m:1", bad), invalid, &[]);
        }
        refused(caller.set_label("m:9", "stable"), ErrorCode::NotFound, &["9"]);
        refused(caller.set_label("n:1", "stable"), ErrorCode::NotFound, &["n"]);
        service.upgrade();
        assert_eq!(answering(&service, "m@older"), Ok(1), "labels survive an upgrade");
    });
}

#[test]
fn a_version_policy_says_what_is_served_and_what_latest_means() {
    on_every_runtime("version policies", |replica| {
        let service = Service::deploy(replica, None);
        versions(&service);
        let caller = service.controller();
        assert_eq!(caller.version_policy("m"), Ok(VersionPolicy::All));
        for version in 1..=4 {
            assert_eq!(answering(&service, &format!("m:{version}")), Ok(version));
        }
        let newest_two = VersionPolicy::Latest(2);
        caller.set_version_policy("m", &newest_two).expect("it is set");
        assert_eq!(caller.version_policy("m"), Ok(newest_two));
        assert_eq!(answering(&service, "m"), Ok(4));
        assert_eq!(answering(&service, "m:3"), Ok(3));
        refused(answering(&service, "m:2"), ErrorCode::NotFound, &["2", "version policy"]);
        let served = caller.model_metadata("m").expect("it is told").versions;
        assert_eq!(served, ["3", "4"]);
        caller.set_version_policy("m", &VersionPolicy::Specific(vec![3, 1])).expect("it is set");
        assert_eq!(answering(&service, "m"), Ok(3), "latest is the newest that is served");
        assert_eq!(answering(&service, "m@latest"), Ok(3));
        refused(answering(&service, "m:4"), ErrorCode::NotFound, &["4"]);
        let states: Vec<_> = caller.list_all().expect("a list").into_iter().map(|m| m.state).collect();
        let retired = Some(ModelState::Retired);
        assert!(states[1] == retired && states[3] == retired && states[0] != retired, "{states:?}");
        let invalid = ErrorCode::InvalidArgument;
        refused(caller.set_version_policy("m", &VersionPolicy::Latest(0)), invalid, &["0"]);
        refused(caller.set_version_policy("m", &VersionPolicy::Latest(101)), invalid, &["101"]);
        refused(caller.set_version_policy("m", &VersionPolicy::Specific(vec![])), invalid, &["0"]);
        let unknown = VersionPolicy::Specific(vec![1, 9]);
        refused(caller.set_version_policy("m", &unknown), ErrorCode::NotFound, &["9"]);
        refused(caller.set_version_policy("n", &VersionPolicy::All), ErrorCode::NotFound, &["n"]);
        caller.set_version_policy("m", &VersionPolicy::All).expect("it is set");
        assert_eq!(answering(&service, "m"), Ok(4));
    });
}

#[test]
fn a_version_is_retired_and_restored() {
    on_every_runtime("retirement", |replica| {
        let service = Service::deploy(replica, None);
        versions(&service);
        let caller = service.controller();
        caller.retire("m:4").expect("it is retired");
        assert_eq!(answering(&service, "m"), Ok(3));
        refused(answering(&service, "m:4"), ErrorCode::NotFound, &["4", "retired", "restore"]);
        refused(caller.load_by_name("m:4"), ErrorCode::NotFound, &["retired"]);
        assert!(!caller.model_ready("m:4").expect("it is told"));
        caller.describe("m:4").expect("it is described all the same");
        caller.restore("m:4").expect("it is restored");
        assert_eq!(answering(&service, "m"), Ok(4));
        let invalid = ErrorCode::InvalidArgument;
        refused(caller.retire("m"), invalid, &["`m`"]);
        caller.set_label("m:2", "stable").expect("it is set");
        refused(caller.retire("m:2"), invalid, &["stable"]);
        refused(caller.retire("m:9"), ErrorCode::NotFound, &["9"]);
        for version in ["m:1", "m:3", "m:4"] {
            caller.retire(version).expect("it is retired");
        }
        caller.remove_label("m", "stable").expect("it is removed");
        caller.retire("m:2").expect("the last is retired");
        refused(answering(&service, "m"), ErrorCode::NotFound, &["m", "retired"]);
    });
}

#[test]
fn the_repository_index_speaks_the_protocol_s_words() {
    on_every_runtime("index", |replica| {
        let service = Service::deploy(replica, None);
        versions(&service);
        let caller = service.controller();
        caller.load_by_name("m:1").expect("it loads");
        caller.retire("m:3").expect("it is retired");
        caller.upload_begin(&spec("n", &onnx::add())).expect("it begins");
        let index = caller.repository_index(&ListRequest::default()).expect("it is told");
        let entry = |name: &str, version: &str| -> &IndexEntry {
            index
                .iter()
                .find(|e| e.name == name && e.version == version)
                .unwrap_or_else(|| panic!("{name}:{version} is missing in {index:?}"))
        };
        assert_eq!((entry("m", "1").state.as_str(), entry("m", "1").reason.as_str()), ("READY", ""));
        assert_ne!(entry("m", "3").state, "READY");
        assert!(entry("m", "3").reason.contains("retire"), "{:?}", entry("m", "3"));
        assert_eq!(entry("n", "").state, "UPLOADING");
        assert!(index.iter().all(|e| e.state == e.state.to_uppercase()), "{index:?}");
        let page = caller.repository_index(&ListRequest { after: None, limit: Some(2) }).expect("a page");
        assert_eq!(page, index[..2]);
        let after = ListRequest { after: Some("m:2".into()), limit: Some(2) };
        assert_eq!(caller.repository_index(&after).expect("a page"), index[2..4]);
    });
}

#[test]
fn a_deletion_needs_the_sha256() {
    on_every_runtime("deletion", |replica| {
        let service = Service::deploy(replica, None);
        versions(&service);
        let caller = service.controller();
        let sha256 = |model: &str| caller.describe(model).expect("it is there").sha256;
        let (second, newest) = (sha256("m:2"), sha256("m:4"));
        let delete = |model: &str, sha256: &[u8]| {
            caller.delete(&DeleteRequest { model: model.into(), sha256: sha256.into() })
        };
        let invalid = ErrorCode::InvalidArgument;
        for wrong in [&newest[..], &[0; 32], &second[..31], &[]] {
            refused(delete("m:2", wrong), invalid, &["sha256", &hex::encode(&second)]);
        }
        refused(delete("m", &second), invalid, &[&hex::encode(&newest)]);
        assert_eq!(caller.list_all().expect("a list").len(), 4);
        assert_eq!(delete("m:2", &second), Ok(1));
        refused(delete("m:2", &second), ErrorCode::NotFound, &["2"]);
        assert_eq!(delete("m", &newest), Ok(3));
        refused(delete("n", &newest), ErrorCode::NotFound, &["n"]);
    });
}

#[test]
fn where_a_model_comes_from_is_told() {
    on_every_runtime("provenance", |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        let file = onnx::add();
        let told = Provenance {
            licence: Some("Apache-2.0".into()),
            source: Some("https://example.org/add".into()),
            metadata: vec![("epochs".into(), "3".into()), ("author".into(), "somebody".into())],
        };
        let begin = |provenance: Provenance| {
            caller.upload_begin(&UploadSpec { provenance: Some(provenance), ..spec("add", &file) })
        };
        let invalid = ErrorCode::InvalidArgument;
        let twice =
            Provenance { metadata: vec![("k".into(), "1".into()), ("k".into(), "2".into())], ..told.clone() };
        refused(begin(twice), invalid, &["k"]);
        let long = Provenance { licence: Some("x".repeat(20_000)), ..told.clone() };
        refused(begin(long), invalid, &[]);
        let upload = begin(told.clone()).expect("it begins").upload;
        caller.upload_chunk(&ChunkRequest { upload, index: 0, data: file.clone() }).expect("it is taken");
        caller.upload_commit(upload).expect("it commits");
        assert_eq!(caller.describe("add").expect("it is there").provenance, told);
        service.upload("add", &file).expect("it is accepted");
        assert_eq!(caller.describe("add:2").expect("it is there").provenance, Provenance::default());
    });
}

#[test]
fn a_failed_upload_shows_why() {
    on_every_runtime("failed upload", |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        let file = b"this is no protobuf at all".to_vec();
        let upload = caller.upload_begin(&spec("bad", &file)).expect("it begins").upload;
        caller.upload_chunk(&ChunkRequest { upload, index: 0, data: file.clone() }).expect("it is taken");
        let error = refused(caller.upload_commit(upload), ErrorCode::InvalidEncoding, &["not an ONNX model"]);
        let failed = caller.upload_status(upload).expect("it is open still").failed.expect("it has failed");
        assert!(failed.contains("not an ONNX model"), "{failed}");
        let index = caller.repository_index(&ListRequest::default()).expect("it is told");
        let entry = index.iter().find(|e| e.name == "bad").expect("it is in the index");
        assert!(entry.state != "READY" && entry.version.is_empty(), "{entry:?}");
        assert!(entry.reason.contains(&error.data), "{entry:?}");
        caller.upload_chunk(&ChunkRequest { upload, index: 0, data: file }).expect("it may be mended");
        assert_eq!(caller.upload_status(upload).expect("it is open").failed, None, "a chunk begins anew");
        assert_eq!(caller.list_all(), Ok(vec![]), "it is no version");
    });
}

#[test]
fn abandoned_uploads_are_cleared_away() {
    on_every_runtime("abandoned", |replica| {
        let args = InitArgs { abandoned_after_seconds: Some(7_200), ..Default::default() };
        let service = Service::deploy(replica, Some(args));
        let caller = service.controller();
        let spec = UploadSpec { chunk_bytes: Some(65_536), ..spec("m", &vec![7; 100_000]) };
        let idle = caller.upload_begin(&spec).expect("it begins").upload;
        let busy = caller.upload_begin(&UploadSpec { name: "n".into(), ..spec }).expect("it begins").upload;
        let pass = |seconds| {
            replica.advance_time(Duration::from_secs(seconds));
            for _ in 0..5 {
                replica.tick();
            }
        };
        pass(5_000);
        caller.upload_status(idle).expect("it is not abandoned yet");
        let chunk = ChunkRequest { upload: busy, index: 0, data: vec![7; 65_536] };
        caller.upload_chunk(&chunk).expect("it is taken");
        // 8,000 s in, the first is abandoned; the hourly sweep comes before 11,700 s, when the second has 500 s left.
        pass(3_000);
        pass(3_700);
        refused(caller.upload_status(idle), ErrorCode::NotFound, &[&idle.to_string()]);
        assert_eq!(caller.upload_status(busy).expect("a chunk came for it").received, 1);
    });
}

#[test]
fn what_ic_file_uploader_calls() {
    // Two chunks of its 2,000,000 bytes and a rest.
    let floats = 2 * MAX_CHUNK_BYTES as usize / 4 + 10;
    let weights: Vec<u8> = (0..floats).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let model = onnx::Model {
        nodes: vec![onnx::node("Gather", &["w", "ix"], &["y"], vec![])],
        inputs: vec![onnx::value("ix", element::INT64, &[Dim::Is(1)])],
        outputs: vec![onnx::value("y", element::FLOAT, &[Dim::Is(1)])],
        initializers: vec![onnx::tensor("w", element::FLOAT, &[floats as i64], &weights)],
        ..Default::default()
    }
    .finish();
    on_every_runtime("append", |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        let append = |data: &[u8]| {
            let arg = encode_args((ByteBuf::from(data),)).expect("it encodes");
            replica.update(service.canister, controller(), "append_chunk", &arg)
        };
        let append_at = |index: u32, data: &[u8]| {
            let arg = encode_args((index, ByteBuf::from(data))).expect("it encodes");
            replica.update(service.canister, controller(), "append_parallel_chunk", &arg)
        };
        let rejected = |answer: Result<Vec<u8>, ic_nn_host::Reject>, word: &str| {
            let reject = answer.expect_err("errors are rejects");
            assert_eq!(reject.code, RejectCode::CanisterReject, "{reject}");
            assert!(reject.message.contains(word), "`{word}` is missing in: {reject}");
        };
        rejected(append(&model[..100]), "no upload open");
        rejected(append_at(0, &model[..100]), "no upload open");
        let announced = UploadSpec { chunk_bytes: Some(MAX_CHUNK_BYTES), ..spec("m", &model) };
        let chunks: Vec<&[u8]> = model.chunks(MAX_CHUNK_BYTES as usize).collect();
        let upload = caller.upload_begin(&announced).expect("it begins").upload;
        rejected(append(&model[..100]), "100 bytes");
        for chunk in &chunks {
            assert_eq!(append(chunk).expect("it is taken"), encode_args(()).expect("it encodes"));
        }
        rejected(append(chunks[0]), "have arrived");
        assert_eq!(caller.upload_commit(upload).expect("it commits").version, 1);
        let upload = caller.upload_begin(&announced).expect("it begins").upload;
        for (index, chunk) in chunks.iter().enumerate().rev() {
            append_at(index as u32, chunk).expect("in any order");
        }
        rejected(append_at(chunks.len() as u32, chunks[0]), "out of range");
        assert_eq!(caller.upload_commit(upload).expect("it commits").version, 2);
    });
}
