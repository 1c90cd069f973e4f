//! The System API as modules may import it.
//!
//! Owns names and signatures (wasm32). What a call does is no concern of this module.

use wasmparser::{TypeRef, ValType};

use super::InvalidModule;
use super::module::Sections;

use ValType::{I32, I64};

/// The module every System API function is imported from.
const SYSTEM_API: &str = "ic0";

/// Name, parameters, results.
const FUNCTIONS: &[(&str, &[ValType], &[ValType])] = &[
    ("msg_arg_data_size", &[], &[I32]),
    ("msg_arg_data_copy", &[I32, I32, I32], &[]),
    ("msg_caller_size", &[], &[I32]),
    ("msg_caller_copy", &[I32, I32, I32], &[]),
    ("msg_reply", &[], &[]),
    ("msg_reply_data_append", &[I32, I32], &[]),
    ("msg_reject", &[I32, I32], &[]),
    ("msg_reject_code", &[], &[I32]),
    ("msg_reject_msg_size", &[], &[I32]),
    ("msg_reject_msg_copy", &[I32, I32, I32], &[]),
    ("msg_deadline", &[], &[I64]),
    ("msg_cycles_available128", &[I32], &[]),
    ("msg_cycles_refunded128", &[I32], &[]),
    ("msg_cycles_accept128", &[I64, I64, I32], &[]),
    ("canister_self_size", &[], &[I32]),
    ("canister_self_copy", &[I32, I32, I32], &[]),
    ("canister_cycle_balance128", &[I32], &[]),
    ("canister_liquid_cycle_balance128", &[I32], &[]),
    ("canister_status", &[], &[I32]),
    ("canister_version", &[], &[I64]),
    ("msg_method_name_size", &[], &[I32]),
    ("msg_method_name_copy", &[I32, I32, I32], &[]),
    ("accept_message", &[], &[]),
    ("call_new", &[I32, I32, I32, I32, I32, I32, I32, I32], &[]),
    ("call_on_cleanup", &[I32, I32], &[]),
    ("call_data_append", &[I32, I32], &[]),
    ("call_cycles_add128", &[I64, I64], &[]),
    ("call_cycles_add", &[I64], &[]),
    ("call_with_best_effort_response", &[I32], &[]),
    ("call_perform", &[], &[I32]),
    ("stable64_size", &[], &[I64]),
    ("stable64_grow", &[I64], &[I64]),
    ("stable64_read", &[I64, I64, I64], &[]),
    ("stable64_write", &[I64, I64, I64], &[]),
    ("stable_size", &[], &[I32]),
    ("stable_grow", &[I32], &[I32]),
    ("stable_read", &[I32, I32, I32], &[]),
    ("stable_write", &[I32, I32, I32], &[]),
    ("certified_data_set", &[I32, I32], &[]),
    ("data_certificate_present", &[], &[I32]),
    ("data_certificate_size", &[], &[I32]),
    ("data_certificate_copy", &[I32, I32, I32], &[]),
    ("time", &[], &[I64]),
    ("global_timer_set", &[I64], &[I64]),
    ("performance_counter", &[I32], &[I64]),
    ("is_controller", &[I32, I32], &[I32]),
    ("in_replicated_execution", &[], &[I32]),
    ("cost_call", &[I64, I64, I32], &[]),
    ("cost_create_canister", &[I32], &[]),
    ("cost_http_request", &[I64, I64, I32], &[]),
    ("cost_sign_with_ecdsa", &[I32, I32, I32, I32], &[I32]),
    ("cost_sign_with_schnorr", &[I32, I32, I32, I32], &[I32]),
    ("cost_vetkd_derive_key", &[I32, I32, I32, I32], &[I32]),
    ("env_var_count", &[], &[I32]),
    ("env_var_name_size", &[I32], &[I32]),
    ("env_var_name_copy", &[I32, I32, I32, I32], &[]),
    ("env_var_name_exists", &[I32, I32], &[I32]),
    ("env_var_value_size", &[I32, I32], &[I32]),
    ("env_var_value_copy", &[I32, I32, I32, I32, I32], &[]),
    ("root_key_size", &[], &[I32]),
    ("root_key_copy", &[I32, I32, I32], &[]),
    ("subnet_self_size", &[], &[I32]),
    ("subnet_self_copy", &[I32, I32, I32], &[]),
    ("debug_print", &[I32, I32], &[]),
    ("trap", &[I32, I32], &[]),
    ("cycles_burn128", &[I64, I64, I32], &[]),
    ("mint_cycles128", &[I64, I64, I32], &[]),
    ("msg_cycles_available", &[], &[I64]),
    ("msg_cycles_refunded", &[], &[I64]),
    ("msg_cycles_accept", &[I64], &[I64]),
    ("canister_cycle_balance", &[], &[I64]),
];

/// Checks that everything a module imports is there, with the types it is imported with.
pub(super) fn check(module: &Sections<'_>) -> Result<(), InvalidModule> {
    for import in &module.imports {
        match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                let Some((name, params, results)) = FUNCTIONS.iter().find(|(name, ..)| *name == import.name)
                else {
                    return Err(InvalidModule::Import(format!(
                        "Module imports function '{}' from '{}' that is not exported by the runtime.",
                        import.name, import.module
                    )));
                };
                if import.module != SYSTEM_API {
                    return Err(InvalidModule::Import(format!(
                        "Module imports function {:?} from {:?}, expected to be imported from one of [{SYSTEM_API:?}] \
                         instead.",
                        import.name, import.module
                    )));
                }
                module.check_signature(name, ty, params, results)?;
            }
            TypeRef::Table(_) if import.name == "table" && import.module != "env" => {
                return Err(InvalidModule::Import("Only tables imported from env.table are allowed.".into()));
            }
            TypeRef::Memory(_) if import.name == "memory" && import.module != "env" => {
                return Err(InvalidModule::Import("Only memory imported from env.memory is allowed.".into()));
            }
            TypeRef::Table(_) | TypeRef::Memory(_) => {}
            TypeRef::Global(_) => {
                return Err(InvalidModule::Import("Importing globals is not allowed.".into()));
            }
            TypeRef::Tag(_) => return Err(InvalidModule::Import("Importing tags is not allowed.".into())),
        }
    }
    Ok(())
}
