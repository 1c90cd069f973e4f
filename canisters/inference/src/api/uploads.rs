//! Chunked uploads, and the commit that turns one into a version.

use ic_cdk::{query, update};
use ic_nn_store::{Commit, VERIFY_BYTES_PER_MESSAGE};
use ic_nn_types::{ChunkRequest, Error, ModelVersion, UploadSpec, UploadStatus};

use super::internal;
use crate::authority::Admin;
use crate::wire::Arg;
use crate::{contained, state};

#[update(hidden = true, decode_with = "crate::wire::decode::<UploadSpec>")]
pub(super) async fn upload_begin(spec: Arg<UploadSpec>) -> Result<UploadStatus, Error> {
    let admin = Admin::check()?;
    let spec = spec?;
    let grows = state::store(|s| s.begin_grows_by(&spec, admin.caller()))?;
    contained::room(grows).await?;
    let now = ic_cdk::api::time();
    state::store(|s| Ok(s.begin(&spec, admin.caller(), now)?))
}

#[update(hidden = true, decode_with = "crate::wire::decode::<ChunkRequest>")]
pub(super) fn upload_chunk(chunk: Arg<ChunkRequest>) -> Result<UploadStatus, Error> {
    let admin = Admin::check()?;
    let chunk = chunk?;
    Ok(state::store(|s| s.put_chunk(&chunk, admin.caller()))?)
}

#[query(hidden = true, decode_with = "crate::wire::decode::<u64>")]
pub(super) fn upload_status(upload: Arg<u64>) -> Result<UploadStatus, Error> {
    let admin = Admin::check()?;
    let upload = upload?;
    Ok(state::store(|s| s.status(upload, admin.caller()))?)
}

#[update(hidden = true, decode_with = "crate::wire::decode::<u64>")]
pub(super) fn upload_abort(upload: Arg<u64>) -> Result<(), Error> {
    let admin = Admin::check()?;
    let upload = upload?;
    state::store(|s| {
        // Controllers may clear away what anyone left open.
        let owner =
            if ic_cdk::api::is_controller(&admin.caller()) { s.owner(upload)? } else { admin.caller() };
        Ok(s.abort(upload, owner)?)
    })
}

#[update(hidden = true, decode_with = "crate::wire::decode::<u64>")]
pub(super) async fn upload_commit(upload: Arg<u64>) -> Result<ModelVersion, Error> {
    let admin = Admin::check()?;
    let upload = upload?;
    let mut commit = UnderWay(state::store(|s| s.begin_commit(upload, admin.caller()))?);
    let verified = loop {
        if let Some(verified) = state::store(|s| s.verify(&mut commit.0, VERIFY_BYTES_PER_MESSAGE))? {
            break verified;
        }
        contained::call(internal::BREATHE, 0).await?;
    };
    let reply = contained::call(internal::PROBE, upload).await?;
    let facts = internal::probed(&reply)?;
    contained::room(facts.len() as u64).await?;
    let now = ic_cdk::api::time();
    Ok(state::store(|s| s.publish(verified, &facts, now))?)
}

/// A commit that ends when this goes, also when the message traps after an await: an upload is never left locked.
struct UnderWay(Commit);

impl Drop for UnderWay {
    fn drop(&mut self) {
        state::store(|s| s.end_commit(&self.0));
    }
}
