//! The mutation test: files that were good and have been tampered with, through upload, commit and load. Whatever the
//! file has become, the answer is a value or an error of the service, never a trap.

use ic_nn_client::ClientError;
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, element};
use ic_nn_tests::service::{Service, repository};
use ic_nn_types::Tensor;

/// Mutants of all models together; `scripts/sweep-mutants` asks for more, from other seeds.
const MUTANTS: usize = 2_000;

/// The start of the pseudo-random sequence where `IC_NN_SEED` names none.
const SEED: u64 = 0x001c_2026_1120;

/// xorshift64*: enough to pick places with.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below.max(1)
    }
}

/// Flips, sets, cuts out, doubles, moves or truncates a few places. Half of them are taken near the ends, where the
/// structure is, since most of a file is weights; and half of the mutants keep their length, so that what the lengths
/// frame is read.
fn mutate(file: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut out = file.to_vec();
    let changes = if dice.roll(2) == 0 { 3 } else { 7 };
    for _ in 0..=dice.roll(3) {
        if out.is_empty() {
            break;
        }
        let at = match dice.roll(4) {
            0 => dice.roll(out.len().min(400)),
            1 => out.len() - 1 - dice.roll(out.len().min(400)),
            _ => dice.roll(out.len()),
        };
        match dice.roll(changes) {
            0 => out[at] ^= 1 << dice.roll(8),
            1 => out[at] = dice.roll(256) as u8,
            2 => out[at] = [0, 1, 0x7f, 0x80, 0xff][dice.roll(5)],
            3 => drop(out.drain(at..(at + 1 + dice.roll(16)).min(file.len()).min(out.len()).max(at))),
            4 => out.insert(at, dice.roll(256) as u8),
            5 => {
                let part = out[at..(at + 1 + dice.roll(64)).min(out.len())].to_vec();
                let to = dice.roll(out.len());
                out.splice(to..to, part);
            }
            _ => out.truncate(at.max(1)),
        }
    }
    if out.is_empty() { vec![0] } else { out }
}

fn seeds() -> Vec<Vec<u8>> {
    let shape = [Dim::Named("n"), Dim::Is(4)];
    vec![
        std::fs::read(repository("models/digits.onnx")).expect("the model is committed"),
        onnx::add(),
        onnx::lookup(),
        onnx::unary("Softmax", element::FLOAT, &shape),
        onnx::echo(element::INT64, &shape),
    ]
}

#[test]
fn no_mutant_makes_the_service_trap() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let mutants = number("IC_NN_MUTANTS").map_or(MUTANTS, |n: u64| n as usize);
    let seed = number("IC_NN_SEED").unwrap_or(SEED);
    println!("{mutants} mutants, seed {seed:#x}");
    let seeds = seeds();
    on_every_runtime("mutants", |replica| {
        let service = Service::deploy(replica, None);
        let controller = service.controller();
        let mut dice = Dice(seed);
        let (mut accepted, mut refused, mut codes) = (0, 0, std::collections::BTreeMap::<_, usize>::new());
        for ix in 0..mutants {
            let file = mutate(&seeds[ix % seeds.len()], &mut dice);
            let outcome = service.upload("mutant", &file).and_then(|_| {
                let graph = controller.load_by_name("mutant")?;
                let description = controller.describe("mutant")?;
                let inputs = description.inputs.iter().map(|i| {
                    let dimensions: Vec<u32> = i.dimensions.iter().map(|d| d.unwrap_or(2)).collect();
                    let bytes = dimensions.iter().map(|&d| d as usize).product::<usize>() * i.ty.size();
                    (i.name.clone(), Tensor { dimensions, ty: i.ty, data: vec![1; bytes] })
                });
                let inputs: Vec<_> = inputs.collect();
                if inputs.iter().map(|(_, t)| t.data.len()).sum::<usize>() < 1_000_000 {
                    let _ = no_trap(service.ask("mutant", inputs), ix);
                }
                controller.unload(graph)?;
                service.delete("mutant").map(drop)
            });
            match no_trap(outcome, ix) {
                Ok(()) => accepted += 1,
                Err(error) => {
                    refused += 1;
                    *codes.entry(error.code.label()).or_default() += 1;
                    service.abandon("mutant", &file);
                    let _ = service.delete("mutant");
                }
            }
        }
        println!("{accepted} accepted, {refused} refused: {codes:?}");
        assert_eq!(accepted + refused, mutants);
        assert!(accepted > mutants / 50 && refused > mutants / 5, "the mutants reach both ends");
        service.serve("add", &onnx::add());
    });
}

/// The service's error if it is one; panics at a reject.
#[track_caller]
fn no_trap<T>(outcome: Result<T, ClientError>, mutant: usize) -> Result<T, ic_nn_types::Error> {
    outcome.map_err(|e| match e {
        ClientError::Service { error, .. } => error,
        other => panic!("mutant {mutant}: {other}"),
    })
}
