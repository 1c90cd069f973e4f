//! wasi-nn's graph-execution-context; and whole tensors, which go in parts where a message does not hold them.

use ic_nn_types::{
    ComputeOptions, Context, ContextOptions, Graph, NamedTensor, OutputPart, OutputRange, Tensor,
};

use crate::{Client, ClientError, Transport};

/// Bytes of a tensor that one `set_input` sends: a message holds 2,097,152 bytes, the rest is for its envelope, the names and
/// Candid's header. A multiple of every element's size.
pub(super) const PART_BYTES: usize = 29 * 65_536;

impl<T: Transport> Client<T> {
    /// Opens an execution context on a loaded graph, which stays open for a day without a call on it.
    pub fn init_execution_context(&self, graph: Graph) -> Result<Context, ClientError> {
        self.update("init_execution_context", (graph,))
    }

    /// Opens an execution context that stays open as `options` say.
    pub fn init_execution_context_with(
        &self,
        graph: Graph,
        options: &ContextOptions,
    ) -> Result<Context, ClientError> {
        self.update("init_execution_context", (graph, Some(options)))
    }

    /// Sets an input, or with an offset the bytes of it from there; `tensor.dimensions` are always those of the whole.
    pub fn set_input(
        &self,
        context: Context,
        name: &str,
        tensor: &Tensor,
        offset: Option<u64>,
    ) -> Result<(), ClientError> {
        self.update("set_input", (context, name, tensor, offset))
    }

    /// Sets an input of any size, in as many calls as it takes.
    pub fn set_whole_input(&self, context: Context, name: &str, tensor: &Tensor) -> Result<(), ClientError> {
        if tensor.data.len() <= PART_BYTES {
            return self.set_input(context, name, tensor, None);
        }
        let mut offset = 0;
        for bytes in tensor.data.chunks(PART_BYTES) {
            let part = Tensor { dimensions: tensor.dimensions.clone(), ty: tensor.ty, data: bytes.to_vec() };
            self.set_input(context, name, &part, Some(offset))?;
            offset += bytes.len() as u64;
        }
        Ok(())
    }

    /// Computes with what was set and what comes with the call, and answers the outputs that `options` ask for.
    pub fn compute(
        &self,
        context: Context,
        inputs: &[NamedTensor],
        options: Option<&ComputeOptions>,
    ) -> Result<Vec<NamedTensor>, ClientError> {
        self.update("compute", (context, inputs, options))
    }

    /// An output of the last computation, or a part of its bytes.
    pub fn get_output(
        &self,
        context: Context,
        name: &str,
        range: Option<OutputRange>,
    ) -> Result<OutputPart, ClientError> {
        self.query("get_output", (context, name, range))
    }

    /// An output of any size, in as many calls as it takes. Errors as well where the parts do not make one tensor, as when
    /// the context computed again meanwhile.
    pub fn fetch_output(&self, context: Context, name: &str) -> Result<Tensor, ClientError> {
        whole(name, |range| self.get_output(context, name, Some(range)))
    }

    /// Closes a context for good.
    pub fn finalize_execution_context(&self, context: Context) -> Result<(), ClientError> {
        self.update("finalize_execution_context", (context,))
    }
}

/// A whole tensor, of the parts that `part_of` answers.
pub(super) fn whole(
    name: &str,
    mut part_of: impl FnMut(OutputRange) -> Result<OutputPart, ClientError>,
) -> Result<Tensor, ClientError> {
    let mut from = |offset| part_of(OutputRange { offset: Some(offset), limit: None });
    let torn = |message: String| ClientError::Tensor { name: name.to_owned(), message };
    let first = from(0)?;
    let OutputPart { dimensions, ty, total_bytes, .. } = first;
    let mut tensor = Tensor { dimensions, ty, data: Vec::new() };
    if tensor.expected_bytes() != Some(total_bytes) {
        return Err(torn(format!("{total_bytes} bytes are no {ty} of {:?}", tensor.dimensions)));
    }
    let mut part = OutputPart { dimensions: tensor.dimensions.clone(), ..first };
    loop {
        let same = part.dimensions == tensor.dimensions && part.ty == ty && part.total_bytes == total_bytes;
        if !same {
            return Err(torn("it changed while it was fetched".to_owned()));
        }
        let held = tensor.data.len() as u64;
        if part.offset != held || part.data.len() as u64 > total_bytes - held {
            return Err(torn(format!(
                "{} bytes came from {}, those from {held} were asked for",
                part.data.len(),
                part.offset
            )));
        }
        tensor.data.append(&mut part.data);
        let held = tensor.data.len() as u64;
        if held == total_bytes {
            return Ok(tensor);
        }
        part = from(held)?;
        if part.data.is_empty() {
            return Err(torn(format!("it ends after {held} of {total_bytes} bytes")));
        }
    }
}
