//! Connections, each served to its own end: its peer leaves, the server shuts down, or the certificate by which it was taken
//! is over.
//!
//! tonic ends all connections of a server together, so each connection has a server of its own here; they share the routes.

use std::io;

use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic::transport::Server;
use vigil_base::error::chain;
use vigil_trust::Connection;

/// Serves all that come until `shutdown`, and until all that came have ended.
pub(crate) async fn serve(
    server: Server,
    routes: Routes,
    mut connections: mpsc::Receiver<Connection>,
    shutdown: CancellationToken,
) {
    let (routes, open) = (routes.prepare(), TaskTracker::new());
    while let Some(Some(connection)) = shutdown.run_until_cancelled(connections.recv()).await {
        open.spawn(serve_one(server.clone(), routes.clone(), connection, shutdown.clone()));
    }
    open.close();
    open.wait().await;
}

/// Until one of the three, then refuses new calls (GOAWAY) and lets open ones end.
async fn serve_one(server: Server, routes: Routes, connection: Connection, shutdown: CancellationToken) {
    let (address, ending) = (connection.peer().address, connection.peer().ending.clone());
    let end = async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = ending.told() => {}
            () = ending.gone() => {}
        }
    };
    // A server whose connections have run out would end the last one.
    let only = tokio_stream::once(Ok::<_, io::Error>(connection)).chain(tokio_stream::pending());
    if let Err(error) = server.serve_with_incoming_shutdown(routes, only, end).await {
        tracing::warn!(peer = ?address, error = %chain(&error), "a connection could not be served");
    }
}
