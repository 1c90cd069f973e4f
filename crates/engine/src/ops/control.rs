//! If, Loop and Scan: the branch that a known condition takes, and repetition a known number of times.
//!
//! What is known when a graph is planned is wired out, step by step, so that every step may have its own shapes. An If on
//! values that are not known keeps both branches; a Loop on such is refused. A Scan goes to tract unless its body leaves
//! out the types of its inputs, which tract needs.

use std::sync::Arc;

use tract_onnx::model::{ParseResult, ParsingContext};
use tract_onnx::pb::{GraphProto, NodeProto};
use tract_onnx::tract_core::ops::array::{Slice, TypedConcat};
use tract_onnx::tract_core::ops::logic::IfThenElse;
use tract_onnx::tract_hir::internal::*;

use super::lowered::{Lowered, Wire, Wirer};

/// Most nodes that repetition may come to: a hundred steps of eighty nodes. tract compares the name of each node that is
/// wired with all others, so this many are 32 M comparisons.
const MOST_NODES: usize = 8_000;

/// A graph inside a node.
#[derive(Clone)]
pub(super) struct Body {
    model: InferenceModel,
    /// Where each declared input enters.
    inputs: Vec<OutletId>,
    /// Where names of the graphs around it enter, and which of the node's closures they are.
    captured: Vec<(OutletId, usize)>,
}

/// Reads the node's graphs and has `wire` make what they say.
pub(super) fn lower(
    ctx: &ParsingContext<'_>,
    node: &NodeProto,
    wire: Wire,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let mut closures: Vec<String> = vec![];
    let mut bodies = vec![];
    let names: &[&str] = if node.op_type == "If" { &["then_branch", "else_branch"] } else { &["body"] };
    for name in names {
        bodies.push(read(ctx, node.get_attr(name)?, &mut closures)?);
    }
    Ok((Lowered::with(ctx, node, wire, Arc::new(bodies)), closures))
}

fn read(ctx: &ParsingContext<'_>, graph: &GraphProto, closures: &mut Vec<String>) -> TractResult<Body> {
    // Declared inputs become names from outside: their types are those of what comes, not what the file says or does
    // not say. A node each makes sure that the name is there.
    let declared: Vec<String> = graph.input.iter().map(|i| i.name.clone()).collect();
    let mut graph = graph.clone();
    graph.input.clear();
    graph.initializer.retain(|t| !declared.contains(&t.name));
    for name in &declared {
        graph.node.push(NodeProto {
            op_type: "Identity".into(),
            name: format!("{name}.entry"),
            input: vec![name.clone()],
            output: vec![format!("{name}.entry")],
            ..NodeProto::default()
        });
    }
    for (ix, output) in graph.output.iter_mut().enumerate() {
        // An output that is a name from outside, or another one again, is still one of its own.
        let own = format!("{}.exit.{ix}", output.name);
        graph.node.push(NodeProto {
            op_type: "Identity".into(),
            name: own.clone(),
            input: vec![std::mem::replace(&mut output.name, own.clone())],
            output: vec![own],
            ..NodeProto::default()
        });
    }
    let ParseResult { model, outlets_by_name, unresolved_inputs } = ctx.parse_graph(&graph)?;
    let outlet = |name: &String| {
        outlets_by_name.get(name).copied().with_context(|| format!("nothing is called `{name}`"))
    };
    let inputs = declared.iter().map(outlet).collect::<TractResult<Vec<_>>>()?;
    let mut captured = vec![];
    for name in unresolved_inputs.iter().filter(|name| !declared.contains(name)) {
        let place = closures.iter().position(|c| c == name).unwrap_or_else(|| {
            closures.push(name.clone());
            closures.len() - 1
        });
        captured.push((outlet(name)?, place));
    }
    Ok(Body { model, inputs, captured })
}

impl Body {
    /// The body for inputs of these types, shapes and, where they are constants, values; and which of `given` it still
    /// takes.
    fn typed(&self, w: &Wirer<'_>, given: &[OutletId]) -> TractResult<(TypedModel, Vec<OutletId>)> {
        let mut model = self.model.clone();
        let mut free = vec![];
        let mut taken = vec![];
        let captured = self.captured.iter().map(|(inside, place)| Ok((*inside, w.captured(*place)?)));
        let pairs = self.inputs.iter().copied().zip(given.iter().copied()).map(Ok).chain(captured);
        for pair in pairs.collect::<TractResult<Vec<_>>>()? {
            let (inside, outside) = pair;
            let fact = w.fact(outside)?;
            if let Some(value) = fact.konst.clone() {
                model.set_outlet_fact(inside, InferenceFact::dt_shape_from_tensor(&value))?;
                model.node_mut(inside.node).op =
                    Box::new(tract_onnx::tract_hir::ops::konst::Const::new(value)?);
            } else {
                model.set_outlet_fact(inside, InferenceFact::from(&fact))?;
                free.push(inside);
                taken.push(outside);
            }
        }
        model.set_input_outlets(&free)?;
        Ok((model.into_typed()?, taken))
    }
}

/// Wires the body's nodes for `given` and gives its outputs.
fn inline(w: &mut Wirer<'_>, body: &Body, given: &[OutletId]) -> TractResult<Vec<OutletId>> {
    let (model, taken) = body.typed(w, given)?;
    let mut wires: HashMap<OutletId, OutletId> = model.input_outlets()?.iter().copied().zip(taken).collect();
    for id in model.eval_order()? {
        let node = model.node(id);
        if wires.contains_key(&OutletId::new(id, 0)) {
            continue;
        }
        let inputs = node.inputs.iter().map(|i| wires.get(i).copied().context("a body out of order"));
        let inputs = inputs.collect::<TractResult<Vec<_>>>()?;
        for (slot, made) in w.all(node.op.clone(), &inputs)?.into_iter().enumerate() {
            wires.insert(OutletId::new(id, slot), made);
        }
    }
    let outputs =
        model.output_outlets()?.iter().map(|o| wires.get(o).copied().context("a body without its output"));
    outputs.collect()
}

/// If.
pub(super) fn branch(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let condition = w.need(0)?;
    let bodies = w.bodies();
    let [then, otherwise] = bodies.as_slice() else { return w.refuse("both branches are expected") };
    if let Some(value) = w.fact(condition)?.konst {
        let taken = if value.cast_to_scalar::<bool>()? { then } else { otherwise };
        return Ok(inline(w, taken, &[])?.into());
    }
    let (then_body, then_taken) = then.typed(w, &[])?;
    let (else_body, else_taken) = otherwise.typed(w, &[])?;
    let mut inputs = vec![condition];
    inputs.extend(&then_taken);
    inputs.extend(&else_taken);
    let first = 1 + then_taken.len();
    let op = IfThenElse {
        then_input_mapping: (1..first).collect(),
        else_input_mapping: (first..first + else_taken.len()).collect(),
        then_body,
        else_body,
    };
    w.all(op, &inputs)
}

/// Loop.
pub(super) fn repeat(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let bodies = w.bodies();
    let Some(body) = bodies.first() else { return w.refuse("a body is expected") };
    let most = match w.input(0) {
        Some(most) => w.integers(most, "M")?.first().copied().unwrap_or(0).max(0),
        None => i64::MAX,
    };
    let mut condition = match w.input(1) {
        Some(condition) => condition,
        None => w.konst(tensor0(true))?,
    };
    let mut carried: Vec<OutletId> = vec![];
    let mut ix = 2;
    while let Some(value) = w.input(ix) {
        carried.push(value);
        ix += 1;
    }
    let state = carried.len();
    if body.inputs.len() != state + 2 {
        return w.refuse(format!("a body of {} inputs for {state} values", body.inputs.len()));
    }
    let mut scanned: Vec<Vec<OutletId>> = vec![];
    for step in 0..most {
        let Some(goes_on) = w.fact(condition)?.konst else {
            return w.refuse("its end depends on values");
        };
        if !goes_on.cast_to_scalar::<bool>()? {
            break;
        }
        admit(w, body)?;
        let mut given = vec![w.konst(tensor0(step))?, condition];
        given.extend(&carried);
        let outputs = inline(w, body, &given)?;
        let Some((next, values)) = outputs.split_first() else { return w.refuse("its body gives nothing") };
        condition = *next;
        let (state, scans) = values.split_at_checked(state).context("a body with too few outputs")?;
        carried = state.to_vec();
        scanned.resize(scans.len(), vec![]);
        for (all, scan) in scanned.iter_mut().zip(scans) {
            let row = w.op(AxisOp::Add(0), &[*scan])?;
            all.push(row);
        }
    }
    if scanned.is_empty() && w.outputs > state {
        return w.refuse("it is repeated no time, and what it would collect has no shape");
    }
    collected(w, carried, scanned, |_| 0)
}

/// Scan, from operator set 9 on.
pub(super) fn scan(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let bodies = w.bodies();
    let Some(body) = bodies.first() else { return w.refuse("a body is expected") };
    let count = usize::try_from(w.int("num_scan_inputs", 0)).unwrap_or(0);
    let given = w.given();
    let Some(state) = body.inputs.len().checked_sub(count).filter(|_| count > 0) else {
        return w.refuse(format!("{count} inputs to scan of {}", body.inputs.len()));
    };
    let Some(sequences) = given.get(state..state + count).map(|s| s.to_vec()) else {
        return w.refuse(format!("{} inputs for a body of {}", given.len(), body.inputs.len()));
    };
    let mut carried: Vec<OutletId> = given.iter().take(state).copied().collect();
    let direction = |w: &Wirer<'_>, name: &str, ix: usize| w.ints(name).get(ix).copied().unwrap_or(0) != 0;
    let mut axes = vec![];
    let mut steps = None;
    for (ix, sequence) in sequences.iter().enumerate() {
        let shape = w.shape(*sequence)?;
        let axis = w.axis(w.ints("scan_input_axes").get(ix).copied().unwrap_or(0), shape.len())?;
        if *steps.get_or_insert(shape[axis]) != shape[axis] {
            return w.refuse(format!("a sequence of {} beside one of {steps:?}", shape[axis]));
        }
        axes.push(axis);
    }
    let steps = steps.unwrap_or(0);
    let mut scanned: Vec<Vec<OutletId>> = vec![];
    for step in 0..steps {
        admit(w, body)?;
        let mut inputs = carried.clone();
        for (ix, (sequence, axis)) in sequences.iter().zip(&axes).enumerate() {
            let at = if direction(w, "scan_input_directions", ix) { steps - 1 - step } else { step };
            let slice = w.op(Slice::new(*axis, at, at + 1), &[*sequence])?;
            inputs.push(w.op(AxisOp::Rm(*axis), &[slice])?);
        }
        let outputs = inline(w, body, &inputs)?;
        let (state, scans) = outputs.split_at_checked(state).context("a body with too few outputs")?;
        carried = state.to_vec();
        scanned.resize(scans.len(), vec![]);
        for (ix, (all, scan)) in scanned.iter_mut().zip(scans).enumerate() {
            let rank = w.fact(*scan)?.rank() + 1;
            let axis = w.axis(w.ints("scan_output_axes").get(ix).copied().unwrap_or(0), rank)?;
            let row = w.op(AxisOp::Add(axis), &[*scan])?;
            if direction(w, "scan_output_directions", ix) { all.insert(0, row) } else { all.push(row) }
        }
    }
    if steps == 0 && w.outputs > state {
        return w.refuse("a sequence of nothing, and what would be collected has no shape");
    }
    let output_axes = w.ints("scan_output_axes");
    collected(w, carried, scanned, |ix| output_axes.get(ix).copied().unwrap_or(0))
}

/// Holds another step to the nodes that there may be, those of repetition inside counted.
fn admit(w: &Wirer<'_>, body: &Body) -> TractResult<()> {
    let nodes = w.wired() + body.model.nodes().len();
    if nodes > MOST_NODES {
        return w.refuse(format!("its steps come to over {MOST_NODES} nodes"));
    }
    Ok(())
}

/// What is carried at the end, and what was collected, step behind step.
fn collected(
    w: &mut Wirer<'_>,
    carried: Vec<OutletId>,
    scanned: Vec<Vec<OutletId>>,
    axis: impl Fn(usize) -> i64,
) -> TractResult<TVec<OutletId>> {
    let mut outputs: TVec<OutletId> = carried.into();
    for (ix, rows) in scanned.iter().enumerate() {
        let Some(first) = rows.first() else { continue };
        let axis = w.axis(axis(ix), w.fact(*first)?.rank())?;
        for row in rows {
            if w.fact(*row)?.shape != w.fact(*first)?.shape {
                return w.refuse("what it collects changes its shape");
            }
        }
        outputs.push(w.op(TypedConcat::new(axis), rows)?);
    }
    Ok(outputs)
}
