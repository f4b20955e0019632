//! Hash functions and UUIDs.

use md5::{Digest, Md5};
use sha2::{Sha224, Sha256, Sha384, Sha512};

use super::{Function, Kind, Scalar, ScalarCall, argument, result_type};
use crate::error::{SqlError, SqlResult};
use crate::query::value::Value;

pub const FUNCTIONS: &[Function] = &[
    Function::scalar("MD5", (1, 1), result_type::text, md5),
    Function::scalar("MD5_HEX", (1, 1), result_type::text, md5),
    Function::scalar("SHA2", (1, 2), result_type::text, sha2).with_synonyms(&["SHA256"]),
    Function::scalar("SHA2_HEX", (1, 2), result_type::text, sha2),
    Function::new(
        "UUID_STRING",
        (0, 0),
        Kind::Scalar(Scalar::new(result_type::text, random_uuid).volatile()),
    ),
];

fn random_uuid<'a>(_: &ScalarCall, _: &[Value<'a>]) -> SqlResult<Value<'a>> {
    Ok(Value::text(uuid::Uuid::new_v4().to_string()))
}

fn bytes(call: &ScalarCall, values: &[Value<'_>]) -> SqlResult<Vec<u8>> {
    match &values[0] {
        Value::Binary(bytes) => Ok(bytes.to_vec()),
        _ => Ok(argument::text(call, values, 0)?.into_owned().into_bytes()),
    }
}

fn md5<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    Ok(Value::text(hex::encode(Md5::digest(bytes(call, values)?))))
}

fn sha2<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let bytes = bytes(call, values)?;
    let size = match values.get(1) {
        Some(_) => argument::integer(call, values, 1)?,
        None => 256,
    };
    Ok(Value::text(match size {
        224 => hex::encode(Sha224::digest(bytes)),
        256 => hex::encode(Sha256::digest(bytes)),
        384 => hex::encode(Sha384::digest(bytes)),
        512 => hex::encode(Sha512::digest(bytes)),
        other => return Err(SqlError::unsupported(format_args!("SHA2 of {other} bits"))),
    }))
}
