//! wasi-nn's graph: load, describe, properties, unload.

use ic_nn_types::{
    ExecutionTarget, Graph, GraphBuilder, GraphDescription, GraphEncoding, LoadOptions, Property,
};

use crate::{Client, ClientError, Transport};

impl<T: Transport> Client<T> {
    /// Loads a model from its bytes, all of which have to fit one message (2 MiB): the model's file first, then those of its
    /// external data. The graph has no name; it goes when it is unloaded.
    pub fn load(
        &self,
        builders: &[GraphBuilder],
        encoding: GraphEncoding,
        target: ExecutionTarget,
        options: Option<LoadOptions>,
    ) -> Result<Graph, ClientError> {
        self.update("load", (builders, encoding, target, options))
    }

    /// Loads a model's graph into the heap, or finds it there.
    pub fn load_by_name(&self, model: &str) -> Result<Graph, ClientError> {
        self.update("load_by_name", (model,))
    }

    /// What a loaded graph is.
    pub fn describe_graph(&self, graph: Graph) -> Result<GraphDescription, ClientError> {
        self.query("describe_graph", (graph,))
    }

    /// A loaded graph's properties, those that are not set among them.
    pub fn list_properties(&self, graph: Graph) -> Result<Vec<Property>, ClientError> {
        self.query("list_properties", (graph,))
    }

    /// A property's value; `None` where it is not set or there is none of that name.
    pub fn get_property(&self, graph: Graph, name: &str) -> Result<Option<String>, ClientError> {
        self.query("get_property", (graph, name))
    }

    /// Sets a property, or with `None` unsets it.
    pub fn set_property(&self, graph: Graph, name: &str, value: Option<&str>) -> Result<(), ClientError> {
        self.update("set_property", (graph, name, value))
    }

    /// Closes a handle for good. Contexts that are open on it go on.
    pub fn unload(&self, graph: Graph) -> Result<(), ClientError> {
        self.update("unload", (graph,))
    }
}
