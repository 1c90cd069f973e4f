//! What the corpus records and a host of this project need not do, each with its reason.
//!
//! `skips.txt` has one rule a line: suite, steps, what may differ, reason, between bars. Steps are numbers and ranges
//! with commas between them, or `api NAME` for every step of a System API call. Every step is executed and compared all the
//! same; a rule only excuses differences.

use super::step::Step;

/// Parts of a step's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Reply bytes, reject and error code, logs.
    Outcome,
    /// The cause a reject's message names.
    Text,
    /// Cycles of the canister and of others.
    Cycles,
}

struct Rule {
    suite: String,
    steps: Vec<(u32, u32)>,
    api: Option<String>,
    parts: Vec<Part>,
}

/// The rules.
pub struct Skips(Vec<Rule>);

impl Skips {
    /// Reads the rules.
    ///
    /// # Panics
    ///
    /// On a line that is no rule, or a rule without a reason.
    pub fn load() -> Self {
        let lines = include_str!("skips.txt").lines().map(str::trim);
        Self(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(parse).collect())
    }

    /// Whether this part of the step's outcome may differ.
    pub fn excuses(&self, suite: &str, step: &Step, part: Part) -> bool {
        self.0.iter().any(|rule| {
            let steps = rule.steps.iter().any(|&(first, last)| (first..=last).contains(&step.step));
            let api = rule.api.as_ref().is_some_and(|api| *api == step.api);
            rule.suite == suite && (steps || api) && rule.parts.contains(&part)
        })
    }
}

fn parse(line: &str) -> Rule {
    let fields: Vec<&str> = line.split('|').map(str::trim).collect();
    let [suite, steps, parts, reason] = fields[..] else { panic!("not a rule: {line}") };
    assert!(!reason.is_empty(), "no reason: {line}");
    let api = steps.strip_prefix("api ").map(str::to_owned);
    let number = |text: &str| text.trim().parse::<u32>().unwrap_or_else(|_| panic!("no step: {line}"));
    let steps = match api {
        Some(_) => Vec::new(),
        None => steps
            .split(',')
            .map(|range| match range.split_once('-') {
                Some((first, last)) => (number(first), number(last)),
                None => (number(range), number(range)),
            })
            .collect(),
    };
    let parts = match parts {
        "all" => vec![Part::Outcome, Part::Text, Part::Cycles],
        "outcome" => vec![Part::Outcome, Part::Text],
        "text" => vec![Part::Text],
        "cycles" => vec![Part::Cycles],
        _ => panic!("not a part: {line}"),
    };
    Rule { suite: suite.to_owned(), steps, api, parts }
}
