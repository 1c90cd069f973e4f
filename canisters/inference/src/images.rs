//! Compiled images: what loading made of a version, in stable memory, so that the next start reads it.
//!
//! A graph that was made from its file leaves what its image is written from beside it. Whoever had it made sees to it that the
//! image is written, in a contained call of its own: where that fails nothing is lost, and the next start makes the graph again.
//! An image that another build of the engine wrote, or that cannot be read, is as good as none.

use std::mem::MaybeUninit;

use ic_nn_engine::image::{self, Arrays, HEADER_BYTES, ImageError};
use ic_nn_engine::{Graph, ModelError};
use ic_nn_store::{Blob, Version};
use ic_nn_types::Error;
use ic_stable_structures::Memory;

use crate::api::internal;
use crate::api::properties::Properties;
use crate::tickets::Ticket;
use crate::variant::Content;
use crate::{contained, models, runtime, state};

/// The largest image that is written: a message may touch 2 GiB of stable memory.
const MOST_BYTES: u64 = 3 << 29;

/// What a start takes beside a read of its image, at most: some thousands of instructions a node.
const START_INSTRUCTIONS: u64 = 60_000_000;

/// The arrays of an image in stable memory.
struct Stored<'a, M> {
    blob: Blob<'a, M>,
    at: u64,
}

impl<M: Memory> Arrays for Stored<'_, M> {
    fn left(&self) -> u64 {
        self.blob.bytes().saturating_sub(self.at)
    }

    fn fill(&mut self, to: &mut [MaybeUninit<u8>]) {
        let bytes = to.len() as u64;
        if self.blob.fill(self.at, to).is_err() {
            // Never asked for more than is left; what is there must be written all the same.
            to.fill(MaybeUninit::new(0));
        }
        self.at = self.at.saturating_add(bytes);
    }
}

/// The version's graph from its image, and the instructions of that; `None` where it has none that can be read.
pub(crate) fn read(version: &Version) -> Result<Option<(Graph, u64)>, Error> {
    let start = runtime::message_instructions();
    let Some(bytes) = bytes(version)? else { return Ok(None) };
    models::make_room(Content::of(version), bytes.saturating_add(bytes / 2));
    let limits = state::limits();
    let graph = state::store(|s| {
        let Some(blob) = s.image(&version.name, version.version)? else { return Ok(None) };
        let mut header = [0; HEADER_BYTES];
        if blob.read(0, &mut header).is_err() {
            return Ok(None);
        }
        let Ok((head, arrays)) = image::parts(&header) else { return Ok(None) };
        let at = (HEADER_BYTES as u64).saturating_add(head);
        if at.checked_add(arrays) != Some(blob.bytes()) {
            return Ok(None);
        }
        let mut bytes = vec![0; head as usize];
        blob.read(HEADER_BYTES as u64, &mut bytes)?;
        match Graph::from_image(&bytes, &mut Stored { blob, at }, &limits) {
            Ok(graph) => Ok(Some(graph)),
            Err(ImageError::Model(e @ ModelError::TooLarge { .. })) => Err(Error::from(e)),
            Err(e) => {
                ic_cdk::api::debug_print(format!("{}:{} is loaded anew: {e}", version.name, version.version));
                Ok(None)
            }
        }
    })?;
    Ok(graph.map(|graph| (graph, runtime::message_instructions() - start)))
}

/// Bytes of the version's image; `None` where it has none.
pub(crate) fn bytes(version: &Version) -> Result<Option<u64>, Error> {
    state::store(|s| Ok(s.image(&version.name, version.version)?.map(|blob| blob.bytes())))
}

/// The most that a start from the version's image takes, as far as is known; `None` where it has none.
pub(crate) fn start_instructions(version: &Version) -> Option<u64> {
    let bytes = bytes(version).ok().flatten()?;
    Some(bytes + bytes / 8 + START_INSTRUCTIONS)
}

/// Writes the image of a version whose graph was just made from its file. To be called when the answer is settled, for it awaits and
/// fails silently: the log tells why.
pub(crate) async fn keep(version: &Version) {
    let content = Content::of(version);
    if !state::residents(|r| r.is_drawn(content)) {
        return;
    }
    let written = match Properties::of(version) {
        Ok(properties) if properties.image => write(version).await,
        _ => Ok(()),
    };
    // Whatever came of it: what it would be written from shares the weights, and more.
    state::residents(|r| drop(r.take_drawing(content)));
    if let Err(e) = written {
        let model = format!("{}:{}", version.name, version.version);
        ic_cdk::api::debug_print(format!("{model} has no image: {}", e.data));
    }
}

async fn write(version: &Version) -> Result<(), Error> {
    let content = Content::of(version);
    let bytes = state::residents(|r| r.drawing(content).and_then(|d| d.image().map(|image| image.bytes())));
    let Some(bytes) = bytes.filter(|bytes| *bytes <= MOST_BYTES) else {
        return Ok(state::store(|s| s.drop_image(&version.name, version.version))?);
    };
    let grows = state::store(|s| s.image_grows_by(&version.name, version.version, bytes))?;
    contained::room(grows).await?;
    let ticket = Ticket::new(internal::Drawn { name: version.name.clone(), version: version.version });
    let reply = contained::call(internal::IMAGE, ticket.id()).await?;
    internal::done(&reply)
}

/// Writes the image, in the contained call.
pub(crate) fn write_now(version: &Version) -> Result<(), Error> {
    let content = Content::of(version);
    let Some(drawing) = state::residents(|r| r.take_drawing(content)) else { return Ok(()) };
    let Some(image) = drawing.image() else { return Ok(()) };
    state::store(|s| s.set_image(&version.name, version.version, image.bytes(), image.pieces()))?;
    Ok(())
}
