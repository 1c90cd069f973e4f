//! What the canister calls on itself, so that a trap becomes an error. Not in the interface: ingress to these is dropped
//! and any other caller is refused.

use ic_cdk::update;
use ic_nn_engine::File;
use ic_nn_store::{PAGE_BYTES, Version};
use ic_nn_types::{Error, ErrorCode, GraphEncoding};

use crate::authority::Itself;
use crate::images::Writing;
use crate::models::Tried;
use crate::run::{self, Answer, Question};
use crate::slices::{Sliced, Slices};
use crate::tickets;
use crate::timers::{self, Task};
use crate::variant::Content;
use crate::wire::{self, Arg};
use crate::{jobs, leases, lifecycle, memory, models, state};

/// Checks, loads and tries the files of a ticket, and leaves their facts.
pub(crate) const PROBE: &str = "ic_nn_internal_probe";
/// Brings an open graph into the heap.
pub(crate) const LOAD: &str = "ic_nn_internal_load";
/// Loads and tries a version in another variant, and has it served so.
pub(crate) const REMAKE: &str = "ic_nn_internal_remake";
/// Writes the image of a version whose graph was just made.
pub(crate) const IMAGE: &str = "ic_nn_internal_image";
/// Runs the inference of a ticket.
pub(crate) const INFER: &str = "ic_nn_internal_infer";
/// Grows stable memory.
pub(crate) const ROOM: &str = "ic_nn_internal_room";
/// Does nothing: the message that awaits it goes on with fresh instructions.
pub(crate) const BREATHE: &str = "ic_nn_internal_breathe";
/// Does what is due.
pub(crate) const TIMER: &str = "ic_nn_internal_timer";

/// What a probe is told.
pub(crate) enum Candidate {
    /// The files of an open upload, which announced this sha256.
    Upload {
        /// Its id.
        upload: u64,
        /// What it announced.
        sha256: [u8; 32],
        /// What its first bytes say.
        encoding: GraphEncoding,
    },
    /// Files that came with a call.
    Files {
        /// The model first.
        files: Vec<Vec<u8>>,
        /// sha256 of all of them, one behind the other.
        sha256: [u8; 32],
        /// What the first bytes say.
        encoding: GraphEncoding,
    },
}

/// What a probe leaves: the facts, encoded, and the files that came with a call.
pub(crate) type Probed = (Vec<u8>, Vec<Vec<u8>>);

/// A probe that begins, or whose trial is under way.
pub(crate) enum Probe {
    /// These are to be loaded.
    Asked(Candidate, Slices),
    /// They were, of this content, and are tried; the files that came with a call.
    Under(Box<Tried>, Content, Vec<Vec<u8>>),
}

impl Sliced for Probe {
    fn slices(&mut self) -> &mut Slices {
        match self {
            Probe::Asked(_, slices) => slices,
            Probe::Under(tried, ..) => tried.slices(),
        }
    }
}

#[update(hidden = true, name = "ic_nn_internal_probe", decode_with = "crate::wire::decode::<u64>")]
fn probe(ticket: Arg<u64>) -> Result<(), Error> {
    Itself::check()?;
    memory::begin_message();
    let ticket = ticket?;
    let probe = match question::<Probe>(ticket)? {
        Probe::Asked(candidate, slices) => loaded(candidate, slices)?,
        under => under,
    };
    let Probe::Under(tried, content, given) = probe else {
        return Err(Error::new(ErrorCode::RuntimeError, "nothing was loaded"));
    };
    match tried.advance() {
        Err(tried) => tickets::ask_again(ticket, Probe::Under(tried, content, given)),
        Ok((graph, drawing, facts, bytes)) => {
            // The call that asked goes on to publish these very bytes; whoever asks next finds the graph here.
            let encoded = facts.encode()?;
            state::residents(|r| r.insert(content, (graph, drawing), facts, true, bytes));
            let probed: Probed = (encoded, given);
            tickets::leave(ticket, probed);
        }
    }
    Ok(())
}

/// Checks and loads a candidate, and begins its trial.
fn loaded(candidate: Candidate, slices: Slices) -> Result<Probe, Error> {
    let (files, sha256, encoding, given) = match candidate {
        Candidate::Upload { upload, sha256, encoding } => {
            let bytes = state::store(|s| Ok::<_, Error>(s.upload_blob(upload)?.bytes()))?;
            let sizes = state::store(|s| s.upload_builders(upload))?;
            let streamed = models::admit(Content::plain(sha256), bytes, &sizes, false)?;
            let files = state::store(|s| models::files(&s.upload_blob(upload)?, &sizes, streamed))?;
            (files, sha256, encoding, vec![])
        }
        Candidate::Files { files, sha256, encoding } => {
            models::admit(Content::plain(sha256), files.iter().map(|f| f.len() as u64).sum(), &[], false)?;
            let loaded = files.iter().cloned().map(File::from).collect();
            (loaded, sha256, encoding, files)
        }
    };
    let content = Content::plain(sha256);
    Ok(Probe::Under(Tried::begin(content, encoding, files, slices)?, content, given))
}

/// A version, and the variant that it is to be served in.
pub(crate) struct Remade {
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) variant: u8,
}

/// A graph that is made anew, or tried.
pub(crate) enum Remake {
    /// It is to be loaded.
    Asked(Remade, Slices),
    /// It was, and is tried.
    Under(Box<Tried>, Remade),
}

impl Sliced for Remake {
    fn slices(&mut self) -> &mut Slices {
        match self {
            Remake::Asked(_, slices) => slices,
            Remake::Under(tried, _) => tried.slices(),
        }
    }
}

#[update(hidden = true, name = "ic_nn_internal_remake", decode_with = "crate::wire::decode::<u64>")]
fn remake(ticket: Arg<u64>) -> Result<(), Error> {
    Itself::check()?;
    memory::begin_message();
    let ticket = ticket?;
    let question = question::<Remake>(ticket)?;
    let (Remake::Asked(remade, _) | Remake::Under(_, remade)) = &question;
    let version =
        Version { variant: remade.variant, ..state::store(|s| s.get(&remade.name, remade.version))? };
    let content = Content::of(&version);
    let (tried, remade) = match question {
        Remake::Asked(remade, slices) => {
            (Tried::begin(content, version.encoding, models::read(&version)?, slices)?, remade)
        }
        Remake::Under(tried, remade) => (tried, remade),
    };
    match tried.advance() {
        Err(tried) => tickets::ask_again(ticket, Remake::Under(tried, remade)),
        Ok((graph, drawing, facts, bytes)) => {
            let encoded = facts.encode()?;
            state::store(|s| s.set_variant(&version.name, version.version, remade.variant, &encoded))?;
            state::residents(|r| r.insert(content, (graph, drawing), facts, true, bytes));
            tickets::leave(ticket, ());
        }
    }
    Ok(())
}

#[update(hidden = true, name = "ic_nn_internal_image", decode_with = "crate::wire::decode::<u64>")]
fn write_image(ticket: Arg<u64>) -> Result<(), Error> {
    Itself::check()?;
    memory::begin_message();
    let ticket = ticket?;
    if let Some(more) = question::<Writing>(ticket)?.go_on()? {
        tickets::ask_again(ticket, more);
    }
    Ok(())
}

#[update(hidden = true, name = "ic_nn_internal_load", decode_with = "crate::wire::decode::<u64>")]
fn load_open_graph(graph: Arg<u64>) -> Result<(), Error> {
    Itself::check()?;
    memory::begin_message();
    let graph = graph?;
    let version = state::store(|s| {
        let open = s.graph(graph)?;
        Ok::<_, Error>(s.get(&open.name, open.version)?)
    })?;
    models::make_resident(&version).map(drop)
}

#[update(hidden = true, name = "ic_nn_internal_infer", decode_with = "crate::wire::decode::<u64>")]
fn infer_ticket(ticket: Arg<u64>) -> Result<(), Error> {
    Itself::check()?;
    memory::begin_message();
    let ticket = ticket?;
    if tickets::is_served(ticket) {
        return Ok(());
    }
    match run::contained(ticket, question::<Question>(ticket)?) {
        Ok(Err(more)) => tickets::ask_again(ticket, more),
        Ok(Ok(answer)) => tickets::leave(ticket, Ok::<Answer, Error>(answer)),
        Err(e) => tickets::leave(ticket, Err::<Answer, Error>(e)),
    }
    Ok(())
}

#[update(hidden = true, name = "ic_nn_internal_room", decode_with = "crate::wire::decode::<u64>")]
fn room(pages: Arg<u64>) -> Result<(), Error> {
    Itself::check()?;
    let pages = pages?;
    if memory::grow(pages) {
        return Ok(());
    }
    Err(Error::too_large(format!(
        "stable memory could not grow by {} bytes: the canister's memory allocation or the subnet's storage is exhausted",
        pages.saturating_mul(PAGE_BYTES)
    )))
}

#[update(hidden = true, name = "ic_nn_internal_breathe", decode_with = "crate::wire::decode::<u64>")]
fn breathe(_: Arg<u64>) -> Result<(), Error> {
    Itself::check().map(drop)
}

#[update(hidden = true, name = "ic_nn_internal_timer", decode_with = "crate::wire::decode::<u64>")]
async fn timer(number: Arg<u64>) -> Result<(), Error> {
    Itself::check()?;
    match timers::take(number?) {
        Some(Task::Work(job)) => jobs::work(job).await,
        Some(Task::Watch) => jobs::watch(),
        Some(Task::Look) => leases::look().await,
        Some(Task::Reload) => lifecycle::reload().await,
        Some(Task::Sweep) => lifecycle::sweep(),
        // What was due in an earlier session is not any more.
        None => {}
    }
    Ok(())
}

/// The outcome in a reply of these.
pub(crate) fn done(reply: &[u8]) -> Result<(), Error> {
    wire::decode::<Result<(), Error>>(reply.to_vec())?
}

fn question<Q: std::any::Any>(ticket: u64) -> Result<Q, Error> {
    tickets::take(ticket)
        .ok_or_else(|| Error::new(ErrorCode::RuntimeError, format!("ticket {ticket} is not open")))
}
