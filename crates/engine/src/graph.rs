//! A graph that can be asked: its description, its plans by input shape, inference.

use ic_nn_kernels::Precision;
use ic_nn_types::{GraphEncoding, NamedTensor, Tensor, TensorDescription};
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::InferenceModel;

use crate::bound::Growth;
use crate::check::{admit, check_parts};
use crate::encoding::{self, Format};
use crate::error::refused_or;
use crate::image::Drawing;
use crate::lower::{Lowered, Passes, lowered};
use crate::plan::{Output, Plan};
use crate::run::Run;
use crate::source::{Kept, Source};
use crate::streamed::{self, Away, File};
use crate::{
    Checked, Description, InferError, InputError, Limits, ModelError, bound, check, check_files, formats,
    ops, pairs, tensors,
};

/// Plans kept for a graph with dynamic dimensions: the newest shapes a caller uses, each with its own packed weights.
const MAX_PLANS: usize = 4;

/// A decoded graph and its plans.
///
/// A graph of fixed shapes holds one plan and forgets what it was made from; one with dynamic dimensions keeps the
/// decoded model and plans each new set of shapes, which costs about as much as loading does. So it is with an input
/// that says a shape, axes or the like: each new value of it is planned.
pub struct Graph {
    description: Description,
    pub(crate) outputs: Vec<Output>,
    /// Inputs whose values are part of a plan.
    pub(crate) bound: Vec<usize>,
    /// What those values make large.
    growths: Vec<Growth>,
    source: Kept,
    /// What weights are in the plans.
    pub(crate) precision: Precision,
    pub(crate) plans: Vec<Plan>,
}

/// A model as a frontend hands it over. Of the description only the outputs are still to come.
pub(crate) struct Decoded {
    pub(crate) description: Description,
    pub(crate) outputs: Vec<Output>,
    /// Names of the outputs, and what the file says of them.
    pub(crate) declared: Vec<(String, Option<TensorDescription>)>,
    pub(crate) bound: Vec<usize>,
    pub(crate) growths: Vec<Growth>,
    pub(crate) source: Source,
}

/// What loading found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadCost {
    /// Multiply-accumulates of one inference, dynamic dimensions set to 1.
    pub macs: u64,
    /// Bytes of activations alive at the worst moment of it.
    pub peak_bytes: u64,
}

/// Inputs in a graph's order that fit its description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arranged {
    pub(crate) tensors: Vec<Tensor>,
    /// Those, by position, whose values are part of a plan.
    pub(crate) values: Vec<(usize, Tensor)>,
}

impl Arranged {
    /// The dimensions of each.
    pub fn shapes(&self) -> impl Iterator<Item = &Vec<u32>> + Clone {
        self.tensors.iter().map(|t| &t.dimensions)
    }

    /// The tensors.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &Tensor> {
        self.tensors.iter()
    }
}

/// What is known of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// It has given outputs.
    pub has_run: bool,
    /// Every tensor's shape follows from the input shapes, so that other values take the same work.
    pub fixed: bool,
    /// It was made for values of some inputs, so that others need another.
    pub bound: bool,
}

/// How a trial inference on zeros went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It gave outputs.
    Ran {
        /// The dimensions of each input.
        shapes: Vec<Vec<u32>>,
        /// As in [`Planned::fixed`].
        fixed: bool,
    },
    /// Zeros, or dimensions of 1, are not what this model takes; real inputs may well be.
    Refused(String),
}

impl Graph {
    /// Checks, decodes and plans an ONNX file, dynamic dimensions set to 1 for the first plan. A graph with inputs whose
    /// values are part of a plan is planned at first use, or for zeros where the file does not declare its outputs.
    ///
    /// # Errors
    /// Every [`ModelError`]. A model whose dynamic dimensions cannot be 1 still loads; it is planned at first use.
    pub fn load(bytes: Vec<u8>, limits: &Limits) -> Result<Graph, ModelError> {
        Self::from_checked(check(bytes, limits)?, limits)
    }

    /// [`Graph::load`] for a model of several files: the first is the model, the others hold its external data, in the order
    /// in which the model first names them.
    ///
    /// # Errors
    /// Also where the files are not as many as the model names, or too short for a tensor.
    pub fn load_files(mut files: Vec<Vec<u8>>, limits: &Limits) -> Result<Graph, ModelError> {
        let data = files.split_off(files.len().min(1));
        let model = files.pop().unwrap_or_default();
        Self::from_checked(check_files(model, data, limits)?, limits)
    }

    /// [`Graph::load_files`] for files of any encoding that is built in; `autodetect` goes by the first bytes, as
    /// [`encoding::check`] does.
    ///
    /// # Errors
    /// Also where the encoding is not served. The other encodings than ONNX are held to less before tract reads them: what
    /// it panics on is the caller's to contain.
    pub fn load_as(
        encoding: GraphEncoding,
        files: Vec<Vec<u8>>,
        limits: &Limits,
    ) -> Result<Graph, ModelError> {
        Self::load_with(encoding, files, Precision::F32, limits)
    }

    /// [`Graph::load_as`] with weights of another precision than the file's: in int8 and in int16 a product takes a third of
    /// the instructions, and its weights a quarter of the heap and half of it. Inputs, outputs and everything between products
    /// stay as they are.
    ///
    /// # Errors
    /// As [`Graph::load_as`].
    pub fn load_with(
        encoding: GraphEncoding,
        files: Vec<Vec<u8>>,
        precision: Precision,
        limits: &Limits,
    ) -> Result<Graph, ModelError> {
        Ok(Self::load_drawn(encoding, files, precision, limits)?.0)
    }

    /// [`Graph::load_with`] with what an image of the graph is written from, where it has a plan for the smallest shapes. Both
    /// share the weights, and the heap holds them for as long as either is there.
    ///
    /// # Errors
    /// As [`Graph::load_as`].
    pub fn load_drawn(
        encoding: GraphEncoding,
        files: Vec<Vec<u8>>,
        precision: Precision,
        limits: &Limits,
    ) -> Result<(Graph, Option<Drawing>), ModelError> {
        Self::load_streamed(encoding, files.into_iter().map(File::from).collect(), precision, limits)
    }

    /// [`Graph::load_drawn`] for files of which some need not be in the heap. Large matrices of f32 in those that products alone
    /// read stay where they are, in f32 whatever the precision, and are read when a run needs them; everything else is read now.
    ///
    /// # Errors
    /// As [`Graph::load_as`].
    pub fn load_streamed(
        encoding: GraphEncoding,
        files: Vec<File>,
        precision: Precision,
        limits: &Limits,
    ) -> Result<(Graph, Option<Drawing>), ModelError> {
        Self::from_decoded(Self::decoded(encoding, files, limits)?, precision, limits)
    }

    /// Brings a graph that was read from an image the model of its files, which planning for further shapes takes.
    ///
    /// Costs what loading does before it plans.
    ///
    /// # Errors
    /// As [`Graph::load_as`], and where the files are of another graph.
    pub fn bring(
        &mut self,
        encoding: GraphEncoding,
        files: Vec<File>,
        limits: &Limits,
    ) -> Result<(), ModelError> {
        let decoded = Self::decoded(encoding, files, limits)?;
        if decoded.description.inputs != self.description.inputs {
            return Err(ModelError::Engine("the file is of another graph than the image".into()));
        }
        self.source = Kept::Model(decoded.source);
        Ok(())
    }

    /// Whether these shapes are planned for by the model in the graph's file, which is to be brought first ([`Graph::bring`]).
    pub fn lacks_model<'a>(&self, shapes: impl Iterator<Item = &'a Vec<u32>> + Clone) -> bool {
        // Only graphs whose plans are of no values have images.
        matches!(self.source, Kept::File) && !self.plans.iter().any(|plan| shapes.clone().eq(&plan.shapes))
    }

    pub(crate) fn decoded(
        encoding: GraphEncoding,
        mut files: Vec<File>,
        limits: &Limits,
    ) -> Result<Decoded, ModelError> {
        let data = files.split_off(files.len().min(1));
        let model = files.pop().and_then(File::into_vec).unwrap_or_default();
        let format = encoding::format(encoding, &model).map_err(|e| ModelError::Unsupported {
            place: format!("encoding `{}`", encoding::label(encoding)),
            reason: e.data,
        })?;
        if format == Format::Onnx {
            return Self::from_proto(check_parts(model, data, limits)?);
        }
        if !data.is_empty() {
            let reason = format!("it is one file, {} came", data.len() + 1);
            return Err(ModelError::Unreadable { what: format.name(), reason });
        }
        formats::read(format, model, limits)
    }

    /// [`Graph::load`] for a file that has passed [`check()`].
    pub fn from_checked(checked: Checked, limits: &Limits) -> Result<Graph, ModelError> {
        Ok(Self::from_decoded(Self::from_proto(checked)?, Precision::F32, limits)?.0)
    }

    fn from_proto(checked: Checked) -> Result<Decoded, ModelError> {
        let producer = checked.producer();
        let Checked {
            proto,
            inputs,
            declared_outputs,
            bfloats,
            operators,
            quantised_operators,
            parameters,
            weights,
            opset,
            away,
        } = checked;
        let outputs: Vec<Output> = declared_outputs
            .iter()
            .zip(bfloats)
            .map(|((name, _), bfloat)| Output { name: name.clone(), bfloat })
            .collect();
        let description = Description {
            inputs,
            outputs: vec![],
            operators,
            quantised_operators,
            parameters,
            weights,
            opset,
            producer,
        };
        let bound = proto.graph.as_ref().map_or(vec![], |graph| bound::bound(graph, &description.inputs));
        let growths = proto.graph.as_ref().map_or(vec![], |graph| bound::growths(graph, &description.inputs));
        let source = Source::Inferred(decode(proto, &description, &away)?);
        Ok(Decoded { description, outputs, declared: declared_outputs, bound, growths, source })
    }

    /// Describes the outputs and makes the first plan.
    fn from_decoded(
        decoded: Decoded,
        precision: Precision,
        limits: &Limits,
    ) -> Result<(Graph, Option<Drawing>), ModelError> {
        let Decoded { mut description, outputs, declared: declared_outputs, bound, growths, source } =
            decoded;
        let smallest: Vec<Vec<u32>> = description.inputs.iter().map(|i| i.smallest()).collect();
        let declared: Option<Vec<_>> = declared_outputs.iter().map(|(_, d)| d.clone()).collect();
        let fixed = description.is_static() && bound.is_empty();
        let kept = if fixed { Kept::Nothing } else { Kept::Model(source.clone()) };
        if let (Some(declared), false) = (&declared, bound.is_empty()) {
            description.outputs.clone_from(declared);
            return Ok((Self::made(description, outputs, (bound, growths), kept, precision, None), None));
        }
        let zeros = bound.iter().filter_map(|ix| Some((*ix, description.inputs.get(*ix)?.zeros())));
        let values: Vec<_> = zeros.collect();
        let made =
            Plan::lowered(source, &smallest, &values, precision, Passes::ALL).and_then(|(model, macs)| {
                let plan = Plan::of_lowered(model.clone(), smallest.clone(), values, macs, limits)?;
                let planned = plan.outputs(&outputs)?;
                Ok((plan, planned, model, macs))
            });
        let (plan, model, macs) = match (made, declared) {
            (Err(e), None) => return Err(e),
            (Err(e), Some(_)) if fixed => return Err(e),
            (Err(_), Some(declared)) => {
                description.outputs = declared;
                return Ok((Self::made(description, outputs, (bound, growths), kept, precision, None), None));
            }
            (Ok((plan, planned, model, macs)), _) => {
                description.outputs = if fixed { planned } else { undecided(planned, &declared_outputs) };
                (plan, model, macs)
            }
        };
        let drawing = (bound.is_empty() && growths.is_empty()).then(|| Drawing {
            model,
            description: description.clone(),
            outputs: outputs.iter().map(|o| (o.name.clone(), o.bfloat)).collect(),
            shapes: smallest,
            precision,
            macs,
        });
        Ok((Self::made(description, outputs, (bound, growths), kept, precision, Some(plan)), drawing))
    }

    fn made(
        description: Description,
        outputs: Vec<Output>,
        (bound, growths): (Vec<usize>, Vec<Growth>),
        source: Kept,
        precision: Precision,
        plan: Option<Plan>,
    ) -> Graph {
        let plans = plan.into_iter().collect();
        Graph { description, outputs, bound, growths, source, precision, plans }
    }

    /// A graph that was read from an image, and its plan.
    pub(crate) fn of_plan(
        description: Description,
        outputs: Vec<Output>,
        precision: Precision,
        plan: Plan,
    ) -> Graph {
        let kept = if description.is_static() { Kept::Nothing } else { Kept::File };
        Self::made(description, outputs, (vec![], vec![]), kept, precision, Some(plan))
    }

    /// Inputs, outputs, operators.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// What one inference at the smallest shapes takes; `None` where they could not be planned.
    pub fn load_cost(&self) -> Option<LoadCost> {
        self.plans.first().map(|p| LoadCost { macs: p.macs, peak_bytes: p.peak_bytes })
    }

    /// Puts tensors in the graph's order and holds each to the description: name, type, rank, dimensions, symbols, byte
    /// length, values of BOOL. Nothing runs.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn arrange(&self, inputs: Vec<NamedTensor>, limits: &Limits) -> Result<Arranged, InferError> {
        let tensors = tensors::arrange(&self.description.inputs, inputs)?;
        let values = self.values(&tensors, limits)?;
        Ok(Arranged { tensors, values })
    }

    /// What is known of running on these shapes; `None` where they are not planned.
    pub fn planned(&self, inputs: &Arranged) -> Option<Planned> {
        let plan = self.plans.iter().find(|p| p.is_for(inputs))?;
        Some(Planned { has_run: plan.has_run, fixed: plan.core.fixed, bound: !plan.values.is_empty() })
    }

    /// Runs once on zeros, dynamic dimensions set to 1, to see that the engine gets through.
    pub fn trial(&mut self, limits: &Limits) -> Trial {
        let mut run = match self.begin_trial(limits) {
            Ok(run) => run,
            Err(refused) => return refused,
        };
        let outcome = run.advance(&mut |_| true, &mut |_| ());
        self.finish_trial(run, outcome.map(drop))
    }

    /// A run on zeros, dynamic dimensions set to 1: to be advanced, then to be given to [`Graph::finish_trial`].
    ///
    /// # Errors
    /// [`Trial::Refused`] where zeros are not what this model takes.
    pub fn begin_trial(&mut self, limits: &Limits) -> Result<Run, Trial> {
        if !self.bound.is_empty() {
            // A step of 0, a shape of no axes: zeros say nothing about such a graph, and tract panics on some of them.
            let names = self
                .bound
                .iter()
                .filter_map(|ix| Some(format!("`{}`", self.description.inputs.get(*ix)?.name)));
            let names = names.collect::<Vec<_>>().join(", ");
            return Err(Trial::Refused(format!(
                "it is planned for values of {names}, of which zeros are none"
            )));
        }
        let zeros = self.description.inputs.iter().map(|i| (i.name.clone(), i.zeros()));
        let begun = self.arrange(zeros.collect(), limits).and_then(|inputs| self.begin(&inputs, limits));
        begun.map_err(|e| Trial::Refused(e.to_string()))
    }

    /// What a trial came to that gave outputs or failed.
    pub fn finish_trial(&mut self, run: Run, outcome: Result<(), InferError>) -> Trial {
        match outcome {
            Ok(()) => {
                let (shapes, fixed) = (run.shapes.clone(), run.is_fixed());
                self.finish(run);
                Trial::Ran { shapes, fixed }
            }
            Err(e) => Trial::Refused(e.to_string()),
        }
    }

    /// Runs the graph. Outputs come in the graph's order.
    ///
    /// # Errors
    /// [`InferError::Input`] where a tensor does not fit the description; nothing has run then.
    pub fn infer(
        &mut self,
        inputs: Vec<NamedTensor>,
        limits: &Limits,
    ) -> Result<Vec<NamedTensor>, InferError> {
        let inputs = self.arrange(inputs, limits)?;
        self.run(&inputs, limits)
    }

    /// The inputs that are part of a plan, small as they have to be, and not asking for more than there is.
    fn values(&self, inputs: &[Tensor], limits: &Limits) -> Result<Vec<(usize, Tensor)>, InferError> {
        for growth in &self.growths {
            admit("what the inputs ask for", growth.elements(inputs), limits)?;
        }
        let mut values = vec![];
        for ix in &self.bound {
            let (Some(tensor), Some(input)) = (inputs.get(*ix), self.description.inputs.get(*ix)) else {
                continue;
            };
            let elements = tensor.elements().unwrap_or(u64::MAX);
            if elements > bound::MOST_ELEMENTS {
                return Err(InferError::Input(InputError::Planned {
                    name: input.name.clone(),
                    most: bound::MOST_ELEMENTS,
                    got: elements,
                }));
            }
            values.push((*ix, tensor.clone()));
        }
        Ok(values)
    }

    /// Plans the graph for the shapes of `inputs`, unless it is: about the cost of loading it.
    ///
    /// # Errors
    /// Where the graph does not take these shapes, or running them would not fit memory.
    pub fn plan(&mut self, inputs: &Arranged, limits: &Limits) -> Result<(), ModelError> {
        if let Some(at) = self.plans.iter().position(|p| p.is_for(inputs)) {
            // The plans are kept in order of use, the last used at the end.
            self.plans[at..].rotate_left(1);
            return Ok(());
        }
        let shapes = inputs.shapes().cloned().collect();
        let plan = Plan::new(self.model()?.clone(), shapes, inputs.values.clone(), self.precision, limits)?;
        self.keep(plan);
        Ok(())
    }

    /// What plans are made from.
    pub(crate) fn model(&self) -> Result<&Source, ModelError> {
        let missing = match &self.source {
            Kept::Model(source) => return Ok(source),
            Kept::Nothing => "a graph of fixed shapes was asked for others",
            Kept::File => "the graph's model was not brought",
        };
        Err(ModelError::Engine(missing.into()))
    }

    /// Keeps a plan in the place of the one used longest ago.
    pub(crate) fn keep(&mut self, plan: Plan) {
        if self.plans.len() == MAX_PLANS {
            self.plans.remove(0);
        }
        self.plans.push(plan);
    }

    /// Runs the graph on tensors that it has arranged, planning it for their shapes first where that is to be done.
    ///
    /// # Errors
    /// What the engine fails at, and values that would lead out of a tensor.
    pub fn run(&mut self, inputs: &Arranged, limits: &Limits) -> Result<Vec<NamedTensor>, InferError> {
        let mut run = self.begin(inputs, limits)?;
        let outputs = run.advance(&mut |_| true, &mut |_| ())?;
        self.finish(run);
        outputs.ok_or_else(|| InferError::Engine("the run stopped".into()))
    }

    /// A run on tensors that the graph has arranged, planned for their shapes first where that is to be done: to be advanced until it
    /// has outputs, then to be given to [`Graph::finish`]. It shares the graph's weights and nothing else with other runs.
    ///
    /// # Errors
    /// As [`Graph::plan`].
    pub fn begin(&mut self, inputs: &Arranged, limits: &Limits) -> Result<Run, InferError> {
        self.plan(inputs, limits)?;
        let plan = self.plans.last().ok_or_else(|| InferError::Engine("the plan is gone".into()))?;
        plan.begin(&self.outputs, &inputs.tensors, limits)
    }

    /// Learns from a run that gave outputs: that its shapes can be run, and where what it allocates is to lie. One whose plan is gone
    /// by now teaches nothing.
    pub fn finish(&mut self, run: Run) {
        if let Some(plan) = self.plans.iter_mut().find(|p| p.shapes == run.shapes && p.values == run.values) {
            plan.finish(run);
        }
    }
}

impl Graph {
    /// Bytes of weights that an inference reads which are not in the heap, of the plan that has most of them; 0 where all are.
    pub fn streamed_bytes(&self) -> u64 {
        let of = |plan: &Plan| {
            lowered(plan.core.runnable.model()).into_iter().map(Lowered::far_bytes).sum::<u64>()
        };
        self.plans.iter().map(of).max().unwrap_or(0)
    }

    /// What the cache has of those.
    pub fn cached_bytes(&self) -> u64 {
        let mut streams = vec![];
        for plan in &self.plans {
            lowered(plan.core.runnable.model()).into_iter().for_each(|node| node.streams(&mut streams));
        }
        streams.iter().map(|stream| stream.cached_bytes()).sum()
    }

    /// Heap that the places of what its runs allocate are written down in.
    pub fn layout_bytes(&self) -> u64 {
        self.plans.iter().filter_map(|plan| plan.layout.as_ref()).map(|layout| layout.heap_bytes()).sum()
    }

    /// Bytes of the block that what a run on these inputs allocates lies in, and of what is alive in it at the worst moment, which no
    /// block is smaller than. `None` before the first run, where lengths depend on values, and where the program's allocator
    /// is not [`ic_nn_arena::Arena`].
    pub fn arena(&self, inputs: &Arranged) -> Option<(u64, u64)> {
        let layout = self.plans.iter().find(|p| p.is_for(inputs))?.layout.as_ref()?;
        (layout.bytes() > 0).then(|| (layout.bytes() as u64, layout.alive() as u64))
    }
}

/// Outputs of a plan whose lengths may be others the next time: those that the file declares, else any.
fn undecided(
    mut planned: Vec<TensorDescription>,
    declared: &[(String, Option<TensorDescription>)],
) -> Vec<TensorDescription> {
    for (output, (_, declared)) in planned.iter_mut().zip(declared) {
        match declared {
            Some(d) if d.dimensions.len() == output.dimensions.len() => {
                output.dimensions.clone_from(&d.dimensions);
                output.symbols.clone_from(&d.symbols);
            }
            _ => output.dimensions.iter_mut().for_each(|d| *d = None),
        }
    }
    planned
}

fn decode(
    mut proto: ModelProto,
    description: &Description,
    away: &[Away],
) -> Result<InferenceModel, ModelError> {
    let engine = |e: TractError| refused_or(&e);
    if let Some(graph) = proto.graph.as_mut() {
        pairs::fuse(graph);
    }
    // What exporters write about intermediate values contradicts the graph often enough, and is never needed.
    let onnx = tract_onnx::Onnx {
        op_register: ops::register_of_decoded(),
        ignore_value_info: true,
        ..Default::default()
    };
    let mut model = onnx.model_for_proto_model(&proto).map_err(engine)?;
    drop(proto);
    streamed::put(&mut model, away).map_err(engine)?;
    let names: Vec<&str> = description.inputs.iter().map(|i| i.name.as_str()).collect();
    model.select_inputs_by_name(names).map_err(engine)?;
    Ok(model)
}
