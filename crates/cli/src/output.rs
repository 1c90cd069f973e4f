//! What a model answered, as tables, as JSON, as files.

use std::collections::BTreeSet;
use std::path::Path;

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use ic_nn_types::{InferResponse, Limits, NamedTensor, Tensor};
use serde_json::{Value, json};

use crate::args::AnswerArgs;
use crate::elements::{self, Number};
use crate::failure::Failure;
use crate::format;
use crate::input::write_npy;
use crate::local::Charge;
use crate::print::say;

mod classes;
mod summary;

use classes::Ranking;
use summary::Summary;

/// One inference's answer.
pub struct Answer {
    /// What was asked, by the name of its source.
    pub label: String,
    /// What came back.
    pub response: InferResponse,
    /// What the call was charged, where that is known.
    pub charge: Option<Charge>,
    /// Whether it was asked by a query.
    pub query: bool,
}

impl Answer {
    /// Instructions: all of the message's where they were counted, else what the service said.
    fn instructions(&self) -> u64 {
        self.charge.map_or(self.response.instructions, |charge| charge.instructions)
    }
}

/// How answers are shown.
pub struct Presentation<'a> {
    args: &'a AnswerArgs,
    ranking: Option<Ranking>,
    limits: Limits,
}

const RULE: LineStyle = LineStyle::none().fill('─').junction('─');
const STYLE: TableStyle = TableStyle::new().top_border(RULE).header_separator(RULE).bottom_border(RULE);

/// A table as this program draws them.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(header.to_vec());
    table
}

/// Aligns the columns from `first` on to the right.
pub fn align_right(table: &mut Table, first: usize) {
    table.column_iter_mut().skip(first).for_each(|column| {
        column.set_cell_alignment(CellAlignment::Right);
    });
}

/// JSON on stdout.
pub fn print_json(value: &Value) {
    say!("{value:#}");
}

/// Cycles as JSON has numbers: what a call costs is far below 2^64.
pub fn json_cycles(cycles: u128) -> Value {
    u64::try_from(cycles).unwrap_or(u64::MAX).into()
}

impl<'a> Presentation<'a> {
    /// Reads the labels.
    pub fn new(args: &'a AnswerArgs, limits: Limits) -> Result<Self, Failure> {
        let labels = match &args.labels {
            Some(path) => classes::read_labels(path)?,
            None => Vec::new(),
        };
        // Labels without --top, and --softmax, ask for the classes as well.
        let top = args.top.or((args.labels.is_some() || args.softmax).then_some(5));
        let ranking = top.map(|top| Ranking { top, softmax: args.softmax, labels });
        Ok(Presentation { args, ranking, limits })
    }

    /// Prints the answers to `model`, and keeps them where that is asked for.
    pub fn show(&self, model: &str, answers: &[Answer]) -> Result<(), Failure> {
        if let Some(path) = &self.args.save {
            save(path, answers)?;
        }
        if self.args.json {
            print_json(&self.json(model, answers));
            return Ok(());
        }
        match answers {
            [one] => self.show_one(one),
            many => self.show_many(many),
        }
        Ok(())
    }

    fn show_one(&self, answer: &Answer) {
        say!("{}", outputs_table(&answer.response.outputs));
        if let (Some(ranking), Some((name, tensor))) = (&self.ranking, answer.response.outputs.first()) {
            let classes = ranking.of(tensor);
            let score = if classes.probabilities { "probability" } else { "score" };
            let mut table = table(&["", name.as_str(), score]);
            for (place, class) in classes.best.iter().enumerate() {
                let score = if classes.probabilities {
                    format!("{:.2} %", 100.0 * class.score)
                } else {
                    format::value(class.score)
                };
                table.add_row(vec![(place + 1).to_string(), class.label.clone(), score]);
            }
            align_right(&mut table, 2);
            say!("{table}");
        }
        say!("{}", self.cost_line(answer));
    }

    fn cost_line(&self, answer: &Answer) -> String {
        let instructions = answer.instructions();
        let mut parts = vec![
            format!("{} instructions", format::instructions(instructions)),
            format!(
                "{} of what a query may take",
                format::share(instructions, self.limits.query_instructions)
            ),
            format!(
                "{} of what an update may take",
                format::share(instructions, self.limits.update_instructions)
            ),
        ];
        parts.push(match (answer.query, answer.charge) {
            (true, _) => "free as a query".to_owned(),
            (false, Some(charge)) => {
                format!(
                    "{} cycles on 13 nodes, {} XDR",
                    format::cycles(charge.cycles),
                    format::xdr(charge.cycles)
                )
            }
            (false, None) => "charged as an update".to_owned(),
        });
        if answer.response.cached {
            parts.push("from the response cache".to_owned());
        }
        if answer.response.load_instructions > 0 {
            parts.push(format!(
                "{} of it for loading",
                format::instructions(answer.response.load_instructions)
            ));
        }
        if answer.response.plan_instructions > 0 {
            parts.push(format!(
                "{} of it for planning these shapes",
                format::instructions(answer.response.plan_instructions)
            ));
        }
        parts.join(", ")
    }

    fn show_many(&self, answers: &[Answer]) {
        let Some(ranking) = &self.ranking else {
            for answer in answers {
                say!("{}", answer.label);
                say!("{}", outputs_table(&answer.response.outputs));
                say!("{}", self.cost_line(answer));
            }
            return;
        };
        let places: Vec<String> = (1..=ranking.top.min(5)).map(ordinal).collect();
        let mut header = vec!["input"];
        header.extend(places.iter().map(String::as_str));
        header.extend(["instructions", "of a query", "of an update", "cycles, 13 nodes", "XDR"]);
        let mut table = table(&header);
        for answer in answers {
            let classes = answer.response.outputs.first().map(|(_, tensor)| ranking.of(tensor));
            let best = |place: usize| {
                let classes = classes.as_ref()?;
                Some(classes.text(classes.best.get(place)?))
            };
            let mut row = vec![answer.label.clone()];
            row.extend((0..places.len()).map(|place| best(place).unwrap_or_default()));
            let instructions = answer.instructions();
            row.push(format::instructions(instructions));
            row.push(format::share(instructions, self.limits.query_instructions));
            row.push(format::share(instructions, self.limits.update_instructions));
            let cycles = answer.charge.map(|charge| charge.cycles);
            row.push(cycles.map_or_else(|| "-".to_owned(), format::cycles));
            row.push(cycles.map_or_else(|| "-".to_owned(), format::xdr));
            table.add_row(row);
        }
        align_right(&mut table, 1);
        say!("{table}");
    }

    fn json(&self, model: &str, answers: &[Answer]) -> Value {
        let answers: Vec<Value> = answers.iter().map(|answer| self.answer_json(answer)).collect();
        json!({ "model": model, "answers": answers })
    }

    fn answer_json(&self, answer: &Answer) -> Value {
        let outputs: Vec<Value> = answer.response.outputs.iter().map(output_json).collect();
        let top = self.ranking.as_ref().zip(answer.response.outputs.first()).map(|(ranking, (_, tensor))| {
            let classes = ranking.of(tensor);
            let best: Vec<Value> = classes
                .best
                .iter()
                .map(|c| json!({ "index": c.index, "label": c.label, "score": c.score }))
                .collect();
            json!({ "classes": best, "probabilities": classes.probabilities })
        });
        json!({
            "input": answer.label,
            "version": answer.response.version,
            "outputs": outputs,
            "top": top,
            "query": answer.query,
            "cached": answer.response.cached,
            "instructions": answer.instructions(),
            "load_instructions": answer.response.load_instructions,
            "plan_instructions": answer.response.plan_instructions,
            "cycles_13_nodes": answer.charge.map(|charge| json_cycles(charge.cycles)),
        })
    }
}

fn outputs_table(outputs: &[NamedTensor]) -> Table {
    let mut table = table(&["output", "type", "shape", "min", "max", "mean", "first values"]);
    for (name, tensor) in outputs {
        let summary = Summary::of(tensor);
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), format::value);
        let mut first: Vec<String> = summary.first.iter().copied().map(format::value).collect();
        if summary.more {
            first.push("…".to_owned());
        }
        let mut mean = number(summary.mean);
        if summary.nans > 0 {
            mean.push_str(&format!(" ({} NaN)", format::grouped(summary.nans as u64)));
        }
        table.add_row(vec![
            name.clone(),
            tensor.ty.to_string(),
            format::axes(tensor.dimensions.iter().map(u32::to_string)),
            number(summary.min),
            number(summary.max),
            mean,
            first.join(", "),
        ]);
    }
    table
}

fn output_json((name, tensor): &NamedTensor) -> Value {
    let values: Vec<Value> = elements::numbers(tensor)
        .into_iter()
        .map(|number| match number {
            Number::Int(n) => i64::try_from(n).map_or_else(|_| json!(n as u64), |n| json!(n)),
            Number::Float(x) => json!(x),
        })
        .collect();
    json!({ "name": name, "type": tensor.ty.label(), "dimensions": tensor.dimensions, "values": values })
}

/// Keeps the outputs: in one file where there is one output, else in a folder under their names.
fn save(path: &Path, answers: &[Answer]) -> Result<(), Failure> {
    if path.extension().is_some_and(|e| e == "npy") {
        return match answers {
            [Answer { response, .. }] if response.outputs.len() == 1 => {
                save_tensor(path, &response.outputs[0].1)
            }
            _ => Err(Failure::usage(format!("{} holds one array, and more came out", path.display()))
                .hint("give --save a folder")),
        };
    }
    std::fs::create_dir_all(path)
        .map_err(|e| Failure::unprepared(format!("cannot make the folder {}: {e}", path.display())))?;
    let mut taken = BTreeSet::new();
    for answer in answers {
        for (name, tensor) in &answer.response.outputs {
            let stem = match answers {
                [_] => file_name(name),
                _ => format!("{}.{}", file_name(&answer.label), file_name(name)),
            };
            save_tensor(&path.join(untaken(&mut taken, &stem)), tensor)?;
        }
    }
    Ok(())
}

/// The name of an array's file that no other of this answer has: inputs of one name in two folders give two outputs.
fn untaken(taken: &mut BTreeSet<String>, stem: &str) -> String {
    let names = std::iter::once(format!("{stem}.npy")).chain((2..).map(|n| format!("{stem}.{n}.npy")));
    let name = names.into_iter().find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(name.clone());
    name
}

fn save_tensor(path: &Path, tensor: &Tensor) -> Result<(), Failure> {
    write_npy(path, tensor).map_err(|e| Failure::unprepared(format!("cannot write {}: {e}", path.display())))
}

/// A tensor's name as a file's: what could leave the folder becomes an underscore.
fn file_name(name: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    let name: String = name.chars().map(safe).collect();
    match name.trim_start_matches('.') {
        "" => "output".to_owned(),
        name => name.to_owned(),
    }
}

fn ordinal(place: usize) -> String {
    match place {
        1 => "1st".to_owned(),
        2 => "2nd".to_owned(),
        3 => "3rd".to_owned(),
        n => format!("{n}th"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_of_one_name_are_kept_apart() {
        let mut taken = BTreeSet::new();
        let names = ["x.y", "x.y", "z", "x.y"].map(|stem| untaken(&mut taken, stem));
        assert_eq!(names, ["x.y.npy", "x.y.2.npy", "z.npy", "x.y.3.npy"]);
    }

    #[test]
    fn names_of_tensors_stay_in_the_folder() {
        assert_eq!(file_name("../../etc/passwd"), "_.._etc_passwd");
        assert_eq!(file_name("logits:0"), "logits_0");
        assert_eq!(file_name(".."), "output");
    }
}
