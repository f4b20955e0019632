//! Manifest repair: completes manifests for iceberg-rust as they are read.
//!
//! The specification ([Manifests](https://iceberg.apache.org/spec/#manifests)) requires six keys in
//! a manifest's Avro header. The real `pg_lake` writes none of them, because the table metadata and
//! the manifest list contain the same facts. iceberg-rust requires the header (apache/iceberg-rust
//! issue 2682, pull request 2683). The problems, and their repairs:
//!
//! 1. Without `schema` and `partition-spec` a manifest is refused. The repair adds the missing
//!    keys.
//! 2. Without `partition-spec-id` iceberg-rust assumes 0. It then drops a position delete whose
//!    spec differs from its data file's, **without an error**. The repair adds the id from the
//!    manifest list.
//! 3. Text bounds are cut after 16 bytes, which may be inside a UTF-8 character. One such bound
//!    makes the whole table unreadable. The repair shortens a lower bound to whole characters, and
//!    drops an upper bound.
//!
//! A manifest that has its keys is returned unchanged, byte for byte.

use std::collections::{HashMap, HashSet};

use apache_avro::types::Value;
use apache_avro::{Reader, Writer};
use bytes::Bytes;
use iceberg::spec::{
    FormatVersion, ManifestContentType, ManifestFile, ManifestList, PrimitiveType, Schema,
    SchemaRef, TableMetadataRef, Type,
};
use parking_lot::RwLock;

use super::error::{Error, Result};

const AVRO_MAGIC: &[u8] = b"Obj\x01";
const SCHEMA: &str = "schema";
const SCHEMA_ID: &str = "schema-id";
const PARTITION_SPEC: &str = "partition-spec";
const PARTITION_SPEC_ID: &str = "partition-spec-id";
const FORMAT_VERSION: &str = "format-version";
const CONTENT: &str = "content";

/// Repairs the manifests of one table as they are read.
///
/// A scan reads a manifest list before the manifests that it names, through the same storage. So
/// the repair takes each manifest's facts from the manifest lists that are read before it.
#[derive(Debug)]
pub(super) struct ManifestRepair {
    metadata: TableMetadataRef,
    manifest_lists: HashSet<String>,
    manifests: RwLock<HashMap<String, Listed>>,
}

/// The facts about a manifest in its manifest list.
#[derive(Clone, Copy, Debug)]
struct Listed {
    partition_spec_id: i32,
    content: ManifestContentType,
    added_snapshot_id: i64,
}

impl From<&ManifestFile> for Listed {
    fn from(file: &ManifestFile) -> Self {
        Self {
            partition_spec_id: file.partition_spec_id,
            content: file.content,
            added_snapshot_id: file.added_snapshot_id,
        }
    }
}

impl ManifestRepair {
    pub(super) fn new(metadata: TableMetadataRef) -> Self {
        let manifest_lists = metadata
            .snapshots()
            .map(|snapshot| snapshot.manifest_list().to_owned())
            .collect();
        Self {
            metadata,
            manifest_lists,
            manifests: RwLock::new(HashMap::new()),
        }
    }

    /// Returns the content of the file at `location`, repaired if it is a manifest that needs it.
    pub(super) fn apply(&self, location: &str, bytes: Bytes) -> Result<Bytes> {
        if !bytes.starts_with(AVRO_MAGIC) {
            return Ok(bytes);
        }
        if self.manifest_lists.contains(location) {
            self.read_manifest_list(location, &bytes)?;
            return Ok(bytes);
        }
        let manifests = self.manifests.read();
        let Some(listed) = manifests.get(location).copied() else {
            return Ok(bytes);
        };
        drop(manifests);
        self.repair(location, listed, bytes)
    }

    fn read_manifest_list(&self, location: &str, bytes: &[u8]) -> Result<()> {
        let version = self.metadata.format_version();
        let list = ManifestList::parse_with_version(bytes, version)
            .map_err(|error| damaged(location, error))?;
        let mut manifests = self.manifests.write();
        for file in list.entries() {
            manifests.insert(file.manifest_path.clone(), file.into());
        }
        Ok(())
    }

    fn repair(&self, location: &str, listed: Listed, bytes: Bytes) -> Result<Bytes> {
        let header =
            Header::parse(&bytes).ok_or_else(|| damaged(location, "its Avro header ends early"))?;
        let complete = [SCHEMA, PARTITION_SPEC, PARTITION_SPEC_ID]
            .into_iter()
            .all(|key| header.has(key));
        if complete {
            return Ok(bytes);
        }
        let schema = self.schema_of(location, listed)?;
        let missing: Vec<(&str, Vec<u8>)> = self
            .keys_of(location, listed, &schema, &header)?
            .into_iter()
            .filter(|(key, _)| !header.has(key))
            .collect();
        match body_with_whole_bounds(location, &schema, &bytes)? {
            None => Ok(header.with(&missing, &bytes).into()),
            Some(values) => rewritten(location, &header, &missing, &bytes, values),
        }
    }

    /// Returns the table schema at the time of writing. It is the schema of the snapshot that added
    /// the manifest. If that snapshot has been expired, it is the current schema, or else the
    /// newest one, that has the columns of the partition spec. Field ids are never reused, so a
    /// bound of a column that the schema lacks is simply ignored.
    fn schema_of(&self, location: &str, listed: Listed) -> Result<SchemaRef> {
        let spec = self
            .metadata
            .partition_spec_by_id(listed.partition_spec_id)
            .ok_or_else(|| damaged(location, "its partition spec is not in the table metadata"))?;
        let written_with = self
            .metadata
            .snapshot_by_id(listed.added_snapshot_id)
            .and_then(|snapshot| snapshot.schema(&self.metadata).ok());
        let mut newest_first: Vec<&SchemaRef> = self.metadata.schemas_iter().collect();
        newest_first.sort_by_key(|schema| std::cmp::Reverse(schema.schema_id()));
        written_with
            .iter()
            .chain([self.metadata.current_schema()])
            .chain(newest_first)
            .find(|schema| {
                spec.fields()
                    .iter()
                    .all(|field| schema.field_by_id(field.source_id).is_some())
            })
            .cloned()
            .ok_or_else(|| damaged(location, "no schema has the columns of its partition spec"))
    }

    /// Returns all six keys of the specification with their values for this manifest.
    fn keys_of(
        &self,
        location: &str,
        listed: Listed,
        schema: &Schema,
        header: &Header,
    ) -> Result<[(&'static str, Vec<u8>); 6]> {
        let json_error = |error: serde_json::Error| damaged(location, error);
        let spec = self
            .metadata
            .partition_spec_by_id(listed.partition_spec_id)
            .ok_or_else(|| damaged(location, "its partition spec is not in the table metadata"))?;
        // When a table is upgraded, it keeps its version 1 manifests. Only later ones have sequence
        // numbers.
        let version = match self.metadata.format_version() {
            _ if !header.names_field("sequence_number") => FormatVersion::V1,
            version => version,
        };
        let content = match listed.content {
            ManifestContentType::Data => "data",
            ManifestContentType::Deletes => "deletes",
        };
        Ok([
            (SCHEMA, serde_json::to_vec(schema).map_err(json_error)?),
            (SCHEMA_ID, schema.schema_id().to_string().into_bytes()),
            (
                PARTITION_SPEC,
                serde_json::to_vec(spec.fields()).map_err(json_error)?,
            ),
            (
                PARTITION_SPEC_ID,
                listed.partition_spec_id.to_string().into_bytes(),
            ),
            (FORMAT_VERSION, (version as u8).to_string().into_bytes()),
            (CONTENT, content.as_bytes().to_vec()),
        ])
    }
}

fn damaged(location: &str, reason: impl ToString) -> Error {
    Error::Manifest {
        location: location.to_owned(),
        reason: reason.to_string(),
    }
}

/// The header of an Avro object container ([Object Container Files]).
///
/// [Object Container Files]:
/// https://avro.apache.org/docs/1.11.1/specification/#object-container-files
struct Header {
    metadata: Vec<(String, Vec<u8>)>,
    /// The offset of the sync marker. The data blocks follow it.
    sync_marker: usize,
}

impl Header {
    /// Parses a header. Returns `None` if the bytes end too early, or a length is out of range.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut input = Input {
            bytes,
            at: AVRO_MAGIC.len(),
        };
        let mut metadata = Vec::new();
        loop {
            let count = match input.long()? {
                0 => break,
                // A negative count is followed by the block's size in bytes.
                count if count < 0 => {
                    input.long()?;
                    count.checked_neg()?
                }
                count => count,
            };
            for _ in 0..count {
                let key = String::from_utf8(input.bytes()?.to_vec()).ok()?;
                metadata.push((key, input.bytes()?.to_vec()));
            }
        }
        Some(Self {
            metadata,
            sync_marker: input.at,
        })
    }

    fn get(&self, key: &str) -> Option<&[u8]> {
        self.metadata
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_slice())
    }

    fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Whether the schema of the entries has a field of this name.
    fn names_field(&self, name: &str) -> bool {
        let schema = self
            .get("avro.schema")
            .and_then(|schema| serde_json::from_slice::<serde_json::Value>(schema).ok());
        schema
            .as_ref()
            .and_then(|schema| schema["fields"].as_array())
            .is_some_and(|fields| fields.iter().any(|field| field["name"] == name))
    }

    /// Returns the file with the keys `extra` added: the header is written again, and the sync
    /// marker and blocks are unchanged.
    fn with(&self, extra: &[(&str, Vec<u8>)], file: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(file.len() + 4096);
        out.extend_from_slice(AVRO_MAGIC);
        put_long(&mut out, (self.metadata.len() + extra.len()) as i64);
        let own = self
            .metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value));
        for (key, value) in own.chain(extra.iter().map(|(key, value)| (*key, value))) {
            put_bytes(&mut out, key.as_bytes());
            put_bytes(&mut out, value);
        }
        put_long(&mut out, 0);
        out.extend_from_slice(&file[self.sync_marker..]);
        out
    }
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    /// Reads a zigzag variable-length integer.
    fn long(&mut self) -> Option<i64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.long()?).ok()?;
        let end = self.at.checked_add(length)?;
        let bytes = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }
}

fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// Returns the entries with all text bounds cut at whole characters, or `None` if they already are.
fn body_with_whole_bounds(
    location: &str,
    schema: &Schema,
    file: &[u8],
) -> Result<Option<Vec<Value>>> {
    let text_columns: HashSet<i32> = schema
        .field_id_to_fields()
        .values()
        .filter(|field| *field.field_type == Type::Primitive(PrimitiveType::String))
        .map(|field| field.id)
        .collect();
    if text_columns.is_empty() {
        return Ok(None);
    }
    let reader = Reader::new(file).map_err(|error| damaged(location, error))?;
    let mut entries = reader
        .collect::<Result<Vec<Value>, _>>()
        .map_err(|error| damaged(location, error))?;
    let mut changed = false;
    for data_file in entries
        .iter_mut()
        .filter_map(|entry| member(entry, "data_file"))
    {
        for (name, shorten) in [("lower_bounds", true), ("upper_bounds", false)] {
            if let Some(Value::Array(bounds)) = member(data_file, name) {
                changed |= make_whole(bounds, &text_columns, shorten);
            }
        }
    }
    Ok(changed.then_some(entries))
}

/// Returns a field of a record. An optional field is unwrapped from its union.
fn member<'a>(record: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let Value::Record(fields) = record else {
        return None;
    };
    let (_, value) = fields.iter_mut().find(|(field, _)| field == name)?;
    match value {
        Value::Union(_, value) => Some(value),
        value => Some(value),
    }
}

/// Repairs text bounds that end inside a character: shortens them (a shorter lower bound is still a
/// lower bound), or drops them. Returns whether there were any.
fn make_whole(bounds: &mut Vec<Value>, text_columns: &HashSet<i32>, shorten: bool) -> bool {
    let mut changed = false;
    bounds.retain_mut(|bound| {
        let is_text =
            matches!(member(bound, "key"), Some(Value::Int(id)) if text_columns.contains(id));
        let Some(Value::Bytes(value)) = member(bound, "value") else {
            return true;
        };
        let whole = match std::str::from_utf8(value) {
            Err(error) if is_text => error.valid_up_to(),
            _ => return true,
        };
        changed = true;
        value.truncate(whole);
        shorten
    });
    changed
}

fn rewritten(
    location: &str,
    header: &Header,
    missing: &[(&str, Vec<u8>)],
    file: &[u8],
    entries: Vec<Value>,
) -> Result<Bytes> {
    let write = || -> Result<Vec<u8>, apache_avro::Error> {
        let schema = Reader::new(file)?.writer_schema().clone();
        let mut writer = Writer::new(&schema, Vec::new());
        let own = header
            .metadata
            .iter()
            .filter(|(key, _)| !key.starts_with("avro."))
            .map(|(key, value)| (key.as_str(), value));
        for (key, value) in own.chain(missing.iter().map(|(key, value)| (*key, value))) {
            writer.add_user_metadata(key.to_owned(), value)?;
        }
        for entry in entries {
            writer.append(entry)?;
        }
        writer.into_inner()
    };
    let bytes = write().map_err(|error| damaged(location, error))?;
    Ok(bytes.into())
}
