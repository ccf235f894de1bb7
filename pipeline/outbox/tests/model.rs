//! The outbox against a model in memory: random calls, and crashes in between.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use proptest::prelude::*;
use vigil_base::{EventId, SimClock, Timestamp};
use vigil_outbox::{Outbox, OutboxConfig, PutOutcome, Record};

const EVENTS: usize = 6;

#[derive(Debug, Clone)]
enum Step {
    /// Revision grows by this; 0 repeats the last one.
    Put {
        event: usize,
        grow: u32,
        is_final: bool,
        thumbnail: bool,
    },
    /// Acknowledges what a batch of this size holds, minus this many revisions.
    Acknowledge {
        max_records: usize,
        older_by: u32,
    },
    SetAside {
        event: usize,
    },
    /// The process dies and comes back.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..EVENTS, 0u32..3, prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(event, grow, is_final, thumbnail)| Step::Put { event, grow, is_final, thumbnail }),
        3 => (1usize..4, 0u32..2)
            .prop_map(|(max_records, older_by)| Step::Acknowledge { max_records, older_by }),
        1 => (0..EVENTS).prop_map(|event| Step::SetAside { event }),
        1 => Just(Step::Crash),
    ]
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    sequence: Option<u64>,
    revision: u32,
    is_final: bool,
    event: Bytes,
    thumbnail: Bytes,
}

/// What the outbox promises, in the plainest form.
#[derive(Debug, Default)]
struct Model {
    entries: BTreeMap<usize, Entry>,
    next_sequence: u64,
    set_aside: u64,
}

impl Model {
    fn put(&mut self, event: usize, record: &Record) -> PutOutcome {
        let stored = self.entries.get(&event);
        if let Some(stored) = stored.filter(|stored| stored.revision >= record.revision) {
            return PutOutcome::Stale { stored: stored.revision };
        }
        self.next_sequence += 1;
        let kept = stored.map(|stored| stored.thumbnail.clone()).unwrap_or_default();
        let entry = Entry {
            sequence: Some(self.next_sequence),
            revision: record.revision,
            is_final: record.is_final,
            event: record.event.clone(),
            thumbnail: if record.thumbnail.is_empty() { kept } else { record.thumbnail.clone() },
        };
        self.entries.insert(event, entry);
        PutOutcome::Stored { sequence: self.next_sequence }
    }

    fn acknowledge(&mut self, event: usize, revision: u32) {
        let Some(entry) = self.entries.get_mut(&event) else { return };
        if entry.sequence.is_none() || entry.revision > revision {
            return;
        }
        if entry.is_final {
            self.entries.remove(&event);
        } else {
            entry.sequence = None;
            entry.thumbnail = Bytes::new();
        }
    }

    fn waiting(&self) -> Vec<(usize, Entry)> {
        let mut waiting: Vec<_> = self.entries.iter().filter(|(_, e)| e.sequence.is_some()).collect();
        waiting.sort_by_key(|(_, entry)| entry.sequence);
        waiting.into_iter().map(|(event, entry)| (*event, entry.clone())).collect()
    }
}

/// The outbox under test and the ids of its events.
struct Subject {
    root: PathBuf,
    generation: u32,
    outbox: Outbox,
    ids: Vec<EventId>,
}

impl Subject {
    fn new(root: &Path) -> Self {
        let begin = Timestamp::from_micros(1_700_000_000_000_000);
        let outbox = open(&root.join("0"));
        Self { root: root.to_owned(), generation: 0, outbox, ids: (0..EVENTS).map(|_| EventId::at(begin)).collect() }
    }

    /// Goes on with a copy of the files as they lie on the disk now: what kill -9 leaves behind.
    fn crash(&mut self) {
        let from = self.root.join(self.generation.to_string());
        self.generation += 1;
        let to = self.root.join(self.generation.to_string());
        fs::create_dir(&to).unwrap();
        for file in fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            // The -shm file is an index of the log in shared memory; a new process makes it again.
            if !file.file_name().to_str().unwrap().ends_with("-shm") {
                fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
        let instance = self.outbox.instance_id();
        self.outbox = open(&to);
        assert_eq!(self.outbox.instance_id(), instance);
        assert_eq!(self.outbox.quarantined(), None);
    }

    fn index_of(&self, id: EventId) -> usize {
        self.ids.iter().position(|known| *known == id).expect("the outbox returned an event that was never put")
    }

    fn check(&self, model: &Model) {
        let waiting = self.outbox.next_batch(usize::MAX, usize::MAX).unwrap();
        let found: Vec<(usize, Entry)> = waiting
            .into_iter()
            .map(|pending| {
                let Record { event_id, revision, is_final, event, thumbnail } = pending.record;
                let entry = Entry { sequence: Some(pending.sequence), revision, is_final, event, thumbnail };
                (self.index_of(event_id), entry)
            })
            .collect();
        assert_eq!(found, model.waiting());
        let mut open: Vec<_> = self
            .outbox
            .open_events()
            .unwrap()
            .into_iter()
            .map(|o| (self.index_of(o.event_id), o.revision, o.event))
            .collect();
        open.sort();
        let expected: Vec<_> =
            model.entries.iter().filter(|(_, e)| !e.is_final).map(|(i, e)| (*i, e.revision, e.event.clone())).collect();
        assert_eq!(open, expected);
        let backlog = self.outbox.backlog();
        assert_eq!(backlog.records as usize, model.waiting().len());
        assert_eq!((backlog.set_aside, backlog.set_aside_total), (model.set_aside, model.set_aside));
        assert_eq!(self.outbox.rejected(usize::MAX).unwrap().len() as u64, model.set_aside);
        assert_eq!(self.outbox.oldest_pending().unwrap().is_some(), !model.waiting().is_empty());
    }
}

fn open(folder: &Path) -> Outbox {
    Outbox::open(&OutboxConfig::new(folder), SimClock::new(Timestamp::from_micros(1_700_000_000_000_000))).unwrap()
}

fn take(step: &Step, subject: &mut Subject, model: &mut Model, revisions: &mut [u32]) {
    match *step {
        Step::Put { event, grow, is_final, thumbnail } => {
            revisions[event] = (revisions[event] + grow).max(1);
            let revision = revisions[event];
            let text = format!("event {event} revision {revision}");
            let record = Record {
                event_id: subject.ids[event],
                revision,
                is_final,
                thumbnail: if thumbnail { Bytes::from(format!("picture of {text}")) } else { Bytes::new() },
                event: Bytes::from(text),
            };
            let expected = model.put(event, &record);
            assert_eq!(subject.outbox.put(record).unwrap(), expected);
        }
        Step::Acknowledge { max_records, older_by } => {
            let batch = subject.outbox.next_batch(max_records, usize::MAX).unwrap();
            let acknowledged: Vec<_> =
                batch.iter().map(|p| (p.record.event_id, p.record.revision.saturating_sub(older_by))).collect();
            subject.outbox.acknowledge(&acknowledged).unwrap();
            for (id, revision) in acknowledged {
                model.acknowledge(subject.index_of(id), revision);
            }
        }
        Step::SetAside { event } => {
            let Some(entry) = model.entries.get(&event).filter(|e| e.sequence.is_some()).cloned() else { return };
            subject.outbox.set_aside(subject.ids[event], entry.revision, "rejected").unwrap();
            model.acknowledge(event, entry.revision);
            model.set_aside += 1;
        }
        Step::Crash => subject.crash(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_outbox_behaves_as_its_model_through_crashes(steps in prop::collection::vec(step(), 1..40)) {
        let temp = tempfile::tempdir().unwrap();
        let (mut subject, mut model, mut revisions) = (Subject::new(temp.path()), Model::default(), [0; EVENTS]);
        for step in &steps {
            take(step, &mut subject, &mut model, &mut revisions);
            subject.check(&model);
        }
    }
}
