//! Roles, policies, prices, quotas and the audit log: who may do what, for what, and that it is written down.

use std::time::Duration;

use candid::{Encode, Principal};
use ic_nn_client::ClientError;
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, element};
use ic_nn_tests::service::{Service, principal, refused, request, stranger};
use ic_nn_types::{
    Access, AccessPolicy, AuditRequest, DeleteRequest, Error, ErrorCode, InferRequest, InferResponse,
    InitArgs, ListRequest, Price, Role, RoleEntry, Tensor,
};

use crate::proxy::{Proxy, error_of};

fn sum() -> InferRequest {
    let row = || Tensor::from_f32(vec![1, 3], &[1.0, 2.0, 3.0]);
    request("add", vec![("left".into(), row()), ("right".into(), row())])
}

/// Holds a call to having been dropped before the canister saw it.
#[track_caller]
fn dropped<T: std::fmt::Debug>(result: Result<T, ClientError>) {
    assert!(matches!(result, Err(ClientError::Call { .. })), "dropped ingress is expected, {result:?} came");
}

#[test]
fn controllers_name_admins_and_admins_the_others() {
    on_every_runtime("roles", |replica| {
        let service = Service::deploy(replica, None);
        let controller = service.controller();
        assert_eq!(controller.list_roles(), Ok(vec![]));
        let admin = service.grant(stranger(), Role::Admin);
        refused(
            controller.grant_role(Principal::anonymous(), Role::Caller),
            ErrorCode::InvalidArgument,
            &["anonymous"],
        );
        admin.grant_role(principal(1), Role::Uploader).expect("an admin names uploaders");
        admin.grant_role(principal(2), Role::Caller).expect("an admin names callers");
        let mut roles = admin.list_roles().expect("an admin sees them");
        roles.sort_by_key(|r| r.role);
        let entry = |principal, role| RoleEntry { principal, role };
        assert_eq!(
            roles,
            [
                entry(stranger(), Role::Admin),
                entry(principal(1), Role::Uploader),
                entry(principal(2), Role::Caller)
            ]
        );
        refused(admin.grant_role(principal(3), Role::Admin), ErrorCode::Security, &["a controller"]);
        service.grant(principal(4), Role::Admin);
        refused(admin.revoke_role(principal(4)), ErrorCode::Security, &["is an admin"]);
        refused(admin.grant_role(principal(4), Role::Caller), ErrorCode::Security, &["is an admin"]);
        admin.revoke_role(principal(2)).expect("an admin takes them back");
        refused(admin.revoke_role(principal(2)), ErrorCode::NotFound, &[&principal(2).to_text()]);
        controller.revoke_role(stranger()).expect("a controller takes any role back");
        dropped(admin.upload_begin(&ic_nn_tests::service::spec("m", &onnx::add())));
    });
}

#[test]
fn admins_named_at_install_are_admins() {
    on_every_runtime("named admins", |replica| {
        let args = InitArgs { admins: Some(vec![stranger()]), ..Default::default() };
        let service = Service::deploy(replica, Some(args));
        let admin = service.caller(stranger());
        admin.upload("add", &onnx::add(), &mut |_| {}).expect("an admin uploads");
        admin.load_by_name("add").expect("an admin loads");
        admin.infer(&sum()).expect("an admin infers");
    });
}

#[test]
fn an_uploader_has_its_own_models_and_no_others() {
    on_every_runtime("uploaders", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("other", &onnx::lookup());
        let uploader = service.grant(stranger(), Role::Uploader);
        let version = uploader.upload("add", &onnx::add(), &mut |_| {}).expect("an uploader uploads");
        let graph = uploader.load_by_name("add").expect("and loads");
        uploader.set_property(graph, "cache", Some("3")).expect("and sets what is its own");
        uploader.set_label("add:1", "stable").expect("and labels it");
        let theirs = service.controller().describe("other").expect("it is there");
        let code = ErrorCode::Security;
        let delete = DeleteRequest { model: "other:1".into(), sha256: theirs.sha256 };
        refused(uploader.delete(&delete), code, &["its uploader"]);
        refused(uploader.set_label("other:1", "mine"), code, &["its uploader"]);
        refused(uploader.retire("other:1"), code, &["its uploader"]);
        refused(uploader.restore("other:1"), code, &["its uploader"]);
        let handle = theirs.graph.expect("it is loaded");
        refused(uploader.set_property(handle, "cache", Some("3")), code, &["its uploader"]);
        dropped(uploader.set_version_policy("add", &ic_nn_types::VersionPolicy::All));
        dropped(uploader.grant_role(principal(1), Role::Caller));
        dropped(uploader.set_price(&Price::default()));
        let delete = DeleteRequest { model: "add".into(), sha256: version.sha256 };
        assert_eq!(uploader.delete(&delete), Ok(1), "its own it may delete");
        service.controller().describe("other").expect("the other model is untouched");
    });
}

#[test]
fn an_uploader_holds_no_more_bytes_than_it_may() {
    on_every_runtime("bytes of an uploader", |replica| {
        let args = InitArgs { max_bytes_per_uploader: Some(200_000), ..Default::default() };
        let service = Service::deploy(replica, Some(args));
        let uploader = service.grant(stranger(), Role::Uploader);
        let spec = |bytes| ic_nn_types::UploadSpec {
            bytes,
            ..ic_nn_tests::service::spec("m", &onnx::echo(element::FLOAT, &[Dim::Is(1)]))
        };
        uploader.upload_begin(&spec(131_072)).expect("within its bytes");
        refused(uploader.upload_begin(&spec(65_537)), ErrorCode::TooLarge, &["max_bytes_per_uploader"]);
        service.controller().upload_begin(&spec(600)).expect("controllers are not bound by it");
    });
}

#[test]
fn a_caller_infers_and_nothing_more() {
    on_every_runtime("callers", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("add", &onnx::add());
        let caller = service.grant(stranger(), Role::Caller);
        let outputs = caller.infer(&sum()).expect("a caller infers").outputs;
        assert_eq!(outputs[0].1.to_f32(), Some(vec![2.0, 4.0, 6.0]));
        let graph = caller.describe("add").expect("it is told").graph.expect("it is loaded");
        let context = caller.init_execution_context(graph).expect("a caller opens contexts");
        assert_eq!(caller.compute(context, &sum().inputs, None).expect("it computes"), outputs);
        caller.finalize_execution_context(context).expect("it closes them");
        dropped(caller.upload("m", &onnx::add(), &mut |_| {}));
        dropped(caller.load_by_name("add"));
        dropped(caller.unload(graph));
        dropped(caller.set_label("add:1", "x"));
    });
}

#[test]
fn unless_set_otherwise_anyone_reads_and_queries_and_who_is_listed_infers() {
    on_every_runtime("policy", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("add", &onnx::add());
        let (anonymous, someone) = (service.caller(Principal::anonymous()), service.caller(stranger()));
        for caller in [&anonymous, &someone] {
            caller.infer_query(&sum()).expect("anyone queries");
            caller.describe("add").expect("anyone reads");
            caller.list(&ListRequest::default()).expect("anyone reads");
            caller.server_metadata().expect("anyone reads");
            dropped(caller.infer(&sum()));
        }
        let (anyone, authenticated, listed) = (Access::Anyone, Access::Authenticated, Access::Listed);
        let controller = service.controller();
        let policy = AccessPolicy { read: anyone, query: anyone, infer: anyone };
        controller.set_access_policy(&policy).expect("it is set");
        anonymous.infer(&sum()).expect("now anyone infers");
        let policy = AccessPolicy { read: listed, query: authenticated, infer: authenticated };
        controller.set_access_policy(&policy).expect("it is set");
        assert_eq!(controller.capabilities().expect("it is told").policy, policy);
        dropped(anonymous.infer(&sum()));
        refused(anonymous.infer_query(&sum()), ErrorCode::Security, &["query", "anonymous"]);
        someone.infer(&sum()).expect("who is not anonymous infers");
        someone.infer_query(&sum()).expect("and queries");
        refused(someone.describe("add"), ErrorCode::Security, &["read", "listed"]);
        refused(someone.list(&ListRequest::default()), ErrorCode::Security, &["read"]);
        service.upgrade();
        assert_eq!(controller.capabilities().expect("it is told").policy, policy, "it survives an upgrade");
    });
}

#[test]
fn a_canister_that_is_not_listed_pays_its_way_in() {
    const PRICE: u128 = 1_000_000_000_000;
    on_every_runtime("price", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("add", &onnx::add());
        let proxy = Proxy::deploy(replica);
        let arg = Encode!(&sum()).expect("it encodes");
        let paying = |cycles| proxy.forward_paying(cycles, service.canister, "infer", &arg).expect("a reply");
        let error = error_of(&paying(3 * PRICE));
        assert_eq!(error.code, ErrorCode::Security, "where there is no price nobody can pay: {error}");
        let price = Price { cycles_per_call: Some(PRICE.into()) };
        service.controller().set_price(&price).expect("it is set");
        assert_eq!(service.controller().capabilities().expect("it is told").price, price);
        for too_little in [0, PRICE - 1] {
            let error = error_of(&paying(too_little));
            assert_eq!(error.code, ErrorCode::Security, "{error}");
            assert!(error.data.contains(&PRICE.to_string()), "the price is told: {error}");
        }
        let before = replica.cycles(proxy.canister);
        let reply = candid::decode_one::<Result<InferResponse, Error>>(&paying(3 * PRICE));
        let answer = reply.expect("a result").expect("it has paid");
        assert_eq!(answer.outputs[0].1.to_f32(), Some(vec![2.0, 4.0, 6.0]));
        let paid = before - replica.cycles(proxy.canister);
        assert!((PRICE..PRICE + PRICE / 2).contains(&paid), "the price, its call's fees and no more: {paid}");
        dropped(service.caller(stranger()).infer(&sum()));
        let free = Price { cycles_per_call: None };
        service.controller().set_price(&free).expect("it is taken away");
        assert_eq!(error_of(&paying(3 * PRICE)).code, ErrorCode::Security);
    });
}

#[test]
fn a_listed_canister_pays_nothing() {
    on_every_runtime("listed canister", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("add", &onnx::add());
        let price = Price { cycles_per_call: Some(1_000_000u64.into()) };
        service.controller().set_price(&price).expect("it is set");
        let proxy = Proxy::deploy(replica);
        service.controller().grant_role(proxy.canister, Role::Caller).expect("canisters have roles too");
        let arg = Encode!(&sum()).expect("it encodes");
        let reply = proxy.forward(service.canister, "infer", &arg).expect("a reply");
        let reply = candid::decode_one::<Result<InferResponse, Error>>(&reply);
        reply.expect("a result").expect("it is listed");
    });
}

#[test]
fn a_day_s_instructions_run_out_and_come_back() {
    on_every_runtime("quota", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("add", &onnx::add());
        let controller = service.controller();
        let caller = service.grant(stranger(), Role::Caller);
        controller.set_caller_quota(stranger(), Some(1)).expect("it is set");
        assert_eq!(caller.caller_quota(stranger()).expect("it is told").spent_today, 0);
        caller.infer(&sum()).expect("there is one instruction left, so the first call goes");
        let quota = caller.caller_quota(stranger()).expect("it is told");
        assert!(quota.instructions_per_day == Some(1) && quota.spent_today > 1_000, "{quota:?}");
        // Ingress may be dropped as well; what is said is said where it is not.
        let error = refused(caller.infer(&sum()), ErrorCode::TooLarge, &[&stranger().to_text()]);
        assert!(error.data.contains("midnight"), "it tells when it goes on: {error}");
        caller.infer_query(&sum()).expect("queries are not counted");
        replica.advance_time(Duration::from_secs(24 * 3_600));
        replica.tick();
        assert_eq!(caller.caller_quota(stranger()).expect("it is told").spent_today, 0, "a new day");
        caller.infer(&sum()).expect("it goes on the next day");
        controller.set_caller_quota(stranger(), None).expect("its own quota goes");
        caller.infer(&sum()).expect("the settings have no limit");
        assert_eq!(caller.caller_quota(stranger()).expect("it is told").instructions_per_day, None);
        controller.infer(&sum()).expect("no quota binds a controller");
    });
}

#[test]
fn the_quota_of_the_settings_binds_callers() {
    on_every_runtime("quota of the settings", |replica| {
        let args = InitArgs { instructions_per_caller_and_day: Some(1), ..Default::default() };
        let service = Service::deploy(replica, Some(args));
        service.serve("add", &onnx::add());
        let caller = service.grant(stranger(), Role::Caller);
        caller.infer(&sum()).expect("the first goes");
        refused(caller.infer(&sum()), ErrorCode::TooLarge, &["midnight"]);
        service.grant(principal(1), Role::Caller).infer(&sum()).expect("another caller has its own day");
    });
}

#[test]
fn what_was_done_and_tried_is_written_down() {
    on_every_runtime("audit", |replica| {
        let service = Service::deploy(replica, None);
        let controller = service.controller();
        let admin = service.grant(stranger(), Role::Admin);
        admin.upload("add", &onnx::add(), &mut |_| {}).expect("an admin uploads");
        refused(admin.load_by_name("sub"), ErrorCode::NotFound, &["sub"]);
        refused(admin.set_label("add:1", "latest"), ErrorCode::InvalidArgument, &["latest"]);
        let page = admin.audit_log(&AuditRequest::default()).expect("an admin reads it");
        let lines: Vec<_> = page.entries.iter().map(|e| (e.caller, e.method.as_str())).collect();
        let us = ic_nn_tests::service::controller();
        for line in [(us, "grant_role"), (stranger(), "upload_commit"), (stranger(), "set_label")] {
            assert!(lines.contains(&line), "{line:?} is missing in {lines:?}");
        }
        let commit = page.entries.iter().find(|e| e.method == "upload_commit").expect("it is there");
        assert_eq!((commit.subject.as_str(), commit.error.as_str()), ("add:1", ""));
        let label = page.entries.iter().find(|e| e.method == "set_label").expect("it is there");
        assert!(label.error.contains("invalid_argument"), "{label:?}");
        assert!(page.entries.windows(2).all(|w| w[0].sequence < w[1].sequence), "{:?}", page.entries);
        let first = controller.audit_log(&AuditRequest { after: None, limit: Some(1) }).expect("a page");
        assert_eq!(first.entries, page.entries[..1]);
        let rest = controller.audit_log(&AuditRequest { after: first.next, limit: None }).expect("a page");
        assert_eq!(rest.entries, page.entries[1..]);
        service.upgrade();
        let after = controller.audit_log(&AuditRequest::default()).expect("it is there").entries;
        assert_eq!(after[..page.entries.len()], page.entries[..], "it survives an upgrade");
    });
}
