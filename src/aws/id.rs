//! Identifiers as AWS forms them
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>).

use rand::Rng;

/// The digits of identifiers and access keys.
pub(super) const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_DIGITS: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What an identifier is of.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    User,
    Role,
    Policy,
    AccessKey,
}

/// A new identifier: four letters that tell its kind, and random ones.
pub(super) fn new(kind: Kind) -> String {
    let (prefix, length) = match kind {
        Kind::User => ("AIDA", 17),
        Kind::Role => ("AROA", 17),
        Kind::Policy => ("ANPA", 17),
        Kind::AccessKey => ("AKIA", 16),
    };
    prefix.to_owned() + &random(DIGITS, length)
}

/// A new secret access key: 240 random bits.
pub(super) fn secret_access_key() -> String {
    random(SECRET_DIGITS, 40)
}

pub(super) fn random(digits: &[u8], length: usize) -> String {
    // Seeded by the operating system, and fit for secrets.
    let mut rng = rand::rng();
    (0..length)
        .map(|_| char::from(digits[rng.random_range(0..digits.len())]))
        .collect()
}
