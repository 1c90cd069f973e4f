//! `profile`: what a model costs in the canister, step by step, counted.

use ic_nn_client::fits_a_call;
use ic_nn_types::{InferRequest, Limits, ProfileResponse};
use serde_json::{Value, json};

use crate::args::{InputArgs, ProfileArgs};
use crate::commands::ask::{By, ask};
use crate::commands::model_file::{self, ModelFiles};
use crate::commands::{nodes, quantize};
use crate::failure::Failure;
use crate::format;
use crate::input::{self, Case};
use crate::local::{Charge, Local};
use crate::output::{align_right, json_cycles, print_json, table};
use crate::print::say;
use crate::progress::Progress;
use crate::target::Target;
use crate::wasm::{self, CanisterWasm};

/// Nodes of the subnets that prices are shown for: an ordinary one, and a large one.
const NODES: [u128; 2] = [13, 34];
/// Cycles that a GiB of memory costs a year on 13 nodes: 127,000 a second.
const GIB_YEAR_CYCLES: u128 = 127_000 * 31_556_952;

/// Bringing the graph back after an upgrade.
const IMAGE: &str = "load, from its image";
/// The same where there is no image, as where another build wrote it.
const FILE: &str = "load, from its file";

/// One measured step.
struct Step {
    what: &'static str,
    charge: Charge,
    /// Whether it is a query, which is free.
    query: bool,
}

struct Profile {
    model: String,
    bytes: u64,
    steps: Vec<Step>,
    /// The inference that is paid for from the second time on.
    steady: u64,
    /// Why a query does not take it, if so.
    not_queried: Option<String>,
    heap_bytes: u64,
    stable_bytes: u64,
    limits: Limits,
    /// Where an inference's instructions go, where that was asked for.
    nodes: Option<ProfileResponse>,
}

/// Runs the model through all its steps.
pub fn profile(args: &ProfileArgs, progress: Progress) -> Result<(), Failure> {
    input::check_files(&args.input)?;
    let files = ModelFiles::read(&args.model, &args.data)?;
    let wasm = wasm::find(args.wasm.wasm.as_deref())?;
    let target = Target::unlimited(&wasm, &args.schedule, progress)?;
    let Target::Local(local) = &target else { return Ok(()) };
    let profile = measure(&target, local, &wasm, args, &files, progress)?;
    if let (Some(path), Some(nodes)) = (&args.page, &profile.nodes) {
        std::fs::write(path, nodes::page(&profile.model, nodes))
            .map_err(|e| Failure::usage(format!("{} cannot be written: {e}", path.display())))?;
    }
    if args.json {
        print_json(&profile.json());
    } else {
        profile.print(args.nodes);
    }
    Ok(())
}

fn measure(
    target: &Target,
    local: &Local,
    wasm: &CanisterWasm,
    args: &ProfileArgs,
    files: &ModelFiles,
    progress: Progress,
) -> Result<Profile, Failure> {
    let client = target.client();
    let limits = client.server_metadata()?.limits;
    let mut steps = vec![Step { what: "install the canister", charge: local.installed(), query: false }];
    let name = model_file::name_of(&args.model);
    let (version, charge) = local.charged(|| model_file::upload(target, &name, files, None, progress));
    let version = version?;
    steps.push(Step { what: "upload and commit", charge, query: false });
    let model = format!("{}:{}", version.name, version.version);
    quantize::set(&client, &model, &args.quantize, progress)?;
    let description = client.describe(&model)?;
    let inputs = if args.input.inputs.is_empty() {
        InputArgs { inputs: vec!["random:0".to_owned()], ..args.input.clone() }
    } else {
        args.input.clone()
    };
    let mut cases = input::cases(&inputs, &description.inputs)?;
    cases.truncate(1);
    // The trial at commit leaves the graph in the heap. An upgrade empties it, so loading is measured from nothing.
    let (upgraded, charge) =
        local.charged(|| progress.during("upgrading the canister", || local.upgrade(wasm)));
    upgraded?;
    steps.push(Step { what: "upgrade the canister", charge, query: false });
    let (loaded, charge) = local.charged(|| client.load_by_name(&model));
    // Where it has no image, it was loaded from its file.
    let graph = loaded?;
    let imaged = client.get_property(graph, "image_bytes")?.is_some_and(|bytes| bytes != "0");
    if imaged {
        steps.push(Step { what: IMAGE, charge, query: false });
        client.set_property(graph, "image", Some("false"))?;
        client.unload(graph)?;
        let (loaded, charge) = local.charged(|| client.load_by_name(&model));
        client.set_property(loaded?, "image", None)?;
        steps.push(Step { what: FILE, charge, query: false });
    } else {
        steps.push(Step { what: FILE, charge, query: false });
    }
    let mut steady = 0;
    let mut not_queried = None;
    let request =
        |case: Case| InferRequest { model: model.clone(), inputs: case.inputs, ..Default::default() };
    let last = cases.last().cloned().map(request);
    let fits = last.as_ref().is_none_or(fits_a_call);
    for (what, by) in [
        ("first inference, as an update", By::Update),
        ("steady inference, as an update", By::Update),
        ("steady inference, as a query", By::Query),
    ] {
        if by == By::Query && !fits {
            not_queried =
                Some("its inputs are larger than a call holds; an update takes them in parts".into());
            break;
        }
        let answers = progress.during(what, || ask(target, &model, &cases, by));
        let answers = match answers {
            // That a query cannot do it is a result: the table leaves it out and the verdict says why.
            Err(e) if by == By::Query => {
                not_queried = Some(e.to_string());
                break;
            }
            answers => answers?,
        };
        let Some(charge) = answers.first().and_then(|answer| answer.charge) else { continue };
        if by == By::Update {
            steady = charge.instructions;
        }
        steps.push(Step { what, charge, query: by == By::Query });
    }
    let (heap_bytes, stable_bytes) = local.memory();
    let nodes = match last.filter(|_| args.nodes || args.json || args.page.is_some()) {
        Some(_) if !fits => {
            progress.note("nodes are counted of inputs that one call holds, 1.9 MB; these are larger");
            None
        }
        Some(request) => Some(progress.during("counting by node", || client.profile(&request))?),
        None => None,
    };
    Ok(Profile {
        model,
        bytes: files.bytes(),
        steps,
        steady,
        not_queried,
        heap_bytes,
        stable_bytes,
        limits,
        nodes,
    })
}

impl Profile {
    /// Cycles a year for the memory that the canister holds, on 13 nodes.
    fn storage(&self) -> u128 {
        (u128::from(self.heap_bytes + self.stable_bytes) * GIB_YEAR_CYCLES) >> 30
    }

    /// How many updates one inference fills.
    fn updates(&self) -> u64 {
        self.steady.div_ceil(self.limits.update_instructions.max(1))
    }

    fn verdict(&self) -> String {
        let share = |limit| format::share(self.steady, limit);
        let (query, update) = (self.limits.query_instructions, self.limits.update_instructions);
        if let (Some(reason), true) = (&self.not_queried, self.steady <= query) {
            format!("one inference fits an update ({} of it); a query refuses it: {reason}", share(update))
        } else if self.steady <= query {
            format!(
                "one inference fits a query ({} of it) and an update ({} of it)",
                share(query),
                share(update)
            )
        } else if self.updates() <= 1 {
            format!("one inference fits an update ({} of it), not a query ({})", share(update), share(query))
        } else {
            format!(
                "one inference fills {} messages of an update ({} of one), over which `infer` goes on by itself; a query \
                 cannot",
                self.updates(),
                share(update)
            )
        }
    }

    fn print(&self, by_node: bool) {
        say!("{}, {}", self.model, format::bytes(self.bytes));
        let mut header = vec!["step".to_owned(), "instructions".to_owned()];
        for nodes in NODES {
            header.extend([format!("cycles, {nodes} nodes"), format!("XDR, {nodes} nodes")]);
        }
        let mut table = table(&header.iter().map(String::as_str).collect::<Vec<_>>());
        for step in &self.steps {
            let mut row = vec![step.what.to_owned(), format::instructions(step.charge.instructions)];
            row.extend(prices(if step.query { 0 } else { step.charge.cycles }));
            table.add_row(row);
        }
        let mut row = vec!["memory, a year".to_owned(), "-".to_owned()];
        row.extend(prices(self.storage()));
        table.add_row(row);
        align_right(&mut table, 1);
        say!("{table}");
        say!("memory: {} heap, {} stable", format::bytes(self.heap_bytes), format::bytes(self.stable_bytes));
        say!("{}", self.verdict());
        if let (true, Some(nodes)) = (by_node, &self.nodes) {
            nodes::print(nodes);
        }
    }

    fn json(&self) -> Value {
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|step| {
                let cycles = if step.query { 0 } else { step.charge.cycles };
                json!({
                    "step": step.what,
                    "query": step.query,
                    "instructions": step.charge.instructions,
                    "cycles_13_nodes": json_cycles(cycles),
                    "cycles_34_nodes": json_cycles(format::on_nodes(cycles, 34)),
                })
            })
            .collect();
        json!({
            "model": self.model,
            "bytes": self.bytes,
            "steps": steps,
            "steady_instructions": self.steady,
            "heap_bytes": self.heap_bytes,
            "stable_bytes": self.stable_bytes,
            "storage_cycles_a_year_13_nodes": json_cycles(self.storage()),
            "fits_query": self.steady <= self.limits.query_instructions && self.not_queried.is_none(),
            "fits_update": self.updates() <= 1,
            "updates": self.updates(),
            "profile": self.nodes.as_ref().map(nodes::json),
        })
    }
}

fn prices(cycles: u128) -> Vec<String> {
    NODES
        .iter()
        .flat_map(|nodes| {
            let cycles = format::on_nodes(cycles, *nodes);
            [format::cycles(cycles), format::xdr(cycles)]
        })
        .collect()
}
