//! The registry: list, describe, delete, labels, version policies, retirement.

use ic_nn_types::{
    DeleteRequest, GraphDescription, IndexEntry, ListPage, ListRequest, ModelState, ModelSummary,
    VersionPolicy,
};

use crate::{Client, ClientError, Transport};

/// What a reference to a model would delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The request that deletes it, proof included.
    pub request: DeleteRequest,
    /// Its versions with their sha256, oldest first.
    pub versions: Vec<(u64, Vec<u8>)>,
}

impl<T: Transport> Client<T> {
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

    /// A page of the registry in the words of the Open Inference Protocol.
    pub fn repository_index(&self, request: &ListRequest) -> Result<Vec<IndexEntry>, ClientError> {
        self.query("repository_index", (request,))
    }

    /// What a model is: `"name"`, `"name:version"` or `"name@label"`.
    pub fn describe(&self, model: &str) -> Result<GraphDescription, ClientError> {
        self.query("describe", (model,))
    }

    /// Deletes a version, or every version of a name; answers how many. The sha256 proves that the caller knows what goes.
    pub fn delete(&self, request: &DeleteRequest) -> Result<u32, ClientError> {
        self.update("delete", (request,))
    }

    /// What deleting `model` would delete: `"name:version"` and `"name@label"` one version, `"name"` all of them.
    pub fn deletion_of(&self, model: &str) -> Result<Deletion, ClientError> {
        // The service says what is wrong with a reference; and it knows labels.
        let described = self.describe(model)?;
        let mut versions = vec![(described.version, described.sha256)];
        let mut reference = format!("{}:{}", described.name, described.version);
        if !model.contains([':', '@']) {
            let published =
                |m: &ModelSummary| !matches!(m.state, Some(ModelState::Uploading | ModelState::Failed(_)));
            let all = self.list_all()?.into_iter().filter(|m| m.name == described.name && published(m));
            let mut all: Vec<_> = all.map(|m| (m.version, m.sha256)).collect();
            all.sort();
            if !all.is_empty() {
                versions = all;
            }
            reference = described.name;
        }
        let sha256 = versions.last().map(|(_, sha256)| sha256.clone()).unwrap_or_default();
        Ok(Deletion { request: DeleteRequest { model: reference, sha256 }, versions })
    }

    /// Deletes what `model` names, after asking for its sha256; answers how many versions. For callers that are sure: between
    /// the two calls nobody looks at what goes.
    pub fn delete_named(&self, model: &str) -> Result<u32, ClientError> {
        self.delete(&self.deletion_of(model)?.request)
    }

    /// Puts `label` on the version that `model` names; it leaves the version of that name that had it.
    pub fn set_label(&self, model: &str, label: &str) -> Result<(), ClientError> {
        self.update("set_label", (model, label))
    }

    /// Takes `label` from the version of `name` that has it.
    pub fn remove_label(&self, name: &str, label: &str) -> Result<(), ClientError> {
        self.update("remove_label", (name, label))
    }

    /// Says which versions of `name` are served.
    pub fn set_version_policy(&self, name: &str, policy: &VersionPolicy) -> Result<(), ClientError> {
        self.update("set_version_policy", (name, policy))
    }

    /// Which versions of `name` are served.
    pub fn version_policy(&self, name: &str) -> Result<VersionPolicy, ClientError> {
        self.query("version_policy", (name,))
    }

    /// Takes a version out of service; it stays in the registry. `model` has to name a version or a label.
    pub fn retire(&self, model: &str) -> Result<(), ClientError> {
        self.update("retire", (model,))
    }

    /// Puts a retired version back into service.
    pub fn restore(&self, model: &str) -> Result<(), ClientError> {
        self.update("restore", (model,))
    }
}
