//! Golden bytes of every record, and decoding of what is no record.

use ic_nn_types::UploadSpec;
use proptest::prelude::*;

use super::*;
use crate::fixture::{principal, published, seeded, spec, store};
use crate::layout::RecordProblem;
use crate::table::Table;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn version() -> VersionRecord {
    VersionRecord {
        bytes: 65_537,
        sha256: [0xAB; 32],
        extent: Extent { start: 3, pages: 2 },
        committed_at: 0x0102_0304,
        graph: Some(9),
        encoding: GraphEncoding::Onnx,
        retired: true,
        uploader: Principal::from_slice(&[7, 8]),
        variant: 0,
    }
}

fn upload() -> UploadRecord {
    let mut received = Received::none(2);
    received.insert(1);
    UploadRecord {
        bytes: 65_537,
        sha256: [0xCD; 32],
        extent: Extent { start: 1, pages: 2 },
        chunk_bytes: 65_536,
        began_at: 5,
        active_at: 6,
        encoding: GraphEncoding::Autodetect,
        owner: Principal::from_slice(&[4]),
        name: "m".into(),
        failed: "no".into(),
        received,
    }
}

fn provenance() -> ProvenanceRecord {
    ProvenanceRecord {
        builders: vec![65_537, 2],
        provenance: Provenance {
            licence: Some("MIT".into()),
            source: None,
            metadata: vec![("a".into(), String::new())],
        },
    }
}

#[test]
fn golden_name() {
    for (policy, golden) in [
        (VersionPolicy::All, "00"),
        (VersionPolicy::Latest(3), "0103000000"),
        (VersionPolicy::Specific(vec![1, 257]), "020201000000000000000101000000000000"),
        (VersionPolicy::Specific(vec![]), "0200"),
    ] {
        let record = NameRecord { next_version: 258, policy };
        assert_eq!(hex(&record.encode()), format!("010201000000000000{golden}"));
        assert_eq!(NameRecord::decode(&record.encode()), Ok(record));
    }
}

#[test]
fn golden_version() {
    let record = version();
    let golden = [
        "01",
        "0100010000000000",
        &"ab".repeat(32),
        "0300000000000000",
        "0200000000000000",
        "0403020100000000",
        "0900000000000000",
        "02",
        "01",
        "020708",
    ];
    assert_eq!(hex(&record.encode()), golden.concat());
    assert_eq!(VersionRecord::decode(&record.encode()), Ok(record));
    let variant = VersionRecord { variant: 3, ..version() };
    assert_eq!(hex(&variant.encode()), format!("02{}03", &golden.concat()[2..]));
    assert_eq!(VersionRecord::decode(&variant.encode()), Ok(variant));
    let closed = VersionRecord { graph: None, retired: false, ..version() };
    assert_eq!(VersionRecord::decode(&closed.encode()), Ok(closed));
}

#[test]
fn golden_encodings() {
    for (at, encoding) in ENCODINGS.into_iter().enumerate() {
        assert_eq!(usize::from(encoding_byte(encoding)), at + 1);
        let record = VersionRecord { encoding, ..version() };
        assert_eq!(VersionRecord::decode(&record.encode()), Ok(record));
    }
}

#[test]
fn golden_label_and_property() {
    let label = LabelRecord { version: 3 };
    assert_eq!(hex(&label.encode()), "010300000000000000");
    assert_eq!(LabelRecord::decode(&label.encode()), Ok(label));
    let property = PropertyRecord { value: "on".into() };
    assert_eq!(hex(&property.encode()), "016f6e");
    assert_eq!(PropertyRecord::decode(&property.encode()), Ok(property));
}

#[test]
fn golden_provenance() {
    let empty = ProvenanceRecord::default();
    assert_eq!(hex(&empty.encode()), "0100000000");
    assert_eq!(ProvenanceRecord::decode(&empty.encode()), Ok(empty));
    let record = provenance();
    let golden =
        ["01", "02", "0100010000000000", "0200000000000000", "0103004d4954", "00", "01", "010061", "0000"];
    assert_eq!(hex(&record.encode()), golden.concat());
    assert_eq!(ProvenanceRecord::decode(&record.encode()), Ok(record));
}

#[test]
fn golden_upload() {
    let record = upload();
    let golden = [
        "01",
        "0100010000000000",
        &"cd".repeat(32),
        "0100000000000000",
        "0200000000000000",
        "00000100",
        "0500000000000000",
        "0600000000000000",
        "07",
        "0104",
        "016d",
        "02006e6f",
        "02",
    ];
    assert_eq!(hex(&record.encode()), golden.concat());
    assert_eq!(UploadRecord::decode(&record.encode()), Ok(record));
}

#[test]
fn golden_graph() {
    for (opener, golden) in [
        (None, "010300000000000000036e6574"),
        (Some(Principal::from_slice(&[7, 8])), "020300000000000000036e6574020708"),
    ] {
        let record = GraphRecord { version: 3, name: "net".into(), opener };
        assert_eq!(hex(&record.encode()), golden);
        assert_eq!(GraphRecord::decode(&record.encode()), Ok(record));
    }
    let error = GraphRecord::decode(&[3]).unwrap_err();
    assert_eq!(error.problem, RecordProblem::Layout { found: 3, newest: 2 });
    assert!(GraphRecord::decode(&[0]).is_err());
}

#[test]
fn golden_keys() {
    let mut store = store();
    let provenance = Some(provenance().provenance);
    store.begin(&UploadSpec { provenance, ..spec("m", &[1]) }, principal(1), 0, false).unwrap();
    published(&mut store, "m", &[2]);
    store.set_label("m", 1, "best").unwrap();
    store.set_property("m", 1, "k", Some("v")).unwrap();
    store.keep(&[&[1], &[2]], [0; 32], GraphEncoding::Onnx, principal(1), b"", 0).unwrap();
    let keys = |table: &Table<_>| table.iter().map(|(key, _)| hex(&key)).collect::<Vec<_>>();
    assert_eq!(keys(&store.uploads), ["0000000000000001"]);
    assert_eq!(keys(&store.versions), ["4031000000000000000001", "6d000000000000000001"]);
    assert_eq!(keys(&store.provenance), ["000000000000000001", "4031000000000000000001"]);
    assert_eq!(keys(&store.labels), ["6d0062657374"]);
    assert_eq!(keys(&store.properties), ["6d0000000000000000016b"]);
}

#[test]
fn a_newer_layout_is_told() {
    let mut bytes = version().encode();
    bytes[0] = 3;
    let error = VersionRecord::decode(&bytes).unwrap_err();
    assert_eq!(
        error,
        RecordError { table: "versions", problem: RecordProblem::Layout { found: 3, newest: 2 } }
    );
    assert_eq!(
        error.to_string(),
        "a record of the stable table `versions` cannot be read: its layout is 3, this release knows up to 2; install \
         the newer release again"
    );
}

#[test]
fn short_and_long_records_are_told() {
    let bytes = version().encode();
    for len in 0..bytes.len() {
        assert_eq!(
            VersionRecord::decode(&bytes[..len]).unwrap_err().problem,
            RecordProblem::Short,
            "{len} bytes"
        );
    }
    let long = [bytes, vec![0, 0]].concat();
    assert_eq!(VersionRecord::decode(&long).unwrap_err().problem, RecordProblem::Long { bytes: 2 });
    let bytes = upload().encode();
    for len in 0..bytes.len() {
        assert!(UploadRecord::decode(&bytes[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn impossible_fields_are_told() {
    let field = |field| RecordProblem::Field { field };
    assert_eq!(
        NameRecord::decode(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap_err().problem,
        field("next_version")
    );
    for policy in [&[3][..], &[1, 0, 0, 0, 0], &[2, 2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]] {
        let bytes = [&[1, 1, 0, 0, 0, 0, 0, 0, 0], policy].concat();
        assert_eq!(NameRecord::decode(&bytes).unwrap_err().problem, field("policy"), "{policy:?}");
    }
    for (byte, at, name) in [(0, 73, "encoding"), (8, 73, "encoding"), (2, 74, "retired")] {
        let mut bytes = version().encode();
        bytes[at] = byte;
        assert_eq!(VersionRecord::decode(&bytes).unwrap_err().problem, field(name), "{byte}");
    }
    assert_eq!(ProvenanceRecord::decode(&[1, 0, 2]).unwrap_err().problem, field("licence"));
    assert_eq!(PropertyRecord::decode(&[1, 0xFF]).unwrap_err().problem, field("value"));
    let last = NameRecord { next_version: u64::MAX, policy: VersionPolicy::All };
    assert_eq!(NameRecord::decode(&last.encode()).unwrap_err().problem, field("next_version"));
    let far = Extent { start: u64::MAX, pages: 2 };
    for extent in [far, Extent { start: 0, pages: 1 }, Extent { start: 0, pages: 0 }] {
        let record = VersionRecord { extent, ..version() };
        assert_eq!(
            VersionRecord::decode(&record.encode()).unwrap_err().problem,
            field("extent"),
            "{extent:?}"
        );
    }
    let record = UploadRecord { chunk_bytes: 0, ..upload() };
    assert_eq!(UploadRecord::decode(&record.encode()).unwrap_err().problem, field("chunk_bytes"));
    let record = UploadRecord { received: Received::none(9), ..upload() };
    assert_eq!(UploadRecord::decode(&record.encode()).unwrap_err().problem, field("received"));
    assert_eq!(
        GraphRecord::decode(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF]).unwrap_err().problem,
        field("name")
    );
    let mut bytes = version().encode();
    let at = bytes.len() - 3;
    bytes[at] = 30;
    bytes.extend([0; 28]);
    assert_eq!(VersionRecord::decode(&bytes).unwrap_err().problem, field("uploader"));
}

proptest! {
    #![proptest_config(seeded(2_000))]
    #[test]
    fn any_bytes_decode_to_themselves_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..200), first in any::<bool>()) {
        if let (true, Some(layout)) = (first, bytes.first_mut()) {
            *layout = 1 + *layout % 2;
        }
        if let Ok(record) = NameRecord::decode(&bytes) { prop_assert_eq!(record.encode(), bytes.clone()); }
        if let Ok(record) = VersionRecord::decode(&bytes) { prop_assert_eq!(record.encode(), bytes.clone()); }
        if let Ok(record) = UploadRecord::decode(&bytes) { prop_assert_eq!(record.encode(), bytes.clone()); }
        if let Ok(record) = GraphRecord::decode(&bytes) { prop_assert_eq!(record.encode(), bytes.clone()); }
        if let Ok(record) = LabelRecord::decode(&bytes) { prop_assert_eq!(record.encode(), bytes.clone()); }
        if let Ok(record) = ProvenanceRecord::decode(&bytes) { prop_assert_eq!(record.encode(), bytes.clone()); }
        if let Ok(record) = PropertyRecord::decode(&bytes) { prop_assert_eq!(record.encode(), bytes.clone()); }
    }

    #[test]
    fn one_wrong_byte_never_panics(at in 0usize..80, byte in any::<u8>()) {
        for mut bytes in [version().encode(), upload().encode(), provenance().encode()] {
            if let Some(b) = bytes.get_mut(at) {
                *b = byte;
            }
            let _ = VersionRecord::decode(&bytes);
            if let Ok(record) = ProvenanceRecord::decode(&bytes) { prop_assert_eq!(record.encode(), bytes.clone()); }
            if let Ok(record) = UploadRecord::decode(&bytes) { prop_assert_eq!(record.encode(), bytes); }
        }
    }
}
