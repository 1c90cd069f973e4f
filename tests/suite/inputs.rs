//! What a caller can get wrong with an inference: each is refused with the tensor's name, what was expected and what
//! came, by the query and by the update, and the graph answers as before.

use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, element};
use ic_nn_tests::service::{Service, refused, request};
use ic_nn_types::{ErrorCode, NamedTensor, Tensor, TensorType};

fn row(values: [f32; 3]) -> Tensor {
    Tensor::from_f32(vec![1, 3], &values)
}

fn sum(service: &Service<'_>) -> Vec<f32> {
    let inputs = vec![("left".into(), row([1.0, 2.0, 3.0])), ("right".into(), row([10.0, 20.0, 30.0]))];
    service.ask("add", inputs).expect("good inputs answer")[0].1.to_f32().expect("FP32")
}

/// Both endpoints refuse `inputs`, and good ones are answered afterwards.
#[track_caller]
fn check(service: &Service<'_>, model: &str, inputs: Vec<NamedTensor>, code: ErrorCode, words: &[&str]) {
    let request = request(model, inputs);
    refused(service.controller().infer_query(&request), code, words);
    refused(service.controller().infer(&request), code, words);
    assert_eq!(sum(service), [11.0, 22.0, 33.0]);
}

#[test]
fn each_fault_is_named() {
    on_every_runtime("inputs", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("add", &onnx::add());
        let invalid = ErrorCode::InvalidArgument;
        let left = || ("left".to_owned(), row([1.0, 2.0, 3.0]));
        let right = |t: Tensor| ("right".to_owned(), t);
        check(&service, "sub", vec![], ErrorCode::NotFound, &["sub"]);
        check(&service, "add:2", vec![], ErrorCode::NotFound, &["add", "2"]);
        check(&service, "add@", vec![], invalid, &["label is empty"]);
        check(&service, "add", vec![left()], invalid, &["right", "missing", "FP32 [batch, 3]"]);
        check(&service, "add", vec![left(), left()], invalid, &["left", "twice"]);
        check(
            &service,
            "add",
            vec![left(), ("wrong".into(), row([0.0; 3]))],
            invalid,
            &["wrong", "`right` FP32"],
        );
        check(&service, "add", vec![left(), ("2".into(), row([0.0; 3]))], invalid, &["`2`"]);
        let typed = Tensor { ty: TensorType::I32, ..row([0.0; 3]) };
        check(
            &service,
            "add",
            vec![left(), right(typed)],
            invalid,
            &["right", "FP32 is expected", "I32 came"],
        );
        let rank = Tensor::from_f32(vec![3], &[0.0; 3]);
        check(&service, "add", vec![left(), right(rank)], invalid, &["right", "rank 2", "rank 1", "[3]"]);
        let wide = Tensor::from_f32(vec![1, 4], &[0.0; 4]);
        check(
            &service,
            "add",
            vec![left(), right(wide)],
            invalid,
            &["right", "dimension 1 must be 3", "4 came"],
        );
        let tall = Tensor::from_f32(vec![2, 3], &[0.0; 6]);
        check(
            &service,
            "add",
            vec![left(), right(tall)],
            invalid,
            &["right", "`batch`", "1 in `left`", "2 came"],
        );
        let short = Tensor { data: vec![0; 11], ..row([0.0; 3]) };
        check(&service, "add", vec![left(), right(short)], invalid, &["right", "12 bytes", "11 came"]);
        let vast = Tensor { dimensions: vec![u32::MAX, 3], ..row([0.0; 3]) };
        check(
            &service,
            "add",
            vec![("left".into(), vast.clone()), right(vast)],
            invalid,
            &["left", "12 came"],
        );
        check(&service, "add", vec![], invalid, &["left", "missing"]);
    });
}

#[test]
fn an_index_names_an_input() {
    on_every_runtime("index names", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("add", &onnx::add());
        let inputs = vec![("1".into(), row([1.0; 3])), ("0".into(), row([2.0; 3]))];
        assert_eq!(service.ask("add", inputs).expect("it infers")[0].1.to_f32(), Some(vec![3.0; 3]));
    });
}

#[test]
fn values_that_point_outside_are_refused() {
    on_every_runtime("values", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("add", &onnx::add());
        service.serve("lookup", &onnx::lookup());
        let ids = |values: &[i64]| {
            let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            vec![(
                "ids".to_owned(),
                Tensor { dimensions: vec![values.len() as u32], ty: TensorType::I64, data },
            )]
        };
        for length in [2, 3] {
            service.warm("lookup", ids(&vec![0; length]));
        }
        let rows = service.ask("lookup", ids(&[3, 0, -1])).expect("in range");
        assert_eq!(rows[0].1.to_f32(), Some(vec![6.0, 7.0, 0.0, 1.0, 6.0, 7.0]));
        for bad in [4, -5, i64::MAX, i64::MIN] {
            let word = format!("index {bad} into an axis of 4");
            check(&service, "lookup", ids(&[0, bad]), ErrorCode::InvalidArgument, &["Gather", &word]);
        }
    });
}

#[test]
fn integer_division_by_zero_is_refused() {
    let shape = [Dim::Is(2)];
    let divide = onnx::Model {
        nodes: vec![onnx::node("Div", &["a", "b"], &["q"], vec![])],
        inputs: vec![onnx::value("a", element::INT32, &shape), onnx::value("b", element::INT32, &shape)],
        outputs: vec![onnx::value("q", element::INT32, &shape)],
        ..Default::default()
    };
    on_every_runtime("division", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("add", &onnx::add());
        service.serve("divide", &divide.clone().finish());
        let ints = |v: [i32; 2]| Tensor {
            dimensions: vec![2],
            ty: TensorType::I32,
            data: v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        let inputs = |b| vec![("a".to_owned(), ints([7, 9])), ("b".to_owned(), ints(b))];
        service.warm("divide", inputs([1, 1]));
        assert_eq!(service.ask("divide", inputs([2, 3])).expect("it divides")[0].1, ints([3, 3]));
        check(&service, "divide", inputs([1, 0]), ErrorCode::InvalidArgument, &["division by zero"]);
    });
}

#[test]
fn a_bool_is_zero_or_one() {
    on_every_runtime("bool", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("add", &onnx::add());
        service.serve("not", &onnx::unary("Not", element::BOOL, &[Dim::Is(2)]));
        let bools = |data: Vec<u8>| {
            vec![("x".to_owned(), Tensor { dimensions: vec![2], ty: TensorType::BOOL, data })]
        };
        assert_eq!(service.ask("not", bools(vec![0, 1])).expect("it negates")[0].1.data, [1, 0]);
        check(&service, "not", bools(vec![0, 2]), ErrorCode::InvalidArgument, &["BOOL", "byte 1 is 2"]);
    });
}

#[test]
fn an_argument_that_is_no_candid_is_refused() {
    on_every_runtime("no Candid", |replica| {
        let service = Service::deploy(replica, None);
        for arg in [&b"garbage"[..], b"DIDL", b"DIDL\0\x01\x71\x05hello", b""] {
            for (query, method) in
                [(true, "infer_query"), (false, "infer"), (true, "describe"), (false, "delete")]
            {
                let sender = ic_nn_tests::service::controller();
                let reply = if query {
                    replica.query(service.canister, sender, method, arg)
                } else {
                    replica.update(service.canister, sender, method, arg)
                };
                let reply = reply.unwrap_or_else(|e| panic!("{method} {arg:?}: {e}"));
                // Every reply begins with the same two labels, so the error can be read without the value's type.
                let error = candid::decode_one::<Result<candid::Reserved, ic_nn_types::Error>>(&reply);
                let error = error.expect("a result").expect_err("an error");
                if method != "describe" || arg.len() < 10 {
                    assert_eq!(error.code, ErrorCode::InvalidArgument, "{method} {arg:?}: {error}");
                }
            }
        }
    });
}

#[test]
fn outputs_that_no_reply_holds_are_refused() {
    on_every_runtime("large outputs", |replica| {
        let service = Service::deploy(replica, None);
        let tile = onnx::Model {
            nodes: vec![onnx::node("Expand", &["x", "shape"], &["y"], vec![])],
            inputs: vec![onnx::value("x", element::FLOAT, &[Dim::Is(1)])],
            outputs: vec![onnx::value("y", element::FLOAT, &[Dim::Is(600_000)])],
            initializers: vec![onnx::integers("shape", &[600_000])],
            ..Default::default()
        };
        service.serve("expand", &tile.finish());
        let request = request("expand", vec![("x".into(), Tensor::from_f32(vec![1], &[2.5]))]);
        let query = service.controller().infer_query(&request).expect("2.4 MB fit a query's reply");
        assert_eq!(query.outputs[0].1.to_f32(), Some(vec![2.5; 600_000]));
        refused(service.controller().infer(&request), ErrorCode::TooLarge, &["`y` FP32 [600000]", "2097152"]);
    });
}
