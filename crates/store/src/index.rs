//! Pages of the registry: `list` tells of versions, `index` of open uploads too, each with where it stands.
//!
//! A page goes on where the last one ended, so it costs what is on it and never what is in the store. What is kept
//! without a name is on no page.

use std::ops::Bound;

use ic_nn_types::{ListPage, ListRequest, ModelState, ModelSummary};
use ic_stable_structures::Memory;

use crate::error::ListError;
use crate::labels::labels_on;
use crate::layout::RecordError;
use crate::name::{ModelRef, version_key};
use crate::record::{UploadRecord, VersionRecord};
use crate::serving::{Serving, Unserved};
use crate::store::Store;
use crate::versions::parse_key;

/// Versions of a page where the request names no limit.
const DEFAULT_PAGE: u32 = 100;

/// Most versions of a page: a summary takes about 200 bytes, so 500 are 100 KB of a reply's 2 MiB; with 32 labels of 64
/// bytes on each version of 500 names, 1.1 MB more.
const MAX_PAGE: u32 = 500;

/// What the embedder knows of an open graph handle.
#[derive(Clone, Copy)]
pub struct Residency<'a> {
    /// Whether its graph is in the heap.
    pub is_resident: &'a dyn Fn(u64) -> bool,
    /// Whether its graph is on its way there.
    pub is_loading: &'a dyn Fn(u64) -> bool,
}

/// A version or an open upload, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed {
    /// Model name.
    pub name: String,
    /// Version; none where an upload has none yet.
    pub version: Option<u64>,
    /// Where it stands.
    pub state: ModelState,
    /// Why it cannot be used, if it cannot.
    pub reason: String,
}

/// A page of [`Store::index`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexPage {
    /// Versions by name and number, then open uploads by id.
    pub entries: Vec<Indexed>,
    /// What to pass as `after` for the next page; none at the end.
    pub next: Option<String>,
}

/// What all rows of a name share, read once.
struct OfName {
    name: String,
    serving: Serving,
    labels: Vec<(String, u64)>,
}

/// A version on a page, with what its name says of it.
struct Row {
    name: String,
    version: u64,
    record: VersionRecord,
    labels: Vec<String>,
    unserved: Option<Unserved>,
}

impl Row {
    fn state(&self, residency: Residency<'_>) -> ModelState {
        match (self.unserved, self.record.graph) {
            (Some(_), _) => ModelState::Retired,
            (None, Some(graph)) if (residency.is_resident)(graph) => ModelState::Loaded,
            (None, Some(graph)) if (residency.is_loading)(graph) => ModelState::Loading,
            _ => ModelState::Available,
        }
    }
}

/// Pages.
impl<M: Memory> Store<M> {
    /// A page of versions by name and number. A version that is not served is told as retired, whatever is open on it.
    ///
    /// `limit` is brought into 1 to 500; null is 100. Costs one record a version of the page and, once a name, its
    /// labels and what of it is served.
    pub fn list(&self, request: &ListRequest, residency: Residency<'_>) -> Result<ListPage, ListError> {
        let from = self.after(request.after.as_deref())?;
        let limit = page_limit(request.limit);
        let mut models: Vec<ModelSummary> = Vec::new();
        for row in self.rows(from) {
            let row = row?;
            if let Some(last) = models.last().filter(|_| models.len() == limit) {
                let next = Some(format!("{}:{}", last.name, last.version));
                return Ok(ListPage { models, next });
            }
            let state = Some(row.state(residency));
            let Row { name, version, record, labels, .. } = row;
            models.push(ModelSummary {
                name,
                version,
                labels,
                encoding: Some(record.encoding),
                bytes: record.bytes,
                sha256: record.sha256.to_vec(),
                state,
                uploader: record.uploader,
                committed_at: record.committed_at,
            });
        }
        Ok(ListPage { models, next: None })
    }

    /// A page of versions and then of open uploads, each with where it stands and why it cannot be used.
    ///
    /// `after` is what the last page gave as `next`, or a `"name:version"`. Costs what [`Self::list`] does, and one record
    /// an upload of the page.
    pub fn index(
        &self,
        after: Option<&str>,
        limit: Option<u32>,
        residency: Residency<'_>,
    ) -> Result<IndexPage, ListError> {
        let limit = page_limit(limit);
        let mut page = IndexPage { entries: Vec::new(), next: None };
        let mut token = None;
        let uploads_after = after.and_then(|after| after.strip_prefix('#')).map(str::parse::<u64>);
        let first_upload = match uploads_after {
            Some(id) => id.map_err(|_| ListError::Upload)?.checked_add(1),
            None => {
                for row in self.rows(self.after(after)?) {
                    let row = row?;
                    if page.entries.len() == limit {
                        page.next = token;
                        return Ok(page);
                    }
                    token = Some(format!("{}:{}", row.name, row.version));
                    page.entries.push(indexed(row, residency));
                }
                Some(0)
            }
        };
        let Some(first) = first_upload else {
            return Ok(page);
        };
        for upload in self.open_uploads_from(first) {
            let (id, record) = upload?;
            if page.entries.len() == limit {
                page.next = token;
                return Ok(page);
            }
            token = Some(format!("#{id}"));
            page.entries.push(indexed_upload(record));
        }
        Ok(page)
    }

    /// Where a page goes on.
    fn after(&self, after: Option<&str>) -> Result<Bound<Vec<u8>>, ListError> {
        Ok(match after {
            None => Bound::Unbounded,
            Some(after) => {
                let (name, version) = ModelRef::parse_exact(after).map_err(ListError::After)?;
                Bound::Excluded(version_key(name, version))
            }
        })
    }

    /// Versions with a name, in order.
    fn rows(&self, from: Bound<Vec<u8>>) -> impl Iterator<Item = Result<Row, RecordError>> + '_ {
        // Digits come before the names that begin with `@`, letters behind them, at `A`, which is the next byte.
        let (reserved, behind) = (b"@".to_vec(), b"A".to_vec());
        let before = match &from {
            Bound::Included(key) | Bound::Excluded(key) => *key < reserved,
            Bound::Unbounded => true,
        };
        let digits = before.then(|| self.versions.range(from.clone(), Bound::Excluded(reserved)));
        let letters =
            self.versions.range(if before { Bound::Included(behind) } else { from }, Bound::Unbounded);
        let mut of_name: Option<OfName> = None;
        digits.into_iter().flatten().chain(letters).map(move |(key, value)| {
            let (name, version) = parse_key(&key)?;
            let record = VersionRecord::decode(&value)?;
            let OfName { serving, labels, .. } = match &of_name {
                Some(known) if known.name == name => known,
                _ => of_name.insert(OfName {
                    name: name.to_owned(),
                    serving: self.serving(name)?,
                    labels: self.label_rows(name)?,
                }),
            };
            let labels = labels_on(version, labels, serving);
            let unserved = serving.unserved(version, record.retired);
            Ok(Row { name: name.to_owned(), version, record, labels, unserved })
        })
    }
}

fn indexed(row: Row, residency: Residency<'_>) -> Indexed {
    let reason = match row.unserved {
        Some(Unserved::Retired) => "by retire",
        Some(Unserved::Policy) => "by the version policy",
        None => "",
    };
    let state = row.state(residency);
    Indexed { name: row.name, version: Some(row.version), state, reason: reason.to_owned() }
}

fn indexed_upload(record: UploadRecord) -> Indexed {
    let state = match record.failed.is_empty() {
        true => ModelState::Uploading,
        false => ModelState::Failed(record.failed.clone()),
    };
    Indexed { name: record.name, version: None, state, reason: record.failed }
}

fn page_limit(limit: Option<u32>) -> usize {
    limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE) as usize
}

#[cfg(test)]
mod tests;
