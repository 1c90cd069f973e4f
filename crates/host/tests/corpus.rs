//! The embedded host answers and charges what a real replica was recorded to.

#[path = "corpus/mod.rs"]
mod corpus;

use std::path::Path;

use candid::Principal;
use corpus::Recorded;
use ic_nn_host::{Canister, CanisterSettings, Host, Reject};

impl Recorded for Host {
    fn create_with_cycles(&self, sender: Principal, settings: CanisterSettings, cycles: u128) -> Canister {
        Host::create_with_cycles(self, sender, settings, cycles)
    }

    fn uninstall(&self, canister: Canister, sender: Principal) -> Result<(), Reject> {
        Host::uninstall(self, canister, sender)
    }
}

fn replay(suite: &str) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/replica");
    corpus::replay(&fixtures, suite, &|| Box::new(Host::new().expect("a host")));
}

macro_rules! suites {
    ($($suite:ident)*) => {
        $(
            #[test]
            fn $suite() {
                replay(stringify!($suite));
            }
        )*
    };
}

suites! {
    calls
    lifecycle
    limits
    limits_modules
    meter
    meter_install
    meter_ops
    meter_trap
    nan
    sysapi
    sysapi_ctx_raw
    sysapi_imports
}
