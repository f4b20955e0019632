//! Hash functions and UUIDs.

use md5::{Digest, Md5};
use sha2::{Sha224, Sha256, Sha384, Sha512};

use super::{Call, Function, of, take};
use crate::error::{SqlError, SqlResult};
use crate::query::value::Value;

pub const FUNCTIONS: &[Function] = &[
    Function::new("MD5", (1, 1), of::text, md5),
    Function::new("MD5_HEX", (1, 1), of::text, md5),
    Function::new("SHA2", (1, 2), of::text, sha2),
    Function::new("SHA2_HEX", (1, 2), of::text, sha2),
    Function::new("UUID_STRING", (0, 0), of::text, |_, _| {
        Ok(Value::text(uuid::Uuid::new_v4().to_string()))
    })
    .volatile(),
];

fn hex(bytes: &[u8]) -> Value<'static> {
    Value::text(
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>(),
    )
}

fn bytes(call: &Call, values: &[Value<'_>]) -> SqlResult<Vec<u8>> {
    match &values[0] {
        Value::Binary(bytes) => Ok(bytes.to_vec()),
        _ => Ok(take::text(call, values, 0)?.into_owned().into_bytes()),
    }
}

fn md5<'a>(call: &Call, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    Ok(hex(&Md5::digest(bytes(call, values)?)))
}

fn sha2<'a>(call: &Call, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let bytes = bytes(call, values)?;
    let size = match values.get(1) {
        Some(_) => take::integer(call, values, 1)?,
        None => 256,
    };
    Ok(match size {
        224 => hex(&Sha224::digest(bytes)),
        256 => hex(&Sha256::digest(bytes)),
        384 => hex(&Sha384::digest(bytes)),
        512 => hex(&Sha512::digest(bytes)),
        other => return Err(SqlError::unsupported(format_args!("SHA2 of {other} bits"))),
    })
}
