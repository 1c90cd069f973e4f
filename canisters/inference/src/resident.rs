//! The graphs in the heap: a cache of the registry, by content.
//!
//! A graph is keyed by the sha256 of its file and by what is made of it, so it can be stale but never wrong, and two versions
//! of the same share one. Graphs with an open handle are pinned; the others leave, least recently used first, when memory is short.

use std::collections::BTreeSet;

use ic_nn_engine::image::Drawing;
use ic_nn_engine::{Arranged, Graph};
use ic_nn_types::RunFacts;

use crate::facts::Facts;
use crate::variant::Content;

/// sha256 of a model file.
pub(crate) type Hash = [u8; 32];

/// A graph in the heap and what is known about it.
pub(crate) struct Resident {
    pub(crate) graph: Graph,
    pub(crate) facts: Facts,
    /// Whether the facts are of this graph: not where it was loaded for a version that is served in another variant.
    pub(crate) measured: bool,
    /// What its image is written from, until it is.
    drawing: Option<Drawing>,
    content: Content,
    pinned: bool,
    /// Heap that it was seen to take.
    bytes: u64,
    /// When it was last used, in nanoseconds since 1970.
    used: u64,
}

impl Resident {
    /// What it was made of.
    pub(crate) fn content(&self) -> Content {
        self.content
    }

    /// Whether it stays when memory is short.
    pub(crate) fn is_pinned(&self) -> bool {
        self.pinned
    }

    /// Heap that it was seen to take.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When it was last used.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// It is used.
    pub(crate) fn mark_used(&mut self) {
        self.used = ic_cdk::api::time();
    }

    /// It was seen to take so many bytes more, or less.
    pub(crate) fn grow(&mut self, bytes: i64) {
        self.bytes = self.bytes.saturating_add_signed(bytes);
    }

    /// What is known of running on the shapes of `inputs`.
    pub(crate) fn known(&self, inputs: &Arranged) -> Option<&RunFacts> {
        self.facts.runs.iter().flatten().find(|p| inputs.shapes().eq(&p.shapes))
    }
}

/// Resident graphs, least recently used first.
pub(crate) struct Residents(Vec<Resident>);

impl Residents {
    pub(crate) const fn new() -> Self {
        Residents(Vec::new())
    }

    /// The graph of that content, which becomes the most recently used.
    pub(crate) fn get(&mut self, content: Content) -> Option<&mut Resident> {
        let at = self.0.iter().position(|r| r.content == content)?;
        self.0[at..].rotate_left(1);
        self.0.last_mut()
    }

    /// Whether the graph of that content is here.
    pub(crate) fn has(&self, content: Content) -> bool {
        self.0.iter().any(|r| r.content == content)
    }

    /// Takes a graph in, in the place of an older one of the same content, with what its image is still to be written from.
    pub(crate) fn insert(
        &mut self,
        content: Content,
        (graph, drawing): (Graph, Option<Drawing>),
        facts: Facts,
        measured: bool,
        bytes: i64,
    ) {
        let pinned = self.0.iter().any(|r| r.content == content && r.pinned);
        self.0.retain(|r| r.content != content);
        let (bytes, used) = (bytes.max(0) as u64, ic_cdk::api::time());
        self.0.push(Resident { graph, facts, measured, drawing, content, pinned, bytes, used });
    }

    /// Whether the image of the graph of that content is still to be written.
    pub(crate) fn is_drawn(&self, content: Content) -> bool {
        self.0.iter().any(|r| r.content == content && r.drawing.is_some())
    }

    /// What it is written from.
    pub(crate) fn drawing(&self, content: Content) -> Option<&Drawing> {
        self.0.iter().find(|r| r.content == content)?.drawing.as_ref()
    }

    /// The same, which leaves.
    pub(crate) fn take_drawing(&mut self, content: Content) -> Option<Drawing> {
        self.0.iter_mut().find(|r| r.content == content)?.drawing.take()
    }

    /// Puts that back, where the graph is still here.
    pub(crate) fn draw(&mut self, content: Content, drawing: Drawing) {
        if let Some(resident) = self.0.iter_mut().find(|r| r.content == content) {
            resident.drawing = Some(drawing);
        }
    }

    /// Gives the graph of that content the facts of one that is served so.
    pub(crate) fn measured(&mut self, content: Content, facts: Facts) {
        if let Some(resident) = self.get(content) {
            (resident.facts, resident.measured) = (facts, true);
        }
    }

    /// Pins the graphs whose content is among `open` and no others.
    pub(crate) fn pin(&mut self, open: &BTreeSet<Content>) {
        for resident in &mut self.0 {
            resident.pinned = open.contains(&resident.content);
        }
    }

    /// Drops the graph of that content, so that the next use brings it anew.
    pub(crate) fn drop_for_good(&mut self, content: Content) {
        self.0.retain(|r| r.content != content);
    }

    /// Drops the graph of that content unless it is pinned.
    pub(crate) fn drop_unpinned(&mut self, content: Content) {
        self.0.retain(|r| r.pinned || r.content != content);
    }

    /// Drops the least recently used graph that is neither pinned nor `keep`; whether there was one.
    pub(crate) fn evict(&mut self, keep: Content) -> bool {
        match self.0.iter().position(|r| !r.pinned && r.content != keep) {
            Some(at) => {
                self.0.remove(at);
                true
            }
            None => false,
        }
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Resident> {
        self.0.iter()
    }

    /// The graph of that content was seen to take so many bytes more, or less.
    pub(crate) fn grow(&mut self, content: Content, bytes: i64) {
        if let Some(resident) = self.0.iter_mut().find(|r| r.content == content) {
            resident.grow(bytes);
        }
    }

    /// Graphs that are resident.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
