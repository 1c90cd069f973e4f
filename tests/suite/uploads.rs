//! Uploads: chunks in any order and as often as one likes, and every way to get one wrong.

use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx;
use ic_nn_tests::service::{self, Caller, Service, controller, refused, stranger};
use ic_nn_types::{ChunkRequest, ErrorCode, InitArgs, MAX_CHUNK_BYTES, Role, UploadSpec, UploadStatus};
use sha2::{Digest, Sha256};

const CHUNK: u32 = 65_536;

/// A model of four chunks and a bit.
fn model() -> Vec<u8> {
    let weights = vec![0u8; 4 * CHUNK as usize];
    onnx::Model {
        nodes: vec![onnx::node("Add", &["x", "w"], &["y"], vec![])],
        inputs: vec![onnx::value("x", onnx::element::FLOAT, &[onnx::Dim::Is(1)])],
        outputs: vec![onnx::value("y", onnx::element::FLOAT, &[onnx::Dim::Is(i64::from(CHUNK))])],
        initializers: vec![onnx::tensor("w", onnx::element::FLOAT, &[i64::from(CHUNK)], &weights)],
        ..Default::default()
    }
    .finish()
}

fn spec(name: &str, bytes: &[u8]) -> UploadSpec {
    UploadSpec { chunk_bytes: Some(CHUNK), ..service::spec(name, bytes) }
}

fn put(caller: &Caller<'_>, upload: u64, bytes: &[u8], index: u32) -> UploadStatus {
    let data = bytes.chunks(CHUNK as usize).nth(index as usize).expect("in range").to_vec();
    caller.upload_chunk(&ChunkRequest { upload, index, data }).expect("a good chunk is taken")
}

#[test]
fn chunks_come_in_any_order_repeatedly_and_over_an_upgrade() {
    on_every_runtime("chunks", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, bytes) = (service.controller(), model());
        let begun = caller.upload_begin(&spec("m", &bytes)).expect("it begins");
        assert_eq!((begun.chunks, begun.received), (5, 0));
        assert_eq!((begun.missing[0].first, begun.missing[0].last), (0, 4));
        assert_eq!(put(&caller, begun.upload, &bytes, 3).received, 1);
        assert_eq!(put(&caller, begun.upload, &bytes, 3).received, 1);
        let garbage = ChunkRequest { upload: begun.upload, index: 1, data: vec![0xff; CHUNK as usize] };
        caller.upload_chunk(&garbage).expect("its content is not known to be wrong yet");
        service.upgrade();
        let after = caller.upload_status(begun.upload).expect("it is open still");
        assert_eq!(after.received, 2);
        assert_eq!(caller.upload_begin(&spec("m", &bytes)).expect("it resumes"), after);
        refused(caller.upload_commit(begun.upload), ErrorCode::InvalidArgument, &["3", "0", "2", "4"]);
        for index in [4, 0, 2] {
            put(&caller, begun.upload, &bytes, index);
        }
        let announced = hex::encode(Sha256::digest(&bytes));
        refused(caller.upload_commit(begun.upload), ErrorCode::InvalidArgument, &["sha256", &announced]);
        put(&caller, begun.upload, &bytes, 1);
        let version = caller.upload_commit(begun.upload).expect("it commits");
        assert_eq!((version.name.as_str(), version.version), ("m", 1));
        assert_eq!(version.sha256, Sha256::digest(&bytes).to_vec());
        refused(caller.upload_commit(begun.upload), ErrorCode::NotFound, &[&begun.upload.to_string()]);
    });
}

#[test]
fn what_is_out_of_range_is_refused_and_changes_nothing() {
    on_every_runtime("chunk faults", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, bytes) = (service.controller(), model());
        let upload = caller.upload_begin(&spec("m", &bytes)).expect("it begins").upload;
        put(&caller, upload, &bytes, 0);
        let before = caller.upload_status(upload).expect("it is open");
        let chunk = |upload, index, data| caller.upload_chunk(&ChunkRequest { upload, index, data });
        let invalid = ErrorCode::InvalidArgument;
        refused(chunk(upload, 5, vec![0; 10]), invalid, &["5"]);
        refused(chunk(upload, u32::MAX, vec![]), invalid, &["4294967295"]);
        refused(chunk(upload, 1, vec![0; 100]), invalid, &["65536", "100"]);
        refused(chunk(upload, 4, vec![0; CHUNK as usize]), invalid, &["65536"]);
        refused(
            chunk(upload + 1, 0, vec![0; CHUNK as usize]),
            ErrorCode::NotFound,
            &[&(upload + 1).to_string()],
        );
        refused(caller.upload_status(999), ErrorCode::NotFound, &["999"]);
        refused(caller.upload_abort(999), ErrorCode::NotFound, &["999"]);
        assert_eq!(caller.upload_status(upload).expect("it is open"), before);
        caller.upload_abort(upload).expect("it aborts");
        refused(caller.upload_status(upload), ErrorCode::NotFound, &[&upload.to_string()]);
    });
}

#[test]
fn specs_are_held_to_the_limits() {
    on_every_runtime("specs", |replica| {
        let limits = InitArgs {
            max_model_bytes: Some(1_000_000),
            max_total_bytes: Some(1_500_000),
            max_open_uploads: Some(2),
            ..Default::default()
        };
        let service = Service::deploy(replica, Some(limits));
        let caller = service.controller();
        let good =
            || UploadSpec { name: "m".into(), bytes: 1_000, sha256: vec![1; 32], ..Default::default() };
        let invalid = ErrorCode::InvalidArgument;
        for name in ["", "a b", "-a", "ü", &"x".repeat(65), "a:1", "a@b"] {
            refused(caller.upload_begin(&UploadSpec { name: name.into(), ..good() }), invalid, &[]);
        }
        refused(caller.upload_begin(&UploadSpec { sha256: vec![1; 31], ..good() }), invalid, &["32", "31"]);
        refused(caller.upload_begin(&UploadSpec { bytes: 0, ..good() }), invalid, &[]);
        for chunk_bytes in [0, CHUNK - 1, MAX_CHUNK_BYTES + 1, u32::MAX] {
            let spec = UploadSpec { chunk_bytes: Some(chunk_bytes), ..good() };
            refused(caller.upload_begin(&spec), invalid, &[&chunk_bytes.to_string()]);
        }
        let too_large = ErrorCode::TooLarge;
        refused(caller.upload_begin(&UploadSpec { bytes: 1_000_001, ..good() }), too_large, &["1000000"]);
        refused(caller.upload_begin(&UploadSpec { bytes: u64::MAX, ..good() }), too_large, &["1000000"]);
        caller.upload_begin(&UploadSpec { bytes: 900_000, ..good() }).expect("within the limits");
        refused(caller.upload_begin(&UploadSpec { bytes: 900_001, ..good() }), too_large, &["1500000"]);
        caller.upload_begin(&good()).expect("a second one");
        refused(caller.upload_begin(&UploadSpec { bytes: 2_000, ..good() }), too_large, &["2"]);
    });
}

#[test]
fn a_chunk_of_the_largest_size_fits_a_message() {
    on_every_runtime("largest chunk", |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        let bytes = vec![5u8; MAX_CHUNK_BYTES as usize + 1];
        let spec = UploadSpec { chunk_bytes: Some(MAX_CHUNK_BYTES), ..service::spec("m", &bytes) };
        let upload = caller.upload_begin(&spec).expect("it begins").upload;
        let data = bytes[..MAX_CHUNK_BYTES as usize].to_vec();
        let status = caller.upload_chunk(&ChunkRequest { upload, index: 0, data }).expect("it fits");
        assert_eq!((status.received, status.chunks), (1, 2));
    });
}

#[test]
fn an_upload_is_its_callers() {
    on_every_runtime("owner", |replica| {
        let service = Service::deploy(replica, None);
        let admin = stranger();
        service.grant(admin, Role::Admin);
        let bytes = model();
        let upload = service.caller(admin).upload_begin(&spec("m", &bytes)).expect("admins upload").upload;
        let chunk = ChunkRequest { upload, index: 0, data: bytes[..CHUNK as usize].to_vec() };
        refused(service.caller(controller()).upload_chunk(&chunk), ErrorCode::Security, &[]);
        service.controller().upload_abort(upload).expect("a controller clears what others left");
    });
}
