//! Who signs: the subnet's key, which is the root key, and its one node's.
//!
//! The keys are the same in every process, so that a program can be told the root key beforehand. Nothing outside tests may
//! ever trust them.

use candid::Principal;
use ic_certification::HashTree;
use ic_certification::certificate::Certificate;
use ic_transport_types::{NodeSignature, QueryResponse, RequestId};
use ic_verify_bls_signature::PrivateKey;
use serde::Serialize;

/// Seed of the subnet's key. As a number it is below the order of BLS12-381's groups.
const SUBNET_SEED: [u8; 32] = *b"ic-nn: a root key for tests only";
/// Seed of the node's key.
const NODE_SEED: [u8; 32] = *b"ic-nn: a node's key, tests alone";
/// What a BLS12-381 public key begins with in DER: sequences, the Internet Computer's two object ids, a bit string.
const DER_PREFIX: &[u8; 37] =
    b"\x30\x81\x82\x30\x1d\x06\x0d\x2b\x06\x01\x04\x01\x82\xdc\x7c\x05\x03\x01\x02\x01\x06\x0c\x2b\
    \x06\x01\x04\x01\x82\xdc\x7c\x05\x03\x02\x01\x03\x61\x00";
/// What is signed of a state: this and the tree's hash.
const STATE_ROOT: &[u8] = b"\x0Dic-state-root";

/// The keys.
pub struct Authority {
    subnet: PrivateKey,
    node: ic_ed25519::PrivateKey,
    /// The subnet's public key, DER.
    pub root_key: Vec<u8>,
    /// The node's public key, DER.
    pub node_key: Vec<u8>,
}

impl Authority {
    /// The keys of the seeds.
    pub fn new() -> Self {
        let subnet = PrivateKey::deserialize(&SUBNET_SEED).expect("the seed is below the group's order");
        let node = ic_ed25519::PrivateKey::deserialize_raw_32(&NODE_SEED);
        Self {
            root_key: [&DER_PREFIX[..], &subnet.public_key().serialize()].concat(),
            node_key: node.public_key().serialize_rfc8410_der(),
            subnet,
            node,
        }
    }

    /// The subnet's id.
    pub fn subnet_id(&self) -> Principal {
        Principal::self_authenticating(&self.root_key)
    }

    /// The node's id.
    pub fn node_id(&self) -> Principal {
        Principal::self_authenticating(&self.node_key)
    }

    /// A certificate of the tree, in CBOR.
    pub fn certify(&self, tree: HashTree) -> Vec<u8> {
        let signature = self.subnet.sign(&[STATE_ROOT, &tree.digest()].concat()).serialize().to_vec();
        cbor(&Certificate { tree, signature, delegation: None })
    }

    /// The node's signature under an answer to the query.
    pub fn vouch(&self, answer: &QueryResponse, query: RequestId, timestamp: u64) -> NodeSignature {
        NodeSignature {
            timestamp,
            signature: self.node.sign_message(&answer.signable(query, timestamp)).to_vec(),
            identity: self.node_id(),
        }
    }
}

/// Self-described CBOR, as everything in the HTTP interface is.
pub fn cbor(value: &impl Serialize) -> Vec<u8> {
    let mut serializer = serde_cbor::Serializer::new(Vec::new());
    serializer.self_describe().expect("a vector takes any bytes");
    value.serialize(&mut serializer).expect("a vector takes any bytes");
    serializer.into_inner()
}
