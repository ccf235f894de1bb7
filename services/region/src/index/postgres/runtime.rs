//! A small runtime of the index's own, so that opening and closing it are the same for all engines.

use std::sync::mpsc::sync_channel;

use tokio::runtime::{Builder, Runtime};

use crate::index::{IndexError, Result};

/// Threads that move bytes between region and server; the work is the server's.
const IO_THREADS: usize = 2;

/// The runtime on which the index's connections live.
#[derive(Debug)]
pub(super) struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    pub(super) fn start() -> Result<Self> {
        let built =
            Builder::new_multi_thread().worker_threads(IO_THREADS).thread_name("index-postgres").enable_all().build();
        let failed = |e| IndexError::io(std::path::Path::new("index-postgres"), "start threads", e);
        Ok(Self(Some(built.map_err(failed)?)))
    }

    pub(super) fn handle(&self) -> &tokio::runtime::Handle {
        self.0.as_ref().expect("the runtime is there until it is dropped").handle()
    }

    /// Runs to the end while this thread waits, also where the thread is another runtime's.
    pub(super) fn wait_for<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = sync_channel(1);
        self.handle().spawn(async move {
            // The caller waits for it.
            let _ = reply.send(work.await);
        });
        answer.recv().unwrap_or(Err(IndexError::Closed))
    }
}

impl Drop for OwnRuntime {
    /// Without waiting, which is not allowed on another runtime's thread.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
