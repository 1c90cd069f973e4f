//! An inference, from named tensors to outputs: in this message where the graph has run on these shapes before and that fits, else in
//! contained calls, as many as it takes.

use ic_nn_engine::{Arranged, NodeCost, Run};
use ic_nn_store::Version;
use ic_nn_types::{Error, ErrorCode, NamedTensor, RunFacts};

use crate::api::internal;
use crate::batches::{Parts, Seat, Turn};
use crate::ledger::{Gauge, Waiting};
use crate::slices::{self, Sliced, Slices};
use crate::state::Promise;
use crate::tickets::Ticket;
use crate::variant::Content;
use crate::{batches, cache, contained, images, jobs, models, pipeline, receipts, runtime, state};

/// What an inference is asked for.
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) variant: u8,
    pub(crate) inputs: Inputs,
    pub(crate) limits: Limits,
    pub(crate) slices: Slices,
    /// With which others it may be run together, and how many at most.
    pub(crate) batch: Option<(batches::Key, usize)>,
}

/// Tensors as they came, or held to the graph's description already.
pub(crate) enum Inputs {
    Named(Vec<NamedTensor>),
    Arranged(Arranged),
}

/// What a caller and a model ask of every run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// Refuse what is known to take more instructions.
    pub(crate) max_instructions: Option<u64>,
    /// Hash the inputs: for a receipt, or for the response cache.
    pub(crate) hash: bool,
    /// Answers of this model that are kept; 0 where the cache is off or not wanted.
    pub(crate) cache_entries: usize,
    /// Count what each node takes.
    pub(crate) profile: bool,
    /// What each message of an update takes at most, in place of all that it has.
    pub(crate) slice_instructions: Option<u64>,
    /// The job that it is.
    pub(crate) job: Option<u64>,
    /// Requests that may be run together; below 2 each is run by itself.
    pub(crate) max_batch: usize,
}

impl Limits {
    /// Whether nothing is asked of a run that has to be its own.
    fn may_be_joined(&self) -> bool {
        let own = self.hash || self.profile || self.cache_entries > 0 || self.job.is_some();
        !own && self.max_batch > 1 && self.max_instructions.is_none() && self.slice_instructions.is_none()
    }
}

/// What an inference gave.
#[derive(Default)]
pub(crate) struct Answer {
    /// Every output, in the graph's order.
    pub(crate) outputs: Vec<NamedTensor>,
    /// Of the inputs in the graph's order, where it was asked for.
    pub(crate) inputs_hash: Option<[u8; 32]>,
    /// Instructions of loading the graph; 0 where it was in the heap.
    pub(crate) load_instructions: u64,
    /// Instructions of planning for shapes that were new to it.
    pub(crate) plan_instructions: u64,
    /// Instructions of the inference by itself; 0 where the response cache had it.
    pub(crate) run_instructions: u64,
    /// Instructions of the contained message that gave it, whose counters the caller's do not include; 0 where there was
    /// none.
    pub(crate) contained_instructions: u64,
    /// Whether the response cache had it.
    pub(crate) cached: bool,
    /// What each node took, where it was asked for.
    pub(crate) nodes: Vec<NodeCost>,
    /// The block that the run's tensors lay in, and what was alive in it, in bytes.
    pub(crate) arena: Option<(u64, u64)>,
}

impl Answer {
    /// What one of so many requests that were run together has of it, but for its outputs: an equal share of what it took.
    pub(crate) fn share(&self, count: usize) -> Answer {
        let share = |instructions: u64| instructions / count as u64;
        Answer {
            load_instructions: share(self.load_instructions),
            plan_instructions: share(self.plan_instructions),
            run_instructions: share(self.run_instructions),
            contained_instructions: share(self.contained_instructions),
            ..Answer::default()
        }
    }
}

/// What a run gave and took.
pub(crate) struct Ran {
    pub(crate) outputs: Vec<NamedTensor>,
    pub(crate) inputs_hash: Option<[u8; 32]>,
    pub(crate) facts: RunFacts,
    pub(crate) cached: bool,
    pub(crate) nodes: Vec<NodeCost>,
    pub(crate) arena: Option<(u64, u64)>,
}

impl From<Ran> for Answer {
    fn from(ran: Ran) -> Self {
        Answer {
            outputs: ran.outputs,
            inputs_hash: ran.inputs_hash,
            plan_instructions: ran.facts.plan_instructions,
            run_instructions: ran.facts.run_instructions,
            cached: ran.cached,
            nodes: ran.nodes,
            arena: ran.arena,
            ..Default::default()
        }
    }
}

/// Infers in an update. To be called with the permission checked.
pub(crate) async fn infer(
    version: &Version,
    inputs: Vec<NamedTensor>,
    limits: Limits,
) -> Result<Answer, Error> {
    if pipeline::is(version) {
        return pipeline::infer(version, inputs, limits).await;
    }
    let mut inputs = Inputs::Named(inputs);
    let mut safe = false;
    let slices = Slices::of(limits.slice_instructions);
    let batch = if let (true, Inputs::Named(named)) = (limits.may_be_joined(), &inputs) {
        Some((batches::key(version, named), limits.max_batch))
    } else {
        None
    };
    if batch.is_none() && state::residents(|r| r.has(Content::of(version))) {
        let heap = state::limits();
        (inputs, safe) = models::resident(version, |r| {
            let Inputs::Named(named) = inputs else {
                return Err(Error::new(ErrorCode::RuntimeError, "the inputs are arranged already"));
            };
            let arranged = r.graph.arrange(named, &heap)?;
            let takes = r.known(&arranged).map_or(u64::MAX, |known| known.run_instructions);
            // What streams its weights may take more than it did when the cache had them, or the heap.
            let safe = r.graph.planned(&arranged).is_some_and(|p| p.has_run && p.fixed)
                && slices.fits(takes)
                && r.graph.streamed_bytes() == 0;
            Ok((Inputs::Arranged(arranged), safe))
        })?;
    }
    if safe {
        return Ok(run(version, inputs, limits)?.into());
    }
    // What the run is remembered by is written in the contained call, which could only trap for want of memory.
    contained::room(0).await?;
    let (name, version_number, variant) = (version.name.clone(), version.version, version.variant);
    let key = batch.as_ref().map(|(key, _)| key.clone());
    let asked = Asked { name, version: version_number, variant, inputs, limits, slices, batch };
    let ticket = Ticket::new(Question::Asked(Box::new(asked)));
    let _seat = key.map(|key| Seat::take(&key, &ticket));
    slices::until_done::<Question>(internal::INFER, &ticket).await?;
    // Where the graph was away and had no image.
    images::keep(version).await;
    ticket
        .answer::<Result<Answer, Error>>()
        .ok_or_else(|| Error::new(ErrorCode::RuntimeError, "the inference left no answer; try again"))?
}

/// What contained calls of an inference are told.
pub(crate) enum Question {
    /// To begin.
    Asked(Box<Asked>),
    /// To go on.
    Under(Box<Under>),
}

impl Sliced for Question {
    fn slices(&mut self) -> &mut Slices {
        match self {
            Question::Asked(asked) => &mut asked.slices,
            Question::Under(under) => &mut under.slices,
        }
    }

    fn apart(&mut self) -> bool {
        match self {
            Question::Asked(asked) => asked.batch.take().is_some(),
            Question::Under(under) => match under.parts.take().and_then(Parts::apart) {
                Some(own) => {
                    *self = Question::Asked(Box::new(own));
                    true
                }
                None => false,
            },
        }
    }
}

/// An inference under way.
pub(crate) struct Under {
    version: Version,
    run: Run,
    slices: Slices,
    limits: Limits,
    inputs: Arranged,
    inputs_hash: Option<[u8; 32]>,
    /// So far.
    load_instructions: u64,
    plan_instructions: u64,
    run_instructions: u64,
    contained_instructions: u64,
    /// Nodes that have run, where they are counted, and instructions of the one under way in the messages before.
    nodes: Vec<(usize, u64)>,
    begun: u64,
    /// Bytes that it has taken of those it was admitted with.
    taken: i64,
    promise: Promise,
    /// For whom it is, where for several.
    parts: Option<Parts>,
    waiting: Waiting,
}

/// What a message of an inference comes to.
enum Outcome {
    Ran(Ran),
    Left(Box<Under>),
}

/// Begins an inference, or goes on with one, in a ticket's contained call: its answer, or what is to be told the next.
pub(crate) fn contained(ticket: u64, question: Question) -> Result<Result<Answer, Question>, Error> {
    match question {
        Question::Asked(asked) => {
            let (name, number, variant) = (asked.name.clone(), asked.version, asked.variant);
            let version = Version { variant, ..state::store(|s| s.get(&name, number))? };
            let load_instructions = models::make_resident(&version)?;
            let (asked, parts) = match batches::turn(&version, ticket, *asked)? {
                Turn::Again(asked) => return Ok(Err(Question::Asked(asked))),
                Turn::Alone(asked) => (asked, None),
                Turn::Together(asked, parts) => (asked, Some(*parts)),
            };
            let outcome = match begin(&version, asked.inputs, asked.limits, asked.slices) {
                Ok(Begun::Cached(ran)) => Ok(Outcome::Ran(ran)),
                Ok(Begun::Under(mut under)) => {
                    under.load_instructions = load_instructions;
                    under.advance()
                }
                Err(e) => Err(e),
            };
            after(&version, outcome, parts, load_instructions, 0)
        }
        Question::Under(mut under) => {
            if let Some(e) = under.limits.job.and_then(jobs::stopped) {
                return Err(e);
            }
            let (version, load, before) =
                (under.version.clone(), under.load_instructions, under.contained_instructions);
            let parts = under.parts.take();
            after(&version, under.advance(), parts, load, before)
        }
    }
}

/// What a message has come to, for whom it was.
fn after(
    version: &Version,
    outcome: Result<Outcome, Error>,
    parts: Option<Parts>,
    load_instructions: u64,
    before: u64,
) -> Result<Result<Answer, Question>, Error> {
    let apart = |parts: Parts| match parts.apart() {
        Some(own) => Ok(Err(Question::Asked(Box::new(own)))),
        None => Err(Error::new(ErrorCode::RuntimeError, "a request of a batch was lost; try again")),
    };
    let contained_instructions = || before + runtime::message_instructions();
    match (outcome, parts) {
        (Err(_), Some(parts)) => apart(parts),
        (Err(e), None) => Err(e),
        (Ok(Outcome::Ran(ran)), parts) => {
            // The answer stands where the graph has left meanwhile, or its model was deleted.
            if !ran.cached
                && let Err(e) = models::remember(version, &ran.facts)
            {
                let model = format!("{}:{}", version.name, version.version);
                ic_cdk::api::debug_print(format!("what {model} took is not remembered: {}", e.data));
            }
            let contained_instructions = contained_instructions();
            let answer = Answer { load_instructions, contained_instructions, ..ran.into() };
            match parts {
                None => Ok(Ok(answer)),
                Some(mut parts) => match parts.settle(&answer) {
                    Some(own) => Ok(Ok(own)),
                    None => apart(parts),
                },
            }
        }
        (Ok(Outcome::Left(mut under)), parts) => {
            under.contained_instructions = contained_instructions();
            under.parts = parts;
            if let Some(job) = under.limits.job {
                jobs::progressed(job, under.run.progress(), under.contained_instructions);
            }
            Ok(Err(Question::Under(under)))
        }
    }
}

/// Runs the version's graph, which is in the heap, planning it first for shapes that are new to it, all of it in this message.
pub(crate) fn run(version: &Version, inputs: Inputs, limits: Limits) -> Result<Ran, Error> {
    match begin(version, inputs, limits, Slices::none())? {
        Begun::Cached(ran) => Ok(ran),
        Begun::Under(under) => match under.advance()? {
            Outcome::Ran(ran) => Ok(ran),
            Outcome::Left(_) => Err(Error::new(ErrorCode::RuntimeError, "the run was left half way")),
        },
    }
}

/// A run that has begun, or an answer that the response cache had.
enum Begun {
    Cached(Ran),
    Under(Box<Under>),
}

fn begin(version: &Version, inputs: Inputs, limits: Limits, slices: Slices) -> Result<Begun, Error> {
    let heap = state::limits();
    let (inputs, inputs_hash, cached, lacks) = models::resident(version, |r| {
        let inputs = match inputs {
            Inputs::Named(inputs) => r.graph.arrange(inputs, &heap)?,
            Inputs::Arranged(inputs) => inputs,
        };
        let hash = (limits.hash || limits.cache_entries > 0).then(|| {
            let names = r.graph.description().inputs.iter().map(|i| i.name.as_str());
            receipts::tensors(names.zip(inputs.tensors()))
        });
        let wanted = hash.filter(|_| limits.cache_entries > 0);
        let cached = wanted.and_then(|hash| cache::find(Content::of(version), &hash));
        let planned = r.graph.planned(&inputs).is_some();
        if let (None, Some(most), Some(known)) = (&cached, limits.max_instructions, r.known(&inputs)) {
            let takes = known.run_instructions + if planned { 0 } else { known.plan_instructions };
            if takes > most {
                return Err(Error::too_large(format!(
                    "`{}:{}` takes {takes} instructions on these inputs, max_instructions is {most}",
                    version.name, version.version
                )));
            }
        }
        let lacks = r.graph.lacks_model(inputs.shapes());
        Ok((inputs, hash, cached, lacks))
    })?;
    let shapes: Vec<Vec<u32>> = inputs.shapes().cloned().collect();
    if let Some(outputs) = cached {
        let facts = RunFacts { shapes, plan_instructions: 0, run_instructions: 0, fixed: false };
        return Ok(Begun::Cached(Ran {
            outputs,
            inputs_hash,
            facts,
            cached: true,
            nodes: vec![],
            arena: None,
        }));
    }
    let start = runtime::message_instructions();
    if lacks {
        models::bring(version)?;
    }
    models::resident(version, |r| {
        let planned = r.graph.planned(&inputs).is_some();
        let gauge = Gauge::start(0);
        r.graph.plan(&inputs, &heap)?;
        if !planned {
            r.grow(gauge.grown());
        }
        r.mark_used();
        let middle = runtime::message_instructions();
        // What has not run is held to what its plan says.
        if let (Some(most), None) = (limits.max_instructions, r.known(&inputs))
            && let Some(estimate) = r.graph.estimate(&shapes)
            && estimate.instructions > most
        {
            return Err(Error::too_large(format!(
                "`{}:{}` would take about {} instructions on these inputs, max_instructions is {most}",
                version.name, version.version, estimate.instructions
            )));
        }
        let gauge = Gauge::start(0);
        let run = r.graph.begin(&inputs, &heap)?;
        Ok(Begun::Under(Box::new(Under {
            version: version.clone(),
            run,
            slices,
            limits,
            inputs,
            inputs_hash,
            load_instructions: 0,
            plan_instructions: if planned { 0 } else { middle - start },
            run_instructions: runtime::message_instructions() - middle,
            contained_instructions: 0,
            nodes: vec![],
            // The first node is an input: bringing it in is its own.
            begun: runtime::message_instructions() - middle,
            taken: gauge.grown(),
            promise: Promise::default(),
            parts: None,
            waiting: Waiting::default(),
        })))
    })
}

impl Under {
    /// Has the run go on for as long as this message goes.
    fn advance(mut self: Box<Self>) -> Result<Outcome, Error> {
        let start = runtime::message_instructions();
        let gauge = Gauge::start(0);
        let mut last = start;
        let (profile, begun, nodes) = (self.limits.profile, &mut self.begun, &mut self.nodes);
        let outputs = self.slices.advance(&mut self.run, &mut |id| {
            if profile {
                let now = runtime::message_instructions();
                nodes.push((id, std::mem::take(begun) + now - last));
                last = runtime::message_instructions();
            }
        })?;
        let end = runtime::message_instructions();
        self.run_instructions += end - start;
        self.begun += end - last;
        let Some(outputs) = outputs else {
            // While it waits others are admitted beside what it is still to take.
            self.taken += gauge.grown();
            self.promise.set(self.run.peak_bytes().saturating_sub(self.taken.max(0) as u64));
            let inputs: u64 = self.inputs.tensors().map(|tensor| tensor.data.len() as u64).sum();
            self.waiting = Waiting::holding(self.taken.saturating_add_unsigned(inputs));
            return Ok(Outcome::Left(self));
        };
        if let Some(hash) = self.inputs_hash {
            cache::keep(Content::of(&self.version), &hash, &outputs, self.limits.cache_entries);
        }
        let nodes = self.run.nodes(&self.nodes);
        let facts = RunFacts {
            shapes: self.inputs.shapes().cloned().collect(),
            plan_instructions: self.plan_instructions,
            run_instructions: self.run_instructions,
            fixed: self.run.is_fixed(),
        };
        let Under { version, run, inputs, inputs_hash, .. } = *self;
        // The graph may have left the heap meanwhile.
        let arena = state::residents(|r| {
            let resident = r.get(Content::of(&version))?;
            resident.graph.finish(run);
            resident.graph.arena(&inputs)
        });
        Ok(Outcome::Ran(Ran { outputs, inputs_hash, facts, cached: false, nodes, arena }))
    }
}

/// The outputs that were asked for, by name or decimal index, in that order; all of them where nothing was.
pub(crate) fn select(
    outputs: &[NamedTensor],
    wanted: Option<&Vec<String>>,
) -> Result<Vec<NamedTensor>, Error> {
    match wanted {
        None => Ok(outputs.to_vec()),
        Some(wanted) => wanted.iter().map(|name| Ok(outputs[position(outputs, name)?].clone())).collect(),
    }
}

/// Which output a name, or a decimal index, means.
pub(crate) fn position(outputs: &[NamedTensor], name: &str) -> Result<usize, Error> {
    outputs
        .iter()
        .position(|(n, _)| n == name)
        .or_else(|| name.parse().ok().filter(|ix: &usize| *ix < outputs.len()))
        .ok_or_else(|| {
            let known: Vec<_> =
                outputs.iter().map(|(n, t)| format!("`{n}` {} {:?}", t.ty, t.dimensions)).collect();
            let name: String = name.chars().take(80).collect();
            Error::invalid_argument(format!("no output `{name}`; the outputs are {}", known.join(", ")))
        })
}
