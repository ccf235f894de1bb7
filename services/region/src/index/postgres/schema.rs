//! The schema: its migrations, and recognising one that is not ours or not of this version.

use uuid::Uuid;
use vigil_base::{RegionId, Timestamp};

use super::citus;
use super::connect::Connection;
use super::failure::{Failure, damaged};
use super::plates::note_all_plates;
use super::values::At;
use crate::index::{CommitSeq, IndexError};

/// Each takes the tables one version further; a schema's version is how many it has behind it.
pub(super) const MIGRATIONS: [&str; 4] = [
    include_str!("migrations/v1.sql"),
    include_str!("migrations/v2.sql"),
    include_str!("migrations/v3.sql"),
    include_str!("migrations/v4.sql"),
];
/// The version that brought the keys of plates.
const PLATES_SINCE: usize = 2;

/// What an opened index says about itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened {
    pub(super) index_id: Uuid,
    pub(super) latest: CommitSeq,
    pub(super) commit_time: Option<Timestamp>,
    pub(super) purged_through: CommitSeq,
}

/// What is to be done about a schema of an older version, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Upgrade {
    /// Migrate it; else it is refused.
    pub(super) migrate: bool,
    /// Spread new tables over a Citus cluster.
    pub(super) citus: bool,
}

/// How many migrations the schema has behind it; 0 where there is none.
pub(super) async fn version(connection: &Connection) -> Result<usize, tokio_postgres::Error> {
    let sql = "SELECT to_regclass('schema_version') IS NOT NULL";
    if !connection.client().query_one(sql, &[]).await?.get::<_, bool>(0) {
        return Ok(0);
    }
    let version: i32 = connection.client().query_one("SELECT version FROM schema_version", &[]).await?.get(0);
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

/// Brings the schema to this program's version, where that is wanted, and reads what the index says of itself. The caller
/// holds the writer's lock.
pub(super) async fn open(
    connection: &Connection,
    schema: &str,
    region: &RegionId,
    upgrade: Upgrade,
) -> Result<Opened, Failure> {
    check_server(connection).await?;
    let found = version(connection).await?;
    let unfit = |problem| Failure::Index(IndexError::Unfit { index: connection.index_name().to_owned(), problem });
    let known = MIGRATIONS.len();
    if found > known {
        return Err(unfit(format!("its tables have version {found}, this program knows {known}; use a newer program")));
    }
    if found < known {
        if !upgrade.migrate {
            return Err(unfit(format!(
                "its tables have version {found}, this program needs {known}; run vigil region migrate"
            )));
        }
        migrate(connection, schema, region, found, upgrade.citus).await?;
    }
    read_state(connection, region).await
}

/// What the index says of itself, for who only reads it; a schema that is not of this region, or not of this program's version, is
/// refused.
pub(super) async fn check(connection: &Connection, region: &RegionId) -> Result<Opened, Failure> {
    let (found, known) = (version(connection).await?, MIGRATIONS.len());
    if found == known {
        return read_state(connection, region).await;
    }
    let problem = format!(
        "its tables have version {found}, this program needs {known}; run the same program here and where the region runs"
    );
    Err(IndexError::Unfit { index: connection.index_name().to_owned(), problem }.into())
}

/// A standby cannot be written, and a database of another encoding than UTF-8 does not take every text.
async fn check_server(connection: &Connection) -> Result<(), Failure> {
    let sql = "SELECT pg_is_in_recovery(), current_setting('server_encoding')";
    let row = connection.client().query_one(sql, &[]).await?;
    let index = || connection.index_name().to_owned();
    if row.get(0) {
        let source = std::io::Error::other(
            "the server is a standby; name its primary, or both with target_session_attrs=read-write",
        );
        return Err(IndexError::ReadOnly { index: index(), source: std::sync::Arc::new(source) }.into());
    }
    let encoding: &str = row.get(1);
    if encoding != "UTF8" {
        let problem = format!("the database's encoding is {encoding}; make one with ENCODING 'UTF8'");
        return Err(IndexError::Unfit { index: index(), problem }.into());
    }
    Ok(())
}

/// All that is missing, in one transaction.
async fn migrate(
    connection: &Connection,
    schema: &str,
    region: &RegionId,
    found: usize,
    citus: bool,
) -> Result<(), Failure> {
    if citus && !citus::is_available(connection).await? {
        let problem = "its configuration says citus = true, but the server does not have the extension".to_owned();
        return Err(IndexError::Unfit { index: connection.index_name().to_owned(), problem }.into());
    }
    let client = connection.client();
    // The name was checked to be an identifier when the configuration was read.
    let begin = format!("BEGIN; SET LOCAL statement_timeout = 0; CREATE SCHEMA IF NOT EXISTS {schema}");
    client.batch_execute(&begin).await?;
    let migrated = async {
        for migration in &MIGRATIONS[found..] {
            client.batch_execute(migration).await?;
        }
        if (1..PLATES_SINCE).contains(&found) {
            note_all_plates(connection).await?;
        }
        if found == 0 {
            if citus {
                citus::distribute(connection).await?;
            }
            client.batch_execute("CREATE TABLE schema_version (version int4 NOT NULL)").await?;
            client.execute("INSERT INTO schema_version VALUES (0)", &[]).await?;
            let sql = "INSERT INTO index_state (region_id, index_id) VALUES ($1, $2)";
            client.execute(sql, &[&region.as_str(), &Uuid::new_v4()]).await?;
        }
        client.execute("UPDATE schema_version SET version = $1", &[&(MIGRATIONS.len() as i32)]).await?;
        client.batch_execute("COMMIT").await
    };
    if let Err(error) = migrated.await {
        // The error that matters is the first.
        let _ = client.batch_execute("ROLLBACK").await;
        return Err(error.into());
    }
    tracing::info!(
        index = connection.index_name(),
        from = found,
        to = MIGRATIONS.len(),
        "the index's tables were migrated"
    );
    Ok(())
}

async fn read_state(connection: &Connection, region: &RegionId) -> Result<Opened, Failure> {
    let sql = "SELECT region_id, index_id, commit_seq, commit_time, purged_through FROM index_state";
    let row = connection.client().query_opt(sql, &[]).await?;
    let missing = || damaged(connection.index_name(), std::io::Error::other("index_state has no row"));
    let row = row.ok_or_else(missing)?;
    let owner: &str = row.get(0);
    if owner != region.as_str() {
        let problem = format!("it holds region {owner:?}, this one is {:?}; use a schema of its own", region.as_str());
        return Err(IndexError::Unfit { index: connection.index_name().to_owned(), problem }.into());
    }
    Ok(Opened {
        index_id: row.get(1),
        latest: CommitSeq(row.get::<_, i64>(2).unsigned_abs()),
        commit_time: row.get::<_, Option<At>>(3).map(|at| at.0),
        purged_through: CommitSeq(row.get::<_, i64>(4).unsigned_abs()),
    })
}
