//! Asking a model: every case one call, and the `infer` command.

use ic_nn_client::fits_a_call;
use ic_nn_types::{InferParameters, InferRequest};

use crate::args::InferArgs;
use crate::commands::receipt;
use crate::failure::Failure;
use crate::input::{self, Case};
use crate::output::{Answer, Presentation};
use crate::progress::Progress;
use crate::target::Target;

/// The one operator of a model whose stages are on other canisters.
const PIPELINE: &str = "pipeline";

/// By which kind of call a model is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Answered by one node, free.
    Query,
    /// Certified, charged.
    Update,
}

/// Asks `model` once for every case. What no call holds goes in parts, by an update.
pub fn ask(target: &Target, model: &str, cases: &[Case], by: By) -> Result<Vec<Answer>, Failure> {
    ask_for(target, model, cases, by, InferParameters::default())
}

/// As [`ask`], with parameters.
fn ask_for(
    target: &Target,
    model: &str,
    cases: &[Case],
    by: By,
    parameters: InferParameters,
) -> Result<Vec<Answer>, Failure> {
    let client = target.client();
    cases
        .iter()
        .map(|case| {
            let request = InferRequest {
                model: model.to_owned(),
                inputs: case.inputs.clone(),
                outputs: None,
                parameters: Some(parameters),
            };
            if parameters.receipt == Some(true) && !fits_a_call(&request) {
                return Err(Failure::usage(
                    "a receipt is of one call, which holds 1.9 MB of inputs; these are larger",
                ));
            }
            let by = if fits_a_call(&request) { by } else { By::Update };
            let (response, charge) = target.charged(|| match by {
                By::Query => client.infer_query(&request),
                By::Update => client.infer_whole(&request),
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
    if args.receipt.is_some() && cases.len() != 1 {
        return Err(Failure::usage(format!(
            "a receipt is of one inference, and {} inputs came",
            cases.len()
        )));
    }
    // What a query answers nobody has signed, a receipt least of all.
    let pipeline = description.operators.iter().any(|operator| operator.operator == PIPELINE);
    if pipeline && !args.update {
        progress.note("a pipeline calls its stages, which a query cannot: asking by an update");
    }
    let by = if args.update || args.receipt.is_some() || pipeline { By::Update } else { By::Query };
    let parameters = InferParameters { receipt: args.receipt.as_ref().map(|_| true), ..Default::default() };
    let answers = progress.briefly(&format!("asking {}", args.model), || {
        ask_for(&target, &args.model, &cases, by, parameters)
    })?;
    if answers.iter().any(|answer| !answer.query) {
        target.keep()?;
    }
    if by == By::Query && answers.iter().any(|answer| !answer.query) {
        progress.note("no call holds so large an input: it went in parts, by updates");
    }
    // The version that answered: a label may have moved since it was described.
    let version = answers.first().map_or(description.version, |a| a.response.version);
    let model = format!("{}:{version}", description.name);
    if let (Some(path), Some(receipt)) =
        (&args.receipt, answers.first().and_then(|a| a.response.receipt.as_ref()))
    {
        receipt::save(path, &model, receipt)?;
    }
    presentation.show(&model, &answers)
}
