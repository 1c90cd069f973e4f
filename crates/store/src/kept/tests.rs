//! Bytes without a name: kept, found by their own name alone, discarded.

use ic_nn_types::{Error, ErrorCode, InitArgs};
use ic_stable_structures::Memory;

use super::*;
use crate::GraphError;
use crate::extent::PAGE_BYTES;
use crate::fixture::{dump, file, memories, principal, published, share, store};

const ONNX: GraphEncoding = GraphEncoding::Onnx;

#[test]
fn bytes_are_kept_under_names_that_are_never_given_again() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    let (me, one, two) = (principal(1), file(1, 70_000), file(2, 3));
    let version = store.keep(&[&one, &two], [7; 32], ONNX, me, b"facts", 5).unwrap();
    assert_eq!((version.name.as_str(), version.version, version.bytes), ("@1", 1, 70_003));
    assert_eq!((version.sha256, version.uploader, version.committed_at), ([7; 32], me, 5));
    let mut store = Store::open(share(&memories)).unwrap();
    assert_eq!(store.get("@1", 1), Ok(version.clone()));
    assert_eq!(store.blob("@1", 1).unwrap().to_vec(), Ok([one, two].concat()));
    assert_eq!(store.builders("@1", 1), Ok(vec![70_000, 3]));
    assert_eq!(store.facts("@1", 1), Ok(b"facts".to_vec()));
    let graph = store.open_graph("@1", 1, principal(1)).unwrap();
    assert_eq!(store.graph(graph).unwrap().name, "@1");
    assert_eq!(store.keep(&[&[1]], [8; 32], ONNX, me, b"", 5).unwrap().name, "@2");
    assert_eq!(store.kept().map(|v| v.unwrap().name).collect::<Vec<_>>(), ["@1", "@2"]);
    let size = store.blobs.size();
    assert_eq!(store.discard("@1").unwrap().graphs, [graph]);
    assert_eq!(store.graph(graph), Err(GraphError::Deleted { graph, name: "@1".into(), version: 1 }));
    let error = store.discard("@1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the bytes that were kept as `@1` are gone since their graph was unloaded; load them again"
    );
    assert_eq!(Error::from(error).code, ErrorCode::NotFound);
    assert_eq!(store.keep(&[&[0; 70_003]], [8; 32], ONNX, me, b"", 5).unwrap().name, "@3");
    assert_eq!(store.blobs.size(), size, "freed room is taken again");
    assert_eq!(store.provenance.iter().count(), 0, "one file has nothing to tell");
}

#[test]
fn no_caller_reaches_them() {
    let mut store = store();
    store.keep(&[&[1]], [1; 32], ONNX, principal(1), b"", 5).unwrap();
    for reference in ["@1", "@1:1", "@1@latest"] {
        for result in [store.resolve(reference), store.resolve_any(reference)] {
            assert_eq!(Error::from(result.unwrap_err()).code, ErrorCode::InvalidArgument);
        }
        let error = store.delete(reference, &[1; 32]).unwrap_err();
        assert_eq!(Error::from(error).code, ErrorCode::InvalidArgument);
    }
    let error = store.begin(&crate::fixture::spec("@2", &[1]), principal(1), 0, false).unwrap_err();
    assert_eq!(Error::from(error).code, ErrorCode::InvalidArgument);
    published(&mut store, "m", &[1]);
    let error = store.discard("m").unwrap_err();
    assert_eq!(error, LookupError::NotKept { name: "m".into() });
    assert_eq!(Error::from(error).code, ErrorCode::InvalidArgument);
    for name in ["@2", "@", "@1\0"] {
        assert!(store.discard(name).is_err(), "{name:?}");
    }
}

#[test]
fn what_is_kept_counts() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    let limits = InitArgs {
        max_model_bytes: Some(2 * PAGE_BYTES),
        max_total_bytes: Some(3 * PAGE_BYTES),
        max_bytes_per_uploader: Some(PAGE_BYTES),
        ..InitArgs::default()
    };
    store.apply(&limits).unwrap();
    let me = principal(1);
    let keep = |store: &mut Store<_>, files: &[&[u8]]| store.keep(files, [0; 32], ONNX, me, b"", 0);
    let large = file(1, 2 * PAGE_BYTES as usize);
    assert_eq!(store.keep_grows_by(large.len() as u64), Ok(2 * PAGE_BYTES));
    keep(&mut store, &[&large]).unwrap();
    assert_eq!(store.keep_grows_by(1), Ok(PAGE_BYTES));
    let before = dump(&memories);
    let (bytes, limit) = (2 * PAGE_BYTES + 1, 2 * PAGE_BYTES);
    let error = KeepError::Room(RoomError::ModelTooLarge { bytes, limit });
    assert_eq!(keep(&mut store, &[&large, &[1]]), Err(error.clone()));
    assert_eq!(store.keep_grows_by(bytes), Err(error));
    let (needed, taken, limit) = (2 * PAGE_BYTES, 2 * PAGE_BYTES, 3 * PAGE_BYTES);
    let error = KeepError::Room(RoomError::TotalTooLarge { needed, taken, limit });
    assert_eq!(keep(&mut store, &[&large]), Err(error.clone()));
    assert_eq!(Error::from(error).code, ErrorCode::TooLarge);
    assert_eq!(keep(&mut store, &[]), Err(KeepError::Empty));
    assert_eq!(keep(&mut store, &[&[]]), Err(KeepError::Builders(BuildersError::Empty { at: 0 })));
    assert_eq!(
        keep(&mut store, &[&[1][..]; 65]),
        Err(KeepError::Builders(BuildersError::Count { came: 65 }))
    );
    assert_eq!(store.keep_grows_by(0), Err(KeepError::Empty));
    assert_eq!(dump(&memories), before);
    let begun = store.begin(&crate::fixture::spec("m", &[1]), me, 0, false);
    assert!(begun.is_ok(), "what is kept does not count for its owner: {begun:?}");
}
