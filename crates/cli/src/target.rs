//! Which canister a command talks to: one on this machine, or one behind a URL.
//!
//! A flag beats a variable, and naming one target by flag forgets what variables say of the other.

use std::path::PathBuf;

use candid::Principal;
use ic_nn_client::{AgentTransport, Client, ConnectError, Transport};

use crate::args::{DeployArgs, TargetArgs};
use crate::failure::Failure;
use crate::local::{Charge, Local};
use crate::progress::Progress;
use crate::wasm::CanisterWasm;

/// An open target.
pub enum Target {
    /// A canister on this machine.
    Local(Box<Local>),
    /// A canister behind a URL.
    Remote(Box<Remote>),
}

/// A canister behind a URL, and what reaches others there.
pub struct Remote {
    agent: AgentTransport,
    id: Principal,
    url: String,
    identity: Option<PathBuf>,
}

impl Target {
    /// Opens what the arguments and the environment name.
    pub fn open(args: &TargetArgs, progress: Progress) -> Result<Self, Failure> {
        let by_url = args.url.is_some() || args.canister.is_some();
        let local =
            args.local.clone().or_else(|| variable("IC_NN_LOCAL").filter(|_| !by_url).map(PathBuf::from));
        if let Some(folder) = local {
            let local = Local::open(&folder, args.wasm.wasm.as_deref(), progress)?;
            return Ok(Target::Local(Box::new(local)));
        }
        let url = args.url.clone().or_else(|| variable("IC_NN_URL"));
        let canister = args.canister.clone().or_else(|| variable("IC_NN_CANISTER"));
        let (url, canister) = match (url, canister) {
            (Some(url), Some(canister)) => (url, canister),
            (Some(_), None) => {
                return Err(Failure::usage("--url names a replica; --canister must name the canister"));
            }
            (None, Some(_)) => {
                return Err(Failure::usage("--canister names a canister; --url must name where it runs")
                    .hint("the Internet Computer is --url https://icp-api.io, a local replica http://127.0.0.1:4943"));
            }
            (None, None) => {
                return Err(Failure::usage("which canister? no target is named").hint(
                    "--local DIR keeps one on this machine; --url URL --canister ID reaches a deployed one \
                     (or set IC_NN_LOCAL, or IC_NN_URL and IC_NN_CANISTER)",
                ));
            }
        };
        let id = Principal::from_text(&canister).map_err(|e| {
            Failure::usage(format!("--canister {canister}: {e}"))
                .hint("an id looks like rrkah-fqaaa-aaaaa-aaaaq-cai")
        })?;
        let identity = args.identity.clone().or_else(|| variable("IC_NN_IDENTITY").map(PathBuf::from));
        let agent = AgentTransport::connect(&url, id, identity.as_deref()).map_err(connect_failure)?;
        Ok(Target::Remote(Box::new(Remote { agent, id, url, identity })))
    }

    /// The canister's id.
    pub fn id(&self) -> Principal {
        match self {
            Target::Local(local) => local.id(),
            Target::Remote(remote) => remote.id,
        }
    }

    /// Canisters for so many stages: made on this machine, those that are named elsewhere.
    pub fn stages(
        &self,
        args: &DeployArgs,
        count: usize,
        progress: Progress,
    ) -> Result<Vec<Principal>, Failure> {
        match self {
            Target::Local(local) => local.further(count, args.target.wasm.wasm.as_deref(), progress),
            Target::Remote(_) if args.on.len() == count => Ok(args.on.clone()),
            Target::Remote(_) => Err(Failure::usage(format!(
                "{count} stages have weights, --on names {} canisters",
                args.on.len()
            ))
            .hint(
                "create canisters with ic-nn installed, and name one for each stage in order: --on ID ID ...",
            )),
        }
    }

    /// A client of another canister, where the target is.
    pub fn client_of(&self, canister: Principal) -> Result<Client<Box<dyn Transport + '_>>, Failure> {
        Ok(Client::new(match self {
            Target::Local(local) => Box::new(local.at(canister)),
            Target::Remote(remote) => Box::new(
                AgentTransport::connect(&remote.url, canister, remote.identity.as_deref())
                    .map_err(connect_failure)?,
            ),
        }))
    }

    /// Whether the arguments or the environment name any target.
    pub fn is_named(args: &TargetArgs) -> bool {
        args.local.is_some()
            || args.url.is_some()
            || args.canister.is_some()
            || ["IC_NN_LOCAL", "IC_NN_URL", "IC_NN_CANISTER"].iter().any(|name| variable(name).is_some())
    }

    /// A canister that lives as long as the command.
    pub fn ephemeral(wasm: &CanisterWasm, progress: Progress) -> Result<Self, Failure> {
        Ok(Target::Local(Box::new(Local::ephemeral(wasm, progress)?)))
    }

    /// The same, on a host that measures what the Internet Computer would stop.
    pub fn unlimited(wasm: &CanisterWasm, schedule: &str, progress: Progress) -> Result<Self, Failure> {
        Ok(Target::Local(Box::new(Local::unlimited(wasm, schedule, progress)?)))
    }

    /// A client of the target.
    pub fn client(&self) -> Client<Box<dyn Transport + '_>> {
        Client::new(match self {
            Target::Local(local) => Box::new(&**local),
            Target::Remote(remote) => Box::new(&remote.agent),
        })
    }

    /// Does `work` and answers what it took of each canister's cycles, where that can be known.
    pub fn burned<R>(&self, canisters: &[Principal], work: impl FnOnce() -> R) -> (R, Option<Vec<u128>>) {
        let balances = || match self {
            Target::Local(local) => Some(canisters.iter().map(|id| local.balance(*id)).collect::<Vec<_>>()),
            Target::Remote(_) => None,
        };
        let before = balances();
        let result = work();
        let burned = before.zip(balances()).map(|(before, after)| {
            before.into_iter().zip(after).map(|(before, after)| before.saturating_sub(after)).collect()
        });
        (result, burned)
    }

    /// Does `work` and answers what its calls were charged, where that can be known.
    pub fn charged<R>(&self, work: impl FnOnce() -> R) -> (R, Option<Charge>) {
        match self {
            Target::Local(local) => {
                let (result, charge) = local.charged(work);
                (result, Some(charge))
            }
            Target::Remote(_) => (work(), None),
        }
    }

    /// Keeps what a command changed: a canister on this machine goes back to its folder.
    pub fn keep(&self) -> Result<(), Failure> {
        match self {
            Target::Local(local) => local.save(),
            Target::Remote(_) => Ok(()),
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn connect_failure(error: ConnectError) -> Failure {
    let message = error.to_string();
    match error {
        ConnectError::Url { .. } => {
            Failure::usage(message).hint("for example http://127.0.0.1:4943 or https://icp-api.io")
        }
        ConnectError::Read { .. } => Failure::usage(message),
        ConnectError::Identity { .. } => {
            Failure::usage(message).hint("`dfx identity export NAME > me.pem` writes one")
        }
        ConnectError::Start(_) => Failure::unprepared(message),
        ConnectError::RootKey(_) => Failure::unprepared(message)
            .hint("start a replica there, or leave --url away and use --local DIR, which needs none"),
    }
}
