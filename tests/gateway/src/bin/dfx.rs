//! A stand-in for `dfx`, and under that name for `icp`, so that examples for them are run as they stand.
//!
//! It does what they do in `canister id NAME` and `canister call [--query] NAME METHOD [ARGUMENT]`: asks the canister for
//! its interface, encodes the textual argument by it, calls over HTTP, and prints the reply as text. Where the canister is
//! comes from the environment, in place of a project's files: `STAND_IN_URL`, `STAND_IN_CANISTERS` (`name=id`, separated by
//! commas) and `STAND_IN_IDENTITY` (a PEM file). Whatever else the real programs take is refused, never ignored.

use std::process::ExitCode;
use std::sync::Arc;

use candid::types::{Function, Type};
use candid::{IDLArgs, Principal, TypeEnv};
use candid_parser::utils::CandidSource;
use ic_agent::agent::AgentBuilder;
use ic_agent::identity::BasicIdentity;
use ic_agent::{Agent, AgentError};

/// What dfx exits with when something fails.
const FAILED: u8 = 255;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let said = match arguments.as_slice() {
        ["canister", "id", name] => canister(name).map(|id| id.to_string()),
        ["canister", "call", rest @ ..] => Call::parse(rest).and_then(Call::make),
        _ => Err(format!("the stand-in for dfx does not know `{}`", arguments.join(" "))),
    };
    match said {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("Error: {text}");
            ExitCode::from(FAILED)
        }
    }
}

/// `canister call`.
struct Call {
    query: bool,
    raw: bool,
    canister: Principal,
    method: String,
    argument: Option<String>,
}

impl Call {
    fn parse(arguments: &[&str]) -> Result<Self, String> {
        let (mut query, mut raw, mut file, mut plain) = (false, false, None, Vec::new());
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match *argument {
                "--query" => query = true,
                "--output" => {
                    raw = match arguments.next() {
                        Some(&"raw") => true,
                        Some(&("idl" | "pp")) => false,
                        other => return Err(format!("--output {other:?} is not known here")),
                    };
                }
                "--argument-file" => file = Some(*arguments.next().ok_or("--argument-file names a file")?),
                flag if flag.starts_with('-') => return Err(format!("{flag} is not known here")),
                other => plain.push(other),
            }
        }
        let read = |path: &str| std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
        let (name, method, argument) = match (plain.as_slice(), file) {
            ([name, method], None) => (name, method, None),
            ([name, method], Some(file)) => (name, method, Some(read(file)?)),
            ([name, method, argument], None) => (name, method, Some((*argument).to_owned())),
            _ => return Err("NAME METHOD [ARGUMENT] or --argument-file FILE is expected".to_owned()),
        };
        Ok(Call { query, raw, canister: canister(name)?, method: (*method).to_owned(), argument })
    }

    fn make(self) -> Result<String, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|e| e.to_string())?.block_on(self.make_with(&agent()?))
    }

    async fn make_with(self, agent: &Agent) -> Result<String, String> {
        agent.fetch_root_key().await.map_err(rejection)?;
        let interface = agent
            .read_state_canister_metadata(self.canister, "candid:service")
            .await
            .map_err(|e| format!("the canister tells no interface: {e}"))?;
        let interface = String::from_utf8(interface).map_err(|e| e.to_string())?;
        let (types, service) = CandidSource::Text(&interface).load().map_err(|e| e.to_string())?;
        let function = method(&types, service.as_ref(), &self.method)?;
        if self.query && !function.is_query() {
            return Err(format!("{} is an update method, not a query method.", self.method));
        }
        let argument = self.argument(&types, &function)?;
        // Query methods are called by query even without the flag, as dfx does.
        let reply = if function.is_query() {
            agent.query(&self.canister, &self.method).with_arg(argument).call().await
        } else {
            agent.update(&self.canister, &self.method).with_arg(argument).call_and_wait().await
        };
        let reply = reply.map_err(rejection)?;
        if self.raw {
            return Ok(reply.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        IDLArgs::from_bytes_with_types(&reply, &types, &function.rets)
            .map(|reply| reply.to_string())
            .map_err(|e| e.to_string())
    }

    fn argument(&self, types: &TypeEnv, function: &Function) -> Result<Vec<u8>, String> {
        let text = self.argument.as_deref().unwrap_or("()");
        let values =
            candid_parser::parse_idl_args(text).map_err(|e| format!("Invalid data: Candid argument: {e}"))?;
        values
            .to_bytes_with_types(types, &function.args)
            .map_err(|e| format!("Invalid data: the argument does not have the method's type: {e}"))
    }
}

fn method(types: &TypeEnv, service: Option<&Type>, name: &str) -> Result<Function, String> {
    let service = service.ok_or("the interface has no service")?;
    types.get_method(service, name).cloned().map_err(|e| e.to_string())
}

fn agent() -> Result<Agent, String> {
    let builder = AgentBuilder::default().with_url(variable("STAND_IN_URL")?);
    let builder = match variable("STAND_IN_IDENTITY") {
        Ok(path) => {
            let identity = BasicIdentity::from_pem_file(&path).map_err(|e| format!("{path}: {e}"))?;
            builder.with_arc_identity(Arc::new(identity))
        }
        Err(_) => builder,
    };
    builder.build().map_err(|e| e.to_string())
}

fn canister(name: &str) -> Result<Principal, String> {
    let known = variable("STAND_IN_CANISTERS")?;
    let named = known.split(',').find_map(|pair| Some(pair.split_once('=')?).filter(|(n, _)| *n == name));
    let id = named.map_or(name, |(_, id)| id);
    Principal::from_text(id).map_err(|_| format!("Cannot find canister id. No canister is called {name}"))
}

fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|_| format!("{name} is not set"))
}

fn rejection(error: AgentError) -> String {
    match error {
        AgentError::CertifiedReject { reject, .. } | AgentError::UncertifiedReject { reject, .. } => format!(
            "The replica returned a rejection error: reject code {:?}, reject message {}, error code {:?}",
            reject.reject_code, reject.reject_message, reject.error_code
        ),
        other => other.to_string(),
    }
}
