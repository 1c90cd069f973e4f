//! ONNX operators of our own: each a function that wires typed nodes for one ONNX node.
//!
//! It sees types, concrete shapes and constant operands, so what it cannot do it refuses with [`Refusal`] before
//! anything runs. Inference wires the same into a graph of its own and reads the facts off; there are no rules.

use std::fmt;
use std::sync::Arc;

use tract_onnx::model::{ParsingContext, optional_inputs, optional_outputs};
use tract_onnx::pb::{AttributeProto, NodeProto};
use tract_onnx::tract_core::ops::array::{FiniteReshape, MultiBroadcastTo};
use tract_onnx::tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_core::ops::change_axes::wire_rank_broadcast;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::logic::Iff;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::infer::InferenceOp;
use tract_onnx::tract_hir::internal::*;

use super::control::Body;
use super::kernel::{Constant, Kernel};

/// What an operator is made of: gives its outputs in ONNX's order, those that the node leaves out may be missing.
pub(crate) type Wire = fn(&mut Wirer<'_>) -> TractResult<TVec<OutletId>>;

/// Something that ONNX allows and this engine does not do.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// The node and its operator.
    pub(crate) place: String,
    /// What was expected and what came.
    pub(crate) reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

impl std::error::Error for Refusal {}

/// An ONNX node that [`Wire`] turns into typed nodes.
#[derive(Clone)]
pub(super) struct Lowered {
    node: Arc<NodeProto>,
    opset: i64,
    /// Where each of ONNX's inputs is among those that are present.
    inputs: Vec<Option<usize>>,
    /// Which of ONNX's outputs are present.
    outputs: Vec<usize>,
    wire: Wire,
    /// The graphs inside the node.
    bodies: Arc<Vec<Body>>,
}

impl Lowered {
    pub(super) fn of(ctx: &ParsingContext<'_>, node: &NodeProto, wire: Wire) -> Box<dyn InferenceOp> {
        Self::with(ctx, node, wire, Arc::default())
    }

    /// The same for a node with graphs inside. What they read from around the node follows its inputs.
    pub(super) fn with(
        ctx: &ParsingContext<'_>,
        node: &NodeProto,
        wire: Wire,
        bodies: Arc<Vec<Body>>,
    ) -> Box<dyn InferenceOp> {
        let mut kept = node.clone();
        kept.doc_string.clear();
        if !bodies.is_empty() {
            kept.attribute.retain(|a| a.g.is_none());
        }
        Box::new(Lowered {
            inputs: optional_inputs(node).take(node.input.len()).collect(),
            outputs: optional_outputs(node)
                .take(node.output.len())
                .enumerate()
                .filter_map(|(ix, present)| present.map(|_| ix))
                .collect(),
            node: Arc::new(kept),
            opset: ctx.onnx_operator_set_version,
            wire,
            bodies,
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let mut wirer = Wirer {
            node: &self.node,
            opset: self.opset,
            places: &self.inputs,
            given: inputs,
            model,
            prefix,
            made: 0,
            outputs: self.node.output.len(),
            bodies: &self.bodies,
        };
        let all = (self.wire)(&mut wirer)?;
        self.outputs
            .iter()
            .map(|ix| match all.get(*ix) {
                Some(outlet) => Ok(*outlet),
                None => wirer.refuse(format!("its output {ix} is not offered")),
            })
            .collect()
    }
}

impl fmt::Debug for Lowered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.node.op_type)
    }
}

impl PartialEq for Lowered {
    fn eq(&self, _: &Lowered) -> bool {
        false
    }
}

impl Eq for Lowered {}

impl Op for Lowered {
    fn name(&self) -> StaticName {
        self.node.op_type.clone().into()
    }

    not_a_typed_op!();
}

impl EvalOp for Lowered {
    not_out_of_plan!();
}

impl InferenceOp for Lowered {
    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(TVec<InferenceFact>, TVec<InferenceFact>, TVec<InferenceFact>)> {
        let mut told: TVec<InferenceFact> = outputs.into_iter().cloned().collect();
        let known = |fact: &InferenceFact| fact.datum_type.is_concrete() && fact.shape.is_concrete();
        let folds = inputs.iter().all(|fact| fact.value.is_concrete());
        if told.iter().all(|fact| known(fact) && (!folds || fact.value.is_concrete())) {
            let inputs = inputs.into_iter().cloned().collect();
            return Ok((inputs, told, observed.into_iter().cloned().collect()));
        }
        let mut model = TypedModel::default();
        let mut given = tvec!();
        for (ix, fact) in inputs.iter().enumerate() {
            let name = format!("input.{ix}");
            if let Some(value) = fact.value.concretize() {
                given.push(model.add_const(name, value)?);
            } else if let Ok(fact) = fact.to_typed_fact() {
                given.push(model.add_source(name, fact.into_owned())?);
            }
        }
        // Where something is not known yet, or never will be, translation says so, not inference.
        if given.len() == inputs.len()
            && let Ok(made) = self.wire("inferred", &mut model, &given)
        {
            for (told, made) in told.iter_mut().zip(made) {
                let fact = model.outlet_fact(made)?;
                // A symbol of this model's would not outlive it.
                let dims = fact.shape.iter().map(|d| match d.to_i64() {
                    Ok(_) => DimFact::from(d.clone()),
                    Err(_) => DimFact::default(),
                });
                let mut known =
                    InferenceFact::dt_shape(fact.datum_type, ShapeFactoid::closed(dims.collect()));
                if let Some(value) = &fact.konst {
                    known.value = value.clone().into();
                }
                *told = told.unify(&known)?;
            }
        }
        let inputs = inputs.into_iter().cloned().collect();
        Ok((inputs, told, observed.into_iter().cloned().collect()))
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.outputs.len())
    }

    fn to_typed(
        &self,
        _source: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        let inputs = node
            .inputs
            .iter()
            .map(|i| mapping.get(i).copied().with_context(|| format!("{}: an input is missing", node.name)))
            .collect::<TractResult<TVec<_>>>()?;
        self.wire(&node.name, target, &inputs)
    }

    as_op!();
}

/// Wires typed nodes for one ONNX node.
pub(crate) struct Wirer<'a> {
    /// The node, for its attributes.
    pub(crate) node: &'a NodeProto,
    /// Operator set of the model.
    pub(crate) opset: i64,
    /// How many outputs the node names, present or not.
    pub(crate) outputs: usize,
    places: &'a [Option<usize>],
    given: &'a [OutletId],
    model: &'a mut TypedModel,
    prefix: &'a str,
    made: usize,
    bodies: &'a Arc<Vec<Body>>,
}

impl Wirer<'_> {
    /// A refusal that names the operator.
    pub(crate) fn refuse<T>(&self, why: impl fmt::Display) -> TractResult<T> {
        let name: String = self.prefix.chars().take(80).collect();
        let place = format!("node `{name}` ({})", self.node.op_type);
        Err(Refusal { place, reason: why.to_string() }.into())
    }

    /// Input `ix` of ONNX's, if it is given.
    pub(crate) fn input(&self, ix: usize) -> Option<OutletId> {
        self.places.get(ix).copied().flatten().and_then(|place| self.given.get(place).copied())
    }

    /// Input `ix`, which the operator cannot do without.
    pub(crate) fn need(&self, ix: usize) -> TractResult<OutletId> {
        match self.input(ix) {
            Some(input) => Ok(input),
            None => self.refuse(format!("its input {ix} is missing")),
        }
    }

    /// How many nodes it has wired.
    pub(super) fn wired(&self) -> usize {
        self.made
    }

    /// The graphs inside the node.
    pub(super) fn bodies(&self) -> Arc<Vec<Body>> {
        self.bodies.clone()
    }

    /// What the graphs inside the node read from around it, by its place among such names.
    pub(super) fn captured(&self, place: usize) -> TractResult<OutletId> {
        let own = self.places.iter().flatten().count();
        self.given.get(own + place).copied().context("a name from around the node is missing")
    }

    /// All inputs that are given, in order.
    pub(crate) fn given(&self) -> TVec<OutletId> {
        self.given.into()
    }

    /// Whether the node names output `ix`.
    pub(crate) fn gives(&self, ix: usize) -> bool {
        self.node.output.get(ix).is_some_and(|name| !name.is_empty())
    }

    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.node.attribute.iter().find(|a| a.name == name)
    }

    /// Whether an attribute is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// An integer attribute.
    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |a| a.i)
    }

    /// A real attribute.
    pub(crate) fn real(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |a| a.f)
    }

    /// A text attribute.
    pub(crate) fn text(&self, name: &str, default: &str) -> String {
        self.attribute(name).map_or(default.into(), |a| String::from_utf8_lossy(&a.s).into_owned())
    }

    /// An attribute of several integers; empty where it is not there.
    pub(crate) fn ints(&self, name: &str) -> Vec<i64> {
        self.attribute(name).map_or(vec![], |a| a.ints.clone())
    }

    /// An attribute of several reals; empty where it is not there.
    pub(crate) fn reals(&self, name: &str) -> Vec<f32> {
        self.attribute(name).map_or(vec![], |a| a.floats.clone())
    }

    /// An attribute of several texts; empty where it is not there.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        self.attribute(name)
            .map_or(vec![], |a| a.strings.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect())
    }

    /// Type and shape of a wire.
    pub(crate) fn fact(&self, outlet: OutletId) -> TractResult<TypedFact> {
        self.model.outlet_fact(outlet).cloned()
    }

    /// The type of a wire.
    pub(crate) fn dt(&self, outlet: OutletId) -> TractResult<DatumType> {
        Ok(self.model.outlet_fact(outlet)?.datum_type)
    }

    /// The shape of a wire, refused where a length depends on values.
    pub(crate) fn shape(&self, outlet: OutletId) -> TractResult<TVec<usize>> {
        match self.model.outlet_fact(outlet)?.shape.as_concrete() {
            Some(shape) => Ok(shape.into()),
            None => self.refuse("the shape of an input depends on values"),
        }
    }

    /// The value of an operand that has to be known before anything runs.
    pub(crate) fn constant(&self, outlet: OutletId, what: &str) -> TractResult<Constant> {
        match &self.model.outlet_fact(outlet)?.konst {
            Some(value) => Ok(value.clone()),
            None => {
                self.refuse(format!("`{what}` is computed by the graph; a constant or an input is expected"))
            }
        }
    }

    /// The integers of an operand that has to be known before anything runs.
    pub(crate) fn integers(&self, outlet: OutletId, what: &str) -> TractResult<Vec<i64>> {
        super::kernel::i64s(self.constant(outlet, what)?.as_ref())
    }

    /// An axis, counted from the end where negative.
    pub(crate) fn axis(&self, axis: i64, rank: usize) -> TractResult<usize> {
        let counted = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
        match usize::try_from(counted) {
            Ok(axis) if axis < rank => Ok(axis),
            _ => self.refuse(format!("axis {axis} of a tensor of rank {rank}")),
        }
    }

    fn name(&mut self) -> String {
        self.made += 1;
        match self.made {
            1 => self.prefix.to_owned(),
            n => format!("{}.{n}", self.prefix),
        }
    }

    /// A length that is known when its node has run.
    pub(crate) fn symbol(&self) -> Symbol {
        self.model.symbols.new_with_prefix("x")
    }

    /// Wires an operator and gives all it puts out.
    pub(crate) fn all(
        &mut self,
        op: impl Into<Box<dyn TypedOp>>,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let name = self.name();
        self.model.wire_node(name, op, inputs)
    }

    /// Wires an operator of one output.
    pub(crate) fn op(
        &mut self,
        op: impl Into<Box<dyn TypedOp>>,
        inputs: &[OutletId],
    ) -> TractResult<OutletId> {
        let outputs = self.all(op, inputs)?;
        outputs.first().copied().context("an operator without outputs")
    }

    /// Wires a kernel.
    pub(crate) fn kernel(&mut self, kernel: Kernel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.all(kernel, inputs)
    }

    /// A constant.
    pub(crate) fn konst(&mut self, value: Tensor) -> TractResult<OutletId> {
        let name = self.name();
        self.model.add_const(name, value.into_arc_tensor())
    }

    /// A scalar of type `dt`.
    pub(crate) fn scalar(&mut self, value: f64, dt: DatumType) -> TractResult<OutletId> {
        self.konst(tensor0(value).cast_to_dt(dt)?.into_owned())
    }

    /// `x` as another type.
    pub(crate) fn cast(&mut self, x: OutletId, to: DatumType) -> TractResult<OutletId> {
        if self.dt(x)? == to { Ok(x) } else { self.op(cast(to), &[x]) }
    }

    /// An operator of two operands, broadcast to each other as ONNX does; both have one type.
    pub(crate) fn binary(&mut self, op: impl BinMiniOp, a: OutletId, b: OutletId) -> TractResult<OutletId> {
        let name = self.name();
        let wires = wire_rank_broadcast(&name, self.model, &[a, b])?;
        let outputs = self.model.wire_node(name, TypedBinOp(Box::new(op), None), &wires)?;
        outputs.first().copied().context("an operator without outputs")
    }

    /// An operator of two operands, the second a number.
    pub(crate) fn by(&mut self, op: impl BinMiniOp, a: OutletId, b: f64) -> TractResult<OutletId> {
        let dt = self.dt(a)?;
        let b = self.scalar(b, dt)?;
        self.binary(op, a, b)
    }

    /// An operator on each element.
    pub(crate) fn each(&mut self, op: ElementWiseOp, x: OutletId) -> TractResult<OutletId> {
        self.op(op, &[x])
    }

    /// `a` where `condition` holds, else `b`, broadcast to each other.
    pub(crate) fn choose(&mut self, condition: OutletId, a: OutletId, b: OutletId) -> TractResult<OutletId> {
        let name = self.name();
        let wires = wire_rank_broadcast(&name, self.model, &[condition, a, b])?;
        let outputs = self.model.wire_node(name, Iff, &wires)?;
        outputs.first().copied().context("an operator without outputs")
    }

    /// `x` in another shape of as many elements.
    pub(crate) fn reshape(&mut self, x: OutletId, to: &[usize]) -> TractResult<OutletId> {
        let from = self.shape(x)?;
        if from.as_slice() == to {
            return Ok(x);
        }
        if from.iter().product::<usize>() != to.iter().product::<usize>() {
            return self.refuse(format!("{from:?} cannot become {to:?}"));
        }
        if from.contains(&0) {
            return self.op(FiniteReshape::new(to.into()), &[x]);
        }
        let dims = |shape: &[usize]| shape.iter().map(|d| d.to_dim()).collect();
        self.op(AxisOp::Reshape(0, dims(&from), dims(to)), &[x])
    }

    /// `x` with its axes in the order of `permutation`.
    pub(crate) fn transpose(&mut self, x: OutletId, permutation: &[usize]) -> TractResult<OutletId> {
        let mut x = x;
        for op in tract_onnx::tract_core::ops::change_axes::perm_to_ops(permutation) {
            x = self.op(op, &[x])?;
        }
        Ok(x)
    }

    /// `x` repeated along its axes of length 1 until it has `shape`.
    pub(crate) fn broadcast(&mut self, x: OutletId, shape: &[usize]) -> TractResult<OutletId> {
        let rank = self.fact(x)?.rank();
        let mut x = x;
        for _ in rank..shape.len() {
            x = self.op(AxisOp::Add(0), &[x])?;
        }
        self.op(MultiBroadcastTo::new(ShapeFact::from(shape)), &[x])
    }

    /// What tract itself makes of a node of `operator` with this node's attributes, on other wires.
    pub(crate) fn stock(&mut self, node: &NodeProto, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let proto = tract_onnx::pb::ModelProto::default();
        let ctx = ParsingContext {
            onnx_operator_set_version: self.opset,
            framework: super::stock(),
            model: &proto,
            parent_graphs: vec![],
            model_dir: None,
            template: InferenceModel { symbols: self.model.symbols.clone(), ..InferenceModel::default() },
        };
        let builder = ctx.framework.op_register.0.get(&node.op_type).context("tract lacks the operator")?;
        let (mut op, _) = builder(&ctx, node)?;
        // What tract checks of operands, it checks in its rules of inference and not where it wires.
        let given = inputs.iter().map(|i| Ok(InferenceFact::from(self.model.outlet_fact(*i)?)));
        let given = given.collect::<TractResult<TVec<_>>>()?;
        let nothing = vec![InferenceFact::default(); op.nboutputs()?];
        let (_, expected, _) = op.infer_facts(given.iter().collect(), nothing.iter().collect(), tvec!())?;
        let Some(expansion) = op.as_op().downcast_ref::<Box<dyn Expansion>>() else {
            return self.refuse("it cannot be wired into another operator");
        };
        let name = self.name();
        let made = expansion.wire(&name, self.model, inputs)?;
        for (outlet, expected) in made.iter().zip(&expected) {
            expected.unify(&InferenceFact::from(self.model.outlet_fact(*outlet)?))?;
        }
        Ok(made)
    }

    /// What tract makes of this very node: tract gives the outputs that are named, here they stand in ONNX's places.
    pub(crate) fn stock_itself(&mut self) -> TractResult<TVec<OutletId>> {
        let made = self.stock(self.node, self.given)?;
        let Some(first) = made.first().copied() else { return self.refuse("it gives nothing") };
        let mut made = made.into_iter();
        Ok((0..self.outputs)
            .map(|ix| if self.gives(ix) { made.next().unwrap_or(first) } else { first })
            .collect())
    }
}
