//! What is the same for every canister of the subnet: its id and root key, its limits and its fees.

pub(crate) mod fees;
pub(crate) mod limits;

/// The subnet's id. Made up: self-authenticating in form, 29 bytes.
pub(crate) const ID: [u8; 29] = {
    let mut id = [0x5a; 29];
    id[28] = 2;
    id
};

/// The root key, DER: 133 bytes in form. Made up, signs nothing.
pub(crate) const ROOT_KEY: [u8; 133] = {
    let mut key = [0x30; 133];
    key[1] = 0x81;
    key[2] = 0x82;
    key
};

/// The first round follows this time, in nanoseconds since 1970: 2021-05-06T19:17:10Z and one round, as PocketIC does.
pub(crate) const GENESIS: u64 = 1_620_328_630_000_000_001;
