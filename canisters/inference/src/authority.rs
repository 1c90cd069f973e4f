//! Who may do what: a permission is a value that only this module makes. Each is checked before a method's first await.

use candid::Principal;
use ic_nn_types::{Access, Error, ErrorCode, Role};

use crate::state;

/// Proof that the caller may change the registry and its settings: a controller or an admin.
pub(crate) struct Admin {
    caller: Principal,
}

impl Admin {
    /// Checks the caller of this message.
    pub(crate) fn check() -> Result<Admin, Error> {
        let caller = ic_cdk::api::msg_caller();
        match Standing::of(caller) {
            Standing::Controller | Standing::Listed(Role::Admin) => Ok(Admin { caller }),
            _ => Err(refused(caller, "a controller or an admin (grant_role)")),
        }
    }

    /// Who called.
    pub(crate) fn caller(&self) -> Principal {
        self.caller
    }
}

/// Proof that the caller may upload models and load them.
pub(crate) struct Uploader {
    caller: Principal,
    admin: bool,
}

impl Uploader {
    /// Checks the caller of this message.
    pub(crate) fn check() -> Result<Uploader, Error> {
        let caller = ic_cdk::api::msg_caller();
        let admin = match Standing::of(caller) {
            Standing::Controller | Standing::Listed(Role::Admin) => true,
            Standing::Listed(Role::Uploader) => false,
            _ => return Err(refused(caller, "a controller, an admin or an uploader (grant_role)")),
        };
        Ok(Uploader { caller, admin })
    }

    /// Who called.
    pub(crate) fn caller(&self) -> Principal {
        self.caller
    }

    /// Whether the caller is an admin or a controller, whom uploads of others concern too and no quota binds.
    pub(crate) fn is_admin(&self) -> bool {
        self.admin
    }

    /// Refuses what only an admin may do.
    pub(crate) fn must_be_admin(&self, what: &str) -> Result<(), Error> {
        if self.admin {
            return Ok(());
        }
        Err(refused(self.caller, &format!("an admin: these are {what};")))
    }

    /// Refuses what is another uploader's.
    pub(crate) fn must_own(&self, uploader: Principal) -> Result<(), Error> {
        if self.admin || uploader == self.caller {
            return Ok(());
        }
        Err(refused(self.caller, &format!("its uploader {uploader} or an admin")))
    }

    /// Refuses to close a handle on another uploader's version that the caller did not open either. Who opened it is not
    /// known of handles that an older release gave.
    pub(crate) fn must_own_or_have_opened(
        &self,
        uploader: Principal,
        opener: Option<Principal>,
    ) -> Result<(), Error> {
        if self.admin || uploader == self.caller || opener == Some(self.caller) {
            return Ok(());
        }
        let opener = opener.map_or(String::new(), |opener| format!(", {opener} who opened it,"));
        Err(refused(self.caller, &format!("its model's uploader {uploader}{opener} or an admin")))
    }
}

/// Proof that the caller controls the canister.
pub(crate) struct Controller {
    caller: Principal,
}

impl Controller {
    /// Checks the caller of this message.
    pub(crate) fn check() -> Result<Controller, Error> {
        let caller = ic_cdk::api::msg_caller();
        match Standing::of(caller) {
            Standing::Controller => Ok(Controller { caller }),
            _ => Err(refused(caller, "a controller")),
        }
    }

    /// Who called.
    pub(crate) fn caller(&self) -> Principal {
        self.caller
    }
}

/// Proof that the policy lets the caller read about models.
pub(crate) struct Reader(());

impl Reader {
    /// Checks the caller of this message.
    pub(crate) fn check() -> Result<Reader, Error> {
        admitted(state::store(|s| s.policy().read), "read").map(|_| Reader(()))
    }
}

/// Proof that the policy lets the caller ask by query.
pub(crate) struct Querier {
    caller: Principal,
}

impl Querier {
    /// Checks the caller of this message.
    pub(crate) fn check() -> Result<Querier, Error> {
        admitted(state::store(|s| s.policy().query), "query").map(|caller| Querier { caller })
    }

    /// Who called.
    pub(crate) fn caller(&self) -> Principal {
        self.caller
    }
}

/// Proof that the caller may let the canister burn cycles on inferences: by the policy, within its quota, or for the price.
pub(crate) struct Spender {
    caller: Principal,
    price: u128,
    unlimited: bool,
}

impl Spender {
    /// Checks the caller of this message, and that the cycles of its price are attached where it has to pay.
    pub(crate) fn check() -> Result<Spender, Error> {
        let caller = ic_cdk::api::msg_caller();
        let standing = Standing::of(caller);
        let unlimited = matches!(standing, Standing::Controller | Standing::Listed(Role::Admin));
        let admitted = standing.is_admitted(state::store(|s| s.policy().infer), caller);
        if admitted {
            let now = ic_cdk::api::time();
            if !unlimited && state::store(|s| s.allowance(caller, now)) == Some(0) {
                return Err(spent(caller));
            }
            return Ok(Spender { caller, price: 0, unlimited });
        }
        let Some(price) = state::store(|s| s.cycles_per_call()) else {
            return Err(refused(caller, "who is listed (grant_role)"));
        };
        let attached = ic_cdk::api::msg_cycles_available();
        if attached < price {
            return Err(refused(
                caller,
                &format!(
                    "who is listed (grant_role) or a canister that attaches {price} cycles, {attached} came,"
                ),
            ));
        }
        Ok(Spender { caller, price, unlimited: true })
    }

    /// The same proof of a job's owner, which was given when it was submitted; errors where the day's instructions are spent.
    pub(crate) fn of_job(owner: Principal, unlimited: bool) -> Result<Spender, Error> {
        if !unlimited && state::store(|s| s.allowance(owner, ic_cdk::api::time())) == Some(0) {
            return Err(spent(owner));
        }
        Ok(Spender { caller: owner, price: 0, unlimited })
    }

    /// Takes the price. To be called when the work begins: nothing comes back from then on.
    pub(crate) fn pay(&self) {
        if self.price > 0 {
            ic_cdk::api::msg_cycles_accept(self.price);
        }
    }

    /// Counts instructions against the caller's day.
    pub(crate) fn spent(&self, instructions: u64) {
        if !self.unlimited {
            state::store(|s| s.charge(self.caller, ic_cdk::api::time(), instructions));
        }
    }

    /// Who called.
    pub(crate) fn caller(&self) -> Principal {
        self.caller
    }

    /// Whether the caller is an admin or a controller.
    pub(crate) fn is_unlimited(&self) -> bool {
        self.unlimited
    }
}

fn spent(caller: Principal) -> Error {
    Error::too_large(format!(
        "{caller} has spent its instructions of today (caller_quota); there are new ones at midnight UTC"
    ))
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

/// Whether ingress of the caller could pass [`Spender::check`]: it carries no cycles, so only the policy counts.
pub(crate) fn may_spend() -> bool {
    admitted(state::store(|s| s.policy().infer), "infer").is_ok()
}

/// What a principal is here.
enum Standing {
    Controller,
    Listed(Role),
    Unknown,
}

impl Standing {
    fn of(caller: Principal) -> Standing {
        if ic_cdk::api::is_controller(&caller) {
            return Standing::Controller;
        }
        state::store(|s| s.role(caller)).map_or(Standing::Unknown, Standing::Listed)
    }

    fn is_admitted(&self, access: Access, caller: Principal) -> bool {
        match access {
            Access::Anyone => true,
            Access::Authenticated => caller != Principal::anonymous(),
            Access::Listed => !matches!(self, Standing::Unknown),
        }
    }
}

fn admitted(access: Access, family: &str) -> Result<Principal, Error> {
    let caller = ic_cdk::api::msg_caller();
    if Standing::of(caller).is_admitted(access, caller) {
        return Ok(caller);
    }
    let who = match access {
        Access::Authenticated => "everyone but the anonymous principal",
        _ => "who is listed (grant_role)",
    };
    Err(refused(caller, &format!("by the policy `{family}` {who}")))
}

fn refused(caller: Principal, who: &str) -> Error {
    Error::new(ErrorCode::Security, format!("{caller} may not do this; {who} may"))
}
