//! The server: alive, ready, what it is, what it can, what its models have done.

use ic_nn_types::{
    Capabilities, HttpRequest, HttpResponse, MemoryStatus, ModelMetadata, ModelStatistics, ServerMetadata,
};

use crate::{Client, ClientError, Transport};

impl<T: Transport> Client<T> {
    /// Whether the canister answers at all.
    pub fn server_live(&self) -> Result<bool, ClientError> {
        self.told("server_live", ())
    }

    /// Whether every graph with a handle is in the heap and warm.
    pub fn server_ready(&self) -> Result<bool, ClientError> {
        self.told("server_ready", ())
    }

    /// What the server is, its limits and its memory.
    pub fn server_metadata(&self) -> Result<ServerMetadata, ClientError> {
        self.told("server_metadata", ())
    }

    /// Where every byte of its heap and its stable memory is.
    pub fn memory_status(&self) -> Result<MemoryStatus, ClientError> {
        self.query("memory_status", ())
    }

    /// Whether a model is served and, where a handle is open on it, in the heap and warm.
    pub fn model_ready(&self, model: &str) -> Result<bool, ClientError> {
        self.told("model_ready", (model,))
    }

    /// A model's versions, inputs and outputs, in the words of the Open Inference Protocol.
    pub fn model_metadata(&self, model: &str) -> Result<ModelMetadata, ClientError> {
        self.query("model_metadata", (model,))
    }

    /// What a version has done, counted in updates.
    pub fn model_statistics(&self, model: &str) -> Result<ModelStatistics, ClientError> {
        self.query("model_statistics", (model,))
    }

    /// What the server can: encodings, element types, targets, operators, limits, policies, price.
    pub fn capabilities(&self) -> Result<Capabilities, ClientError> {
        self.told("capabilities", ())
    }

    /// What the HTTP gateway would be answered.
    pub fn http_request(&self, request: &HttpRequest) -> Result<HttpResponse, ClientError> {
        self.told("http_request", (request,))
    }
}
