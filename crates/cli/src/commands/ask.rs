//! Asking a model: every case one call, and the `infer` command.

use ic_nn_types::InferRequest;

use crate::args::InferArgs;
use crate::failure::Failure;
use crate::input::{self, Case};
use crate::output::{Answer, Presentation};
use crate::progress::Progress;
use crate::target::Target;

/// By which kind of call a model is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Answered by one node, free.
    Query,
    /// Certified, charged.
    Update,
}

/// Asks `model` once for every case.
pub fn ask(target: &Target, model: &str, cases: &[Case], by: By) -> Result<Vec<Answer>, Failure> {
    let client = target.client();
    cases
        .iter()
        .map(|case| {
            let request = InferRequest { model: model.to_owned(), inputs: case.inputs.clone() };
            let (response, charge) = target.charged(|| match by {
                By::Query => client.infer_query(&request),
                By::Update => client.infer(&request),
            });
            Ok(Answer { label: case.label.clone(), response: response?, charge, query: by == By::Query })
        })
        .collect()
}

/// `infer`.
pub fn infer(args: &InferArgs, progress: Progress) -> Result<(), Failure> {
    input::check_files(&args.input)?;
    let target = Target::open(&args.target, progress)?;
    let client = target.client();
    let description = client.describe(&args.model)?;
    let cases = input::cases(&args.input, &description.inputs)?;
    let limits = client.server_metadata()?.limits;
    let presentation = Presentation::new(&args.answer, limits)?;
    let by = if args.update { By::Update } else { By::Query };
    let answers =
        progress.briefly(&format!("asking {}", args.model), || ask(&target, &args.model, &cases, by))?;
    if args.update {
        target.keep()?;
    }
    presentation.show(&format!("{}:{}", description.name, description.version), &answers)
}
