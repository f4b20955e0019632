//! The images of the containers, which are those of `compose/` unless the environment names others.

/// The default images and settings, as in the compose file.
const DEFAULTS: &str = include_str!("../../../../compose/.env");

/// The images of the containers, and their settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    pub postgres: String,
    /// The image of `pgduck_server`; `None` if it is in PostgreSQL's image.
    pub pgduck: Option<String>,
    pub s3: String,
    pub s3_command: Vec<String>,
    /// The memory limit of `pgduck_server`; a quarter of the machine's memory if empty.
    pub memory_limit: String,
}

impl Images {
    /// Returns what the environment names, or else what the compose file names.
    pub fn configured() -> Self {
        Self::from(|name| std::env::var(name).ok())
    }

    fn from(environment: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name: &str| {
            environment(name).unwrap_or_else(|| {
                let mut lines = DEFAULTS.lines().filter_map(|line| line.split_once('='));
                let found = lines.find(|(key, _)| *key == name);
                found.map_or_else(String::new, |(_, value)| value.to_owned())
            })
        };
        Self {
            postgres: value("ICEBOX_POSTGRES_IMAGE"),
            pgduck: Some(value("ICEBOX_PGDUCK_IMAGE")).filter(|image| !image.is_empty()),
            s3: value("ICEBOX_S3_IMAGE"),
            s3_command: value("ICEBOX_S3_COMMAND")
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            memory_limit: value("ICEBOX_PGDUCK_MEMORY_LIMIT"),
        }
    }

    pub fn all(&self) -> impl Iterator<Item = &str> {
        [Some(&self.postgres), self.pgduck.as_ref(), Some(&self.s3)]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_the_compose_files_unless_the_environment_says_otherwise() {
        let images = Images::from(|_| None);
        assert!(images.postgres.starts_with("icebox-pg-lake:"), "{images:?}");
        assert!(images.s3.starts_with("minio/minio:RELEASE."), "{images:?}");
        assert_eq!(images.s3_command, ["server", "/data"]);
        assert_eq!(images.all().count(), 2);

        let two = Images::from(|name| match name {
            "ICEBOX_POSTGRES_IMAGE" => Some("pg_lake:local".to_owned()),
            "ICEBOX_PGDUCK_IMAGE" => Some("pgduck-server:local".to_owned()),
            _ => None,
        });
        let all: Vec<&str> = two.all().collect();
        assert_eq!(
            all,
            ["pg_lake:local", "pgduck-server:local", images.s3.as_str()]
        );
    }
}
