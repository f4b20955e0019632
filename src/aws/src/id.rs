//! Generates identifiers and keys in AWS's formats
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>).

use rand::Rng;

/// The characters of identifiers and access key ids.
pub(super) const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_DIGITS: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The kind of entity that an identifier is for.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    User,
    Role,
    Policy,
    AccessKey,
}

/// Returns a new identifier: a prefix of four letters for the kind, then random characters.
pub(super) fn new(kind: Kind) -> String {
    let (prefix, length) = match kind {
        Kind::User => ("AIDA", 17),
        Kind::Role => ("AROA", 17),
        Kind::Policy => ("ANPA", 17),
        Kind::AccessKey => ("AKIA", 16),
    };
    prefix.to_owned() + &random(DIGITS, length)
}

/// Returns a new secret access key: 240 random bits.
pub(super) fn secret_access_key() -> String {
    random(SECRET_DIGITS, 40)
}

pub(super) fn random(digits: &[u8], length: usize) -> String {
    // A cryptographically secure generator that the operating system seeds.
    let mut rng = rand::rng();
    (0..length)
        .map(|_| char::from(digits[rng.random_range(0..digits.len())]))
        .collect()
}
