//! Interrupts.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Waits for SIGINT or SIGTERM.
pub async fn terminated() {
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be caught");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// A message for each SIGHUP; several that come at once are one.
pub fn hang_ups() -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel(1);
    let mut hang_up = signal(SignalKind::hangup()).expect("SIGHUP can be caught");
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() && !sender.is_closed() {
            // Full: the one that waits will read what is there now.
            let _ = sender.try_send(());
        }
    });
    receiver
}

/// A token that is cancelled by the first SIGINT or SIGTERM; a second one ends the process at once.
pub fn shutdown() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        terminated().await;
        tracing::info!("shutting down; interrupt again to end at once");
        cancelled.cancel();
        terminated().await;
        std::process::exit(130);
    });
    token
}
