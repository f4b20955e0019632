//! Functions of semi-structured values.

use serde_json::{Map, Value as Json};

use super::{Function, Kind, Scalar, ScalarCall, argument, result_type};
use crate::error::{SqlError, SqlResult, code};
use crate::query::convert::variant;
use crate::query::json::{self, Step};
use crate::query::value::Value;

pub const FUNCTIONS: &[Function] = &[
    Function::scalar("PARSE_JSON", (1, 1), result_type::variant, parse),
    Function::scalar(
        "TRY_PARSE_JSON",
        (1, 1),
        result_type::variant,
        |call, values| match parse(call, values) {
            Err(error) if error.code >= 100_000 => Ok(Value::Null),
            other => other,
        },
    ),
    Function::scalar(
        "CHECK_JSON",
        (1, 1),
        result_type::text,
        |call, values| match parse(call, values) {
            Err(error) if error.code >= 100_000 => Ok(Value::text(error.message)),
            Err(error) => Err(error),
            Ok(_) => Ok(Value::Null),
        },
    ),
    Function::scalar(
        "TO_VARIANT",
        (1, 1),
        result_type::variant,
        |call, values| Ok(Value::json(variant::json_text(&values[0], call.time_zone)?)),
    ),
    Function::scalar("TO_JSON", (1, 1), result_type::text, |call, values| {
        Ok(Value::text(variant::json_text(&values[0], call.time_zone)?))
    }),
    Function::scalar("TO_ARRAY", (1, 1), result_type::array, |call, values| {
        Ok(match variant::to_json(&values[0], call.time_zone)? {
            array @ Json::Array(_) => Value::json(json::text(&array)),
            other => Value::json(json::text(&Json::Array(vec![other]))),
        })
    }),
    constructor("ARRAY_CONSTRUCT", Scalar::new(result_type::array, array)),
    constructor(
        "ARRAY_CONSTRUCT_COMPACT",
        Scalar::new(result_type::array, array),
    ),
    constructor("OBJECT_CONSTRUCT", Scalar::new(result_type::object, object)),
    constructor(
        "OBJECT_CONSTRUCT_KEEP_NULL",
        Scalar::new(result_type::object, object),
    ),
    Function::scalar("GET_PATH", (2, 2), result_type::variant, get_path),
    Function::scalar("GET", (2, 2), result_type::variant, get),
    Function::scalar(
        "ARRAY_SIZE",
        (1, 1),
        result_type::integer,
        |call, values| {
            Ok(match document(call, values)? {
                Json::Array(items) => Value::integer(items.len() as i128),
                _ => Value::Null,
            })
        },
    ),
    Function::scalar(
        "ARRAY_CONTAINS",
        (2, 2),
        result_type::boolean,
        |call, values| {
            let wanted = variant::to_json(&values[0], call.time_zone)?;
            Ok(match variant::to_json(&values[1], call.time_zone)? {
                Json::Array(items) => Value::Boolean(items.contains(&wanted)),
                _ => return Err(call.wrong_types()),
            })
        },
    ),
    Function::scalar(
        "ARRAY_TO_STRING",
        (2, 2),
        result_type::text,
        |call, values| {
            let gap = argument::text(call, values, 1)?;
            let Json::Array(items) = document(call, values)? else {
                return Err(call.wrong_types());
            };
            let texts = items.iter().map(|item| match item {
                Json::String(text) => text.clone(),
                Json::Null => String::new(),
                other => json::text(other),
            });
            Ok(Value::text(texts.collect::<Vec<_>>().join(&gap)))
        },
    ),
    Function::scalar("SPLIT", (2, 2), result_type::array, |call, values| {
        let (text, gap) = (
            argument::text(call, values, 0)?,
            argument::text(call, values, 1)?,
        );
        let parts: Vec<Json> = if gap.is_empty() {
            vec![Json::String(text.into_owned())]
        } else {
            text.split(gap.as_ref())
                .map(|part| Json::String(part.to_owned()))
                .collect()
        };
        Ok(Value::json(json::text(&Json::Array(parts))))
    }),
    Function::scalar("OBJECT_KEYS", (1, 1), result_type::array, |call, values| {
        let Json::Object(map) = document(call, values)? else {
            return Err(call.wrong_types());
        };
        let mut keys: Vec<String> = map.keys().cloned().collect();
        keys.sort();
        let keys = keys.into_iter().map(Json::String).collect();
        Ok(Value::json(json::text(&Json::Array(keys))))
    }),
    Function::scalar("TYPEOF", (1, 1), result_type::text, |call, values| {
        Ok(Value::text(json::type_name(&document(call, values)?)))
    }),
    Function::scalar(
        "IS_NULL_VALUE",
        (1, 1),
        result_type::boolean,
        |call, values| Ok(Value::Boolean(document(call, values)?.is_null())),
    ),
    is_type("IS_ARRAY"),
    is_type("IS_OBJECT"),
    is_type("IS_VARCHAR"),
    is_type("IS_INTEGER"),
    is_type("IS_BOOLEAN"),
];

/// Creates a function of any number of arguments, each of which may be NULL.
const fn constructor(name: &'static str, scalar: Scalar) -> Function {
    Function::new(name, (0, usize::MAX), Kind::Scalar(scalar.called_on_null()))
}

const fn is_type(name: &'static str) -> Function {
    Function::scalar(name, (1, 1), result_type::boolean, |call, values| {
        let found = json::type_name(&document(call, values)?);
        Ok(Value::Boolean(call.name.strip_prefix("IS_") == Some(found)))
    })
}

fn document(call: &ScalarCall, values: &[Value<'_>]) -> SqlResult<Json> {
    match values.first() {
        Some(value @ Value::Json(_)) => variant::to_json(value, call.time_zone),
        _ => Err(call.wrong_types()),
    }
}

fn parse<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let text = argument::text(call, values, 0)?;
    if text.trim().is_empty() {
        Ok(Value::Null)
    } else {
        Ok(Value::json(json::text(&json::parse(&text)?)))
    }
}

fn array<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let compact = call.name.ends_with("COMPACT");
    let kept = values.iter().filter(|value| !(compact && value.is_null()));
    let items = kept.map(|value| match value {
        // A NULL of SQL in an array becomes a null of JSON.
        Value::Null => Ok(Json::Null),
        value => variant::to_json(value, call.time_zone),
    });
    let items = items.collect::<SqlResult<Vec<Json>>>()?;
    Ok(Value::json(json::text(&Json::Array(items))))
}

fn object<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let keep_null = call.name.ends_with("KEEP_NULL");
    let mut map = Map::new();
    for pair in values.chunks(2) {
        let [key, value] = pair else {
            return Err(call.wrong_types());
        };
        // A pair whose key or value is NULL is left out.
        if key.is_null() || (value.is_null() && !keep_null) {
            continue;
        }
        let key = argument::text(call, std::slice::from_ref(key), 0)?.into_owned();
        let value = variant::to_json(value, call.time_zone)?;
        if map.insert(key.clone(), value).is_some() {
            let text = format!("Duplicate field key '{key}'");
            return Err(SqlError::new(code::DUPLICATE_KEY, text));
        }
    }
    Ok(Value::json(json::text(&Json::Object(map))))
}

fn found(json: Option<&Json>) -> Value<'static> {
    json.map_or(Value::Null, |json| Value::json(json::text(json)))
}

fn get_path<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let path = argument::text(call, values, 1)?;
    let steps = call.compiled(&path, json::path)?;
    Ok(found(json::get(&document(call, values)?, &steps)))
}

fn get<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let document = document(call, values)?;
    let step = match &values[1] {
        Value::Number(_) => match usize::try_from(argument::integer(call, values, 1)?) {
            Ok(index) => Step::Index(index),
            Err(_) => return Ok(Value::Null),
        },
        _ => Step::Key(argument::text(call, values, 1)?.into_owned()),
    };
    Ok(found(json::get(&document, &[step])))
}
