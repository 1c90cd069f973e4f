//! Models on their way into the heap: files from stable memory, admission, decoding, what is remembered of them.

use ic_nn_engine::image::Drawing;
use ic_nn_engine::{File, Graph, Run, Trial};
use ic_nn_store::{Blob, Version};
use ic_nn_types::{Error, ErrorCode, GraphEncoding, RunFacts};
use ic_stable_structures::Memory;

use crate::api::properties::Properties;
use crate::facts::Facts;
use crate::ledger::{Gauge, Waiting};
use crate::resident::Resident;
use crate::slices::Slices;
use crate::state::Promise;
use crate::variant::{self, Content};
use crate::{images, runtime, state, streams};

/// Sees to it that the version's graph is in the heap; instructions that took, 0 where it was there.
pub(crate) fn make_resident(version: &Version) -> Result<u64, Error> {
    let content = Content::of(version);
    let here = state::residents(|r| r.get(content).map(|resident| resident.measured));
    if here == Some(true) {
        return Ok(0);
    }
    let (facts, served) = state::store(|s| {
        let served = s.get(&version.name, version.version)?.variant == version.variant;
        Ok::<_, Error>((s.facts(&version.name, version.version)?, served))
    })?;
    let mut facts = Facts::decode(&facts)?;
    if here.is_some() {
        if served {
            state::residents(|r| r.measured(content, facts));
        }
        return Ok(0);
    }
    if !served {
        // What was measured is of another graph.
        facts.runs = None;
    }
    let imaged = if served { images::read(version)? } else { None };
    let (graph, drawing, instructions, bytes) = match imaged {
        Some((graph, instructions, bytes)) => (graph, None, instructions, bytes),
        None => decode(version.encoding, read(version)?, version.variant)?,
    };
    // An image is of what is served.
    state::residents(|r| r.insert(content, (graph, drawing.filter(|_| served)), facts, served, bytes));
    Ok(instructions)
}

/// The version's files, once there is room for them and what they become; where there is none, or it is not wanted, external data stay
/// in stable memory.
pub(crate) fn read(version: &Version) -> Result<Vec<File>, Error> {
    let sizes = state::store(|s| s.builders(&version.name, version.version))?;
    let wanted = version.variant == 0 && Properties::of(version)?.streamed;
    let streamed = admit(Content::of(version), version.bytes, &sizes, wanted)?;
    if streamed && version.variant != 0 {
        return Err(Error::too_large(
            "the weights do not fit the heap, and those that stay in the model's file are not quantised; raise max_heap_bytes",
        ));
    }
    state::store(|s| files(&s.blob(&version.name, version.version)?, &sizes, streamed))
}

/// Brings a graph that was read from its image the model in its file, where planning for other shapes takes it.
pub(crate) fn bring(version: &Version) -> Result<(), Error> {
    let files = read(version)?;
    let limits = state::limits();
    let gauge = Gauge::start(files.iter().map(File::heap).sum());
    resident(version, |r| {
        r.graph.bring(version.encoding, files, &limits)?;
        r.grow(gauge.grown());
        Ok(())
    })
}

/// A model that was decoded and planned, and is tried.
pub(crate) struct Tried {
    graph: Graph,
    drawing: Option<Drawing>,
    trial: Result<Run, Trial>,
    slices: Slices,
    load_instructions: u64,
    /// Of the trial, so far.
    run_instructions: u64,
    /// Heap that the graph takes.
    bytes: i64,
    /// From when on it and its trial are there.
    gauge: Gauge,
    waiting: Waiting,
    promise: Promise,
}

impl Tried {
    /// Decodes and plans a model of that content, and begins its trial.
    pub(crate) fn begin(
        content: Content,
        encoding: GraphEncoding,
        files: Vec<File>,
        slices: Slices,
    ) -> Result<Box<Tried>, Error> {
        let gauge = Gauge::start(files.iter().map(File::heap).sum());
        let (mut graph, drawing, load_instructions, bytes) = decode(encoding, files, content.variant)?;
        let start = runtime::message_instructions();
        let trial = graph.begin_trial(&state::limits());
        let run_instructions = runtime::message_instructions() - start;
        let (waiting, promise) = (Waiting::default(), Promise::default());
        Ok(Box::new(Tried {
            graph,
            drawing,
            trial,
            slices,
            load_instructions,
            run_instructions,
            bytes,
            gauge,
            waiting,
            promise,
        }))
    }

    /// How its trial is sliced.
    pub(crate) fn slices(&mut self) -> &mut Slices {
        &mut self.slices
    }

    /// Has the trial go on for as long as this message goes: the graph, what its image is written from, and the facts; itself where it
    /// is to go on in another.
    pub(crate) fn advance(mut self: Box<Self>) -> Result<(Graph, Option<Drawing>, Facts, i64), Box<Self>> {
        let start = runtime::message_instructions();
        let outcome = match &mut self.trial {
            Ok(run) => match self.slices.advance(run, &mut |_| ()) {
                Ok(None) => {
                    self.run_instructions += runtime::message_instructions() - start;
                    let held = self.gauge.grown();
                    self.waiting = Waiting::holding(held);
                    // Others are admitted beside what it is still to take.
                    let taken = (held - self.bytes).max(0) as u64;
                    self.promise.set(run.peak_bytes().saturating_sub(taken));
                    return Err(self);
                }
                outcome => outcome.map(drop),
            },
            Err(_) => Ok(()),
        };
        let Tried { mut graph, drawing, trial, load_instructions, run_instructions, bytes, .. } = *self;
        let trial = match trial {
            Ok(run) => graph.finish_trial(run, outcome),
            Err(refused) => refused,
        };
        let run_instructions = run_instructions + runtime::message_instructions() - start;
        let facts = Facts::new(&graph, load_instructions, (trial, run_instructions));
        Ok((graph, drawing, facts, bytes))
    }
}

/// The version's graph, which is in the heap.
pub(crate) fn resident<R>(
    version: &Version,
    f: impl FnOnce(&mut Resident) -> Result<R, Error>,
) -> Result<R, Error> {
    state::residents(|r| match r.get(Content::of(version)) {
        Some(resident) => f(resident),
        None => Err(Error::new(ErrorCode::RuntimeError, "the graph left the heap; try again")),
    })
}

/// Remembers what shapes took, for the queries to come. Writes to stable memory where that is news, and of the variant that
/// the version is served in.
pub(crate) fn remember(version: &Version, run: &RunFacts) -> Result<(), Error> {
    let news = resident(version, |r| Ok(r.facts.note(run).then(|| r.facts.clone())))?;
    match news {
        Some(facts)
            if state::store(|s| s.get(&version.name, version.version))?.variant == version.variant =>
        {
            let facts = facts.encode()?;
            Ok(state::store(|s| s.set_facts(&version.name, version.version, &facts))?)
        }
        _ => Ok(()),
    }
}

/// Decodes and plans a model: the graph, what its image is written from, the instructions of that, and the heap that it takes.
fn decode(
    encoding: GraphEncoding,
    files: Vec<File>,
    variant: u8,
) -> Result<(Graph, Option<Drawing>, u64, i64), Error> {
    let start = runtime::message_instructions();
    let gauge = Gauge::start(files.iter().map(File::heap).sum());
    let precision = variant::precision(variant)?;
    let (graph, drawing) = Graph::load_streamed(encoding, files, precision, &state::limits())?;
    Ok((graph, drawing, runtime::message_instructions() - start, gauge.grown()))
}

/// The files of a blob whose parts have these sizes; no sizes where it is one file. Those behind the first stay in stable memory where
/// they are `streamed`.
pub(crate) fn files<M: Memory>(
    blob: &Blob<'_, M>,
    sizes: &[u64],
    streamed: bool,
) -> Result<Vec<File>, Error> {
    let [first, ..] = sizes else { return Ok(vec![blob.to_vec()?.into()]) };
    let read = |at: u64, size: u64| {
        let mut file = vec![0; usize::try_from(size).map_err(|_| Error::too_large("a file over 4 GiB"))?];
        blob.read(at, &mut file)?;
        Ok::<_, Error>(file)
    };
    if streamed {
        return Ok(streams::files(blob.begins_at(), sizes, read(0, *first)?));
    }
    let mut at = 0;
    let mut files = Vec::with_capacity(sizes.len());
    for &size in sizes {
        files.push(read(at, size)?.into());
        at += size;
    }
    Ok(files)
}

/// Has graphs that nobody holds leave the heap, but for `keep`, until it has `bytes` or they are all gone; then what is cached of weights
/// that are streamed.
pub(crate) fn make_room(keep: Content, bytes: u64) {
    while state::limits().available_bytes < bytes && state::residents(|r| r.evict(keep)) {}
    if state::limits().available_bytes < bytes {
        streams::cache().clear();
    }
}

/// Sees to it that files of `bytes` in all can be loaded; whether those behind the first stay in stable memory for that, where these
/// `sizes` say that there are some: since that is `wanted`, or for want of room. Graphs that nobody holds leave the heap, but for `keep`,
/// until they can be expected to load: the files, their tensors and their packed copies.
pub(crate) fn admit(keep: Content, bytes: u64, sizes: &[u64], wanted: bool) -> Result<bool, Error> {
    if sizes.len() > 1 && wanted {
        return Ok(true);
    }
    let needed = bytes.saturating_mul(3);
    make_room(keep, needed);
    let available = state::limits().available_bytes;
    if sizes.len() > 1 && needed > available {
        return Ok(true);
    }
    if bytes <= available {
        return Ok(false);
    }
    Err(Error::too_large(format!(
        "the file has {bytes} bytes, the heap has {available} left (max_heap_bytes); unload graphs, raise the limit, or export the \
         weights as external data, which need not be in the heap"
    )))
}
