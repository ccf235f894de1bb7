//! Spreading the index over a Citus cluster, by camera.
//!
//! The tables are laid out for it: each unique key holds the camera, there are no foreign keys, sequences or triggers, and all
//! that belongs to a camera has the camera as its distribution column, so that it lies together. What is small and asked for
//! everywhere is a reference table; what only the writer touches stays on the coordinator.
//!
//! Written against the documentation of Citus 13 and tested for the statements it issues; it was not run on a cluster here.

use super::connect::Connection;

/// The column by which rows are spread.
const DISTRIBUTION_COLUMN: &str = "camera";
/// Spread tables, the first of which the others lie beside.
const DISTRIBUTED: [&str; 5] = ["events", "hourly", "extents", "coverage", "coverage_hourly"];
/// Tables of which each node has a copy.
const REFERENCE: [&str; 2] = ["names", "analyses"];

/// Whether the server could load the extension.
const IS_AVAILABLE: &str = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'citus')";

/// Whether the extension is there.
pub(super) async fn is_available(connection: &Connection) -> Result<bool, tokio_postgres::Error> {
    Ok(connection.client().query_one(IS_AVAILABLE, &[]).await?.get(0))
}

/// Whether the database has loaded it, so that tables may be spread.
pub(super) async fn is_used(connection: &Connection) -> Result<bool, tokio_postgres::Error> {
    let sql = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')";
    Ok(connection.client().query_one(sql, &[]).await?.get(0))
}

/// Spreads empty tables, in the transaction of the migration that made them.
pub(super) async fn distribute(connection: &Connection) -> Result<(), tokio_postgres::Error> {
    connection.client().batch_execute(&statements().join(";\n")).await
}

fn statements() -> Vec<String> {
    let distributed = DISTRIBUTED.iter().map(|table| {
        let beside = if *table == DISTRIBUTED[0] { "default" } else { DISTRIBUTED[0] };
        format!("SELECT create_distributed_table('{table}', '{DISTRIBUTION_COLUMN}', colocate_with => '{beside}')")
    });
    let reference = REFERENCE.iter().map(|table| format!("SELECT create_reference_table('{table}')"));
    // A transaction that changes reference tables and spread ones goes over the same connections one after the other.
    let first = ["CREATE EXTENSION IF NOT EXISTS citus", "SET LOCAL citus.multi_shard_modify_mode TO 'sequential'"];
    first.into_iter().map(str::to_owned).chain(distributed).chain(reference).collect()
}

#[cfg(test)]
mod tests {
    use super::super::schema::MIGRATIONS;
    use super::*;

    #[test]
    fn tables_are_spread_by_camera_and_lie_together() {
        let statements = statements();
        assert_eq!(statements[0], "CREATE EXTENSION IF NOT EXISTS citus");
        assert_eq!(statements[2], "SELECT create_distributed_table('events', 'camera', colocate_with => 'default')");
        assert_eq!(statements[3], "SELECT create_distributed_table('hourly', 'camera', colocate_with => 'events')");
        assert_eq!(statements.last().unwrap(), "SELECT create_reference_table('analyses')");
    }

    /// What Citus refuses: a unique key of a spread table without its distribution column, foreign keys to tables that are not
    /// spread, and what a partitioned table's key must hold anyway.
    #[test]
    fn every_key_of_a_spread_table_holds_the_camera_and_nothing_stands_in_the_way() {
        let sql = MIGRATIONS.concat();
        for banned in ["REFERENCES", "serial", "IDENTITY", "nextval", "TRIGGER", "EXCLUDE"] {
            assert!(!sql.contains(banned), "{banned}");
        }
        for table in DISTRIBUTED {
            let made = sql.split(&format!("CREATE TABLE {table} (")).nth(1).unwrap();
            let body = made.split_once(";\n").unwrap().0;
            let keys: Vec<&str> =
                body.lines().filter(|line| line.contains("PRIMARY KEY") || line.contains("UNIQUE")).collect();
            assert!(!keys.is_empty(), "{table} has no key");
            for key in keys {
                assert!(key.contains(DISTRIBUTION_COLUMN), "{table}: {key}");
            }
        }
    }
}
