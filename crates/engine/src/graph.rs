//! A graph that can be asked: its description, its plans by input shape, inference.

use ic_nn_types::NamedTensor;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::InferenceModel;

use crate::error::one_line;
use crate::plan::Plan;
use crate::{Checked, Description, InferError, Limits, ModelError, check, operators, recurrent, tensors};

/// Plans kept for a graph with dynamic dimensions: the newest shapes a caller uses, each with its own packed weights.
const MAX_PLANS: usize = 4;

/// A decoded graph and its plans.
///
/// A graph of fixed shapes holds one plan and forgets what it was made from; one with dynamic dimensions keeps the
/// decoded model and plans each new set of shapes, which costs about as much as loading does.
pub struct Graph {
    description: Description,
    output_names: Vec<String>,
    source: Option<InferenceModel>,
    plans: Vec<Plan>,
}

/// What loading found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadCost {
    /// Multiply-accumulates of one inference, dynamic dimensions set to 1.
    pub macs: u64,
    /// Bytes of activations alive at the worst moment of it.
    pub peak_bytes: u64,
}

/// How a trial inference on zeros went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It gave outputs.
    Ran,
    /// Zeros, or dimensions of 1, are not what this model takes; real inputs may well be.
    Refused(String),
}

impl Graph {
    /// Checks, decodes and plans an ONNX file, dynamic dimensions set to 1 for the first plan.
    ///
    /// # Errors
    /// Every [`ModelError`]. A model whose dynamic dimensions cannot be 1 still loads; it is planned at first use.
    pub fn load(bytes: Vec<u8>, limits: &Limits) -> Result<Graph, ModelError> {
        Self::from_checked(check(bytes, limits)?, limits)
    }

    /// [`Graph::load`] for a file that has passed [`check()`].
    pub fn from_checked(checked: Checked, limits: &Limits) -> Result<Graph, ModelError> {
        let producer = checked.producer();
        let Checked { proto, inputs, declared_outputs, operators, parameters, opset } = checked;
        let output_names: Vec<String> = declared_outputs.iter().map(|(name, _)| name.clone()).collect();
        let mut description = Description { inputs, outputs: vec![], operators, parameters, opset, producer };
        let source = decode(proto, &description)?;
        let smallest = description.inputs.iter().map(|i| i.smallest()).collect();
        let (plan, source) = if description.is_static() {
            (Ok(Plan::new(source, smallest, limits)?), None)
        } else {
            (Plan::new(source.clone(), smallest, limits), Some(source))
        };
        description.outputs = match (&plan, description.is_static()) {
            (Ok(plan), true) => plan.outputs(&output_names)?,
            (Ok(plan), false) => {
                let mut planned = plan.outputs(&output_names)?;
                for (output, (_, declared)) in planned.iter_mut().zip(&declared_outputs) {
                    match declared {
                        Some(d) if d.dimensions.len() == output.dimensions.len() => {
                            output.dimensions.clone_from(&d.dimensions)
                        }
                        _ => output.dimensions.iter_mut().for_each(|d| *d = None),
                    }
                }
                planned
            }
            (Err(e), _) => {
                let declared: Option<Vec<_>> = declared_outputs.into_iter().map(|(_, d)| d).collect();
                declared.ok_or_else(|| e.clone())?
            }
        };
        Ok(Graph { description, output_names, source, plans: plan.into_iter().collect() })
    }

    /// Inputs, outputs, operators.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// What one inference at the smallest shapes takes; `None` where they could not be planned.
    pub fn load_cost(&self) -> Option<LoadCost> {
        self.plans.first().map(|p| LoadCost { macs: p.macs, peak_bytes: p.peak_bytes })
    }

    /// Whether the graph has given outputs for inputs of these shapes, so that only their values are new to it.
    pub fn has_run(&self, inputs: &[NamedTensor]) -> bool {
        let shape = |name: &str| inputs.iter().find(|(n, _)| n == name).map(|(_, t)| &t.dimensions);
        let names = || self.description.inputs.iter().map(|i| i.name.as_str());
        self.plans.iter().any(|p| p.has_run && names().map(shape).eq(p.shapes.iter().map(Some)))
    }

    /// Runs once on zeros, dynamic dimensions set to 1, to see that the engine gets through.
    pub fn trial(&mut self, limits: &Limits) -> Trial {
        let zeros = self.description.inputs.iter().map(|i| {
            let dimensions = i.smallest();
            let bytes = dimensions.iter().map(|&d| d as usize).product::<usize>() * i.ty.size();
            (i.name.clone(), ic_nn_types::Tensor { dimensions, ty: i.ty, data: vec![0; bytes] })
        });
        match self.infer(zeros.collect(), limits) {
            Ok(_) => Trial::Ran,
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
        let inputs = tensors::arrange(&self.description, inputs)?;
        let shapes: Vec<Vec<u32>> = inputs.iter().map(|t| t.dimensions.clone()).collect();
        let at = match self.plans.iter().position(|p| p.shapes == shapes) {
            Some(at) => at,
            None => self.plan(shapes, limits)?,
        };
        // The plans are kept in order of use, the last used at the end.
        self.plans[at..].rotate_left(1);
        let Some(plan) = self.plans.last_mut() else {
            return Err(InferError::Engine("the plan is gone".into()));
        };
        let outputs = plan.run(&self.output_names, &inputs, limits)?;
        plan.has_run = true;
        Ok(outputs)
    }

    fn plan(&mut self, shapes: Vec<Vec<u32>>, limits: &Limits) -> Result<usize, ModelError> {
        let Some(source) = &self.source else {
            return Err(ModelError::Engine("a graph of fixed shapes was asked for others".into()));
        };
        let plan = Plan::new(source.clone(), shapes, limits)?;
        if self.plans.len() == MAX_PLANS {
            self.plans.remove(0);
        }
        self.plans.push(plan);
        Ok(self.plans.len() - 1)
    }
}

fn decode(mut proto: ModelProto, description: &Description) -> Result<InferenceModel, ModelError> {
    let engine = |e: TractError| ModelError::Engine(one_line(&e));
    let mut onnx = operators::reader();
    // What exporters write about intermediate values contradicts the graph often enough, and is never needed.
    onnx.ignore_value_info = true;
    if let Some(graph) = &mut proto.graph {
        recurrent::prepare(graph);
    }
    let mut model = onnx.model_for_proto_model(&proto).map_err(engine)?;
    drop(proto);
    let names: Vec<&str> = description.inputs.iter().map(|i| i.name.as_str()).collect();
    model.select_inputs_by_name(names).map_err(engine)?;
    Ok(model)
}
