//! Quantised weights: having a model loaded with them, and saying what that does to its answers.

use ic_nn_client::{Client, Transport};
use ic_nn_types::{InferRequest, QuantizationReport};

use crate::args::QuantizeArgs;
use crate::failure::Failure;
use crate::format;
use crate::input::Case;
use crate::output::{align_right, table};
use crate::print::say;
use crate::progress::Progress;

/// Has the target load `model` with quantised weights, where that was asked for, and leaves no handle open on it.
pub fn set<T: Transport>(
    client: &Client<T>,
    model: &str,
    args: &QuantizeArgs,
    progress: Progress,
) -> Result<(), Failure> {
    let Some(quantize) = &args.quantize else { return Ok(()) };
    progress.during(&format!("quantising {model} to {quantize}"), || {
        let graph = client.load_by_name(model)?;
        client.set_property(graph, "quantize", Some(quantize))?;
        client.unload(graph)
    })?;
    Ok(())
}

/// Prints how far the answers to each case, of weights so quantised, are from those of the file's own.
pub fn report<T: Transport>(
    client: &Client<T>,
    model: &str,
    quantize: &str,
    cases: &[Case],
    progress: Progress,
) -> Result<(), Failure> {
    let mut rows = table(&["input", "output", "cosine", "largest error", "of"]);
    let mut last: Option<QuantizationReport> = None;
    for case in cases {
        let request =
            InferRequest { model: model.to_owned(), inputs: case.inputs.clone(), ..Default::default() };
        let report = progress.briefly("asking with the file's own weights too", || {
            client.quantization_error(&request, Some(quantize))
        })?;
        for output in &report.outputs {
            rows.add_row(vec![
                case.label.clone(),
                output.name.clone(),
                format!("{:.6}", output.cosine),
                format!("{:.3e}", output.max_error),
                format!("{:.3e}", output.max_value),
            ]);
        }
        last = Some(report);
    }
    let Some(report) = last else { return Ok(()) };
    align_right(&mut rows, 2);
    say!("{rows}");
    say!(
        "{}: {} instead of {} instructions an inference",
        report.quantize,
        format::instructions(report.instructions),
        format::instructions(report.unquantized_instructions)
    );
    Ok(())
}
