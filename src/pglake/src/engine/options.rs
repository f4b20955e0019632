//! The options of the lake engine. Each is one row: its documentation, name, type, default, the
//! placeholder of its value, and its parser.
//!
//! `icebox pgduck-server` has a command line argument for each row. The engine `embedded` sets the
//! fields of [`Options`].

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use crate::EngineSocket;
use icebox_tables::RewriteThreshold;

/// What is known of an option: see [`OPTIONS`].
#[derive(Debug)]
pub struct OptionRow {
    pub name: &'static str,
    /// The placeholder of the value in a usage text.
    pub value: &'static str,
    pub default: &'static str,
    pub help: &'static str,
    /// Parses a value and sets the option to it. The error is the reason for refusing the value.
    pub set: fn(&mut Options, &str) -> Result<(), String>,
}

macro_rules! options {
    ($($(#[doc = $help:literal])+ $name:ident: $type:ty = $default:literal, $value:literal, $parse:expr;)+) => {
        /// The values of all options.
        #[derive(Clone, Debug)]
        pub struct Options {
            $($(#[doc = $help])+ pub $name: $type,)+
        }

        impl Default for Options {
            fn default() -> Self {
                Self {
                    $($name: $parse($default).expect("the default of an option is valid"),)+
                }
            }
        }

        /// All options.
        pub const OPTIONS: &[OptionRow] = &[
            $(OptionRow {
                name: stringify!($name),
                value: $value,
                default: $default,
                help: concat!($($help),+),
                set: |options, text| {
                    options.$name = $parse(text)?;
                    Ok(())
                },
            },)+
        ];
    };
}

options! {
    /// The directory of the socket, as named by PostgreSQL's `pg_lake_engine.host`.
    unix_socket_directory: PathBuf = "/tmp", "DIR", parse;
    /// The mode of the socket, in octal digits.
    unix_socket_permissions: u32 = "770", "MODE", mode;
    /// The port in the name of the socket.
    port: u16 = "5332", "PORT", parse;
    /// The percentage of deleted rows from which a data file is rewritten without them.
    copy_on_write_threshold: RewriteThreshold = "20", "PERCENT", parse;
    /// The number of a table's inserted rows in memory from which a transaction writes them to a
    /// data file.
    spill_rows: u64 = "2000000", "ROWS", parse;
}

impl Options {
    pub fn socket(&self) -> EngineSocket {
        EngineSocket {
            dir: self.unix_socket_directory.clone(),
            port: self.port,
        }
    }
}

fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("it is not between 0000 and 0777".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_of_each_option_is_valid() {
        let options = Options::default();
        assert_eq!(options.port, EngineSocket::PORT);
        assert_eq!(options.unix_socket_permissions, 0o770);
        assert_eq!(options.copy_on_write_threshold, RewriteThreshold::default());
    }

    #[test]
    fn a_value_that_is_refused_changes_nothing() {
        let mut options = Options::default();
        let row = |name| OPTIONS.iter().find(|row| row.name == name).unwrap();
        let refused = (row("unix_socket_permissions").set)(&mut options, "1000");
        assert_eq!(refused, Err("it is not between 0000 and 0777".to_owned()));
        assert_eq!(options.unix_socket_permissions, 0o770);
        (row("unix_socket_permissions").set)(&mut options, "700").unwrap();
        assert_eq!(options.unix_socket_permissions, 0o700);
    }
}
