//! Kill -9 while the outbox writes, then count: a real process, killed at a random moment, again and again.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use vigil_base::{EventId, SystemClock, Timestamp};
use vigil_outbox::{Outbox, OutboxConfig, Record};

/// Set for the process that writes: the folder of its outbox.
const CHILD: &str = "VIGIL_OUTBOX_KILL_CHILD";
const ROUNDS: usize = 6;
const THREADS: u64 = 4;

fn open(folder: &Path) -> Outbox {
    Outbox::open(&OutboxConfig::new(folder), SystemClock::shared()).unwrap()
}

/// Puts and acknowledges without end; prints each call once it has returned.
fn write_until_killed(folder: &Path) {
    let outbox = Arc::new(open(folder));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let outbox = Arc::clone(&outbox);
            let write = move || write_events(&outbox, thread);
            std::thread::Builder::new().name("putter".to_owned()).spawn(write).unwrap()
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

fn write_events(outbox: &Outbox, thread: u64) {
    for round in 0.. {
        let id = EventId::at(Timestamp::from_micros(1_700_000_000_000_000 + round));
        let last = 1 + (round as u64 + thread) as u32 % 3;
        for revision in 1..=last {
            let record = Record {
                event_id: id,
                revision,
                is_final: revision == last,
                event: Bytes::from(format!("{id} {revision}")),
                thumbnail: Bytes::from(vec![7; 2_000]),
            };
            outbox.put(record).unwrap();
            say(&format!("put {id} {revision}"));
        }
        if round % 4 == 0 {
            say(&format!("acknowledging {id} {last}"));
            outbox.acknowledge(&[(id, last)]).unwrap();
            say(&format!("acknowledged {id} {last}"));
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

#[derive(Default)]
struct Said {
    put: u32,
    acknowledging: bool,
    acknowledged: bool,
}

/// Runs the writer, kills it after `lines` lines, and returns what it had said by then.
fn run_and_kill(folder: &Path, lines: usize, said: &mut BTreeMap<EventId, Said>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill_9_loses_nothing_that_was_put", "--nocapture"])
        .env(CHILD, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    while let Some(Ok(line)) = output.next() {
        seen += usize::from(hear(&line, said));
        if seen == lines {
            // SIGKILL: nothing of the process runs after this.
            child.kill().unwrap();
        }
    }
    assert!(seen >= lines, "the writer ended by itself after {seen} lines");
    child.wait().unwrap();
}

fn hear(line: &str, said: &mut BTreeMap<EventId, Said>) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    let [what, id, revision] = words[..] else { return false };
    let (Ok(id), Ok(revision)) = (id.parse::<EventId>(), revision.parse::<u32>()) else { return false };
    let entry = said.entry(id).or_default();
    match what {
        "put" => entry.put = revision,
        "acknowledging" => entry.acknowledging = true,
        "acknowledged" => entry.acknowledged = true,
        _ => return false,
    }
    true
}

#[test]
fn kill_9_loses_nothing_that_was_put() {
    if let Some(folder) = std::env::var_os(CHILD) {
        write_until_killed(Path::new(&folder));
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let mut said = BTreeMap::new();
    for round in 0..ROUNDS {
        run_and_kill(temp.path(), 150 + 97 * round, &mut said);
        let outbox = open(temp.path());
        assert_eq!(outbox.quarantined(), None);
        let waiting: BTreeMap<EventId, Record> = outbox
            .next_batch(usize::MAX, usize::MAX)
            .unwrap()
            .into_iter()
            .map(|p| (p.record.event_id, p.record))
            .collect();
        assert!(said.len() > 20, "too little was written to count");
        for (id, said) in &said {
            match waiting.get(id) {
                Some(record) => {
                    assert!(!said.acknowledged, "{id} was acknowledged and still waits");
                    assert!(record.revision >= said.put, "{id}: revision {} was put", said.put);
                    assert_eq!(record.event, Bytes::from(format!("{id} {}", record.revision)));
                }
                None => assert!(said.acknowledging || said.put == 0, "{id} was put and is gone"),
            }
        }
    }
}
