//! Graphs: load, unload, and the pins that keep loaded ones in the heap.

use std::collections::BTreeSet;

use ic_cdk::update;
use ic_nn_types::{Error, Graph};

use super::internal;
use crate::authority::Admin;
use crate::wire::Arg;
use crate::{contained, state};

#[update(hidden = true, decode_with = "crate::wire::decode::<String>")]
pub(super) async fn load_by_name(model: Arg<String>) -> Result<Graph, Error> {
    Admin::check()?;
    let model = model?;
    contained::room(0).await?;
    let (version, graph) = state::store(|s| {
        let version = s.resolve(&model)?;
        let graph = s.open_graph(&version.name, version.version)?;
        Ok::<_, Error>((version, graph))
    })?;
    if !state::residents(|r| r.has(&version.sha256)) {
        let loaded = contained::call(internal::LOAD, graph).await.and_then(|reply| internal::done(&reply));
        if let Err(e) = loaded {
            // The handle was nobody's before this call, unless it was open already and its graph had left the heap.
            if version.graph.is_none() {
                let _ = state::store(|s| s.close_graph(graph));
            }
            return Err(e);
        }
    }
    refresh_pins();
    Ok(graph)
}

#[update(hidden = true, decode_with = "crate::wire::decode::<u64>")]
pub(super) fn unload(graph: Arg<Graph>) -> Result<(), Error> {
    Admin::check()?;
    let graph = graph?;
    let hash = state::store(|s| {
        let open = s.close_graph(graph)?;
        Ok::<_, Error>(s.get(&open.name, open.version).map(|v| v.sha256).ok())
    })?;
    refresh_pins();
    if let Some(hash) = hash {
        state::residents(|r| r.drop_unpinned(&hash));
    }
    Ok(())
}

/// Pins what has an open handle, and nothing else.
pub(crate) fn refresh_pins() {
    let hashes: BTreeSet<_> = state::store(|s| {
        s.graphs().flatten().filter_map(|g| s.get(&g.name, g.version).ok().map(|v| v.sha256)).collect()
    });
    state::residents(|r| r.pin(&hashes));
}
