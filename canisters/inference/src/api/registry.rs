//! The registry: list, describe, delete.

use ic_cdk::{query, update};
use ic_nn_types::{Error, GraphDescription, GraphEncoding, ListPage, ListRequest};

use crate::authority::Admin;
use crate::facts::Facts;
use crate::state;
use crate::wire::Arg;

#[query(hidden = true, decode_with = "crate::wire::decode::<ListRequest>")]
pub(super) fn list(request: Arg<ListRequest>) -> Result<ListPage, Error> {
    let request = request?;
    state::store(|s| {
        let open: Vec<(u64, [u8; 32])> = s
            .graphs()
            .flatten()
            .filter_map(|g| s.get(&g.name, g.version).ok().map(|v| (g.graph, v.sha256)))
            .collect();
        let resident =
            |graph: u64| open.iter().any(|(id, hash)| *id == graph && state::residents(|r| r.has(hash)));
        Ok(s.list(&request, &resident)?)
    })
}

#[query(hidden = true, decode_with = "crate::wire::decode::<String>")]
pub(super) fn describe(model: Arg<String>) -> Result<GraphDescription, Error> {
    let model = model?;
    state::store(|s| {
        let version = s.resolve(&model)?;
        let facts = Facts::decode(&s.facts(&version.name, version.version)?)?;
        Ok(GraphDescription {
            name: version.name,
            version: version.version,
            encoding: Some(GraphEncoding::Onnx),
            sha256: version.sha256.to_vec(),
            bytes: version.bytes,
            inputs: facts.inputs,
            outputs: facts.outputs,
            operators: facts.operators,
            parameters: facts.parameters,
            graph: version.graph,
            trial_instructions: facts.trial_instructions,
        })
    })
}

#[update(hidden = true, decode_with = "crate::wire::decode::<String>")]
pub(super) fn delete(model: Arg<String>) -> Result<u32, Error> {
    Admin::check()?;
    let model = model?;
    let deleted = state::store(|s| s.delete(&model))?;
    super::graphs::refresh_pins();
    Ok(deleted.versions)
}
