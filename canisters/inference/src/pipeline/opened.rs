//! Contexts of this canister's on stages: each is closed when its request is over, however that ends.
//!
//! Nothing of them is in stable memory. Where this canister is upgraded or installed anew in the midst of a request, its next context
//! on a stage closes those of before there, being of another session; where it never comes back the stage closes them, when nothing
//! was called on them for [`IDLE_SECONDS`].

use std::cell::RefCell;

use ic_nn_types::{ContextOptions, Error, PipelineStage};

use super::calls::{self, Wait};
use super::stage::encoded;
use crate::session;

/// How long a stage keeps a context that this canister does not call on. The longest that it does not while all is well is when it
/// fetches outputs, which does not count as calls on them: at 16 MB a round trip and 10 s for each, half an hour is for 2.9 GB, more
/// than a heap has for them.
const IDLE_SECONDS: u64 = 1_800;

/// Contexts that are remembered to have been left. Further ones are the stages' to close.
const MOST_LEFT: usize = 1_000;

thread_local! {
    /// What requests left open whose messages trapped.
    static LEFT: RefCell<Vec<(PipelineStage, u64)>> = const { RefCell::new(vec![]) };
}

/// An open context on a stage. Where it goes without having been closed, as when its message traps, it is remembered and closed by
/// the next request.
pub(super) struct Opened {
    stage: PipelineStage,
    context: u64,
    closed: bool,
}

impl Opened {
    /// Opens one on a graph of the stage's.
    pub(super) async fn open(stage: &PipelineStage, graph: u64) -> Result<Opened, Error> {
        let options = ContextOptions { idle_seconds: Some(IDLE_SECONDS), session: Some(session::number()) };
        let arg = encoded(candid::encode_args((graph, Some(options))))?;
        let reply = calls::call(stage, Wait::Long, "init_execution_context", &arg).await?;
        Ok(Opened { context: calls::decoded(stage, reply)?, stage: stage.clone(), closed: false })
    }

    pub(super) fn context(&self) -> u64 {
        self.context
    }

    /// Closes it, for which nobody waits.
    pub(super) fn close(self) {
        let mut opened = self;
        ic_cdk::futures::spawn_weak(async move {
            let arg = candid::encode_one(opened.context).unwrap_or_default();
            // A stage that does not answer now closes it by itself.
            let _ = calls::call_after(&opened.stage, "finalize_execution_context", &arg).await;
            opened.closed = true;
            drop(opened);
        });
    }

    /// Closes what was left.
    pub(super) fn close_left() {
        for (stage, context) in LEFT.take() {
            Opened { stage, context, closed: false }.close();
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        LEFT.with_borrow_mut(|left| {
            if left.len() < MOST_LEFT {
                left.push((self.stage.clone(), self.context));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_without_being_closed_is_remembered() {
        let stage = PipelineStage {
            canister: candid::Principal::management_canister(),
            model: "m".into(),
            version: 1,
            sha256: [0; 32],
            takes: vec![],
            gives: vec![],
        };
        for context in 0..MOST_LEFT as u64 + 7 {
            drop(Opened { stage: stage.clone(), context, closed: context % 2 == 0 });
        }
        LEFT.with_borrow(|left| assert!(left.iter().map(|(_, context)| *context).eq((1..1_007).step_by(2))));
        for context in 0..MOST_LEFT as u64 {
            drop(Opened { stage: stage.clone(), context, closed: false });
        }
        assert_eq!(LEFT.take().len(), MOST_LEFT);
    }
}
