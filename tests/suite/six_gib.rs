//! A model of 6 GiB of weights, or of as many as `IC_NN_STREAMED_SIDE` says, in a heap of which 512 MiB are for weights. Run by
//! `scripts/streamed`: it takes twice the weights in memory, and minutes.

use std::fmt;
use std::mem::MaybeUninit;
use std::time::Instant;

use ic_nn_engine::stream::{self, Reads, Stream};
use ic_nn_engine::{File, Graph, Limits, Precision};
use ic_nn_host::Host;
use ic_nn_tests::onnx::{self, Dim, element};
use ic_nn_tests::service::{Service, request};
use ic_nn_types::{ChunkRequest, EstimateRequest, GraphEncoding, InitArgs, NamedTensor, Tensor, UploadSpec};
use sha2::{Digest, Sha256};

const LAYERS: usize = 6;
const SEED: u64 = 5;

/// Layers of `side` × `side` weights, which are told by their place.
#[derive(Clone, Copy)]
struct Large {
    side: usize,
}

impl Large {
    /// Weight of that number.
    fn weight(self, ix: u64) -> f32 {
        let mut x = (ix ^ SEED).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x ^= x >> 32;
        ((x >> 8) as u32 as f32 / (1u64 << 32) as f32 - 0.5) * (3.46 / (self.side as f32).sqrt())
    }

    fn bytes(self) -> u64 {
        4 * (LAYERS * self.side * self.side) as u64
    }

    /// Bytes of the weights' file from one on.
    fn fill(self, at: u64, to: &mut [MaybeUninit<u8>]) {
        assert!(at.is_multiple_of(4) && to.len().is_multiple_of(4), "whole weights");
        for (ix, to) in to.chunks_exact_mut(4).enumerate() {
            to.write_copy_of_slice(&self.weight(at / 4 + ix as u64).to_le_bytes());
        }
    }

    fn part(self, at: u64, length: usize) -> Vec<u8> {
        (at / 4..at / 4 + length as u64 / 4).flat_map(|ix| self.weight(ix).to_le_bytes()).collect()
    }

    fn model(self) -> Vec<u8> {
        let (side, bytes) = (self.side as i64, 4 * self.side * self.side);
        let name = |layer: usize| if layer == LAYERS { "y".to_owned() } else { format!("x{layer}") };
        let mut nodes = vec![];
        for layer in 0..LAYERS {
            let (op, attributes) = match layer % 2 {
                0 => ("MatMul", vec![]),
                _ => ("Gemm", vec![onnx::attribute_int("transB", 1)]),
            };
            let (weights, product) = (format!("w{layer}"), format!("p{layer}"));
            nodes.push(onnx::node(op, &[&name(layer), &weights], &[&product], attributes));
            nodes.push(onnx::node("Relu", &[&product], &[&name(layer + 1)], vec![]));
        }
        let weights = |layer: usize| {
            onnx::external(
                &format!("w{layer}"),
                element::FLOAT,
                &[side, side],
                "weights",
                layer * bytes,
                bytes,
            )
        };
        onnx::Model {
            nodes,
            inputs: vec![onnx::value("x0", element::FLOAT, &[Dim::Is(1), Dim::Is(side)])],
            outputs: vec![onnx::value("y", element::FLOAT, &[Dim::Is(1), Dim::Is(side)])],
            initializers: (0..LAYERS).map(weights).collect(),
            ..Default::default()
        }
        .finish()
    }

    fn input(self) -> Vec<NamedTensor> {
        let numbers: Vec<f32> = (0..self.side).map(|ix| ((ix * 37 + 11) % 101) as f32 / 101.0).collect();
        vec![("x0".into(), Tensor::from_f32(vec![1, self.side as u32], &numbers))]
    }

    /// What the engine answers here, its weights made as they are read.
    fn expected(self) -> Vec<NamedTensor> {
        let stream = Stream::new(Box::new(self), &stream::cache(0));
        let files = vec![File::Here(self.model()), File::Far { stream, at: 0, bytes: self.bytes() }];
        let limits = Limits::default();
        let loaded = Graph::load_streamed(GraphEncoding::Onnx, files, Precision::F32, &limits);
        loaded.expect("it loads natively").0.infer(self.input(), &limits).expect("it infers natively")
    }
}

impl fmt::Debug for Large {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LAYERS} layers of {}", self.side)
    }
}

impl Reads for Large {
    fn read(&self, at: u64, to: &mut [MaybeUninit<u8>]) {
        self.fill(at, to);
    }
}

#[test]
#[ignore = "takes twice its weights in memory, and minutes: scripts/streamed"]
fn it_answers() {
    let side = std::env::var("IC_NN_STREAMED_SIDE").ok().and_then(|side| side.parse().ok()).unwrap_or(16_384);
    let large = Large { side };
    let (weights, cache) = (large.bytes(), (512u64 << 20).min(large.bytes() / 12));
    let model = large.model();
    let bytes = model.len() as u64 + weights;
    let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    println!(
        "seed {SEED}: {LAYERS} layers of {side} x {side} f32, {:.2} GiB; weight cache {:.3} GiB",
        gib(weights),
        gib(cache)
    );
    let host = Host::builder().build().expect("a host");
    let args = InitArgs {
        max_model_bytes: Some(bytes),
        max_weight_cache_bytes: Some(cache),
        max_heap_bytes: Some((5 << 29).min(weights / 3)),
        ..Default::default()
    };
    let service = Service::deploy(&host, Some(args));
    let caller = service.controller();
    let step = |what: &str, start: Instant| {
        let cost = host.last_cost();
        println!(
            "{what}: {:.1} B instructions, {} messages, {:.3} T cycles, {:.0} s; heap {:.3} GiB, stable memory {:.2} GiB",
            cost.instructions as f64 / 1e9,
            cost.messages,
            cost.cycles as f64 / 1e12,
            start.elapsed().as_secs_f64(),
            gib(caller.server_metadata().expect("it says").heap_bytes),
            gib(host.stable_bytes(service.canister)),
        );
    };
    let start = Instant::now();
    // A part of the upload: the model lies in front of its weights.
    let chunk = 4 << 18;
    let part = |index: u64| {
        let (from, to) = (index * chunk, ((index + 1) * chunk).min(bytes));
        let mut part = vec![];
        if from < model.len() as u64 {
            part.extend_from_slice(&model[from as usize..(to as usize).min(model.len())]);
        }
        let from = from.max(model.len() as u64) - model.len() as u64;
        let wanted = to.saturating_sub(model.len() as u64).saturating_sub(from) as usize;
        // Whole weights around it.
        let (before, first) = ((from % 4) as usize, from / 4 * 4);
        let around = large.part(first, (before + wanted).next_multiple_of(4));
        part.extend_from_slice(&around[before..before + wanted]);
        part
    };
    let chunks = bytes.div_ceil(chunk);
    let mut hash = Sha256::new();
    (0..chunks).for_each(|index| hash.update(part(index)));
    let spec = UploadSpec {
        name: "large".into(),
        bytes,
        sha256: hash.finalize().to_vec(),
        chunk_bytes: Some(chunk as u32),
        builders: Some(vec![model.len() as u64, weights]),
        ..Default::default()
    };
    let upload = caller.upload_begin(&spec).expect("it begins").upload;
    for index in 0..chunks {
        let data = part(index);
        caller.upload_chunk(&ChunkRequest { upload, index: index as u32, data }).expect("a chunk is taken");
    }
    step("upload (the last chunk)", start);
    let start = Instant::now();
    caller.upload_commit(upload).expect("it commits");
    step("commit: hash, load, trial, image", start);
    let expected = large.expected();
    let ask = request("large", large.input());
    let mut heap = None;
    for run in 0..3 {
        let start = Instant::now();
        let answer = caller.infer(&ask).expect("it infers");
        assert_eq!(answer.outputs, expected, "bit for bit");
        step(if run == 0 { "first inference" } else { "inference" }, start);
        println!("  {:.3} instructions a byte of weights", answer.instructions as f64 / weights as f64);
        if run > 0 {
            let bytes = caller.server_metadata().expect("it says").heap_bytes;
            assert_eq!(*heap.get_or_insert(bytes), bytes, "nothing is left behind");
        }
    }
    let estimate = EstimateRequest { model: Some("large".into()), ..Default::default() };
    let estimate = caller.estimate(&estimate).expect("it is estimated").run_instructions;
    let status = caller.memory_status().expect("it says");
    println!("estimate {:.1} B instructions; {:?}", estimate as f64 / 1e9, status.weight_cache);
    assert!(status.weight_cache.bytes <= cache);
    let whole: Vec<f32> = expected[0].1.to_f32().expect("floats");
    assert!(whole.iter().any(|y| *y > 0.0) && whole.iter().all(|y| y.is_finite()));
    service.upgrade();
    let start = Instant::now();
    assert_eq!(caller.infer(&ask).expect("it infers after an upgrade").outputs, expected);
    step("inference after an upgrade", start);
}
