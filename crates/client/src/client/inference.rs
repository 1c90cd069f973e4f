//! Inference in one call, and receipts.

use ic_nn_types::{
    EstimateRequest, EstimateResponse, InferRequest, InferResponse, ProfileResponse, QuantizationReport,
    Verdict, VerifyRequest,
};

use crate::{Client, ClientError, Transport};

impl<T: Transport> Client<T> {
    /// One inference as an update: certified, up to 40 B instructions, costs cycles.
    pub fn infer(&self, request: &InferRequest) -> Result<InferResponse, ClientError> {
        self.update("infer", (request,))
    }

    /// One inference as a query: answered by one node, up to 5 B instructions, free.
    pub fn infer_query(&self, request: &InferRequest) -> Result<InferResponse, ClientError> {
        self.query("infer_query", (request,))
    }

    /// What an inference would take, as a query.
    pub fn estimate(&self, request: &EstimateRequest) -> Result<EstimateResponse, ClientError> {
        self.query("estimate", (request,))
    }

    /// Infers as an update, and answers what each node took.
    pub fn profile(&self, request: &InferRequest) -> Result<ProfileResponse, ClientError> {
        self.update("profile", (request,))
    }

    /// Infers with the file's own weights and with quantised ones, and answers how far apart the outputs are. `quantize` is a value of
    /// the property of that name; without it, what is set, or `int8`.
    pub fn quantization_error(
        &self,
        request: &InferRequest,
        quantize: Option<&str>,
    ) -> Result<QuantizationReport, ClientError> {
        self.update("quantization_error", (request, quantize))
    }

    /// Holds a receipt to inputs and outputs, which without outputs are computed again.
    pub fn verify_receipt(&self, request: &VerifyRequest) -> Result<Verdict, ClientError> {
        self.update("verify_receipt", (request,))
    }
}
