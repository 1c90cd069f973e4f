//! Who may do what: a permission is a value that only this module makes.

use candid::Principal;
use ic_nn_types::{Error, ErrorCode};

use crate::state;

/// Proof that the caller may change the registry: a controller, or an admin that a controller named.
pub(crate) struct Admin {
    caller: Principal,
}

impl Admin {
    /// Checks the caller of this message. To be called before the first await.
    pub(crate) fn check() -> Result<Admin, Error> {
        let caller = ic_cdk::api::msg_caller();
        if state::store(|s| s.is_admin(caller)) || ic_cdk::api::is_controller(&caller) {
            Ok(Admin { caller })
        } else {
            Err(refused(caller, "a controller or an admin (add_admin)"))
        }
    }

    /// Who called.
    pub(crate) fn caller(&self) -> Principal {
        self.caller
    }
}

/// Proof that the caller controls the canister.
pub(crate) struct Controller(());

impl Controller {
    /// Checks the caller of this message.
    pub(crate) fn check() -> Result<Controller, Error> {
        let caller = ic_cdk::api::msg_caller();
        if ic_cdk::api::is_controller(&caller) {
            Ok(Controller(()))
        } else {
            Err(refused(caller, "a controller"))
        }
    }
}

/// Proof that the canister called itself.
pub(crate) struct Itself(());

impl Itself {
    /// Checks the caller of this message.
    pub(crate) fn check() -> Result<Itself, Error> {
        let caller = ic_cdk::api::msg_caller();
        if caller == ic_cdk::api::canister_self() {
            Ok(Itself(()))
        } else {
            Err(refused(caller, "this canister itself"))
        }
    }
}

fn refused(caller: Principal, who: &str) -> Error {
    Error::new(ErrorCode::Security, format!("{caller} may not do this; {who} may"))
}
