//! Asking a graph what shapes take, without tensors and without running.

use ic_nn_types::{NamedShape, Tensor, TensorType};

use crate::check::admit;
use crate::plan::Plan;
use crate::{Estimate, Graph, InferError, InputError, Limits, NodeCost, tensors};

impl Graph {
    /// Dimensions in the graph's order, each held to the description as [`Graph::arrange`] holds tensors to it: name, rank,
    /// dimensions, symbols. Inputs that are not named have their smallest: 1 where a dimension is dynamic, or what an input
    /// that is named says of its symbol.
    ///
    /// # Errors
    /// The first thing that does not fit, and inputs that would not fit memory.
    pub fn shapes(&self, named: Vec<NamedShape>, limits: &Limits) -> Result<Vec<Vec<u32>>, InferError> {
        let shapes = tensors::arrange_shapes(self.description(), named)?;
        let mut bytes = 0u64;
        for (input, dimensions) in self.description().inputs.iter().zip(&shapes) {
            let tensor = Tensor { dimensions: dimensions.clone(), ty: input.ty, data: vec![] };
            bytes = bytes.saturating_add(tensor.expected_bytes().unwrap_or(u64::MAX));
        }
        admit("the inputs", bytes, limits)?;
        Ok(shapes)
    }

    /// What an inference on these shapes takes; `None` where they are not planned. Of a graph with inputs whose values are part
    /// of a plan it is that of the values that were planned last.
    pub fn estimate(&self, shapes: &[Vec<u32>]) -> Option<Estimate> {
        let plan = self.plans.iter().rev().find(|plan| plan.shapes == shapes)?;
        Some(Estimate { at_least: plan.estimate().at_least || !plan.values.is_empty(), ..plan.estimate() })
    }

    /// The nodes of an inference on these shapes in the order in which they run, each with its estimate; `None` where they are
    /// not planned.
    pub fn nodes(&self, shapes: &[Vec<u32>]) -> Option<Vec<NodeCost>> {
        Some(self.plans.iter().rev().find(|plan| plan.shapes == shapes)?.nodes())
    }

    /// Types and dimensions of the outputs of an inference on these shapes; lengths that values decide are 1. Empty where they are
    /// not planned.
    pub fn outputs(&self, shapes: &[Vec<u32>]) -> Vec<(TensorType, Vec<u32>)> {
        let plan = self.plans.iter().rev().find(|plan| plan.shapes == shapes);
        let outputs = plan.and_then(|plan| plan.outputs(&self.outputs).ok()).unwrap_or_default();
        let lengths = |dimensions: Vec<Option<u32>>| dimensions.into_iter().map(|d| d.unwrap_or(1)).collect();
        outputs.into_iter().map(|output| (output.ty, lengths(output.dimensions))).collect()
    }

    /// Plans the graph for shapes that [`Graph::shapes`] gave, unless it is: about the cost of loading it. Nothing runs.
    ///
    /// # Errors
    /// As [`Graph::plan`], and where values of inputs are part of a plan, which shapes do not say.
    pub fn plan_shapes(&mut self, shapes: &[Vec<u32>], limits: &Limits) -> Result<(), InferError> {
        if self.estimate(shapes).is_some() {
            return Ok(());
        }
        if let Some(input) = self.bound.first().and_then(|ix| self.description().inputs.get(*ix)) {
            return Err(InferError::Input(InputError::Unplanned { name: input.name.clone() }));
        }
        let model = self.model().map_err(InferError::Model)?.clone();
        let plan = Plan::new(model, shapes.to_vec(), vec![], self.precision, limits)?;
        self.keep(plan);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelError;

    fn digits() -> Graph {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/digits.onnx");
        let model = std::fs::read(path).expect("the model is in the repository");
        Graph::load(model, &Limits::default()).expect("it loads")
    }

    #[test]
    fn shapes_are_put_in_order_and_held_to_the_description() {
        let (graph, limits) = (digits(), Limits::default());
        let shapes = |named: &[(&str, &[u32])]| {
            let named = named.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect();
            graph.shapes(named, &limits)
        };
        assert_eq!(shapes(&[]), Ok(vec![vec![1, 1, 8, 8]]));
        assert_eq!(shapes(&[("image", &[5, 1, 8, 8])]), Ok(vec![vec![5, 1, 8, 8]]));
        assert!(matches!(shapes(&[("image", &[5, 1, 8])]), Err(InferError::Input(InputError::Rank { .. }))));
        assert!(matches!(shapes(&[("x", &[])]), Err(InferError::Input(InputError::Unknown { .. }))));
        assert!(matches!(
            shapes(&[("image", &[u32::MAX, 1, 8, 8])]),
            Err(InferError::Model(ModelError::TooLarge { .. }))
        ));
    }

    #[test]
    fn an_estimate_is_that_of_its_nodes_and_grows_with_the_batch() {
        let (mut graph, limits) = (digits(), Limits::default());
        let one = graph.estimate(&[vec![1, 1, 8, 8]]).expect("it is planned");
        let ten = vec![vec![10, 1, 8, 8]];
        assert_eq!(graph.estimate(&ten), None);
        graph.plan_shapes(&ten, &limits).expect("it plans");
        let many = graph.estimate(&ten).expect("it is planned");
        let nodes = graph.nodes(&ten).expect("it is planned");
        assert_eq!(many.instructions, nodes.iter().map(|node| node.estimate).sum::<u64>());
        assert_eq!(many.macs, 10 * one.macs);
        assert!(!many.at_least && many.general_nodes == 0, "{many:?}");
        assert!(
            (5 * one.instructions..10 * one.instructions).contains(&many.instructions),
            "{many:?}, {one:?}"
        );
        assert_eq!(graph.outputs(&ten).first().map(|(_, shape)| shape.first().copied()), Some(Some(10)));
    }
}
