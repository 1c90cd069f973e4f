//! The steps of the model-based test, and how they are drawn. A pick selects among what there is, or leads nowhere.

use ic_nn_types::{GraphEncoding, Provenance, VersionPolicy};
use proptest::prelude::*;

use crate::fixture::CHUNK;

/// Names on both sides of those that the store gives itself, and one that begins as another does.
pub(super) const NAMES: [&str; 4] = ["7", "B", "a", "a-b"];
pub(super) const LABELS: [&str; 4] = ["canary", "stable", "v2", "latest"];
pub(super) const KEYS: [&str; 2] = ["k", "key"];
pub(super) const SIZES: [usize; 6] = [1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK - 7, 3 * CHUNK + 1];
/// Files of each size.
pub(super) const SEEDS: u8 = 3;

/// A version of a name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    /// No version is written.
    Newest,
    /// So many before the newest; behind the oldest, a number that may have been deleted or never given.
    Back(usize),
    /// The label of this index.
    Label(usize),
}

/// How a commit that has begun goes on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    Publish,
    Fail,
    /// It stays under way over the steps that follow.
    Leave,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Begin { name: usize, size: usize, seed: u8, caller: u8, flavour: usize, unlimited: bool },
    Put { pick: usize, index: usize, caller: u8 },
    PutAll { pick: usize },
    Append { caller: u8, at: Option<usize>, wrong: bool },
    Abort { pick: usize, caller: u8 },
    Fail { pick: usize },
    Commit { pick: usize, ending: Ending },
    End { pick: usize, publish: bool },
    Collect { days: u64 },
    Delete { name: usize, which: Which, confirmed: bool },
    Open { name: usize, which: Which },
    OpenKept { pick: usize },
    Close { pick: u64 },
    Keep { sizes: Vec<usize>, seed: u8, caller: u8 },
    Discard { pick: usize },
    Label { name: usize, which: Which, label: usize },
    Unlabel { name: usize, label: usize },
    Policy { name: usize, policy: VersionPolicy },
    Retire { name: usize, which: Which, retired: bool },
    Property { name: usize, which: Which, key: usize, set: bool },
    Facts { name: usize, which: Which, facts: u8 },
    Image { name: usize, which: Which, size: usize, seed: u8 },
    Limits { uploader_pages: u64, open: u32 },
    Upgrade,
    Trap(Box<Step>),
}

/// What an upload announces beside its file: encoding, the bytes of its first file of two, and provenance.
pub(super) fn flavours(flavour: usize) -> (Option<GraphEncoding>, bool, Option<Provenance>) {
    let licence = |text: &str| Some(Provenance { licence: Some(text.into()), ..Provenance::default() });
    [
        (None, false, None),
        (Some(GraphEncoding::Autodetect), false, licence("MIT")),
        (Some(GraphEncoding::Onnx), false, None),
        (None, true, licence("ISC")),
    ][flavour]
        .clone()
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![
        2 => Just(Which::Newest),
        6 => (0usize..6).prop_map(Which::Back),
        1 => (0..LABELS.len()).prop_map(Which::Label),
    ]
}

fn policy() -> impl Strategy<Value = VersionPolicy> {
    prop_oneof![
        2 => Just(VersionPolicy::All),
        2 => (0u32..4).prop_map(VersionPolicy::Latest),
        1 => prop::collection::vec(0u64..8, 0..3).prop_map(VersionPolicy::Specific),
    ]
}

/// A call.
fn call() -> impl Strategy<Value = Step> {
    let (name, pick, caller, seed) = (0..NAMES.len(), 0usize..4, 1u8..3, 0..SEEDS);
    let weighted = prop::bool::weighted;
    let ending = prop_oneof![6 => Just(Ending::Publish), 1 => Just(Ending::Fail), 1 => Just(Ending::Leave)];
    let uploads = prop_oneof![
        9 => (name.clone(), 0..SIZES.len(), seed.clone(), caller.clone(), 0usize..4, weighted(0.2)).prop_map(
            |(name, size, seed, caller, flavour, unlimited)| {
                Step::Begin { name, size, seed, caller, flavour, unlimited }
            }
        ),
        3 => (pick.clone(), 0usize..4, caller.clone())
            .prop_map(|(pick, index, caller)| Step::Put { pick, index, caller }),
        9 => pick.clone().prop_map(|pick| Step::PutAll { pick }),
        3 => (caller.clone(), prop::option::weighted(0.3, 0usize..4), weighted(0.1))
            .prop_map(|(caller, at, wrong)| Step::Append { caller, at, wrong }),
        3 => (pick.clone(), caller.clone()).prop_map(|(pick, caller)| Step::Abort { pick, caller }),
        1 => pick.clone().prop_map(|pick| Step::Fail { pick }),
        9 => (pick.clone(), ending).prop_map(|(pick, ending)| Step::Commit { pick, ending }),
        1 => (pick.clone(), weighted(0.7)).prop_map(|(pick, publish)| Step::End { pick, publish }),
        1 => (0u64..5).prop_map(|days| Step::Collect { days }),
    ];
    let registry = prop_oneof![
        5 => (name.clone(), which(), weighted(0.8))
            .prop_map(|(name, which, confirmed)| Step::Delete { name, which, confirmed }),
        2 => (name.clone(), which()).prop_map(|(name, which)| Step::Open { name, which }),
        1 => pick.clone().prop_map(|pick| Step::OpenKept { pick }),
        1 => (0u64..6).prop_map(|pick| Step::Close { pick }),
        1 => (prop::collection::vec(0..SIZES.len(), 0..3), seed, caller)
            .prop_map(|(sizes, seed, caller)| Step::Keep { sizes, seed, caller }),
        2 => (0usize..3).prop_map(|pick| Step::Discard { pick }),
        2 => (name.clone(), which(), 0..LABELS.len())
            .prop_map(|(name, which, label)| Step::Label { name, which, label }),
        1 => (name.clone(), 0..LABELS.len()).prop_map(|(name, label)| Step::Unlabel { name, label }),
        1 => (name.clone(), policy()).prop_map(|(name, policy)| Step::Policy { name, policy }),
        2 => (name.clone(), which(), any::<bool>())
            .prop_map(|(name, which, retired)| Step::Retire { name, which, retired }),
        1 => (name.clone(), which(), 0..KEYS.len(), any::<bool>())
            .prop_map(|(name, which, key, set)| Step::Property { name, which, key, set }),
        3 => (name.clone(), which(), 0..SIZES.len(), 0..SEEDS)
            .prop_map(|(name, which, size, seed)| Step::Image { name, which, size, seed }),
        1 => (name, which(), any::<u8>())
            .prop_map(|(name, which, facts)| Step::Facts { name, which, facts }),
        1 => (prop_oneof![Just(0u64), 6u64..30], 2u32..9)
            .prop_map(|(uploader_pages, open)| Step::Limits { uploader_pages, open }),
    ];
    prop_oneof![1 => uploads, 1 => registry]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => call(),
        1 => Just(Step::Upgrade),
        1 => call().prop_map(|step| Step::Trap(Box::new(step))),
    ]
}
