//! `ic-nn-ratio IC_NN.wasm STOCK.wasm MODEL.onnx...`: runs each model in ic-nn's canister, in f32 and in int8, and in that of
//! stock tract, in turns on one host, and prints as JSON what each took: instructions, which are the same everywhere, and the fastest
//! of some runs in nanoseconds, which mean something only beside each other. Outputs are held to be the same model's.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use candid::{Decode, Encode, Principal};
use ic_nn_client::{Client, ReplicaTransport};
use ic_nn_host::{Canister, CanisterSettings, Host, InstallMode, Replica};
use ic_nn_types::{InferRequest, InitArgs, Tensor, TensorType};
use serde_bytes::ByteBuf;
use serde_json::{Value, json};

/// Runs of each, the fastest counts.
const ROUNDS: usize = 3;
/// What an update may take here: stock tract's loads and runs do not fit the Internet Computer's.
const INSTRUCTIONS: u64 = 4_000_000_000_000;
/// Bytes of a part of a file.
const PART: usize = 1 << 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [ours, stock, models @ ..] = &arguments[..] else {
        bail!("ic-nn-ratio IC_NN.wasm STOCK.wasm MODEL.onnx...");
    };
    let mut rows = vec![];
    for model in models {
        rows.push(
            compare(Path::new(ours), Path::new(stock), Path::new(model)).with_context(|| model.clone())?,
        );
    }
    println!("{}", Value::Array(rows));
    Ok(())
}

/// What a canister took to answer, and what it answered.
struct Ran {
    instructions: u64,
    nanos: u128,
    output: Vec<f32>,
}

fn timed(host: &Host, run: impl FnOnce() -> Result<Vec<f32>>) -> Result<Ran> {
    let start = Instant::now();
    let output = run()?;
    Ok(Ran { nanos: start.elapsed().as_nanos(), instructions: host.last_cost().instructions, output })
}

/// The fastest, with the instructions of the last, which are those of a steady run.
fn faster(before: Option<Ran>, now: Ran) -> Ran {
    Ran { nanos: before.map_or(now.nanos, |before| before.nanos.min(now.nanos)), ..now }
}

fn compare(ours: &Path, stock: &Path, model: &Path) -> Result<Value> {
    let host = Host::builder().update_limit(INSTRUCTIONS).build()?;
    let file = std::fs::read(model)?;
    let sender = Principal::from_slice(b"ratio");
    let stock = Stock::installed(&host, sender, &std::fs::read(stock)?, &file)?;
    let wasm = std::fs::read(ours)?;
    let plain = Ours::installed(&host, sender, &wasm, &file, None)?;
    let int8 = Ours::installed(&host, sender, &wasm, &file, Some("int8"))?;
    let (mut f32s, mut int8s, mut stocks) = (None, None, None);
    // The first of each is a first inference.
    plain.run()?;
    int8.run()?;
    stock.run()?;
    for _ in 0..ROUNDS {
        f32s = Some(faster(f32s, timed(&host, || plain.run())?));
        int8s = Some(faster(int8s, timed(&host, || int8.run())?));
        stocks = Some(faster(stocks, timed(&host, || stock.run())?));
    }
    let (Some(f32s), Some(int8s), Some(stocks)) = (f32s, int8s, stocks) else { bail!("nothing ran") };
    let cosine = cosine(&f32s.output, &stocks.output)?;
    ensure!(cosine > 0.9999, "ic-nn and tract answer differently, cosine {cosine}");
    let row = |ran: &Ran| json!({ "instructions": ran.instructions, "nanos": ran.nanos as u64 });
    Ok(json!({
        "model": model.file_stem().map(|name| name.to_string_lossy()),
        "f32": row(&f32s),
        "int8": row(&int8s),
        "stock": row(&stocks),
    }))
}

fn cosine(a: &[f32], b: &[f32]) -> Result<f64> {
    ensure!(a.len() == b.len(), "{} numbers and {}", a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    Ok(dot(a, b) / (dot(a, a) * dot(b, b)).sqrt())
}

fn canister(host: &Host, sender: Principal, wasm: &[u8], arg: &[u8]) -> Result<Canister> {
    let canister = host.create_canister(sender, CanisterSettings::default());
    host.install(canister, sender, InstallMode::Install, wasm, arg).map_err(|e| anyhow!("{e}"))?;
    Ok(canister)
}

/// ic-nn with a model.
struct Ours<'a> {
    client: Client<ReplicaTransport<&'a Host>>,
    request: InferRequest,
}

impl<'a> Ours<'a> {
    fn installed(
        host: &'a Host,
        sender: Principal,
        wasm: &[u8],
        file: &[u8],
        quantize: Option<&str>,
    ) -> Result<Ours<'a>> {
        let canister = canister(host, sender, wasm, &Encode!(&None::<InitArgs>)?)?;
        let client = Client::new(ReplicaTransport::new(host, canister, sender));
        client.upload("model", file, &mut |_| ())?;
        let graph = client.load_by_name("model")?;
        if let Some(quantize) = quantize {
            client.set_property(graph, "quantize", Some(quantize))?;
        }
        let inputs = client
            .describe("model")?
            .inputs
            .iter()
            .map(|input| Ok((input.name.clone(), ones(input.ty, &input.dimensions)?)))
            .collect::<Result<_>>()?;
        Ok(Ours { client, request: InferRequest { model: "model".into(), inputs, ..Default::default() } })
    }

    fn run(&self) -> Result<Vec<f32>> {
        let response = self.client.infer(&self.request)?;
        let (_, first) = response.outputs.first().context("there is no output")?;
        Ok(first.data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }
}

/// Stock tract with a model.
struct Stock<'a> {
    host: &'a Host,
    canister: Canister,
    sender: Principal,
}

impl<'a> Stock<'a> {
    fn installed(host: &'a Host, sender: Principal, wasm: &[u8], file: &[u8]) -> Result<Stock<'a>> {
        let stock = Stock { host, sender, canister: canister(host, sender, wasm, &Encode!()?)? };
        for part in file.chunks(PART) {
            stock.call("add", &Encode!(&ByteBuf::from(part))?)?;
        }
        let reply = stock.call("load", &Encode!()?)?;
        Decode!(&reply, Result<(), String>)?.map_err(|e| anyhow!("stock tract refuses it: {e}"))?;
        Ok(stock)
    }

    fn call(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>> {
        self.host.update(self.canister, self.sender, method, arg).map_err(|e| anyhow!("{method}: {e}"))
    }

    fn run(&self) -> Result<Vec<f32>> {
        let reply = self.call("run", &Encode!()?)?;
        Decode!(&reply, Result<Vec<f32>, String>)?.map_err(|e| anyhow!("stock tract fails: {e}"))
    }
}

/// The same inputs as stock tract's.
fn ones(ty: TensorType, dimensions: &[Option<u32>]) -> Result<Tensor> {
    let dimensions: Vec<u32> =
        dimensions.iter().map(|d| d.context("an input's shape is open")).collect::<Result<_>>()?;
    let count = dimensions.iter().map(|d| *d as usize).product();
    let one: &[u8] = match ty {
        TensorType::FP32 => &1f32.to_le_bytes(),
        TensorType::I64 => &1i64.to_le_bytes(),
        TensorType::I32 => &1i32.to_le_bytes(),
        _ => bail!("inputs of type {ty:?} have no ones here"),
    };
    Ok(Tensor { dimensions, ty, data: one.repeat(count) })
}
