//! wasi-nn's `graph-execution-context`: tensors that are set before a computation and outputs that stay after it.
//!
//! That a context is open, on what and whose, is in stable memory; its tensors are in the heap and end with an upgrade. A
//! context outlives the `unload` of its graph, and closes when nothing was called on it for as long as its lease says (`leases`).

use std::cell::RefCell;
use std::collections::BTreeMap;

use ic_cdk::{query, update};
use ic_nn_engine::check_part;
use ic_nn_store::{Lease, OpenContext, OpenContextError, Opened, Version};
use ic_nn_types::{
    ComputeOptions, Context, ContextOptions, Error, Graph, InferParameters, NamedTensor, OutputPart,
    OutputRange, Tensor,
};

use super::inference;
use crate::authority::{Querier, Spender};
use crate::facts::Facts;
use crate::leases::Computing;
use crate::wire::{self, Arg};
use crate::{contained, leases, run, state};

/// An input that is being set.
struct Input {
    tensor: Tensor,
    /// Byte ranges that have come, in order and apart.
    came: Vec<(u64, u64)>,
}

#[derive(Default)]
struct Held {
    inputs: BTreeMap<String, Input>,
    outputs: Option<Computed>,
}

/// What the last computation gave.
struct Computed {
    outputs: Vec<NamedTensor>,
    instructions: u64,
}

thread_local! {
    static HELD: RefCell<BTreeMap<Context, Held>> = const { RefCell::new(BTreeMap::new()) };
}

/// Bytes of all contexts' tensors.
pub(super) fn held_bytes() -> u64 {
    HELD.with_borrow(|held| {
        let tensors = held.values().flat_map(|held| {
            let outputs =
                held.outputs.iter().flat_map(|computed| &computed.outputs).map(|(_, tensor)| tensor);
            held.inputs.values().map(|input| &input.tensor).chain(outputs)
        });
        tensors.map(|tensor| tensor.data.len() as u64).sum()
    })
}

type Init = (Graph, Option<ContextOptions>);

#[update(hidden = true, decode_with = "crate::wire::decode_all::<Init>")]
pub(super) async fn init_execution_context(arguments: Arg<Init>) -> Result<Context, Error> {
    let spender = Spender::check()?;
    let (graph, options) = arguments?;
    let lease = Lease::asked(&options.unwrap_or_default())?;
    contained::room(0).await?;
    let open = || {
        let now = ic_cdk::api::time();
        state::store(|s| s.open_context(graph, spender.caller(), spender.is_unlimited(), lease, now))
    };
    let opened = match open() {
        Err(OpenContextError::TooMany { .. } | OpenContextError::TooManyOfOwner { .. })
            if leases::close() =>
        {
            open()
        }
        opened => opened,
    };
    let Opened { open, superseded } = opened?;
    for closed in superseded {
        leases::end(closed.context);
        let_go(&closed);
    }
    leases::begin(&open);
    Ok(open.context)
}

type SetInput = (Context, String, Tensor, Option<u64>);

#[update(hidden = true, decode_with = "crate::wire::decode_all::<SetInput>")]
pub(super) fn set_input(arguments: Arg<SetInput>) -> Result<(), Error> {
    let spender = Spender::check()?;
    let (context, name, tensor, offset) = arguments?;
    let (_, version) = mine(context, spender.caller())?;
    leases::renew(context);
    let facts = Facts::decode(&state::store(|s| s.facts(&version.name, version.version))?)?;
    let (input, expected) = check_part(&facts.inputs, &name, &tensor, offset)?;
    // Parts of a tensor that is being set go where it lies already.
    let lies = HELD.with_borrow(|held| {
        let slot = held.get(&context).and_then(|h| h.inputs.get(&input));
        slot.is_some_and(|i| (&i.tensor.dimensions, i.tensor.ty) == (&tensor.dimensions, tensor.ty))
    });
    let available = state::limits().available_bytes;
    if !lies && expected > available {
        return Err(Error::too_large(format!(
            "input `{input}` has {expected} bytes, the heap has {available} left (max_heap_bytes)"
        )));
    }
    HELD.with_borrow_mut(|held| {
        let inputs = &mut held.entry(context).or_default().inputs;
        let Some(offset) = offset else {
            let came = vec![(0, expected)];
            inputs.insert(input, Input { tensor, came });
            return;
        };
        let Tensor { dimensions, ty, data } = tensor;
        let slot = inputs
            .entry(input)
            .and_modify(|i| {
                // Other dimensions begin another tensor.
                if (&i.tensor.dimensions, i.tensor.ty) != (&dimensions, ty) {
                    i.came.clear();
                }
            })
            .or_insert_with(|| Input {
                tensor: Tensor { dimensions: vec![], ty, data: vec![] },
                came: vec![],
            });
        if slot.came.is_empty() {
            slot.tensor = Tensor { dimensions, ty, data: vec![0; expected as usize] };
        }
        let at = offset as usize;
        if let Some(room) = slot.tensor.data.get_mut(at..at + data.len()) {
            room.copy_from_slice(&data);
        }
        slot.came = with(std::mem::take(&mut slot.came), (offset, offset + data.len() as u64));
    });
    Ok(())
}

/// Ranges with one more among them, merged.
fn with(mut ranges: Vec<(u64, u64)>, more: (u64, u64)) -> Vec<(u64, u64)> {
    ranges.push(more);
    ranges.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

type Compute = (Context, Vec<NamedTensor>, Option<ComputeOptions>);

#[update(hidden = true, decode_with = "crate::wire::decode_all::<Compute>")]
pub(super) async fn compute(arguments: Arg<Compute>) -> Result<Vec<NamedTensor>, Error> {
    let spender = Spender::check()?;
    let (context, mut inputs, options) = arguments?;
    let (_, version) = mine(context, spender.caller())?;
    let _computing = Computing::begin(context);
    let facts = Facts::decode(&state::store(|s| s.facts(&version.name, version.version))?)?;
    for (name, _) in &mut inputs {
        // A decimal index means the input that has it, also beside one that was set by name.
        let index = name.parse().ok().filter(|_| facts.inputs.iter().all(|i| i.name != *name));
        if let Some(input) = index.and_then(|ix: usize| facts.inputs.get(ix)) {
            name.clone_from(&input.name);
        }
    }
    // What was set stays set; what comes with the call counts for the call.
    HELD.with_borrow(|held| {
        for (name, input) in held.get(&context).iter().flat_map(|h| &h.inputs) {
            if inputs.iter().any(|(n, _)| n == name) {
                continue;
            }
            let expected = input.tensor.data.len() as u64;
            if input.came != [(0, expected)] && expected > 0 {
                return Err(Error::invalid_argument(format!(
                    "input `{name}` is not whole: bytes {:?} of {expected} have come (set_input)",
                    input.came
                )));
            }
            inputs.push((name.clone(), input.tensor.clone()));
        }
        Ok(())
    })?;
    let ComputeOptions { outputs: wanted, slice_instructions } = options.unwrap_or_default();
    let parameters = InferParameters { slice_instructions, ..Default::default() };
    let limits = inference::limits(&version, &parameters)?;
    spender.pay();
    let result = run::infer(&version, inputs, limits).await;
    let instructions = inference::account(&spender, &version, &result);
    let outputs = result?.outputs;
    // The context may have been finalized meanwhile.
    mine(context, spender.caller())?;
    let reply = run::select(&outputs, wanted.as_ref());
    let computed = Computed { outputs, instructions };
    HELD.with_borrow_mut(|held| held.entry(context).or_default().outputs = Some(computed));
    let reply = reply?;
    wire::check_reply(&reply, wire::MAX_UPDATE_REPLY).map_err(|e| {
        Error::too_large(format!(
            "{}; the context keeps them: fetch them by get_output, and let `outputs` of compute name what to answer",
            e.data
        ))
    })?;
    Ok(reply)
}

type GetOutput = (Context, String, Option<OutputRange>);

#[query(hidden = true, decode_with = "crate::wire::decode_all::<GetOutput>")]
pub(super) fn get_output(arguments: Arg<GetOutput>) -> Result<OutputPart, Error> {
    let querier = Querier::check()?;
    let (context, name, range) = arguments?;
    mine(context, querier.caller())?;
    HELD.with_borrow(|held| {
        let Computed { outputs, instructions } = held.get(&context).and_then(|h| h.outputs.as_ref()).ok_or_else(|| {
            Error::not_found(format!(
                "context {context} has no outputs: nothing was computed in it, or not since the canister's last upgrade; \
                 call compute"
            ))
        })?;
        let tensor = &outputs[run::position(outputs, &name)?].1;
        let total = tensor.data.len() as u64;
        let (offset, length) = wire::part(&name, total, range)?;
        Ok(OutputPart {
            dimensions: tensor.dimensions.clone(),
            ty: tensor.ty,
            total_bytes: total,
            offset,
            data: tensor.data[offset as usize..(offset + length) as usize].to_vec(),
            instructions: Some(*instructions),
        })
    })
}

#[update(hidden = true, decode_with = "crate::wire::decode::<u64>")]
pub(super) fn finalize_execution_context(context: Arg<Context>) -> Result<(), Error> {
    let caller = ic_cdk::api::msg_caller();
    let context = context?;
    let (open, _) = mine_or_gone(context, caller)?;
    state::store(|s| s.close_context(context))?;
    leases::end(context);
    let_go(&open);
    Ok(())
}

/// Drops what a context that is closed held: its tensors, and its graph where nothing else needs that.
pub(crate) fn let_go(open: &OpenContext) {
    forget(open.context);
    if let Ok(version) = state::store(|s| s.get(&open.name, open.version))
        && state::store(|s| s.graph(open.graph)).is_err()
    {
        super::graphs::release(&version);
    }
}

/// Drops what a context holds in the heap.
pub(crate) fn forget(context: Context) {
    HELD.with_borrow_mut(|held| held.remove(&context));
}

/// Drops what contexts hold that are not open any more.
pub(super) fn sweep() {
    HELD.with_borrow_mut(|held| held.retain(|context, _| state::store(|s| s.context(*context).is_ok())));
}

/// An open context of the caller, and the version it runs. Controllers may use anyone's.
fn mine(context: Context, caller: candid::Principal) -> Result<(OpenContext, Version), Error> {
    let (open, version) = mine_or_gone(context, caller)?;
    match version {
        Some(version) => Ok((open, version)),
        None => Err(Error::not_found(format!("context {context}: its model was deleted; finalize it"))),
    }
}

fn mine_or_gone(
    context: Context,
    caller: candid::Principal,
) -> Result<(OpenContext, Option<Version>), Error> {
    let open = state::store(|s| s.context(context))?;
    if open.owner != caller && !ic_cdk::api::is_controller(&caller) {
        return Err(Error::new(
            ic_nn_types::ErrorCode::Security,
            format!("context {context} was opened by another principal than {caller}"),
        ));
    }
    leases::check(context)?;
    let version = state::store(|s| s.get(&open.name, open.version)).ok();
    Ok((open, version))
}

#[cfg(test)]
mod tests {
    use super::with;

    #[test]
    fn ranges_merge() {
        let ranges = [(4, 6), (0, 2), (2, 4), (8, 9), (5, 7)].into_iter().fold(vec![], with);
        assert_eq!(ranges, [(0, 7), (8, 9)]);
        assert_eq!(with(ranges, (7, 8)), [(0, 9)]);
    }
}
