//! `icebox env`

use std::process::ExitCode;

use super::Command;
use icebox_sandbox::{SandboxInfo, StateDir};

/// Print shell exports for psql and S3 clients: eval "$(icebox env)".
#[derive(clap::Args)]
pub struct Args {}

impl Command for Args {
    fn run(self, state: &StateDir) -> anyhow::Result<ExitCode> {
        print(&SandboxInfo::load(state.root())?);
        Ok(ExitCode::SUCCESS)
    }
}

fn print(info: &SandboxInfo) {
    let port = info.postgres.port.to_string();
    let variables = [
        ("PGHOST", &info.postgres.host),
        ("PGPORT", &port),
        ("PGUSER", &info.postgres.user),
        ("PGPASSWORD", &info.postgres.password),
        ("PGDATABASE", &info.postgres.dbname),
        ("PGSSLMODE", &"require".to_owned()),
        ("AWS_ENDPOINT_URL", &info.s3.endpoint),
        ("AWS_ACCESS_KEY_ID", &info.s3.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", &info.s3.secret_access_key),
        ("AWS_REGION", &info.s3.region),
        // Version 1 of the aws command reads only this name.
        ("AWS_DEFAULT_REGION", &info.s3.region),
        ("ICEBOX_BUCKET", &info.bucket),
    ];
    for (name, value) in variables {
        println!("export {name}={}", shell_quote(value));
    }
    if let Some(role) = &info.role_arn {
        println!("export ICEBOX_ROLE_ARN={}", shell_quote(role));
    }
    if let Some(snowflake) = &info.snowflake {
        let (host, port) = (snowflake.address.ip(), snowflake.address.port());
        // `snow` reads these variables. Other drivers are given the same values by hand.
        let variables = [
            ("SNOWFLAKE_HOST", host.to_string()),
            ("SNOWFLAKE_PORT", port.to_string()),
            ("SNOWFLAKE_PROTOCOL", "http".to_owned()),
            ("SNOWFLAKE_ACCOUNT", snowflake.account.clone()),
            ("SNOWFLAKE_USER", snowflake.user.clone()),
            ("SNOWFLAKE_PASSWORD", snowflake.password.clone()),
        ];
        for (name, value) in variables {
            println!("export {name}={}", shell_quote(&value));
        }
    }
    // A session token from another environment would be sent together with these keys.
    println!("unset AWS_SESSION_TOKEN AWS_PROFILE");
}

/// Quotes `text` as one word of a POSIX shell.
pub fn shell_quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn quotes_survive_the_shell() {
        assert_eq!(super::shell_quote("it's $HOME"), r"'it'\''s $HOME'");
    }
}
