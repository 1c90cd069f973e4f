//! Answers of models that keep them: a cache in the heap, by model and inputs, bounded in bytes. An upgrade empties it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use ic_nn_types::NamedTensor;

use crate::resident::Hash;
use crate::variant::Content;

/// Bytes of answers that are kept, of all models together.
const MAX_BYTES: usize = 64 << 20;

#[derive(Default)]
struct Cache {
    clock: u64,
    bytes: usize,
    /// By model, then inputs' hash.
    kept: BTreeMap<(Content, Hash), Kept>,
}

struct Kept {
    used: u64,
    outputs: Vec<NamedTensor>,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// All outputs of the model on these inputs, if they are kept.
pub(crate) fn find(model: Content, inputs: &Hash) -> Option<Vec<NamedTensor>> {
    CACHE.with_borrow_mut(|c| {
        c.clock += 1;
        let now = c.clock;
        let kept = c.kept.get_mut(&(model, *inputs))?;
        kept.used = now;
        Some(kept.outputs.clone())
    })
}

/// Keeps the outputs, and at most `entries` answers of the model: those used longest ago go.
pub(crate) fn keep(model: Content, inputs: &Hash, outputs: &[NamedTensor], entries: usize) {
    let bytes = size(outputs);
    if entries == 0 || bytes > MAX_BYTES {
        return;
    }
    CACHE.with_borrow_mut(|c| {
        c.remove(&(model, *inputs));
        let of_model = (model, [0; 32])..=(model, [255; 32]);
        while c.kept.range(of_model.clone()).count() >= entries {
            let oldest = c.kept.range(of_model.clone()).min_by_key(|(_, k)| k.used).map(|(key, _)| *key);
            match oldest {
                Some(key) => c.remove(&key),
                None => break,
            }
        }
        while c.bytes + bytes > MAX_BYTES {
            let oldest = c.kept.iter().min_by_key(|(_, k)| k.used).map(|(key, _)| *key);
            match oldest {
                Some(key) => c.remove(&key),
                None => break,
            }
        }
        c.clock += 1;
        c.bytes += bytes;
        let used = c.clock;
        c.kept.insert((model, *inputs), Kept { used, outputs: outputs.to_vec() });
    });
}

/// Bytes of all answers.
pub(crate) fn bytes() -> u64 {
    CACHE.with_borrow(|c| c.bytes as u64)
}

/// Forgets the model's answers.
pub(crate) fn forget(model: Content) {
    CACHE.with_borrow_mut(|c| {
        let keys: Vec<_> = c.kept.range((model, [0; 32])..=(model, [255; 32])).map(|(key, _)| *key).collect();
        for key in keys {
            c.remove(&key);
        }
    });
}

impl Cache {
    fn remove(&mut self, key: &(Content, Hash)) {
        if let Some(gone) = self.kept.remove(key) {
            self.bytes -= size(&gone.outputs);
        }
    }
}

fn size(outputs: &[NamedTensor]) -> usize {
    outputs.iter().map(|(name, t)| name.len() + 4 * t.dimensions.len() + t.data.len() + 64).sum()
}

#[cfg(test)]
mod tests {
    use ic_nn_types::Tensor;

    use super::*;

    fn answer(value: f32) -> Vec<NamedTensor> {
        vec![("y".into(), Tensor::from_f32(vec![1], &[value]))]
    }

    #[test]
    fn a_model_keeps_as_many_as_it_may_and_the_oldest_go() {
        let (m, n) = (Content::plain([1; 32]), Content::plain([2; 32]));
        for ix in 0..3u8 {
            keep(m, &[ix; 32], &answer(f32::from(ix)), 2);
        }
        keep(n, &[0; 32], &answer(9.0), 2);
        assert_eq!(find(m, &[0; 32]), None);
        assert_eq!(find(m, &[1; 32]), Some(answer(1.0)));
        keep(m, &[3; 32], &answer(3.0), 2);
        assert_eq!(find(m, &[2; 32]), None, "1 was used later");
        forget(m);
        assert_eq!(find(m, &[1; 32]), None);
        assert_eq!(find(n, &[0; 32]), Some(answer(9.0)));
        forget(n);
        CACHE.with_borrow(|c| assert_eq!((c.bytes, c.kept.len()), (0, 0)));
    }
}
