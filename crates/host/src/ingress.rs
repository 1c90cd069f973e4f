//! What users send: the checks before a message is let in.
//!
//! Owns admission: a message that is refused here costs its canister nothing. What was let in is paid for and executed in
//! the next round.

use candid::Principal;

use crate::canister::{Call, Origin, Status};
use crate::executor::Entry;
use crate::failure::{Failure, reject};
use crate::management;
use crate::message::Message;
use crate::replica::{CallId, Reject};
use crate::subnet::{fees, limits};
use crate::sysapi::Mode;
use crate::world::{Ingress, World};

/// Bytes of a message that the limit counts besides the envelope.
const AROUND_ENVELOPE: u64 = 32;
/// Bytes of a canister's id in an envelope; the management canister's is empty.
const CANISTER_ID_BYTES: u64 = 10;

impl World {
    /// Lets an update call in, or refuses it.
    pub fn submit(
        &mut self,
        target: Principal,
        sender: Principal,
        method: &str,
        arg: &[u8],
    ) -> Result<CallId, Reject> {
        let mut bytes = fees::envelope(sender, method, arg);
        if bytes + AROUND_ENVELOPE > limits::INGRESS_BYTES {
            let text = format!(
                "Message byte size {} is larger than the max allowed {}.",
                bytes + AROUND_ENVELOPE,
                limits::INGRESS_BYTES
            );
            return Err(Reject { error_code: "HTTP400".into(), ..reject(200, text) });
        }
        let payer = if target == Principal::management_canister() {
            bytes = match method {
                "update_settings" => arg.len() as u64,
                _ => bytes - CANISTER_ID_BYTES,
            };
            self.admit_for_subnet(sender, method, arg)?
        } else {
            self.admit(target, sender, method, arg)?;
            Some(target)
        };
        if let Some(payer) = payer {
            self.check_purse(payer, bytes)?;
        }
        let id = self.fresh_call();
        let call = Call {
            origin: Origin::Ingress(id),
            caller: sender,
            method: method.to_owned(),
            payload: arg.to_vec(),
            cycles: 0,
            deadline: None,
            root: Some(id),
        };
        let payer = payer.unwrap_or(Principal::management_canister());
        self.ingress.push_back(Ingress { target, payer, bytes, call });
        Ok(id)
    }

    /// Calls to the subnet have to come from a controller of the canister they are about.
    fn admit_for_subnet(
        &mut self,
        sender: Principal,
        method: &str,
        arg: &[u8],
    ) -> Result<Option<Principal>, Reject> {
        let Some(id) = management::subject(method, arg) else { return Ok(None) };
        let canister = self.canister(id)?;
        if !canister.is_controller(sender) && method != "provisional_top_up_canister" {
            return Err(reject(
                512,
                format!("Only controllers of canister {id} can call ic00 method {method}"),
            ));
        }
        Ok(Some(id))
    }

    fn check_purse(&mut self, payer: Principal, bytes: u64) -> Result<(), Reject> {
        let canister = self.canister(payer)?;
        let frozen = fees::freezing_threshold(canister.bytes(), canister.settings.freezing_seconds);
        let needed = frozen + fees::ingress(bytes);
        if canister.balance < needed {
            let text = format!(
                "Canister {payer} is out of cycles: please top up the canister with at least {} additional cycles",
                needed - canister.balance
            );
            return Err(reject(207, text));
        }
        Ok(())
    }

    fn admit(&mut self, id: Principal, sender: Principal, method: &str, arg: &[u8]) -> Result<(), Reject> {
        let time = self.time;
        let canister = self.canister(id)?;
        match canister.status {
            Status::Running => {}
            Status::Stopping => return Err(reject(509, format!("Canister {id} is not running"))),
            Status::Stopped => return Err(reject(508, format!("Canister {id} is stopped"))),
        }
        let facts = canister.facts(time, canister.balance);
        let Some(installed) = &mut canister.code else {
            return Err(reject(537, "Requested canister has no wasm module"));
        };
        let exports = &installed.executor.code().facts().exports;
        if exports.composite_query.contains(method) {
            return Err(reject(527, "Composite query cannot be called in replicated mode"));
        }
        if !exports.inspect_message {
            return Ok(());
        }
        let mut message = Message::new(Mode::InspectMessage, limits::INSPECT, facts);
        message.caller = sender;
        message.method = method.to_owned();
        message.payload = arg.to_vec();
        let ran = (installed.executor.execute(Entry::Export("canister_inspect_message"), message))
            .and_then(|ran| installed.executor.rollback().map(|()| ran))
            .map_err(|failure: Failure| failure.reject(id))?;
        ran.result.map_err(|failure| failure.reject(id))?;
        if !ran.message.effects.let_in {
            return Err(reject(406, format!("Error from Canister {id}: Canister rejected the message")));
        }
        Ok(())
    }
}
