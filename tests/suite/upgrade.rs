//! Upgrades: what was acknowledged is there afterwards, with equal bytes, and graphs that were loaded come back.

use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx;
use ic_nn_tests::service::{Service, repository, stranger};
use ic_nn_types::{ModelState, Role, Tensor};

#[test]
fn models_answer_again_with_equal_bytes() {
    let digits = std::fs::read(repository("models/digits.onnx")).expect("the model is committed");
    on_every_runtime("upgrade", |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        service.serve("digits", &digits);
        service.upload("add", &onnx::add()).expect("it is accepted");
        caller.grant_role(stranger(), Role::Admin).expect("a controller names admins");
        let pixels: Vec<f32> = (0..64).map(|i| (i % 9) as f32 / 8.0).collect();
        let ask =
            || service.ask("digits", vec![("image".into(), Tensor::from_f32(vec![1, 1, 8, 8], &pixels))]);
        let before = (caller.describe("digits"), caller.list_roles(), ask());
        let before_add = caller.describe("add");
        assert!(before.2.is_ok());
        service.upgrade();
        assert_eq!(ask(), before.2, "right after the upgrade, the graph not yet back");
        for _ in 0..10 {
            replica.tick();
        }
        assert_eq!((caller.describe("digits"), caller.list_roles(), ask()), before);
        assert_eq!(caller.describe("add"), before_add);
        let states: Vec<_> =
            caller.list_all().expect("a list").into_iter().map(|m| (m.name, m.state)).collect();
        assert_eq!(
            states,
            [("add".into(), Some(ModelState::Available)), ("digits".into(), Some(ModelState::Loaded))],
            "what was loaded came back by itself"
        );
    });
}
