//! Where the instructions of an inference go: a model's nodes as a table, as JSON, and as a page with a chart.

use std::fmt::Write;

use ic_nn_types::{NodeProfile, ProfileResponse};
use serde_json::{Value, json};

use crate::format;
use crate::output::{align_right, table};
use crate::print::say;

/// Nodes that the table lists; the page and the JSON have all.
const LISTED: usize = 20;

/// Prints the dearest nodes, and what each operator takes in all.
pub fn print(profile: &ProfileResponse) {
    let mut nodes: Vec<&NodeProfile> = profile.nodes.iter().collect();
    nodes.sort_by_key(|node| std::cmp::Reverse(node.instructions));
    let header = ["node", "operator", "output", "instructions", "share", "a MAC", "bytes", "estimate"];
    let mut listed = table(&header);
    for node in nodes.iter().take(LISTED) {
        listed.add_row(row(
            &node.name,
            &node.operator,
            &format::shape(&node.dimensions),
            node,
            profile.instructions,
        ));
    }
    align_right(&mut listed, 3);
    say!("{} of {} nodes, the dearest:\n{listed}", nodes.len().min(LISTED), profile.count);
    let mut operators = table(&["operator", "nodes", "instructions", "share", "a MAC", "bytes", "estimate"]);
    for (count, total) in by_operator(&nodes) {
        let mut row = row("", &total.operator, "", &total, profile.instructions);
        row.splice(..3, [total.operator.clone(), count.to_string()]);
        operators.add_row(row);
    }
    align_right(&mut operators, 1);
    say!("{operators}");
    if let Some(arena) = arena(profile) {
        say!("{arena}");
    }
}

/// How much memory a run takes, where that is known.
fn arena(profile: &ProfileResponse) -> Option<String> {
    let (arena, alive) = profile.arena_bytes.zip(profile.alive_bytes)?;
    let times = arena as f64 / alive.max(1) as f64;
    Some(format!(
        "activations and buffers lie in {}, {times:.2} times what is alive at the worst moment",
        format::bytes(arena)
    ))
}

fn row(name: &str, operator: &str, output: &str, node: &NodeProfile, all: u64) -> Vec<String> {
    let name: String = if name.chars().count() > 40 {
        let tail: Vec<char> = name.chars().rev().take(39).collect();
        std::iter::once('…').chain(tail.into_iter().rev()).collect()
    } else {
        name.to_owned()
    };
    vec![
        name,
        operator.to_owned(),
        output.to_owned(),
        format::instructions(node.instructions),
        format::share(node.instructions, all),
        a_mac(node),
        format::bytes(node.bytes),
        estimated(node),
    ]
}

/// The estimate, and how far it is from what was counted; nothing of a canister that is older.
fn estimated(node: &NodeProfile) -> String {
    let Some(estimate) = node.estimate else { return "-".into() };
    let off = 100.0 * (estimate as f64 / node.instructions.max(1) as f64 - 1.0);
    format!("{} ({off:+.1} %)", format::instructions(estimate))
}

/// Instructions a multiply-add, where there are enough for that to say something.
fn a_mac(node: &NodeProfile) -> String {
    if node.macs < 1_000 { "-".into() } else { format!("{:.2}", node.instructions as f64 / node.macs as f64) }
}

/// Sums by operator, the dearest first, with how many nodes each has.
fn by_operator(nodes: &[&NodeProfile]) -> Vec<(usize, NodeProfile)> {
    let mut sums: Vec<(usize, NodeProfile)> = vec![];
    for node in nodes {
        match sums.iter_mut().find(|(_, sum)| sum.operator == node.operator) {
            Some((count, sum)) => {
                *count += 1;
                sum.macs += node.macs;
                sum.bytes += node.bytes;
                sum.instructions += node.instructions;
                sum.estimate = sum.estimate.zip(node.estimate).map(|(sum, estimate)| sum + estimate);
            }
            None => sums.push((1, (*node).clone())),
        }
    }
    sums.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.instructions));
    sums
}

/// The nodes in the order in which they ran.
pub fn json(profile: &ProfileResponse) -> Value {
    let nodes: Vec<Value> = profile
        .nodes
        .iter()
        .map(|node| {
            json!({
                "name": node.name,
                "operator": node.operator,
                "dimensions": node.dimensions,
                "macs": node.macs,
                "bytes": node.bytes,
                "instructions": node.instructions,
                "estimate": node.estimate,
                "share": node.instructions as f64 / profile.instructions.max(1) as f64,
            })
        })
        .collect();
    json!({
        "count": profile.count,
        "instructions": profile.instructions,
        "arena_bytes": profile.arena_bytes,
        "alive_bytes": profile.alive_bytes,
        "nodes": nodes,
    })
}

/// A page that needs nothing else: a bar for each node, as long as its share, in the order in which they ran.
pub fn page(model: &str, profile: &ProfileResponse) -> String {
    let most = profile.nodes.iter().map(|node| node.instructions).max().unwrap_or(1).max(1);
    let nodes: Vec<&NodeProfile> = profile.nodes.iter().collect();
    let operators: Vec<String> = by_operator(&nodes).into_iter().map(|(_, sum)| sum.operator).collect();
    let colour = |operator: &str| {
        let at = operators.iter().position(|o| o == operator).unwrap_or(0);
        format!("hsl({} 55% 55%)", at * 137 % 360)
    };
    let mut page = String::new();
    let title = escaped(model);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}: where the instructions go</title>\n\
         <style>body{{font:14px/1.5 system-ui,sans-serif;margin:2em auto;max-width:1100px;padding:0 1em}}\
         table{{border-collapse:collapse;width:100%}}td,th{{padding:1px 8px;text-align:left;white-space:nowrap}}\
         td.n,th.n{{text-align:right;font-variant-numeric:tabular-nums}}td.bar{{width:40%}}\
         td.bar div{{height:12px;border-radius:2px;min-width:1px}}tr:hover{{background:#8882}}\
         td.name{{max-width:260px;overflow:hidden;text-overflow:ellipsis}}\
         @media(prefers-color-scheme:dark){{body{{background:#111;color:#ddd}}}}</style>\n\
         <h1>{title}</h1><p>{} instructions in {} nodes, in the order in which they run.{}</p>\n",
        format::instructions(profile.instructions),
        profile.count,
        arena(profile).map_or_else(String::new, |arena| format!(" Their {arena}."))
    );
    page.push_str("<table><tr><th>operator<th class=n>nodes<th class=n>instructions<th class=n>share<th class=n>a MAC<th class=n>estimate</tr>\n");
    for (count, sum) in by_operator(&nodes) {
        let _ = writeln!(
            page,
            "<tr><td><span style=\"color:{}\">■</span> {}<td class=n>{count}<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{}</tr>",
            colour(&sum.operator),
            escaped(&sum.operator),
            format::instructions(sum.instructions),
            format::share(sum.instructions, profile.instructions),
            a_mac(&sum),
            estimated(&sum)
        );
    }
    page.push_str(
        "</table>\n<h2>Nodes</h2>\n<table><tr><th>node<th>operator<th>output<th class=n>instructions<th class=n>share\
         <th class=n>a MAC<th class=n>bytes<th class=n>estimate<th></tr>\n",
    );
    for node in &profile.nodes {
        let _ = writeln!(
            page,
            "<tr><td class=name title=\"{0}\">{0}<td>{1}<td>{2}<td class=n>{3}<td class=n>{4}<td class=n>{5}<td class=n>{6}<td class=n>{7}\
             <td class=bar><div style=\"width:{8:.2}%;background:{9}\"></div></tr>",
            escaped(&node.name),
            escaped(&node.operator),
            format::shape(&node.dimensions),
            format::instructions(node.instructions),
            format::share(node.instructions, profile.instructions),
            a_mac(node),
            format::bytes(node.bytes),
            estimated(node),
            100.0 * node.instructions as f64 / most as f64,
            colour(&node.operator)
        );
    }
    page.push_str("</table></html>\n");
    page
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, operator: &str, macs: u64, instructions: u64) -> NodeProfile {
        NodeProfile {
            name: name.into(),
            operator: operator.into(),
            dimensions: vec![Some(1), None],
            macs,
            bytes: 8,
            instructions,
            estimate: Some(instructions * 9 / 10),
        }
    }

    #[test]
    fn operators_are_summed_and_names_do_not_become_markup() {
        let nodes =
            vec![node("a<b>", "Add", 0, 10), node("c", "Product", 2_000, 80), node("d", "Add", 0, 10)];
        let profile = ProfileResponse {
            version: 1,
            count: 3,
            instructions: 100,
            nodes,
            arena_bytes: Some(3_000_000),
            alive_bytes: Some(2_500_000),
        };
        let sums = by_operator(&profile.nodes.iter().collect::<Vec<_>>());
        let found: Vec<_> = sums.iter().map(|(n, s)| (*n, s.operator.as_str(), s.instructions)).collect();
        assert_eq!(found, [(1, "Product", 80), (2, "Add", 20)]);
        let page = page("m:1", &profile);
        assert!(page.contains("a&lt;b&gt;") && !page.contains("a<b>"), "{page}");
        assert!(page.contains("width:100.00%") && page.contains("width:12.50%"), "{page}");
        assert!(page.contains("(-10.0 %)"), "{page}");
        assert!(page.contains("1.20 times what is alive"), "{page}");
        assert_eq!(json(&profile)["nodes"][1]["share"], 0.8);
    }
}
