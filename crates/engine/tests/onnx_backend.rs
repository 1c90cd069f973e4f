//! The onnx package's backend cases through the native engine, held to `docs/onnx-conformance.md`.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};

use ic_nn_engine::{Graph, InferError, Limits};
use ic_nn_onnx_backend::{Case, Failure, Outcome, Report, exported, repository};
use ic_nn_types::NamedTensor;

thread_local! {
    static PANICKED_AT: RefCell<String> = const { RefCell::new(String::new()) };
}

#[test]
fn every_case_passes_or_is_refused() {
    let Some(cases) = exported() else { return };
    // A part of the cases, for who works on an operator: nothing is held to the committed files then.
    let only = std::env::var("IC_NN_ONLY").ok();
    panic::set_hook(Box::new(|info| PANICKED_AT.set(info.to_string())));
    let mut report = Report::default();
    for case in cases {
        if only.as_ref().is_none_or(|only| case.path().contains(only)) {
            let outcome = outcome(&case);
            report.add(case, outcome);
        }
    }
    _ = panic::take_hook();
    if only.is_some() {
        println!("{}", report.lines());
        return;
    }
    std::fs::write(repository().join("target/onnx-backend/native.tsv"), report.lines()).unwrap();
    report.hold();
}

fn outcome(case: &Case) -> Outcome {
    case.judge(|model, inputs| {
        panic::catch_unwind(AssertUnwindSafe(|| run(model, inputs)))
            .unwrap_or_else(|_| Err(Failure::Broke(PANICKED_AT.take())))
    })
}

fn run(model: Vec<u8>, inputs: Vec<NamedTensor>) -> Result<Vec<NamedTensor>, Failure> {
    let limits = Limits::default();
    let mut graph = Graph::load(model, &limits).map_err(|e| Failure::Refused(e.to_string()))?;
    graph.infer(inputs, &limits).map_err(|e| match e {
        InferError::Model(e) => Failure::Refused(e.to_string()),
        e => Failure::Failed(e.to_string()),
    })
}
