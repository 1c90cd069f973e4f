//! The store against a plain model: random sequences of its calls, with upgrades and traps between them.
//!
//! After every step what the store answers is what the model says, each file lies where the first free pages were, and
//! no two overlap; at every upgrade and trap and at the end all bytes read back, and opening has written nothing. A trap
//! is the Internet Computer's: a call runs, then all memory is what it was before, and the heap is gone.

mod check;
mod plain;
mod registry;
mod step;
mod uploads;

use ic_nn_types::InitArgs;
use ic_stable_structures::VectorMemory;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sha2::{Digest, Sha256};

use crate::commit::{Commit, Verified};
use crate::fixture::{dump, file, memories, put_back, seeded, share};
use crate::{Memories, Store};
use plain::{DELETED_GRAPHS, File, MAX_MODEL_BYTES, MAX_TOTAL_BYTES, Plain};
use step::{NAMES, SEEDS, SIZES, Step, step};

/// The store, and what it should hold.
struct Model {
    memories: Memories<VectorMemory>,
    store: Store<VectorMemory>,
    plain: Plain,
    /// Commits that were left under way: the heap's, so gone after an upgrade or a trap.
    under_way: Vec<(Commit, Verified)>,
    /// Every file there is, by size and seed.
    files: Vec<Vec<File>>,
}

/// The store in these memories, with a bound that is small enough to be met.
fn open(memories: &Memories<VectorMemory>) -> Store<VectorMemory> {
    let mut store = Store::open(share(memories)).unwrap();
    store.bounds.deleted_graphs = DELETED_GRAPHS;
    store
}

impl Model {
    fn new() -> Self {
        let memories = memories();
        let mut store = open(&memories);
        let plain = Plain { max_open: 6, ..Plain::default() };
        let limits = InitArgs {
            max_model_bytes: Some(MAX_MODEL_BYTES),
            max_total_bytes: Some(MAX_TOTAL_BYTES),
            max_open_uploads: Some(plain.max_open),
            ..InitArgs::default()
        };
        store.apply(&limits).unwrap();
        let make = |size, seed| {
            let bytes = file(seed, size);
            let sha256 = Sha256::digest(&bytes).into();
            File::new((bytes, sha256))
        };
        let files = SIZES.map(|size| (0..SEEDS).map(|seed| make(size, seed)).collect()).to_vec();
        Model { memories, store, plain, under_way: Vec::new(), files }
    }

    fn take(&mut self, step: &Step) {
        self.plain.now += 1;
        match step {
            Step::Begin { name, size, seed, caller, flavour, unlimited } => {
                let file = self.files[*size][usize::from(*seed)].clone();
                self.begin(NAMES[*name], file, *caller, *flavour, *unlimited);
            }
            Step::Put { pick, index, caller } => self.put(self.plain.upload(*pick), *index, *caller),
            Step::PutAll { pick } => self.put_all(self.plain.upload(*pick)),
            Step::Append { caller, at, wrong } => self.append(*caller, *at, *wrong),
            Step::Abort { pick, caller } => self.abort(self.plain.upload(*pick), *caller),
            Step::Fail { pick } => self.fail(self.plain.upload(*pick)),
            Step::Commit { pick, ending } => self.commit(self.plain.upload(*pick), *ending),
            Step::End { pick, publish } => self.end(*pick, *publish),
            Step::Collect { days } => self.collect(*days),
            Step::Delete { name, which, confirmed } => self.delete(NAMES[*name], *which, *confirmed),
            Step::Open { name, which } => self.open(NAMES[*name], *which),
            Step::OpenKept { pick } => self.open_kept(*pick),
            Step::Close { pick } => self.close(*pick),
            Step::Keep { sizes, seed, caller } => self.keep(sizes, *seed, *caller),
            Step::Discard { pick } => self.discard(*pick),
            Step::Label { name, which, label } => self.label(NAMES[*name], *which, *label),
            Step::Unlabel { name, label } => self.unlabel(NAMES[*name], *label),
            Step::Policy { name, policy } => self.policy(NAMES[*name], policy),
            Step::Retire { name, which, retired } => self.retire(NAMES[*name], *which, *retired),
            Step::Property { name, which, key, set } => self.property(NAMES[*name], *which, *key, *set),
            Step::Facts { name, which, facts } => self.facts(NAMES[*name], *which, *facts),
            Step::Image { name, which, size, seed } => self.image(NAMES[*name], *which, *size, *seed),
            Step::Limits { uploader_pages, open } => self.limits(*uploader_pages, *open),
            Step::Upgrade => self.upgrade(),
            Step::Trap(step) => self.trap(step),
        }
    }

    fn upgrade(&mut self) {
        let before = dump(&self.memories);
        self.store = open(&self.memories);
        self.under_way.clear();
        assert!(dump(&self.memories) == before, "opening has written");
        self.check_bytes();
    }

    fn trap(&mut self, step: &Step) {
        let (plain, before) = (self.plain.clone(), dump(&self.memories));
        self.take(step);
        self.check();
        put_back(&self.memories, &before);
        self.plain = plain;
        self.upgrade();
    }
}

proptest! {
    #![proptest_config(seeded(256))]
    #[test]
    fn the_store_is_its_model(steps in prop::collection::vec(step(), 1..80)) {
        let mut model = Model::new();
        for step in &steps {
            model.take(step);
            model.check();
        }
        model.upgrade();
    }
}

/// Tells which step of a long sequence failed; the seed is [`seeded`]'s.
struct Told<'a> {
    run: u32,
    at: u32,
    step: &'a Step,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("run {}, step {}: {:?}", self.run, self.at, self.step);
        }
    }
}

/// Long sequences reach what short ones do not: full memory, many ids, names that were emptied and filled again.
#[test]
fn the_store_stays_its_model() {
    let mut runner = TestRunner::new(seeded(1));
    let steps = step();
    for run in 0..4 {
        let mut model = Model::new();
        for at in 0..6_000 {
            let step = steps.new_tree(&mut runner).unwrap().current();
            let told = Told { run, at, step: &step };
            model.take(&step);
            model.check();
            drop(told);
        }
        model.upgrade();
        // A run that was mostly refused would prove nothing.
        let Plain { begun, opened, kept, names, closed, .. } = &model.plain;
        assert!(closed.len() > 2 * DELETED_GRAPHS as usize, "{closed:?}");
        let published: u64 = names.values().map(|name| name.next - 1).sum();
        assert!(
            *begun > 200 && published > 150 && *opened > 40 && *kept > 25,
            "{begun} {published} {opened} {kept}"
        );
    }
}
