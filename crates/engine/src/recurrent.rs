//! `RNN`, `GRU` and `LSTM` with the attributes that tract 0.23.9 reads past.
//!
//! Its builders take the default activations whatever a node says, and a single reversed direction for a forward one. Here
//! activations become what the node says, and what tract has no way to compute is refused: an attribute that is read past is
//! a wrong answer.

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::ops::rec::common::CommonRec;
use tract_onnx::ops::rec::common::WireBody;
use tract_onnx::ops::rec::gru::GRU;
use tract_onnx::ops::rec::lstm::LSTM;
use tract_onnx::ops::rec::rnn::RNN;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};
use tract_onnx::tract_core::ops::{math, nn};
use tract_onnx::tract_hir::internal::*;

use crate::element;

type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// Puts these builders in the place of tract's.
pub(crate) fn register(register: &mut OnnxOpRegister) {
    register.insert("RNN", rnn);
    register.insert("GRU", gru);
    register.insert("LSTM", lstm);
}

fn rnn(_ctx: &ParsingContext<'_>, node: &NodeProto) -> Built {
    let [f] = activations(node, ["Tanh"])?;
    common(node, RNN { fore: operator(&f)?, back: operator(&f)? })
}

fn gru(_ctx: &ParsingContext<'_>, node: &NodeProto) -> Built {
    let [f, g] = activations(node, ["Sigmoid", "Tanh"])?;
    let linear_before_reset = node.get_attr_opt("linear_before_reset")?.unwrap_or(false);
    common(node, GRU { f: operator(&f)?, g: operator(&g)?, linear_before_reset })
}

fn lstm(_ctx: &ParsingContext<'_>, node: &NodeProto) -> Built {
    let names = activations(node, USUAL)?;
    ensure!(
        is_usual(&names) || has_peepholes(node),
        "activations {names:?} are served where the weights are constants of the file"
    );
    let [f, g, h] = names;
    common(node, LSTM { f: operator(&f)?, g: operator(&g)?, h: operator(&h)? })
}

fn common(node: &NodeProto, body: impl WireBody + 'static) -> Built {
    for attribute in ["clip", "input_forget"] {
        ensure!(
            node.attribute.iter().all(|a| a.name != attribute || (a.f == 0.0 && a.i == 0)),
            "attribute {attribute} is not served; export without it"
        );
    }
    let direction = node.get_attr_opt::<&str>("direction")?.unwrap_or("forward");
    ensure!(
        matches!(direction, "forward" | "bidirectional"),
        "direction {direction} is not served; reverse the sequence before and after a forward one"
    );
    Ok((expand(CommonRec::from_node_and_options(node, 3, 0, Box::new(body))?), vec![]))
}

/// The node's activations, the same for both directions.
fn activations<const N: usize>(node: &NodeProto, default: [&str; N]) -> TractResult<[String; N]> {
    let given = node.get_attr_opt_tvec::<&str>("activations")?.unwrap_or_default();
    let given = if given.is_empty() { default.as_slice() } else { &given };
    ensure!(
        given.len() == N || given.len() == 2 * N,
        "activations holds {} names, {N} a direction are expected",
        given.len()
    );
    let (fore, back) = given.split_at(N);
    ensure!(
        back.is_empty() || back == fore,
        "activations differ between the directions ({given:?}), which is not served; export one layer a direction"
    );
    let mut names = default.map(str::to_owned);
    names.iter_mut().zip(fore).for_each(|(name, given)| *name = (*given).to_owned());
    Ok(names)
}

fn operator(activation: &str) -> TractResult<Box<dyn TypedOp>> {
    Ok(match activation.to_ascii_lowercase().as_str() {
        "sigmoid" => Box::new(nn::sigmoid()),
        "tanh" => Box::new(math::tanh()),
        "relu" => Box::new(nn::leaky_relu(0.0)),
        _ => bail!("activation {activation} is not served; Sigmoid, Tanh and Relu are"),
    })
}

/// An LSTM's activations unless it says otherwise.
const USUAL: [&str; 3] = ["Sigmoid", "Tanh", "Tanh"];

/// Whether the activations are those that tract's one operator for a whole LSTM cell computes.
fn is_usual(activations: &[String; 3]) -> bool {
    activations.iter().zip(USUAL).all(|(a, usual)| a.eq_ignore_ascii_case(usual))
}

/// Where an LSTM's peepholes are among its inputs.
const PEEPHOLES: usize = 7;

fn has_peepholes(node: &NodeProto) -> bool {
    node.input.get(PEEPHOLES).is_some_and(|p| !p.is_empty())
}

/// Gives every LSTM with activations of its own peepholes of zero: with peepholes tract computes a cell by the activations
/// that it was built with, without by the usual ones. The weights have to be constants, whose data have been checked.
pub(crate) fn prepare(graph: &mut GraphProto) {
    let mut zeros = vec![];
    for node in graph.node.iter_mut().filter(|n| n.op_type == "LSTM") {
        if has_peepholes(node) || activations(node, USUAL).is_ok_and(|a| is_usual(&a)) {
            continue;
        }
        let weights = node.input.get(1).and_then(|w| graph.initializer.iter().find(|i| i.name == *w));
        if let Some(peepholes) = weights.and_then(|w| zero_peepholes(w, &node.output)) {
            node.input.resize(PEEPHOLES, String::new());
            node.input.push(peepholes.name.clone());
            zeros.push(peepholes);
        }
    }
    graph.initializer.append(&mut zeros);
}

/// Peepholes [directions, 3 * hidden] for weights [directions, 4 * hidden, inputs], which hold more.
fn zero_peepholes(weights: &TensorProto, outputs: &[String]) -> Option<TensorProto> {
    let output = outputs.iter().find(|o| !o.is_empty())?;
    let &[directions, gates, inputs] = weights.dims.as_slice() else { return None };
    // Without inputs the weights hold nothing, and their dimensions may say anything.
    (inputs > 0).then_some(())?;
    let dims = vec![directions, gates / 4 * 3];
    let bytes = dims.iter().product::<i64>() as usize * element::from_onnx(weights.data_type)?.size();
    Some(TensorProto {
        // No file has it: names of outputs are one file's only once.
        name: format!("{output}, peepholes of zero"),
        dims,
        data_type: weights.data_type,
        raw_data: vec![0; bytes],
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::AttributeProto;

    use super::*;
    use crate::one_node::{float, int, text, texts};

    fn node(op: &str, attributes: Vec<AttributeProto>) -> NodeProto {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        NodeProto {
            op_type: op.into(),
            input: names(&["x", "w", "r"]),
            output: names(&["y"]),
            attribute: attributes,
            ..Default::default()
        }
    }

    fn weights(dims: &[i64]) -> TensorProto {
        let raw_data = vec![0; dims.iter().product::<i64>() as usize * 4];
        TensorProto { name: "w".into(), dims: dims.to_vec(), data_type: 1, raw_data, ..Default::default() }
    }

    #[test]
    fn what_would_be_read_past_is_refused() {
        let (direction, clip) = (text("direction", "reverse"), float("clip", 3.0));
        let forget = int("input_forget", 1);
        let tanh = || RNN { fore: Box::new(math::tanh()), back: Box::new(math::tanh()) };
        for (attribute, words) in [(direction, "direction reverse"), (clip, "clip"), (forget, "input_forget")]
        {
            let refused = common(&node("RNN", vec![attribute]), tanh()).expect_err("it is refused");
            assert!(refused.to_string().contains(words), "{refused}");
        }
        let tanh_and =
            |other| activations(&node("RNN", vec![texts("activations", &["Tanh", other])]), ["Tanh"]);
        assert_eq!(tanh_and("Tanh").expect("both are alike"), ["Tanh"]);
        assert!(
            tanh_and("Relu").expect_err("they differ").to_string().contains("differ between the directions")
        );
        assert!(
            operator("Affine").expect_err("it is not served").to_string().contains("Sigmoid, Tanh and Relu")
        );
    }

    #[test]
    fn an_lstm_of_other_activations_gets_peepholes_of_zero() {
        let relu = || node("LSTM", vec![texts("activations", &["Sigmoid", "Relu", "Relu"])]);
        let usual = node("LSTM", vec![texts("activations", &["sigmoid", "tanh", "tanh"])]);
        let mut graph = GraphProto {
            node: vec![relu(), usual, node("LSTM", vec![])],
            initializer: vec![weights(&[1, 8, 3])],
            ..Default::default()
        };
        prepare(&mut graph);
        assert_eq!(graph.node[0].input, ["x", "w", "r", "", "", "", "", "y, peepholes of zero"]);
        assert_eq!((&graph.initializer[1].dims[..], graph.initializer[1].raw_data.len()), (&[1, 6][..], 24));
        assert!(graph.node[1..].iter().all(|n| n.input.len() == 3));
        // Weights that are none of the file's, or hold nothing.
        for initializer in [vec![], vec![weights(&[1, i64::MAX, 0])]] {
            let mut graph = GraphProto { node: vec![relu()], initializer, ..Default::default() };
            prepare(&mut graph);
            assert_eq!(graph.node[0].input.len(), 3);
        }
    }
}
