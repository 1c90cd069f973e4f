//! What a call cost, for whoever wants to show it.

/// All that was executed for one ingress call, in every canister, callbacks included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCost {
    /// Instructions, page charges included.
    pub instructions: u64,
    /// The part of the instructions charged for pages after the messages.
    pub page_instructions: u64,
    /// Cycles the canisters paid: executions, ingress, calls and answers.
    pub cycles: u128,
    /// Messages executed.
    pub messages: u64,
    /// Heap pages of 4 KiB changed, summed over the messages.
    pub heap_pages_dirtied: u64,
    /// Stable pages of 4 KiB written, summed over the messages.
    pub stable_pages_written: u64,
}
