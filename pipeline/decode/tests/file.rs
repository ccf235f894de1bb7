//! Video files, whole and broken.

#![allow(clippy::unwrap_used)] // Test code, in part outside of test functions.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use support::{START, Stream, index_of};
use vigil_base::{Codec, Size, TimeSource};
use vigil_decode::{DecodeError, FileDecoder};

fn read_all(path: &Path) -> (Vec<u64>, Option<DecodeError>) {
    let mut decoder = FileDecoder::open(path, START).unwrap();
    let mut indexes = Vec::new();
    loop {
        match decoder.next_frame() {
            Ok(Some(frame)) => {
                assert_eq!(frame.sequence, indexes.len() as u64);
                indexes.push(index_of(&frame));
            }
            Ok(None) => return (indexes, None),
            Err(err) => return (indexes, Some(err)),
        }
    }
}

fn cut(path: &Path, share: f64) -> PathBuf {
    let data = std::fs::read(path).unwrap();
    let shorter = path.with_extension(format!("cut.{}", path.extension().unwrap().display()));
    std::fs::write(&shorter, &data[..(data.len() as f64 * share) as usize]).unwrap();
    shorter
}

#[test]
fn every_frame_of_every_container_comes_once_in_order() {
    let dir = tempfile::tempdir().unwrap();
    for (name, muxer, codec, b_frames) in [
        ("a.mp4", "mp4mux", Codec::H264, 3),
        ("b.mkv", "matroskamux", Codec::H265, 0),
        ("c.ts", "mpegtsmux", Codec::H264, 0),
        ("d.avi", "avimux", Codec::H264, 0),
    ] {
        let path = dir.path().join(name);
        Stream { codec, b_frames, ..Stream::h264(96, 64, 40) }.file(muxer, &path);
        let (indexes, err) = read_all(&path);
        assert!(err.is_none(), "{name}: {err:?}");
        assert_eq!(indexes, (0..40).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn times_count_from_the_given_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    Stream { b_frames: 2, ..Stream::h264(96, 64, 30) }.file("mp4mux", &path);
    let decoder = FileDecoder::open(&path, START).unwrap();
    let info = decoder.info();
    assert_eq!(info.size, Size::new(96, 64));
    assert_eq!(info.frame_rate.unwrap().per_second(), 25.0);
    assert!(info.duration.unwrap().abs_diff(Duration::from_millis(1200)) < Duration::from_millis(50), "{info:?}");
    for (index, frame) in decoder.enumerate() {
        let frame = frame.unwrap();
        assert_eq!(frame.capture_time.since(START), Duration::from_millis(40 * index as u64));
        assert_eq!(frame.time_source, TimeSource::File);
    }
}

#[test]
fn missing_empty_and_foreign_files_are_errors_that_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("empty.mp4"), b"").unwrap();
    std::fs::write(at("notes.mp4"), "no video, just text\n".repeat(500)).unwrap();
    let noise: Vec<u8> = (0..50_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(at("noise.mp4"), noise).unwrap();
    let open = |name: &str| FileDecoder::open(&at(name), START).unwrap_err();
    assert!(matches!(open("absent.mp4"), DecodeError::Open { .. }));
    assert!(matches!(open("empty.mp4"), DecodeError::Empty { .. }));
    assert!(matches!(FileDecoder::open(dir.path(), START).unwrap_err(), DecodeError::Empty { .. }));
    nix::unistd::mkfifo(&at("pipe.mp4"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(open("pipe.mp4"), DecodeError::Empty { .. }), "and does not wait for a writer");
    for name in ["absent.mp4", "empty.mp4", "notes.mp4", "noise.mp4"] {
        assert!(open(name).to_string().contains(name), "{}", open(name));
    }
    for name in ["notes.mp4", "noise.mp4"] {
        assert!(matches!(open(name), DecodeError::NotVideo { .. }), "{:?}", open(name));
    }
}

#[test]
fn a_file_with_sound_only_is_not_a_video() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sound.wav");
    let mut wav = b"RIFF\x24\x10\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x00\x10\x00\x00".to_vec();
    wav.resize(wav.len() + 4096, 0);
    std::fs::write(&path, wav).unwrap();
    let err = FileDecoder::open(&path, START).unwrap_err();
    assert!(matches!(err, DecodeError::NotVideo { .. }), "{err:?}");
}

#[test]
fn a_truncated_file_gives_its_frames_and_then_an_error() {
    let dir = tempfile::tempdir().unwrap();
    for (name, muxer) in [("a.mkv", "matroskamux"), ("b.avi", "avimux"), ("c.mp4", "mp4mux faststart=true")] {
        let path = dir.path().join(name);
        Stream::h264(96, 64, 125).file(muxer, &path);
        let (indexes, err) = read_all(&cut(&path, 0.5));
        assert!(indexes.len() > 20 && indexes.len() < 100, "{name}: {} frames", indexes.len());
        let err = err.unwrap_or_else(|| panic!("{name}: no error after {} frames", indexes.len()));
        assert!(matches!(err, DecodeError::Truncated { .. } | DecodeError::Damaged { .. }), "{name}: {err:?}");
        assert!(err.to_string().contains(name.split_once('.').unwrap().0), "{err}");
    }
}

/// Bytes are overwritten in seven places of the middle third.
fn damage(path: &Path) -> PathBuf {
    let mut data = std::fs::read(path).unwrap();
    let len = data.len();
    for at in (len / 3..len * 2 / 3).step_by(len / 20) {
        data[at..at + 8].copy_from_slice(&[0x55, 0xaa, 0x13, 0x37, 0x99, 0x01, 0xfe, 0x42]);
    }
    let damaged = path.with_extension(format!("damaged.{}", path.extension().unwrap().display()));
    std::fs::write(&damaged, data).unwrap();
    damaged
}

#[test]
fn pictures_that_the_decoder_repaired_are_told_and_a_whole_file_has_none() {
    let dir = tempfile::tempdir().unwrap();
    for (name, muxer, b_frames) in [("a.mkv", "matroskamux", 0), ("b.mp4", "mp4mux", 2)] {
        let path = dir.path().join(name);
        Stream { b_frames, ..Stream::h264(192, 144, 100) }.file(muxer, &path);
        for (path, is_damaged) in [(damage(&path), true), (path, false)] {
            let mut decoder = FileDecoder::open(&path, START).unwrap();
            let pictures = decoder.by_ref().map_while(Result::ok).count() as u64;
            let damage = decoder.damage();
            assert_eq!(damage.is_any(), is_damaged, "{name}: {pictures} pictures, {damage:?}");
            assert!(damage.repaired <= pictures && damage.lost <= 100 - pictures, "{name}: {pictures}, {damage:?}");
        }
    }
}

#[test]
fn a_file_that_lost_its_index_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    Stream::h264(96, 64, 50).file("mp4mux", &path);
    let err = FileDecoder::open(&cut(&path, 0.6), START).unwrap_err();
    assert!(matches!(err, DecodeError::NotVideo { .. }), "{err:?}");
}

#[test]
fn reading_twice_gives_the_same_samples() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    Stream { b_frames: 2, ..Stream::h264(96, 64, 30) }.file("mp4mux", &path);
    let read = || {
        let frames = FileDecoder::open(&path, START).unwrap().map(Result::unwrap);
        frames
            .map(|frame| {
                (frame.capture_time, (0..64).flat_map(|y| frame.planes[0].row(y).to_vec()).collect::<Vec<_>>())
            })
            .collect::<Vec<_>>()
    };
    assert!(read() == read(), "two readings of one file differ");
}

/// The clip that scripts/setup puts into the cache.
fn vtest() -> PathBuf {
    let home = || std::env::var("HOME").map(|home| format!("{home}/.cache/vigil"));
    let cache = std::env::var("VIGIL_CACHE").or_else(|_| home()).expect("HOME or VIGIL_CACHE is set");
    let path = Path::new(&cache).join("clips/vtest.avi");
    assert!(path.exists(), "{} is absent: run scripts/setup", path.display());
    path
}

#[test]
fn a_real_clip_has_all_its_frames() {
    let mut decoder = FileDecoder::open(&vtest(), START).unwrap();
    assert_eq!((decoder.info().size, decoder.info().frame_rate.unwrap().per_second()), (Size::new(768, 576), 10.0));
    let times: Vec<_> = decoder.by_ref().map(|frame| frame.unwrap().capture_time).collect();
    assert_eq!((times.len(), decoder.damage().is_any()), (795, false));
    assert_eq!((times[0], times[794].since(START)), (START, Duration::from_millis(79_400)));
}
