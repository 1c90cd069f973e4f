//! The endpoints' types are those of `candid/ic_nn.did`: taken from the functions themselves, compared structurally.

use std::collections::BTreeSet;
use std::future::Future;

use candid::types::internal::TypeContainer;
use candid::types::{Function, Type, TypeEnv, TypeInner, subtype};
use candid::{CandidType, Principal};
use candid_parser::IDLProg;
use ic_nn_types::*;

use crate::wire::Arg;

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

fn signatures() -> Vec<Signature> {
    use super::{graphs, inference, registry, server, uploads};
    vec![
        later("upload_begin", uploads::upload_begin),
        sync("upload_chunk", uploads::upload_chunk),
        sync("upload_status", uploads::upload_status),
        later("upload_commit", uploads::upload_commit),
        sync("upload_abort", uploads::upload_abort),
        sync("list", registry::list),
        sync("describe", registry::describe),
        sync("delete", registry::delete),
        later("load_by_name", graphs::load_by_name),
        sync("unload", graphs::unload),
        later("infer", inference::infer),
        sync("infer_query", inference::infer_query),
        bare("server_metadata", server::server_metadata),
        sync("add_admin", server::add_admin),
        sync("remove_admin", server::remove_admin),
        bare("list_admins", server::list_admins),
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
        for (declared, actual) in declared.iter().zip(&s.args).chain([(&function.rets[0], &s.ret)]) {
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
