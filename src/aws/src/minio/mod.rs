//! IAM and STS before a server that knows no roles, such as MinIO.

pub(crate) mod flatten;
mod proxy;
mod re_sign;

pub use proxy::Front;
