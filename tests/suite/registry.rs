//! Versions, names, lists, deletion, graph handles.

use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, element};
use ic_nn_tests::service::{Service, principal, refused};
use ic_nn_types::{
    ErrorCode, ExecutionTarget, GraphBuilder, GraphEncoding, InitArgs, ListRequest, ModelState, Role, Tensor,
};

#[test]
fn versions_count_up_and_are_not_reused() {
    on_every_runtime("versions", |replica| {
        let service = Service::deploy(replica, None);
        let relu = onnx::unary("Relu", element::FLOAT, &[Dim::Is(1)]);
        let neg = onnx::unary("Neg", element::FLOAT, &[Dim::Is(1)]);
        assert_eq!(service.upload("m", &relu).expect("it is accepted").version, 1);
        assert_eq!(service.upload("m", &neg).expect("it is accepted").version, 2);
        let x = || vec![("x".to_owned(), Tensor::from_f32(vec![1], &[-3.0]))];
        let answer = |model: &str| service.ask(model, x()).expect("it infers")[0].1.to_f32().expect("FP32");
        assert_eq!(answer("m"), [3.0], "the newest");
        assert_eq!(answer("m:1"), [0.0]);
        assert_eq!(service.delete("m:2"), Ok(1));
        assert_eq!(answer("m"), [0.0], "the newest that is left");
        refused(service.ask("m:2", x()), ErrorCode::NotFound, &["m", "2", "1"]);
        assert_eq!(service.upload("m", &neg).expect("it is accepted").version, 3);
        assert_eq!(service.delete("m"), Ok(2));
        refused(service.delete("m"), ErrorCode::NotFound, &["m"]);
        assert_eq!(service.upload("m", &neg).expect("it is accepted").version, 4);
    });
}

#[test]
fn lists_come_in_pages() {
    on_every_runtime("list", |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        for name in ["b", "a", "c"] {
            service.upload(name, &onnx::echo(element::FLOAT, &[Dim::Is(1)])).expect("it is accepted");
        }
        service.upload("a", &onnx::echo(element::INT64, &[Dim::Is(1)])).expect("it is accepted");
        let page = caller.list(&ListRequest { after: None, limit: Some(3) }).expect("a page");
        let names: Vec<_> = page.models.iter().map(|m| (m.name.as_str(), m.version)).collect();
        assert_eq!(names, [("a", 1), ("a", 2), ("b", 1)]);
        assert!(page.models.iter().all(|m| m.state == Some(ModelState::Available)));
        let rest = caller.list(&ListRequest { after: page.next, limit: Some(3) }).expect("a page");
        assert_eq!((rest.models.len(), rest.next), (1, None));
        refused(
            caller.list(&ListRequest { after: Some("a:x".into()), limit: None }),
            ErrorCode::InvalidArgument,
            &["`a:`"],
        );
    });
}

#[test]
fn handles_are_shared_while_loaded_and_never_reused() {
    on_every_runtime("handles", |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        service.upload("m", &onnx::add()).expect("it is accepted");
        let first = caller.load_by_name("m").expect("it loads");
        assert_eq!(caller.load_by_name("m:1"), Ok(first));
        caller.unload(first).expect("it unloads");
        refused(caller.unload(first), ErrorCode::InvalidArgument, &["unloaded"]);
        refused(caller.unload(77), ErrorCode::InvalidArgument, &["77"]);
        let second = caller.load_by_name("m").expect("it loads again");
        assert!(second > first);
        refused(caller.load_by_name("n"), ErrorCode::NotFound, &["n"]);
        service.delete("m").expect("it goes");
        refused(caller.unload(second), ErrorCode::NotFound, &["model m:1 was deleted"]);
        assert_eq!(caller.server_metadata().expect("metadata").name, "ic-nn");
    });
}

#[test]
fn a_handle_whose_model_was_deleted_says_so_to_every_method_and_after_an_upgrade() {
    on_every_runtime("handles of deleted models", |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        for name in ["unloaded", "deleted"] {
            service.upload(name, &onnx::add()).expect("it is accepted");
        }
        let unloaded = caller.load_by_name("unloaded").expect("it loads");
        let deleted = caller.load_by_name("deleted").expect("it loads");
        caller.unload(unloaded).expect("it unloads");
        service.delete("unloaded").expect("it goes, and no handle with it");
        service.delete("deleted").expect("it goes with its handle");
        let hold = |graph: u64, code: ErrorCode, text: &str| {
            let words = [format!("graph {graph}"), text.to_owned()];
            let words = words.each_ref().map(String::as_str);
            refused(caller.describe_graph(graph), code, &words);
            refused(caller.list_properties(graph), code, &words);
            refused(caller.get_property(graph, "cache"), code, &words);
            refused(caller.set_property(graph, "cache", Some("1")), code, &words);
            refused(caller.init_execution_context(graph), code, &words);
            refused(caller.unload(graph), code, &words);
        };
        for _ in 0..2 {
            hold(deleted, ErrorCode::NotFound, "was closed when its model deleted:1 was deleted");
            hold(unloaded, ErrorCode::InvalidArgument, "was unloaded");
            hold(deleted + 1, ErrorCode::InvalidArgument, "no graph");
            service.upgrade();
        }
        service.upload("deleted", &onnx::add()).expect("the name goes on");
        assert_eq!(caller.load_by_name("deleted"), Ok(deleted + 1));
        hold(deleted, ErrorCode::NotFound, "deleted:1 was deleted");
    });
}

#[test]
fn a_handle_is_closed_by_who_uploaded_the_model_or_opened_it() {
    on_every_runtime("whose handles", |replica| {
        let service = Service::deploy(replica, None);
        let uploader = service.grant(principal(1), Role::Uploader);
        let opener = service.grant(principal(2), Role::Uploader);
        let other = service.grant(principal(3), Role::Uploader);
        let admin = service.grant(principal(4), Role::Admin);
        uploader.upload("m", &onnx::add(), &mut |_| {}).expect("it is accepted");
        let opened = || opener.load_by_name("m").expect("it loads");
        let untouched = |graph, words: &[&str]| {
            refused(other.unload(graph), ErrorCode::Security, words);
            assert_eq!(service.controller().describe("m").expect("it is there").graph, Some(graph));
        };
        let (one, two) = (principal(1).to_text(), principal(2).to_text());
        let graph = opened();
        assert_eq!(other.load_by_name("m"), Ok(graph), "it is shared, and stays its opener's");
        untouched(graph, &["uploader", &one, &two, "opened it"]);
        opener.unload(graph).expect("who opened it");
        uploader.unload(opened()).expect("whose model it is");
        admin.unload(opened()).expect("an admin");
        let graph = opened();
        service.upgrade();
        untouched(graph, &[&two]);
        opener.unload(graph).expect("it is its opener's after an upgrade");
        let graph = uploader.load_by_name("m").expect("it loads");
        assert_eq!(opener.load_by_name("m"), Ok(graph));
        refused(opener.unload(graph), ErrorCode::Security, &[&one]);
        uploader.unload(graph).expect("it closes");
        // What came as bytes is who loaded it's alone.
        let builders = [GraphBuilder::from(onnx::add())];
        let of_bytes = uploader.load(&builders, GraphEncoding::Onnx, ExecutionTarget::Cpu, None);
        let graph = of_bytes.expect("it loads");
        refused(other.unload(graph), ErrorCode::Security, &[&one]);
        uploader.unload(graph).expect("it closes");
        refused(other.unload(graph), ErrorCode::InvalidArgument, &["unloaded"]);
    });
}

/// `y = x + w` for `floats` weights of value `v`.
fn weighty(floats: usize, v: f32) -> Vec<u8> {
    let shape = [Dim::Is(floats as i64)];
    let weights: Vec<u8> = std::iter::repeat_n(v.to_le_bytes(), floats).flatten().collect();
    onnx::Model {
        nodes: vec![onnx::node("Add", &["x", "w"], &["y"], vec![])],
        inputs: vec![onnx::value("x", element::FLOAT, &[Dim::Is(1)])],
        outputs: vec![onnx::value("y", element::FLOAT, &shape)],
        initializers: vec![onnx::tensor("w", element::FLOAT, &[floats as i64], &weights)],
        ..Default::default()
    }
    .finish()
}

#[test]
fn graphs_that_nobody_holds_leave_when_memory_is_short() {
    on_every_runtime("eviction", |replica| {
        let limits = InitArgs { max_heap_bytes: Some(16 << 20), ..Default::default() };
        let service = Service::deploy(replica, Some(limits));
        let caller = service.controller();
        service.serve("held", &weighty(1_000, 5.0));
        for ix in 0..12 {
            let model = weighty(300_000, ix as f32);
            service.upload(&format!("m{ix}"), &model).expect("older graphs make room");
        }
        service.upload("large", &weighty(900_000, 1.0)).expect("older graphs make room");
        let metadata = caller.server_metadata().expect("metadata");
        assert!(metadata.heap_bytes < 16 << 20 && metadata.loaded_graphs < 14, "{metadata:?}");
        let states = caller.list_all().expect("a list");
        let held = states.iter().find(|m| m.name == "held").expect("it is there");
        assert_eq!(held.state, Some(ModelState::Loaded), "what has a handle stays");
        let huge = weighty(6_000_000, 1.0);
        refused(service.upload("huge", &huge), ErrorCode::TooLarge, &["max_heap_bytes"]);
        let x = vec![("x".to_owned(), Tensor::from_f32(vec![1], &[2.0]))];
        assert_eq!(service.ask("m0", x).expect("it loads again")[0].1.to_f32().expect("FP32")[0], 2.0);
    });
}
