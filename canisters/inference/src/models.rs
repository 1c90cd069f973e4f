//! Models on their way into the heap: files from stable memory, admission, decoding, what is remembered of them.

use ic_nn_engine::image::Drawing;
use ic_nn_engine::{Graph, Run, Trial};
use ic_nn_store::{Blob, Version};
use ic_nn_types::{Error, ErrorCode, GraphEncoding, RunFacts};
use ic_stable_structures::Memory;

use crate::facts::Facts;
use crate::resident::Resident;
use crate::slices::Slices;
use crate::variant::{self, Content};
use crate::{images, runtime, state};

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
    let (graph, drawing, instructions) = match imaged {
        Some((graph, instructions)) => (graph, None, instructions),
        None => decode(version.encoding, read(version)?, version.variant)?,
    };
    // An image is of what is served.
    state::residents(|r| r.insert(content, (graph, drawing.filter(|_| served)), facts, served));
    Ok(instructions)
}

/// The version's files, once there is room for them and what they become.
pub(crate) fn read(version: &Version) -> Result<Vec<Vec<u8>>, Error> {
    admit(Content::of(version), version.bytes)?;
    state::store(|s| {
        files(&s.blob(&version.name, version.version)?, &s.builders(&version.name, version.version)?)
    })
}

/// Brings a graph that was read from its image the model in its file, where planning for other shapes takes it.
pub(crate) fn bring(version: &Version) -> Result<(), Error> {
    let files = read(version)?;
    let limits = state::limits();
    resident(version, |r| Ok(r.graph.bring(version.encoding, files, &limits)?))
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
}

impl Tried {
    /// Decodes and plans a model of that content, and begins its trial.
    pub(crate) fn begin(
        content: Content,
        encoding: GraphEncoding,
        files: Vec<Vec<u8>>,
        slices: Slices,
    ) -> Result<Box<Tried>, Error> {
        let (mut graph, drawing, load_instructions) = decode(encoding, files, content.variant)?;
        let start = runtime::message_instructions();
        let trial = graph.begin_trial(&state::limits());
        let run_instructions = runtime::message_instructions() - start;
        Ok(Box::new(Tried { graph, drawing, trial, slices, load_instructions, run_instructions }))
    }

    /// How its trial is sliced.
    pub(crate) fn slices(&mut self) -> &mut Slices {
        &mut self.slices
    }

    /// Has the trial go on for as long as this message goes: the graph, what its image is written from, and the facts; itself where it
    /// is to go on in another.
    pub(crate) fn advance(mut self: Box<Self>) -> Result<(Graph, Option<Drawing>, Facts), Box<Self>> {
        let start = runtime::message_instructions();
        let outcome = match &mut self.trial {
            Ok(run) => match self.slices.advance(run, &mut |_| ()) {
                Ok(None) => {
                    self.run_instructions += runtime::message_instructions() - start;
                    return Err(self);
                }
                outcome => outcome.map(drop),
            },
            Err(_) => Ok(()),
        };
        let Tried { mut graph, drawing, trial, load_instructions, run_instructions, .. } = *self;
        let trial = match trial {
            Ok(run) => graph.finish_trial(run, outcome),
            Err(refused) => refused,
        };
        let run_instructions = run_instructions + runtime::message_instructions() - start;
        let facts = Facts::new(&graph, load_instructions, (trial, run_instructions));
        Ok((graph, drawing, facts))
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

/// Decodes and plans a model: the graph, what its image is written from, and the instructions of that.
fn decode(
    encoding: GraphEncoding,
    files: Vec<Vec<u8>>,
    variant: u8,
) -> Result<(Graph, Option<Drawing>, u64), Error> {
    let start = runtime::message_instructions();
    let precision = variant::precision(variant)?;
    let (graph, drawing) = Graph::load_drawn(encoding, files, precision, &state::limits())?;
    Ok((graph, drawing, runtime::message_instructions() - start))
}

/// The files of a blob whose parts have these sizes; no sizes where it is one file.
pub(crate) fn files<M: Memory>(blob: &Blob<'_, M>, sizes: &[u64]) -> Result<Vec<Vec<u8>>, Error> {
    if sizes.is_empty() {
        return Ok(vec![blob.to_vec()?]);
    }
    let mut at = 0;
    let mut files = Vec::with_capacity(sizes.len());
    for &size in sizes {
        let mut file = vec![0; usize::try_from(size).map_err(|_| Error::too_large("a file over 4 GiB"))?];
        blob.read(at, &mut file)?;
        at += size;
        files.push(file);
    }
    Ok(files)
}

/// Has graphs that nobody holds leave the heap, but for `keep`, until it has `bytes` or they are all gone.
pub(crate) fn make_room(keep: Content, bytes: u64) {
    while state::limits().available_bytes < bytes && state::residents(|r| r.evict(keep)) {}
}

/// Sees to it that files of `bytes` can be read into the heap. Graphs that nobody holds leave it, but for `keep`, until
/// they can be expected to load as well: the files, their tensors and their packed copies.
pub(crate) fn admit(keep: Content, bytes: u64) -> Result<(), Error> {
    make_room(keep, bytes.saturating_mul(3));
    let available = state::limits().available_bytes;
    if bytes <= available {
        return Ok(());
    }
    Err(Error::too_large(format!(
        "the file has {bytes} bytes, the heap has {available} left (max_heap_bytes); unload graphs or raise the limit"
    )))
}
