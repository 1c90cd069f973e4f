//! The cache that streams share: which panels stay, and what the others are read into.
//!
//! A run goes round its plan, so the panel whose next use is farthest away is the one that was just used. What is there
//! therefore stays, and what finds no room is read into one *slot* that is used again and again: a plan of `t` bytes finds `c` of them
//! in a cache of `c` each time, where throwing out the least recently used would find none. Once full, nothing is allocated.
//!
//! Streams that are in use have equal parts: one that has less than its part takes panels of those that have more, the last of
//! their plans first. One that the others have gone past four times the cache's bytes since is idle, and all of its panels are for the taking.

use std::collections::BTreeMap;
use std::fmt;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often the cache's bytes are asked for before a stream that asks for none is idle.
const IDLE: u64 = 4;

/// A stream and a panel of it.
type Key = (u64, u64);

/// What fills a room with the bytes of a panel; the second room is for rough numbers on the way.
pub(super) type Fill<'a> = dyn FnMut(&mut [MaybeUninit<u8>], &mut Vec<f32>) + 'a;

/// Runs what allocates: a caller whose allocations are planned has these left out.
pub type Outside = fn(&mut dyn FnMut());

/// Bytes of a panel. They stay while this is held.
pub(crate) type Lent = Arc<Buffer>;

/// Room for the bytes of a panel, at the address of a vector.
pub(crate) struct Buffer {
    room: Vec<MaybeUninit<u128>>,
}

impl Buffer {
    #[allow(unsafe_code, reason = "zeros would cost an instruction a byte")]
    fn new(bytes: usize) -> Buffer {
        let vectors = bytes.div_ceil(16);
        let mut room = Vec::with_capacity(vectors);
        // SAFETY: there is room for so many, which need not be written to be there.
        unsafe {
            room.set_len(vectors);
        }
        Buffer { room }
    }

    fn bytes(&self) -> usize {
        16 * self.room.len()
    }

    #[allow(unsafe_code, reason = "vectors as the bytes that they are")]
    fn room(&mut self) -> &mut [MaybeUninit<u8>] {
        let bytes = self.bytes();
        // SAFETY: the same bytes, borrowed for as long.
        unsafe { std::slice::from_raw_parts_mut(self.room.as_mut_ptr().cast(), bytes) }
    }

    /// Its first byte.
    pub(crate) fn address(&self) -> *const u8 {
        self.room.as_ptr().cast()
    }
}

/// What a cache is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that it may take.
    pub most: u64,
    /// Bytes that it takes: panels, and what others are read into.
    pub bytes: u64,
    /// Panels that were there when they were asked for.
    pub hits: u64,
    /// Panels that were read.
    pub misses: u64,
    /// Bytes of those.
    pub read: u64,
}

#[derive(Default)]
struct Owner {
    bytes: u64,
    /// What all had asked for when it asked last.
    last: u64,
}

#[derive(Default)]
struct Shelves {
    panels: BTreeMap<Key, Lent>,
    owners: BTreeMap<u64, Owner>,
    next: u64,
    /// Bytes of the panels.
    kept: u64,
    /// What panels that find no room are read into.
    slot: Option<Lent>,
    rough: Vec<f32>,
    /// Bytes that were asked for.
    asked: u64,
    usage: Usage,
}

/// A cache of panels.
pub struct Cache {
    shelves: Mutex<Shelves>,
    outside: Outside,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.usage())
    }
}

impl Cache {
    /// An empty one of so many bytes. A panel that is larger is read all the same, each time.
    pub fn new(most: u64, outside: Outside) -> Arc<Cache> {
        let shelves = Shelves { usage: Usage { most, ..Usage::default() }, ..Shelves::default() };
        Arc::new(Cache { shelves: Mutex::new(shelves), outside })
    }

    /// What it is about.
    pub fn usage(&self) -> Usage {
        let shelves = self.lock();
        Usage { bytes: shelves.kept + shelves.spare(), ..shelves.usage }
    }

    /// What it keeps of a stream, in bytes.
    pub(super) fn kept_of(&self, stream: &super::Stream) -> u64 {
        self.lock().owners.get(&stream.id).map_or(0, |owner| owner.bytes)
    }

    /// Gives it another size. What is then too much leaves.
    pub fn resize(&self, most: u64) {
        let mut shelves = self.lock();
        shelves.usage.most = most;
        if shelves.kept + shelves.spare() > most {
            shelves.clear();
        }
    }

    /// Has everything leave, where nothing reads.
    pub fn clear(&self) {
        self.lock().clear();
    }

    pub(super) fn admit(&self) -> u64 {
        let mut shelves = self.lock();
        shelves.next += 1;
        let (id, last) = (shelves.next, shelves.asked);
        shelves.owners.insert(id, Owner { bytes: 0, last });
        id
    }

    pub(super) fn forget(&self, stream: u64) {
        let mut shelves = self.lock();
        shelves.owners.remove(&stream);
        let own: Vec<Key> =
            shelves.panels.range((stream, 0)..=(stream, u64::MAX)).map(|(key, _)| *key).collect();
        for key in own {
            if let Some(panel) = shelves.panels.remove(&key) {
                shelves.kept -= panel.bytes() as u64;
            }
        }
        if shelves.owners.is_empty() {
            (shelves.slot, shelves.rough) = (None, Vec::new());
        }
    }

    /// The panel of that number, of so many bytes: as it is there, or filled now.
    pub(super) fn lend(&self, stream: u64, panel: u64, bytes: usize, fill: &mut Fill<'_>) -> Lent {
        let mut shelves = self.lock();
        shelves.asked += bytes as u64;
        let asked = shelves.asked;
        if let Some(owner) = shelves.owners.get_mut(&stream) {
            owner.last = asked;
        }
        if let Some(lent) = shelves.panels.get(&(stream, panel)) {
            let lent = Arc::clone(lent);
            shelves.usage.hits += 1;
            return lent;
        }
        shelves.usage.misses += 1;
        shelves.usage.read += bytes as u64;
        let mut lent = None;
        (self.outside)(&mut || lent = Some(shelves.read((stream, panel), bytes, fill)));
        lent.unwrap_or_else(|| shelves.read((stream, panel), bytes, fill))
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        // Nothing is half done where a fill panics.
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    /// Bytes beside the panels.
    fn spare(&self) -> u64 {
        self.slot.as_ref().map_or(0, |slot| slot.bytes() as u64) + 4 * self.rough.capacity() as u64
    }

    /// Reads a panel that is not there.
    fn read(&mut self, key: Key, bytes: usize, fill: &mut Fill<'_>) -> Lent {
        if self.has_room(key.0, bytes) {
            let mut buffer = Buffer::new(bytes);
            fill(&mut buffer.room()[..bytes], &mut self.rough);
            self.kept += buffer.bytes() as u64;
            if let Some(owner) = self.owners.get_mut(&key.0) {
                owner.bytes += buffer.bytes() as u64;
            }
            let lent = Arc::new(buffer);
            self.panels.insert(key, Arc::clone(&lent));
            return lent;
        }
        let mut slot = self.slot.take().filter(|slot| slot.bytes() >= bytes && Arc::strong_count(slot) == 1);
        let buffer = match slot.as_mut().and_then(Arc::get_mut) {
            Some(buffer) => buffer,
            None => Arc::get_mut(slot.insert(Arc::new(Buffer::new(bytes)))).expect("nobody else has it yet"),
        };
        fill(&mut buffer.room()[..bytes], &mut self.rough);
        self.slot.clone_from(&slot);
        slot.expect("it was filled")
    }

    /// Whether a panel of so many bytes may stay, others having made room for it.
    fn has_room(&mut self, stream: u64, bytes: usize) -> bool {
        let bytes = bytes.next_multiple_of(16) as u64;
        // Beside the slot and what is rough, or may be.
        let spare = self.spare().max(bytes);
        let Some(most) = self.usage.most.checked_sub(spare) else { return false };
        if self.kept + bytes <= most {
            return true;
        }
        let idle = |owner: &Owner| self.asked - owner.last > IDLE * self.usage.most;
        let active = self.owners.values().filter(|owner| !idle(owner)).count().max(1) as u64;
        let part = most / active;
        if self.owners.get(&stream).is_none_or(|owner| owner.bytes + bytes > part) {
            return false;
        }
        while self.kept + bytes > most {
            let idle = |owner: &Owner| self.asked - owner.last > IDLE * self.usage.most;
            let over =
                |owner: &Owner| if idle(owner) { owner.bytes } else { owner.bytes.saturating_sub(part) };
            let others = self.owners.iter().filter(|(id, owner)| **id != stream && over(owner) > 0);
            let Some(id) = others.max_by_key(|(_, owner)| over(owner)).map(|(id, _)| *id) else {
                return false;
            };
            let Some(key) = self.panels.range((id, 0)..=(id, u64::MAX)).next_back().map(|(key, _)| *key)
            else {
                return false;
            };
            if let (Some(panel), Some(owner)) = (self.panels.remove(&key), self.owners.get_mut(&id)) {
                self.kept -= panel.bytes() as u64;
                owner.bytes -= panel.bytes() as u64;
            }
        }
        true
    }

    fn clear(&mut self) {
        self.panels.clear();
        self.owners.values_mut().for_each(|owner| owner.bytes = 0);
        (self.kept, self.slot, self.rough) = (0, None, Vec::new());
    }
}
