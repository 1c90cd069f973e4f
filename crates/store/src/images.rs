//! Images: what the embedder made of a version's file, kept beside it so that the next start reads it.
//!
//! ```text
//! images     key: as in versions
//!   layout = 1        ↕ 1      variant           ↕ 1   of the version, when it was made
//!   bytes             ↕ 8      extent.start      ↕ 8   pages of 64 KiB in the blob memory, as a file's
//!   extent.pages      ↕ 8
//! ```
//!
//! A version has one at most, of the variant that it is served in. An image can be made again and is never missed: files come
//! first, and it is not written where the limit of all models would not hold it beside them; it does not count as its uploader's. What
//! must never happen here: an image of a version that is gone, or read as one of another variant.

use candid::Principal;
use ic_stable_structures::Memory;

use crate::error::LookupError;
use crate::extent::{Blob, Extent};
use crate::kept::KeepError;
use crate::layout::{RecordError, RecordReader, RecordWriter};
use crate::name::version_key;
use crate::room::RoomError;
use crate::store::{Held, Store};

/// The most pages that a record is believed to claim; no memory has so many.
const MAX_END_PAGE: u64 = 1 << 36;

/// Where an image lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImageRecord {
    pub(crate) variant: u8,
    pub(crate) bytes: u64,
    pub(crate) extent: Extent,
}

impl ImageRecord {
    pub(crate) const TABLE: &'static str = "images";
    const LAYOUT: u8 = 1;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = RecordWriter::new(Self::LAYOUT);
        w.raw(&[self.variant]).u64(self.bytes).u64(self.extent.start).u64(self.extent.pages).finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = RecordReader::new(Self::TABLE, Self::LAYOUT, bytes)?;
        let (variant, bytes) = (r.u8()?, r.u64()?);
        let extent = Extent { start: r.u64()?, pages: r.u64()? };
        let ends = extent.start.checked_add(extent.pages).filter(|end| *end <= MAX_END_PAGE);
        if ends.is_none() || extent.pages == 0 || Extent::pages_for(bytes) != extent.pages {
            return Err(r.field("extent"));
        }
        r.end()?;
        Ok(ImageRecord { variant, bytes, extent })
    }
}

/// An image that is being written.
#[derive(Debug)]
pub struct Draft {
    name: String,
    version: u64,
    record: ImageRecord,
}

impl Draft {
    /// Its pages in the memory of the model files.
    pub fn pages(&self) -> Held {
        (self.record.extent.start, self.record.extent.pages)
    }
}

/// Images.
impl<M: Memory> Store<M> {
    /// By how many bytes [`Self::set_image`] of so many would grow the memory of the model files.
    pub fn image_grows_by(&self, name: &str, version: u64, bytes: u64) -> Result<u64, KeepError> {
        Ok(self.grows_by(self.room_for_image(&version_key(name, version), bytes)?))
    }

    /// Writes the pieces, one behind the other, as the image of a version, in the place of the one it has.
    ///
    /// `bytes` is what they have together. Costs 1 instruction a byte, one read of every version's, image's and open upload's
    /// record, and stable page access.
    ///
    /// # Panics
    /// Where the pieces have another length: the embedder's mistake, before anything else reads it.
    pub fn set_image<'p>(
        &mut self,
        name: &str,
        version: u64,
        bytes: u64,
        pieces: impl Iterator<Item = &'p [u8]>,
    ) -> Result<(), SetImageError> {
        let draft = self.begin_image(name, version, bytes)?;
        let mut at = 0;
        for piece in pieces {
            self.write_image(&draft, at, piece);
            at += piece.len() as u64;
        }
        assert!(at == bytes, "an image is shorter than was said");
        self.finish_image(draft)
    }

    /// Finds room for an image of so many bytes, which is written piece by piece and may take several messages. The embedder holds
    /// its pages until it is finished ([`Store::hold`]).
    pub fn begin_image(&mut self, name: &str, version: u64, bytes: u64) -> Result<Draft, SetImageError> {
        let variant = self.version(name, version)?.variant;
        let extent = self.room_for_image(&version_key(name, version), bytes)?;
        self.grow_to(extent).map_err(KeepError::Room)?;
        let record = ImageRecord { variant, bytes, extent };
        Ok(Draft { name: name.to_owned(), version, record })
    }

    /// Writes a piece of it. Costs 1 instruction a byte, and stable page access.
    ///
    /// # Panics
    /// Where it has no room for it: the embedder's mistake.
    pub fn write_image(&self, draft: &Draft, at: u64, piece: &[u8]) {
        let Draft { record: ImageRecord { bytes, extent, .. }, .. } = draft;
        let end = at.checked_add(piece.len() as u64);
        assert!(end.is_some_and(|end| end <= *bytes), "an image is longer than was said");
        self.blobs.write(extent.offset() + at, piece);
    }

    /// Has the image that was written be the version's, in the place of the one it has. One whose version is gone by now, or is served
    /// in another variant, is forgotten.
    pub fn finish_image(&mut self, draft: Draft) -> Result<(), SetImageError> {
        let Draft { name, version, record } = draft;
        if self.version(&name, version)?.variant == record.variant {
            self.images.insert(&version_key(&name, version), record.encode());
        }
        Ok(())
    }

    /// The image of a version, where it has one of the variant that it is served in.
    pub fn image(&self, name: &str, version: u64) -> Result<Option<Blob<'_, M>>, LookupError> {
        let variant = self.version(name, version)?.variant;
        match self.images.get(&version_key(name, version)) {
            None => Ok(None),
            Some(record) => {
                let record = ImageRecord::decode(&record)?;
                let file = || self.file(ImageRecord::TABLE, record.extent, record.bytes);
                Ok(if record.variant == variant { Some(file()?) } else { None })
            }
        }
    }

    /// Takes the image of a version away, where it has one.
    pub fn drop_image(&mut self, name: &str, version: u64) -> Result<(), LookupError> {
        self.version(name, version)?;
        self.images.remove(&version_key(name, version));
        Ok(())
    }

    /// Bytes of all images, in whole pages.
    pub fn image_bytes(&self) -> Result<u64, RecordError> {
        let images = self.images.iter().map(|(_, value)| Ok(ImageRecord::decode(&value)?.extent.bytes()));
        images.sum()
    }

    /// Where an image of `bytes` goes. The one that is there lies apart until the new one is written.
    fn room_for_image(&self, key: &[u8], bytes: u64) -> Result<Extent, KeepError> {
        if bytes == 0 {
            return Err(KeepError::Empty);
        }
        let open = self.open_uploads().collect::<Result<Vec<_>, _>>()?;
        let claims = self.claims(&open, Principal::anonymous())?;
        let replaced = match self.images.get(key) {
            Some(record) => ImageRecord::decode(&record)?.extent.bytes(),
            None => 0,
        };
        Ok(self.place_image(bytes, claims, replaced)?)
    }
}

/// Why an image is not written. Nothing was changed.
#[derive(thiserror::Error, Debug, Clone, PartialEq, Eq)]
pub enum SetImageError {
    /// There is no such version.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// There is no room for it, or it is empty.
    #[error(transparent)]
    Keep(#[from] KeepError),
}

impl SetImageError {
    /// Whether it is for want of room.
    pub fn is_room(&self) -> bool {
        matches!(
            self,
            SetImageError::Keep(KeepError::Room(
                RoomError::TotalTooLarge { .. } | RoomError::GrowRefused { .. }
            ))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{deleted, memories, published, share, store};

    #[test]
    fn golden_image() {
        let record = ImageRecord { variant: 2, bytes: 65_537, extent: Extent { start: 3, pages: 2 } };
        let golden = "0102010001000000000003000000000000000200000000000000";
        let hex = record.encode().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex, golden);
        assert_eq!(ImageRecord::decode(&record.encode()), Ok(record));
        for other in [Extent { start: 3, pages: 1 }, Extent { start: u64::MAX, pages: 2 }] {
            assert!(ImageRecord::decode(&ImageRecord { extent: other, ..record }.encode()).is_err());
        }
    }

    #[test]
    fn an_image_is_of_its_variant_and_goes_with_its_version() {
        let kept = memories();
        let mut store = Store::open(share(&kept)).unwrap();
        published(&mut store, "m", b"a model");
        assert!(store.image("m", 1).unwrap().is_none());
        let pieces: [&[u8]; 3] = [b"an ", b"", b"image"];
        store.set_image("m", 1, 8, pieces.into_iter()).unwrap();
        let read =
            |store: &Store<_>| store.image("m", 1).unwrap().map(|blob: Blob<'_, _>| blob.to_vec().unwrap());
        assert_eq!(read(&store), Some(b"an image".to_vec()));
        // It outlives an upgrade, and another variant does not read it.
        let mut store = Store::open(kept).unwrap();
        assert_eq!(read(&store), Some(b"an image".to_vec()));
        store.set_variant("m", 1, 1, b"").unwrap();
        assert_eq!(read(&store), None);
        store.set_image("m", 1, 3, [b"int".as_slice()].into_iter()).unwrap();
        assert_eq!(read(&store), Some(b"int".to_vec()));
        assert_eq!(store.image_bytes(), Ok(65_536));
        deleted(&mut store, "m:1");
        assert_eq!((store.images.len(), store.image_bytes()), (0, Ok(0)));
        assert!(store.image("m", 1).is_err());
    }

    #[test]
    fn files_come_before_images() {
        let mut store = store();
        published(&mut store, "m", b"a model");
        let limit = ic_nn_types::InitArgs { max_total_bytes: Some(3 * 65_536), ..Default::default() };
        store.apply(&limit).unwrap();
        let image = vec![7; 2 * 65_536];
        store.set_image("m", 1, image.len() as u64, [image.as_slice()].into_iter()).unwrap();
        // Another one has no room, a file has.
        published(&mut store, "n", b"another");
        let refused = store.set_image("n", 1, image.len() as u64, [image.as_slice()].into_iter());
        assert!(refused.is_err_and(|e| e.is_room()));
        assert_eq!(store.image("m", 1).unwrap().unwrap().to_vec().unwrap(), image);
    }
}
