//! Connections with the server: where it is, the settings of each connection, and knowing when one is lost.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_postgres::config::Host;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, NoTls, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::CancellationToken;

use super::PostgresConfig;
use super::failure::connect_error;
use super::secured;
use crate::index::{IndexError, Result};

/// A server that does not answer for this long is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A silent connection is asked after this long whether it is still there, so that a primary that vanished is noticed.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// The server looks this often, while a statement runs, whether this region is still there: a region that died gives its lock
/// back.
const CLIENT_CHECK: &str = "1s";

/// Where the server is and how it is reached.
pub(super) struct Server {
    config: tokio_postgres::Config,
    /// None over a socket of this machine.
    tls: Option<MakeRustlsConnect>,
    schema: String,
    statement_timeout: Duration,
    /// Schema and server, for people: never user or password.
    name: Arc<str>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Server {
    /// Reads the address.
    ///
    /// # Errors
    /// [`IndexError::Unfit`] when it is none, [`IndexError::Io`] when certificates cannot be read. Neither shows the address.
    pub(super) fn new(config: &PostgresConfig) -> Result<Self> {
        let schema = config.schema.clone();
        let parsed = tokio_postgres::Config::from_str(config.url.reveal());
        // Not the parser's own words: they may repeat a part of what holds the password.
        let mut parsed = parsed.map_err(|_| IndexError::Unfit {
            index: schema.clone(),
            problem: "index.url is no address such as postgres://user:password@host:5432/database".to_owned(),
        })?;
        parsed.application_name("vigil-region").connect_timeout(CONNECT_TIMEOUT).keepalives_idle(KEEPALIVE);
        let name = format!("{schema} at {}", place_of(&parsed)).into();
        let tls = secured::prepare(&mut parsed, config.ca_file.as_deref())?;
        Ok(Self { config: parsed, tls, schema, statement_timeout: config.statement_timeout, name })
    }

    /// Schema and server, for people.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How long a statement may run.
    pub(super) fn statement_timeout(&self) -> Duration {
        self.statement_timeout
    }

    /// A new connection with its settings made. Its task runs on the runtime of the caller.
    pub(super) async fn connect(&self) -> Result<Connection> {
        let failed = |e| connect_error(&self.name, e);
        let lost = CancellationToken::new();
        let client = match self.tls.clone() {
            Some(tls) => open(&self.config, tls, &lost).await,
            None => open(&self.config, NoTls, &lost).await,
        };
        let client = client.map_err(failed)?;
        let connection = Connection { client, statements: Mutex::default(), lost, name: Arc::clone(&self.name) };
        self.set_up(&connection).await.map_err(failed)?;
        Ok(connection)
    }

    /// All plans are made for any parameters: days without a match are passed over when a plan runs, and planning anew for
    /// each question would cost more than the question.
    async fn set_up(&self, connection: &Connection) -> std::result::Result<(), tokio_postgres::Error> {
        let sql = "SELECT set_config('search_path', quote_ident($1), false),
                          set_config('statement_timeout', $2, false),
                          set_config('client_connection_check_interval', $3, false),
                          set_config('plan_cache_mode', 'force_generic_plan', false),
                          set_config('jit', 'off', false),
                          set_config('timezone', 'UTC', false)";
        let timeout = format!("{}ms", self.statement_timeout.as_millis());
        connection.client.query_one(sql, &[&self.schema, &timeout, &CLIENT_CHECK]).await?;
        Ok(())
    }

    /// Asks the server to stop what runs on a connection.
    pub(super) async fn cancel(&self, token: tokio_postgres::CancelToken) {
        let cancelled = match self.tls.clone() {
            Some(tls) => token.cancel_query(tls).await,
            None => token.cancel_query(NoTls).await,
        };
        if let Err(error) = cancelled {
            tracing::debug!(%error, "a question could not be cancelled; its time limit ends it");
        }
    }
}

/// Connects, and leaves the connection's work to a task that cancels `lost` when it ends.
async fn open<T>(
    config: &tokio_postgres::Config,
    tls: T,
    lost: &CancellationToken,
) -> std::result::Result<Client, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, socket) = config.connect(tls).await?;
    let ended = lost.clone().drop_guard();
    tokio::spawn(async move {
        let _ended = ended;
        if let Err(error) = socket.await {
            tracing::debug!(%error, "a connection with the index's database ended");
        }
    });
    Ok(client)
}

/// One connection, and the statements that are prepared on it.
pub(super) struct Connection {
    client: Client,
    /// By their text: as many as the engine has.
    statements: Mutex<HashMap<String, Statement>>,
    lost: CancellationToken,
    name: Arc<str>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Connection {
    /// The driver's client.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Schema and server, for people.
    pub(super) fn index_name(&self) -> &str {
        &self.name
    }

    /// Cancelled when the connection has ended, whoever ended it.
    pub(super) fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// A statement, parsed by the server at its first use.
    pub(super) async fn prepare(&self, sql: &str) -> std::result::Result<Statement, tokio_postgres::Error> {
        let known = self.statements.lock().get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.lock().insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// All rows of a prepared statement.
    pub(super) async fn query(
        &self,
        sql: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> std::result::Result<Vec<tokio_postgres::Row>, tokio_postgres::Error> {
        self.client.query(&self.prepare(sql).await?, parameters).await
    }

    /// The row of a prepared statement, where it has one.
    pub(super) async fn query_opt(
        &self,
        sql: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> std::result::Result<Option<tokio_postgres::Row>, tokio_postgres::Error> {
        self.client.query_opt(&self.prepare(sql).await?, parameters).await
    }

    /// Rows that a prepared statement changed.
    pub(super) async fn execute(
        &self,
        sql: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> std::result::Result<u64, tokio_postgres::Error> {
        self.client.execute(&self.prepare(sql).await?, parameters).await
    }
}

/// Host, port and database.
fn place_of(config: &tokio_postgres::Config) -> String {
    let ports = config.get_ports();
    let port = |i: usize| ports.get(i).or(ports.first()).copied().unwrap_or(5432);
    let host = |(i, host): (usize, &Host)| match host {
        Host::Tcp(name) => format!("{name}:{}", port(i)),
        Host::Unix(folder) => folder.display().to_string(),
    };
    let hosts: Vec<String> = config.get_hosts().iter().enumerate().map(host).collect();
    format!("{}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use vigil_base::RegionId;
    use vigil_base::config::Secret;

    use super::*;

    fn server(url: &str) -> Result<Server> {
        Server::new(&PostgresConfig::new(Secret::new(url), RegionId::new("north").unwrap()))
    }

    #[test]
    fn neither_name_nor_error_shows_the_password() {
        let named = server("postgres://vigil:hunter2@db-1,db-2:5433/city").unwrap();
        assert_eq!(&**named.name(), "vigil_north at db-1:5432,db-2:5433/city");
        assert!(!format!("{named:?}").contains("hunter2"));
        let error = server("postgres://vigil:hunter2@db:port/city").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}
