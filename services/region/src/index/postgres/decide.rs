//! What becomes of each revision of a group, known before anything is written: there is only one writer.
//!
//! What is stored of the events is asked for on a connection of its own, while the group before is written. That group is not
//! seen by the question, or it is; what was decided about it comes before what was found.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures::TryFutureExt;
use futures::future::try_join3;
use uuid::Uuid;
use vigil_base::{Event, EventId, Timestamp};

use super::Shared;
use super::connect::Connection;
use super::failure::{Failure, damaged};
use super::hourly::{CountChanges, Counted, NO_ZONE};
use super::names::{Giving, LookedUp, NameKind, Names};
use super::plates::{OfDay, find_noted, of_day};
use super::rows::{NewRow, Numbers};
use super::values::At;
use crate::index::keys::{begin_range, id_carries_begin, kind_number};
use crate::index::tail::Committed;
use crate::index::{CommitSeq, NewRevision, StoreOutcome};

/// What is known of an event: its stored state, or that of a revision before it that will be stored.
#[derive(Debug, Clone)]
struct Known {
    camera: i32,
    begin_us: i64,
    revision: u32,
    counted: Counted,
    thumbnail_revision: u32,
    /// Its place among the rows of the group that is being decided.
    row: Option<usize>,
}

/// What is stored of what revisions name.
#[derive(Debug)]
pub(super) struct Found {
    known: HashMap<EventId, Known>,
    noted: HashSet<OfDay>,
    names: LookedUp,
}

impl Found {
    /// Asks for it, in one trip to the server.
    pub(super) async fn ask(
        connection: &Connection,
        shared: &Shared,
        revisions: &[NewRevision],
    ) -> Result<Self, Failure> {
        let events = || revisions.iter().map(NewRevision::event);
        let (known, noted, names) = try_join3(
            find_known(connection, events()),
            find_noted(connection, events()).map_err(Failure::from),
            shared.names.look_up(connection, events().flat_map(names_of)).map_err(Failure::from),
        )
        .await?;
        Ok(Self { known, noted, names })
    }
}

/// What is stored of events. An id says within which millisecond its event began.
async fn find_known(
    connection: &Connection,
    events: impl Iterator<Item = &Event>,
) -> Result<HashMap<EventId, Known>, Failure> {
    let ids: BTreeSet<EventId> = events.map(|event| event.id).collect();
    let firsts: Vec<i64> = ids.iter().map(|id| begin_range(*id).0).collect();
    let (Some(first), Some(last)) = (firsts.iter().min(), firsts.iter().max()) else { return Ok(HashMap::new()) };
    let uuids: Vec<Uuid> = ids.iter().map(|id| Uuid::from_bytes(*id.as_bytes())).collect();
    let starts: Vec<At> = firsts.iter().map(|us| At::micros(*us)).collect();
    let ends: Vec<At> = firsts.iter().map(|us| At::micros(us + 999)).collect();
    // With the limit each is looked up in the index, whatever the server thinks it knows of the tables.
    let sql = "SELECT e.camera, e.begin_time, e.event_id, e.revision, e.class, e.kind, e.thumbnail_revision, e.zone
               FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS sought (id, first, last)
               CROSS JOIN LATERAL (
                   SELECT * FROM events
                   WHERE event_id = sought.id AND begin_time >= sought.first AND begin_time <= sought.last
                         AND begin_time >= $4 AND begin_time <= $5
                   LIMIT 1) AS e";
    let bounds = (At::micros(*first), At::micros(last + 999));
    let rows = connection.query(sql, &[&uuids, &starts, &ends, &bounds.0, &bounds.1]).await?;
    let known = rows.iter().map(|row| {
        let (camera, begin_us) = (row.get(0), row.get::<_, At>(1).0.as_micros());
        let known = Known {
            camera,
            begin_us,
            revision: row.get::<_, i64>(3) as u32,
            counted: Counted {
                camera,
                begin_us,
                class: row.get(4),
                kind: row.get(5),
                zone: row.get::<_, Option<i32>>(7).unwrap_or(NO_ZONE),
            },
            thumbnail_revision: row.get::<_, i64>(6) as u32,
            row: None,
        };
        let id = EventId::from_bytes(row.get::<_, Uuid>(2).into_bytes());
        id.map(|id| (id, known)).map_err(|e| damaged(connection.index_name(), e))
    });
    known.collect()
}

/// The names whose numbers stand in an event's row.
fn names_of(event: &Event) -> impl Iterator<Item = (NameKind, &str)> {
    let rule = event.finding.as_ref().map(|finding| (NameKind::Rule, finding.rule.as_str()));
    let zone = event.finding.as_ref().and_then(|finding| Some((NameKind::Zone, finding.zone.as_ref()?.as_str())));
    let always = [
        (NameKind::Camera, event.camera.as_str()),
        (NameKind::Edge, event.edge.as_str()),
        (NameKind::Class, &*event.object_class),
    ];
    always.into_iter().chain(rule).chain(zone)
}

/// What becomes of the revisions of one transaction, in their order.
#[derive(Debug)]
pub(super) struct Decided {
    /// The newest commit before it.
    pub(super) after: CommitSeq,
    pub(super) latest: CommitSeq,
    known: HashMap<EventId, Known>,
    pub(super) rows: Vec<NewRow>,
    pub(super) counts: CountChanges,
    /// In their order; when they were received is told when they are committed.
    pub(super) commits: Vec<Committed>,
    /// Whose keys are to be noted.
    pub(super) plates: HashSet<OfDay>,
    pub(super) names: Giving,
}

impl Decided {
    /// Nothing yet; `after` is the newest commit before it.
    pub(super) fn after(after: CommitSeq) -> Self {
        Self {
            after,
            latest: after,
            known: HashMap::new(),
            rows: Vec::new(),
            counts: CountChanges::default(),
            commits: Vec::new(),
            plates: HashSet::new(),
            names: Giving::default(),
        }
    }

    /// Decides about a revision. `before` is committed before this is.
    pub(super) fn decide(
        &mut self,
        revision: &NewRevision,
        found: &Found,
        before: Option<&Self>,
        names: &Names,
    ) -> StoreOutcome {
        let event = revision.event();
        let begin_us = event.begin_time.as_micros();
        let numbers = self.numbers(event, found, before, names);
        let decided_before = || before?.known.get(&event.id).map(|known| Known { row: None, ..known.clone() });
        let known = self.known.get(&event.id).cloned();
        let known = known.or_else(decided_before).or_else(|| found.known.get(&event.id).cloned());
        match &known {
            None if !id_carries_begin(event) => return rejected("its time part is not begin_time in milliseconds"),
            Some(known) if (known.camera, known.begin_us) != (numbers.camera, begin_us) => {
                return rejected("is known with another begin_time or camera_id; these never change");
            }
            Some(known) if known.revision >= event.revision => return StoreOutcome::Duplicate,
            _ => {}
        }
        let counted = Counted {
            camera: numbers.camera,
            begin_us,
            class: numbers.class,
            kind: kind_number(event.kind()) as i16,
            zone: numbers.zone.unwrap_or(NO_ZONE),
        };
        if let Some(before) = known.as_ref().map(|known| known.counted).filter(|before| *before != counted) {
            self.counts.add(before, -1);
            self.counts.add(counted, 1);
        } else if known.is_none() {
            self.counts.add(counted, 1);
        }
        let is_noted =
            |plate: &OfDay| found.noted.contains(plate) || before.is_some_and(|before| before.plates.contains(plate));
        self.plates.extend(of_day(event).filter(|plate| !is_noted(plate)));
        self.latest = CommitSeq(self.latest.0 + 1);
        self.keep(revision, numbers, counted, known.as_ref())
    }

    fn numbers(&mut self, event: &Event, found: &Found, before: Option<&Self>, names: &Names) -> Numbers {
        let before = before.map(|before| &before.names);
        let mut numbers = [None; 6];
        for name in names_of(event) {
            numbers[name.0 as usize] = Some(self.names.number(names, &found.names, before, name));
        }
        let [_, camera, edge, class, rule, zone] = numbers;
        let given = |number: Option<i32>| number.expect("each event names it");
        Numbers { camera: given(camera), edge: given(edge), class: given(class), rule, zone }
    }

    /// Takes a revision among the rows to write, in the place of one before it.
    fn keep(
        &mut self,
        revision: &NewRevision,
        numbers: Numbers,
        counted: Counted,
        known: Option<&Known>,
    ) -> StoreOutcome {
        let event = revision.event();
        let place = known.and_then(|known| known.row);
        let replaced = place.map(|place| &self.rows[place]);
        let brings_one = !revision.thumbnail.is_empty();
        let row = NewRow {
            revision: revision.clone(),
            numbers,
            seq: self.latest,
            jpeg: if brings_one { Some(revision.thumbnail.clone()) } else { replaced.and_then(|row| row.jpeg.clone()) },
            thumbnail_revision: match known {
                _ if brings_one => event.revision,
                Some(known) => known.thumbnail_revision,
                None => 0,
            },
            is_new: replaced.map_or(known.is_none(), |row| row.is_new),
        };
        self.commits.push(Committed {
            seq: self.latest,
            receive_time: Timestamp::MIN,
            thumbnail_revision: row.thumbnail_revision,
            event: Arc::clone(&revision.event),
        });
        let place = place.unwrap_or(self.rows.len());
        let now_known = Known {
            camera: numbers.camera,
            begin_us: event.begin_time.as_micros(),
            revision: event.revision,
            counted,
            thumbnail_revision: row.thumbnail_revision,
            row: Some(place),
        };
        self.known.insert(event.id, now_known);
        if place == self.rows.len() {
            self.rows.push(row);
        } else {
            self.rows[place] = row;
        }
        StoreOutcome::Accepted(self.latest)
    }
}

fn rejected(problem: &str) -> StoreOutcome {
    StoreOutcome::Rejected(format!("event.event_id: {problem}"))
}
