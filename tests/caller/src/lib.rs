//! INTERFACE.md's example for ic-cdk, as a canister. Nothing else belongs here: a test installs it beside the service.

include!(concat!(env!("OUT_DIR"), "/ic_cdk.rs"));
