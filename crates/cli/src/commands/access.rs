//! `access`: to whom which methods are open, the price, and quotas.

use ic_nn_types::{Access, AccessPolicy, CallerQuota, Price};
use serde_json::json;

use crate::args::AccessAction;
use crate::failure::Failure;
use crate::format;
use crate::output::{print_json, table};
use crate::print::say;
use crate::progress::Progress;
use crate::target::Target;

/// Shows or sets.
pub fn access(action: AccessAction, progress: Progress) -> Result<(), Failure> {
    match action {
        AccessAction::Show { json, target } => {
            let capabilities = Target::open(&target, progress)?.client().capabilities()?;
            show(&capabilities.policy, &capabilities.price, json);
        }
        AccessAction::Policy { read, query, infer, target } => {
            let target = Target::open(&target, progress)?;
            let client = target.client();
            let mut policy = client.capabilities()?.policy;
            for (now, to) in
                [(&mut policy.read, read), (&mut policy.query, query), (&mut policy.infer, infer)]
            {
                if let Some(to) = to {
                    *now = to.into();
                }
            }
            if (read, query, infer) == (None, None, None) {
                return Err(Failure::usage("what shall change?")
                    .hint("--read, --query and --infer take anyone, authenticated or listed"));
            }
            client.set_access_policy(&policy)?;
            target.keep()?;
            show(&policy, &client.capabilities()?.price, false);
        }
        AccessAction::Price { price, target } => {
            let target = Target::open(&target, progress)?;
            target.client().set_price(&Price { cycles_per_call: price.0.map(Into::into) })?;
            target.keep()?;
            progress.note(&match price.0 {
                Some(cycles) => {
                    format!("a canister that is not listed pays {} cycles a call", format::cycles(cycles))
                }
                None => "only who is listed may infer by update".to_owned(),
            });
        }
        AccessAction::Quota { principal, instructions, target } => {
            let target = Target::open(&target, progress)?;
            let client = target.client();
            if let Some(quota) = instructions {
                client.set_caller_quota(principal, quota.0)?;
                target.keep()?;
            }
            let CallerQuota { instructions_per_day, spent_today } = client.caller_quota(principal)?;
            let most = instructions_per_day
                .map_or_else(|| "no limit".to_owned(), |n| format!("{} a day", format::instructions(n)));
            say!("{principal}: {most}, {} spent today (UTC)", format::instructions(spent_today));
        }
    }
    Ok(())
}

fn show(policy: &AccessPolicy, price: &Price, json: bool) {
    let cycles = price.cycles_per_call.as_ref().map(ToString::to_string);
    if json {
        print_json(&json!({
            "read": word(policy.read),
            "query": word(policy.query),
            "infer": word(policy.infer),
            "cycles_per_call": cycles.map(|c| c.replace('_', "")),
        }));
        return;
    }
    let mut table = table(&["methods", "open to"]);
    table.add_row(["read: list, describe, statistics", word(policy.read)]);
    table.add_row(["query: infer_query, get_output", word(policy.query)]);
    table.add_row(["infer: infer, execution contexts", word(policy.infer)]);
    let paying = cycles.map_or_else(|| "nobody".to_owned(), |c| format!("canisters that attach {c} cycles"));
    table.add_row(["infer, who is not let in by that", paying.as_str()]);
    say!("{table}");
}

fn word(access: Access) -> &'static str {
    match access {
        Access::Anyone => "anyone",
        Access::Authenticated => "authenticated",
        Access::Listed => "listed",
    }
}
