//! The state tree: what a certificate is made of.
//!
//! Owns the tree's paths. A tree that is certified holds what was asked for and the time, and nothing is pruned: what is not
//! in it is absent.

use std::collections::BTreeMap;

use candid::Principal;
use ic_certification::hash_tree::Label;
use ic_certification::{HashTree, empty, fork, labeled, leaf};
use ic_transport_types::RequestId;

use crate::authority::{Authority, cbor};
use crate::call::CallStatus;

/// A tree under construction; labels are sorted, as lookups need them.
#[derive(Clone)]
pub enum State {
    /// A value.
    Leaf(Vec<u8>),
    /// Labelled trees.
    Branch(BTreeMap<Vec<u8>, State>),
}

impl State {
    /// A tree of nothing.
    pub fn new() -> Self {
        State::Branch(BTreeMap::new())
    }

    /// Adds a value at a path, with what leads there.
    pub fn insert(&mut self, path: &[&[u8]], value: impl Into<Vec<u8>>) {
        self.graft(path, State::Leaf(value.into()));
    }

    /// What stands at a path.
    pub fn at<'a>(&self, path: impl IntoIterator<Item = &'a [u8]>) -> Option<&State> {
        path.into_iter().try_fold(self, |state, label| match state {
            State::Branch(branches) => branches.get(label),
            State::Leaf(_) => None,
        })
    }

    /// The part of the tree that paths lead to.
    pub fn select(&self, paths: &[Vec<Label<Vec<u8>>>]) -> State {
        let mut selected = State::new();
        for path in paths {
            let path: Vec<&[u8]> = path.iter().map(Label::as_bytes).collect();
            if let Some(found) = self.at(path.iter().copied()) {
                selected.graft(&path, found.clone());
            }
        }
        selected
    }

    /// The hash tree.
    pub fn tree(&self) -> HashTree {
        match self {
            State::Leaf(value) => leaf(value.clone()),
            State::Branch(branches) => {
                let labels: Vec<_> = branches.iter().collect();
                balanced(&labels)
            }
        }
    }

    fn graft(&mut self, path: &[&[u8]], grafted: State) {
        let Some((label, rest)) = path.split_first() else {
            *self = grafted;
            return;
        };
        if let State::Leaf(_) = self {
            *self = State::new();
        }
        let State::Branch(branches) = self else { return };
        branches.entry(label.to_vec()).or_insert_with(State::new).graft(rest, grafted);
    }
}

fn balanced(labels: &[(&Vec<u8>, &State)]) -> HashTree {
    match labels {
        [] => empty(),
        [(label, state)] => labeled(label.as_slice(), state.tree()),
        _ => {
            let (left, right) = labels.split_at(labels.len() / 2);
            fork(balanced(left), balanced(right))
        }
    }
}

/// `/time`.
pub fn time(state: &mut State, nanos: u64) {
    state.insert(&[b"time"], number(nanos));
}

/// `/subnet` and `/canister_ranges`: the subnet has every canister id.
pub fn subnet(state: &mut State, authority: &Authority) {
    let (subnet, node) = (authority.subnet_id(), authority.node_id());
    let first = Principal::from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    let last = Principal::from_slice(&[255, 255, 255, 255, 255, 255, 255, 255, 1, 1]);
    let ranges = cbor(&[(first, last)]);
    let id = subnet.as_slice();
    state.insert(&[b"subnet", id, b"public_key"], authority.root_key.clone());
    state.insert(&[b"subnet", id, b"canister_ranges"], ranges.clone());
    state.insert(&[b"subnet", id, b"type"], "system");
    state.insert(&[b"subnet", id, b"node", node.as_slice(), b"public_key"], authority.node_key.clone());
    state.insert(&[b"canister_ranges", id, first.as_slice()], ranges);
}

/// `/request_status/<id>`.
pub fn request_status(state: &mut State, id: &RequestId, status: &CallStatus) {
    let mut say = |field: &str, value: Vec<u8>| {
        state.insert(&[b"request_status", id.as_slice(), field.as_bytes()], value);
    };
    match status {
        CallStatus::Processing => say("status", b"processing".to_vec()),
        CallStatus::Answered(Ok(reply)) => {
            say("status", b"replied".to_vec());
            say("reply", reply.clone());
        }
        CallStatus::Answered(Err(reject)) => {
            say("status", b"rejected".to_vec());
            say("reject_code", number(reject.code as u64));
            say("reject_message", reject.message.clone().into_bytes());
            say("error_code", reject.error_code.clone().into_bytes());
        }
    }
}

/// An unsigned LEB128 number.
fn number(value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    leb128::write::unsigned(&mut bytes, value).expect("a vector takes any bytes");
    bytes
}
