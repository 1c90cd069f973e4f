//! Small models as frameworks' exporters write them: uploaded, described, and held to what the framework itself computed,
//! by the native engine and on every runtime.
//!
//! `scripts/exporters/run` writes the fixtures, one folder a framework: `NAME.onnx`, and `NAME.json` with the inputs and
//! outputs of at least two inferences. Every file of a folder is tried; a fixture that fails is told with all the others.

use std::fmt::Write;
use std::path::PathBuf;

use ic_nn_engine::{Graph, Limits, Trial};
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::service::{Service, repository};
use ic_nn_types::{InferRequest, NamedTensor, Tensor, TensorDescription, TensorType};
use serde::Deserialize;

/// Largest difference that is taken for the framework's answer, beside 1 and relative to what is larger.
const TOLERANCE: f64 = 1e-4;

/// Models that are refused, and what the refusal names. Each is here for an operator that is not served yet.
const REFUSED: &[(&str, &str)] = &[
    ("pytorch/bag-dynamo", "unsupported operators: ConcatFromSequence, SequenceEmpty, SequenceInsert"),
    ("sklearn/zipmap", "ai.onnx.ml.ZipMap (makes maps of tensors; convert with zipmap=False)"),
];

/// Outputs that their file declares to be one row long, which they are not.
const MISDECLARED: &[(&str, &str)] =
    &[("lightgbm/classifier", "label"), ("lightgbm/classifier-binary", "label")];

/// Models whose outputs are bytes that the framework rounds on the way, by tables.
const NEARLY: &[&str] = &["onnxruntime/softmax-i8", "onnxruntime/softmax-u8"];

#[derive(Deserialize)]
struct Fixture {
    /// `FRAMEWORK/NAME`.
    #[serde(skip)]
    key: String,
    cases: Vec<Case>,
}

/// One inference as the framework computed it.
#[derive(Deserialize)]
struct Case {
    inputs: Vec<Array>,
    outputs: Vec<Array>,
}

#[derive(Deserialize)]
struct Array {
    name: String,
    #[serde(rename = "type")]
    ty: TensorType,
    dimensions: Vec<u32>,
    #[serde(deserialize_with = "from_hex")]
    data: Vec<u8>,
}

fn from_hex<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    hex::decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

impl Array {
    fn tensor(&self) -> NamedTensor {
        let tensor = Tensor { dimensions: self.dimensions.clone(), ty: self.ty, data: self.data.clone() };
        (self.name.clone(), tensor)
    }
}

#[test]
fn pytorch() {
    agree("pytorch");
}

#[test]
fn keras() {
    agree("keras");
}

#[test]
fn jax() {
    agree("jax");
}

#[test]
fn sklearn() {
    agree("sklearn");
}

#[test]
fn lightgbm() {
    agree("lightgbm");
}

#[test]
fn xgboost() {
    agree("xgboost");
}

#[test]
fn onnxruntime() {
    agree("onnxruntime");
}

/// The folder's fixtures by name.
fn fixtures(framework: &str) -> Vec<(String, Vec<u8>, Fixture)> {
    let folder = repository("tests/fixtures/exporters").join(framework);
    let entries = std::fs::read_dir(&folder).expect("the framework's fixtures are committed");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "onnx"));
    files.sort();
    assert!(files.len() > 2, "{}", folder.display());
    let read = |file: PathBuf| {
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read(file.with_extension("json")).expect("the framework's answers");
        let mut fixture: Fixture = serde_json::from_slice(&text).expect("a fixture");
        fixture.key = format!("{framework}/{name}");
        assert!(fixture.cases.len() > 1, "{name}: at least two inferences are expected");
        (name, std::fs::read(file).expect("a model"), fixture)
    };
    files.into_iter().map(read).collect()
}

/// The worst difference of a model of that name, or what is wrong with it.
type Check<'a> = dyn Fn(&str, &[u8], &Fixture) -> Result<f64, String> + 'a;

/// Holds every model of `framework` to what the framework computed.
fn agree(framework: &str) {
    let fixtures = fixtures(framework);
    let all = |check: &Check<'_>| {
        let mut faults = String::new();
        for (name, model, fixture) in &fixtures {
            let key = &fixture.key;
            let refused = REFUSED.iter().find(|(refused, _)| refused == key);
            let fault = match (check(name, model, fixture), refused) {
                (Ok(worst), None) => {
                    println!("{key}: worst difference {worst:.1e}");
                    continue;
                }
                (Err(refusal), Some((_, operators))) if refusal.contains(operators) => continue,
                (Ok(_), Some(_)) => "it is not refused any more; take it off the list".to_owned(),
                (Err(fault), _) => fault,
            };
            writeln!(faults, "{key}: {fault}").expect("a string");
        }
        assert!(faults.is_empty(), "models that do not do what {framework} does:\n{faults}");
    };
    println!("{framework}: the native engine");
    all(&|_, model, fixture| natively(model, fixture));
    on_every_runtime(framework, |replica| {
        let service = Service::deploy(replica, None);
        all(&|name, model, fixture| served(&service, name, model, fixture));
    });
}

/// Loads the model in this process and asks it.
fn natively(model: &[u8], fixture: &Fixture) -> Result<f64, String> {
    let limits = Limits::default();
    let mut graph = Graph::load(model.to_vec(), &limits).map_err(|e| format!("load: {e}"))?;
    if let Trial::Refused(why) = graph.trial(&limits) {
        return Err(format!("it refuses its trial on zeros: {why}"));
    }
    let (inputs, outputs) = (graph.description().wire_inputs(), graph.description().outputs.clone());
    described(&inputs, &outputs, fixture)?;
    answers(fixture, &mut |inputs| graph.infer(inputs, &limits).map_err(|e| e.to_string()))
}

/// Uploads the model to the service and asks it by update and by query, which have to answer alike.
fn served(service: &Service<'_>, name: &str, model: &[u8], fixture: &Fixture) -> Result<f64, String> {
    service.upload(name, model).map_err(|e| {
        service.abandon(name, model);
        format!("upload: {e}")
    })?;
    let controller = service.controller();
    controller.load_by_name(name).map_err(|e| format!("load: {e}"))?;
    let description = controller.describe(name).map_err(|e| format!("describe: {e}"))?;
    if description.trial_instructions.is_none() {
        return Err("it refuses its trial on zeros".into());
    }
    described(&description.inputs, &description.outputs, fixture)?;
    answers(fixture, &mut |inputs| {
        let request = InferRequest { model: name.into(), inputs: inputs.clone(), ..Default::default() };
        let update = controller.infer(&request).map_err(|e| format!("update: {e}"))?;
        let query = service.ask(name, inputs).map_err(|e| format!("query: {e}"))?;
        if query == update.outputs {
            Ok(query)
        } else {
            Err("the query answers otherwise than the update".into())
        }
    })
}

/// The worst difference over all cases, or what is wrong with the answers.
fn answers(
    fixture: &Fixture,
    ask: &mut dyn FnMut(Vec<NamedTensor>) -> Result<Vec<NamedTensor>, String>,
) -> Result<f64, String> {
    let mut worst = 0f64;
    for case in &fixture.cases {
        let shapes: Vec<_> = case.inputs.iter().map(|i| &i.dimensions).collect();
        let outputs = ask(case.inputs.iter().map(Array::tensor).collect())
            .map_err(|e| format!("on {shapes:?}: {e}"))?;
        for ((key, got), want) in outputs.iter().zip(&case.outputs) {
            if *key != want.name {
                return Err(format!("output `{}` is expected, `{key}` came", want.name));
            }
            let nearly = NEARLY.contains(&fixture.key.as_str());
            worst = worst
                .max(compare(got, want, nearly).map_err(|e| format!("output `{key}` on {shapes:?}: {e}"))?);
        }
    }
    Ok(worst)
}

fn described(
    inputs: &[TensorDescription],
    outputs: &[TensorDescription],
    fixture: &Fixture,
) -> Result<(), String> {
    axes("input", inputs, fixture, |case| &case.inputs)?;
    axes("output", outputs, fixture, |case| &case.outputs)
}

/// Names, types, and axes: dynamic where the cases differ, of the cases' length where they do not.
fn axes(
    what: &str,
    got: &[TensorDescription],
    fixture: &Fixture,
    arrays: fn(&Case) -> &[Array],
) -> Result<(), String> {
    let first = arrays(&fixture.cases[0]);
    if got.len() != first.len() {
        let got: Vec<_> = got.iter().map(|d| &d.name).collect();
        return Err(format!("{} {what}s are expected, {got:?} are described", first.len()));
    }
    for (ix, (got, want)) in got.iter().zip(first).enumerate() {
        let all = || fixture.cases.iter().map(move |c| &arrays(c)[ix].dimensions);
        let dimensions: Vec<Option<u32>> = (0..want.dimensions.len())
            .map(|axis| Some(want.dimensions[axis]).filter(|&d| all().all(|other| other[axis] == d)))
            .collect();
        // Of an output nothing need be known but what is certain.
        let lenient = what == "output" && MISDECLARED.contains(&(&fixture.key, &want.name));
        let fit = |(g, w): (&Option<u32>, &Option<u32>)| g == w || what == "output" && g.is_none() || lenient;
        let fits =
            got.dimensions.len() == dimensions.len() && got.dimensions.iter().zip(&dimensions).all(fit);
        if got.name != want.name || got.ty != want.ty || !fits {
            return Err(format!(
                "{what} `{}` {} {dimensions:?} is expected, `{}` {} {:?} is described",
                want.name, want.ty, got.name, got.ty, got.dimensions
            ));
        }
    }
    Ok(())
}

/// The worst difference: absolute up to 1, relative above. Integers have to be equal; where bytes are `nearly` equal, one next to it will do.
fn compare(got: &Tensor, want: &Array, nearly: bool) -> Result<f64, String> {
    if (got.ty, &got.dimensions) != (want.ty, &want.dimensions) {
        return Err(format!(
            "{} {:?} is expected, {} {:?} came",
            want.ty, want.dimensions, got.ty, got.dimensions
        ));
    }
    if want.ty != TensorType::FP32 {
        let size = want.ty.size();
        let mut pairs = got.data.chunks_exact(size).zip(want.data.chunks_exact(size));
        let differ = |g: &[u8], w: &[u8]| match (g, w) {
            ([g], [w]) if nearly => g.abs_diff(*w) > 1,
            _ => g != w,
        };
        let Some(at) = pairs.position(|(g, w)| differ(g, w)) else { return Ok(0.0) };
        let integer = |data: &[u8]| {
            let mut bytes = [0; 8];
            bytes[..size].copy_from_slice(&data[at * size..(at + 1) * size]);
            i64::from_le_bytes(bytes)
        };
        return Err(format!(
            "element {at}: {} is expected, {} came",
            integer(&want.data),
            integer(&got.data)
        ));
    }
    let floats = |data: &[u8]| -> Vec<f64> {
        data.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
    };
    let (got, want) = (floats(&got.data), floats(&want.data));
    // A NaN that the framework did not compute is as far away as can be.
    let difference = |g: f64, w: f64| if g.is_nan() { f64::MAX } else { (g - w).abs() / w.abs().max(1.0) };
    let differences = got.iter().zip(&want).map(|(g, w)| difference(*g, *w));
    let (at, worst) =
        differences.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).ok_or("it has no elements")?;
    if worst > TOLERANCE {
        let far = got.iter().zip(&want).filter(|(g, w)| difference(**g, **w) > TOLERANCE).count();
        return Err(format!(
            "{far} of {} elements are off by more than {TOLERANCE:e}, the worst is element {at}: {} is expected, {} came",
            got.len(),
            want[at],
            got[at]
        ));
    }
    Ok(worst)
}
