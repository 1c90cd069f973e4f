//! What a browser and a Prometheus see: `/metrics`, `/status`, and a page for people. Replies are bounded: the first 200
//! versions, and a word where there are more. Only what `read` is open to anyone for is told of models.

use std::fmt::Write;

use ic_nn_types::{
    Access, HttpRequest, HttpResponse, ListRequest, ModelState, ModelStatistics, ModelSummary,
};

use super::server;
use crate::{runtime, state};

/// Versions that a reply tells of.
const MAX_VERSIONS: u32 = 200;

/// Answers a request of the gateway.
pub(super) fn answer(request: &HttpRequest) -> HttpResponse {
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return plain(405, "GET and HEAD are answered here; models are asked by Candid calls");
    }
    let path = request.url.split(['?', '#']).next().unwrap_or("/");
    let mut response = match path {
        "/metrics" => reply(200, "text/plain; version=0.0.4; charset=utf-8", metrics()),
        "/status" | "/status.json" => reply(200, "application/json", status()),
        "/" | "/index.html" => reply(200, "text/html; charset=utf-8", page()),
        _ => plain(404, "here are /metrics (Prometheus), /status (JSON) and / (a page)"),
    };
    if request.method == "HEAD" {
        response.body.clear();
    }
    response
}

/// A text.
pub(super) fn plain(status: u16, text: &str) -> HttpResponse {
    reply(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

fn reply(status_code: u16, content_type: &str, body: String) -> HttpResponse {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    HttpResponse {
        status_code,
        headers: vec![
            header("content-type", content_type),
            header("cache-control", "no-store"),
            header("x-content-type-options", "nosniff"),
            header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'"),
        ],
        body: body.into_bytes(),
    }
}

/// What is told of models, and whether there are more.
fn versions() -> (Vec<(ModelSummary, ModelStatistics)>, bool) {
    if state::store(|s| s.policy().read) != Access::Anyone {
        return (vec![], false);
    }
    let request = ListRequest { after: None, limit: Some(MAX_VERSIONS) };
    let Ok(page) = super::registry::page(&request) else { return (vec![], false) };
    let told = page
        .models
        .into_iter()
        .map(|m| {
            let statistics = state::store(|s| s.statistics(&m.name, m.version)).unwrap_or_default();
            (m, statistics)
        })
        .collect();
    (told, page.next.is_some())
}

fn word(state: &Option<ModelState>) -> &'static str {
    match state {
        Some(ModelState::Uploading) => "uploading",
        Some(ModelState::Available) => "available",
        Some(ModelState::Loading) => "loading",
        Some(ModelState::Loaded) => "loaded",
        Some(ModelState::Failed(_)) => "failed",
        Some(ModelState::Retired) => "retired",
        None => "unknown",
    }
}

fn metrics() -> String {
    let (versions, _) = versions();
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: u128| {
        let _ = writeln!(text, "# HELP ic_nn_{name} {help}\n# TYPE ic_nn_{name} gauge\nic_nn_{name} {value}");
    };
    gauge(
        "ready",
        "Whether every graph with a handle is in the heap and warm.",
        u128::from(server::is_ready()),
    );
    gauge("heap_bytes", "Bytes of live allocations.", u128::from(runtime::heap_bytes()));
    gauge("stable_bytes", "Bytes of stable memory.", u128::from(ic_cdk::api::stable_size()) * 65_536);
    gauge("cycles", "Cycles that the canister holds.", ic_cdk::api::canister_cycle_balance());
    gauge("resident_graphs", "Graphs in the heap.", state::residents(|r| r.len()) as u128);
    gauge("open_uploads", "Uploads that are open.", state::store(|s| s.open_upload_count()) as u128);
    gauge(
        "open_contexts",
        "Execution contexts that are open.",
        u128::from(state::store(|s| s.open_contexts())),
    );
    type Value = fn(&ModelStatistics) -> u64;
    let counters: [(&str, &str, Value); 6] = [
        ("inferences_total", "Inferences that gave outputs, counted in updates.", |s| s.success),
        ("failures_total", "Inferences that were refused or failed.", |s| s.fail),
        ("cache_hits_total", "Answers from the response cache.", |s| s.cache_hits),
        ("instructions_min", "Least instructions of a computed inference.", |s| s.min_instructions),
        ("instructions_mean", "Mean instructions of a computed inference.", |s| s.mean_instructions),
        ("instructions_max", "Most instructions of a computed inference.", |s| s.max_instructions),
    ];
    for (name, help, value) in counters {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        let _ = writeln!(text, "# HELP ic_nn_{name} {help}\n# TYPE ic_nn_{name} {kind}");
        for (model, statistics) in &versions {
            // Names are letters, digits, dots, hyphens and underscores: nothing to escape.
            let (name_, version) = (&model.name, model.version);
            let value = value(statistics);
            let _ = writeln!(text, "ic_nn_{name}{{model=\"{name_}\",version=\"{version}\"}} {value}");
        }
    }
    text
}

fn status() -> String {
    let (versions, more) = versions();
    let models: Vec<String> = versions
        .iter()
        .map(|(m, s)| {
            format!(
                "{{\"name\":\"{}\",\"version\":{},\"state\":\"{}\",\"bytes\":{},\"success\":{},\"fail\":{},\
                 \"mean_instructions\":{}}}",
                m.name,
                m.version,
                word(&m.state),
                m.bytes,
                s.success,
                s.fail,
                s.mean_instructions
            )
        })
        .collect();
    format!(
        "{{\"name\":\"ic-nn\",\"version\":\"{}\",\"engine\":\"{}\",\"live\":true,\"ready\":{},\"heap_bytes\":{},\
         \"stable_bytes\":{},\"cycles\":{},\"models\":[{}],\"more\":{more}}}\n",
        env!("CARGO_PKG_VERSION"),
        ic_nn_engine::ENGINE,
        server::is_ready(),
        runtime::heap_bytes(),
        ic_cdk::api::stable_size() * 65_536,
        ic_cdk::api::canister_cycle_balance(),
        models.join(",")
    )
}

fn page() -> String {
    let (versions, more) = versions();
    let mut rows = String::new();
    for (m, s) in &versions {
        let _ = write!(
            rows,
            "<tr><td>{}<td>{}<td>{}<td>{}<td class=n>{}<td class=n>{}<td class=n>{}",
            m.name,
            m.version,
            m.labels.join(", "),
            word(&m.state),
            m.bytes,
            s.success,
            s.mean_instructions
        );
    }
    if rows.is_empty() {
        rows.push_str("<tr><td colspan=7>No models are here, or not for everyone to see.");
    }
    let ready = if server::is_ready() { "ready" } else { "not ready: graphs are being loaded" };
    let more = if more { "<p>More versions are here than are shown." } else { "" };
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>ic-nn</title><style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}\
         table{{border-collapse:collapse;width:100%}}td,th{{padding:.3rem .6rem;border-bottom:1px solid #ccc;text-align:left}}\
         .n{{text-align:right;font-variant-numeric:tabular-nums}}</style>\
         <h1>ic-nn</h1><p>wasi-nn for the Internet Computer: neural networks in a canister, asked by Candid calls. \
         Version {}, {}; {ready}.\
         <table><tr><th>Model<th>Version<th>Labels<th>State<th class=n>Bytes<th class=n>Inferences<th class=n>Mean \
         instructions{rows}</table>{more}<p><a href=/status>/status</a> as JSON, <a href=/metrics>/metrics</a> for Prometheus.\n",
        env!("CARGO_PKG_VERSION"),
        ic_nn_engine::ENGINE,
    )
}
