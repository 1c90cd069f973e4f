//! The onnx package's backend cases through the canister by Candid, on every runtime: each uploaded, committed, asked and
//! deleted, and held to what the native engine makes of it. Four tests, so that they run side by side.

use ic_nn_client::ClientError;
use ic_nn_onnx_backend::{Failure, Report, exported};
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::service::Service;
use ic_nn_types::{ComputeOptions, ErrorCode, InferRequest, NamedTensor};

/// Into how many tests the cases are dealt.
const PARTS: usize = 4;

/// Inputs that a message holds beside what is around them.
const MESSAGE_BYTES: usize = 2_000_000;

fn part(part: usize) {
    on_every_runtime(&format!("backend cases, part {part} of {PARTS}"), |replica| {
        let Some(cases) = exported() else { return };
        let service = Service::deploy(replica, None);
        let mut report = Report::default();
        for case in cases.into_iter().skip(part).step_by(PARTS) {
            let outcome = case.judge(|model, inputs| ask(&service, &model, inputs));
            report.add(case, outcome);
        }
        report.hold_to_passes();
    });
}

#[test]
fn first_part() {
    part(0);
}

#[test]
fn second_part() {
    part(1);
}

#[test]
fn third_part() {
    part(2);
}

#[test]
fn fourth_part() {
    part(3);
}

/// One model's whole life in the canister.
fn ask(service: &Service<'_>, model: &[u8], inputs: Vec<NamedTensor>) -> Result<Vec<NamedTensor>, Failure> {
    service.upload("case", model).map_err(|e| failure(e, Failure::Refused))?;
    let bytes: usize = inputs.iter().map(|(_, tensor)| tensor.data.len()).sum();
    let answer = if bytes < MESSAGE_BYTES {
        let request = InferRequest { model: "case".into(), inputs, ..Default::default() };
        service.controller().infer(&request).map(|response| response.outputs)
    } else {
        in_parts(service, &inputs)
    };
    service.delete("case").expect("what was published is deleted");
    answer.map_err(|e| failure(e, Failure::Failed))
}

/// The same through an execution context, tensors that no message holds in parts.
fn in_parts(service: &Service<'_>, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, ClientError> {
    let caller = service.controller();
    let graph = caller.load_by_name("case")?;
    let context = caller.init_execution_context(graph)?;
    for (name, tensor) in inputs {
        caller.set_whole_input(context, name, tensor)?;
    }
    caller.compute(context, &[], Some(&ComputeOptions { outputs: Some(vec![]), ..Default::default() }))?;
    let outputs = caller.describe_graph(graph)?.outputs;
    outputs
        .into_iter()
        .map(|output| {
            let tensor = caller.fetch_output(context, &output.name)?;
            Ok((output.name, tensor))
        })
        .collect()
}

/// What an error means: the model is refused, the engine broke, or `other`.
fn failure(error: ClientError, other: fn(String) -> Failure) -> Failure {
    match error {
        ClientError::Service { error, .. } => match error.code {
            ErrorCode::RuntimeError if error.data.contains("panicked") => Failure::Broke(error.data),
            // What tract says it cannot prepare is the engine's failure, and told before anything is published.
            ErrorCode::RuntimeError if error.data.contains("cannot prepare") => Failure::Refused(error.data),
            ErrorCode::UnsupportedOperation | ErrorCode::InvalidEncoding | ErrorCode::TooLarge => {
                Failure::Refused(error.data)
            }
            _ => other(error.data),
        },
        error => Failure::Broke(error.to_string()),
    }
}
