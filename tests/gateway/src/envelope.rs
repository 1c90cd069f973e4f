//! What comes in: an envelope, opened only if its sender signed it.
//!
//! Owns authentication. A [`Request`] exists only for a sender who is anonymous or whose key signed the content, and whose
//! time has not run out.

use candid::Principal;
use ic_transport_types::{Envelope, EnvelopeContent, RequestId};
use k256::ecdsa::signature::Verifier;
use k256::pkcs8::DecodePublicKey;

/// How long a request may be valid from now, in nanoseconds: five minutes, and one for clocks that differ.
const LONGEST_EXPIRY: u64 = 360_000_000_000;

/// Why an envelope is refused; each is an HTTP 400.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// The bytes are no envelope.
    #[error("the body is no envelope in CBOR: {0}")]
    Malformed(#[from] serde_cbor::Error),
    /// It is out of date, or from too far ahead.
    #[error("ingress_expiry is {expiry}, which has to be from {now} to 5 minutes after it")]
    Expiry {
        /// What it says, nanoseconds since 1970.
        expiry: u64,
        /// What the time is.
        now: u64,
    },
    /// A sender who is not anonymous has to sign.
    #[error("the sender {0} is not anonymous, but sender_pubkey or sender_sig is missing")]
    Unsigned(Principal),
    /// The anonymous sender has no key.
    #[error("the sender is anonymous, but there is a signature")]
    AnonymousSigned,
    /// The key is another's.
    #[error("the public key belongs to {derived}, not to the sender {sender}")]
    Sender {
        /// Whose key it is.
        derived: Principal,
        /// Who is said to send.
        sender: Principal,
    },
    /// The key is of a kind that is not served.
    #[error("the public key is no Ed25519, secp256k1 or P-256 key in DER")]
    Key,
    /// The signature is not the key's, or not of this content.
    #[error("the signature does not belong to this content and key")]
    Signature,
    /// Delegated identities are left out.
    #[error("sender_delegation is not served here")]
    Delegation,
}

/// An authenticated request.
pub struct Request {
    /// What is asked.
    pub content: EnvelopeContent,
    /// Its representation-independent hash.
    pub id: RequestId,
}

impl Request {
    /// Opens an envelope at the time `now`.
    pub fn open(body: &[u8], now: u64) -> Result<Self, EnvelopeError> {
        let envelope: Envelope<'_> = serde_cbor::from_slice(body)?;
        let content = envelope.content.into_owned();
        let (expiry, sender) = (content.ingress_expiry(), *content.sender());
        if expiry < now || expiry - now > LONGEST_EXPIRY {
            return Err(EnvelopeError::Expiry { expiry, now });
        }
        let id = content.to_request_id();
        if envelope.sender_delegation.is_some() {
            return Err(EnvelopeError::Delegation);
        }
        match (envelope.sender_pubkey, envelope.sender_sig) {
            (None, None) if sender == Principal::anonymous() => {}
            (Some(_), _) | (_, Some(_)) if sender == Principal::anonymous() => {
                return Err(EnvelopeError::AnonymousSigned);
            }
            (Some(key), Some(signature)) => {
                let derived = Principal::self_authenticating(&key);
                if derived != sender {
                    return Err(EnvelopeError::Sender { derived, sender });
                }
                verify(&key, &id.signable(), &signature)?;
            }
            _ => return Err(EnvelopeError::Unsigned(sender)),
        }
        Ok(Request { content, id })
    }
}

/// Holds the signature to the key (DER) and the message.
fn verify(key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), EnvelopeError> {
    let wrong = |_| EnvelopeError::Signature;
    if let Ok(key) = ic_ed25519::PublicKey::deserialize_rfc8410_der(key) {
        return key.verify_signature(message, signature).map_err(|_| EnvelopeError::Signature);
    }
    if let Ok(key) = k256::ecdsa::VerifyingKey::from_public_key_der(key) {
        let signature = k256::ecdsa::Signature::from_slice(signature).map_err(wrong)?;
        return key.verify(message, &signature).map_err(wrong);
    }
    if let Ok(key) = p256::ecdsa::VerifyingKey::from_public_key_der(key) {
        let signature = p256::ecdsa::Signature::from_slice(signature).map_err(wrong)?;
        return key.verify(message, &signature).map_err(wrong);
    }
    Err(EnvelopeError::Key)
}

#[cfg(test)]
mod tests;
