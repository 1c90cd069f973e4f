//! WasmEdge's negative matrix, a test for each row.

use candid::encode_args;
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, element};
use ic_nn_tests::service::{Service, controller, refused, repository};
use ic_nn_types::{
    Error, ErrorCode, ExecutionTarget, Graph, GraphBuilder, GraphEncoding, NamedTensor, OutputRange, Tensor,
    TensorType,
};

use super::{floats, named, open};

fn row(values: [f32; 3]) -> Tensor {
    Tensor::from_f32(vec![1, 3], &values)
}

fn inputs() -> [NamedTensor; 2] {
    [named("left", row([1.0, 2.0, 3.0])), named("right", row([10.0, 20.0, 30.0]))]
}

fn limit(bytes: u64) -> Option<OutputRange> {
    Some(OutputRange { offset: None, limit: Some(bytes) })
}

#[test]
fn load_garbage_bytes() {
    on_every_runtime("garbage", |replica| {
        let service = Service::deploy(replica, None);
        for garbage in [&b"this is no protobuf at all"[..], &[0; 100], &onnx::add()[..30], b""] {
            let builders = [GraphBuilder::from(garbage)];
            let loaded =
                service.controller().load(&builders, GraphEncoding::Onnx, ExecutionTarget::Cpu, None);
            let error = loaded.expect_err("it is no model");
            let error = error.service().unwrap_or_else(|| panic!("an error of the service: {error}"));
            assert!(
                matches!(error.code, ErrorCode::InvalidEncoding | ErrorCode::InvalidArgument),
                "{} bytes: {error}",
                garbage.len()
            );
            assert!(error.data.len() > 10, "it tells why: {error}");
        }
        open(&service, onnx::add());
    });
}

#[test]
fn load_a_wrong_builder_count() {
    on_every_runtime("builder count", |replica| {
        let service = Service::deploy(replica, None);
        let load = |builders: &[GraphBuilder]| {
            service.controller().load(builders, GraphEncoding::Onnx, ExecutionTarget::Cpu, None)
        };
        refused(load(&[]), ErrorCode::InvalidArgument, &["at least one builder", "none came"]);
        let two = [GraphBuilder::from(onnx::add()), GraphBuilder::from(vec![1, 2, 3])];
        refused(load(&two), ErrorCode::InvalidEncoding, &["0 files", "1 came"]);
    });
}

#[test]
fn load_for_an_unsupported_target() {
    on_every_runtime("target", |replica| {
        let service = Service::deploy(replica, None);
        let builders = [GraphBuilder::from(onnx::add())];
        for (target, name) in [(ExecutionTarget::Gpu, "gpu"), (ExecutionTarget::Tpu, "tpu")] {
            refused(
                service.controller().load(&builders, GraphEncoding::Onnx, target, None),
                ErrorCode::UnsupportedOperation,
                &[name, "cpu", "fallback"],
            );
        }
    });
}

#[test]
fn load_in_an_unsupported_encoding() {
    on_every_runtime("encoding", |replica| {
        let service = Service::deploy(replica, None);
        let builders = [GraphBuilder::from(onnx::add())];
        for (encoding, name) in [
            (GraphEncoding::OpenVino, "openvino"),
            (GraphEncoding::TensorFlow, "tensorflow"),
            (GraphEncoding::PyTorch, "pytorch"),
            (GraphEncoding::TensorFlowLite, "tensorflowlite"),
            (GraphEncoding::Ggml, "ggml"),
        ] {
            let loaded = service.controller().load(&builders, encoding, ExecutionTarget::Cpu, None);
            refused(loaded, ErrorCode::InvalidEncoding, &[name]);
        }
    });
}

#[test]
fn load_the_same_bytes_twice_gives_two_distinct_ids() {
    on_every_runtime("two ids", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, first, one) = open(&service, onnx::add());
        let (_, second, other) = open(&service, onnx::add());
        assert_ne!(first, second);
        caller.unload(first).expect("it unloads");
        assert_eq!(
            floats(&caller.compute(other, &inputs(), None).expect("the other is not touched"), 0),
            [11.0, 22.0, 33.0]
        );
        caller.compute(one, &inputs(), None).expect("nor the context of the first");
        caller.init_execution_context(second).expect("the second is open");
    });
}

#[test]
fn init_on_an_unknown_graph() {
    on_every_runtime("unknown graph", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, graph, _) = open(&service, onnx::add());
        for unknown in [0, graph + 1, u64::MAX] {
            let name = unknown.to_string();
            refused(caller.init_execution_context(unknown), ErrorCode::InvalidArgument, &[&name]);
            refused(caller.unload(unknown), ErrorCode::InvalidArgument, &[&name]);
            refused(caller.describe_graph(unknown), ErrorCode::InvalidArgument, &[&name]);
        }
    });
}

#[test]
fn compute_and_set_input_on_an_unknown_context() {
    on_every_runtime("unknown context", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, _, context) = open(&service, onnx::add());
        for unknown in [0, context + 1, u64::MAX] {
            let (code, name) = (ErrorCode::InvalidArgument, unknown.to_string());
            refused(caller.compute(unknown, &inputs(), None), code, &[&name]);
            refused(caller.set_input(unknown, "left", &row([0.0; 3]), None), code, &[&name]);
            refused(caller.get_output(unknown, "sum", None), code, &[&name]);
            refused(caller.finalize_execution_context(unknown), code, &[&name]);
        }
    });
}

#[test]
fn an_unknown_input_name_or_index() {
    on_every_runtime("unknown input", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, _, context) = open(&service, onnx::add());
        for unknown in ["middle", "2", "18446744073709551616"] {
            let code = ErrorCode::InvalidArgument;
            refused(caller.set_input(context, unknown, &row([0.0; 3]), None), code, &[unknown, "left"]);
            let more = [inputs().as_slice(), &[named(unknown, row([0.0; 3]))]].concat();
            refused(caller.compute(context, &more, None), code, &[unknown]);
        }
    });
}

#[test]
fn a_wrong_type_or_shape() {
    on_every_runtime("wrong tensor", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, _, context) = open(&service, onnx::add());
        for (wrong, word) in [
            (Tensor { ty: TensorType::I32, ..row([0.0; 3]) }, "I32"),
            (Tensor::from_f32(vec![1, 4], &[0.0; 4]), "3"),
            (Tensor::from_f32(vec![3], &[0.0; 3]), "rank"),
            (Tensor { data: vec![0; 13], ..row([0.0; 3]) }, "13"),
        ] {
            let [left, _] = inputs();
            let code = ErrorCode::InvalidArgument;
            refused(caller.set_input(context, "right", &wrong, None), code, &["right", word]);
            refused(caller.compute(context, &[left, named("right", wrong)], None), code, &["right", word]);
        }
    });
}

#[test]
fn get_output_with_a_bad_index() {
    on_every_runtime("bad output", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, _, context) = open(&service, onnx::add());
        caller.compute(context, &inputs(), None).expect("it computes");
        for bad in ["1", "-1", "total", ""] {
            refused(caller.get_output(context, bad, None), ErrorCode::InvalidArgument, &[bad, "sum"]);
        }
        assert_eq!(caller.get_output(context, "0", None), caller.get_output(context, "sum", None));
    });
}

#[test]
fn get_output_into_a_too_small_limit() {
    on_every_runtime("too small", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, _, context) = open(&service, onnx::add());
        caller.compute(context, &inputs(), None).expect("it computes");
        for small in [0, 1, 11] {
            refused(
                caller.get_output(context, "sum", limit(small)),
                ErrorCode::TooLarge,
                &["sum", "12 bytes"],
            );
        }
    });
}

#[test]
fn get_output_of_the_exact_size() {
    on_every_runtime("exact size", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, _, context) = open(&service, onnx::add());
        caller.compute(context, &inputs(), None).expect("it computes");
        for enough in [12, 13, u64::MAX] {
            let part = caller.get_output(context, "sum", limit(enough)).expect("it fits");
            assert_eq!((part.total_bytes, part.offset, part.dimensions), (12, 0, vec![1, 3]));
            assert_eq!(part.data, row([11.0, 22.0, 33.0]).data);
        }
    });
}

#[test]
fn get_output_before_compute() {
    on_every_runtime("no outputs", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, _, context) = open(&service, onnx::add());
        let error = caller.get_output(context, "sum", None).expect_err("nothing was computed");
        let error = error.service().expect("an error of the service").clone();
        assert!(error.data.contains("nothing was computed") && error.data.contains("compute"), "{error}");
    });
}

#[test]
fn unload_while_contexts_live() {
    on_every_runtime("drain", |replica| {
        let service = Service::deploy(replica, None);
        service.upload("add", &onnx::add()).expect("it is accepted");
        let named_graph = service.controller().load_by_name("add").expect("it loads");
        let of_name = service.controller().init_execution_context(named_graph).expect("it opens");
        let (caller, of_bytes_graph, of_bytes) = open(&service, onnx::echo(element::FLOAT, &[Dim::Is(3)]));
        let x = [named("x", Tensor::from_f32(vec![3], &[4.0, 5.0, 6.0]))];
        caller.compute(of_name, &inputs(), None).expect("it computes");
        caller.set_input(of_bytes, "x", &x[0].1, None).expect("it is set");
        caller.unload(named_graph).expect("it unloads");
        caller.unload(of_bytes_graph).expect("it unloads");
        let part = caller.get_output(of_name, "sum", None).expect("what was computed can be read");
        assert_eq!(part.data, row([11.0, 22.0, 33.0]).data);
        let outputs = caller.compute(of_bytes, &[], None).expect("what was set can be computed");
        assert_eq!(floats(&outputs, 0), [4.0, 5.0, 6.0]);
        caller.compute(of_name, &inputs(), None).expect("and once more");
        for context in [of_name, of_bytes] {
            caller.finalize_execution_context(context).expect("it closes");
            refused(caller.compute(context, &x, None), ErrorCode::InvalidArgument, &[&context.to_string()]);
        }
        assert_eq!(caller.list_all().expect("a list").len(), 1, "the name stays, the bytes are gone");
    });
}

#[test]
fn a_second_unload() {
    on_every_runtime("second unload", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, graph, _) = open(&service, onnx::add());
        caller.unload(graph).expect("it unloads");
        refused(caller.unload(graph), ErrorCode::InvalidArgument, &[&graph.to_string(), "unloaded"]);
    });
}

#[test]
fn init_after_unload() {
    on_every_runtime("init after unload", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, graph, _) = open(&service, onnx::add());
        caller.unload(graph).expect("it unloads");
        refused(
            caller.init_execution_context(graph),
            ErrorCode::InvalidArgument,
            &[&graph.to_string(), "unloaded"],
        );
    });
}

#[test]
fn a_second_finalize() {
    on_every_runtime("second finalize", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, _, context) = open(&service, onnx::add());
        caller.finalize_execution_context(context).expect("it closes");
        refused(
            caller.finalize_execution_context(context),
            ErrorCode::InvalidArgument,
            &[&context.to_string(), "finalized"],
        );
        refused(caller.get_output(context, "sum", None), ErrorCode::InvalidArgument, &["finalized"]);
    });
}

#[test]
fn reload_after_unload_gives_a_new_id() {
    on_every_runtime("reload", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, mut graph, mut context) = open(&service, onnx::add());
        for _ in 0..5 {
            caller.finalize_execution_context(context).expect("it closes");
            caller.unload(graph).expect("it unloads");
            let (_, again, opened) = open(&service, onnx::add());
            assert!(
                again > graph && opened > context,
                "ids are never reused: {graph} {again} {context} {opened}"
            );
            (graph, context) = (again, opened);
        }
        service.upgrade();
        let (_, after, opened) = open(&service, onnx::add());
        assert!(after > graph && opened > context, "nor after an upgrade");
    });
}

/// The reply of a call that was submitted, as a handle.
#[track_caller]
fn handle(reply: Result<Vec<u8>, ic_nn_host::Reject>) -> Graph {
    let reply = reply.expect("a reply");
    candid::decode_one::<Result<Graph, Error>>(&reply).expect("a result").expect("it loads")
}

#[test]
fn load_by_name_twice_at_once_gives_one_shared_graph() {
    on_every_runtime("twice at once", |replica| {
        let service = Service::deploy(replica, None);
        service.upload("add", &onnx::add()).expect("it is accepted");
        let arg = encode_args(("add",)).expect("it encodes");
        let calls: Vec<_> = (0..3)
            .map(|_| replica.submit(service.canister, controller(), "load_by_name", &arg).expect("inducted"))
            .collect();
        let handles: Vec<Graph> = calls.into_iter().map(|c| handle(replica.await_call(c))).collect();
        assert!(handles.windows(2).all(|w| w[0] == w[1]), "{handles:?}");
        let caller = service.controller();
        assert_eq!(caller.server_metadata().expect("metadata").loaded_graphs, 1);
        let context = caller.init_execution_context(handles[0]).expect("it opens");
        caller.compute(context, &inputs(), None).expect("it computes");
    });
}

#[test]
fn load_by_name_racing_unload_gives_a_fresh_graph() {
    on_every_runtime("race", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("add", &onnx::add());
        let caller = service.controller();
        let old = caller.load_by_name("add").expect("it is loaded");
        let (name, graph) =
            (encode_args(("add",)).expect("it encodes"), encode_args((old,)).expect("it encodes"));
        let submit = |method: &str, arg: &[u8]| {
            replica.submit(service.canister, controller(), method, arg).expect("inducted")
        };
        let unload = submit("unload", &graph);
        let load = submit("load_by_name", &name);
        let unloaded = candid::decode_one::<Result<(), Error>>(&replica.await_call(unload).expect("a reply"));
        unloaded.expect("a result").expect("it unloads");
        let first = handle(replica.await_call(load));
        // Whichever ran first, what the name loads now is open, and not a handle that was unloaded.
        let fresh = caller.load_by_name("add").expect("it loads");
        assert!(first == old || first == fresh, "{old} {first} {fresh}");
        assert!(fresh > old, "a fresh graph: {old}, then {fresh}");
        let context = caller.init_execution_context(fresh).expect("it opens");
        assert_eq!(
            floats(&caller.compute(context, &inputs(), None).expect("it computes"), 0),
            [11.0, 22.0, 33.0]
        );
        // The other way round the load may find the old handle and lose it, or come after: never half of either.
        let graph = encode_args((fresh,)).expect("it encodes");
        let (load, unload) = (submit("load_by_name", &name), submit("unload", &graph));
        handle(replica.await_call(load));
        replica.await_call(unload).expect("a reply");
        let last = caller.load_by_name("add").expect("it loads");
        assert!(last > fresh, "{fresh} was unloaded: {last}");
        caller.init_execution_context(last).expect("it opens");
    });
}

/// Reserved: streaming waits for the specification, and no method of these names is here to be taken for it.
#[test]
fn compute_single_is_reserved() {
    let did = std::fs::read_to_string(repository("candid/ic_nn.did")).expect("the interface is there");
    on_every_runtime("compute-single", |replica| {
        let service = Service::deploy(replica, None);
        let (_, _, context) = open(&service, onnx::add());
        let arg = encode_args((context,)).expect("it encodes");
        for method in ["compute_single", "get_output_single", "fini_single"] {
            assert!(!did.contains(method), "{method} is not in the interface");
            let update = replica.update(service.canister, controller(), method, &arg);
            assert!(update.is_err(), "{method}: {update:?}");
            let query = replica.query(service.canister, controller(), method, &arg);
            assert!(query.is_err(), "{method}: {query:?}");
        }
    });
}
