//! What a server that knows no roles, such as MinIO, is told of a session: one flattened policy.

mod flatten;
mod sessions;

pub(super) use sessions::MinioSessions;
