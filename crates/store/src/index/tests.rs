//! Pages: where one goes on, what is on it, and the states of what is.

use ic_nn_types::{Error, ErrorCode, GraphEncoding, VersionPolicy};
use ic_stable_structures::VectorMemory;

use super::*;
use crate::fixture::{AWAY, file, principal, published, spec, store, uploaded};

fn ask(after: Option<&str>, limit: Option<u32>) -> ListRequest {
    ListRequest { after: after.map(str::to_owned), limit }
}

/// What `index` tells, as texts.
fn lines(page: &IndexPage) -> Vec<String> {
    let line = |e: &Indexed| format!("{} {:?} {:?} {}", e.name, e.version, e.state, e.reason);
    page.entries.iter().map(|e| line(e).trim_end().to_owned()).collect()
}

/// Names on both sides of those that the store gives itself, and two of those.
fn many() -> Store<VectorMemory> {
    let mut store = store();
    for name in ["b", "a", "a-b", "C", "9"] {
        for seed in 0..3 {
            published(&mut store, name, &file(seed, 3));
        }
    }
    for _ in 0..2 {
        store.keep(&[b"x"], [0; 32], GraphEncoding::Onnx, principal(1), b"", 0).unwrap();
    }
    store
}

const ALL: [&str; 15] = [
    "9:1", "9:2", "9:3", "C:1", "C:2", "C:3", "a:1", "a:2", "a:3", "a-b:1", "a-b:2", "a-b:3", "b:1", "b:2",
    "b:3",
];

#[test]
fn a_page_goes_on_where_the_last_one_ended() {
    let store = many();
    for limit in [1, 3, 5, 15] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store.list(&ask(after.as_deref(), Some(limit)), AWAY).unwrap();
            seen.extend(page.models.iter().map(|m| format!("{}:{}", m.name, m.version)));
            let Some(next) = page.next else { break };
            assert_eq!(page.models.len(), limit as usize);
            after = Some(next);
        }
        assert_eq!(seen, ALL);
    }
    let all = store.list(&ask(None, None), AWAY).unwrap();
    assert_eq!((all.models.len(), all.next), (15, None));
    assert_eq!(store.list(&ask(Some("b:3"), None), AWAY).unwrap().models, []);
    assert_eq!(store.list(&ask(Some("aa:9"), Some(0)), AWAY).unwrap().models[0].name, "b");
    for (after, text) in
        [("b", "`b` names no version; write `b:1`"), ("b@x", "`b` names no version; write `b:1`")]
    {
        let error = store.list(&ask(Some(after), None), AWAY).unwrap_err();
        assert_eq!(error.to_string(), format!("after: {text}"));
    }
    assert!(store.list(&ask(Some("@1:1"), None), AWAY).is_err());
}

#[test]
fn the_index_goes_on_from_versions_to_uploads() {
    let mut store = many();
    for n in 0..4 {
        store.begin(&spec("u", &[n]), principal(1), 0, false).unwrap();
    }
    let first = store.settings.next_upload - 4;
    let want: Vec<String> =
        ALL.iter().copied().map(str::to_owned).chain((0..4).map(|_| "u:".into())).collect();
    for limit in [1, 3, 15, 16, 19] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store.index(after.as_deref(), Some(limit), AWAY).unwrap();
            let version = |e: &Indexed| e.version.map(|v| v.to_string()).unwrap_or_default();
            seen.extend(page.entries.iter().map(|e| format!("{}:{}", e.name, version(e))));
            let Some(next) = page.next else { break };
            assert_eq!(page.entries.len(), limit as usize);
            after = Some(next);
        }
        assert_eq!(seen, want, "{limit}");
    }
    let after = format!("#{first}");
    assert_eq!(store.index(Some(&after), None, AWAY).unwrap().entries.len(), 3);
    assert_eq!(store.index(Some("#18446744073709551615"), None, AWAY).unwrap().entries, []);
    for after in ["#", "#x", "b", "#-1"] {
        let error = Error::from(store.index(Some(after), None, AWAY).unwrap_err());
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{after}");
    }
}

#[test]
fn a_summary_tells_labels_encoding_and_state() {
    let mut store = store();
    for name in ["a", "a", "a", "b", "c"] {
        published(&mut store, name, &file(1, 3));
    }
    store.set_label("a", 2, "stable").unwrap();
    store.set_label("a", 2, "best").unwrap();
    store.set_label("a", 3, "canary").unwrap();
    store.retire("a", 1).unwrap();
    let [resident, loading, _] =
        [("a", 2), ("a", 3), ("b", 1)].map(|(n, v)| store.open_graph(n, v, principal(1)).unwrap());
    let residency = Residency { is_resident: &|g| g == resident, is_loading: &|g| g == loading };
    let page = store.list(&ListRequest::default(), residency).unwrap();
    let told: Vec<_> =
        page.models.iter().map(|m| (m.state.clone().unwrap(), m.labels.join(" "), m.encoding)).collect();
    let auto = Some(GraphEncoding::Autodetect);
    let want = [
        (ModelState::Retired, "", auto),
        (ModelState::Loaded, "best stable", auto),
        (ModelState::Loading, "canary latest", auto),
        (ModelState::Available, "latest", auto),
        (ModelState::Available, "latest", auto),
    ];
    assert_eq!(told, want.map(|(state, labels, encoding)| (state, labels.to_owned(), encoding)));
    let first = &page.models[0];
    assert_eq!((first.bytes, first.uploader, first.committed_at), (3, principal(1), 7));
}

#[test]
fn the_index_says_why_something_cannot_be_used() {
    let mut store = store();
    for _ in 0..3 {
        published(&mut store, "m", &file(1, 3));
    }
    store.retire("m", 3).unwrap();
    store.set_version_policy("m", &VersionPolicy::Latest(1)).unwrap();
    let failed = uploaded(&mut store, "n", &[1], principal(1));
    store.begin(&spec("n", &[2]), principal(1), 0, false).unwrap();
    store.fail(failed, "no model").unwrap();
    let want = [
        "m Some(1) Retired by the version policy",
        "m Some(2) Available",
        "m Some(3) Retired by retire",
        "n None Failed(\"no model\") no model",
        "n None Uploading",
    ];
    assert_eq!(lines(&store.index(None, None, AWAY).unwrap()), want);
}

#[test]
fn a_page_is_small_enough_for_a_reply() {
    let mut store = store();
    for n in 0..600 {
        let version = published(&mut store, &format!("{n:0>64}"), &[1]);
        if n < 3 {
            for label in 0..crate::MAX_LABELS {
                store.set_label(&format!("{n:0>64}"), version, &format!("l{label:0>63}")).unwrap();
            }
        }
    }
    let page = store.list(&ask(None, Some(10_000)), AWAY).unwrap();
    assert_eq!((page.models.len(), page.models[0].labels.len()), (500, 33));
    let bytes = |m: &ModelSummary| candid::encode_one(m).unwrap().len();
    assert!(500 * bytes(&page.models[0]) < 2 << 20, "{}", bytes(&page.models[0]));
}
