//! The simulator as a server and as a maker of clips; what its streams look like to a camera client is tested by
//! vigil-camera.

#![allow(clippy::unwrap_used)] // The helpers are tests too.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use vigil_base::{Codec, Secret, Size};
use vigil_camsim::{Coding, Command, Credentials, Fault, MountConfig, Progress, SimConfig, SimError, Simulator};

fn clip() -> PathBuf {
    let cache = std::env::var_os("VIGIL_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/vigil"),
        PathBuf::from,
    );
    let clip = cache.join("clips/vtest.avi");
    assert!(clip.is_file(), "{} is missing: run scripts/setup, or set VIGIL_CACHE", clip.display());
    clip
}

/// Two seconds of the plaza, small.
fn mount(name: &str) -> MountConfig {
    MountConfig {
        size: Some(Size::new(128, 96)),
        gop: Duration::from_millis(500),
        max_length: Some(Duration::from_secs(2)),
        ..MountConfig::new(name, clip())
    }
}

fn config(cache: &Path, mounts: impl IntoIterator<Item = MountConfig>) -> SimConfig {
    let mut config = SimConfig::new(cache);
    config.mounts.extend(mounts);
    config
}

/// Starts, and tells which mounts had their clip in the cache.
fn start(config: SimConfig) -> Result<(Simulator, Vec<bool>), SimError> {
    let from_cache = Mutex::new(Vec::new());
    let simulator = Simulator::start_with_progress(config, &|progress| {
        if let Progress::Ready { cached, .. } = progress {
            from_cache.lock().push(cached);
        }
    })?;
    Ok((simulator, from_cache.into_inner()))
}

/// The first line of the answer to a request; nothing when nobody listens.
fn ask(port: u16, request: &str) -> Option<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    connection.write_all(request.as_bytes()).ok()?;
    BufReader::new(connection).lines().next()?.ok()
}

fn answers(port: u16) -> bool {
    ask(port, "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n").is_some_and(|line| line.contains("200"))
}

fn own_threads() -> Vec<String> {
    let names = std::fs::read_dir("/proc/self/task").unwrap().filter_map(|task| {
        let name = std::fs::read_to_string(task.ok()?.path().join("comm")).ok()?;
        name.starts_with("vigil-").then(|| name.trim().to_owned())
    });
    names.collect()
}

#[test]
fn clips_have_the_asked_size_rate_codec_and_length_and_are_encoded_once() {
    let cache = tempfile::tempdir().unwrap();
    let mounts = || {
        [
            mount("h264"),
            MountConfig { codec: Codec::H265, fps: Some(5.0), ..mount("h265") },
            MountConfig { size: None, max_length: Some(Duration::from_millis(300)), ..mount("own") },
        ]
    };
    let (simulator, cached) = start(config(cache.path(), mounts())).unwrap();
    assert_eq!(cached, [false, false, false]);
    let told = |name: &str| {
        let stats = simulator.stats(name).unwrap();
        (stats.codec, stats.size, stats.fps)
    };
    assert_eq!(told("h264"), (Codec::H264, Size::new(128, 96), 10.0));
    assert_eq!(told("h265"), (Codec::H265, Size::new(128, 96), 5.0));
    assert_eq!(told("own"), (Codec::H264, Size::new(768, 576), 10.0));
    drop(simulator);
    assert_eq!(start(config(cache.path(), mounts())).unwrap().1, [true, true, true]);
}

/// The first bytes of a picture's first sequence parameter set.
fn sps(unit: &[u8]) -> &[u8] {
    let at = unit.windows(5).position(|bytes| bytes[..4] == [0, 0, 0, 1] && bytes[4] & 0x1f == 7).unwrap();
    &unit[at + 5..]
}

#[test]
fn b_frames_fields_and_wide_chroma_are_really_coded() {
    let cache = tempfile::tempdir().unwrap();
    let coded = |name: &str, coding: Coding| MountConfig { coding, ..mount(name) };
    let mounts = [
        coded("b", Coding { b_frames: 2, ..Coding::default() }),
        coded("fields", Coding { interlaced: true, ..Coding::default() }),
        coded("plain", Coding::default()),
        coded("wide", Coding { wide_chroma: true, ..Coding::default() }),
    ];
    let (simulator, _) = start(config(cache.path(), mounts)).unwrap();
    let first = |name: &str| simulator.clip(name).unwrap().access_units.clone();
    let taken: Vec<_> = first("b").iter().take(4).map(|unit| unit.taken_before).collect();
    assert_eq!(taken, [2, 0, 3, 3], "two B frames follow the picture that is shown after them");
    // profile_idc 122 is High 4:2:2 (ITU-T H.264, A.2.6); 100 is High, which progressive pictures use, too.
    assert_eq!(sps(&first("wide")[0].data)[0], 122);
    assert_eq!(sps(&first("fields")[0].data)[0], 100);
    assert_ne!(first("fields")[0].data, first("plain")[0].data);
}

#[test]
fn mounts_of_one_clip_share_it_wherever_they_start() {
    let cache = tempfile::tempdir().unwrap();
    let later = MountConfig { start_offset: Duration::from_secs(1), ..mount("later") };
    let (simulator, cached) = start(config(cache.path(), [mount("first"), later])).unwrap();
    assert_eq!(cached, [false], "one clip is prepared");
    assert_eq!(simulator.stats("later").unwrap().size, Size::new(128, 96));
}

#[test]
fn a_damaged_cache_file_is_encoded_again() {
    let cache = tempfile::tempdir().unwrap();
    drop(start(config(cache.path(), [mount("cam")])).unwrap());
    let file = std::fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(start(config(cache.path(), [mount("cam")])).unwrap().1, [false]);
    assert!(std::fs::read(&file).unwrap() == whole, "the same clip is encoded to the same bytes");
}

#[test]
fn stopping_frees_the_port_and_ends_every_thread() {
    let cache = tempfile::tempdir().unwrap();
    let (simulator, _) = start(config(cache.path(), [mount("stopped-one"), mount("stopped-two")])).unwrap();
    let port = simulator.port();
    assert!(answers(port));
    assert!(own_threads().iter().any(|name| name.starts_with("vigil-cam-stopp")));
    simulator.stop();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(!own_threads().iter().any(|name| name.starts_with("vigil-cam-stopp")), "{:?}", own_threads());
    let again = SimConfig { listen: ([127, 0, 0, 1], port).into(), ..config(cache.path(), [mount("cam")]) };
    let (again, _) = start(again).unwrap();
    assert_eq!(again.port(), port);
    assert!(answers(port));
}

#[test]
fn basic_passwords_are_taken_and_wrong_ones_are_not() {
    let cache = tempfile::tempdir().unwrap();
    let credentials = Credentials { user: "viewer".to_owned(), password: Secret::new("open") };
    let protected = SimConfig { credentials: Some(credentials), ..config(cache.path(), [mount("cam")]) };
    let (simulator, _) = start(protected).unwrap();
    let describe = |password: &str| {
        let url = simulator.url("cam");
        let request = format!("DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAuthorization: Basic {password}\r\n\r\n");
        ask(simulator.port(), &request).unwrap()
    };
    // "viewer:open" and "viewer:shut" in base64.
    assert!(describe("dmlld2VyOm9wZW4=").contains("200"));
    assert!(describe("dmlld2VyOnNodXQ=").contains("401"));
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let cache = tempfile::tempdir().unwrap();
    let (first, _) = start(config(cache.path(), [mount("cam")])).unwrap();
    let listen = ([127, 0, 0, 1], first.port()).into();
    let error = start(SimConfig { listen, ..config(cache.path(), [mount("cam")]) }).err().unwrap();
    assert!(error.to_string().contains(&first.port().to_string()), "{error}");
}

#[test]
fn a_clip_that_cannot_be_used_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "no video at all\n").unwrap();
    let empty = folder.path().join("empty.mp4");
    std::fs::write(&empty, "").unwrap();
    let cut = folder.path().join("cut.avi");
    std::fs::write(&cut, &std::fs::read(clip()).unwrap()[..2_000]).unwrap();
    for path in [text, empty, cut, folder.path().join("absent.avi")] {
        let mount = MountConfig { clip: path.clone(), ..mount("cam") };
        let error = start(config(folder.path(), [mount])).err().expect("no clip, no simulator");
        assert!(matches!(error, SimError::Clip { .. } | SimError::Encode { .. }), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_command_for_an_unknown_mount_names_the_known_ones() {
    let cache = tempfile::tempdir().unwrap();
    let (simulator, _) = start(config(cache.path(), [mount("north"), mount("south")])).unwrap();
    let error = simulator.execute(&"freeze east 1s".parse::<Command>().unwrap()).unwrap_err().to_string();
    assert!(error.contains("\"east\"") && error.contains("north, south"), "{error}");
    simulator.execute(&"jump all +1s".parse::<Command>().unwrap()).unwrap();
    assert!(simulator.inject("north", Fault::Close).is_ok(), "nobody plays it, and that is no error");
}

#[test]
fn a_cache_folder_that_cannot_be_written_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let error = start(config(&file.join("cache"), [mount("cam")])).err().unwrap();
    assert!(matches!(error, SimError::Cache { .. }) && error.to_string().contains("a-file"), "{error:?}");
}
