//! The scheduler with engines that answer on command.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use vigil_base::{Clock, SimClock, Size, Timestamp};

use super::*;
use crate::session::Found;

/// Longest wait for something that must happen at once.
const SOON: Duration = Duration::from_secs(20);

/// What the test hears from an engine: the widths of the frames of a batch. It must then send an order.
type Heard = (Vec<u32>, SyncSender<Order>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Answer,
    Fail,
    Panic,
}

struct Puppet {
    limit: usize,
    heard: SyncSender<Heard>,
}

impl Engine for Puppet {
    fn detect(&mut self, looks: &[Look]) -> Result<Found, DetectError> {
        let (order, ordered) = sync_channel(1);
        self.heard.send((looks.iter().map(|look| look.frame.size.width).collect(), order)).unwrap();
        match ordered.recv_timeout(SOON).unwrap() {
            Order::Answer => Ok(looks.iter().map(|look| answer(&look.frame)).collect()),
            Order::Fail => Err(DetectError::Panicked { model: "as ordered".to_owned() }),
            Order::Panic => panic!("as ordered"),
        }
    }

    fn batch_limit(&self) -> usize {
        self.limit
    }
}

fn identity() -> Arc<ModelIdentity> {
    Arc::new(ModelIdentity {
        name: "puppet".to_owned(),
        fingerprint: String::new(),
        classes: vec![],
        ..ModelIdentity::default()
    })
}

fn answer(frame: &Frame) -> Detections {
    Detections {
        capture_time: frame.capture_time,
        time_source: frame.time_source,
        size: frame.size,
        items: vec![],
        model: identity(),
    }
}

/// A scheduler, its clock, and what its engines say.
struct Stage {
    scheduler: Scheduler,
    clock: Arc<SimClock>,
    heard: Receiver<Heard>,
    made: Arc<AtomicUsize>,
}

impl Stage {
    fn new(workers: usize, limit: usize, minimum_rate: f64) -> Self {
        let clock = SimClock::new(Timestamp::default());
        clock.advance(Duration::from_secs(1000));
        let (speak, heard) = sync_channel(16);
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let make: MakeEngine = Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(Puppet { limit, heard: speak.clone() }))
        });
        let config = SchedulerConfig { workers, minimum_rate };
        let scheduler = Scheduler::with_engines(make, identity(), Provider::Cpu, config, clock.clone()).unwrap();
        Self { scheduler, clock, heard, made }
    }

    fn lane(&self, name: &str, rate: f64) -> CameraLane {
        self.scheduler.camera(&CameraId::new(name).unwrap(), rate)
    }

    /// Lets a lane ask for a frame of that width on a thread of its own, and waits until it stands in the queue or runs.
    fn ask(&self, mut lane: CameraLane, width: u32) -> JoinHandle<(CameraLane, Result<Detections, DetectError>)> {
        let before = self.scheduler.shared.state.lock().next_ticket;
        let ask = move || {
            let answer = lane.detect(&Frame::uniform(Size::new(width, 2), [0; 3], Timestamp::default()));
            (lane, answer)
        };
        let thread = Builder::new().name(format!("lane {width}")).spawn(ask).unwrap();
        while self.scheduler.shared.state.lock().next_ticket == before {
            std::thread::yield_now();
        }
        thread
    }

    /// The next batch that an engine was given, and the way to answer it.
    fn hear(&self) -> Heard {
        self.heard.recv_timeout(SOON).expect("an engine is given a frame")
    }

    fn answer_next(&self) -> Vec<u32> {
        let (widths, order) = self.hear();
        order.send(Order::Answer).unwrap();
        widths
    }
}

#[test]
fn each_lane_gets_the_answer_to_its_own_frame() {
    let stage = Stage::new(2, 1, 1.0);
    let threads: Vec<_> = (1..=6).map(|width| stage.ask(stage.lane("a", 5.0), width)).collect();
    for _ in 0..6 {
        assert_eq!(stage.answer_next().len(), 1);
    }
    for (width, thread) in (1..).zip(threads) {
        assert_eq!(thread.join().unwrap().1.unwrap().size.width, width);
    }
}

#[test]
fn no_more_sessions_run_than_there_are() {
    let stage = Stage::new(2, 1, 1.0);
    let threads: Vec<_> = (1..=3).map(|width| stage.ask(stage.lane("a", 5.0), width)).collect();
    let (first, second) = (stage.hear(), stage.hear());
    assert_eq!(stage.scheduler.shared.state.lock().waiting.len(), 1);
    assert!(stage.heard.try_recv().is_err());
    for (_, order) in [first, second] {
        order.send(Order::Answer).unwrap();
    }
    stage.answer_next();
    for thread in threads {
        thread.join().unwrap().1.unwrap();
    }
}

#[test]
fn who_is_due_first_goes_first() {
    let stage = Stage::new(1, 1, 0.01);
    let (mut fast, mut slow) = (stage.lane("fast", 10.0), stage.lane("slow", 1.0));
    let now = stage.clock.monotonic();
    (fast.last_turn, slow.last_turn) = (Some(now), Some(now));
    let busy = stage.ask(stage.lane("busy", 1.0), 99);
    let running = stage.hear();
    let slow = stage.ask(slow, 1);
    let fast = stage.ask(fast, 2);
    running.1.send(Order::Answer).unwrap();
    assert_eq!([stage.answer_next(), stage.answer_next()], [[2], [1]], "due in 0.1 s, due in 1 s");
    for thread in [busy, slow, fast] {
        thread.join().unwrap().1.unwrap();
    }
}

#[test]
fn a_camera_below_the_minimum_rate_goes_before_all_that_are_not() {
    let stage = Stage::new(1, 1, 1.0);
    let (mut fast, mut starved) = (stage.lane("fast", 10.0), stage.lane("starved", 1.0));
    let now = stage.clock.monotonic();
    fast.last_turn = Some(now.saturating_sub(Duration::from_millis(900)));
    starved.last_turn = Some(now.saturating_sub(Duration::from_millis(1500)));
    let busy = stage.ask(stage.lane("busy", 1.0), 99);
    let running = stage.hear();
    let fast = stage.ask(fast, 1);
    let starved = stage.ask(starved, 2);
    running.1.send(Order::Answer).unwrap();
    assert_eq!([stage.answer_next(), stage.answer_next()], [[2], [1]]);
    for thread in [busy, fast, starved] {
        thread.join().unwrap().1.unwrap();
    }
}

#[test]
fn a_camera_that_follows_something_goes_before_one_that_does_not_and_after_one_that_starves() {
    let stage = Stage::new(1, 1, 1.0);
    let (mut idle, mut follows, mut starved) =
        (stage.lane("idle", 10.0), stage.lane("follows", 5.0), stage.lane("starved", 5.0));
    let now = stage.clock.monotonic();
    idle.last_turn = Some(now.saturating_sub(Duration::from_millis(900)));
    follows.last_turn = Some(now.saturating_sub(Duration::from_millis(100)));
    starved.last_turn = Some(now.saturating_sub(Duration::from_millis(1500)));
    follows.prefer(true);
    let busy = stage.ask(stage.lane("busy", 1.0), 99);
    let running = stage.hear();
    let lanes = [stage.ask(idle, 1), stage.ask(follows, 2), stage.ask(starved, 3)];
    running.1.send(Order::Answer).unwrap();
    assert_eq!([stage.answer_next(), stage.answer_next(), stage.answer_next()], [[3], [2], [1]]);
    for thread in lanes.into_iter().chain([busy]) {
        thread.join().unwrap().1.unwrap();
    }
}

/// Two cameras that follow something ask again at once, for ten seconds, on a machine that manages ten frames a second.
#[test]
fn under_overload_every_camera_keeps_its_minimum_rate() {
    let stage = Stage::new(1, 1, 1.0);
    let mut lanes = HashMap::new();
    let now = stage.clock.monotonic();
    for width in 1..=4 {
        let mut lane = stage.lane(&width.to_string(), 10.0);
        lane.last_turn = Some(now);
        lane.prefer(width > 2);
        lanes.insert(width, stage.ask(lane, width));
    }
    let mut turns = HashMap::<u32, usize>::new();
    for _ in 0..100 {
        let (widths, order) = stage.hear();
        stage.clock.advance(Duration::from_millis(100));
        order.send(Order::Answer).unwrap();
        let (lane, answer) = lanes.remove(&widths[0]).unwrap().join().unwrap();
        answer.unwrap();
        lanes.insert(widths[0], stage.ask(lane, widths[0]));
        *turns.entry(widths[0]).or_default() += 1;
    }
    for width in [1, 2] {
        assert!((7..=11).contains(&turns[&width]), "once a second: {turns:?}");
    }
    assert!(turns[&3].abs_diff(turns[&4]) <= 2, "the others share what is left: {turns:?}");
    for _ in 0..4 {
        stage.answer_next();
    }
    for (_, thread) in lanes {
        thread.join().unwrap().1.unwrap();
    }
}

#[test]
fn a_slow_camera_is_not_starved_by_a_fast_one() {
    let stage = Stage::new(1, 1, 1.0);
    let mut waiting = stage.lane("slow", 1.0);
    waiting.last_turn = Some(stage.clock.monotonic());
    let mut fast = [Some(stage.lane("fast-1", 10.0)), Some(stage.lane("fast-2", 10.0))];
    let mut current = stage.ask(fast[0].take().unwrap(), 1);
    let slow = stage.ask(waiting, 99);
    let mut turns = 0;
    loop {
        // Two fast cameras keep the session busy; each run takes 0.1 s.
        let next_lane = fast[(turns + 1) % 2].take().unwrap();
        let (widths, order) = stage.hear();
        if widths == [99] {
            order.send(Order::Answer).unwrap();
            stage.answer_next();
            current.join().unwrap().1.unwrap();
            break;
        }
        let next = stage.ask(next_lane, 1);
        stage.clock.advance(Duration::from_millis(100));
        order.send(Order::Answer).unwrap();
        fast[turns % 2] = Some(current.join().unwrap().0);
        current = next;
        turns += 1;
        assert!(turns < 50, "the slow camera never had its turn");
    }
    assert!(turns >= 5, "the slow camera was due after a second, and had its turn after {turns} runs");
    slow.join().unwrap().1.unwrap();
}

#[test]
fn waiting_frames_are_taken_along_in_a_batch() {
    let stage = Stage::new(1, 3, 1.0);
    let first = stage.ask(stage.lane("a", 1.0), 1);
    let (widths, order) = stage.hear();
    assert_eq!(widths, [1]);
    let others: Vec<_> = (2..=5).map(|width| stage.ask(stage.lane("b", 1.0), width)).collect();
    order.send(Order::Answer).unwrap();
    assert_eq!(stage.answer_next(), [2, 3, 4]);
    assert_eq!(stage.answer_next(), [5]);
    first.join().unwrap().1.unwrap();
    for (width, thread) in (2..).zip(others) {
        assert_eq!(thread.join().unwrap().1.unwrap().size.width, width);
    }
}

#[test]
fn a_session_that_fails_or_panics_is_replaced_and_wedges_nobody() {
    let stage = Stage::new(1, 4, 1.0);
    for (made, order) in [(2, Order::Panic), (3, Order::Fail)] {
        let unlucky = stage.ask(stage.lane("a", 1.0), 1);
        let (_, answer) = stage.hear();
        let others: Vec<_> = (2..=3).map(|width| stage.ask(stage.lane("b", 1.0), width)).collect();
        answer.send(order).unwrap();
        assert!(matches!(unlucky.join().unwrap().1, Err(DetectError::Panicked { .. })));
        assert_eq!(stage.answer_next(), [2]);
        assert_eq!(stage.answer_next(), [3]);
        for thread in others {
            thread.join().unwrap().1.unwrap();
        }
        assert_eq!(stage.made.load(Ordering::Relaxed), made);
    }
}

#[test]
fn everybody_in_a_batch_that_panics_hears_of_it() {
    let stage = Stage::new(1, 4, 1.0);
    let first = stage.ask(stage.lane("a", 1.0), 1);
    let (_, order) = stage.hear();
    let others: Vec<_> = (2..=4).map(|width| stage.ask(stage.lane("b", 1.0), width)).collect();
    order.send(Order::Answer).unwrap();
    let (widths, order) = stage.hear();
    assert_eq!(widths, [2, 3, 4]);
    order.send(Order::Panic).unwrap();
    first.join().unwrap().1.unwrap();
    for thread in others {
        assert!(matches!(thread.join().unwrap().1, Err(DetectError::Panicked { .. })));
    }
}
