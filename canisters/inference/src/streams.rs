//! Weights in stable memory: what of it graphs still read, and the cache that they come through.
//!
//! A stream reads the memory of the model files at a place, whatever becomes of the record that the place was looked up in. As long
//! as it is there nothing else is placed over it ([`held`], which the store asks), so a run whose model is deleted reads on.

use std::cell::RefCell;
use std::fmt;
use std::mem::MaybeUninit;
use std::sync::{Arc, Weak};

use ic_nn_engine::File;
use ic_nn_engine::stream::{self, Cache, Reads, Stream};
use ic_nn_store::{Draft, Held, PAGE_BYTES};

use crate::{memory, state};

/// Bytes from which packed numbers of an image stay there: less is read sooner than looked up.
pub(crate) const LEAST: u64 = 1 << 16;

thread_local! {
    static CACHE: RefCell<Option<Arc<Cache>>> = const { RefCell::new(None) };
    static PLACES: RefCell<Vec<Weak<Place>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes in the memory of the model files that are read, or written, without a record.
#[derive(Debug)]
pub(crate) struct Place {
    start: u64,
    pages: u64,
}

impl Place {
    fn hold((start, pages): Held) -> Arc<Place> {
        let place = Arc::new(Place { start, pages });
        PLACES.with_borrow_mut(|places| {
            places.retain(|place| place.strong_count() > 0);
            places.push(Arc::downgrade(&place));
        });
        place
    }

    /// The pages of an image that is being written.
    pub(crate) fn of(draft: &Draft) -> Arc<Place> {
        Place::hold(draft.pages())
    }
}

/// What nothing may be placed over.
pub(crate) fn held() -> Vec<Held> {
    PLACES.with_borrow(|places| places.iter().filter_map(Weak::upgrade).map(|p| (p.start, p.pages)).collect())
}

/// The cache of all streams.
pub(crate) fn cache() -> Arc<Cache> {
    CACHE.with_borrow_mut(|cache| Arc::clone(cache.get_or_insert_with(|| stream::cache(0))))
}

/// Gives the cache the size that is set. To be called when settings are.
pub(crate) fn resize() {
    let most = state::store(|s| s.settings().max_weight_cache_bytes);
    cache().resize(most);
}

/// What the cache takes.
pub(crate) fn cached_bytes() -> u64 {
    CACHE.with_borrow(|cache| cache.as_ref().map_or(0, |cache| cache.usage().bytes))
}

/// The bytes of a file or an image that begins there and has so many.
pub(crate) fn of(begins_at: u64, bytes: u64) -> Arc<Stream> {
    let place = Place::hold((begins_at / PAGE_BYTES, bytes.div_ceil(PAGE_BYTES)));
    Stream::new(Box::new(Stable { begins_at, _place: place }), &cache())
}

struct Stable {
    begins_at: u64,
    _place: Arc<Place>,
}

impl fmt::Debug for Stable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stable memory from {}", self.begins_at)
    }
}

impl Reads for Stable {
    fn read(&self, at: u64, to: &mut [MaybeUninit<u8>]) {
        memory::fill(self.begins_at + at, to);
    }
}

/// Files of which the first is in the heap and the others stay in stable memory.
pub(crate) fn files(begins_at: u64, sizes: &[u64], model: Vec<u8>) -> Vec<File> {
    let stream = of(begins_at, sizes.iter().sum());
    let mut at = 0;
    let mut files = vec![File::Here(model)];
    for (ix, &bytes) in sizes.iter().enumerate() {
        if ix > 0 {
            files.push(File::Far { stream: Arc::clone(&stream), at, bytes });
        }
        at += bytes;
    }
    files
}
