//! What agents hold the gateway to, and what it holds them to.

use candid::{Encode, Principal};
use ic_agent::agent::RejectCode;
use ic_agent::identity::BasicIdentity;
use ic_agent::{Agent, AgentError};
use ic_nn_gateway::{Calls, Deployment};
use ic_nn_types::ListRequest;
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn agent(deployment: &Deployment, key: &str) -> Agent {
    let identity = BasicIdentity::from_pem_file(deployment.identity(key)).expect("a key");
    let builder = Agent::builder().with_url(deployment.gateway.url()).with_identity(identity);
    builder.build().expect("an agent")
}

#[test]
fn certificates_and_query_signatures_verify() {
    let deployment = Deployment::new(Calls::Awaited);
    let (agent, canister) = (agent(&deployment, "owner"), deployment.canister);
    let list = Encode!(&ListRequest::default()).expect("it encodes");
    runtime().block_on(async {
        // The agent begins with the Internet Computer's root key, which did not sign.
        let distrusted = agent.update(&canister, "list").with_arg(list.clone()).call_and_wait().await;
        assert!(matches!(distrusted, Err(AgentError::CertificateVerificationFailed())), "{distrusted:?}");
        let distrusted = agent.query(&canister, "list").with_arg(list.clone()).call().await;
        assert!(matches!(distrusted, Err(AgentError::CertificateVerificationFailed())), "{distrusted:?}");

        agent.fetch_root_key().await.expect("the gateway gives its key");
        assert_eq!(agent.read_root_key(), deployment.gateway.root_key());
        let certified = agent.update(&canister, "list").with_arg(list.clone()).call_and_wait().await;
        let asked = agent.query(&canister, "list").with_arg(list).call().await;
        assert_eq!(certified.expect("a certified answer"), asked.expect("a signed answer"));

        let subnet = agent.get_subnet_by_canister(&canister).await.expect("the subnet is certified");
        assert_eq!(subnet.id(), deployment.gateway.subnet_id());
        assert!(subnet.contains_canister(&canister));
        let again = agent.fetch_subnet_by_id(&subnet.id()).await.expect("by its id too");
        assert_eq!(again.iter_nodes().count(), 1);
    });
}

#[test]
fn a_rejected_query_is_signed_too() {
    let deployment = Deployment::new(Calls::Awaited);
    let agent = agent(&deployment, "owner");
    runtime().block_on(async {
        agent.fetch_root_key().await.expect("the gateway gives its key");
        let refused = agent.query(&deployment.canister, "no_such_method").with_arg(b"DIDL\0\0").call().await;
        let Err(AgentError::UncertifiedReject { reject, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(reject.reject_code, RejectCode::CanisterError, "{reject:?}");
        assert_eq!(reject.error_code.as_deref(), Some("IC0536"), "{reject:?}");
    });
}

#[test]
fn the_state_tree_tells_metadata_and_another_s_call_to_nobody() {
    let deployment = Deployment::new(Calls::Awaited);
    let (owner, stranger) = (agent(&deployment, "owner"), agent(&deployment, "stranger"));
    let canister = deployment.canister;
    runtime().block_on(async {
        owner.fetch_root_key().await.expect("the gateway gives its key");
        stranger.fetch_root_key().await.expect("the gateway gives its key");
        let interface = stranger.read_state_canister_metadata(canister, "candid:service").await;
        let committed = include_str!("../../../candid/ic_nn.did");
        assert_eq!(interface.expect("it is public"), committed.as_bytes());
        let none = stranger.read_state_canister_metadata(canister, "no such section").await;
        assert!(matches!(none, Err(AgentError::LookupPathAbsent(_))), "{none:?}");

        let call = owner.update(&canister, "load_by_name").with_arg(Encode!(&"digits").expect("it encodes"));
        let signed = call.sign().expect("it is signed");
        owner.update_signed(canister, signed.signed_update.clone()).await.expect("it is answered");
        // The same envelope again is the same call.
        owner.update_signed(canister, signed.signed_update).await.expect("it is answered still");
        owner.request_status_raw(&signed.request_id, canister).await.expect("its sender may ask");
        let status = stranger.request_status_raw(&signed.request_id, canister).await;
        assert!(matches!(&status, Err(AgentError::HttpError(e)) if e.status == 403), "{status:?}");
    });
}

#[test]
fn a_path_that_names_another_canister_is_refused() {
    let deployment = Deployment::new(Calls::Awaited);
    let agent = agent(&deployment, "owner");
    let other = Principal::from_slice(&[0, 0, 0, 0, 0, 99, 0, 0, 1, 1]);
    runtime().block_on(async {
        agent.fetch_root_key().await.expect("the gateway gives its key");
        let call = agent.update(&deployment.canister, "list").with_effective_canister_id(other);
        let refused = call.with_arg(b"DIDL\0\0").call_and_wait().await;
        assert!(matches!(&refused, Err(AgentError::HttpError(e)) if e.status == 400), "{refused:?}");
    });
}
