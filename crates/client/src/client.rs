//! One method per method of the service, typed as `candid/ic_nn.did` has them.

use candid::utils::{ArgumentDecoder, ArgumentEncoder};
use candid::{CandidType, Principal};
use ic_nn_types::{
    ChunkRequest, Error, Graph, GraphDescription, InferRequest, InferResponse, ListPage, ListRequest,
    ModelSummary, ModelVersion, ServerMetadata, UploadSpec, UploadStatus,
};

use crate::{CallError, ClientError, Transport};

/// A caller of the service.
pub struct Client<T> {
    transport: T,
}

impl<T: Transport> Client<T> {
    /// A client that calls over `transport`.
    pub fn new(transport: T) -> Self {
        Client { transport }
    }

    /// What the calls go over.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// Opens an upload, or finds the one that is open with the same spec.
    pub fn upload_begin(&self, spec: &UploadSpec) -> Result<UploadStatus, ClientError> {
        self.update("upload_begin", (spec,))
    }

    /// Sends one chunk; repeating it is harmless.
    pub fn upload_chunk(&self, chunk: &ChunkRequest) -> Result<UploadStatus, ClientError> {
        self.update("upload_chunk", (chunk,))
    }

    /// Asks where an upload stands.
    pub fn upload_status(&self, upload: u64) -> Result<UploadStatus, ClientError> {
        self.query("upload_status", (upload,))
    }

    /// Verifies, tries and publishes a complete upload.
    pub fn upload_commit(&self, upload: u64) -> Result<ModelVersion, ClientError> {
        self.update("upload_commit", (upload,))
    }

    /// Throws an open upload away.
    pub fn upload_abort(&self, upload: u64) -> Result<(), ClientError> {
        self.update("upload_abort", (upload,))
    }

    /// One page of the registry.
    pub fn list(&self, request: &ListRequest) -> Result<ListPage, ClientError> {
        self.query("list", (request,))
    }

    /// The whole registry, page by page.
    pub fn list_all(&self) -> Result<Vec<ModelSummary>, ClientError> {
        let mut models = Vec::new();
        let mut after = None;
        loop {
            let mut page = self.list(&ListRequest { after: after.take(), limit: None })?;
            let empty = page.models.is_empty();
            models.append(&mut page.models);
            match page.next {
                Some(next) if !empty => after = Some(next),
                _ => return Ok(models),
            }
        }
    }

    /// What a model is: `"name"` or `"name:version"`.
    pub fn describe(&self, model: &str) -> Result<GraphDescription, ClientError> {
        self.query("describe", (model,))
    }

    /// Deletes a version, or every version of a name; answers how many.
    pub fn delete(&self, model: &str) -> Result<u32, ClientError> {
        self.update("delete", (model,))
    }

    /// Loads a model's graph into the heap, or finds it there.
    pub fn load_by_name(&self, model: &str) -> Result<Graph, ClientError> {
        self.update("load_by_name", (model,))
    }

    /// Drops a graph from the heap.
    pub fn unload(&self, graph: Graph) -> Result<(), ClientError> {
        self.update("unload", (graph,))
    }

    /// One inference as an update: certified, up to 40 B instructions, costs cycles.
    pub fn infer(&self, request: &InferRequest) -> Result<InferResponse, ClientError> {
        self.update("infer", (request,))
    }

    /// One inference as a query: answered by one node, up to 5 B instructions, free.
    pub fn infer_query(&self, request: &InferRequest) -> Result<InferResponse, ClientError> {
        self.query("infer_query", (request,))
    }

    /// What the server is, its limits and its memory.
    pub fn server_metadata(&self) -> Result<ServerMetadata, ClientError> {
        let method = "server_metadata";
        let (metadata,) = decode(method, self.transport.query(method, &encode(method, ())?))?;
        Ok(metadata)
    }

    /// Lets `principal` change the registry. Controllers only.
    pub fn add_admin(&self, principal: Principal) -> Result<(), ClientError> {
        self.update("add_admin", (principal,))
    }

    /// Takes that permission back. Controllers only.
    pub fn remove_admin(&self, principal: Principal) -> Result<(), ClientError> {
        self.update("remove_admin", (principal,))
    }

    /// Who may change the registry besides the controllers.
    pub fn list_admins(&self) -> Result<Vec<Principal>, ClientError> {
        let method = "list_admins";
        let (admins,) = decode(method, self.transport.query(method, &encode(method, ())?))?;
        Ok(admins)
    }

    fn update<R>(&self, method: &'static str, args: impl ArgumentEncoder) -> Result<R, ClientError>
    where
        R: CandidType + for<'a> serde::Deserialize<'a>,
    {
        fallible(method, self.transport.update(method, &encode(method, args)?))
    }

    fn query<R>(&self, method: &'static str, args: impl ArgumentEncoder) -> Result<R, ClientError>
    where
        R: CandidType + for<'a> serde::Deserialize<'a>,
    {
        fallible(method, self.transport.query(method, &encode(method, args)?))
    }
}

fn encode(method: &'static str, args: impl ArgumentEncoder) -> Result<Vec<u8>, ClientError> {
    candid::encode_args(args).map_err(|e| ClientError::Decode { method, message: e.to_string() })
}

fn decode<R>(method: &'static str, reply: Result<Vec<u8>, CallError>) -> Result<R, ClientError>
where
    R: for<'a> ArgumentDecoder<'a>,
{
    let reply = reply.map_err(|error| ClientError::Call { method, error })?;
    candid::decode_args(&reply).map_err(|e| ClientError::Decode { method, message: e.to_string() })
}

/// A reply of type `variant { Ok; Err : error }`.
fn fallible<R>(method: &'static str, reply: Result<Vec<u8>, CallError>) -> Result<R, ClientError>
where
    R: CandidType + for<'a> serde::Deserialize<'a>,
{
    let (result,): (Result<R, Error>,) = decode(method, reply)?;
    result.map_err(|error| ClientError::Service { method, error })
}
