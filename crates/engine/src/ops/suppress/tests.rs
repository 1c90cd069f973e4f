//! What is selected, against the obvious way to and tract's; in parts; of numbers that are none, and of shapes that do not fit.

use ic_nn_types::TensorType::I64;
use ic_nn_types::{NamedTensor, Tensor as Wire};
use proptest::prelude::*;
use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto};
use tract_onnx::prelude::Framework;

use super::*;
use crate::one_node::{FLOAT, INT64, int, value};
use crate::ops::tests::Op as OneNode;
use crate::{Graph, InferError, Limits};

/// Boxes, scores, and what is asked of them.
#[derive(Clone, Debug)]
struct Case {
    images: usize,
    classes: usize,
    boxes: Vec<f32>,
    scores: Vec<f32>,
    centred: bool,
    most: usize,
    overlap: f32,
    above: Option<f32>,
}

impl Case {
    /// Boxes of an image.
    fn count(&self) -> usize {
        self.boxes.len() / 4 / self.images
    }

    fn op(&self) -> Suppress {
        let (centred, most, scored) = (self.centred, self.most, self.above.is_some());
        Suppress { centred, most, scored, selected: SymbolScope::default().sym("n") }
    }

    fn operands(&self) -> TVec<TValue> {
        let boxes = Tensor::from_shape(&[self.images, self.count(), 4], &self.boxes).unwrap();
        let scores = Tensor::from_shape(&[self.images, self.classes, self.count()], &self.scores).unwrap();
        let numbers = [Some(self.overlap), self.above];
        [boxes, scores]
            .into_iter()
            .chain(numbers.into_iter().flatten().map(|number| tensor1(&[number])))
            .map(IntoTValue::into_tvalue)
            .collect()
    }

    fn selected(&self) -> Vec<[i64; 3]> {
        rows(&self.op().eval(&EvalContext::out_of_plan(), self.operands()).unwrap()[0])
    }

    /// The same, step by step as it is defined.
    fn plainly(&self) -> Vec<[i64; 3]> {
        let mut selected = vec![];
        for line in 0..self.images * self.classes {
            let (image, class) = (line / self.classes, line % self.classes);
            let boxes = &self.boxes.as_chunks::<4>().0[image * self.count()..][..self.count()];
            let scores = &self.scores[line * self.count()..][..self.count()];
            let mut order: Vec<usize> = (0..self.count()).collect();
            order.retain(|ix| self.above.is_none_or(|above| scores[*ix] > above));
            order.sort_by(|a, b| {
                let (a, b) = (scores[*a], scores[*b]);
                b.partial_cmp(&a).unwrap_or(a.is_nan().cmp(&b.is_nan()))
            });
            let mut kept: Vec<usize> = vec![];
            for ix in order {
                let over = |other: &usize| overlap(&boxes[ix], &boxes[*other], self.centred) > self.overlap;
                if kept.len() < self.most && !kept.iter().any(over) {
                    kept.push(ix);
                }
            }
            selected.extend(kept.into_iter().map(|ix| [image as i64, class as i64, ix as i64]));
        }
        selected
    }

    /// What tract's own operator selects.
    fn by_tract(&self) -> Vec<[i64; 3]> {
        let (count, images, classes) = (self.count() as i64, self.images as i64, self.classes as i64);
        let numbers = [Some(self.overlap), self.above];
        let numbers = numbers.iter().enumerate().filter_map(|(ix, number)| {
            let raw_data = (*number)?.to_le_bytes().to_vec();
            Some(TensorProto {
                name: format!("x{}", ix + 3),
                data_type: FLOAT,
                dims: vec![1],
                raw_data,
                ..TensorProto::default()
            })
        });
        let most = i64::try_from(self.most).unwrap_or(i64::MAX).to_le_bytes().to_vec();
        let most = TensorProto {
            name: "x2".into(),
            data_type: INT64,
            dims: vec![1],
            raw_data: most,
            ..TensorProto::default()
        };
        let initializer: Vec<TensorProto> = [most].into_iter().chain(numbers).collect();
        let input =
            vec![value("x0", FLOAT, &[images, count, 4]), value("x1", FLOAT, &[images, classes, count])];
        let names =
            input.iter().map(|input| input.name.clone()).chain(initializer.iter().map(|t| t.name.clone()));
        let node = NodeProto {
            op_type: "NonMaxSuppression".into(),
            input: names.collect(),
            output: vec!["y".into()],
            attribute: vec![int("center_point_box", i64::from(self.centred))],
            ..NodeProto::default()
        };
        let model = model(vec![node], input, initializer);
        let model = tract_onnx::onnx().model_for_read(&mut &model[..]).unwrap().into_typed().unwrap();
        let operands = self.operands().into_iter().take(2).collect();
        rows(&model.into_runnable().unwrap().run(operands).unwrap()[0])
    }
}

/// How much of two boxes they share.
fn overlap(a: &[f32; 4], b: &[f32; 4], centred: bool) -> f32 {
    let ends = |of: &[f32; 4], axis: usize| {
        let (a, b) = (of[axis], of[axis + 2]);
        if centred { (a - b / 2.0, a + b / 2.0) } else { (a.min(b), a.max(b)) }
    };
    if [a, b].iter().any(|of| of.iter().any(|number| number.is_nan())) {
        return f32::NEG_INFINITY;
    }
    let lengths = |axis: usize| {
        let ((a, b), (c, d)) = (ends(a, axis), ends(b, axis));
        (b - a, d - c, b.min(d) - a.max(c))
    };
    let (rows, columns) = (lengths(0), lengths(1));
    if rows.2 <= 0.0 || columns.2 <= 0.0 {
        return f32::NEG_INFINITY;
    }
    let shared = rows.2 * columns.2;
    shared / (rows.0 * columns.0 + rows.1 * columns.1 - shared)
}

fn rows(selected: &Tensor) -> Vec<[i64; 3]> {
    assert_eq!(selected.shape(), [selected.len() / 3, 3]);
    selected.try_as_plain_ram().unwrap().as_slice::<i64>().unwrap().as_chunks().0.to_vec()
}

fn model(
    node: Vec<NodeProto>,
    input: Vec<tract_onnx::pb::ValueInfoProto>,
    initializer: Vec<TensorProto>,
) -> Vec<u8> {
    let output = vec![value("y", INT64, &[-1, 3])];
    let graph = GraphProto { node, input, initializer, output, ..GraphProto::default() };
    let opset = OperatorSetIdProto { domain: String::new(), version: 13 };
    ModelProto { ir_version: 8, graph: Some(graph), opset_import: vec![opset], ..ModelProto::default() }
        .encode_to_vec()
}

/// Numbers of which many are equal, and boxes that share a half or a third.
fn number() -> impl Strategy<Value = f32> {
    prop_oneof![8 => (0..7i8).prop_map(|n| f32::from(n) / 2.0), 2 => -2f32..4.0, 1 => Just(-0.0)]
}

fn score() -> impl Strategy<Value = f32> {
    prop_oneof![6 => (-2..6i8).prop_map(|n| f32::from(n) / 4.0), 2 => 0f32..1.0, 1 => Just(-0.0)]
}

fn cases() -> impl Strategy<Value = Case> {
    let asked = (
        any::<bool>(),
        prop_oneof![2 => 1usize..6, 1 => Just(usize::MAX)],
        prop::sample::select(vec![0.0f32, 0.25, 1.0 / 3.0, 0.5, 0.75, 1.0, -1.0]),
        prop::option::of(prop::sample::select(vec![-1.0f32, 0.0, 0.5, 2.0])),
    );
    let numbers = (1usize..3, 1usize..4, prop_oneof![5 => 0usize..40, 1 => 60usize..150]).prop_flat_map(
        |(images, classes, count)| {
            let boxes = proptest::collection::vec(number(), images * count * 4);
            let scores = proptest::collection::vec(score(), images * classes * count);
            (Just(images), Just(classes), boxes, scores)
        },
    );
    (numbers, asked).prop_map(|((images, classes, boxes, scores), (centred, most, overlap, above))| Case {
        images,
        classes,
        boxes,
        scores,
        centred,
        most,
        overlap,
        above,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn selects_what_the_definition_says_and_tract(case in cases().prop_filter("boxes", |case| !case.boxes.is_empty())) {
        let selected = case.selected();
        prop_assert_eq!(&selected, &case.plainly());
        prop_assert_eq!(&selected, &case.by_tract());
    }

    #[test]
    fn numbers_that_are_none_come_last_and_overlap_nothing(
        mut case in cases(),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 6),
        odd in prop::sample::select(vec![f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
    ) {
        for (ix, place) in places.iter().enumerate() {
            let numbers = if ix % 2 == 0 { &mut case.boxes } else { &mut case.scores };
            if !numbers.is_empty() {
                let place = place.index(numbers.len());
                numbers[place] = odd;
            }
        }
        let selected = case.selected();
        prop_assert_eq!(&selected, &case.plainly());
    }

    #[test]
    fn where_it_is_cut_does_not_show(case in cases(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..9)) {
        let (op, operands) = (case.op(), case.operands());
        let cut = || Suppressing::on(&op, operands[0].shape(), operands[1].shape()).unwrap();
        let units = cut().units();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(units + 1)).chain([0, units]).collect();
        ends.sort_unstable();
        let mut out = cut().begin().unwrap();
        for ends in ends.windows(2) {
            cut().compute(&operands, &mut out, ends[0]..ends[1]).unwrap();
        }
        prop_assert_eq!(rows(&out[0]), case.selected());
    }
}

#[test]
fn units_of_a_class_take_alike() {
    for (boxes, most) in
        [(1, 1), (50, usize::MAX), (60_000, usize::MAX), (60_000, 100), (1_000_000, 0x7fff_ffff)]
    {
        let op = Suppress { centred: false, most, scored: false, selected: SymbolScope::default().sym("n") };
        let class = Suppressing { op: &op, images: 1, classes: 1, boxes };
        let (units, all, sorting) = (class.units(), class.taken(boxes), class.sorting());
        assert_eq!((class.before(0), class.before(units)), (0, boxes));
        let one = TURN + COMPARED * boxes.min(most) as u64;
        // Passes of the sort take as much as the units that there are for them.
        let pass = class.ranking().1 / (1 + Ranking::PASSES as u64);
        assert_eq!(sorting > 0, boxes >= MANY);
        assert!(
            sorting == 0 || (sorting as u64 * UNIT / 4).abs_diff(pass) <= UNIT,
            "{sorting} for {pass} each"
        );
        assert_eq!(class.before(sorting), 0);
        for unit in sorting..units {
            let (from, to) = (class.before(unit), class.before(unit + 1));
            assert!(from <= to, "{unit} of {units}");
            let takes = class.taken(to) - class.taken(from);
            assert!(
                takes <= all / (units - sorting) as u64 + 2 * one,
                "{takes} of {all} in unit {unit} of {units}"
            );
        }
    }
}

#[test]
fn none_are_selected_where_none_may_be() {
    let op = |most: f64| {
        OneNode::new("NonMaxSuppression")
            .f32(&[1, 1, 4], &[0.0, 0.0, 1.0, 1.0])
            .f32(&[1, 1, 1], &[0.9])
            .i64(&[most])
            .f32(&[1], &[0.5])
            .f32(&[1], &[0.0])
            .output(I64)
    };
    op(1.0).gives(&[1, 3], &[0.0, 0.0, 0.0]);
    op(0.0).gives(&[0, 3], &[]);
}

#[test]
fn thresholds_may_be_missing() {
    // Two that touch, and one by itself.
    let boxes = [0.0, 0.0, 2.0, 2.0, 3.0, 2.0, 1.0, 0.0, 5.0, 5.0, 6.0, 6.0];
    let op = || {
        OneNode::new("NonMaxSuppression")
            .f32(&[1, 3, 4], &boxes)
            .f32(&[1, 1, 3], &[0.1, 0.9, 0.5])
            .output(I64)
    };
    op().gives(&[0, 3], &[]);
    op().i64(&[9.0]).gives(&[2, 3], &[0.0, 0.0, 1.0, 0.0, 0.0, 2.0]);
    op().i64(&[9.0]).f32(&[1], &[0.9]).gives(&[3, 3], &[0.0, 0.0, 1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0]);
    op().i64(&[9.0]).nothing().f32(&[1], &[0.5]).gives(&[1, 3], &[0.0, 0.0, 1.0]);
    op().i64(&[9.0]).f32(&[2], &[0.5, 0.5]).refuses(&["iou_threshold"]);
    op().i64(&[9.0]).int("center_point_box", 2).refuses(&["center_point_box of 2"]);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let op = |boxes: &[u32], scores: &[u32]| {
        let zeros = |shape: &[u32]| vec![0.0; shape.iter().product::<u32>() as usize];
        OneNode::new("NonMaxSuppression")
            .f32(boxes, &zeros(boxes))
            .f32(scores, &zeros(scores))
            .i64(&[1.0])
            .output(I64)
    };
    op(&[1, 2, 4], &[1, 1, 2]).gives(&[1, 3], &[0.0, 0.0, 0.0]);
    for (boxes, scores) in [
        (&[1, 2, 4][..], &[1, 1, 3][..]),
        (&[2, 2, 4], &[1, 1, 2]),
        (&[1, 2, 3], &[1, 1, 2]),
        (&[2, 4], &[1, 1, 2]),
        (&[1, 2, 4], &[1, 2]),
    ] {
        op(boxes, scores).refuses(&["are expected"]);
    }
}

/// Scores, and boxes where `both`, of which those are taken that a mask says.
fn behind_a_mask(both: bool) -> Graph {
    let node = |op: &str, inputs: &[&str], output: &str| NodeProto {
        op_type: op.into(),
        input: inputs.iter().map(|name| (*name).into()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    };
    let along = |mut node: NodeProto, axis: i64| {
        node.attribute.push(int("axis", axis));
        node
    };
    let nodes = vec![
        node("NonZero", &["mask"], "found"),
        node("Squeeze", &["found", "first"], "places"),
        along(node("Gather", &["boxes", "places"], "some_boxes"), 1),
        along(node("Gather", &["scores", "places"], "some_scores"), 2),
        node(
            "NonMaxSuppression",
            &[if both { "some_boxes" } else { "boxes" }, "some_scores", "most", "overlap"],
            "y",
        ),
    ];
    let inputs = vec![
        value("mask", FLOAT, &[5]),
        value("boxes", FLOAT, &[1, 5, 4]),
        value("scores", FLOAT, &[1, 2, 5]),
    ];
    let constant = |name: &str, data_type, raw_data: &[u8]| TensorProto {
        name: name.into(),
        data_type,
        dims: vec![1],
        raw_data: raw_data.into(),
        ..TensorProto::default()
    };
    let constants = vec![
        constant("first", INT64, &0i64.to_le_bytes()),
        constant("most", INT64, &i64::MAX.to_le_bytes()),
        constant("overlap", FLOAT, &0.5f32.to_le_bytes()),
    ];
    Graph::load(model(nodes, inputs, constants), &Limits::default()).expect("it loads")
}

#[test]
fn how_many_boxes_there_are_may_depend_on_values() {
    let boxes: Vec<f32> = [0.0, 0.1, 0.2, 5.0, 9.0].iter().flat_map(|at| [*at, 0.0, at + 1.0, 1.0]).collect();
    let given = |mask: [f32; 5]| -> Vec<NamedTensor> {
        vec![
            ("mask".into(), Wire::from_f32(vec![5], &mask)),
            ("boxes".into(), Wire::from_f32(vec![1, 5, 4], &boxes)),
            (
                "scores".into(),
                Wire::from_f32(vec![1, 2, 5], &[0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1]),
            ),
        ]
    };
    let (mut graph, limits) = (behind_a_mask(true), Limits::default());
    for (mask, expected) in [
        ([1.0; 5], vec![[0, 0, 4], [0, 0, 3], [0, 0, 2], [0, 1, 0], [0, 1, 3], [0, 1, 4]]),
        ([1.0, 0.0, 1.0, 0.0, 1.0], vec![[0, 0, 2], [0, 0, 1], [0, 1, 0], [0, 1, 2]]),
        ([0.0; 5], vec![]),
    ] {
        let outputs = graph.infer(given(mask), &limits).expect("it runs");
        let selected: Vec<i64> =
            outputs[0].1.data.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect();
        assert_eq!(outputs[0].1.dimensions, [expected.len() as u32, 3]);
        assert_eq!(selected, expected.concat());
    }
    let mut graph = behind_a_mask(false);
    graph.infer(given([1.0; 5]), &limits).expect("all of them fit");
    match graph.infer(given([1.0, 0.0, 0.0, 0.0, 1.0]), &limits) {
        Err(InferError::Value { operator, reason, .. }) => {
            assert!(operator == "NonMaxSuppression" && reason.contains("scores of [1, 2, 2]"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}
