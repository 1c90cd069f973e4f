//! The endpoints' types are those of `candid/ic_nn.did`: taken from the functions themselves, compared structurally.

use std::collections::BTreeSet;
use std::future::Future;

use candid::types::internal::TypeContainer;
use candid::types::{Function, Type, TypeEnv, TypeInner, subtype};
use candid::{CandidType, Principal};
use candid_parser::IDLProg;
use ic_nn_types::*;

use crate::wire::Arg;

mod released;

const DID: &str = include_str!("../../../../candid/ic_nn.did");

/// A type, put into a container of named types.
type Named = fn(&mut TypeContainer) -> Type;

struct Signature {
    name: &'static str,
    args: Vec<Named>,
    ret: Named,
}

fn sync<A: CandidType, R: CandidType>(name: &'static str, _: fn(Arg<A>) -> R) -> Signature {
    Signature { name, args: vec![TypeContainer::add::<A>], ret: TypeContainer::add::<R> }
}

fn later<A: CandidType, R: CandidType, F: Future<Output = R>>(
    name: &'static str,
    _: fn(Arg<A>) -> F,
) -> Signature {
    Signature { name, args: vec![TypeContainer::add::<A>], ret: TypeContainer::add::<R> }
}

fn bare<R: CandidType>(name: &'static str, _: fn() -> R) -> Signature {
    Signature { name, args: vec![], ret: TypeContainer::add::<R> }
}

/// Several arguments, which come as a tuple.
trait Arguments {
    fn types() -> Vec<Named>;
}

macro_rules! arguments {
    ($($t:ident)+) => {
        impl<$($t: CandidType),+> Arguments for ($($t,)+) {
            fn types() -> Vec<Named> {
                vec![$(TypeContainer::add::<$t>),+]
            }
        }
    };
}
arguments!(A B);
arguments!(A B C);
arguments!(A B C D);

fn sync_all<A: Arguments, R: CandidType>(name: &'static str, _: fn(Arg<A>) -> R) -> Signature {
    Signature { name, args: A::types(), ret: TypeContainer::add::<R> }
}

fn later_all<A: Arguments, R: CandidType, F: Future<Output = R>>(
    name: &'static str,
    _: fn(Arg<A>) -> F,
) -> Signature {
    Signature { name, args: A::types(), ret: TypeContainer::add::<R> }
}

fn signatures() -> Vec<Signature> {
    use super::{
        access, accuracy, contexts, estimate, graphs, inference, jobs, memory, properties, registry, server,
        uploads,
    };
    vec![
        later("upload_begin", uploads::upload_begin),
        sync("upload_chunk", uploads::upload_chunk),
        sync("upload_status", uploads::upload_status),
        later("upload_commit", uploads::upload_commit),
        sync("upload_abort", uploads::upload_abort),
        sync("append_chunk", uploads::append_chunk),
        sync_all("append_parallel_chunk", uploads::append_parallel_chunk),
        sync("list", registry::list),
        sync("repository_index", registry::repository_index),
        sync("describe", registry::describe),
        later("delete", registry::delete),
        later_all("set_label", registry::set_label),
        sync_all("remove_label", registry::remove_label),
        later_all("set_version_policy", registry::set_version_policy),
        sync("version_policy", registry::version_policy),
        sync("retire", registry::retire),
        sync("restore", registry::restore),
        later_all("load", graphs::load),
        later("load_by_name", graphs::load_by_name),
        sync("describe_graph", graphs::describe_graph),
        sync("list_properties", properties::list_properties),
        sync_all("get_property", properties::get_property),
        later_all("set_property", properties::set_property),
        sync("unload", graphs::unload),
        later_all("init_execution_context", contexts::init_execution_context),
        sync_all("set_input", contexts::set_input),
        later_all("compute", contexts::compute),
        sync_all("get_output", contexts::get_output),
        sync("finalize_execution_context", contexts::finalize_execution_context),
        later("infer", inference::infer),
        sync("infer_query", inference::infer_query),
        sync("estimate", estimate::estimate),
        later("profile", inference::profile),
        later_all("quantization_error", accuracy::quantization_error),
        later("verify_receipt", inference::verify_receipt),
        later("job_submit", jobs::job_submit),
        sync("job_status", jobs::job_status),
        sync_all("job_result", jobs::job_result),
        sync("job_cancel", jobs::job_cancel),
        sync("job_list", jobs::job_list),
        bare("server_live", server::server_live),
        bare("server_ready", server::server_ready),
        bare("server_metadata", server::server_metadata),
        bare("memory_status", memory::memory_status),
        sync("model_ready", server::model_ready),
        sync("model_metadata", server::model_metadata),
        sync("model_statistics", server::model_statistics),
        bare("capabilities", server::capabilities),
        sync("http_request", server::http_request),
        later_all("grant_role", access::grant_role),
        sync("revoke_role", access::revoke_role),
        bare("list_roles", access::list_roles),
        sync("set_access_policy", access::set_access_policy),
        sync("set_price", access::set_price),
        later_all("set_caller_quota", access::set_caller_quota),
        sync("caller_quota", access::caller_quota),
        sync("audit_log", access::audit_log),
    ]
}

fn interface() -> (TypeEnv, Type, Vec<(String, Function)>) {
    let program: IDLProg = DID.parse().expect("the interface parses");
    let mut env = TypeEnv::new();
    let actor = candid_parser::check_prog(&mut env, &program)
        .expect("the interface checks")
        .expect("it has a service");
    let methods = env.as_service(&actor).expect("a service").to_vec();
    let methods =
        methods.into_iter().map(|(name, ty)| (name, env.as_func(&ty).expect("a method").clone())).collect();
    (env, actor, methods)
}

#[test]
fn endpoints_have_the_interface_s_types() {
    let (mut env, _, methods) = interface();
    let signatures = signatures();
    let exported: BTreeSet<_> = signatures.iter().map(|s| s.name.to_owned()).collect();
    let declared: BTreeSet<_> = methods.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(exported, declared);
    for s in &signatures {
        let (_, function) = methods.iter().find(|(name, _)| name == s.name).expect("compared above");
        let declared: Vec<Type> = function.args.clone();
        assert_eq!(declared.len(), s.args.len(), "{}", s.name);
        for (declared, actual) in
            declared.iter().zip(&s.args).chain(function.rets.iter().map(|r| (r, &s.ret)))
        {
            let mut rust = TypeContainer::new();
            let actual = actual(&mut rust);
            let actual = env.merge_type(rust.env, actual);
            subtype::equal(&mut Default::default(), &env, declared, &actual)
                .unwrap_or_else(|e| panic!("{}: {e}", s.name));
        }
    }
}

#[test]
fn the_install_argument_has_the_interface_s_type() {
    let (mut env, actor, _) = interface();
    let TypeInner::Class(args, _) = actor.as_ref() else { panic!("the service takes an argument") };
    let mut rust = TypeContainer::new();
    let actual = rust.add::<Option<InitArgs>>();
    let actual = env.merge_type(rust.env, actual);
    subtype::equal(&mut Default::default(), &env, &args[0], &actual).expect("equal");
}

#[test]
fn principals_are_read_as_such() {
    let bytes = candid::encode_one(Principal::anonymous()).expect("encodes");
    assert_eq!(crate::wire::decode::<Principal>(bytes), Ok(Principal::anonymous()));
    assert_eq!(
        crate::wire::decode::<Principal>(vec![1, 2, 3]).expect_err("no Candid").code,
        ErrorCode::InvalidArgument
    );
}
