//! Execution contexts: tensors larger than a message in parts, whose they are, and what an unload, a deletion and an
//! upgrade leave of them.

use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, Model, element};
use ic_nn_tests::service::{Caller, Service, principal, refused, stranger};
use ic_nn_types::{
    ComputeOptions, Context, ErrorCode, InitArgs, NamedTensor, OutputRange, Role, Tensor, TensorType,
};

/// Bytes of a tensor that takes three messages.
const BYTES: usize = 5_000_000;
/// Bytes of a part.
const PART: usize = 2_000_000;

/// An echo of any length, loaded, and a context on it.
fn echo<'a>(service: &Service<'a>) -> (Caller<'a>, u64, Context) {
    service.upload("echo", &onnx::echo(element::FLOAT, &[Dim::Named("n")])).expect("it is accepted");
    let caller = service.controller();
    let graph = caller.load_by_name("echo").expect("it loads");
    let context = caller.init_execution_context(graph).expect("it opens");
    (caller, graph, context)
}

/// A tensor of these bytes of a whole of `whole` bytes.
fn part(whole: usize, data: &[u8]) -> Tensor {
    Tensor { dimensions: vec![(whole / 4) as u32], ty: TensorType::FP32, data: data.to_vec() }
}

/// Floats that are all different, as bytes.
fn bytes(count: usize) -> Vec<u8> {
    (0..count / 4).flat_map(|i| (i as f32).to_le_bytes()).collect()
}

fn range(offset: u64, limit: Option<u64>) -> Option<OutputRange> {
    Some(OutputRange { offset: Some(offset), limit })
}

fn nothing() -> ComputeOptions {
    ComputeOptions { outputs: Some(vec![]), ..Default::default() }
}

fn small(values: &[f32]) -> Tensor {
    Tensor::from_f32(vec![values.len() as u32], values)
}

fn input(values: &[f32]) -> [NamedTensor; 1] {
    [("x".to_owned(), small(values))]
}

/// Fetches an output in parts of `size` bytes.
fn fetch(caller: &Caller<'_>, context: Context, size: usize) -> Vec<u8> {
    let mut whole = vec![];
    loop {
        let got = caller
            .get_output(context, "y", range(whole.len() as u64, Some(size as u64)))
            .expect("a part is answered");
        assert_eq!(got.offset, whole.len() as u64);
        whole.extend_from_slice(&got.data);
        if whole.len() as u64 == got.total_bytes {
            return whole;
        }
        assert!(!got.data.is_empty(), "at {} of {} nothing came", whole.len(), got.total_bytes);
    }
}

#[test]
fn what_no_message_holds_goes_in_and_out_in_parts() {
    on_every_runtime("parts", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, _, context) = echo(&service);
        let sent = bytes(BYTES);
        for (ix, data) in sent.chunks(PART).enumerate() {
            let offset = Some((ix * PART) as u64);
            caller.set_input(context, "x", &part(BYTES, data), offset).expect("a part is taken");
        }
        refused(caller.compute(context, &[], None), ErrorCode::TooLarge, &["2097152", "get_output"]);
        assert!(fetch(&caller, context, PART) == sent, "the context keeps what no reply holds");
        assert_eq!(caller.compute(context, &[], Some(&nothing())), Ok(vec![]));
        for size in [PART, 1_999_999, 3_000_000] {
            assert!(fetch(&caller, context, size) == sent, "in parts of {size}");
        }
        let first = caller.get_output(context, "y", range(0, None)).expect("as much as a reply holds");
        assert!(
            first.instructions.is_some_and(|instructions| instructions > 1_000_000),
            "{:?}",
            first.instructions
        );
        assert!(first.data.len() > PART && first.data.len() < BYTES, "{}", first.data.len());
        assert_eq!(first.dimensions, [(BYTES / 4) as u32]);
        refused(caller.get_output(context, "y", None), ErrorCode::TooLarge, &["5000000", "offset"]);
    });
}

#[test]
fn parts_come_in_any_order_and_may_overlap() {
    on_every_runtime("order of parts", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, _, context) = echo(&service);
        let sent = bytes(40_000);
        let set = |from: usize, to: usize| {
            caller
                .set_input(context, "x", &part(sent.len(), &sent[from..to]), Some(from as u64))
                .expect("a part is taken");
        };
        // The ends are no multiples of an element either.
        for (from, to) in [(30_001, 40_000), (9_999, 20_003), (0, 10_001), (15_000, 30_001), (0, 7)] {
            set(from, to);
        }
        let outputs = caller.compute(context, &[], None).expect("it is whole");
        assert!(outputs[0].1.data == sent);
        // A part that comes again is overwritten, and the tensor stays whole.
        let changed = Tensor { data: vec![0; 4], ..part(sent.len(), &[]) };
        caller.set_input(context, "x", &changed, Some(4)).expect("it is taken");
        let outputs = caller.compute(context, &[], None).expect("it is whole");
        assert!(outputs[0].1.data[..8] == [0; 8] && outputs[0].1.data[8..] == sent[8..]);
    });
}

#[test]
fn an_input_that_is_not_whole_is_refused_with_what_came() {
    on_every_runtime("incomplete", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, _, context) = echo(&service);
        let code = ErrorCode::InvalidArgument;
        refused(caller.compute(context, &[], None), code, &["`x`", "missing"]);
        let set = |at: u64, length: usize| {
            caller.set_input(context, "x", &part(4_000, &vec![1; length]), Some(at)).expect("it is taken");
        };
        set(0, 1_000);
        set(2_000, 500);
        refused(caller.compute(context, &[], None), code, &["`x`", "1000", "2000", "2500", "4000"]);
        set(1_000, 1_000);
        refused(caller.compute(context, &[], None), code, &["`x`", "2500", "4000"]);
        set(2_400, 1_600);
        caller.compute(context, &[], None).expect("now it is whole");
        // Other dimensions begin another tensor, of which nothing has come but this.
        caller.set_input(context, "x", &part(2_000, &[1; 1_000]), Some(0)).expect("it is taken");
        refused(caller.compute(context, &[], None), code, &["`x`", "1000", "2000"]);
        let given = input(&[1.0]);
        caller.compute(context, &given, None).expect("what comes with the call goes before it");
        refused(caller.compute(context, &[], None), code, &["`x`"]);
    });
}

#[test]
fn an_offset_past_the_end_is_refused() {
    on_every_runtime("offsets", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, _, context) = echo(&service);
        let code = ErrorCode::InvalidArgument;
        for (offset, length) in [(400, 1), (399, 2), (0, 401), (u64::MAX, 1), (u64::MAX, 0)] {
            let set = caller.set_input(context, "x", &part(400, &vec![0; length]), Some(offset));
            refused(set, code, &["x", "400"]);
        }
        caller.compute(context, &input(&[1.0; 100]), None).expect("it computes");
        refused(caller.get_output(context, "y", range(401, None)), code, &["401", "400 bytes"]);
        refused(caller.get_output(context, "y", range(u64::MAX, None)), code, &["400 bytes"]);
        let end = caller.get_output(context, "y", range(400, None)).expect("nothing is behind the end");
        assert_eq!((end.data.len(), end.offset, end.total_bytes), (0, 400, 400));
        let last = caller.get_output(context, "y", range(399, Some(u64::MAX))).expect("the last byte");
        assert_eq!(last.data.len(), 1);
    });
}

#[test]
fn what_is_set_stays_and_what_comes_with_a_call_is_the_call_s() {
    on_every_runtime("set and given", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, _, context) = echo(&service);
        let computed = |inputs: &[NamedTensor]| {
            caller.compute(context, inputs, None).expect("it computes")[0].1.to_f32().expect("FP32")
        };
        caller.set_input(context, "x", &small(&[1.0, 2.0]), None).expect("it is set");
        assert_eq!(computed(&[]), [1.0, 2.0]);
        assert_eq!(computed(&input(&[7.0])), [7.0]);
        assert_eq!(computed(&[]), [1.0, 2.0]);
        let by_index = [("0".to_owned(), small(&[8.0]))];
        assert_eq!(computed(&by_index), [8.0], "by index it is the same input");
        caller.set_input(context, "0", &small(&[3.0]), None).expect("it is set anew");
        assert_eq!(computed(&[]), [3.0]);
    });
}

#[test]
fn a_context_is_its_owner_s() {
    on_every_runtime("owners", |replica| {
        let service = Service::deploy(replica, None);
        let (controller, graph, _) = echo(&service);
        let owner = service.grant(stranger(), Role::Caller);
        let context = owner.init_execution_context(graph).expect("a caller opens one");
        owner.compute(context, &input(&[1.0]), None).expect("and computes");
        for other in [
            service.grant(principal(1), Role::Caller),
            service.grant(principal(2), Role::Uploader),
            service.grant(principal(3), Role::Admin),
        ] {
            let code = ErrorCode::Security;
            refused(other.set_input(context, "x", &small(&[2.0]), None), code, &["another principal"]);
            refused(other.compute(context, &input(&[2.0]), None), code, &["another principal"]);
            refused(other.get_output(context, "y", None), code, &["another principal"]);
            refused(other.finalize_execution_context(context), code, &["another principal"]);
        }
        let part = owner.get_output(context, "y", None).expect("it is untouched");
        assert_eq!(part.data, 1f32.to_le_bytes());
        controller.get_output(context, "y", None).expect("a controller may look");
        controller.finalize_execution_context(context).expect("and clear away");
        refused(owner.get_output(context, "y", None), ErrorCode::InvalidArgument, &["finalized"]);
    });
}

#[test]
fn contexts_are_counted() {
    on_every_runtime("max_contexts", |replica| {
        let args = InitArgs { max_contexts: Some(2), ..Default::default() };
        let service = Service::deploy(replica, Some(args));
        let (caller, graph, first) = echo(&service);
        caller.init_execution_context(graph).expect("a second one");
        refused(caller.init_execution_context(graph), ErrorCode::TooLarge, &["max_contexts"]);
        caller.finalize_execution_context(first).expect("it closes");
        caller.init_execution_context(graph).expect("there is room again");
    });
}

#[test]
fn contexts_survive_the_unload_of_their_graph() {
    on_every_runtime("unload", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, graph, context) = echo(&service);
        caller.set_input(context, "x", &small(&[1.0, 2.0]), None).expect("it is set");
        caller.unload(graph).expect("it unloads");
        caller.compute(context, &[], None).expect("it computes all the same");
        caller.set_input(context, "x", &small(&[5.0]), None).expect("and can be set");
        caller.compute(context, &[], None).expect("and computed");
        let part = caller.get_output(context, "y", None).expect("and read");
        assert_eq!(part.data, 5f32.to_le_bytes());
    });
}

#[test]
fn an_upgrade_takes_the_tensors_and_leaves_the_context() {
    on_every_runtime("upgrade of contexts", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, _, context) = echo(&service);
        caller.set_input(context, "x", &small(&[1.0, 2.0]), None).expect("it is set");
        caller.compute(context, &[], None).expect("it computes");
        service.upgrade();
        refused(caller.get_output(context, "y", None), ErrorCode::NotFound, &["upgrade", "compute"]);
        let error = caller.compute(context, &[], None).expect_err("its input is gone");
        let error = error.service().expect("an error of the service").clone();
        assert!(
            matches!(error.code, ErrorCode::NotFound | ErrorCode::InvalidArgument)
                && error.data.contains("`x`"),
            "the input that is missing is named: {error}"
        );
        caller.set_input(context, "x", &small(&[3.0]), None).expect("the context is open still");
        caller.compute(context, &[], None).expect("and computes");
        assert_eq!(caller.get_output(context, "y", None).expect("it is kept").data, 3f32.to_le_bytes());
        caller.finalize_execution_context(context).expect("it closes");
    });
}

#[test]
fn a_deletion_ends_contexts_and_handles_with_its_reason() {
    on_every_runtime("deletion", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, graph, context) = echo(&service);
        caller.compute(context, &input(&[1.0]), None).expect("it computes");
        service.delete("echo").expect("it is deleted");
        let code = ErrorCode::NotFound;
        refused(caller.compute(context, &input(&[1.0]), None), code, &["deleted"]);
        refused(caller.get_output(context, "y", None), code, &["deleted"]);
        refused(caller.init_execution_context(graph), code, &["deleted"]);
    });
}

#[test]
fn contexts_of_a_deleted_model_do_not_count_as_open() {
    on_every_runtime("deletion makes room", |replica| {
        let args = InitArgs { max_contexts: Some(1), ..Default::default() };
        let service = Service::deploy(replica, Some(args));
        let (caller, graph, _) = echo(&service);
        refused(caller.init_execution_context(graph), ErrorCode::TooLarge, &["1"]);
        service.delete("echo").expect("it is deleted");
        echo(&service);
    });
}

#[test]
fn outputs_are_selected() {
    let model = Model {
        nodes: vec![onnx::node("Neg", &["x"], &["a"], vec![]), onnx::node("Abs", &["x"], &["b"], vec![])],
        inputs: vec![onnx::value("x", element::FLOAT, &[Dim::Is(1)])],
        outputs: ["a", "b"].map(|n| onnx::value(n, element::FLOAT, &[Dim::Is(1)])).to_vec(),
        ..Model::default()
    }
    .finish();
    on_every_runtime("selection", |replica| {
        let service = Service::deploy(replica, None);
        service.upload("two", &model).expect("it is accepted");
        let caller = service.controller();
        let graph = caller.load_by_name("two").expect("it loads");
        let context = caller.init_execution_context(graph).expect("it opens");
        let x = input(&[-4.0]);
        let select = |outputs: &[&str]| {
            let outputs = outputs.iter().map(|o| (*o).to_owned()).collect();
            let options = ComputeOptions { outputs: Some(outputs), ..Default::default() };
            let mut request = ic_nn_tests::service::request("two", x.to_vec());
            request.outputs = options.outputs.clone();
            let (computed, inferred) = (caller.compute(context, &x, Some(&options)), caller.infer(&request));
            assert_eq!(
                inferred.as_ref().map(|r| &r.outputs).ok(),
                computed.as_ref().ok(),
                "infer selects alike"
            );
            computed
                .map(|o| o.into_iter().map(|(n, t)| (n, t.to_f32().expect("FP32")[0])).collect::<Vec<_>>())
        };
        let (a, b) = (("a".to_owned(), 4.0f32), ("b".to_owned(), 4.0f32));
        assert_eq!(select(&["b"]), Ok(vec![b.clone()]));
        assert_eq!(
            select(&["1", "a"]),
            Ok(vec![b.clone(), a.clone()]),
            "in the order asked for, by index too"
        );
        assert_eq!(select(&[]), Ok(vec![]));
        assert_eq!(caller.compute(context, &x, None).expect("it computes").len(), 2);
        refused(select(&["a", "c"]), ErrorCode::InvalidArgument, &["`c`", "`a` FP32", "`b` FP32"]);
        caller.compute(context, &input(&[6.0]), Some(&nothing())).expect("it computes");
        for (name, value) in [("a", -6f32), ("b", 6f32)] {
            let part = caller.get_output(context, name, None).expect("the context keeps all");
            assert_eq!(part.data, value.to_le_bytes(), "{name}");
        }
    });
}

#[test]
fn a_finalized_context_gives_its_memory_back() {
    on_every_runtime("memory of contexts", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, graph, context) = echo(&service);
        let values = vec![1.0; 400_000];
        let heap = || caller.server_metadata().expect("metadata").heap_bytes;
        caller.compute(context, &input(&values), Some(&nothing())).expect("it computes");
        caller.finalize_execution_context(context).expect("it closes");
        let before = heap();
        for _ in 0..5 {
            let context = caller.init_execution_context(graph).expect("it opens");
            caller.set_input(context, "x", &small(&values), None).expect("it is set");
            caller.compute(context, &[], Some(&nothing())).expect("it computes");
            assert!(heap() > before + 3_000_000, "it holds its input and its output");
            caller.finalize_execution_context(context).expect("it closes");
        }
        let after = heap();
        assert!(after < before + 50_000, "{before} bytes before, {after} after");
    });
}
