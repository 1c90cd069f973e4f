//! Properties of graphs: what a model is asked to do besides answering, kept with its version.

use ic_cdk::{query, update};
use ic_nn_store::Version;
use ic_nn_types::{Error, Graph, Property};

use super::internal::{self, Remade, Remake};
use crate::audit;
use crate::authority::{Reader, Uploader};
use crate::facts::Facts;
use crate::slices::{self, Slices};
use crate::tickets::Ticket;
use crate::variant::{self, Content};
use crate::wire::Arg;
use crate::{cache, contained, images, pipeline, state};

/// Most answers that a model's cache may keep.
const MAX_CACHE: usize = 10_000;
/// Most requests that are run together.
const MAX_BATCH: usize = 64;
/// Most sets of shapes that a warm-up may run.
const MAX_WARMUPS: usize = 16;

/// What may be set: name and description.
const SETTABLE: [(&str, &str); 7] = [
    (
        "warmup",
        "input shapes to run on zeros when the graph is loaded, before it is ready, as `1x3x224x224` for each input, inputs separated by `,` and sets by `;`",
    ),
    (
        "resident",
        "`true`, as where it is not set: the graph stays in the heap while a handle is open; `false`: it may leave when memory is \
         short; `streamed`: it stays, but for its large weights, which are read from stable memory as runs need them",
    ),
    ("max_instructions", "runs that are known to take more are refused"),
    (
        "quantize",
        "`int8`: weights of products become numbers of 8 bits, which take a fraction of the instructions and a quarter of the \
         heap; `int16`: of 16 bits at most, nearer for as many instructions, in half the heap; `none`, as where it is not \
         set: they stay as in the file. Setting it loads and tries the model",
    ),
    (
        "image",
        "`true`, as where it is not set: what loading makes of the file is kept in stable memory, from which the next start reads \
         it in a fraction of the instructions; `false`: it is not, and takes no stable memory",
    ),
    (
        "max_batch",
        "requests that wait at one time are run together, at most so many, 2 to 64, where each takes less than by itself: the first axes \
         of inputs and outputs are put together; each by itself where it is not set",
    ),
    ("cache", "answers that are kept for equal inputs, 0 to 10000; not kept where it is not set"),
];

/// The properties of a version, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Properties {
    /// Sets of input shapes.
    pub(crate) warmup: Vec<Vec<Vec<u32>>>,
    /// Whether the graph may leave the heap while a handle is open.
    pub(crate) evictable: bool,
    /// Whether its large weights stay in stable memory.
    pub(crate) streamed: bool,
    /// Whether the graph's image is kept.
    pub(crate) image: bool,
    /// Most instructions of a run.
    pub(crate) max_instructions: Option<u64>,
    /// Answers kept.
    pub(crate) cache: usize,
    /// Requests run together; 0 where each is by itself.
    pub(crate) max_batch: usize,
}

impl Default for Properties {
    fn default() -> Self {
        Properties {
            warmup: vec![],
            evictable: false,
            streamed: false,
            image: true,
            max_instructions: None,
            cache: 0,
            max_batch: 0,
        }
    }
}

impl Properties {
    /// Those of a version.
    pub(crate) fn of(version: &Version) -> Result<Properties, Error> {
        let mut properties = Properties::default();
        for (name, value) in state::store(|s| s.properties(&version.name, version.version))? {
            properties.take(&name, &value)?;
        }
        Ok(properties)
    }

    /// Sets one, if its value is one.
    fn take(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let expected = |what: &str| {
            let value: String = value.chars().take(80).collect();
            Error::invalid_argument(format!("`{name}` is {what}, `{value}` came"))
        };
        match name {
            "warmup" => {
                self.warmup = warmups(value).ok_or_else(|| {
                    expected("at most 16 sets of shapes, such as `1x3x224x224` or `1x16,1x16;1x32,1x32`")
                })?;
            }
            "resident" => {
                (self.evictable, self.streamed) = match value {
                    "true" => (false, false),
                    "false" => (true, false),
                    "streamed" => (false, true),
                    _ => return Err(expected("`true`, `false` or `streamed`")),
                }
            }
            "image" => self.image = value.parse().map_err(|_| expected("`true` or `false`"))?,
            "max_instructions" => {
                let most = value.parse().ok().filter(|n: &u64| *n > 0);
                self.max_instructions = Some(most.ok_or_else(|| expected("a number above 0"))?);
            }
            "quantize" => {
                variant::of_value(value).ok_or_else(|| expected("`int8`, `int16` or `none`"))?;
            }
            "max_batch" => {
                let most = value.parse().ok().filter(|n: &usize| (2..=MAX_BATCH).contains(n));
                self.max_batch = most.ok_or_else(|| expected("a number from 2 to 64"))?;
            }
            "cache" => {
                let entries = value.parse().ok().filter(|n: &usize| *n <= MAX_CACHE);
                self.cache = entries.ok_or_else(|| expected("a number from 0 to 10000"))?;
            }
            _ => {
                let known: Vec<_> = SETTABLE.iter().map(|(name, _)| *name).collect();
                let name: String = name.chars().take(80).collect();
                return Err(Error::invalid_argument(format!(
                    "no property `{name}` can be set; those that can are {}",
                    known.join(", ")
                )));
            }
        }
        Ok(())
    }
}

fn warmups(value: &str) -> Option<Vec<Vec<Vec<u32>>>> {
    let shape = |text: &str| match text {
        "scalar" => Some(vec![]),
        text => text.split('x').map(|d| d.trim().parse().ok()).collect::<Option<Vec<u32>>>(),
    };
    let sets: Vec<_> = value
        .split(';')
        .map(|set| set.split(',').map(|s| shape(s.trim())).collect::<Option<Vec<_>>>())
        .collect::<Option<_>>()?;
    (sets.len() <= MAX_WARMUPS).then_some(sets)
}

#[query(hidden = true, decode_with = "crate::wire::decode::<u64>")]
pub(super) fn list_properties(graph: Arg<Graph>) -> Result<Vec<Property>, Error> {
    Reader::check()?;
    let version = version_of(graph?)?;
    let set = set(&version)?;
    let mut all: Vec<Property> = SETTABLE
        .iter()
        .map(|(name, description)| Property {
            name: (*name).into(),
            value: set.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()),
            settable: true,
            description: (*description).into(),
        })
        .collect();
    let facts = state::store(|s| s.facts(&version.name, version.version))?;
    let told = told(&version, &Facts::decode(&facts)?);
    all.extend(told.into_iter().map(|(name, value, description)| Property {
        name: name.into(),
        value: Some(value),
        settable: false,
        description: description.into(),
    }));
    Ok(all)
}

/// What is set, `quantize` included, which stands in the version's record.
fn set(version: &Version) -> Result<Vec<(String, String)>, Error> {
    let mut set = state::store(|s| s.properties(&version.name, version.version))?;
    set.extend(variant::value(version.variant).map(|value| ("quantize".to_owned(), value.to_owned())));
    Ok(set)
}

/// What is told and cannot be set.
fn told(version: &Version, facts: &Facts) -> Vec<(&'static str, String, &'static str)> {
    let resident = pipeline::is_here(version);
    let sha256: String = version.sha256.iter().map(|b| format!("{b:02x}")).collect();
    vec![
        ("model", format!("{}:{}", version.name, version.version), "name and version in the registry"),
        ("sha256", sha256, "of the file"),
        ("in_heap", resident.to_string(), "whether the graph is in the heap now"),
        (
            "image_bytes",
            images::bytes(version).ok().flatten().unwrap_or(0).to_string(),
            "of what the next start reads, in stable memory; 0 where it loads the file",
        ),
        ("load_instructions", facts.load_instructions.to_string(), "of loading it, measured at the commit"),
    ]
}

#[query(hidden = true, decode_with = "crate::wire::decode_all::<(Graph, String)>")]
pub(super) fn get_property(arguments: Arg<(Graph, String)>) -> Result<Option<String>, Error> {
    Reader::check()?;
    let (graph, name) = arguments?;
    let version = version_of(graph)?;
    if SETTABLE.iter().any(|(settable, _)| *settable == name) {
        let set = set(&version)?;
        return Ok(set.into_iter().find(|(n, _)| *n == name).map(|(_, v)| v));
    }
    let facts = state::store(|s| s.facts(&version.name, version.version))?;
    Ok(told(&version, &Facts::decode(&facts)?).into_iter().find(|(n, ..)| *n == name).map(|(_, v, _)| v))
}

#[update(hidden = true, decode_with = "crate::wire::decode_all::<(Graph, String, Option<String>)>")]
pub(super) async fn set_property(arguments: Arg<(Graph, String, Option<String>)>) -> Result<(), Error> {
    let uploader = Uploader::check()?;
    let (graph, name, value) = arguments?;
    let version = version_of(graph)?;
    uploader.must_own(version.uploader)?;
    match &value {
        Some(value) => Properties::default().take(&name, value)?,
        None if SETTABLE.iter().any(|(settable, _)| *settable == name) => {}
        None => Properties::default().take(&name, "")?,
    }
    contained::room(0).await?;
    let subject = format!("{}:{} {name}", version.name, version.version);
    if name == "quantize" {
        let done = quantize(&version, value.as_deref().and_then(variant::of_value).unwrap_or(0)).await;
        audit::of(uploader.caller(), "set_property", &subject, done)?;
        super::graphs::refresh_pins();
        state::residents(|r| r.drop_unpinned(Content::of(&version)));
        let version = version_of(graph)?;
        images::keep(&version).await;
        return super::graphs::bring(&version, graph).await;
    }
    let before = Properties::of(&version)?.streamed;
    let done = state::store(|s| s.set_property(&version.name, version.version, &name, value.as_deref()));
    audit::of(uploader.caller(), "set_property", &subject, done.map_err(Error::from))?;
    if name == "image" && !Properties::of(&version)?.image {
        state::store(|s| s.drop_image(&version.name, version.version))?;
    }
    if name == "cache" {
        cache::forget(Content::of(&version));
    }
    super::graphs::refresh_pins();
    if Properties::of(&version)?.streamed != before {
        state::residents(|r| r.drop_for_good(Content::of(&version)));
        return super::graphs::bring(&version, graph).await;
    }
    Ok(())
}

/// Has a version loaded, tried and from then on served in another variant.
async fn quantize(version: &Version, variant: u8) -> Result<(), Error> {
    if version.variant == variant {
        return Ok(());
    }
    pipeline::refuse(version, "quantise its stages where they are")?;
    let remade = Remade { name: version.name.clone(), version: version.version, variant };
    let ticket = Ticket::new(Remake::Asked(remade, Slices::of(None)));
    slices::until_done::<Remake>(internal::REMAKE, &ticket).await
}

/// The version that an open handle is on.
pub(super) fn version_of(graph: Graph) -> Result<Version, Error> {
    state::store(|s| {
        let open = s.graph(graph)?;
        Ok(s.get(&open.name, open.version)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warmups_are_read_and_what_is_none_is_refused() {
        assert_eq!(warmups("1x3x8x8"), Some(vec![vec![vec![1, 3, 8, 8]]]));
        assert_eq!(
            warmups("1x16, 1x16; 1x32,scalar"),
            Some(vec![vec![vec![1, 16], vec![1, 16]], vec![vec![1, 32], vec![]]])
        );
        for bad in ["", "x", "1x", "1x-2", "one"] {
            assert_eq!(warmups(bad), None, "{bad}");
        }
        let mut p = Properties::default();
        for (name, value) in [
            ("cache", "10001"),
            ("cache", "-1"),
            ("resident", "yes"),
            ("max_instructions", "0"),
            ("quantize", "int9"),
            ("colour", ""),
        ] {
            assert!(p.take(name, value).is_err(), "{name} {value}");
        }
        assert_eq!(p, Properties::default());
    }
}
