//! Roles, policy, quotas, audit log, statistics and contexts against a plain model: random sequences of operations, with
//! upgrades and trapped messages between them, on a store whose bounds are small enough to be met.
//!
//! After every step what the store answers is what the model says, and the indices have as many entries as they should.

use candid::{Nat, Principal};
use ic_nn_types::{
    Access, AccessPolicy, AuditEntry, AuditRequest, CallerQuota, InitArgs, Price, Role, RoleEntry,
};
use ic_stable_structures::VectorMemory;
use proptest::prelude::*;

use self::plain::{Counts, Plain, Version, told};
use crate::bounds::Bounds;
use crate::fixture::{dump, memories, principal, published, put_back, seeded, share};
use crate::{
    CONTEXT_IDLE_SECONDS, Lease, Memories, OpenContext, OpenContextError, Opened, QuotaError, RoleError,
    SettingsError, Store,
};

mod plain;

const NAMES: [&str; 2] = ["a", "a-b"];
const BOUNDS: Bounds = Bounds {
    roles: 5,
    callers: 4,
    audit_lines: 12,
    contexts_per_owner: 2,
    deleted_contexts: 3,
    deleted_graphs: 2,
    jobs: 6,
    jobs_per_owner: 3,
    job_bytes: 700_000,
};
const HOUR: u64 = 3_600_000_000_000;

/// A principal by number; 0 is the anonymous one.
fn who(n: u8) -> Principal {
    if n == 0 { Principal::anonymous() } else { principal(n) }
}

/// One step. A `pick` selects among what there is, or what leads nowhere.
#[derive(Debug, Clone)]
enum Step {
    Grant {
        to: u8,
        role: Role,
    },
    Revoke {
        from: u8,
    },
    RemoveAdmin {
        from: u8,
    },
    Apply {
        admins: Option<Vec<u8>>,
        contexts: Option<u32>,
        per_day: Option<u64>,
        price: Option<u8>,
    },
    Policy {
        policy: AccessPolicy,
    },
    Pass {
        hours: u64,
    },
    Charge {
        caller: u8,
        instructions: u64,
    },
    SetQuota {
        caller: u8,
        quota: Option<u64>,
    },
    ClearQuota {
        caller: u8,
    },
    Record {
        caller: u8,
        length: usize,
        error: bool,
    },
    Publish {
        name: usize,
    },
    Delete {
        pick: usize,
        at_most: usize,
    },
    OpenGraph {
        pick: usize,
    },
    CloseGraph {
        pick: usize,
    },
    Success {
        pick: usize,
        instructions: u64,
    },
    Fail {
        pick: usize,
    },
    Hit {
        pick: usize,
    },
    Open {
        pick: usize,
        owner: u8,
        controller: bool,
        session: u64,
    },
    Close {
        pick: usize,
    },
    Lapse {
        pick: usize,
    },
    CloseOf {
        pick: usize,
        at_most: usize,
    },
    Upgrade,
    /// A message that does all that and traps.
    Trap {
        steps: Vec<Step>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let trap = prop::collection::vec(message(), 1..8).prop_map(|steps| Step::Trap { steps });
    prop_oneof![30 => message(), 1 => trap]
}

fn message() -> impl Strategy<Value = Step> {
    let (p, pick) = (0u8..8, 0usize..1_000);
    let role = prop_oneof![Just(Role::Admin), Just(Role::Uploader), Just(Role::Caller)];
    let access = || prop_oneof![Just(Access::Anyone), Just(Access::Authenticated), Just(Access::Listed)];
    prop_oneof![
        4 => (p.clone(), role).prop_map(|(to, role)| Step::Grant { to, role }),
        2 => p.clone().prop_map(|from| Step::Revoke { from }),
        1 => p.clone().prop_map(|from| Step::RemoveAdmin { from }),
        2 => (
            prop::option::of(prop::collection::vec(0u8..8, 0..4)),
            prop::option::of(0u32..20),
            prop::option::of(0u64..50),
            prop::option::of(0u8..3),
        )
            .prop_map(|(admins, contexts, per_day, price)| Step::Apply { admins, contexts, per_day, price }),
        1 => (access(), access(), access())
            .prop_map(|(read, query, infer)| Step::Policy { policy: AccessPolicy { read, query, infer } }),
        3 => (0u64..30).prop_map(|hours| Step::Pass { hours }),
        6 => (p.clone(), prop_oneof![4 => 0u64..40, 1 => Just(u64::MAX)])
            .prop_map(|(caller, instructions)| Step::Charge { caller, instructions }),
        2 => (p.clone(), prop::option::of(0u64..60))
            .prop_map(|(caller, quota)| Step::SetQuota { caller, quota }),
        2 => p.clone().prop_map(|caller| Step::ClearQuota { caller }),
        4 => (p.clone(), 0usize..400, any::<bool>())
            .prop_map(|(caller, length, error)| Step::Record { caller, length, error }),
        3 => (0..NAMES.len()).prop_map(|name| Step::Publish { name }),
        1 => (pick.clone(), 0usize..3).prop_map(|(pick, at_most)| Step::Delete { pick, at_most }),
        5 => pick.clone().prop_map(|pick| Step::OpenGraph { pick }),
        1 => pick.clone().prop_map(|pick| Step::CloseGraph { pick }),
        3 => (pick.clone(), prop_oneof![4 => 0u64..1_000, 1 => Just(u64::MAX)])
            .prop_map(|(pick, instructions)| Step::Success { pick, instructions }),
        1 => pick.clone().prop_map(|pick| Step::Fail { pick }),
        1 => pick.clone().prop_map(|pick| Step::Hit { pick }),
        12 => (pick.clone(), p, prop::bool::weighted(0.2), 0u64..4).prop_map(
            |(pick, owner, controller, session)| Step::Open { pick, owner, controller, session }
        ),
        3 => pick.clone().prop_map(|pick| Step::Close { pick }),
        3 => pick.clone().prop_map(|pick| Step::Lapse { pick }),
        1 => (pick, 0usize..4).prop_map(|(pick, at_most)| Step::CloseOf { pick, at_most }),
        1 => Just(Step::Upgrade),
    ]
}

/// The store beside its model.
struct Pair {
    memories: Memories<VectorMemory>,
    store: Store<VectorMemory>,
    plain: Plain,
}

fn open(memories: &Memories<VectorMemory>) -> Store<VectorMemory> {
    let mut store = Store::open(share(memories)).unwrap();
    store.bounds = BOUNDS;
    store
}

impl Pair {
    fn new() -> Self {
        let memories = memories();
        Pair { store: open(&memories), memories, plain: Plain::new() }
    }

    fn take(&mut self, step: &Step) {
        let Pair { store, plain, .. } = self;
        let now = plain.now;
        match *step {
            Step::Grant { to, role } => self.grant(who(to), role),
            Step::Revoke { from } => {
                let p = who(from);
                let want = plain.roles.remove(p.as_slice()).ok_or(RoleError::NoRole { principal: p });
                assert_eq!(store.revoke(p), want);
            }
            Step::RemoveAdmin { from } => {
                let p = who(from);
                let want = match plain.role(p) {
                    Some(Role::Admin) => {
                        plain.roles.remove(p.as_slice());
                        Ok(())
                    }
                    _ => Err(RoleError::NotAdmin { principal: p }),
                };
                assert_eq!(store.remove_admin(p), want);
            }
            Step::Apply { ref admins, contexts, per_day, price } => {
                self.apply(admins.as_deref(), contexts, per_day, price)
            }
            Step::Policy { policy } => {
                store.set_policy(policy);
                plain.policy = policy;
            }
            Step::Pass { hours } => plain.now += hours * HOUR,
            Step::Charge { caller, instructions } => {
                store.charge(who(caller), now, instructions);
                let today = plain.today();
                if let Some(caller) = plain.caller(who(caller)) {
                    let spent = if caller.day == today { caller.spent } else { 0 };
                    (caller.day, caller.spent) = (today, spent.saturating_add(instructions));
                }
            }
            Step::SetQuota { caller, quota } => {
                let want = match plain.caller(who(caller)) {
                    Some(caller) => {
                        caller.own = Some(quota);
                        Ok(())
                    }
                    None => Err(QuotaError::Full { limit: BOUNDS.callers }),
                };
                assert_eq!(store.set_quota(who(caller), quota, now), want);
            }
            Step::ClearQuota { caller } => {
                store.clear_quota(who(caller)).unwrap();
                if let Some(caller) = plain.callers.get_mut(who(caller).as_slice()) {
                    caller.own = None;
                }
            }
            Step::Record { caller, length, error } => self.record(who(caller), length, error),
            Step::Publish { name } => {
                let name = NAMES[name];
                let next = plain.next_version.entry(name).or_insert(1);
                assert_eq!(published(store, name, b"file"), *next);
                plain.versions.insert((name, *next));
                *next += 1;
            }
            Step::Delete { pick, at_most } => self.delete(self.plain.version(pick), at_most),
            Step::OpenGraph { pick } => {
                let key = plain.version(pick);
                let result = store.open_graph(key.0, key.1, principal(1)).ok();
                let open = plain.graphs.iter().find(|(_, v)| **v == key).map(|(graph, _)| *graph);
                if open.is_none() && plain.versions.contains(&key) {
                    assert_eq!(result, Some(plain.next_graph));
                    plain.graphs.insert(plain.next_graph, key);
                    plain.next_graph += 1;
                } else {
                    assert_eq!(result, open);
                }
            }
            Step::CloseGraph { pick } => {
                let graph = plain.graph(pick);
                assert_eq!(store.close_graph(graph).is_ok(), plain.graphs.remove(&graph).is_some());
            }
            Step::Success { pick, instructions } => {
                let (name, version) = plain.version(pick);
                store.record_success(name, version, now, instructions);
                self.count((name, version), |counts| {
                    counts.computed.push(instructions);
                    counts.last_used = Some(now);
                });
            }
            Step::Fail { pick } => {
                let (name, version) = plain.version(pick);
                store.record_fail(name, version);
                self.count((name, version), |counts| counts.fail += 1);
            }
            Step::Hit { pick } => {
                let (name, version) = plain.version(pick);
                store.record_hit(name, version, now);
                self.count((name, version), |counts| {
                    counts.hits += 1;
                    counts.last_used = Some(now);
                });
            }
            Step::Open { pick, owner, controller, session } => {
                // Leases that differ from one to the next.
                let idle_seconds = CONTEXT_IDLE_SECONDS + pick as u32;
                let lease = Lease { idle_seconds, session };
                self.open(self.plain.graph(pick), who(owner), controller, lease)
            }
            Step::Close { pick } => {
                let context = plain.pick_context(pick);
                let want = plain.context(context);
                if want.is_ok() {
                    plain.contexts.remove(&context);
                }
                assert_eq!(store.close_context(context), want);
            }
            Step::Lapse { pick } => {
                let context = plain.pick_context(pick);
                let want = plain.lapse(context);
                assert_eq!(store.lapse_context(context), want);
            }
            Step::CloseOf { pick, at_most } => {
                let (name, version) = plain.version(pick);
                let want = plain.close_of((name, version), at_most);
                assert_eq!(store.close_contexts_of(name, version, at_most), Ok(want));
            }
            Step::Upgrade => {
                let before = dump(&self.memories);
                self.store = open(&self.memories);
                assert!(dump(&self.memories) == before, "opening has written");
            }
            Step::Trap { ref steps } => {
                let before = (dump(&self.memories), self.plain.clone());
                for step in steps {
                    self.take(step);
                    self.check();
                }
                put_back(&self.memories, &before.0);
                self.store = open(&self.memories);
                self.plain = before.1;
            }
        }
    }

    fn grant(&mut self, p: Principal, role: Role) {
        let before = self.plain.role(p);
        let result = self.store.grant(p, role);
        if p == Principal::anonymous() {
            assert_eq!(result, Err(RoleError::Anonymous { role }));
        } else if before.is_none() && self.plain.roles.len() as u64 == BOUNDS.roles {
            assert_eq!(result, Err(RoleError::Full { came: BOUNDS.roles + 1, limit: BOUNDS.roles }));
        } else {
            assert_eq!(result, Ok(before));
            self.plain.roles.insert(p.as_slice().to_vec(), role);
        }
    }

    fn apply(
        &mut self,
        admins: Option<&[u8]>,
        contexts: Option<u32>,
        per_day: Option<u64>,
        price: Option<u8>,
    ) {
        let args = InitArgs {
            admins: admins.map(|admins| admins.iter().map(|&n| who(n)).collect()),
            max_contexts: contexts,
            instructions_per_caller_and_day: per_day,
            price: price.map(|price| Price { cycles_per_call: Some(Nat::from(price)) }),
            ..InitArgs::default()
        };
        let mut next = self.plain.clone();
        if let Some(named) = &args.admins {
            next.roles.retain(|_, role| *role != Role::Admin);
            next.roles.extend(named.iter().map(|p| (p.as_slice().to_vec(), Role::Admin)));
        }
        let new = next.roles.keys().any(|p| !self.plain.roles.contains_key(p));
        let came = next.roles.len() as u64;
        let refusal = if contexts == Some(0) {
            Some(SettingsError::OutOfRange { setting: "max_contexts", came: 0, least: 1, most: 100_000 })
        } else if price == Some(0) {
            Some(SettingsError::Price { bits: 0 })
        } else if admins.is_some_and(|admins| admins.contains(&0)) {
            Some(RoleError::Anonymous { role: Role::Admin }.into())
        } else if new && came > BOUNDS.roles {
            Some(RoleError::Full { came, limit: BOUNDS.roles }.into())
        } else {
            next.max_contexts = contexts.unwrap_or(next.max_contexts);
            next.per_day = per_day.unwrap_or(next.per_day);
            next.price = price.or(next.price);
            self.plain = next;
            None
        };
        assert_eq!(self.store.apply(&args).err(), refusal);
    }

    fn record(&mut self, caller: Principal, length: usize, error: bool) {
        let text = "x".repeat(length);
        let cut = |most| if length <= most { text.clone() } else { format!("{}…", &text[..most - 3]) };
        self.store.record(self.plain.now, caller, &text, &text, error.then_some(&text));
        let sequence = self.plain.audit.last().map_or(1, |line| line.sequence + 1);
        let error = match (error, length) {
            (false, _) => String::new(),
            (true, 0) => "failed".to_owned(),
            (true, _) => cut(300),
        };
        let (method, subject) = (cut(64), cut(200));
        self.plain.audit.push(AuditEntry { sequence, time: self.plain.now, caller, method, subject, error });
        if self.plain.audit.len() as u64 > BOUNDS.audit_lines {
            self.plain.audit.remove(0);
        }
    }

    /// What an embedder does: deletes, forgets, and closes what it can in this message.
    fn delete(&mut self, key: Version, at_most: usize) {
        let reference = format!("{}:{}", key.0, key.1);
        let sha256 = self.store.get(key.0, key.1).map(|v| v.sha256).unwrap_or_default();
        let result = self.store.delete(&reference, &sha256);
        assert_eq!(result.is_ok(), self.plain.versions.remove(&key));
        if result.is_ok() {
            self.plain.counts.remove(&key);
            self.plain.close_graphs_of(key);
            let want = self.plain.close_of(key, at_most);
            assert_eq!(self.store.close_contexts_of(key.0, key.1, at_most), Ok(want));
        }
    }

    fn count(&mut self, key: Version, change: impl FnOnce(&mut Counts)) {
        if self.plain.versions.contains(&key) {
            change(self.plain.counts.entry(key).or_default());
        }
    }

    fn open(&mut self, graph: u64, owner: Principal, controller: bool, lease: Lease) {
        let Plain { now, max_contexts, next_context, .. } = self.plain;
        let result = self.store.open_context(graph, owner, controller, lease, now);
        let of_owner = self.plain.contexts.values().filter(|open| open.owner == owner);
        let gives_way = |open: &&OpenContext| ![0, lease.session].contains(&open.lease.session);
        let superseded: Vec<OpenContext> =
            of_owner.clone().filter(|_| lease.session != 0).filter(gives_way).cloned().collect();
        let of_owner = of_owner.count() - superseded.len();
        let limit = BOUNDS.contexts_per_owner;
        let want = match self.plain.graphs.get(&graph) {
            None => Err(self.plain.graph_refusal(graph).into()),
            Some(_) if self.plain.contexts.len() - superseded.len() >= max_contexts as usize => {
                Err(OpenContextError::TooMany { limit: max_contexts })
            }
            Some(_) if of_owner >= limit && !controller && self.plain.role(owner) != Some(Role::Admin) => {
                Err(OpenContextError::TooManyOfOwner { owner, limit })
            }
            Some(&(name, version)) => Ok(OpenContext {
                context: next_context,
                graph,
                name: name.to_owned(),
                version,
                owner,
                opened_at: now,
                lease,
            }),
        };
        if let Ok(open) = &want {
            self.plain.next_context += 1;
            superseded.iter().for_each(|open| drop(self.plain.contexts.remove(&open.context)));
            self.plain.contexts.insert(next_context, open.clone());
        }
        assert_eq!(result, want.map(|open| Opened { open, superseded }));
    }

    fn check(&self) {
        let Pair { store, plain, .. } = self;
        let entry =
            |(p, role): (&Vec<u8>, &Role)| RoleEntry { principal: Principal::from_slice(p), role: *role };
        let roles: Vec<_> = plain.roles.iter().map(entry).collect();
        assert_eq!(store.roles(None, None).unwrap().entries, roles);
        assert!(store.admins().iter().map(|p| p.as_slice().to_vec()).eq(plain.admins()));

        assert_eq!(store.policy(), plain.policy);
        assert_eq!(store.cycles_per_call(), plain.price.map(u128::from));
        assert_eq!(store.settings().max_contexts, plain.max_contexts);
        for p in (0..8).map(who) {
            assert_eq!(store.admits(Access::Listed, p, false), plain.role(p).is_some());
            let (instructions_per_day, spent_today) = plain.quota(p);
            let told = CallerQuota { instructions_per_day, spent_today };
            assert_eq!(store.caller_quota(p, plain.now), Ok(told));
            let countable = plain.callers.contains_key(p.as_slice()) || plain.has_room();
            let left = |quota: u64| if countable { quota.saturating_sub(spent_today) } else { 0 };
            assert_eq!(store.allowance(p, plain.now), instructions_per_day.map(left));
        }
        assert_eq!(store.callers.len(), 2 * plain.callers.len() as u64);

        let lines = store.audit(&AuditRequest::default()).unwrap();
        assert_eq!((lines.entries, lines.next), (plain.audit.clone(), None));

        let counts: Vec<_> = plain.counts.iter().map(|(version, counts)| told(*version, counts)).collect();
        assert_eq!(store.all_statistics(None, None).unwrap().models, counts);

        for graph in 0..plain.next_graph + 2 {
            match plain.graphs.get(&graph) {
                Some(open) => {
                    let told = store.graph(graph).unwrap();
                    assert_eq!((told.name.as_str(), told.version), *open);
                }
                None => assert_eq!(store.graph(graph), Err(plain.graph_refusal(graph))),
            }
        }
        let contexts: Vec<_> = store.contexts().map(Result::unwrap).collect();
        assert!(contexts.iter().eq(plain.contexts.values()));
        assert_eq!(store.open_contexts(), plain.contexts.len() as u64);
        assert_eq!(store.context_index.len(), 2 * plain.contexts.len() as u64);
        for context in 0..plain.next_context + 2 {
            assert_eq!(store.context(context), plain.context(context));
        }
        for name in NAMES {
            for version in 1..5 {
                let needed = !plain.contexts_of((name, version)).is_empty();
                assert_eq!(store.contexts_of_version(name, version), needed);
            }
        }
    }
}

proptest! {
    #![proptest_config(seeded(64))]
    #[test]
    fn the_access_side_is_its_model(steps in prop::collection::vec(step(), 100..300)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.take(step);
            pair.check();
        }
        pair.take(&Step::Upgrade);
        pair.check();
    }
}
