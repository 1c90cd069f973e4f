//! Models on their way into the heap: files from stable memory, admission, decoding, what is remembered of them.

use ic_nn_engine::Graph;
use ic_nn_store::{Blob, Version};
use ic_nn_types::{Error, ErrorCode, GraphEncoding, RunFacts};
use ic_stable_structures::Memory;

use crate::facts::Facts;
use crate::resident::Resident;
use crate::variant::{self, Content};
use crate::{runtime, state};

/// Sees to it that the version's graph is in the heap; instructions that took, 0 where it was there.
pub(crate) fn make_resident(version: &Version) -> Result<u64, Error> {
    let content = Content::of(version);
    if state::residents(|r| r.has(content)) {
        return Ok(0);
    }
    admit(content, version.bytes)?;
    let (files, facts, stored) = state::store(|s| {
        let blob = s.blob(&version.name, version.version)?;
        let files = files(&blob, &s.builders(&version.name, version.version)?)?;
        let stored = s.get(&version.name, version.version)?.variant;
        Ok::<_, Error>((files, s.facts(&version.name, version.version)?, stored))
    })?;
    let mut facts = Facts::decode(&facts)?;
    if stored != version.variant {
        // What was measured is of another graph.
        facts.runs = None;
    }
    let (graph, instructions) = decode(version.encoding, files, version.variant)?;
    state::residents(|r| r.insert(content, graph, facts));
    Ok(instructions)
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

/// Decodes and plans a model; and the instructions of that.
pub(crate) fn decode(
    encoding: GraphEncoding,
    files: Vec<Vec<u8>>,
    variant: u8,
) -> Result<(Graph, u64), Error> {
    let start = runtime::message_instructions();
    let graph = Graph::load_with(encoding, files, variant::precision(variant)?, &state::limits())?;
    Ok((graph, runtime::message_instructions() - start))
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

/// Sees to it that files of `bytes` can be read into the heap. Graphs that nobody holds leave it, but for `keep`, until
/// they can be expected to load as well: the files, their tensors and their packed copies.
pub(crate) fn admit(keep: Content, bytes: u64) -> Result<(), Error> {
    while state::limits().available_bytes < bytes.saturating_mul(3) && state::residents(|r| r.evict(keep)) {}
    let available = state::limits().available_bytes;
    if bytes <= available {
        return Ok(());
    }
    Err(Error::too_large(format!(
        "the file has {bytes} bytes, the heap has {available} left (max_heap_bytes); unload graphs or raise the limit"
    )))
}
