//! Everything a region tells about itself: metric and log line of one happening in one place.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use vigil_base::{EdgeId, RegionId};
use vigil_serve::error::chain;

use crate::index::{IndexError, IndexStats};

/// Handles of all metrics, taken once.
pub(crate) struct Telemetry {
    accepted: Counter,
    duplicates: Counter,
    rejected: Counter,
    batch_seconds: Histogram,
    commit_failures: Counter,
    edges_connected: Gauge,
    search_seconds: Histogram,
    count_seconds: Histogram,
    subscribers: Gauge,
    delivered: Counter,
    subscribers_ended: Counter,
    set_back: Counter,
    replaced: Counter,
    fell_behind: Counter,
    index_events: Gauge,
    index_bytes: Gauge,
    disk_free_bytes: Gauge,
    unreadable_parts: Gauge,
    purged: Counter,
    purge_runs: Counter,
    purge_failures: Counter,
}

impl Telemetry {
    /// Every metric carries the region, since one process may serve several.
    pub(crate) fn new(region: &RegionId) -> Self {
        let label = || region.to_string();
        let revisions = |outcome| counter!("vigil_ingest_revisions_total", "region" => label(), "outcome" => outcome);
        Self {
            accepted: revisions("accepted"),
            duplicates: revisions("duplicate"),
            rejected: revisions("rejected"),
            batch_seconds: histogram!("vigil_ingest_batch_seconds", "region" => label()),
            commit_failures: counter!("vigil_ingest_failed_commits_total", "region" => label()),
            edges_connected: gauge!("vigil_ingest_connected_edges", "region" => label()),
            search_seconds: histogram!("vigil_query_search_seconds", "region" => label()),
            count_seconds: histogram!("vigil_query_aggregate_seconds", "region" => label()),
            subscribers: gauge!("vigil_stream_subscribers", "region" => label()),
            delivered: counter!("vigil_stream_delivered_revisions_total", "region" => label()),
            subscribers_ended: counter!("vigil_stream_slow_subscribers_total", "region" => label()),
            set_back: counter!("vigil_stream_set_back_subscribers_total", "region" => label()),
            index_events: gauge!("vigil_index_events", "region" => label()),
            index_bytes: gauge!("vigil_index_bytes", "region" => label()),
            disk_free_bytes: gauge!("vigil_index_disk_free_bytes", "region" => label()),
            unreadable_parts: gauge!("vigil_index_unreadable_slices", "region" => label()),
            fell_behind: counter!("vigil_ingest_fell_behind_total", "region" => label()),
            replaced: counter!("vigil_ingest_replaced_edges_total", "region" => label()),
            purged: counter!("vigil_retention_removed_events_total", "region" => label()),
            purge_runs: counter!("vigil_retention_runs_total", "region" => label(), "outcome" => "done"),
            purge_failures: counter!("vigil_retention_runs_total", "region" => label(), "outcome" => "failed"),
        }
    }

    /// The index lacks what an edge has been told is stored.
    pub(crate) fn fell_behind(&self, edge: &EdgeId, lost: u32) {
        self.fell_behind.increment(1);
        tracing::warn!(
            %edge,
            lost_marks = lost,
            "the index lacks events that it had acknowledged, as after a backup was put back; the edge sends them again"
        );
    }

    /// A batch is durable and about to be acknowledged; `took` runs from its arrival.
    pub(crate) fn batch_acknowledged(&self, edge: &EdgeId, ack: &vigil_proto::v1::BatchAck, took: Duration) {
        self.accepted.increment(ack.accepted.into());
        self.duplicates.increment(ack.duplicates.into());
        self.rejected.increment(ack.rejections.len() as u64);
        self.batch_seconds.record(took);
        if let Some(first) = ack.rejections.first() {
            tracing::warn!(
                %edge,
                rejected = ack.rejections.len(),
                event_id = first.event_id,
                reason = first.reason,
                "records were rejected"
            );
        }
    }

    /// A batch could not be stored; its edge keeps it.
    pub(crate) fn commit_failed(&self, edge: &EdgeId, error: &IndexError) {
        self.commit_failures.increment(1);
        tracing::error!(%edge, error = %chain(error), "a batch could not be stored");
    }

    pub(crate) fn edge_connected(&self, edge: &EdgeId, version: &str) {
        self.edges_connected.increment(1.0);
        tracing::info!(%edge, version, "edge connected");
    }

    pub(crate) fn edge_replaced(&self, edge: &EdgeId) {
        self.replaced.increment(1);
        tracing::warn!(%edge, "another installation uses this edge id now; if it was not replaced, two share it");
    }

    pub(crate) fn edge_disconnected(&self, edge: &EdgeId, why: &str) {
        self.edges_connected.decrement(1.0);
        tracing::info!(%edge, why, "edge disconnected");
    }

    pub(crate) fn index_figures(&self, stats: &IndexStats, unreadable_parts: usize) {
        self.unreadable_parts.set(unreadable_parts as f64);
        self.index_events.set(stats.events as f64);
        self.index_bytes.set(stats.bytes as f64);
        if stats.disk_free_bytes != IndexStats::FREE_UNKNOWN {
            self.disk_free_bytes.set(stats.disk_free_bytes as f64);
        }
    }

    pub(crate) fn searched(&self, took: Duration) {
        self.search_seconds.record(took);
    }

    pub(crate) fn counted(&self, took: Duration) {
        self.count_seconds.record(took);
    }

    pub(crate) fn subscribed(&self) {
        self.subscribers.increment(1.0);
    }

    pub(crate) fn unsubscribed(&self) {
        self.subscribers.decrement(1.0);
    }

    pub(crate) fn delivered(&self) {
        self.delivered.increment(1);
    }

    pub(crate) fn subscriber_too_slow(&self) {
        self.subscribers_ended.increment(1);
        tracing::warn!("a subscriber took nothing for too long and was ended");
    }

    pub(crate) fn set_back(&self) {
        self.set_back.increment(1);
        tracing::info!(
            "a subscriber had read on from the backup to which the index was put back; it reads on from there"
        );
    }

    pub(crate) fn purged(&self, events: u64) {
        self.purged.increment(events);
    }

    pub(crate) fn purge_ended(&self, events: u64) {
        self.purge_runs.increment(1);
        if events > 0 {
            tracing::info!(events, "retention removed old events");
        }
    }

    pub(crate) fn purge_failed(&self, error: &IndexError) {
        self.purge_failures.increment(1);
        tracing::error!(error = %chain(error), "retention could not remove old events; it tries again");
    }
}
