use bytes::Bytes;
use proptest::prelude::*;
use vigil_base::{Codec, TimeSource};

use super::*;

const GOP: u64 = 50;

fn packet(n: u64, keyframe: bool, bytes: usize) -> EncodedPacket {
    EncodedPacket {
        codec: Codec::H264,
        session: 1,
        pts_ns: n * 40_000_000,
        capture_time: Timestamp::from_micros(1_000_000_000 + n as i64 * 40_000),
        time_source: TimeSource::Ntp,
        keyframe,
        discontinuity: n == 0,
        data: Bytes::from(vec![0; bytes]),
    }
}

fn stream(n: u64) -> EncodedPacket {
    let keyframe = n.is_multiple_of(GOP);
    packet(n, keyframe, if keyframe { 60_000 } else { 2_000 + (n * 37 % 200) as usize })
}

/// A gate that was woken on the stream's first packet.
fn awake() -> PacketGate {
    let mut gate = PacketGate::new(PacketGateConfig::default());
    assert!(matches!(gate.take(stream(0)), Step::Look(_)));
    assert!(gate.looked(false).is_empty() && gate.is_new());
    assert_eq!(numbers(&gate.open()), [0]);
    assert!(!gate.is_new() && !gate.is_resting());
    gate
}

/// Feeds a stream whose pictures show nothing; returns the gate at rest and the number of the next packet.
fn at_rest() -> (PacketGate, u64) {
    let mut gate = awake();
    for n in 1.. {
        let packet = stream(n);
        assert!(matches!(gate.take(packet.clone()), Step::Decode(_)));
        if packet.keyframe {
            gate.calm();
        }
        if gate.rests(packet.capture_time) {
            return (gate, n + 1);
        }
        assert!(n < 20 * GOP, "it never rests");
    }
    unreachable!()
}

fn numbers(packets: &[EncodedPacket]) -> Vec<u64> {
    packets.iter().map(|packet| packet.pts_ns / 40_000_000).collect()
}

#[test]
fn a_new_one_keeps_all_until_its_turn_comes() {
    let mut gate = PacketGate::new(PacketGateConfig::default());
    for n in 0..3 * GOP + 10 {
        match gate.take(stream(n)) {
            Step::Hold => {}
            Step::Look(_) => assert!(gate.looked(false).is_empty() && gate.is_new()),
            step => panic!("{step:?} at {n}"),
        }
    }
    assert_eq!(numbers(&gate.open()), (2 * GOP..3 * GOP + 10).collect::<Vec<_>>(), "since the last sentinel but one");
    assert!(matches!(gate.take(stream(3 * GOP + 10)), Step::Decode(_)));
}

#[test]
fn motion_between_its_first_two_keyframes_wakes_a_new_one() {
    let mut gate = PacketGate::new(PacketGateConfig::default());
    for n in 0..GOP {
        if matches!(gate.take(stream(n)), Step::Look(_)) {
            assert!(gate.looked(false).is_empty());
        }
    }
    assert!(matches!(gate.take(stream(GOP)), Step::Look(_)));
    assert_eq!(numbers(&gate.looked(true)), (0..=GOP).collect::<Vec<_>>());
    assert!(!gate.is_new());
}

#[test]
fn at_rest_only_keyframes_are_looked_at() {
    let (mut gate, next) = at_rest();
    for n in next..next + 10 * GOP {
        match gate.take(stream(n)) {
            Step::Hold => assert!(!n.is_multiple_of(GOP)),
            Step::Look(sentinel) => {
                assert!(sentinel.keyframe);
                assert!(gate.looked(false).is_empty());
            }
            step => panic!("{step:?} at {n}"),
        }
    }
}

#[test]
fn motion_on_a_sentinel_brings_back_everything_since_the_one_before() {
    let (mut gate, next) = at_rest();
    for n in next..next + GOP - 1 {
        assert!(matches!(gate.take(stream(n)), Step::Hold));
    }
    let sentinel = next + GOP - 1;
    assert!(matches!(gate.take(stream(sentinel)), Step::Look(_)));
    assert_eq!(numbers(&gate.looked(true)), (next - 1..=sentinel).collect::<Vec<_>>());
    assert!(!gate.is_resting());
    assert!(matches!(gate.take(stream(sentinel + 1)), Step::Decode(_)));
}

#[test]
fn what_shows_on_the_second_sentinel_only_is_brought_back_from_before_the_first() {
    let (mut gate, next) = at_rest();
    let mut taken = next..;
    let mut to_sentinel = |gate: &mut PacketGate| loop {
        let n = taken.next().unwrap();
        if matches!(gate.take(stream(n)), Step::Look(_)) {
            return n;
        }
    };
    for _ in 0..3 {
        to_sentinel(&mut gate);
        assert!(gate.looked(false).is_empty());
    }
    let sentinel = to_sentinel(&mut gate);
    assert_eq!(numbers(&gate.looked(true)), (sentinel - 2 * GOP..=sentinel).collect::<Vec<_>>());
}

#[test]
fn where_two_groups_of_pictures_are_too_large_the_older_one_is_dropped() {
    let (mut gate, next) = at_rest();
    let large =
        |n: u64| packet(n, n.is_multiple_of(GOP), if n.is_multiple_of(GOP) { MAX_KEPT_BYTES * 2 / 5 } else { 2_000 });
    for n in next..next + 4 * GOP {
        match gate.take(large(n)) {
            Step::Hold => {}
            Step::Look(_) => assert!(gate.looked(false).is_empty()),
            _ => panic!("awake at {n}"),
        }
        assert!(gate.kept_bytes <= MAX_KEPT_BYTES);
    }
}

#[test]
fn packets_that_outgrow_their_baseline_wake_before_the_next_sentinel() {
    let (mut gate, next) = at_rest();
    let woke = (next..next + GOP - 1).find_map(|n| match gate.take(packet(n, false, 6_000)) {
        Step::Wake(packets, cause) => Some((n, packets, cause)),
        _ => None,
    });
    let (n, packets, cause) = woke.expect("three times the size is seen");
    assert_eq!(cause, WakeCause::Sizes);
    assert!(n - next < 15, "only after {} packets", n - next);
    assert_eq!(numbers(&packets), (next - 1..=n).collect::<Vec<_>>());
}

#[test]
fn a_cut_is_looked_at_on_its_first_keyframe_and_wakes_with_nothing_from_before_it() {
    for moved in [false, true] {
        let (mut gate, next) = at_rest();
        gate.take(stream(next));
        let after = EncodedPacket { discontinuity: true, ..packet(next + 30, true, 60_000) };
        assert!(matches!(gate.take(after), Step::Look(_)));
        let woken = gate.looked(moved);
        assert_eq!((gate.is_resting(), numbers(&woken)), if moved { (false, vec![next + 30]) } else { (true, vec![]) });
    }
}

#[test]
fn a_cut_after_which_no_keyframe_comes_first_wakes_it() {
    let (mut gate, next) = at_rest();
    let after = EncodedPacket { discontinuity: true, ..packet(next + 30, false, 2_000) };
    assert!(matches!(gate.take(after), Step::Wake(packets, WakeCause::Cut) if numbers(&packets) == [next + 30]));
}

#[test]
fn another_connection_is_learnt_anew() {
    let (mut gate, next) = at_rest();
    let after = EncodedPacket { discontinuity: true, session: 2, ..packet(next + 30, true, 60_000) };
    assert!(matches!(gate.take(after), Step::Look(_)));
    assert!(gate.looked(false).is_empty());
    // How long its groups are is not known: all is kept for as long as nobody may be unseen.
    let woke = (next + 31..next + 300).find_map(|n| {
        match gate.take(EncodedPacket { session: 2, ..packet(n, false, 2_000) }) {
            Step::Wake(packets, WakeCause::NoSentinel) => Some((n, packets)),
            _ => None,
        }
    });
    let (n, packets) = woke.expect("it wakes");
    assert_eq!(numbers(&packets), (next + 30..=n).collect::<Vec<_>>());
    assert_eq!((n - next - 30) * 40, 4_240);
}

#[test]
fn a_stream_that_is_cut_again_and_again_comes_to_rest() {
    let mut gate = awake();
    let rests = (1..20 * GOP).any(|n| {
        let given = EncodedPacket { discontinuity: n.is_multiple_of(2 * GOP), ..stream(n) };
        gate.take(given.clone());
        if given.keyframe {
            gate.calm();
        }
        gate.rests(given.capture_time)
    });
    assert!(rests);
}

#[test]
fn keyframes_that_stay_away_wake_it() {
    let (mut gate, next) = at_rest();
    let woke = (next..next + 20 * GOP)
        .find(|&n| matches!(gate.take(packet(n, false, 2_000)), Step::Wake(_, WakeCause::NoSentinel)));
    assert_eq!(woke.map(|n| (n - next) / 25), Some(4), "after the longest gap of 4.2 s");
}

#[test]
fn it_does_not_rest_while_something_goes_on() {
    let mut gate = awake();
    for n in 1..20 * GOP {
        let packet = stream(n);
        gate.take(packet.clone());
        gate.busy(packet.capture_time);
        assert!(!gate.rests(packet.capture_time));
    }
}

/// What a gate makes of a stream whose pictures show nothing, with groups of `gop` pictures: whether each is decoded, be it as
/// a sentinel.
fn decoded(gop: u64, pictures: u64) -> Vec<bool> {
    let mut gate = PacketGate::new(PacketGateConfig::default());
    let mut decoded = Vec::new();
    for n in 0..pictures {
        let given = packet(n, n.is_multiple_of(gop), 2_000);
        decoded.push(match gate.take(given.clone()) {
            Step::Decode(_) => true,
            Step::Hold => false,
            Step::Look(_) => {
                assert!(gate.looked(false).iter().all(|again| again.pts_ns == given.pts_ns));
                true
            }
            Step::Wake(_, WakeCause::NoSentinel) if n < gop => true,
            step @ Step::Wake(..) => panic!("{step:?} at {n}"),
        });
        if given.keyframe {
            gate.calm();
        }
        gate.rests(given.capture_time);
    }
    decoded
}

#[test]
fn of_long_groups_all_but_the_longest_gap_is_decoded() {
    for (gop, share) in [(50, 0.02), (100, 0.01), (125, 0.2), (250, 0.59), (500, 0.8)] {
        let steady = &decoded(gop, 8 * gop)[4 * gop as usize..];
        let of_all = steady.iter().filter(|decoded| **decoded).count() as f64 / steady.len() as f64;
        assert!((of_all - share).abs() < 0.02, "groups of {gop}: {of_all} decoded");
        let gaps = steady.split(|decoded| *decoded).map(<[bool]>::len);
        assert!(gaps.max().unwrap_or(0) <= 105, "groups of {gop}: unseen for more than 4.2 s");
    }
}

#[test]
fn pictures_shown_before_their_keyframe_do_not_wake_it() {
    let (mut gate, next) = at_rest();
    let sentinel = next + GOP - 1;
    for n in next..sentinel {
        gate.take(stream(n));
    }
    assert!(matches!(gate.take(stream(sentinel)), Step::Look(_)));
    gate.looked(false);
    // An open group: two pictures that follow the keyframe in the stream and come before it in time.
    for n in [sentinel - 2, sentinel - 1] {
        assert!(matches!(gate.take(packet(n, false, 2_000)), Step::Hold));
    }
}

#[test]
fn where_it_rests_after_a_few_pictures_of_a_group_they_come_back_with_the_rest() {
    let mut gate = awake();
    let mut rested = None;
    for n in 1..10 * GOP {
        let given = stream(n);
        gate.take(given.clone());
        // The keyframe's picture comes three packets later, from a decoder that puts pictures into order.
        if n % GOP == 3 {
            gate.calm();
        }
        if gate.rests(given.capture_time) {
            rested = Some(n);
            break;
        }
    }
    let rested = rested.expect("it rests");
    assert_eq!(rested % GOP, 3);
    let cut = (rested + 1..).find_map(|n| match gate.take(packet(n, false, 6_000)) {
        Step::Wake(packets, _) => Some(numbers(&packets)),
        _ => None,
    });
    assert_eq!(cut.map(|numbers| numbers[0]), Some(rested - 3), "from the keyframe on");
}

proptest! {
    /// Whatever happens: each packet is decoded in full once, or was passed over at rest, and those decoded are whole
    /// runs from a keyframe on. What is kept is bounded.
    #[test]
    fn what_is_decoded_is_decodable(
        gop in 5u64..200,
        moved in prop::collection::vec(any::<bool>(), 40),
        cuts in prop::collection::btree_set(0u64..2000, 0..4),
    ) {
        let mut gate = PacketGate::new(PacketGateConfig::default());
        let mut verdicts = moved.into_iter().cycle();
        let mut last: Option<u64> = None;
        let mut cut_from = 0;
        for n in 0..2000 {
            let cut = cuts.contains(&n);
            let keyframe = n.is_multiple_of(gop) || cut;
            if cut { cut_from = n; }
            let given = EncodedPacket { discontinuity: n == 0 || cut, ..packet(n, keyframe, 2_000) };
            let run = match gate.take(given.clone()) {
                Step::Decode(packet) => vec![packet],
                Step::Hold => continue,
                Step::Look(_) => gate.looked(verdicts.next().unwrap_or(false)),
                Step::Wake(packets, _) => packets,
            };
            for packet in &run {
                let number = packet.pts_ns / 40_000_000;
                prop_assert!(packet.keyframe || last == Some(number - 1), "{number} after {last:?}");
                prop_assert!(number >= cut_from);
                last = Some(number);
            }
            if !gate.is_resting() && keyframe {
                gate.calm();
            }
            gate.rests(given.capture_time);
            prop_assert!(gate.kept.len() <= MAX_KEPT + 1);
            let bytes: usize = gate.kept.iter().map(|packet| packet.data.len()).sum();
            prop_assert_eq!(gate.kept_bytes, bytes);
        }
    }
}
