//! What rules remember, on the disk: one small file a camera, beside the outbox.
//!
//! - `rules/<camera>`: the SHA-256 of what follows in hex, a line break, and JSON: the version, cool-downs and counts by rule, each
//!   with the fingerprint of what it watches, and the events that ended because the edge did, as the region knows them.
//! - It is replaced as a whole, when a rule with a cool-down fires, else at most every ten seconds and when the analysis ends: a
//!   power cut costs ten seconds of counting, and no alarm.
//! - What was in view when the edge died is in the outbox, which counts above the file.
//! - A file that is damaged, too large, of another version or of another camera is thrown away, and said so: rules begin anew.
//!   One that cannot be written is said once, and the cameras go on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use parking_lot::Mutex;
use prost::Message;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use vigil_base::{CameraId, Event};
use vigil_proto::convert::{event_from_wire, event_to_wire};
use vigil_proto::v1;
use vigil_rules::RulesMemory;
use vigil_runtime::{MemoryStore, Remembered};

use crate::config::EdgeConfig;
use crate::files::replace_file;

/// Of the file's format.
const VERSION: u32 = 1;
/// Largest file that is read: the most rules and interrupted events of a camera need less than half of it.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The memories of all cameras.
pub(crate) struct Memories {
    folder: PathBuf,
    /// What was in view when the edge died, until its camera starts.
    cut_off: Mutex<BTreeMap<CameraId, Vec<Event>>>,
}

impl Memories {
    /// `cut_off` are the events that were in view when the edge died. Files of cameras that are no more are deleted.
    pub fn open(config: &EdgeConfig, cut_off: Vec<Event>) -> Self {
        let mut by_camera = BTreeMap::<_, Vec<Event>>::new();
        for event in cut_off {
            by_camera.entry(event.camera.clone()).or_default().push(event);
        }
        let memories = Self { folder: config.data_dir.join("rules"), cut_off: Mutex::new(by_camera) };
        memories.keep_only(|name| config.cameras.iter().any(|camera| camera.id.as_str() == name));
        memories
    }

    /// The memory of one camera; to be asked for again whenever its chain is set up.
    pub fn of(&self, camera: &CameraId) -> Arc<dyn MemoryStore> {
        Arc::new(FileMemory {
            path: self.folder.join(camera.as_str()),
            camera: camera.clone(),
            cut_off: Mutex::new(self.cut_off.lock().remove(camera).unwrap_or_default()),
            fails: AtomicBool::new(false),
        })
    }

    /// The camera was taken out.
    pub fn forget(&self, camera: &CameraId) {
        self.keep_only(|name| name != camera.as_str());
    }

    fn keep_only(&self, keep: impl Fn(&str) -> bool) {
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if !entry.file_name().to_str().is_some_and(&keep)
                && let Err(error) = std::fs::remove_file(entry.path())
            {
                tracing::warn!(path = %entry.path().display(), %error, "a file that nobody needs cannot be deleted");
            }
        }
    }
}

/// As it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    camera: CameraId,
    rules: RulesMemory,
    /// Events of the wire contract, Base64.
    interrupted: Vec<String>,
}

struct FileMemory {
    path: PathBuf,
    camera: CameraId,
    cut_off: Mutex<Vec<Event>>,
    /// It is said once that it cannot be written.
    fails: AtomicBool,
}

impl MemoryStore for FileMemory {
    fn load(&self) -> Remembered {
        let mut remembered = read(&self.path, &self.camera).unwrap_or_else(|why| {
            tracing::warn!(
                camera = %self.camera, path = %self.path.display(), %why,
                "what the rules remember cannot be used: cool-downs and counts begin anew"
            );
            Remembered::default()
        });
        remembered.interrupted.append(&mut self.cut_off.lock());
        remembered
    }

    fn save(&self, remembered: &Remembered) {
        let outcome = replace_file(&self.path, &write(&self.camera, remembered));
        let failed = outcome.is_err();
        if let Err(error) = outcome
            && !self.fails.load(Ordering::Relaxed)
        {
            tracing::warn!(
                camera = %self.camera, path = %self.path.display(), %error,
                "what the rules remember cannot be written: a restart would tell again what goes on"
            );
        }
        self.fails.store(failed, Ordering::Relaxed);
    }
}

fn write(camera: &CameraId, remembered: &Remembered) -> Vec<u8> {
    let encode = |event: &Event| BASE64_STANDARD.encode(event_to_wire(event).encode_to_vec());
    let written = Written {
        version: VERSION,
        camera: camera.clone(),
        rules: remembered.rules.clone(),
        interrupted: remembered.interrupted.iter().map(encode).collect(),
    };
    let json = serde_json::to_string(&written).expect("names and numbers can be written as JSON");
    format!("{}\n{json}", digest(&json)).into_bytes()
}

fn digest(text: &str) -> String {
    format!("{:x}", Sha256::digest(text))
}

/// What the file holds, nothing when there is none; or why it is of no use.
fn read(path: &Path, camera: &CameraId) -> Result<Remembered, String> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Remembered::default()),
        Ok(found) if found.len() > MAX_FILE_BYTES => return Err("it is too large".to_owned()),
        Ok(_) | Err(_) => {}
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let (sum, json) = text.split_once('\n').ok_or("it is cut off")?;
    if sum != digest(json) {
        return Err("it is damaged".to_owned());
    }
    let written: Written = serde_json::from_str(json).map_err(|error| format!("it is of another version: {error}"))?;
    if written.version != VERSION || written.camera != *camera {
        return Err(format!("it is version {} of camera {}", written.version, written.camera));
    }
    let interrupted = written.interrupted.iter().map(|text| decode(text)).collect::<Result<_, _>>()?;
    Ok(Remembered { rules: written.rules, interrupted })
}

fn decode(text: &str) -> Result<Event, String> {
    let bytes = BASE64_STANDARD.decode(text).map_err(|error| error.to_string())?;
    let wire = v1::Event::decode(&bytes[..]).map_err(|error| error.to_string())?;
    event_from_wire(wire).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use vigil_base::{RuleId, Timestamp};
    use vigil_rules::{Kept, KeptCounts, KeptTally, RuleMemory};

    use super::*;

    fn store(folder: &Path, name: &str) -> FileMemory {
        let camera = CameraId::new(name).unwrap();
        let path = folder.join("rules").join(name);
        FileMemory { path, camera, cut_off: Mutex::default(), fails: AtomicBool::new(false) }
    }

    fn remembered() -> Remembered {
        let counts = KeptCounts { left: 3, right: 4, since: Timestamp::from_micros(5) };
        let tally = KeptTally::Line { counts, reported: counts, interval_since: None };
        let kept = Kept { fired: Some(Timestamp::from_micros(6)), suppressed: 7, tally: Some(tally) };
        let rule = RuleMemory { rule: RuleId::new("gate").unwrap(), watch: "00ff".to_owned(), kept };
        let rules = RulesMemory { at: Some(Timestamp::from_micros(8)), rules: vec![rule] };
        Remembered { rules, interrupted: Vec::new() }
    }

    #[test]
    fn what_was_saved_last_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), "cam");
        assert_eq!(store.load(), Remembered::default());
        store.save(&Remembered::default());
        store.save(&remembered());
        assert_eq!(store.load(), remembered());
    }

    #[test]
    fn any_single_bit_that_flips_and_any_cut_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), "cam");
        store.save(&remembered());
        let whole = std::fs::read(&store.path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&store.path, &damaged).unwrap();
            assert_eq!(store.load(), Remembered::default(), "bit {bit}");
        }
        for length in 0..whole.len() {
            std::fs::write(&store.path, &whole[..length]).unwrap();
            assert_eq!(store.load(), Remembered::default(), "{length} bytes");
        }
    }

    #[test]
    fn the_file_of_another_camera_or_another_version_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (store(folder.path(), "one"), store(folder.path(), "two"));
        one.save(&remembered());
        std::fs::rename(&one.path, &two.path).unwrap();
        assert_eq!(two.load(), Remembered::default());
        let json = format!("{{\"version\":{},\"camera\":\"two\",\"rules\":{{\"at\":null,\"rules\":[]}}}}", VERSION + 1);
        std::fs::write(&two.path, format!("{}\n{json}", digest(&json))).unwrap();
        assert!(read(&two.path, &two.camera).unwrap_err().contains("version"));
    }
}
