//! Room for files in the blob memory: what is taken, by whom, and where the next file goes.
//!
//! Uploads and files kept without a name take room here and nowhere else. Room that no record claims is free again by
//! itself. What must never happen here: an extent that overlaps one of a version, an image or an open upload.

use candid::Principal;
use ic_stable_structures::Memory;
use thiserror::Error;

use crate::extent::{Blob, Extent, PAGE_BYTES, first_fit};
use crate::images::ImageRecord;
use crate::layout::{RecordError, RecordProblem};
use crate::name::is_reserved;
use crate::record::{UploadRecord, VersionRecord};
use crate::store::Store;
use crate::versions::parse_key;

/// Why there is no room for a file. Nothing was written.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum RoomError {
    /// The file is over the limit of one model.
    #[error("the file has {bytes} bytes; max_model_bytes is {limit}")]
    ModelTooLarge {
        /// Bytes of the file.
        bytes: u64,
        /// `max_model_bytes`.
        limit: u64,
    },
    /// All models together would be over their limit.
    #[error(
        "the file takes {needed} bytes of stable memory in whole pages, {taken} are taken by versions and open uploads; \
         max_total_bytes is {limit}: delete versions or abort uploads"
    )]
    TotalTooLarge {
        /// Bytes the file takes, in whole pages.
        needed: u64,
        /// Bytes taken already.
        taken: u64,
        /// `max_total_bytes`.
        limit: u64,
    },
    /// The uploader would hold more than one may.
    #[error(
        "the file takes {needed} bytes of stable memory in whole pages, {taken} are taken by other versions and open \
         uploads of {uploader}; max_bytes_per_uploader is {limit}: delete versions or abort uploads"
    )]
    UploaderTooLarge {
        /// Who uploads.
        uploader: Principal,
        /// Bytes the file takes, in whole pages.
        needed: u64,
        /// Bytes that the uploader has taken already.
        taken: u64,
        /// `max_bytes_per_uploader`.
        limit: u64,
    },
    /// The memory of the model files could not grow.
    #[error(
        "stable memory could not grow by {bytes} bytes for the file: the canister's memory allocation, its \
         cycles or the subnet's storage is exhausted"
    )]
    GrowRefused {
        /// Bytes that were asked for.
        bytes: u64,
    },
}

/// What versions and open uploads take.
pub(crate) struct Claims {
    /// Of files and images.
    extents: Vec<Extent>,
    /// Bytes in whole pages of the images among them.
    image_bytes: u64,
    /// Bytes in whole pages of one uploader's; what is kept without a name does not count.
    uploader_bytes: u64,
}

impl Claims {
    /// Of files.
    fn bytes(&self) -> u64 {
        let all = self.extents.iter().map(|extent| extent.bytes()).fold(0, u64::saturating_add);
        all.saturating_sub(self.image_bytes)
    }
}

/// What versions and open uploads have in the memory of the model files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extents {
    /// Every version's.
    pub versions: Vec<Kept>,
    /// Of open uploads, bytes in whole pages.
    pub upload_bytes: u64,
}

/// What a version has there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// `name:version`.
    pub model: String,
    /// sha256 of its files.
    pub sha256: [u8; 32],
    /// What the embedder makes of them.
    pub variant: u8,
    /// Of its files, bytes in whole pages.
    pub file_bytes: u64,
    /// Of its image, bytes in whole pages.
    pub image_bytes: u64,
}

impl<M: Memory> Store<M> {
    /// What is taken, by whom. Costs one read of every version's, image's and open upload's record.
    pub fn extents(&self) -> Result<Extents, RecordError> {
        let mut extents = Extents::default();
        for upload in self.open_uploads() {
            extents.upload_bytes += upload?.1.extent.bytes();
        }
        for (key, value) in self.versions.iter() {
            let record = VersionRecord::decode(&value)?;
            let (name, version) = parse_key(&key)?;
            let image = self.images.get(&key).map(|image| ImageRecord::decode(&image)).transpose()?;
            extents.versions.push(Kept {
                model: format!("{name}:{version}"),
                sha256: record.sha256,
                variant: record.variant,
                file_bytes: record.extent.bytes(),
                image_bytes: image.map_or(0, |image| image.extent.bytes()),
            });
        }
        Ok(extents)
    }

    /// What is taken, and what of it by `uploader`. Costs one read of every version's record.
    pub(crate) fn claims(
        &self,
        open: &[(u64, UploadRecord)],
        uploader: Principal,
    ) -> Result<Claims, RecordError> {
        let mut claims = Claims { extents: Vec::new(), image_bytes: 0, uploader_bytes: 0 };
        let mut claim = |extent: Extent, counts: bool| {
            claims.extents.push(extent);
            let counted = if counts { extent.bytes() } else { 0 };
            claims.uploader_bytes = claims.uploader_bytes.saturating_add(counted);
        };
        for (_, upload) in open {
            claim(upload.extent, upload.owner == uploader);
        }
        for (key, value) in self.versions.iter() {
            let record = VersionRecord::decode(&value)?;
            claim(record.extent, record.uploader == uploader && !is_reserved(parse_key(&key)?.0));
        }
        for (_, value) in self.images.iter() {
            let record = ImageRecord::decode(&value)?;
            claims.extents.push(record.extent);
            claims.image_bytes = claims.image_bytes.saturating_add(record.extent.bytes());
        }
        Ok(claims)
    }

    /// Whether a file of `bytes` is within the limit of one model.
    pub(crate) fn check_model_bytes(&self, bytes: u64) -> Result<(), RoomError> {
        let limit = self.settings().max_model_bytes;
        match bytes > limit {
            true => Err(RoomError::ModelTooLarge { bytes, limit }),
            false => Ok(()),
        }
    }

    /// Whether `uploader` may take `bytes` more beside `claims`.
    pub(crate) fn check_uploader_bytes(
        &self,
        bytes: u64,
        claims: &Claims,
        uploader: Principal,
    ) -> Result<(), RoomError> {
        let (needed, taken) = (whole_pages(bytes), claims.uploader_bytes);
        match self.settings().max_bytes_per_uploader {
            limit @ 1.. if taken.saturating_add(needed) > limit => {
                Err(RoomError::UploaderTooLarge { uploader, needed, taken, limit })
            }
            _ => Ok(()),
        }
    }

    /// Finds room for `bytes` beside `claims`; it may end behind the memory's end.
    pub(crate) fn place(&self, bytes: u64, claims: Claims) -> Result<Extent, RoomError> {
        let (needed, taken, limit) = (whole_pages(bytes), claims.bytes(), self.settings().max_total_bytes);
        match taken.saturating_add(needed) > limit {
            true => Err(RoomError::TotalTooLarge { needed, taken, limit }),
            false => Ok(self.fit(claims, bytes)),
        }
    }

    /// The first gap that holds `bytes`, beside `claims` and what is held.
    fn fit(&self, mut claims: Claims, bytes: u64) -> Extent {
        claims.extents.extend((self.held)().into_iter().map(|(start, pages)| Extent { start, pages }));
        first_fit(&mut claims.extents, Extent::pages_for(bytes))
    }

    /// Finds room for an image of `bytes` beside `claims`, in the place of one of `replaced` bytes: with all files and images
    /// it is within the limit of all models.
    pub(crate) fn place_image(&self, bytes: u64, claims: Claims, replaced: u64) -> Result<Extent, RoomError> {
        let (needed, limit) = (whole_pages(bytes), self.settings().max_total_bytes);
        let taken = claims.bytes().saturating_add(claims.image_bytes).saturating_sub(replaced);
        match taken.saturating_add(needed) > limit {
            true => Err(RoomError::TotalTooLarge { needed, taken, limit }),
            false => Ok(self.fit(claims, bytes)),
        }
    }

    /// The file at `extent`, which a record of `table` says: an error if it is not within the memory.
    pub(crate) fn file(
        &self,
        table: &'static str,
        extent: Extent,
        bytes: u64,
    ) -> Result<Blob<'_, M>, RecordError> {
        match extent.end() <= self.blobs.size() {
            true => Ok(Blob::new(&self.blobs, extent, bytes)),
            false => Err(RecordError { table, problem: RecordProblem::Field { field: "extent" } }),
        }
    }

    /// Bytes by which the memory grows before it holds `extent`.
    pub(crate) fn grows_by(&self, extent: Extent) -> u64 {
        extent.end().saturating_sub(self.blobs.size()).saturating_mul(PAGE_BYTES)
    }

    /// Grows the memory until it holds `extent`.
    pub(crate) fn grow_to(&mut self, extent: Extent) -> Result<(), RoomError> {
        let bytes = self.grows_by(extent);
        match bytes > 0 && self.blobs.grow(bytes / PAGE_BYTES) < 0 {
            true => Err(RoomError::GrowRefused { bytes }),
            false => Ok(()),
        }
    }
}

fn whole_pages(bytes: u64) -> u64 {
    Extent::pages_for(bytes).saturating_mul(PAGE_BYTES)
}
