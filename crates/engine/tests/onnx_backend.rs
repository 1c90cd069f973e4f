//! The onnx package's backend cases through the native engine, held to `docs/onnx-conformance.md`.

use std::cell::RefCell;
use std::num::NonZero;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, PoisonError};
use std::thread;

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
    let chosen = |case: &Case| only.as_ref().is_none_or(|only| case.path().contains(only));
    let report = all(cases.into_iter().filter(chosen).collect());
    _ = panic::take_hook();
    if only.is_some() {
        println!("{}", report.lines());
        return;
    }
    std::fs::write(repository().join("target/onnx-backend/native.tsv"), report.lines()).unwrap();
    report.hold();
}

/// What the cases came to, in their order, whichever thread took which.
fn all(cases: Vec<Case>) -> Report {
    let next = Mutex::new(cases.iter().enumerate());
    let take = || next.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || std::iter::from_fn(take).map(|(ix, case)| (ix, outcome(case))).collect::<Vec<_>>();
    let mut outcomes: Vec<(usize, Outcome)> = thread::scope(|scope| {
        let count = thread::available_parallelism().map_or(1, NonZero::get);
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    outcomes.sort_by_key(|(ix, _)| *ix);
    let mut report = Report::default();
    cases.into_iter().zip(outcomes).for_each(|(case, (_, outcome))| report.add(case, outcome));
    report
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
