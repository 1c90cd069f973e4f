//! Compiled images: what loading made of a version, in stable memory, so that the next start reads it.
//!
//! A graph that was made from its file leaves what its image is written from beside it. Whoever had it made sees to it that the
//! image is written, in a contained call of its own: where that fails nothing is lost, and the next start makes the graph again.
//! An image that another build of the engine wrote, or that cannot be read, is as good as none.

use std::mem::MaybeUninit;
use std::sync::Arc;

use ic_nn_engine::image::{self, Array, Arrays, HEADER_BYTES, ImageError};
use ic_nn_engine::stream::{Far, Stream};
use ic_nn_engine::{Graph, ModelError};
use ic_nn_store::{Blob, Draft, Version};
use ic_nn_types::{Error, ErrorCode};
use ic_stable_structures::Memory;

use crate::api::internal;
use crate::api::properties::Properties;
use crate::ledger::Gauge;
use crate::streams::Place;
use crate::tickets::Ticket;
use crate::variant::Content;
use crate::{contained, models, runtime, state, streams};

/// Bytes of an image that a message writes: a matrix that it is packed from is read in the same, in pages that are wider, and packing
/// takes tens of instructions a number.
const WRITTEN_BYTES: u64 = 1 << 28;

/// Of an image whose arrays are in the heap, which takes an instruction a byte: all at once, up to this.
const MOST_BYTES: u64 = 3 << 29;

/// What a start takes beside a read of its image, at most: some thousands of instructions a node.
const START_INSTRUCTIONS: u64 = 60_000_000;

/// The arrays of an image in stable memory.
struct Stored<'a, M> {
    blob: Blob<'a, M>,
    at: u64,
    /// Where large ones stay.
    stream: Option<Arc<Stream>>,
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

    fn leave(&mut self, bytes: u64) -> Option<Far> {
        let stream = self.stream.as_ref().filter(|_| bytes >= streams::LEAST)?;
        self.at += bytes;
        Some(Far::packed(stream, self.at - bytes))
    }

    fn heap(&self) -> u64 {
        // What stays is known once it is read; what does not is small.
        if self.stream.is_some() { 0 } else { self.left() }
    }
}

/// The version's graph from its image, the instructions of that and the heap that it takes; `None` where it has none that can be read.
pub(crate) fn read(version: &Version) -> Result<Option<(Graph, u64, i64)>, Error> {
    let start = runtime::message_instructions();
    let Some(bytes) = bytes(version)? else { return Ok(None) };
    let mut streamed = Properties::of(version)?.streamed;
    if !streamed {
        models::make_room(Content::of(version), bytes.saturating_add(bytes / 2));
        streamed = state::limits().available_bytes < bytes;
    }
    let limits = state::limits();
    let gauge = Gauge::start(0);
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
        let stream = streamed.then(|| streams::of(blob.begins_at(), blob.bytes()));
        match Graph::from_image(&bytes, &mut Stored { blob, at, stream }, &limits) {
            Ok(graph) => Ok(Some(graph)),
            Err(ImageError::Model(e @ ModelError::TooLarge { .. })) => Err(Error::from(e)),
            Err(e) => {
                ic_cdk::api::debug_print(format!("{}:{} is loaded anew: {e}", version.name, version.version));
                Ok(None)
            }
        }
    })?;
    Ok(graph.map(|graph| (graph, runtime::message_instructions() - start, gauge.grown())))
}

/// Bytes of the version's image; `None` where it has none.
pub(crate) fn bytes(version: &Version) -> Result<Option<u64>, Error> {
    state::store(|s| Ok(s.image(&version.name, version.version)?.map(|blob| blob.bytes())))
}

/// The most that a start from the version's image takes, as far as is known; `None` where it has none.
pub(crate) fn start_instructions(version: &Version) -> Option<u64> {
    let bytes = bytes(version).ok().flatten()?;
    let streamed =
        Properties::of(version).is_ok_and(|p| p.streamed) || bytes > state::limits().available_bytes;
    // Of what is streamed the head is read, and what is small.
    Some(START_INSTRUCTIONS + if streamed { 0 } else { bytes + bytes / 8 })
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
    let gauge = Gauge::start(0);
    state::residents(|r| drop(r.take_drawing(content)));
    state::residents(|r| r.grow(content, gauge.grown()));
    if let Err(e) = written {
        let model = format!("{}:{}", version.name, version.version);
        ic_cdk::api::debug_print(format!("{model} has no image: {}", e.data));
    }
}

async fn write(version: &Version) -> Result<(), Error> {
    let content = Content::of(version);
    let drawn = state::residents(|r| {
        let image = r.drawing(content)?.image()?;
        let far = image.pieces().any(|piece| matches!(piece, Array::Far(..)));
        Some((image.bytes(), far))
    });
    let Some((bytes, far)) = drawn.filter(|(bytes, far)| *far || *bytes <= MOST_BYTES) else {
        return Ok(state::store(|s| s.drop_image(&version.name, version.version))?);
    };
    let grows = state::store(|s| s.image_grows_by(&version.name, version.version, bytes))?;
    contained::room(grows).await?;
    let most = if far { WRITTEN_BYTES } else { MOST_BYTES };
    let writing = Writing { name: version.name.clone(), version: version.version, most, under: None };
    let ticket = Ticket::new(writing);
    while ticket.is_open() {
        let reply = contained::call(internal::IMAGE, ticket.id()).await?;
        internal::done(&reply)?;
    }
    if far || Properties::of(version)?.streamed {
        // The next use reads it, panels where they are.
        state::residents(|r| r.drop_for_good(content));
    }
    Ok(())
}

/// An image that is being written, in contained calls.
pub(crate) struct Writing {
    name: String,
    version: u64,
    /// Bytes that a message writes.
    most: u64,
    under: Option<Under>,
}

/// One of which a part is written.
struct Under {
    draft: Draft,
    _place: Arc<Place>,
    /// Bytes that are written.
    at: u64,
}

impl Writing {
    /// Writes what this message may; what is to be told the next, where something is left.
    pub(crate) fn go_on(self) -> Result<Option<Writing>, Error> {
        let Writing { name, version, most, under } = self;
        let content = Content::of(&state::store(|s| s.get(&name, version))?);
        let Some(drawing) = state::residents(|r| r.take_drawing(content)) else { return Ok(None) };
        let Some(image) = drawing.image() else { return Ok(None) };
        let mut under = match under {
            Some(under) => under,
            None => {
                let draft = state::store(|s| s.begin_image(&name, version, image.bytes()))?;
                Under { _place: Place::of(&draft), draft, at: 0 }
            }
        };
        let (end, mut begins_at) = (under.at.saturating_add(most), 0);
        for piece in image.pieces() {
            let mut written = under.at.saturating_sub(begins_at);
            while written < piece.bytes() && under.at < end {
                let mut write =
                    |bytes: &[u8]| state::store(|s| s.write_image(&under.draft, begins_at + written, bytes));
                let more = match piece {
                    Array::Here(bytes) => {
                        write(bytes);
                        bytes.len() as u64
                    }
                    Array::Far(far, _) => far.pieces().map_or(0, |pieces| pieces.at(written, &mut write)),
                };
                if more == 0 {
                    return Err(Error::new(
                        ErrorCode::RuntimeError,
                        "an array of the image has no such panel",
                    ));
                }
                written += more;
                under.at += more;
            }
            begins_at += piece.bytes();
        }
        if under.at < begins_at {
            state::residents(|r| r.draw(content, drawing));
            return Ok(Some(Writing { name, version, most, under: Some(under) }));
        }
        state::store(|s| s.finish_image(under.draft))?;
        drop(image);
        let gauge = Gauge::start(0);
        drop(drawing);
        state::residents(|r| r.grow(content, gauge.grown()));
        Ok(None)
    }
}
