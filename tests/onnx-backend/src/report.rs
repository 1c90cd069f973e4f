//! What the cases came to: the committed table by operator, the committed list of what passes, and how the two are
//! held to a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;

use crate::{Case, Outcome, repository};

/// Set to any value, the committed files are written anew from a run.
const WRITE: &str = "IC_NN_WRITE_CONFORMANCE";
const TABLE: &str = "docs/onnx-conformance.md";
const PASSES: &str = "tests/onnx-backend/passes.txt";

/// A case and what it came to.
pub struct Result {
    /// The case.
    pub case: Case,
    /// What it came to.
    pub outcome: Outcome,
}

/// A run over all cases.
#[derive(Default)]
pub struct Report {
    results: Vec<Result>,
}

#[derive(Default)]
struct Tally {
    passed: usize,
    refused: usize,
    reasons: BTreeMap<String, usize>,
}

impl Tally {
    fn add(&mut self, result: &Result) {
        match &result.outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Refused(why) => {
                self.refused += 1;
                *self.reasons.entry(reason(why)).or_default() += 1;
            }
            _ => {}
        }
    }
}

impl Report {
    /// Adds a case's result.
    pub fn add(&mut self, case: Case, outcome: Outcome) {
        self.results.push(Result { case, outcome });
    }

    /// One line a case, tab-separated: kind, name, operator, class, reason. For machines, and for who works on it.
    pub fn lines(&self) -> String {
        let mut lines = String::new();
        for Result { case, outcome } in &self.results {
            let (class, why) = match outcome {
                Outcome::Passed => ("passed", ""),
                Outcome::Refused(why) => ("refused", why.as_str()),
                Outcome::Failed(why) => ("failed", why.as_str()),
                Outcome::Broke(why) => ("broke", why.as_str()),
                Outcome::Wrong(why) => ("wrong", why.as_str()),
            };
            let why = why.replace(['\n', '\t'], " ");
            _ = writeln!(lines, "{}\t{}\t{}\t{class}\t{why}", case.kind, case.name, case.operator);
        }
        lines
    }

    /// Holds a run of some of the cases elsewhere to the committed list of passes: just those of them that stand there pass,
    /// and the others are refused.
    ///
    /// # Panics
    /// Where that is not so.
    pub fn hold_to_passes(&self) {
        let committed = fs::read_to_string(repository().join(PASSES)).unwrap_or_default();
        let passes = listed(&committed);
        let mut faults = String::new();
        for Result { case, outcome } in &self.results {
            let should = passes.contains(&(case.kind.as_str(), case.name.as_str()));
            match outcome {
                Outcome::Passed if should => {}
                Outcome::Refused(_) if !should => {}
                outcome => {
                    let should = if should { "passes natively" } else { "is refused natively" };
                    _ = writeln!(faults, "{} {should}: {outcome:?}", case.path());
                }
            }
        }
        assert!(faults.is_empty(), "cases that are not what they are natively:\n{faults}");
    }

    /// Holds the run to what is committed, or writes that anew where `IC_NN_WRITE_CONFORMANCE` is set.
    ///
    /// # Panics
    /// Where an answer is wrong, a case failed or broke, a pass has become something else, or a committed file is
    /// not what this run says.
    pub fn hold(&self) {
        let bad: Vec<String> = self
            .results
            .iter()
            .filter(|r| !matches!(r.outcome, Outcome::Passed | Outcome::Refused(_)))
            .map(|r| format!("{}: {:?}", r.case.path(), r.outcome))
            .collect();
        assert!(
            bad.is_empty(),
            "a case passes or is refused when its model is loaded; {} do neither:\n{}",
            bad.len(),
            bad.join("\n")
        );
        let (table, passes) = (self.table(), self.passes());
        if std::env::var_os(WRITE).is_some() {
            fs::write(repository().join(TABLE), table).unwrap();
            fs::write(repository().join(PASSES), passes).unwrap();
            return;
        }
        let committed = |file: &str| fs::read_to_string(repository().join(file)).unwrap_or_default();
        let now = listed(&passes);
        let before = committed(PASSES);
        let lost: Vec<_> = listed(&before).difference(&now).map(|(_, name)| *name).collect();
        assert!(lost.is_empty(), "{} cases passed and do not any more: {}", lost.len(), lost.join(", "));
        for (file, should) in [(TABLE, &table), (PASSES, &passes)] {
            assert!(
                committed(file) == *should,
                "{file} is not what this run says; write it anew with {WRITE}=1 and commit it"
            );
        }
    }

    fn tally<K: Ord>(&self, key: impl Fn(&Case) -> K) -> BTreeMap<K, Tally> {
        let mut tallies: BTreeMap<K, Tally> = BTreeMap::new();
        for result in &self.results {
            tallies.entry(key(&result.case)).or_default().add(result);
        }
        tallies
    }

    fn table(&self) -> String {
        let mut text = String::from(
            "# ONNX conformance\n\n\
             The backend cases of PyPI's `onnx` package (pinned in `scripts/models/requirements.txt`), each run through the engine\n\
             and held to the package's own tolerances; integers have to be equal. Two cases are held to 1e-6 instead of 1e-7,\n\
             `test_dft_inverse` and its twin of operator set 19: where the exact answer is 0 they expect 1.9e-7. A case passes, or its model is refused when it is\n\
             loaded, saying why. No case is answered wrongly, fails after loading, or panics: `crates/engine/tests/onnx_backend.rs`\n\
             holds that, holds every pass (`tests/onnx-backend/passes.txt`), and writes this file; `tests/backend` holds the canister to\n\
             the same, by Candid, on every runtime.\n\n\
             ```\n\
             scripts/onnx-backend/run                                                # exports the cases to target/onnx-backend\n\
             IC_NN_WRITE_CONFORMANCE=1 cargo test -p ic-nn-engine --test onnx_backend\n\
             ```\n\n",
        );
        text += "| cases | passed | refused |\n| --- | ---: | ---: |\n";
        let mut all = (0, 0);
        for (kind, tally) in self.tally(|c| c.kind.clone()) {
            _ = writeln!(text, "| {kind} | {} | {} |", tally.passed, tally.refused);
            all = (all.0 + tally.passed, all.1 + tally.refused);
        }
        _ = writeln!(text, "| **all** | **{}** | **{}** |\n", all.0, all.1);
        text += "## What is refused\n\n| cases | why |\n| ---: | --- |\n";
        let mut families: BTreeMap<String, usize> = BTreeMap::new();
        for result in &self.results {
            if let Outcome::Refused(why) = &result.outcome {
                *families.entry(family(&result.case, why)).or_default() += 1;
            }
        }
        let mut families: Vec<_> = families.into_iter().collect();
        families.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        for (family, count) in families {
            _ = writeln!(text, "| {count} | {} |", cell(&family));
        }
        text += "\n## By operator\n\nOf the node cases; `(n)` says how many cases a reason is told for, where they are several.\n\n\
                 | operator | passed | refused | why |\n| --- | ---: | ---: | --- |\n";
        for (operator, tally) in self.tally(|c| (c.kind == "node").then(|| c.operator.clone())) {
            let Some(operator) = operator else { continue };
            let reasons: Vec<String> = tally
                .reasons
                .iter()
                .map(|(why, n)| if *n == 1 { why.clone() } else { format!("{why} ({n})") })
                .collect();
            let reasons = cell(&reasons.join("; "));
            _ = writeln!(text, "| {operator} | {} | {} | {reasons} |", tally.passed, tally.refused);
        }
        text
    }

    /// What passes: a line a kind and operator, the cases behind it.
    fn passes(&self) -> String {
        let mut lines: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for Result { case, outcome } in &self.results {
            if *outcome == Outcome::Passed {
                lines.entry((&case.kind, &case.operator)).or_default().push(&case.name);
            }
        }
        lines.iter().fold(String::new(), |mut text, ((kind, operator), names)| {
            _ = writeln!(text, "{kind} {operator}: {}", names.join(" "));
            text
        })
    }
}

/// Kind and name of every case in a list of passes.
fn listed(passes: &str) -> BTreeSet<(&str, &str)> {
    passes
        .lines()
        .filter_map(|line| line.split_once(' '))
        .flat_map(|(kind, rest)| {
            let names = rest.split_once(": ").map_or("", |(_, names)| names);
            names.split_whitespace().map(move |name| (kind, name))
        })
        .collect()
}

/// A refusal as the table by operator tells it: without the node's own name.
fn reason(why: &str) -> String {
    const LONGEST: usize = 110;
    let mut why = why.to_owned();
    while let Some((head, (_, tail))) =
        why.split_once("node `").and_then(|(head, rest)| Some((head, rest.split_once("` ")?)))
    {
        why = format!("{head}{tail}");
    }
    if why.chars().count() > LONGEST {
        why = why.chars().take(LONGEST).collect::<String>() + " …";
    }
    why
}

/// What a refused case belongs to, coarsely.
fn family(case: &Case, why: &str) -> String {
    const SEQUENCES: &str = "sequences, maps and optionals";
    const LOSSES: [&str; 2] = ["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"];
    match case.beyond.as_deref() {
        Some("sequence" | "optional") => return SEQUENCES.into(),
        Some("string") => return "strings".into(),
        Some(small) => {
            return format!("{} types", if small.starts_with("float8") { "float8" } else { "2- and 4-bit" });
        }
        None => {}
    }
    if LOSSES.contains(&case.operator.as_str()) {
        return "training losses".into();
    }
    if case.operator.contains("preview.training")
        || why.contains("preview.training")
        || why.contains("training_mode")
    {
        return "training".into();
    }
    if let Some(operators) = why.strip_prefix("unsupported operators: ") {
        let operators = operators.split("; replace").next().unwrap_or_default();
        if operators.contains("Sequence") {
            return SEQUENCES.into();
        }
        if operators.contains("draws random numbers") {
            return "random numbers".into();
        }
        return format!("operators that are not offered: {operators}");
    }
    format!("attributes, types or shapes that are not offered: {}", case.operator)
}

/// Text that stands in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('\n', " ")
}
