//! Weights that stay in stable memory: models larger than the heap, and models that are asked to.

use candid::{Decode, Encode};
use ic_nn_engine::{Graph, Limits};
use ic_nn_host::Replica;
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, Message, element};
use ic_nn_tests::service::{Caller, Service, controller, refused, request};
use ic_nn_types::{
    Error, ErrorCode, EstimateRequest, InferParameters, InferRequest, InferResponse, InitArgs, NamedTensor,
    Tensor,
};

/// Layers of `side` × `side` weights and what bounds them from below.
#[derive(Clone, Copy)]
struct Layers {
    side: usize,
    count: usize,
    seed: u64,
}

impl Layers {
    /// Weights of a layer, spread evenly around zero.
    fn weights(self, layer: usize) -> Vec<u8> {
        let mut state = self.seed.wrapping_add(layer as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let scale = 3.0 / (self.side as f32).sqrt();
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * scale
        };
        (0..self.side * self.side).flat_map(|_| next().to_le_bytes()).collect()
    }

    /// The model, its weights as the initializers say.
    fn model(self, weights: impl Fn(usize) -> Message) -> Vec<u8> {
        let side = self.side as i64;
        let name = |layer: usize| if layer == self.count { "y".to_owned() } else { format!("x{layer}") };
        let mut nodes = vec![];
        for layer in 0..self.count {
            let product = format!("p{layer}");
            // Every other one as exporters of linear layers write them.
            let (op, attributes) = match layer % 2 {
                0 => ("MatMul", vec![]),
                _ => ("Gemm", vec![onnx::attribute_int("transB", 1)]),
            };
            nodes.push(onnx::node(op, &[&name(layer), &format!("w{layer}")], &[&product], attributes));
            nodes.push(onnx::node("Relu", &[&product], &[&name(layer + 1)], vec![]));
        }
        onnx::Model {
            nodes,
            inputs: vec![onnx::value("x0", element::FLOAT, &[Dim::Is(1), Dim::Is(side)])],
            outputs: vec![onnx::value("y", element::FLOAT, &[Dim::Is(1), Dim::Is(side)])],
            initializers: (0..self.count).map(weights).collect(),
            ..Default::default()
        }
        .finish()
    }

    /// The model and the file that its weights are in.
    fn external(self) -> [Vec<u8>; 2] {
        let (side, bytes) = (self.side as i64, 4 * self.side * self.side);
        let model = self.model(|layer| {
            onnx::external(
                &format!("w{layer}"),
                element::FLOAT,
                &[side, side],
                "weights",
                layer * bytes,
                bytes,
            )
        });
        [model, (0..self.count).flat_map(|layer| self.weights(layer)).collect()]
    }

    /// The model with its weights in it.
    fn inline(self) -> Vec<u8> {
        let side = self.side as i64;
        self.model(|layer| {
            onnx::tensor(&format!("w{layer}"), element::FLOAT, &[side, side], &self.weights(layer))
        })
    }

    fn bytes(self) -> u64 {
        4 * (self.side * self.side * self.count) as u64
    }

    fn input(self) -> Vec<NamedTensor> {
        let numbers: Vec<f32> = (0..self.side).map(|ix| ((ix * 37 + 11) % 101) as f32 / 101.0).collect();
        vec![("x0".into(), Tensor::from_f32(vec![1, self.side as u32], &numbers))]
    }

    /// What the engine answers here, all of it in the heap.
    fn expected(self) -> Vec<NamedTensor> {
        let limits = Limits::default();
        let mut graph = Graph::load_files(self.external().into(), &limits).expect("it loads natively");
        graph.infer(self.input(), &limits).expect("it infers natively")
    }
}

fn upload(caller: &Caller<'_>, name: &str, files: &[Vec<u8>]) {
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    caller.upload_files(name, &files, None, &mut |_| {}).expect("it is accepted");
}

fn estimate(caller: &Caller<'_>, model: &str) -> u64 {
    let request = EstimateRequest { model: Some(model.into()), ..Default::default() };
    caller.estimate(&request).expect("it is estimated").run_instructions
}

fn heap(caller: &Caller<'_>) -> u64 {
    caller.server_metadata().expect("it says").heap_bytes
}

#[test]
fn a_model_larger_than_the_heap_answers() {
    on_every_runtime("larger than the heap", |replica| {
        const MAX_HEAP: u64 = 40 << 20;
        let args = InitArgs {
            max_heap_bytes: Some(MAX_HEAP),
            max_weight_cache_bytes: Some(8 << 20),
            ..Default::default()
        };
        let service = Service::deploy(replica, Some(args));
        let caller = service.controller();
        let layers = Layers { side: 2048, count: 6, seed: 1 };
        assert_eq!(layers.bytes(), 96 << 20);
        upload(&caller, "large", &layers.external());
        let expected = layers.expected();
        let ask = request("large", layers.input());
        let first = caller.infer(&ask).expect("it infers");
        assert_eq!(first.outputs, expected, "bit for bit what the heap gives");
        // Read at an instruction a byte, multiplied at little less than two a number.
        let bytes = layers.bytes();
        let again = caller.infer(&ask).expect("it infers again");
        assert!((bytes + bytes / 4..2 * bytes).contains(&again.instructions), "{}", again.instructions);
        let before = heap(&caller);
        assert!(before < MAX_HEAP, "{before}");
        for _ in 0..3 {
            assert_eq!(caller.infer(&ask).expect("it infers again").outputs, expected);
        }
        assert_eq!(heap(&caller), before, "what is read leaves again");
        let graph = caller.load_by_name("large").expect("it loads");
        let context = caller.init_execution_context(graph).expect("a context opens");
        assert_eq!(caller.compute(context, &layers.input(), None).expect("it computes"), expected);
        let estimated = estimate(&caller, "large");
        let profile = caller.profile(&ask).expect("it is counted");
        let off = estimated as f64 / profile.instructions as f64;
        assert!((0.9..1.2).contains(&off), "{estimated} {}", profile.instructions);
        refused(
            caller.set_property(graph, "quantize", Some("int8")),
            ErrorCode::TooLarge,
            &["not quantised", "max_heap_bytes"],
        );
        service.upgrade();
        assert_eq!(caller.infer(&ask).expect("it infers after an upgrade").outputs, expected);
        assert!(heap(&caller) < MAX_HEAP);
        // In slices of a step each.
        let parameters = InferParameters { slice_instructions: Some(1), ..Default::default() };
        let sliced = InferRequest { parameters: Some(parameters), ..ask.clone() };
        assert_eq!(caller.infer(&sliced).expect("it infers in slices").outputs, expected);
        // The same with its weights in the model's own file has no other place than the heap.
        let inline = Layers { count: 3, ..layers }.inline();
        refused(service.upload("inline", &inline), ErrorCode::TooLarge, &["external data"]);
    });
}

#[test]
fn weights_stay_in_stable_memory_where_the_property_says_so() {
    on_every_runtime("streamed by property", |replica| {
        let args = InitArgs { max_weight_cache_bytes: Some(1 << 20), ..Default::default() };
        let service = Service::deploy(replica, Some(args));
        let caller = service.controller();
        let layers = Layers { side: 1024, count: 3, seed: 2 };
        service.upload("layers", &layers.inline()).expect("it is accepted");
        let graph = caller.load_by_name("layers").expect("it loads");
        let expected = layers.expected();
        let ask = request("layers", layers.input());
        let infer = || caller.infer(&ask).expect("it infers");
        assert_eq!(infer().outputs, expected);
        let (whole, whole_estimate) = (heap(&caller), estimate(&caller, "layers"));
        refused(
            caller.set_property(graph, "resident", Some("maybe")),
            ErrorCode::InvalidArgument,
            &["`true`, `false` or `streamed`"],
        );
        caller.set_property(graph, "resident", Some("streamed")).expect("it is taken");
        assert!(caller.server_ready().expect("it says"), "it has been brought again");
        for _ in 0..2 {
            assert_eq!(infer().outputs, expected, "bit for bit");
        }
        let (streamed, streamed_estimate) = (heap(&caller), estimate(&caller, "layers"));
        let saved = whole.saturating_sub(streamed);
        assert!(saved > layers.bytes() - (2 << 20), "{whole} {streamed}");
        assert!(streamed_estimate > whole_estimate + layers.bytes());
        service.upgrade();
        for _ in 0..10 {
            replica.tick();
        }
        assert_eq!(infer().outputs, expected, "from the image");
        assert!(heap(&caller) < whole - (8 << 20));
        caller.set_property(graph, "resident", None).expect("it is taken back");
        assert_eq!(infer().outputs, expected);
        assert!(heap(&caller) > streamed + (8 << 20), "all of it is in the heap again");
    });
}

#[test]
fn two_that_take_turns_and_one_that_is_deleted_meanwhile() {
    on_every_runtime("streamed interleaved", |replica| {
        let args = InitArgs { max_weight_cache_bytes: Some(1 << 20), ..Default::default() };
        let service = Service::deploy(replica, Some(args));
        let caller = service.controller();
        let (first, second) =
            (Layers { side: 1024, count: 2, seed: 3 }, Layers { side: 768, count: 4, seed: 4 });
        let names = ["first", "second"];
        for (name, layers) in names.into_iter().zip([first, second]) {
            service.serve(name, &layers.inline());
            let graph = caller.load_by_name(name).expect("it loads");
            caller.set_property(graph, "resident", Some("streamed")).expect("it is taken");
        }
        let expected = [first.expected(), second.expected()];
        let submit = |name: &str, layers: Layers| {
            let parameters = InferParameters { slice_instructions: Some(1), ..Default::default() };
            let request = InferRequest { parameters: Some(parameters), ..request(name, layers.input()) };
            let arg = Encode!(&request).expect("the argument encodes");
            replica.submit(service.canister, controller(), "infer", &arg).expect("it is taken")
        };
        let outputs = |replica: &dyn Replica, call| {
            let reply = replica.await_call(call).expect("it answers");
            Decode!(&reply, Result<InferResponse, Error>)
                .expect("a reply of infer")
                .expect("it infers")
                .outputs
        };
        let calls = [submit("first", first), submit("second", second), submit("first", first)];
        for (call, expected) in calls.into_iter().zip([&expected[0], &expected[1], &expected[0]]) {
            assert_eq!(&outputs(replica, call), expected);
        }
        // Its weights are read on where they were, whatever is uploaded meanwhile.
        let call = submit("second", second);
        replica.tick();
        replica.tick();
        let graph = caller.load_by_name("second").expect("it is loaded");
        caller.unload(graph).expect("it unloads");
        service.delete("second").expect("it is deleted");
        let other = Layers { seed: 5, ..second };
        service.upload("other", &other.inline()).expect("it is accepted");
        let reply = replica.await_call(call).expect("it answers");
        if let Ok(answer) = Decode!(&reply, Result<InferResponse, Error>).expect("a reply of infer") {
            assert_eq!(answer.outputs, expected[1]);
        }
        let answer = caller.infer(&request("other", other.input())).expect("it infers").outputs;
        assert_eq!(answer, other.expected());
    });
}
