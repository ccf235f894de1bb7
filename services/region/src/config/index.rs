//! Which engine keeps the index: as written ([`IndexFile`]), and as meant ([`IndexConfig`]).

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use vigil_base::RegionId;
use vigil_base::config::Secret;
use vigil_serve::config::ConfigError;

use crate::index::postgres::{
    DEFAULT_CONNECTIONS, DEFAULT_STATEMENT_TIMEOUT, PostgresConfig, default_schema, is_schema_name,
};

/// Most connections of one region: a server of usual size takes a hundred from all.
const MAX_CONNECTIONS: usize = 64;
/// Shorter, and a large batch of events could not be stored.
const MIN_STATEMENT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longer, and a question that hangs is not noticed.
const MAX_STATEMENT_TIMEOUT: Duration = Duration::from_mins(10);

/// The engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineName {
    /// A file in the data folder.
    #[default]
    Sqlite,
    /// A PostgreSQL server.
    Postgres,
}

/// The table `[index]`, as written. All but `engine` is for `engine = "postgres"`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IndexFile {
    /// Which engine.
    pub engine: EngineName,
    /// The server, as `postgres://user:password@host:5432/database`.
    pub url: Option<Secret>,
    /// File that holds the same; relative to the configuration file.
    pub url_file: Option<PathBuf>,
    /// Schema of this region; `vigil_` and the region's id where none is given.
    pub schema: Option<String>,
    /// Connections that answer questions.
    pub connections: Option<usize>,
    /// How long a statement may run.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Option<Duration>,
    /// Certificates of the authorities that vouch for the server; relative to the configuration file.
    pub ca_file: Option<PathBuf>,
    /// Whether the region migrates an older schema when it starts; yes where it is not said.
    pub migrate_at_start: Option<bool>,
    /// Whether new tables are spread over a Citus cluster.
    pub citus: Option<bool>,
    /// Whether another process is the region, and this one only answers questions from its tables, or from a standby's.
    pub replica: Option<bool>,
}

/// Which engine keeps the index, and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexConfig {
    /// A file in the data folder.
    Sqlite,
    /// A schema of a PostgreSQL server.
    Postgres(PostgresConfig),
    /// The same, or a standby's copy of it, which another process writes: this one only answers questions.
    Replica(PostgresConfig),
}

impl IndexConfig {
    /// Whether another process writes it.
    pub fn is_replica(&self) -> bool {
        matches!(self, Self::Replica(_))
    }
}

impl IndexFile {
    /// Checks what is written; `path` names the file in errors, and relative paths in it start at its folder.
    pub(super) fn resolve(self, region: &RegionId, path: &Path) -> Result<IndexConfig, ConfigError> {
        if self.engine == EngineName::Sqlite {
            return match self.first_key() {
                Some(key) => Err(ConfigError::invalid(path, key, "is for engine = \"postgres\" alone")),
                None => Ok(IndexConfig::Sqlite),
            };
        }
        let is_replica = self.replica.unwrap_or(false);
        let of_writers =
            [("index.migrate_at_start", self.migrate_at_start.is_some()), ("index.citus", self.citus.is_some())];
        if let Some((key, _)) = of_writers.into_iter().find(|(_, is_given)| is_replica && *is_given) {
            return Err(ConfigError::invalid(
                path,
                key,
                "is for the region itself; its replica makes and changes no tables",
            ));
        }
        let schema = self.schema.clone().unwrap_or_else(|| default_schema(region));
        if !is_schema_name(&schema) {
            let problem = "must be lower-case letters, digits and underscores, and not begin with a digit or pg_";
            return Err(ConfigError::invalid(path, "index.schema", problem));
        }
        let connections = self.connections.unwrap_or(DEFAULT_CONNECTIONS);
        if !(1..=MAX_CONNECTIONS).contains(&connections) {
            let problem = format!("must be within 1 and {MAX_CONNECTIONS}; is {connections}");
            return Err(ConfigError::invalid(path, "index.connections", problem));
        }
        let statement_timeout = self.statement_timeout.unwrap_or(DEFAULT_STATEMENT_TIMEOUT);
        if !(MIN_STATEMENT_TIMEOUT..=MAX_STATEMENT_TIMEOUT).contains(&statement_timeout) {
            let problem = format!("must be within {MIN_STATEMENT_TIMEOUT:?} and {MAX_STATEMENT_TIMEOUT:?}");
            return Err(ConfigError::invalid(path, "index.statement_timeout", problem));
        }
        let base = path.parent().unwrap_or(Path::new(""));
        let engine = if is_replica { IndexConfig::Replica } else { IndexConfig::Postgres };
        Ok(engine(PostgresConfig {
            url: self.address(base, path)?,
            schema,
            region: region.clone(),
            connections,
            statement_timeout,
            ca_file: self.ca_file.map(|file| base.join(file)),
            migrate: !is_replica && self.migrate_at_start.unwrap_or(true),
            citus: self.citus.unwrap_or(false),
        }))
    }

    /// The server's address, from the file or from one beside it.
    fn address(&self, base: &Path, path: &Path) -> Result<Secret, ConfigError> {
        match (&self.url, &self.url_file) {
            (Some(url), None) => Ok(url.clone()),
            (None, Some(file)) => {
                let text = std::fs::read_to_string(base.join(file));
                let text = text.map_err(|source| ConfigError::Read { path: base.join(file), source })?;
                Ok(Secret::new(text.trim()))
            }
            (Some(_), Some(_)) => {
                Err(ConfigError::invalid(path, "index.url", "stands beside index.url_file; give one"))
            }
            (None, None) => Err(ConfigError::invalid(
                path,
                "index.url",
                "is missing; give it or index.url_file, as postgres://user:password@host:5432/database",
            )),
        }
    }

    /// The first key that is given beside the engine.
    fn first_key(&self) -> Option<&'static str> {
        let given = [
            ("index.url", self.url.is_some()),
            ("index.url_file", self.url_file.is_some()),
            ("index.schema", self.schema.is_some()),
            ("index.connections", self.connections.is_some()),
            ("index.statement_timeout", self.statement_timeout.is_some()),
            ("index.ca_file", self.ca_file.is_some()),
            ("index.migrate_at_start", self.migrate_at_start.is_some()),
            ("index.citus", self.citus.is_some()),
            ("index.replica", self.replica.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use vigil_serve::error::chain;

    use super::super::RegionConfig;
    use super::*;

    fn read(index: &str) -> Result<IndexConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("db.url"), "postgres://vigil:hunter2@db/city\n").unwrap();
        let path = folder.path().join("region.toml");
        std::fs::write(&path, format!("region_id = \"north\"\ndata_dir = \"data\"\n[index]\n{index}\n")).unwrap();
        RegionConfig::load(&path).map(|config| config.index).map_err(|error| chain(&error))
    }

    #[test]
    fn the_engine_is_chosen_by_name() {
        assert_eq!(read("").unwrap(), IndexConfig::Sqlite);
        assert_eq!(read("engine = \"sqlite\"").unwrap(), IndexConfig::Sqlite);
        let config = read("engine = \"postgres\"\nurl_file = \"db.url\"\nconnections = 4").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        let IndexConfig::Postgres(postgres) = config else { panic!("{config:?}") };
        assert_eq!(postgres.url.reveal(), "postgres://vigil:hunter2@db/city");
        assert!(read("engine = \"postgres\"\nurl_file = \"db.url\"\nreplica = true").unwrap().is_replica());
        assert_eq!((postgres.schema.as_str(), postgres.connections, postgres.migrate), ("vigil_north", 4, true));
    }

    #[test]
    fn mistakes_are_named_by_their_key_and_show_no_password() {
        let url = "engine = \"postgres\"\nurl = \"postgres://vigil:hunter2@db/city\"";
        let cases = [
            ("engine = \"oracle\"".to_owned(), "index.engine"),
            ("engine = \"postgres\"".to_owned(), "index.url: is missing"),
            ("url = \"postgres://vigil:hunter2@db/city\"".to_owned(), "index.url: is for engine"),
            (format!("{url}\nurl_file = \"db.url\""), "give one"),
            (format!("{url}\nschema = \"a b\""), "index.schema: must be"),
            (format!("{url}\nconnections = 0"), "index.connections: must be within"),
            (format!("{url}\nstatement_timeout = \"1ms\""), "index.statement_timeout: must be within"),
            (format!("{url}\npool = 3"), "pool"),
            ("replica = true".to_owned(), "index.replica: is for engine"),
            (format!("{url}\nreplica = true\ncitus = true"), "index.citus: is for the region itself"),
            ("engine = \"postgres\"\nurl_file = \"none.url\"".to_owned(), "none.url"),
        ];
        for (text, expected) in cases {
            let error = read(&text).unwrap_err();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}
