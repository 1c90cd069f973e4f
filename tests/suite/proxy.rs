//! A canister that forwards calls, so that the service's caller is a canister: its calls pass `inspect_message` by, and
//! can carry cycles.

use ic_nn_host::{Canister, CanisterSettings, InstallMode, Reject, Replica};
use ic_nn_tests::service::controller;
use ic_nn_types::Error;

const PROXY: &str = include_str!("../fixtures/proxy.wat");

/// The deployed canister.
pub struct Proxy<'a> {
    replica: &'a dyn Replica,
    /// Its id, which is who the service sees.
    pub canister: Canister,
}

impl<'a> Proxy<'a> {
    pub fn deploy(replica: &'a dyn Replica) -> Self {
        let canister = replica.create_canister(controller(), CanisterSettings::default());
        let wasm = wat::parse_str(PROXY).expect("the proxy assembles");
        replica.install(canister, controller(), InstallMode::Install, &wasm, &[]).expect("it installs");
        Proxy { replica, canister }
    }

    pub fn forward(&self, to: Canister, method: &str, arg: &[u8]) -> Result<Vec<u8>, Reject> {
        self.replica.update(self.canister, controller(), "forward", &call(to, method, arg))
    }

    pub fn forward_paying(
        &self,
        cycles: u128,
        to: Canister,
        method: &str,
        arg: &[u8],
    ) -> Result<Vec<u8>, Reject> {
        let call = [&cycles.to_le_bytes()[..], &call(to, method, arg)].concat();
        self.replica.update(self.canister, controller(), "forward_paying", &call)
    }
}

fn call(to: Canister, method: &str, arg: &[u8]) -> Vec<u8> {
    let (id, name) = (to.as_slice(), method.as_bytes());
    [&[id.len() as u8], id, &[name.len() as u8], name, arg].concat()
}

/// The error in a reply, which has to be one, whatever the value's type.
#[track_caller]
pub fn error_of(reply: &[u8]) -> Error {
    candid::decode_one::<Result<candid::Reserved, Error>>(reply).expect("a result").expect_err("an error")
}
