//! Where an index lies in PostgreSQL, and how it is used.

use std::path::PathBuf;
use std::time::Duration;

use vigil_base::RegionId;
use vigil_base::config::Secret;

/// Connections for questions unless told otherwise.
pub const DEFAULT_CONNECTIONS: usize = 8;
/// How long a statement may run unless told otherwise.
pub const DEFAULT_STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the index lies and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresConfig {
    /// The server, as `postgres://user:password@host:5432/database`; several hosts with `target_session_attrs=read-write`
    /// find the primary among them.
    pub url: Secret,
    /// The schema of this region: lower-case letters, digits and underscores.
    pub schema: String,
    /// The region whose events it holds; an index of another region is refused.
    pub region: RegionId,
    /// Connections that answer questions; writing has one more.
    pub connections: usize,
    /// How long a statement may run.
    pub statement_timeout: Duration,
    /// Certificates (PEM) of the authorities that vouch for the server; those of this machine where none is given.
    pub ca_file: Option<PathBuf>,
    /// Whether opening migrates an older schema, or makes one; else `vigil region migrate` does.
    pub migrate: bool,
    /// Whether new tables are spread over a Citus cluster.
    pub citus: bool,
}

impl PostgresConfig {
    /// With every default.
    pub fn new(url: Secret, region: RegionId) -> Self {
        Self {
            url,
            schema: default_schema(&region),
            region,
            connections: DEFAULT_CONNECTIONS,
            statement_timeout: DEFAULT_STATEMENT_TIMEOUT,
            ca_file: None,
            migrate: true,
            citus: false,
        }
    }
}

/// The schema of a region that names none.
pub fn default_schema(region: &RegionId) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    // PostgreSQL cuts names after 63 bytes.
    "vigil_".chars().chain(region.as_str().chars().map(plain)).take(63).collect()
}

/// Whether a text can be the name of a schema without being quoted.
pub fn is_schema_name(text: &str) -> bool {
    let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') && !text.starts_with("pg_");
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    starts_well && text.len() <= 63 && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_region_has_a_schema_whose_name_needs_no_quotes() {
        for (region, schema) in [("north", "vigil_north"), ("Old-Town.3", "vigil_old_town_3")] {
            assert_eq!(default_schema(&RegionId::new(region).unwrap()), schema);
            assert!(is_schema_name(schema));
        }
        let longest = default_schema(&RegionId::new("x".repeat(64)).unwrap());
        assert!(is_schema_name(&longest), "{longest}");
        for bad in ["", "1a", "pg_vigil", "a b", "a\"; DROP SCHEMA x", "Ä"] {
            assert!(!is_schema_name(bad), "{bad}");
        }
    }
}
