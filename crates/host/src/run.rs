//! Running one message on a canister and applying what it did: the commit points.
//!
//! Owns the order of things: pay in advance, execute, keep or forget, pay back, send calls, answer. A message that fails
//! leaves nothing but its cost and its lines in the log.

use candid::Principal;

use crate::canister::{Answered, Call, CallContext, Callback, Canister, Origin, Status, Turn};
use crate::executor::{Entry, Ran};
use crate::failure::{Failure, reject};
use crate::message::{Answer, Draft, Effects, Message};
use crate::replica::{CallId, Reject};
use crate::subnet::{fees, limits};
use crate::sysapi::Mode;
use crate::world::World;

/// Nanoseconds of a second, the grain of deadlines.
const SECOND: u64 = 1_000_000_000;

/// Bytes a reject is longer than its text.
const REJECT_CODE_BYTES: usize = 1;

impl World {
    /// Runs a method for a call.
    pub fn run_call(&mut self, id: Principal, call: Call) {
        let Some(canister) = self.canisters.get_mut(&id) else { return };
        let entry = match admit(canister, &call) {
            Ok(entry) => entry,
            Err((refusal, cost)) => {
                canister.balance = canister.balance.saturating_sub(cost);
                self.spend(call.root, cost);
                self.respond(call.origin, id, Answered { result: Err(refusal), refund: call.cycles });
                return;
            }
        };
        let mut context = CallContext {
            origin: call.origin,
            caller: call.caller,
            root: call.root,
            deadline: call.deadline,
            available: call.cycles,
            instructions: 0,
            answered: false,
            pending: 0,
        };
        let number = canister.fresh_id();
        let prepaid = fees::prepaid(limits::UPDATE);
        let mut message =
            Message::new(entry.1, self.update_limit, canister.facts(self.time, canister.balance - prepaid));
        message.payload = call.payload;
        call_facts(&mut message, &context);
        let ran = self.execute(id, Entry::Export(&entry.0), message, context.root);
        let failure = self.settle(id, number, &mut context, ran, prepaid);
        self.finish(id, number, context, failure.map(|failure| failure.reject(id)));
    }

    /// Runs a timer or a heartbeat.
    pub fn run_task(&mut self, id: Principal, task: Turn) {
        let time = self.time;
        let Some(canister) = self.canisters.get_mut(&id) else { return };
        let export = match task {
            Turn::Timer => "canister_global_timer",
            _ => "canister_heartbeat",
        };
        let prepaid = fees::prepaid(limits::UPDATE);
        if canister.balance
            < fees::freezing_threshold(canister.bytes(), canister.settings.freezing_seconds) + prepaid
        {
            // A timer stays set until there are cycles.
            return;
        }
        if let Turn::Timer = task {
            canister.timer = 0;
        }
        let number = canister.fresh_id();
        let message = Message::new(
            Mode::SystemTask,
            self.update_limit,
            canister.facts(time, canister.balance - prepaid),
        );
        let mut context = CallContext {
            origin: Origin::Task,
            caller: Principal::management_canister(),
            root: None,
            deadline: None,
            available: 0,
            instructions: 0,
            answered: false,
            pending: 0,
        };
        let ran = self.execute(id, Entry::Export(export), message, None);
        self.settle(id, number, &mut context, ran, prepaid);
        context.answered = true;
        self.finish(id, number, context, None);
    }

    /// Runs the callback of an answered call, and its cleanup where that fails.
    pub fn run_callback(&mut self, id: Principal, number: u64, answer: Answered) {
        let time = self.time;
        let Some(canister) = self.canisters.get_mut(&id) else { return };
        let Some(callback) = canister.callbacks.remove(&number) else { return };
        let Some(mut context) = canister.contexts.remove(&callback.context) else { return };
        context.pending -= 1;
        let text = answer.result.as_ref().err().map(Reject::for_canister);
        let bytes = match (&answer.result, &text) {
            (Ok(reply), _) => reply.len(),
            (_, text) => REJECT_CODE_BYTES + text.as_ref().map_or(0, String::len),
        };
        let transmission = fees::CALL_BYTE * bytes as u128;
        canister.balance += answer.refund + fees::response().saturating_sub(transmission);
        let root = context.root;
        let prepaid = fees::prepaid(limits::UPDATE);
        let mode = if answer.result.is_ok() { Mode::ReplyCallback } else { Mode::RejectCallback };
        let mut message = Message::new(mode, self.update_limit, canister.facts(time, canister.balance));
        call_facts(&mut message, &context);
        message.refunded = answer.refund;
        let closure = match answer.result {
            Ok(reply) => {
                message.payload = reply;
                callback.on_reply
            }
            Err(reject) => {
                message.rejected = Some((reject.code, text.unwrap_or_default()));
                callback.on_reject
            }
        };
        self.spend(root, transmission);
        let ran = self.execute(id, Entry::Closure(closure), message, root);
        let used = ran.as_ref().map_or(0, |ran| ran.instructions);
        let failure = self.settle(id, callback.context, &mut context, ran, prepaid);
        let failure = failure.map(|failure| match self.clean_up(id, &callback, &context, used) {
            Some(second) => failure.with_cleanup(&second, id),
            None => failure.reject(id),
        });
        self.finish(id, callback.context, context, failure);
    }

    /// Runs the cleanup of a callback that failed; answers how it failed itself.
    fn clean_up(
        &mut self,
        id: Principal,
        callback: &Callback,
        context: &CallContext,
        used: u64,
    ) -> Option<Failure> {
        let closure = callback.on_cleanup?;
        let time = self.time;
        let canister = self.canisters.get_mut(&id)?;
        let limit = self.update_limit.saturating_sub(used);
        let mut message = Message::new(Mode::Cleanup, limit, canister.facts(time, canister.balance));
        call_facts(&mut message, context);
        let mut context = context.clone();
        let ran = self.execute(id, Entry::Closure(closure), message, context.root);
        let prepaid = fees::EXECUTION;
        let cleaned = self.settle(id, callback.context, &mut context, ran, 0);
        if let Some(canister) = self.canisters.get_mut(&id) {
            canister.balance += prepaid;
        }
        self.unspend(context.root, prepaid);
        cleaned
    }

    fn unspend(&mut self, root: Option<CallId>, cycles: u128) {
        if let Some(cost) = root.and_then(|root| self.costs.get_mut(&root)) {
            cost.cycles = cost.cycles.saturating_sub(cycles);
        }
    }

    /// Executes and books what it took.
    fn execute(
        &mut self,
        id: Principal,
        entry: Entry<'_>,
        message: Message,
        root: Option<CallId>,
    ) -> Result<Ran, Failure> {
        let installed = self.canisters.get_mut(&id).and_then(|canister| canister.code.as_mut());
        let ran = installed.ok_or(Failure::NoModule)?.executor.execute(entry, message)?;
        self.round_instructions += ran.instructions;
        self.time += ran.instructions.saturating_sub(1) / limits::SLICE;
        if let Some(cost) = root.and_then(|root| self.costs.get_mut(&root)) {
            cost.instructions += ran.instructions + ran.page_instructions;
            cost.page_instructions += ran.page_instructions;
            cost.messages += 1;
            cost.heap_pages_dirtied += ran.dirty.len() as u64;
            cost.stable_pages_written += ran.stable_written;
        }
        Ok(ran)
    }

    /// Keeps or forgets what a message did, pays for it and sends its calls; answers its failure. `prepaid` was set aside
    /// for it and is not in its balance.
    fn settle(
        &mut self,
        id: Principal,
        number: u64,
        context: &mut CallContext,
        ran: Result<Ran, Failure>,
        prepaid: u128,
    ) -> Option<Failure> {
        let time = self.time;
        let canister = self.canisters.get_mut(&id)?;
        let ran = match ran {
            Ok(ran) => ran,
            Err(failure) => return Some(failure),
        };
        let instructions = ran.instructions + ran.page_instructions;
        let cost = fees::execution(instructions);
        let is_callback =
            !matches!(ran.message.mode, Mode::Update | Mode::ReplicatedQuery | Mode::SystemTask);
        let mut effects = ran.message.effects;
        for line in std::mem::take(&mut effects.log) {
            canister.log.push(time, line);
        }
        let executor = &mut canister.code.as_mut()?.executor;
        let kept = match ran.result {
            Ok(()) if ran.message.mode == Mode::ReplicatedQuery => executor.rollback(),
            Ok(()) => executor.commit(&ran.dirty),
            Err(failure) => executor.rollback().and(Err(failure)),
        };
        if let Err(failure) = kept {
            if let Some(line) = failure.log_line() {
                canister.log.push(time, line);
            }
            canister.balance =
                (canister.balance + if is_callback { prepaid } else { 0 }).saturating_sub(cost);
            self.spend(context.root, cost);
            return Some(failure);
        }
        canister.balance = (ran.message.canister.balance + prepaid).saturating_sub(cost);
        context.instructions += instructions;
        canister.version += 1;
        context.available -= effects.accepted;
        let calls = std::mem::take(&mut effects.calls);
        apply(canister, &mut effects);
        self.spend(context.root, cost);
        self.send_calls(id, number, context, calls);
        if let Some(answer) = effects.answer {
            context.answered = true;
            let result = match answer {
                Answer::Reply(reply) => Ok(reply),
                Answer::Reject(text) => Err(reject(406, text)),
            };
            let refund = std::mem::take(&mut context.available);
            self.respond(context.origin, id, Answered { result, refund });
        }
        None
    }

    /// Enters the callbacks of a message's calls and sends them.
    fn send_calls(&mut self, id: Principal, number: u64, context: &mut CallContext, calls: Vec<Draft>) {
        for draft in calls {
            let Some(canister) = self.canisters.get_mut(&id) else { return };
            let callback = canister.fresh_id();
            context.pending += 1;
            canister.callbacks.insert(
                callback,
                Callback {
                    context: number,
                    callee: draft.callee,
                    on_reply: draft.on_reply,
                    on_reject: draft.on_reject,
                    on_cleanup: draft.on_cleanup,
                },
            );
            let deadline = draft.timeout.map(|seconds| (self.time / SECOND + u64::from(seconds)) * SECOND);
            self.spend(context.root, fees::request(draft.method.len(), draft.payload.len()));
            let call = Call {
                origin: Origin::Canister { id, callback },
                caller: id,
                method: draft.method,
                payload: draft.payload,
                cycles: draft.cycles,
                deadline,
                root: context.root,
            };
            self.send(draft.callee, call);
        }
    }

    /// Closes a call context that waits for nothing, answering for it where it did not; keeps it otherwise.
    fn finish(&mut self, id: Principal, number: u64, mut context: CallContext, failure: Option<Reject>) {
        if context.pending > 0 {
            if let Some(canister) = self.canisters.get_mut(&id) {
                canister.contexts.insert(number, context);
            }
            return;
        }
        if !context.answered {
            let refusal =
                failure.unwrap_or_else(|| reject(506, format!("Canister {id} did not reply to the call")));
            let refund = std::mem::take(&mut context.available);
            self.respond(context.origin, id, Answered { result: Err(refusal), refund });
        }
    }
}

/// What a message knows of the call it is part of.
fn call_facts(message: &mut Message, context: &CallContext) {
    message.caller = context.caller;
    message.deadline = context.deadline;
    message.available = context.available;
    message.context_instructions = context.instructions;
    message.answered = context.answered;
}

/// Puts the effects of a kept message into its canister.
pub(crate) fn apply(canister: &mut Canister, effects: &mut Effects) {
    if let Some(draft) = effects.draft.take() {
        canister.balance += draft.cycles;
    }
    if let Some(timer) = effects.timer.take() {
        canister.timer = timer;
    }
    if let Some(data) = effects.certified_data.take() {
        canister.certified_data = data;
    }
}

/// The export a call runs and how; or the refusal and what it costs.
fn admit(canister: &Canister, call: &Call) -> Result<(String, Mode), (Reject, u128)> {
    let id = canister.id;
    if canister.status != Status::Running {
        let word = if canister.status == Status::Stopped { "stopped" } else { "not running" };
        let number = if canister.status == Status::Stopped { 508 } else { 509 };
        return Err((reject(number, format!("Canister {id} is {word}")), fees::EXECUTION));
    }
    let Some(installed) = &canister.code else { return Err((Failure::NoModule.reject(id), 0)) };
    let exports = &installed.executor.code().facts().exports;
    let method = &call.method;
    let (export, mode) = if exports.update.contains(method) {
        (format!("canister_update {method}"), Mode::Update)
    } else if exports.query.contains(method) {
        (format!("canister_query {method}"), Mode::ReplicatedQuery)
    } else if exports.composite_query.contains(method) {
        let text = "Composite query cannot be called in replicated mode";
        return Err((reject(527, text), fees::EXECUTION));
    } else {
        let missing = Failure::NoSuchMethod { kind: "update", name: method.clone() };
        return Err((missing.reject(id), fees::EXECUTION));
    };
    if let (Mode::Update, Some(limit)) = (mode, canister.settings.wasm_memory_limit) {
        let peak = installed.executor.heap_bytes();
        if peak > limit {
            return Err((Failure::WasmMemoryLimit { limit, peak }.reject(id), fees::EXECUTION));
        }
    }
    let frozen = fees::freezing_threshold(canister.bytes(), canister.settings.freezing_seconds);
    let needed = frozen + fees::prepaid(limits::UPDATE);
    if canister.balance < needed {
        let text = format!(
            "Canister {id} is out of cycles: please top up the canister with at least {} additional cycles",
            needed - canister.balance
        );
        return Err((reject(207, text), 0));
    }
    Ok((export, mode))
}
