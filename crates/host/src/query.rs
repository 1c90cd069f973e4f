//! Queries: executed on the committed state, which they never change.
//!
//! Owns the evaluation of composite queries, whose calls are queries too, depth first. A composite query sees its own
//! changes in its callbacks; its callees see the committed state.

use std::collections::VecDeque;

use candid::Principal;

use crate::canister::Status;
use crate::executor::{Entry, Ran, Suspended};
use crate::failure::{Failure, reject};
use crate::message::{Answer, Closure, Draft, Message};
use crate::replica::Reject;
use crate::subnet::limits;
use crate::sysapi::Mode;
use crate::world::World;

/// Why a query has no reply.
enum Refusal {
    /// The callee's caller is told.
    Reject(Reject),
    /// The whole call graph ends.
    End(Reject),
}

/// A call graph under evaluation.
struct Graph {
    left: u64,
}

/// A composite query whose calls are under way.
struct Frame {
    id: Principal,
    caller: Principal,
    depth: usize,
    state: Suspended,
    instructions: u64,
    calls: VecDeque<Draft>,
    answer: Option<Answer>,
}

impl World {
    /// Answers a query call, plain or composite; with the instructions it took.
    pub fn query(
        &mut self,
        id: Principal,
        caller: Principal,
        method: &str,
        arg: &[u8],
    ) -> (Result<Vec<u8>, Reject>, u64) {
        if id == Principal::management_canister() {
            return (self.query_subnet(caller, method, arg), 0);
        }
        let mut graph = Graph { left: limits::QUERY };
        let result = self.evaluate(&mut graph, id, caller, method, arg, 0);
        let result = result.map_err(|refusal| match refusal {
            Refusal::Reject(reject) | Refusal::End(reject) => reject,
        });
        (result, limits::QUERY - graph.left)
    }

    fn evaluate(
        &mut self,
        graph: &mut Graph,
        id: Principal,
        caller: Principal,
        method: &str,
        arg: &[u8],
        depth: usize,
    ) -> Result<Vec<u8>, Refusal> {
        if depth > limits::CALL_DEPTH {
            return Err(Refusal::End(reject(525, "Composite query calls exceeded the maximum call depth.")));
        }
        let refuse = |reject| Err(Refusal::Reject(reject));
        let Some(canister) = self.canisters.get_mut(&id) else {
            return refuse(reject(301, format!("Canister {id} not found")));
        };
        if canister.status != Status::Running {
            let word = if canister.status == Status::Stopped { "stopped" } else { "stopping" };
            let text = format!("Canister {id} is {word} and therefore does not have a CallContextManager");
            return refuse(reject(508, text));
        }
        let Some(installed) = &canister.code else { return refuse(Failure::NoModule.reject(id)) };
        let exports = &installed.executor.code().facts().exports;
        let (mode, export) = if exports.query.contains(method) {
            (Mode::Query, format!("canister_query {method}"))
        } else if exports.composite_query.contains(method) {
            (Mode::CompositeQuery, format!("canister_composite_query {method}"))
        } else {
            let missing = Failure::NoSuchMethod { kind: "query", name: method.to_owned() };
            return refuse(missing.reject(id));
        };
        let mut message = self.query_message(graph, id, caller, mode);
        message.payload = arg.to_vec();
        let ran = self.run_query(graph, id, Entry::Export(&export), message, None)?;
        let mut frame = self.suspend(id, caller, depth, ran)?;
        while frame.answer.is_none() {
            let Some(call) = frame.calls.pop_front() else { break };
            self.evaluate_call(graph, &mut frame, call)?;
        }
        match frame.answer {
            Some(Answer::Reply(reply)) => Ok(reply),
            Some(Answer::Reject(text)) => refuse(reject(406, text)),
            None => refuse(reject(506, format!("Canister {id} did not produce a response"))),
        }
    }

    /// The state after the first message of a query.
    fn suspend(
        &mut self,
        id: Principal,
        caller: Principal,
        depth: usize,
        ran: Ran,
    ) -> Result<Frame, Refusal> {
        let executor = self.executor(id)?;
        let state = if ran.message.effects.calls.is_empty() {
            executor.rollback().and(Ok(Suspended::default()))
        } else {
            executor.suspend()
        };
        Ok(Frame {
            id,
            caller,
            depth,
            state: state.map_err(|failure| Refusal::Reject(failure.reject(id)))?,
            instructions: ran.instructions + ran.page_instructions,
            calls: ran.message.effects.calls.into(),
            answer: ran.message.effects.answer,
        })
    }

    /// Evaluates one call of a composite query and runs its callback.
    fn evaluate_call(&mut self, graph: &mut Graph, frame: &mut Frame, call: Draft) -> Result<(), Refusal> {
        let result =
            self.evaluate(graph, call.callee, frame.id, &call.method, &call.payload, frame.depth + 1);
        let (mode, closure) = match &result {
            Ok(_) => (Mode::CompositeReplyCallback, call.on_reply),
            Err(Refusal::Reject(_)) => (Mode::CompositeRejectCallback, call.on_reject),
            Err(Refusal::End(_)) => return result.map(|_| ()),
        };
        let mut message = self.query_message(graph, frame.id, frame.caller, mode);
        match result {
            Ok(reply) => message.payload = reply,
            Err(Refusal::Reject(reject) | Refusal::End(reject)) => {
                message.rejected = Some((reject.code, reject.message));
            }
        }
        message.context_instructions = frame.instructions;
        let id = frame.id;
        let failed = |failure: Failure| Refusal::Reject(failure.reject(id));
        self.executor(id)?.resume(&frame.state).map_err(failed)?;
        let ran = match self.run_query(graph, id, Entry::Closure(closure), message, Some(&frame.state)) {
            Ok(ran) => ran,
            Err(refusal) => {
                self.clean_up_query(graph, frame, call.on_cleanup)?;
                return Err(refusal);
            }
        };
        frame.instructions += ran.instructions + ran.page_instructions;
        frame.calls.extend(ran.message.effects.calls);
        frame.answer = ran.message.effects.answer;
        frame.state = self.executor(id)?.suspend().map_err(failed)?;
        Ok(())
    }

    /// Runs the cleanup of a callback that failed. Nothing of it stays.
    fn clean_up_query(
        &mut self,
        graph: &mut Graph,
        frame: &Frame,
        cleanup: Option<Closure>,
    ) -> Result<(), Refusal> {
        let Some(closure) = cleanup else { return Ok(()) };
        let id = frame.id;
        let failed = |failure: Failure| Refusal::Reject(failure.reject(id));
        self.executor(id)?.resume(&frame.state).map_err(failed)?;
        let message = self.query_message(graph, id, frame.caller, Mode::CompositeCleanup);
        if self.run_query(graph, id, Entry::Closure(closure), message, Some(&frame.state)).is_ok() {
            self.executor(id)?.rollback().map_err(failed)?;
        }
        Ok(())
    }

    fn executor(&mut self, id: Principal) -> Result<&mut crate::executor::Executor, Refusal> {
        (self.canisters.get_mut(&id))
            .and_then(|canister| canister.code.as_mut())
            .map(|installed| &mut installed.executor)
            .ok_or_else(|| Refusal::Reject(Failure::NoModule.reject(id)))
    }

    fn query_message(&mut self, graph: &Graph, id: Principal, caller: Principal, mode: Mode) -> Message {
        let time = self.time;
        let canister = &self.canisters[&id];
        let mut facts = canister.facts(time, canister.balance);
        facts.certificate = Some(certificate(&canister.certified_data, time));
        let mut message = Message::new(mode, graph.left, facts);
        message.caller = caller;
        message
    }

    /// Runs a message of a query; after a failure its changes are gone. Pages are counted against `base`.
    fn run_query(
        &mut self,
        graph: &mut Graph,
        id: Principal,
        entry: Entry<'_>,
        message: Message,
        base: Option<&Suspended>,
    ) -> Result<Ran, Refusal> {
        let price = self.schedule.heap.dirty;
        let executor = self.executor(id)?;
        let told = |failure: Failure| Refusal::Reject(failure.reject(id));
        let mut ran = executor.execute(entry, message).map_err(told)?;
        graph.left = graph.left.saturating_sub(ran.instructions);
        if let Err(failure) = ran.result {
            executor.rollback().map_err(told)?;
            let failure = match failure {
                Failure::InstructionLimit(_) => Failure::InstructionLimit(limits::QUERY),
                failure => failure,
            };
            return Err(told(failure));
        }
        if let Some(base) = base {
            let same = executor.unchanged_since(base, &ran.dirty);
            ran.page_instructions = ran.page_instructions.saturating_sub(same * price);
        }
        Ok(ran)
    }
}

/// Stands for the certificate a replica would give: the certified data and the time, signed by nobody.
fn certificate(data: &[u8], time: u64) -> Vec<u8> {
    let mut certificate = b"\xd9\xd9\xf7\xa1\x64tree\x83\x01\x82\x04\x58\x20".to_vec();
    let mut padded = [0; 32];
    padded[..data.len()].copy_from_slice(data);
    certificate.extend_from_slice(&padded);
    certificate.extend_from_slice(&time.to_be_bytes());
    certificate
}
