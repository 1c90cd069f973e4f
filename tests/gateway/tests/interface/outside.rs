//! The example for ic-agent.

use candid::Principal;
use ic_agent::Agent;
use ic_agent::identity::BasicIdentity;
use ic_nn_gateway::{Calls, Deployment};

/// The block itself.
mod block {
    include!(concat!(env!("OUT_DIR"), "/ic_agent.rs"));

    pub async fn run(agent: &ic_agent::Agent, ic_nn: Principal) -> anyhow::Result<Vec<f32>> {
        classify(agent, ic_nn).await
    }
}

#[test]
fn ic_agent_classifies() {
    let deployment = Deployment::new(Calls::Awaited);
    super::owner(&deployment).upload("digits", &super::digits(), &mut |_| {}).expect("the model is accepted");
    let identity = BasicIdentity::from_pem_file(deployment.identity("owner")).expect("a key");
    let agent = Agent::builder().with_url(deployment.gateway.url()).with_identity(identity).build();
    let agent = agent.expect("an agent");
    let canister: Principal = deployment.canister;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let probabilities = runtime.block_on(async {
        agent.fetch_root_key().await.expect("the gateway gives its key");
        block::run(&agent, canister).await.expect("the example succeeds")
    });
    assert_eq!(probabilities.len(), 10);
    assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-3, "{probabilities:?}");
}
