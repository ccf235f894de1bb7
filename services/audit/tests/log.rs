//! The log on a real disk: written, killed, filled up, tampered with, and then checked.

#![allow(clippy::unwrap_used)] // A test that fails here has failed.

#[path = "../../vigil/tests/common/disk.rs"]
#[allow(dead_code)] // A part of it is used here.
mod disk;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use disk::SmallDisk;
use proptest::prelude::*;
use serde_json::json;
use vigil_audit::{AuditError, AuditLog, Entry, Head, Outcome, PublicKey, Report, Search, search, verify};
use vigil_base::{SimClock, Timestamp};

fn entry(n: u64) -> Entry {
    Entry {
        subject: format!("officer-{}", n % 3),
        on_behalf_of: None,
        peer: "10.0.0.7".to_owned(),
        method: "EventQueryService/Search".to_owned(),
        purpose: Some("a stolen bicycle".to_owned()),
        case: Some(format!("2026-{}", n % 5)),
        question: json!({ "filter": { "cameraIds": [format!("gate-{n}")] } }),
        outcome: Outcome::ok(n),
    }
}

fn clock() -> std::sync::Arc<SimClock> {
    SimClock::new(Timestamp::from_micros(1_800_000_000_000_000))
}

async fn write(folder: &Path, numbers: std::ops::Range<u64>) {
    let log = AuditLog::open(folder, clock()).unwrap();
    for n in numbers {
        assert_eq!(log.append(entry(n)).await.unwrap(), n + 1);
    }
}

/// A log of twelve records.
async fn twelve() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 0..12).await;
    folder
}

fn key(folder: &Path) -> PublicKey {
    PublicKey::load(&folder.join("public-key.pem")).unwrap()
}

fn check(folder: &Path) -> Report {
    verify(folder, &key(folder), &[]).unwrap()
}

fn segment(folder: &Path) -> PathBuf {
    folder.join("audit-00000000000000000001.jsonl")
}

fn lines(folder: &Path) -> Vec<String> {
    fs::read_to_string(segment(folder)).unwrap().lines().map(str::to_owned).collect()
}

fn put_lines(folder: &Path, lines: &[String]) {
    let lines: Vec<_> = lines.iter().map(|line| [line, "\n"].concat()).collect();
    fs::write(segment(folder), lines.concat()).unwrap();
}

#[tokio::test]
async fn what_was_appended_is_there_after_a_restart_and_the_log_is_whole() {
    let folder = twelve().await;
    write(folder.path(), 12..15).await;
    let report = check(folder.path());
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.records, report.unsigned, report.head.unwrap().seq), (15, 0, 15));
}

#[tokio::test]
async fn many_at_once_get_numbers_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let log = std::sync::Arc::new(AuditLog::open(folder.path(), clock()).unwrap());
    let appending = (0..500).map(|n| {
        tokio::spawn({
            let log = log.clone();
            async move { log.append(entry(n)).await.unwrap() }
        })
    });
    let mut numbers = Vec::new();
    for one in appending.collect::<Vec<_>>() {
        numbers.push(one.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=500).collect::<Vec<_>>());
    drop(log);
    let report = check(folder.path());
    assert!(report.is_whole() && report.records == 500, "{report:?}");
}

#[tokio::test]
async fn each_kind_of_tampering_is_found() {
    type Tamper = fn(&mut Vec<String>);
    let cases: [(&str, Tamper, &str); 8] = [
        ("altered", |l| l[5] = l[5].replace("officer-2", "officer-1"), "does not follow"),
        ("the last altered", |l| l[11] = l[11].replace("gate-11", "gate-99"), "is not the one of the signed head"),
        ("removed", |l| drop(l.remove(5)), "record 7; 6 was to come"),
        ("the first removed", |l| drop(l.remove(0)), "record 2; 1 was to come"),
        ("the last removed", |l| drop(l.pop()), "ends 1 records before the signed head"),
        ("all removed", Vec::clear, "ends 12 records before the signed head"),
        ("reordered", |l| l.swap(3, 8), "was to come"),
        ("written twice", |l| l.insert(4, l[4].clone()), "record 5; 6 was to come"),
    ];
    for (what, tamper, expected) in cases {
        let folder = twelve().await;
        let mut lines = lines(folder.path());
        tamper(&mut lines);
        put_lines(folder.path(), &lines);
        let report = check(folder.path());
        assert!(report.problems.iter().any(|problem| problem.to_string().contains(expected)), "{what}: {report:?}");
    }
}

#[tokio::test]
async fn a_history_that_was_written_anew_is_found_by_a_head_that_was_kept_elsewhere() {
    let folder = twelve().await;
    let kept: Vec<Head> = check(folder.path()).head.into_iter().collect();
    // Whoever has the key writes the whole log again, with something else in it.
    for name in ["head", "audit-00000000000000000001.jsonl"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    write(folder.path(), 0..11).await;
    let log = AuditLog::open(folder.path(), clock()).unwrap();
    log.append(entry(99)).await.unwrap();
    drop(log);
    assert!(check(folder.path()).is_whole());
    let report = verify(folder.path(), &key(folder.path()), &kept).unwrap();
    assert!(report.problems[0].what.contains("kept elsewhere"), "{report:?}");
    let forged = Head { seq: 3, ..kept[0].clone() };
    let report = verify(folder.path(), &key(folder.path()), &[forged]).unwrap();
    assert!(report.problems[0].what.contains("was not signed"), "{report:?}");
}

#[tokio::test]
async fn a_process_that_ended_while_it_wrote_goes_on_and_says_so() {
    let folder = twelve().await;
    let whole = fs::read(segment(folder.path())).unwrap();
    fs::write(segment(folder.path()), [&whole[..], b"{\"seq\":13,\"pr"].concat()).unwrap();
    assert!(check(folder.path()).torn);
    write(folder.path(), 12..13).await;
    let report = check(folder.path());
    assert!(report.is_whole() && !report.torn && report.records == 13, "{report:?}");

    // The records came to the disk, the head did not: both slots hold heads before it.
    let head = fs::read(folder.path().join("head")).unwrap();
    write(folder.path(), 13..15).await;
    fs::write(folder.path().join("head"), head).unwrap();
    assert_eq!(check(folder.path()).unsigned, 2);
    drop(AuditLog::open(folder.path(), clock()).unwrap());
    let report = check(folder.path());
    assert_eq!((report.records, report.unsigned, report.is_whole()), (16, 0, true));
    assert!(lines(folder.path())[15].contains("\"unsigned_records\":2"));
}

#[tokio::test]
async fn nothing_is_added_to_a_log_that_is_not_whole() {
    for tamper in [|l: &mut Vec<String>| drop(l.pop()), |l: &mut Vec<String>| drop(l.remove(4))] {
        let folder = twelve().await;
        let mut lines = lines(folder.path());
        tamper(&mut lines);
        put_lines(folder.path(), &lines);
        let error = AuditLog::open(folder.path(), clock()).unwrap_err();
        assert!(matches!(error, AuditError::Damaged { .. }), "{error}");
    }
    let folder = twelve().await;
    fs::remove_file(folder.path().join("head")).unwrap();
    assert!(matches!(AuditLog::open(folder.path(), clock()), Err(AuditError::Damaged { .. })));
}

#[tokio::test]
async fn a_folder_belongs_to_one_process_and_its_key_to_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let _log = AuditLog::open(folder.path(), clock()).unwrap();
    assert!(matches!(AuditLog::open(folder.path(), clock()), Err(AuditError::InUse { .. })));
    let mode = fs::metadata(folder.path().join("signing-key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn an_entry_that_is_too_large_is_refused_and_the_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let log = AuditLog::open(folder.path(), clock()).unwrap();
    let huge = Entry { question: json!("x".repeat(300_000)), ..entry(0) };
    assert!(matches!(log.append(huge).await, Err(AuditError::TooLarge { .. })));
    assert_eq!(log.append(entry(1)).await.unwrap(), 1);
}

#[tokio::test]
async fn on_a_full_disk_questions_are_written_down_for_a_while_and_then_refused_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::new(&folder.path().join("disk"), 24 << 20);
    let log_folder = disk.outside().join("audit");
    let log = AuditLog::open(&log_folder, clock()).unwrap();
    assert_eq!(log.append(entry(0)).await.unwrap(), 1);
    disk.fill();
    let large = Entry { question: json!("x".repeat(100_000)), ..entry(1) };
    let mut written = 1;
    let refused = loop {
        match log.append(large.clone()).await {
            Ok(number) => written = number,
            Err(error) => break error,
        }
    };
    assert!(matches!(&refused, AuditError::Io { .. }) && written >= 40, "{written}: {refused}");
    let report = check(&log_folder);
    assert_eq!((report.records, report.is_whole()), (written, true), "{report:?}");

    disk.make_room();
    assert_eq!(log.append(entry(2)).await.unwrap(), written + 1);
    drop(log);
    let report = check(&log_folder);
    assert_eq!((report.records, report.unsigned, report.torn, report.is_whole()), (written + 1, 0, false, true));
}

#[tokio::test]
async fn auditors_find_who_asked_for_what() {
    let folder = twelve().await;
    let ask = |change: fn(&mut Search)| {
        let mut wanted = Search { limit: 100, ..Search::default() };
        change(&mut wanted);
        let found = search(folder.path(), &wanted).unwrap();
        found.records.iter().map(|record| record.seq).collect::<Vec<_>>()
    };
    assert_eq!(ask(|s| s.subject = Some("officer-1".to_owned())), [2, 5, 8, 11]);
    assert_eq!(ask(|s| s.case = Some("2026-4".to_owned())), [5, 10]);
    assert_eq!(ask(|s| s.text = Some("gate-7".to_owned())), [8]);
    assert_eq!(ask(|s| s.until = Some(Timestamp::from_micros(0))), [0; 0]);
    let first = search(folder.path(), &Search { limit: 5, ..Search::default() }).unwrap();
    assert_eq!((first.records.len(), first.next), (5, Some(5)));
    let rest = search(folder.path(), &Search { limit: 50, after: 5, ..Search::default() }).unwrap();
    assert_eq!((rest.records.len(), rest.next), (7, None));
}

/// A log of twelve records that is only read.
fn written_once() -> &'static Path {
    static WRITTEN: OnceLock<tempfile::TempDir> = OnceLock::new();
    let write = || tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(twelve());
    WRITTEN.get_or_init(write).path()
}

proptest! {
    /// One byte anywhere in the records: either it is found, or what it says is the same.
    #[test]
    fn no_altered_byte_goes_unnoticed(at in 0.0f64..1.0, with in any::<u8>()) {
        let written = written_once();
        let folder = tempfile::tempdir().unwrap();
        for name in ["head", "public-key.pem"] {
            fs::copy(written.join(name), folder.path().join(name)).unwrap();
        }
        let mut bytes = fs::read(segment(written)).unwrap();
        let at = (at * bytes.len() as f64) as usize;
        prop_assume!(bytes[at] != with);
        bytes[at] = with;
        fs::write(segment(folder.path()), bytes).unwrap();
        let report = check(folder.path());
        prop_assert!(!report.is_whole(), "byte {at} became {with}: {report:?}");
    }
}
