//! What quantising a model's weights does to its answers, on inputs of the caller's.

use ic_cdk::update;
use ic_nn_engine::difference;
use ic_nn_store::Version;
use ic_nn_types::{Error, InferRequest, OutputError, QuantizationReport};

use super::inference::{account, limits};
use crate::authority::Spender;
use crate::run::{self, Limits};
use crate::wire::Arg;
use crate::{pipeline, state, variant};

#[update(hidden = true, decode_with = "crate::wire::decode_all::<(InferRequest, Option<String>)>")]
pub(super) async fn quantization_error(
    arguments: Arg<(InferRequest, Option<String>)>,
) -> Result<QuantizationReport, Error> {
    let spender = Spender::check()?;
    let (InferRequest { model, inputs, outputs, parameters }, quantize) = arguments?;
    let version = state::store(|s| s.resolve(&model))?;
    pipeline::refuse(&version, "ask its stages how far quantised weights are apart, where they are")?;
    let limits = limits(&version, &parameters.unwrap_or_default())?;
    let limits = Limits { cache_entries: 0, hash: false, ..limits };
    let quantised =
        Version { variant: variant::asked(quantize.as_deref(), version.variant)?, ..version.clone() };
    let plain = Version { variant: 0, ..version };
    spender.pay();
    let own = run::infer(&plain, inputs.clone(), limits).await;
    account(&spender, &plain, &own);
    let own = own?;
    let result = run::infer(&quantised, inputs, limits).await;
    account(&spender, &quantised, &result);
    let result = result?;
    let wanted = run::select(&own.outputs, outputs.as_ref())?;
    let outputs = wanted
        .into_iter()
        .map(|(name, expected)| {
            let (_, came) = &result.outputs[run::position(&result.outputs, &name)?];
            let apart = difference(&expected, came)?;
            Ok(OutputError {
                name,
                cosine: apart.cosine,
                max_error: apart.max_error,
                max_value: apart.max_value,
            })
        })
        .collect::<Result<_, Error>>()?;
    Ok(QuantizationReport {
        version: quantised.version,
        quantize: variant::value(quantised.variant).unwrap_or_default().to_owned(),
        outputs,
        instructions: result.run_instructions,
        unquantized_instructions: own.run_instructions,
    })
}
