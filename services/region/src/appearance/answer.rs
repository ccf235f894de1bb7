//! From candidates to hits: each is looked up in the index, as the policy gives it, and compared again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio_util::sync::CancellationToken;
use vigil_appearance::Probe;
use vigil_base::event::{Appearance, AppearanceMethod};
use vigil_proto::convert::{Filter, event_from_wire};
use vigil_proto::v1;

use super::follow::blocking;
use super::scan::{Best, Candidate};
use super::store::Scanned;
use crate::context::Context;
use crate::guard::{Guard, Pass};
use crate::index::{IndexError, Result};

/// How long a question waits until what was committed before it came is there.
const PATIENCE: Duration = Duration::from_secs(2);
/// Candidates that are looked up in the index for one question; a filter whose last word is the event's, and that takes fewer than
/// one in fifty, is refused.
const MAX_LOOKUPS: usize = 20_000;
/// Candidates of one scan beyond what is asked for: some are revised at that very moment.
const SLACK: usize = 16;
/// Candidates of one scan, at most.
const MAX_SCANNED: usize = 4_096;
/// Events that are looked up at a time.
const LOOKUPS_AT_A_TIME: usize = 8;

/// What is asked of a region.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) appearance: Appearance,
    pub(super) filter: Filter,
    pub(super) limit: usize,
    pub(super) min_similarity: f32,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Hits {
    /// Most alike first.
    pub(super) events: Vec<(v1::Event, f32)>,
    pub(super) compared: u64,
    pub(super) not_comparable: Vec<(AppearanceMethod, u64)>,
    /// What the answer lacks, for people.
    pub(super) missing: Vec<String>,
}

/// Answers a question, as far as `pass` goes.
pub(super) async fn find(context: &Arc<Context>, pass: &Pass, asked: Asked) -> Result<Hits> {
    let mut found = Hits { missing: lacking(context).await, ..Hits::default() };
    let parts = Guard::parts_alike(pass, &asked.filter);
    for filter in parts {
        // Records do not say which edge read a camera: where the policy tells edges apart, their count would tell of what is withheld.
        let is_counted = filter.edges == asked.filter.edges;
        let mut part = Hits::default();
        find_part(context, pass, &Asked { filter, ..asked.clone() }, &mut part).await?;
        found.events.append(&mut part.events);
        found.missing.append(&mut part.missing);
        if is_counted {
            found.compared += part.compared;
            add_counts(&mut found.not_comparable, part.not_comparable);
        }
    }
    found.events.sort_by(|(a, a_like), (b, b_like)| b_like.total_cmp(a_like).then_with(|| newer_first(a, b)));
    found.events.truncate(asked.limit);
    found.missing.sort();
    found.missing.dedup();
    Ok(found)
}

/// Of two that are equally alike.
fn newer_first(a: &v1::Event, b: &v1::Event) -> std::cmp::Ordering {
    let order = |event: &v1::Event| {
        let begin = event.begin_time.unwrap_or_default();
        (begin.seconds, begin.nanos, event.event_id.clone())
    };
    order(b).cmp(&order(a))
}

/// Waits for what was committed before; what is not there then.
async fn lacking(context: &Context) -> Vec<String> {
    let newest = *context.guard.latest().borrow();
    let mut followed = context.appearances.followed();
    if context.appearances.rebuilt_at() > followed.borrow().0 {
        return vec!["appearances are derived anew: some events are not compared yet".to_owned()];
    }
    match tokio::time::timeout(PATIENCE, followed.wait_for(|followed| *followed >= newest)).await {
        Ok(_) => Vec::new(),
        Err(_) => vec!["the appearances of the last events are not there yet".to_owned()],
    }
}

async fn find_part(context: &Arc<Context>, pass: &Pass, asked: &Asked, found: &mut Hits) -> Result<()> {
    let probe = Probe::new(&asked.appearance.vector);
    let (mut after, mut looked_up, mut seen) = (None, 0, HashSet::new());
    let (mut hits, mut most) = (0, (asked.limit + SLACK).min(MAX_SCANNED));
    loop {
        let scanned = scan(context, asked, most, after).await?;
        if after.is_none() {
            found.compared += scanned.best.compared;
            add_counts(&mut found.not_comparable, scanned.not_comparable);
            found.missing.extend(scanned.missing);
        }
        let candidates = scanned.best.in_order();
        let exhausted = candidates.len() < most;
        after = candidates.last().copied();
        for chunk in candidates.chunks(asked.limit.max(LOOKUPS_AT_A_TIME)) {
            looked_up += chunk.len();
            let mut events = std::pin::pin!(
                futures::stream::iter(chunk.iter().copied())
                    .map(|candidate| look_up(context, pass, asked, &probe, candidate))
                    .buffered(LOOKUPS_AT_A_TIME)
            );
            while let Some(event) = events.next().await {
                if let Some((event, similarity)) = event?
                    && seen.insert(event.event_id.clone())
                {
                    hits += 1;
                    found.events.push((event, similarity));
                }
            }
            if hits >= asked.limit {
                return Ok(());
            }
        }
        if exhausted {
            return Ok(());
        }
        if looked_up >= MAX_LOOKUPS {
            return Err(IndexError::TooMuchWork { limit: MAX_LOOKUPS });
        }
        most = MAX_SCANNED;
    }
}

/// The best candidates that are worse than `after`. The work ends when whoever asks goes away.
async fn scan(context: &Arc<Context>, asked: &Asked, most: usize, after: Option<Candidate>) -> Result<Scanned> {
    let _turn = context.appearances.scans.acquire().await.map_err(|_| IndexError::Closed)?;
    let given_up = CancellationToken::new();
    let _guard = given_up.clone().drop_guard();
    let asked = asked.clone();
    blocking(context, move |store| {
        let best = Best::new(most, after, asked.min_similarity);
        store.scan(&asked.appearance, &asked.filter, best, &|| !given_up.is_cancelled())
    })
    .await
}

/// The event of a candidate, where it is there, meant and given, and as alike as is asked for: by what the index says of it now.
async fn look_up(
    context: &Context,
    pass: &Pass,
    asked: &Asked,
    probe: &Probe,
    candidate: Candidate,
) -> Result<Option<(v1::Event, f32)>> {
    let Some(id) = candidate.event() else { return Ok(None) };
    let Some(event) = context.guard.alike(pass, id, &asked.filter).await? else { return Ok(None) };
    let Ok(known) = event_from_wire(event.clone()) else { return Ok(None) };
    let comparable = known.appearance.as_ref().filter(|seen| seen.method == asked.appearance.method);
    let similarity = comparable.and_then(|seen| probe.similarity(&seen.vector));
    let is_hit = |similarity: &f32| *similarity >= asked.min_similarity && asked.filter.matches(&known);
    Ok(similarity.filter(is_hit).map(|similarity| (event, similarity)))
}

fn add_counts(all: &mut Vec<(AppearanceMethod, u64)>, more: Vec<(AppearanceMethod, u64)>) {
    for (method, events) in more {
        match all.iter_mut().find(|(known, _)| *known == method) {
            Some((_, known)) => *known += events,
            None => all.push((method, events)),
        }
    }
}
