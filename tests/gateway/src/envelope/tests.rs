//! Envelopes as they should be, and everything that can be wrong with one.

use std::borrow::Cow;

use ic_transport_types::{Delegation, SignedDelegation};
use k256::ecdsa::signature::Signer;
use k256::pkcs8::EncodePublicKey;

use super::*;

const NOW: u64 = 1_700_000_000_000_000_000;

fn query(sender: Principal) -> EnvelopeContent {
    EnvelopeContent::Query {
        ingress_expiry: NOW + 240_000_000_000,
        sender,
        canister_id: Principal::management_canister(),
        method_name: "list".into(),
        arg: b"DIDL\0\0".to_vec(),
        nonce: None,
        sender_info: None,
    }
}

/// A key of one of the kinds: its public half, and what it signs with.
type Key = (Vec<u8>, Box<dyn Fn(&[u8]) -> Vec<u8>>);

fn keys() -> Vec<Key> {
    let ed25519 = ic_ed25519::PrivateKey::deserialize_raw_32(&[5; 32]);
    let k256 = k256::ecdsa::SigningKey::from_slice(&[5; 32]).unwrap();
    let p256 = p256::ecdsa::SigningKey::from_slice(&[5; 32]).unwrap();
    let der = |document: k256::pkcs8::Document| document.as_bytes().to_vec();
    vec![
        (ed25519.public_key().serialize_rfc8410_der(), Box::new(move |m| ed25519.sign_message(m).to_vec())),
        (der(k256.verifying_key().to_public_key_der().unwrap()), {
            Box::new(move |m| Signer::<k256::ecdsa::Signature>::sign(&k256, m).to_vec())
        }),
        (der(p256.verifying_key().to_public_key_der().unwrap()), {
            Box::new(move |m| Signer::<p256::ecdsa::Signature>::sign(&p256, m).to_vec())
        }),
    ]
}

fn signed(content: &EnvelopeContent, (public, sign): &Key) -> Envelope<'static> {
    Envelope {
        content: Cow::Owned(content.clone()),
        sender_pubkey: Some(public.clone()),
        sender_sig: Some(sign(&content.to_request_id().signable())),
        sender_delegation: None,
    }
}

fn refusal(envelope: &Envelope<'_>, now: u64) -> EnvelopeError {
    Request::open(&envelope.encode_bytes(), now).err().expect("a refusal")
}

#[test]
fn every_kind_of_key_signs() {
    for key in keys() {
        let content = query(Principal::self_authenticating(&key.0));
        let request = Request::open(&signed(&content, &key).encode_bytes(), NOW).unwrap();
        assert_eq!(request.id, content.to_request_id());
        let other = signed(&query(Principal::anonymous()), &key).sender_sig;
        let forged = Envelope { sender_sig: other, ..signed(&content, &key) };
        assert!(matches!(refusal(&forged, NOW), EnvelopeError::Signature), "another content's signature");
        let short = Envelope { sender_sig: Some(vec![1; 7]), ..signed(&content, &key) };
        assert!(matches!(refusal(&short, NOW), EnvelopeError::Signature));
    }
}

#[test]
fn nobody_sends_for_another() {
    let [key, other, _] = keys().try_into().map_err(|_| "three keys").unwrap();
    let content = query(Principal::self_authenticating(&other.0));
    assert!(matches!(refusal(&signed(&content, &key), NOW), EnvelopeError::Sender { .. }));
    let unsigned = Envelope { sender_sig: None, ..signed(&content, &other) };
    assert!(matches!(refusal(&unsigned, NOW), EnvelopeError::Unsigned(_)));
    let keyless = Envelope { sender_pubkey: None, ..signed(&content, &other) };
    assert!(matches!(refusal(&keyless, NOW), EnvelopeError::Unsigned(_)));
    let anonymous = signed(&query(Principal::anonymous()), &key);
    assert!(matches!(refusal(&anonymous, NOW), EnvelopeError::AnonymousSigned));
    let unknown = b"no key at all".to_vec();
    let content = query(Principal::self_authenticating(&unknown));
    let unknown = Envelope { sender_pubkey: Some(unknown), ..signed(&content, &key) };
    assert!(matches!(refusal(&unknown, NOW), EnvelopeError::Key));
}

#[test]
fn an_envelope_has_its_time() {
    let content = query(Principal::anonymous());
    let envelope = Envelope {
        content: Cow::Borrowed(&content),
        sender_pubkey: None,
        sender_sig: None,
        sender_delegation: None,
    };
    Request::open(&envelope.encode_bytes(), NOW).unwrap();
    for now in [NOW + 300_000_000_000, NOW - 300_000_000_000] {
        assert!(matches!(refusal(&envelope, now), EnvelopeError::Expiry { .. }));
    }
}

#[test]
fn what_is_not_served_is_said() {
    assert!(matches!(Request::open(b"no CBOR", NOW), Err(EnvelopeError::Malformed(_))));
    let key = keys().swap_remove(0);
    let content = query(Principal::self_authenticating(&key.0));
    let delegation =
        Delegation { pubkey: key.0.clone(), expiration: u64::MAX, targets: None, permissions: None };
    let delegations = Some(vec![SignedDelegation { delegation, signature: Vec::new() }]);
    let delegated = Envelope { sender_delegation: delegations, ..signed(&content, &key) };
    assert!(matches!(refusal(&delegated, NOW), EnvelopeError::Delegation));
}
