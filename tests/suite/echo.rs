//! The echo model, wasi-nn's own measure of an implementation: what goes in comes out bit for bit, for every element
//! type and rank, through one call and through an execution context.

use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, Model, element_of};
use ic_nn_tests::service::Service;
use ic_nn_types::{ComputeOptions, NamedTensor, Tensor, TensorType};

/// Bytes of a tensor that nearly fills a message.
const LARGE: usize = 2_000_000;

const AXES: [Dim; 6] =
    [Dim::Named("a"), Dim::Named("b"), Dim::Named("c"), Dim::Named("d"), Dim::Named("e"), Dim::Named("f")];

/// Bit patterns that an engine is tempted to change: quiet and signalling NaNs with payloads, infinities, both zeros,
/// the least and the largest denormals, and one.
fn patterns(ty: TensorType) -> Vec<u64> {
    match ty {
        TensorType::FP16 => {
            vec![0x7e01, 0xfe55, 0x7c01, 0xfdff, 0x7c00, 0xfc00, 0, 0x8000, 0x0001, 0x03ff, 0x83ff, 0x3c00]
        }
        TensorType::BF16 => {
            vec![0x7fc1, 0xffd5, 0x7f81, 0xffbf, 0x7f80, 0xff80, 0, 0x8000, 0x0001, 0x007f, 0x807f, 0x3f80]
        }
        TensorType::FP32 => vec![
            0x7fc0_0001,
            0xffd5_5555,
            0x7f80_0001,
            0xffbf_ffff,
            0x7f80_0000,
            0xff80_0000,
            0,
            0x8000_0000,
            0x0000_0001,
            0x007f_ffff,
            0x807f_ffff,
            0x3f80_0000,
        ],
        TensorType::FP64 => vec![
            0x7ff8_0000_0000_0001,
            0xfffa_aaaa_5555_aaaa,
            0x7ff0_0000_0000_0001,
            0xfff7_ffff_ffff_ffff,
            0x7ff0_0000_0000_0000,
            0xfff0_0000_0000_0000,
            0,
            0x8000_0000_0000_0000,
            0x0000_0000_0000_0001,
            0x000f_ffff_ffff_ffff,
            0x800f_ffff_ffff_ffff,
            0x3ff0_0000_0000_0000,
        ],
        TensorType::BOOL => vec![1, 0, 0, 1, 1],
        _ => vec![u64::MAX, 0, 1, 0x8080_8080_8080_8080, 0x7f7f_7f7f_7f7f_7f7f, 0x0123_4567_89ab_cdef],
    }
}

/// A tensor of this type and shape, its elements the patterns in turn.
fn tensor(ty: TensorType, dimensions: &[u32]) -> Tensor {
    let elements = dimensions.iter().map(|&d| d as usize).product();
    let data = patterns(ty)
        .iter()
        .map(|bits| bits.to_le_bytes()[..ty.size()].to_vec())
        .cycle()
        .take(elements)
        .flatten()
        .collect();
    Tensor { dimensions: dimensions.to_vec(), ty, data }
}

/// Shapes of a rank: of no elements, of one, of an odd number, and of nearly a message.
fn shapes(rank: usize, ty: TensorType) -> Vec<Vec<u32>> {
    let Some(last) = rank.checked_sub(1) else { return vec![vec![]] };
    let ones = vec![1; rank];
    let mut none = vec![2; rank];
    none[last] = 0;
    let mut odd = ones.clone();
    odd[0] = 5;
    odd[last] = 7;
    let mut large = ones.clone();
    large[last] = (LARGE / ty.size()) as u32;
    if rank > 1 {
        large[last] /= 2;
        large[last - 1] = 2;
    }
    vec![none, ones, odd, large]
}

/// Holds what came to what was sent, naming the first byte that differs.
#[track_caller]
fn same(what: &str, sent: &Tensor, came: &Tensor) {
    assert_eq!((came.ty, &came.dimensions), (sent.ty, &sent.dimensions), "{what}");
    assert_eq!(came.data.len(), sent.data.len(), "{what}: bytes");
    if let Some(at) = sent.data.iter().zip(&came.data).position(|(s, c)| s != c) {
        let element = at / sent.ty.size() * sent.ty.size();
        let end = element + sent.ty.size();
        panic!(
            "{what}: element {} went in as {:02x?} and came out as {:02x?}",
            element / sent.ty.size(),
            &sent.data[element..end],
            &came.data[element..end]
        );
    }
}

#[track_caller]
fn only(what: &str, mut outputs: Vec<NamedTensor>) -> Tensor {
    assert_eq!(outputs.len(), 1, "{what}: one output is expected");
    let (name, tensor) = outputs.remove(0);
    assert_eq!(name, "y", "{what}");
    tensor
}

fn echoes_of_rank(rank: usize) {
    on_every_runtime(&format!("echo of rank {rank}"), |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        for ty in TensorType::ALL {
            let name = format!("echo-{ty}-{rank}");
            service.upload(&name, &onnx::echo(element_of(ty), &AXES[..rank])).expect("it is accepted");
            let graph = caller.load_by_name(&name).expect("it loads");
            let context = caller.init_execution_context(graph).expect("it opens");
            for shape in shapes(rank, ty) {
                let sent = tensor(ty, &shape);
                let inputs = || vec![("x".to_owned(), sent.clone())];
                let what = format!("{ty} {shape:?}");
                let fails = |way: &str, e: &dyn std::fmt::Display| -> ! { panic!("{what} by {way}: {e}") };
                let outputs = service.infer(&name, inputs()).unwrap_or_else(|e| fails("infer", &e));
                same(&format!("{what} by infer"), &sent, &only(&what, outputs));
                let outputs =
                    caller.compute(context, &inputs(), None).unwrap_or_else(|e| fails("compute", &e));
                same(&format!("{what} by compute"), &sent, &only(&what, outputs));
                let part = caller.get_output(context, "y", None).unwrap_or_else(|e| fails("get_output", &e));
                assert_eq!((part.offset, part.total_bytes), (0, sent.data.len() as u64), "{what}");
                let part = Tensor { dimensions: part.dimensions, ty: part.ty, data: part.data };
                same(&format!("{what} by get_output"), &sent, &part);
                let outputs = service.ask(&name, inputs()).unwrap_or_else(|e| fails("infer_query", &e));
                same(&format!("{what} by infer_query"), &sent, &only(&what, outputs));
            }
            caller.finalize_execution_context(context).expect("it closes");
            caller.unload(graph).expect("it unloads");
        }
    });
}

#[test]
fn rank_0() {
    echoes_of_rank(0);
}

#[test]
fn rank_1() {
    echoes_of_rank(1);
}

#[test]
fn rank_2() {
    echoes_of_rank(2);
}

#[test]
fn rank_3() {
    echoes_of_rank(3);
}

#[test]
fn rank_4() {
    echoes_of_rank(4);
}

#[test]
fn rank_5() {
    echoes_of_rank(5);
}

#[test]
fn rank_6() {
    echoes_of_rank(6);
}

#[test]
fn a_scalar_may_be_written_as_wasi_nn_does() {
    on_every_runtime("scalars", |replica| {
        let service = Service::deploy(replica, None);
        for ty in TensorType::ALL {
            let name = format!("echo-{ty}");
            service.serve(&name, &onnx::echo(element_of(ty), &[]));
            let sent = tensor(ty, &[1]);
            let outputs = service.infer(&name, vec![("x".into(), sent.clone())]).expect("[1] is a scalar");
            assert_eq!(outputs[0].1.data, sent.data, "{ty}");
        }
    });
}

#[test]
fn inputs_of_every_type_in_one_graph() {
    let (x, y) = (|ty: TensorType| format!("x_{ty}"), |ty: TensorType| format!("y_{ty}"));
    let model = Model {
        nodes: TensorType::ALL
            .map(|ty| onnx::node("Identity", &[x(ty).as_str()], &[y(ty).as_str()], vec![]))
            .to_vec(),
        inputs: TensorType::ALL.map(|ty| onnx::value(&x(ty), element_of(ty), &AXES[..2])).to_vec(),
        outputs: TensorType::ALL.map(|ty| onnx::value(&y(ty), element_of(ty), &AXES[..2])).to_vec(),
        ..Model::default()
    }
    .finish();
    on_every_runtime("echo of many", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("echo", &model);
        let caller = service.controller();
        let graph = caller.describe("echo").expect("it is there").graph.expect("it is loaded");
        let context = caller.init_execution_context(graph).expect("it opens");
        for shape in [[0, 3], [1, 1], [5, 13]] {
            let inputs: Vec<NamedTensor> = TensorType::ALL.map(|ty| (x(ty), tensor(ty, &shape))).to_vec();
            let reversed: Vec<NamedTensor> = inputs.iter().rev().cloned().collect();
            let inferred = service.infer("echo", reversed).expect("inputs come in any order");
            let computed = caller.compute(context, &inputs, None).expect("it computes");
            for (way, outputs) in [("infer", inferred), ("compute", computed)] {
                assert_eq!(outputs.len(), 13, "{way}");
                for (ty, (name, came)) in TensorType::ALL.into_iter().zip(&outputs) {
                    assert_eq!(*name, y(ty), "{way}: outputs come in the graph's order");
                    same(&format!("{ty} {shape:?} by {way}"), &tensor(ty, &shape), came);
                }
            }
            let none = ComputeOptions { outputs: Some(vec![]), ..Default::default() };
            assert_eq!(caller.compute(context, &inputs, Some(&none)).expect("it computes"), []);
            for ty in TensorType::ALL {
                let part = caller.get_output(context, &y(ty), None).expect("it is kept");
                assert_eq!(part.data, tensor(ty, &shape).data, "{ty} {shape:?} by get_output");
            }
        }
    });
}
