//! Inferences whose tensors no message holds: in parts, by an execution context that is closed again.

use ic_nn_types::{ComputeOptions, Context, ErrorCode, Graph, InferRequest, InferResponse, NamedTensor};

use super::contexts::{PART_BYTES, whole};
use crate::{Client, ClientError, Transport};

/// What a canister says of outputs that its reply does not hold.
const REPLY: &str = "a reply here holds";

/// Whether one call holds the inputs of a request.
pub fn fits_a_call(request: &InferRequest) -> bool {
    let bytes =
        |(name, tensor): &NamedTensor| name.len() + tensor.data.len() + 5 * tensor.dimensions.len() + 32;
    request.inputs.iter().map(bytes).sum::<usize>() <= PART_BYTES
}

impl<T: Transport> Client<T> {
    /// One inference as an update, on tensors of any size: by [`Client::infer`] where a call holds the inputs and a reply the outputs, else in
    /// parts, which takes a handle and a context for as long as it lasts. Outputs that turn out not to fit are computed a second time.
    ///
    /// # Errors
    /// As [`Client::infer`]; and where a receipt is asked for, which is of one call, what did not fit it.
    pub fn infer_whole(&self, request: &InferRequest) -> Result<InferResponse, ClientError> {
        let receipt = request.parameters.is_some_and(|parameters| parameters.receipt == Some(true));
        if receipt || fits_a_call(request) {
            match self.infer(request) {
                Err(ClientError::Service { error, .. })
                    if !receipt && error.code == ErrorCode::TooLarge && error.data.contains(REPLY) => {}
                answer => return answer,
            }
        }
        let graph = self.load_by_name(&request.model)?;
        let answer = self.infer_on(graph, request);
        let unloaded = self.unload(graph);
        let answer = answer?;
        unloaded?;
        Ok(answer)
    }

    fn infer_on(&self, graph: Graph, request: &InferRequest) -> Result<InferResponse, ClientError> {
        let context = self.init_execution_context(graph)?;
        let answer = self.infer_by(graph, context, request);
        let closed = self.finalize_execution_context(context);
        let answer = answer?;
        closed?;
        Ok(answer)
    }

    fn infer_by(
        &self,
        graph: Graph,
        context: Context,
        request: &InferRequest,
    ) -> Result<InferResponse, ClientError> {
        let description = self.describe_graph(graph)?;
        for (name, tensor) in &request.inputs {
            self.set_whole_input(context, name, tensor)?;
        }
        let slice_instructions = request.parameters.and_then(|parameters| parameters.slice_instructions);
        let options = ComputeOptions { outputs: Some(vec![]), slice_instructions };
        self.compute(context, &[], Some(&options))?;
        let names = request.outputs.clone();
        let names = names.unwrap_or_else(|| description.outputs.iter().map(|o| o.name.clone()).collect());
        let (mut outputs, mut instructions) = (vec![], 0);
        for name in names {
            let tensor = whole(&name, |range| {
                let part = self.get_output(context, &name, Some(range))?;
                instructions = part.instructions.unwrap_or(instructions);
                Ok(part)
            })?;
            outputs.push((name, tensor));
        }
        Ok(InferResponse {
            outputs,
            version: description.version,
            instructions,
            load_instructions: 0,
            plan_instructions: 0,
            cached: false,
            receipt: None,
        })
    }
}
