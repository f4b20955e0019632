//! The codes of SQL errors, each with its SQLSTATE.
//!
//! Sources: `docs/behaviour.md`, and Snowflake's messages as users have published them.

/// The code of an error, and its SQLSTATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode {
    /// At most six digits; negative for the exceptions that scripts declare.
    pub number: i32,
    pub state: &'static str,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $state:literal;)*) => {
        $($(#[$doc])* pub const $name: ErrorCode = ErrorCode { number: $number, state: $state };)*

        /// All codes, by number.
        pub const ALL: &[(&str, ErrorCode)] = &[$((stringify!($name), $name)),*];
    };
}

codes! {
    /// An error that has no code of its own.
    STATEMENT_FAILED = 1, "42000";
    /// A feature that Snowflake has and icebox has not, or that Snowflake does not support either.
    UNSUPPORTED_FEATURE = 2, "0A000";
    /// The request has another number of statements than it says.
    STATEMENT_COUNT = 8, "0A000";
    /// Something went wrong inside icebox, or between it and the object store or PostgreSQL.
    INTERNAL = 603, "XX000";
    /// The statement was cancelled.
    CANCELED = 604, "57014";
    /// The statement to cancel is not running.
    NOT_EXECUTING = 605, "57014";
    /// The statement took longer than `STATEMENT_TIMEOUT_IN_SECONDS`.
    STATEMENT_TIMEOUT = 630, "57014";
    /// There is no data for the moment of a time travel.
    TIME_TRAVEL_UNAVAILABLE = 707, "02000";
    /// There is no statement with this query id.
    STATEMENT_NOT_FOUND = 709, "02000";
    /// The text has no statement.
    EMPTY_STATEMENT = 900, "42601";
    /// An unknown column, alias or variable.
    INVALID_IDENTIFIER = 904, "42000";
    /// Too few or too many arguments.
    ARGUMENT_COUNT = 938, "22023";
    /// A column outside of aggregates that GROUP BY does not name.
    NOT_IN_GROUP_BY = 979, "42601";
    /// The statement cannot be parsed, or a clause of it is not valid.
    SYNTAX = 1003, "42000";
    /// An unknown session parameter.
    INVALID_PARAMETER = 1006, "22023";
    /// A type that is not valid for its place.
    INVALID_TYPE = 1007, "22023";
    /// A value that an option or a parameter cannot have.
    INVALID_VALUE = 1008, "22023";
    /// No overload of a function takes these types.
    INVALID_ARGUMENT_TYPES = 1044, "42P13";
    /// An unknown or unsuitable date part.
    INVALID_DATE_PART = 1099, "22023";
    /// A property, or an action, that this object does not have.
    INVALID_PROPERTY = 1420, "42601";
    /// The object cannot be dropped while another uses it.
    OBJECT_IN_USE = 1492, "42601";
    /// OR REPLACE and IF NOT EXISTS exclude each other.
    REPLACE_AND_IF_NOT_EXISTS = 1506, "42601";
    /// The branches of a set operation have different numbers of columns.
    SET_OPERATION_COLUMNS = 1789, "42601";
    /// There is no such Postgres instance.
    POSTGRES_INSTANCE_NOT_FOUND = 2001, "02000";
    /// There is an object of this name already.
    OBJECT_EXISTS = 2002, "42710";
    /// There is no such table, view or stage, or the role may not see it.
    TABLE_NOT_FOUND = 2003, "42S02";
    /// There is no such object of any other kind, or the role may not see it.
    OBJECT_NOT_FOUND = 2003, "02000";
    /// A Parquet file loads into one semi-structured column only.
    PARQUET_COLUMNS = 2019, "0A000";
    /// A list of columns or values has the wrong length.
    COLUMN_COUNT = 2020, "21S01";
    /// A column name that several tables have.
    AMBIGUOUS_COLUMN = 2028, "42601";
    /// A required option is missing.
    MISSING_OPTION = 2029, "42601";
    /// A subquery that cannot be evaluated.
    UNSUPPORTED_SUBQUERY = 2031, "42601";
    /// An unknown data type.
    UNSUPPORTED_TYPE = 2040, "42601";
    /// The object that SHOW is limited to does not exist.
    SCOPE_NOT_FOUND = 2043, "02000";
    /// A bind variable without a value.
    BIND_NOT_SET = 2049, "42601";
    /// An unknown function.
    UNKNOWN_FUNCTION = 2140, "42601";
    /// An unknown table function, or user-defined function.
    UNKNOWN_TABLE_FUNCTION = 2141, "42601";
    /// A session variable that is not set.
    SESSION_VARIABLE_NOT_FOUND = 2211, "02000";
    /// A window function without, or with an unsuitable, OVER clause.
    INVALID_WINDOW = 2303, "42601";
    /// A location outside of what a storage integration allows.
    LOCATION_NOT_ALLOWED = 3128, "42501";
    /// A storage integration that is not enabled.
    INTEGRATION_DISABLED = 3129, "42501";
    /// The role of an external volume or storage integration cannot be assumed.
    VOLUME_NOT_ACCESSIBLE = 3167, "42601";
    /// A warehouse is already running or suspended.
    INVALID_WAREHOUSE_STATE = 90_064, "22000";
    /// The session has no current database.
    NO_CURRENT_DATABASE = 90_105, "22000";
    /// The session has no current schema.
    NO_CURRENT_SCHEMA = 90_106, "22000";
    /// A single-row subquery has several rows.
    SUBQUERY_ROWS = 90_150, "22000";
    /// The files of a stage cannot be reached.
    STAGE_FAILURE = 91_003, "22000";
    /// A metadata file of an Iceberg table cannot be read.
    METADATA_FILE_NOT_FOUND = 91_016, "02000";
    /// EXECUTE TASK names a task that is not the root of its graph.
    TASK_NOT_ROOT = 91_088, "0A000";
    /// The task cannot be resumed.
    TASK_WITHOUT_SCHEDULE = 91_420, "22000";
    /// A graph of tasks cannot be changed while its root task runs on schedule.
    ROOT_TASK_NOT_SUSPENDED = 91_421, "22000";
    /// A stream's offset is too old.
    STREAM_STALE = 91_901, "01000";
    /// An error of a scripting statement itself.
    SCRIPTING = 92_228, "P0000";
    /// A table that cannot be written to.
    NOT_WRITABLE = 93_620, "0A000";
    /// The catalog of an Iceberg table does not have it.
    TABLE_NOT_IN_CATALOG = 93_740, "22023";
    /// A catalog-linked database of a source that is read-only has no `ALLOWED_WRITE_OPERATIONS`.
    CATALOG_LINKED_WRITES = 94_123, "22023";
    /// A catalog-linked database that is read-only.
    CATALOG_LINKED_READ_ONLY = 94_124, "22023";
    /// A network rule that a network policy names cannot be dropped.
    NETWORK_RULE_IN_USE = 98_508, "2BP01";
    /// A text that is not a timestamp, or a timestamp out of range.
    TIMESTAMP_NOT_RECOGNIZED = 100_035, "22007";
    /// A text that is not a boolean.
    BOOLEAN_NOT_RECOGNIZED = 100_037, "22018";
    /// A text that is not a number.
    NUMBER_NOT_RECOGNIZED = 100_038, "22018";
    /// A number that its type does not have.
    NUMBER_OUT_OF_RANGE = 100_039, "22003";
    /// A text that is not a date.
    DATE_NOT_RECOGNIZED = 100_040, "22007";
    /// A regular expression that cannot be compiled.
    INVALID_REGEX = 100_048, "2201B";
    /// An unknown parameter of a regular expression.
    INVALID_REGEX_PARAMETER = 100_050, "2201B";
    /// A division by zero.
    DIVISION_BY_ZERO = 100_051, "22012";
    /// A text that is not JSON.
    INVALID_JSON = 100_069, "22P02";
    /// An extraction path that cannot be parsed.
    INVALID_PATH = 100_070, "22000";
    /// A value that cannot be cast to a type.
    FAILED_CAST = 100_071, "22000";
    /// NULL for a NOT NULL column.
    NULL_NOT_ALLOWED = 100_072, "22000";
    /// A string longer than its type allows.
    STRING_TOO_LONG = 100_078, "22000";
    /// A record of a file has another number of fields than the table has columns.
    FILE_COLUMN_COUNT = 100_080, "22000";
    /// A text that does not match its date or time format, or an invalid format.
    DATE_FORMAT = 100_096, "22007";
    /// An object with a key twice.
    DUPLICATE_KEY = 100_102, "22000";
    /// A text that is not a time.
    TIME_NOT_RECOGNIZED = 100_108, "22007";
    /// A text that is not hex-encoded.
    INVALID_HEX = 100_115, "22000";
    /// A file that is not Parquet.
    INVALID_PARQUET = 100_152, "22000";
    /// An invalid escape sequence in a LIKE pattern.
    INVALID_ESCAPE = 100_207, "22025";
    /// A function of floats outside of its domain.
    INVALID_FLOAT_OPERATION = 100_287, "22023";
    /// A text that is not valid in its encoding.
    INVALID_ENCODING = 100_346, "22000";
    /// A wrong user or password.
    INCORRECT_LOGIN = 390_100, "28000";
    /// A token that is not valid.
    INVALID_TOKEN = 390_144, "28000";
    /// The requested role does not exist or is not granted.
    ROLE_NOT_GRANTED = 390_189, "08001";
    /// Statements that call each other too deeply.
    NESTING_TOO_DEEP = 392_603, "54001";
    /// An Iceberg table without an external volume.
    NO_EXTERNAL_VOLUME = 393_923, "42601";
    /// A Postgres instance in a state that the operation is not for.
    INVALID_INSTANCE_STATE = 604_009, "03000";
    /// An operation on a Postgres instance failed.
    INSTANCE_OPERATION_FAILED = 604_060, "58000";
    /// A Postgres instance whose Iceberg storage is not set up.
    INSTANCE_WITHOUT_STORAGE = 604_061, "22000";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One code has one SQLSTATE, but for missing objects: Snowflake tells tables from the others.
    #[test]
    fn a_code_has_one_state() {
        for (name, code) in ALL {
            let same = ALL.iter().filter(|(_, other)| other.number == code.number);
            let expected = if code.number == OBJECT_NOT_FOUND.number {
                2
            } else {
                1
            };
            assert_eq!(same.count(), expected, "{name}");
        }
    }
}
