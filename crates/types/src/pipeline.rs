//! The manifest of a pipeline: which models on which canisters answer together what one model would.
//!
//! A manifest is uploaded like a model and is one to its callers. Integers are little-endian; `short` is one length byte and
//! that many bytes, `long` two length bytes and that many, `list` two bytes of count and that many entries.
//!
//! ```text
//! magic       ↕ 8      "ICNNPIPE"
//! layout = 1  ↕ 1
//! inputs      ↕ list   names ↕ long
//! outputs     ↕ list   names ↕ long
//! stages      ↕ list   1 to 256, each
//!   canister  ↕ short  1 to 29 bytes
//!   model     ↕ short  its name there, 1 to 64 bytes
//!   version   ↕ 8      from 1
//!   sha256    ↕ 32     of the model's file there
//!   takes     ↕ list   names ↕ long
//!   gives     ↕ list   names ↕ long
//! ```
//!
//! A manifest has one form of bytes: nothing follows the last field, no name is empty or stands twice in a list. Tensors have one
//! namespace: a stage takes inputs of the pipeline and what stages before it give, each tensor is given by one stage, and what is
//! given is taken by a later one or is an output. Every input is taken. So stages in their order never wait for one another in a
//! circle; and since a manifest has the sha256 of what it names, one cannot lead to itself either.

use std::collections::{HashMap, HashSet};

use candid::Principal;

use crate::Error;

/// What a manifest begins with.
pub const PIPELINE_MAGIC: [u8; 8] = *b"ICNNPIPE";
/// Stages of a pipeline at most.
pub const MAX_PIPELINE_STAGES: usize = 256;
/// Bytes of a manifest at most.
pub const MAX_PIPELINE_BYTES: usize = 1 << 20;

const LAYOUT: u8 = 1;
/// As in the registry.
const MAX_MODEL_NAME: usize = 64;
/// As the engine takes.
const MAX_TENSOR_NAME: usize = 1_024;

/// Models that answer together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pipeline {
    /// Names of what it takes.
    pub inputs: Vec<String>,
    /// Names of what it answers: given by a stage, or inputs.
    pub outputs: Vec<String>,
    /// In an order in which each takes what those before it give.
    pub stages: Vec<PipelineStage>,
}

/// A model of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineStage {
    /// Where it is.
    pub canister: Principal,
    /// Its name there.
    pub model: String,
    /// Its version there.
    pub version: u64,
    /// sha256 of its file.
    pub sha256: [u8; 32],
    /// Inputs of it.
    pub takes: Vec<String>,
    /// Outputs of it.
    pub gives: Vec<String>,
}

impl std::fmt::Display for PipelineStage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}:{}` on {}", self.model, self.version, self.canister)
    }
}

impl Pipeline {
    /// Whether a file that begins with `head` is a manifest.
    pub fn is(head: &[u8]) -> bool {
        head.starts_with(&PIPELINE_MAGIC)
    }

    /// The manifest's bytes.
    ///
    /// # Errors
    /// `invalid_argument` where it breaks a rule of the module's.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        self.check()?;
        let mut bytes = PIPELINE_MAGIC.to_vec();
        bytes.push(LAYOUT);
        list(&mut bytes, &self.inputs);
        list(&mut bytes, &self.outputs);
        bytes.extend((self.stages.len() as u16).to_le_bytes());
        for stage in &self.stages {
            for short in [stage.canister.as_slice(), stage.model.as_bytes()] {
                bytes.push(short.len() as u8);
                bytes.extend(short);
            }
            bytes.extend(stage.version.to_le_bytes());
            bytes.extend(stage.sha256);
            list(&mut bytes, &stage.takes);
            list(&mut bytes, &stage.gives);
        }
        if bytes.len() > MAX_PIPELINE_BYTES {
            return Err(Error::too_large(format!(
                "the manifest has {} bytes, {MAX_PIPELINE_BYTES} are allowed: names of tensors are too long or too many",
                bytes.len()
            )));
        }
        Ok(bytes)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// `invalid_encoding` with the field where the bytes stop making sense, or the rule of the module's that is broken.
    pub fn decode(bytes: &[u8]) -> Result<Pipeline, Error> {
        if bytes.len() > MAX_PIPELINE_BYTES {
            return Err(refused(format!("it has {} bytes, {MAX_PIPELINE_BYTES} are allowed", bytes.len())));
        }
        let Some(rest) = bytes.strip_prefix(&PIPELINE_MAGIC) else {
            return Err(refused("it does not begin with ICNNPIPE".into()));
        };
        let mut reader = Reader { rest, bytes: bytes.len() };
        match reader.array::<1>("layout")? {
            [LAYOUT] => {}
            [found] => {
                return Err(refused(format!(
                    "its layout is {found}, this release knows {LAYOUT}; write it anew"
                )));
            }
        }
        let inputs = reader.names("inputs")?;
        let outputs = reader.names("outputs")?;
        let count = u16::from_le_bytes(reader.array("stages")?);
        let mut stages = vec![];
        for _ in 0..count {
            let canister = Principal::try_from_slice(reader.short("canister")?)
                .map_err(|e| refused(format!("a stage's canister is no principal: {e}")))?;
            let model = text(reader.short("model")?, "model")?;
            let version = u64::from_le_bytes(reader.array("version")?);
            let sha256 = reader.array("sha256")?;
            let (takes, gives) = (reader.names("takes")?, reader.names("gives")?);
            stages.push(PipelineStage { canister, model, version, sha256, takes, gives });
        }
        if !reader.rest.is_empty() {
            return Err(refused(format!("{} bytes follow its end", reader.rest.len())));
        }
        let pipeline = Pipeline { inputs, outputs, stages };
        pipeline.check()?;
        Ok(pipeline)
    }

    /// Holds it to the rules of the module's.
    fn check(&self) -> Result<(), Error> {
        if self.stages.is_empty() || self.stages.len() > MAX_PIPELINE_STAGES {
            return Err(refused(format!(
                "it has {} stages, 1 to {MAX_PIPELINE_STAGES} are allowed",
                self.stages.len()
            )));
        }
        distinct("the pipeline's inputs", &self.inputs)?;
        distinct("the pipeline's outputs", &self.outputs)?;
        if self.outputs.is_empty() {
            return Err(refused("it has no outputs".into()));
        }
        // What there is, and whether it is taken.
        let mut tensors: HashMap<&str, bool> =
            self.inputs.iter().map(|name| (name.as_str(), false)).collect();
        let later: HashSet<&str> = self.stages.iter().flat_map(|s| &s.gives).map(String::as_str).collect();
        for (ix, stage) in self.stages.iter().enumerate() {
            let place = format!("stage {}, {stage}", ix + 1);
            let name = stage.model.as_bytes();
            let fits = name.first().is_some_and(u8::is_ascii_alphanumeric)
                && name.len() <= MAX_MODEL_NAME
                && name.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b));
            if !fits || stage.version == 0 || stage.canister.as_slice().is_empty() {
                return Err(refused(format!(
                    "{place}: a canister, a model's name and a version from 1 are expected"
                )));
            }
            distinct(&format!("{place}: what it takes"), &stage.takes)?;
            distinct(&format!("{place}: what it gives"), &stage.gives)?;
            if stage.gives.is_empty() {
                return Err(refused(format!("{place}: it gives nothing")));
            }
            for name in &stage.takes {
                match tensors.get_mut(name.as_str()) {
                    Some(taken) => *taken = true,
                    None if later.contains(name.as_str()) => {
                        return Err(refused(format!(
                            "{place}: it takes `{name}`, which only it or a stage behind it gives: stages stand in the order in \
                             which they run, and in no circle"
                        )));
                    }
                    None => {
                        return Err(refused(format!(
                            "{place}: it takes `{name}`, which is no input of the pipeline and which no stage gives"
                        )));
                    }
                }
            }
            for name in &stage.gives {
                if tensors.insert(name, false).is_some() {
                    return Err(refused(format!("{place}: it gives `{name}`, which there is already")));
                }
            }
        }
        for output in &self.outputs {
            if !tensors.contains_key(output.as_str()) {
                return Err(refused(format!("its output `{output}` is given by no stage")));
            }
        }
        let outputs: HashSet<&str> = self.outputs.iter().map(String::as_str).collect();
        let inputs: HashSet<&str> = self.inputs.iter().map(String::as_str).collect();
        let mut names: Vec<_> = tensors.into_iter().collect();
        names.sort_unstable();
        match names.iter().find(|(name, taken)| !taken && (inputs.contains(name) || !outputs.contains(name)))
        {
            Some((name, _)) => Err(refused(format!("nothing takes `{name}`"))),
            None => Ok(()),
        }
    }
}

fn refused(why: String) -> Error {
    Error::new(crate::ErrorCode::InvalidEncoding, format!("no pipeline's manifest: {why}"))
}

fn distinct(what: &str, names: &[String]) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for name in names {
        if name.is_empty() || name.len() > MAX_TENSOR_NAME {
            return Err(refused(format!(
                "{what}: a name has {} bytes, 1 to {MAX_TENSOR_NAME} are allowed",
                name.len()
            )));
        }
        if !seen.insert(name) {
            return Err(refused(format!("{what}: `{name}` is listed twice")));
        }
    }
    if names.len() > usize::from(u16::MAX) {
        return Err(refused(format!("{what}: {} names", names.len())));
    }
    Ok(())
}

fn list(bytes: &mut Vec<u8>, names: &[String]) {
    bytes.extend((names.len() as u16).to_le_bytes());
    for name in names {
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend(name.as_bytes());
    }
}

fn text(bytes: &[u8], field: &str) -> Result<String, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| refused(format!("a name in `{field}` is no UTF-8")))?;
    Ok(text.to_owned())
}

struct Reader<'a> {
    rest: &'a [u8],
    bytes: usize,
}

impl<'a> Reader<'a> {
    fn raw(&mut self, length: usize, field: &str) -> Result<&'a [u8], Error> {
        let Some((head, rest)) = self.rest.split_at_checked(length) else {
            return Err(refused(format!(
                "it ends after {} bytes, within `{field}`; upload the whole file",
                self.bytes
            )));
        };
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.raw(N, field)?);
        Ok(array)
    }

    fn short(&mut self, field: &str) -> Result<&'a [u8], Error> {
        let [length] = self.array(field)?;
        self.raw(usize::from(length), field)
    }

    fn names(&mut self, field: &str) -> Result<Vec<String>, Error> {
        let count = u16::from_le_bytes(self.array(field)?);
        let mut names = vec![];
        for _ in 0..count {
            let length = u16::from_le_bytes(self.array(field)?);
            names.push(text(self.raw(usize::from(length), field)?, field)?);
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|name| (*name).to_owned()).collect()
    }

    fn stage(model: &str, takes: &[&str], gives: &[&str]) -> PipelineStage {
        let canister = Principal::from_slice(&[1, 2, 3]);
        let (takes, gives) = (names(takes), names(gives));
        PipelineStage { canister, model: model.into(), version: 2, sha256: [7; 32], takes, gives }
    }

    fn pipeline() -> Pipeline {
        Pipeline {
            inputs: names(&["image"]),
            outputs: names(&["y", "image"]),
            stages: vec![
                stage("first", &["image"], &["a", "b"]),
                stage("second", &["a"], &["c"]),
                stage("third", &["b", "c", "image"], &["y"]),
            ],
        }
    }

    #[test]
    fn its_bytes_are_these_and_come_back() {
        let small = Pipeline {
            inputs: names(&["x"]),
            outputs: names(&["y"]),
            stages: vec![stage("m", &["x"], &["y"])],
        };
        let mut bytes =
            b"ICNNPIPE\x01\x01\0\x01\0x\x01\0\x01\0y\x01\0\x03\x01\x02\x03\x01m\x02\0\0\0\0\0\0\0".to_vec();
        bytes.extend([7; 32]);
        bytes.extend(b"\x01\0\x01\0x\x01\0\x01\0y");
        assert_eq!(small.encode().as_deref(), Ok(&bytes[..]));
        for whole in [small, pipeline()] {
            assert_eq!(Pipeline::decode(&whole.encode().expect("it encodes")), Ok(whole));
        }
    }

    #[test]
    fn no_other_bytes_are_one() {
        let bytes = pipeline().encode().expect("it encodes");
        for end in 0..bytes.len() {
            Pipeline::decode(&bytes[..end]).expect_err("cut short");
        }
        let longer = [&bytes[..], b"\0"].concat();
        assert!(Pipeline::decode(&longer).expect_err("too long").data.contains("follow its end"));
        // Whatever a byte is changed to, what is read writes the same bytes.
        for at in 0..bytes.len() {
            for value in [0, 1, 0x41, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                if let Ok(read) = Pipeline::decode(&changed) {
                    assert_eq!(read.encode().as_deref(), Ok(&changed[..]), "byte {at}");
                }
            }
        }
    }

    #[test]
    fn what_breaks_a_rule_says_which() {
        let broken = |change: &dyn Fn(&mut Pipeline), word: &str| {
            let mut pipeline = pipeline();
            change(&mut pipeline);
            let error = pipeline.encode().expect_err(word);
            assert!(error.data.contains(word), "`{word}` is missing in: {error}");
        };
        broken(&|p| p.stages.clear(), "0 stages");
        broken(&|p| p.stages.swap(0, 1), "in no circle");
        broken(&|p| p.stages[1].takes = names(&["c"]), "in no circle");
        broken(&|p| p.stages[1].takes = names(&["z"]), "no stage gives");
        broken(&|p| p.stages[1].gives = names(&["a"]), "there is already");
        broken(&|p| p.stages[1].gives = names(&["c", "c"]), "listed twice");
        broken(&|p| p.stages[1].gives = names(&["c", "d"]), "nothing takes `d`");
        broken(&|p| p.stages[1].gives.clear(), "gives nothing");
        broken(&|p| p.inputs.push("mask".into()), "nothing takes `mask`");
        broken(&|p| p.outputs.push("z".into()), "given by no stage");
        broken(&|p| p.outputs.clear(), "no outputs");
        broken(&|p| p.stages[0].version = 0, "a version from 1");
        broken(&|p| p.stages[0].model = "a b".into(), "a model's name");
        broken(&|p| p.stages[0].takes[0] = String::new(), "0 bytes");
    }
}
