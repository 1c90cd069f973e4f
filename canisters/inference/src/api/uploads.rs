//! Chunked uploads, and the commit that turns one into a version.

use ic_cdk::{query, update};
use ic_nn_engine::encoding;
use ic_nn_store::{Commit, VERIFY_BYTES_PER_MESSAGE};
use ic_nn_types::{ChunkRequest, Error, GraphEncoding, ModelVersion, UploadSpec, UploadStatus};
use serde_bytes::ByteBuf;

use super::graphs::probe;
use super::internal::{self, Candidate};
use crate::authority::Uploader;
use crate::wire::Arg;
use crate::{audit, contained, images, pipeline, state};

#[update(hidden = true, decode_with = "crate::wire::decode::<UploadSpec>")]
pub(super) async fn upload_begin(spec: Arg<UploadSpec>) -> Result<UploadStatus, Error> {
    let uploader = Uploader::check()?;
    let spec = spec?;
    encoding::served(spec.encoding.unwrap_or(GraphEncoding::Autodetect))?;
    let (caller, unlimited) = (uploader.caller(), uploader.is_admin());
    let grows = state::store(|s| s.begin_grows_by(&spec, caller, unlimited))?;
    contained::room(grows).await?;
    let now = ic_cdk::api::time();
    state::store(|s| s.collect_abandoned(now))?;
    let begun = state::store(|s| Ok(s.begin(&spec, caller, now, unlimited)?));
    audit::of(caller, "upload_begin", &format!("{}, {} bytes", spec.name, spec.bytes), begun)
}

#[update(hidden = true, decode_with = "crate::wire::decode::<ChunkRequest>")]
pub(super) fn upload_chunk(chunk: Arg<ChunkRequest>) -> Result<UploadStatus, Error> {
    let uploader = Uploader::check()?;
    let chunk = chunk?;
    Ok(state::store(|s| s.put_chunk(&chunk, uploader.caller(), ic_cdk::api::time()))?)
}

/// `ic-file-uploader` takes any reply for success, so an error is a reject.
#[update(hidden = true, manual_reply = true, decode_with = "crate::wire::decode::<ByteBuf>")]
pub(super) fn append_chunk(data: Arg<ByteBuf>) {
    answer(Uploader::check().and_then(|uploader| {
        let data = data?;
        state::store(|s| s.append(&data, uploader.caller(), ic_cdk::api::time()))?;
        Ok(())
    }));
}

/// As [`append_chunk`].
#[update(hidden = true, manual_reply = true, decode_with = "crate::wire::decode_all::<(u32, ByteBuf)>")]
pub(super) fn append_parallel_chunk(arguments: Arg<(u32, ByteBuf)>) {
    answer(Uploader::check().and_then(|uploader| {
        let (index, data) = arguments?;
        state::store(|s| s.append_at(index, &data, uploader.caller(), ic_cdk::api::time()))?;
        Ok(())
    }));
}

fn answer(result: Result<(), Error>) {
    match result {
        Ok(()) => ic_cdk::api::msg_reply(candid::encode_args(()).unwrap_or_default()),
        Err(e) => ic_cdk::api::msg_reject(e.to_string()),
    }
}

#[query(hidden = true, decode_with = "crate::wire::decode::<u64>")]
pub(super) fn upload_status(upload: Arg<u64>) -> Result<UploadStatus, Error> {
    let uploader = Uploader::check()?;
    let upload = upload?;
    Ok(state::store(|s| s.status(upload, uploader.caller()))?)
}

#[update(hidden = true, decode_with = "crate::wire::decode::<u64>")]
pub(super) fn upload_abort(upload: Arg<u64>) -> Result<(), Error> {
    let uploader = Uploader::check()?;
    let upload = upload?;
    let aborted = state::store(|s| {
        // Admins may clear away what anyone left open.
        let owner = if uploader.is_admin() { s.owner(upload)? } else { uploader.caller() };
        Ok(s.abort(upload, owner)?)
    });
    audit::of(uploader.caller(), "upload_abort", &format!("upload {upload}"), aborted)
}

#[update(hidden = true, decode_with = "crate::wire::decode::<u64>")]
pub(super) async fn upload_commit(upload: Arg<u64>) -> Result<ModelVersion, Error> {
    let uploader = Uploader::check()?;
    let upload = upload?;
    let mut commit = UnderWay(state::store(|s| s.begin_commit(upload, uploader.caller()))?);
    let committed = publish(upload, &mut commit).await;
    if let Err(e) = &committed {
        // Why it failed is shown with the upload; where even that cannot be written, the caller has it.
        let _ = state::store(|s| s.fail(upload, &e.to_string()));
    }
    let subject = match &committed {
        Ok(version) => format!("{}:{}", version.name, version.version),
        Err(_) => format!("upload {upload}"),
    };
    audit::of(uploader.caller(), "upload_commit", &subject, committed)
}

async fn publish(upload: u64, commit: &mut UnderWay) -> Result<ModelVersion, Error> {
    let verified = loop {
        if let Some(verified) = state::store(|s| s.verify(&mut commit.0, VERIFY_BYTES_PER_MESSAGE))? {
            break verified;
        }
        contained::call(internal::BREATHE, 0).await?;
    };
    let head = state::store(|s| {
        let blob = s.upload_blob(upload)?;
        let mut head = vec![0; blob.bytes().min(encoding::HEAD_BYTES as u64) as usize];
        blob.read(0, &mut head)?;
        Ok::<_, Error>(head)
    })?;
    let named = state::store(|s| s.upload_encoding(upload))?;
    let (encoding, facts) = match pipeline::uploaded(upload, named, &head).await {
        Some(facts) => (GraphEncoding::Autodetect, facts?),
        None => {
            let encoding = encoding::check(named, &head)?;
            let candidate = Candidate::Upload { upload, sha256: verified.sha256(), encoding };
            (encoding, probe(candidate).await?.0)
        }
    };
    contained::room(facts.len() as u64).await?;
    let now = ic_cdk::api::time();
    let model = state::store(|s| s.publish(verified.found(encoding), &facts, now))?;
    if let Ok(version) = state::store(|s| s.get(&model.name, model.version)) {
        images::keep(&version).await;
    }
    Ok(model)
}

/// A commit that ends when this goes, also when the message traps after an await: an upload is never left locked.
struct UnderWay(Commit);

impl Drop for UnderWay {
    fn drop(&mut self) {
        state::store(|s| s.end_commit(&self.0));
    }
}
