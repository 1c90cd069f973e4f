//! What a message is charged around an inference, so that an estimate is of a whole call.
//!
//! Fitted to steady updates of the measuring models under the schedule `2025-10` (`docs/prices.md`): decoding the argument,
//! replying, and the heap pages that the run leaves changed.

use ic_nn_types::CostSchedule;

/// A call that finds everything ready.
const CALL: u64 = 1_230_000;
/// A byte of an input that is decoded, ten times.
const INPUT_BYTE: u64 = 18;
/// A byte of an output that is put out, encoded and replied.
const OUTPUT_BYTE: u64 = 57;
/// A heap page that is changed, and the bytes of activations for which one is.
const PAGE: u64 = 1_000;
const PAGE_BYTES: u64 = 8_192;
/// Bytes of an ingress message beside its tensors.
const ENVELOPE: u64 = 400;

/// Instructions around a run with inputs and outputs of so many bytes, whose activations take `peak_bytes`.
pub(crate) fn message(inputs: u64, outputs: u64, peak_bytes: u64) -> u64 {
    CALL + inputs * INPUT_BYTE / 10 + outputs * OUTPUT_BYTE + peak_bytes / PAGE_BYTES * PAGE
}

/// Cycles of an update from a user with inputs of so many bytes, on as many nodes as the schedule is of.
pub(crate) fn cycles(instructions: u64, inputs: u64) -> u64 {
    let costs = CostSchedule::of_2025_10();
    let ingress = costs.cycles_per_ingress_message + (inputs + ENVELOPE) * costs.cycles_per_ingress_byte;
    costs.cycles_per_update + ingress + instructions.saturating_mul(costs.cycles_per_instruction)
}
