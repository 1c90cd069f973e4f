//! Requests that are run together: each has the answer and the error that it has by itself, for less.

use candid::{Decode, Encode};
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx;
use ic_nn_tests::service::{Service, controller, plain_module, refused, repository, request};
use ic_nn_tests::trapping::trapping;
use ic_nn_types::{Error, ErrorCode, InferParameters, InferRequest, InferResponse, Tensor, TensorType};

/// An image that differs from others.
fn image(seed: u32) -> InferRequest {
    let pixels: Vec<f32> = (0..64).map(|i| ((i * 7 + seed * 13) % 17) as f32 / 16.0).collect();
    request("digits", vec![("image".into(), Tensor::from_f32(vec![1, 1, 8, 8], &pixels))])
}

/// Serves the digits, whose requests are run together.
fn serve(service: &Service<'_>, most: &str) {
    service.serve("digits", &std::fs::read(repository("models/digits.onnx")).expect("the model"));
    let graph = service.controller().load_by_name("digits").expect("it is loaded");
    service.controller().set_property(graph, "max_batch", Some(most)).expect("it is set");
}

/// What requests that come at one time are answered.
fn all(service: &Service<'_>, requests: &[InferRequest]) -> Vec<Result<InferResponse, Error>> {
    let replica = service.replica;
    let submit = |request: &InferRequest| {
        let arg = Encode!(request).expect("the argument encodes");
        replica.submit(service.canister, controller(), "infer", &arg).expect("it is taken")
    };
    let calls: Vec<_> = requests.iter().map(submit).collect();
    let answer = |call| {
        let reply = replica.await_call(call).expect("it is answered");
        Decode!(&reply, Result<InferResponse, Error>).expect("a reply of infer")
    };
    calls.into_iter().map(answer).collect()
}

fn near(a: &Tensor, b: &Tensor) {
    assert_eq!(a.dimensions, b.dimensions);
    let (a, b) = (a.to_f32().expect("floats"), b.to_f32().expect("floats"));
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-5), "{a:?}, {b:?}");
}

#[test]
fn requests_at_one_time_take_less_together() {
    on_every_runtime("batches", |replica| {
        let service = Service::deploy(replica, None);
        serve(&service, "8");
        let caller = service.controller();
        let requests: Vec<InferRequest> = (0..8).map(image).collect();
        let alone: Vec<InferResponse> =
            requests.iter().map(|r| caller.infer(r).expect("it infers")).collect();
        let again: Vec<InferResponse> =
            requests.iter().map(|r| caller.infer(r).expect("it infers")).collect();
        // The first batch is planned for.
        for round in 0..3 {
            let together = all(&service, &requests);
            let (mut took, mut planned) = (0, 0);
            for (alone, together) in alone.iter().zip(together) {
                let together = together.expect("it infers");
                took += together.instructions;
                planned += together.plan_instructions;
                for ((name, a), (other, b)) in alone.outputs.iter().zip(&together.outputs) {
                    assert_eq!(name, other);
                    near(a, b);
                }
            }
            let one_by_one: u64 = again.iter().map(|answer| answer.instructions).sum();
            println!(
                "round {round}: {took} instructions together, {planned} of them plan, {one_by_one} one by one"
            );
            assert_eq!(planned > 0, round == 0, "they were run together");
            assert!(round == 0 || took < one_by_one * 95 / 100, "{took} together, {one_by_one} one by one");
        }
        // What has to be its own is.
        let receipt = Some(InferParameters { receipt: Some(true), ..Default::default() });
        let with_receipts: Vec<_> =
            requests.iter().map(|r| InferRequest { parameters: receipt, ..r.clone() }).collect();
        for (answer, alone) in all(&service, &with_receipts).into_iter().zip(&alone) {
            let answer = answer.expect("it infers");
            assert!(answer.receipt.is_some());
            assert_eq!(answer.outputs, alone.outputs);
        }
    });
}

#[test]
fn an_error_is_its_own_requests() {
    on_every_runtime("errors in batches", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("rows", &onnx::lookup());
        let caller = service.controller();
        let graph = caller.load_by_name("rows").expect("it is loaded");
        for (value, texts) in [("1", "2 to 64"), ("65", "2 to 64"), ("many", "2 to 64")] {
            let set = caller.set_property(graph, "max_batch", Some(value));
            refused(set, ErrorCode::InvalidArgument, &[texts, value]);
        }
        caller.set_property(graph, "max_batch", Some("4")).expect("it is set");
        let row = |index: i64| {
            let data = index.to_le_bytes().to_vec();
            let index = Tensor { dimensions: vec![1], ty: TensorType::I64, data };
            request("rows", vec![("ids".into(), index)])
        };
        for wrong in 0..4 {
            let requests: Vec<_> = (0..4).map(|ix| row(if ix == wrong { 77 } else { ix })).collect();
            for (ix, answer) in all(&service, &requests).into_iter().enumerate() {
                if ix as i64 == wrong {
                    let e = answer.expect_err("77 is no row");
                    assert!(e.data.contains("77"), "{e}");
                } else {
                    let expected = [2.0 * ix as f32, 2.0 * ix as f32 + 1.0];
                    let outputs = answer.expect("it infers").outputs;
                    assert_eq!(outputs[0].1, Tensor::from_f32(vec![1, 2], &expected));
                }
            }
        }
        // Requests on other shapes are not put together with these.
        let two = Tensor { dimensions: vec![2], ty: TensorType::I64, data: [0u8; 16].to_vec() };
        let mixed = [row(1), request("rows", vec![("ids".into(), two)]), row(2), row(3), row(0)];
        let rows: Vec<u32> = all(&service, &mixed)
            .into_iter()
            .map(|answer| answer.expect("it infers").outputs[0].1.dimensions[0])
            .collect();
        assert_eq!(rows, [1, 2, 1, 1, 1]);
    });
}

#[test]
fn a_trap_in_company_is_run_again_alone() {
    on_every_runtime("traps in batches", |replica| {
        let service =
            Service::deploy_module(replica, &trapping(&plain_module(), "ic_nn_internal_infer"), None);
        serve(&service, "4");
        let requests: Vec<InferRequest> = (0..4).map(image).collect();
        let expected: Vec<_> =
            all(&service, &requests).into_iter().map(|a| a.expect("it infers").outputs).collect();
        for message in 1..12 {
            replica.update(service.canister, controller(), "trap_at", &vec![0; message]).expect("it is set");
            // Every message from that one on traps, until it is set back: some are answered, the others told.
            let answers = all(&service, &requests);
            replica.update(service.canister, controller(), "trap_at", &[]).expect("it is set");
            for (answer, expected) in answers.into_iter().zip(&expected) {
                match answer {
                    Ok(answer) => near(&answer.outputs[0].1, &expected[0].1),
                    Err(e) => assert!(e.data.contains("everything was taken back"), "{e}"),
                }
            }
            for (answer, expected) in all(&service, &requests).into_iter().zip(&expected) {
                near(&answer.expect("it infers again").outputs[0].1, &expected[0].1);
            }
        }
    });
}
