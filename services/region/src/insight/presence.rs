//! Where objects linger: seconds of presence by cell of a grid over the picture.
//!
//! An event has at most 64 sampled boxes, thinned evenly. Between two of them the object's foot (the middle of its box's lower edge,
//! where it stands) is taken to go straight and evenly: a stretch's time is shared among the cells that it crosses by the length
//! within each. Before the first box and after the last the object is taken to stand there. So every moment between begin and end of
//! an event counts once, and the sum over the grid is the sum of the events' times within the question's.

use std::collections::BTreeMap;

use vigil_base::{Event, PointNorm, Timestamp};
use vigil_proto::convert::{PresenceQuestion, event_from_wire};
use vigil_proto::v1;

use super::Events;
use super::pages::NewestFirst;
use crate::index::IndexError;

/// Events that one answer looks at: a second or two.
const MAX_EVENTS: usize = 50_000;

/// Presence by class, and, where there were more events than one answer looks at, the moment from which on they count.
///
/// # Errors
/// As a search's.
pub async fn presence(
    events: &(impl Events + ?Sized),
    question: &PresenceQuestion,
) -> Result<(Vec<v1::ClassPresence>, Option<Timestamp>), IndexError> {
    let mut pages = NewestFirst::new(events, question.filter.clone(), MAX_EVENTS);
    let mut sums = Sums { question: question.clone(), classes: BTreeMap::new() };
    while let Some(page) = pages.next().await? {
        // Milliseconds of arithmetic.
        sums = tokio::task::spawn_blocking(move || sums.with(page)).await.map_err(|_| IndexError::Closed)?;
    }
    Ok((sums.told(), pages.looked_from()))
}

struct Sums {
    question: PresenceQuestion,
    /// The grid of each class, and how many events are in it.
    classes: BTreeMap<String, (Grid, u64)>,
}

impl Sums {
    fn with(mut self, page: Vec<v1::Event>) -> Self {
        let PresenceQuestion { from, until, columns, rows, .. } = self.question;
        // Where its position is withheld, an event has no place.
        let placed = |event: &v1::Event| event.withheld().all(|mark| mark != v1::Withheld::Position);
        for event in page.into_iter().filter(placed).filter_map(|wire| event_from_wire(wire).ok()) {
            let class = event.object_class.to_string();
            let (grid, events) = self.classes.entry(class).or_insert_with(|| (Grid::new(columns, rows), 0));
            grid.add(&event, from, until);
            *events += 1;
        }
        self
    }

    fn told(self) -> Vec<v1::ClassPresence> {
        let told = |(object_class, (grid, events)): (String, (Grid, u64))| {
            let seconds = grid.seconds.into_iter().map(|seconds| seconds as f32).collect();
            v1::ClassPresence { object_class, seconds, events }
        };
        self.classes.into_iter().map(told).collect()
    }
}

/// Seconds by cell, row by row from the top left.
#[derive(Debug, Clone)]
struct Grid {
    columns: u32,
    rows: u32,
    seconds: Vec<f64>,
}

impl Grid {
    fn new(columns: u32, rows: u32) -> Self {
        Self { columns, rows, seconds: vec![0.0; (columns * rows) as usize] }
    }

    /// Adds what of the event lies within [from, until).
    fn add(&mut self, event: &Event, from: Timestamp, until: Timestamp) {
        let knots = knots(event);
        for pair in knots.windows(2) {
            if let Some(stretch) = (Stretch { begin: pair[0], end: pair[1] }).within(from, until) {
                self.add_stretch(&stretch);
            }
        }
    }

    /// Shares the stretch's time among the cells it crosses: between two neighbouring crossings of the grid's lines it is in one.
    fn add_stretch(&mut self, stretch: &Stretch) {
        let (a, b) = (stretch.begin.1, stretch.end.1);
        let mut cuts = vec![0.0, 1.0];
        cuts.extend(crossings(a.x, b.x, self.columns));
        cuts.extend(crossings(a.y, b.y, self.rows));
        cuts.sort_by(f64::total_cmp);
        let seconds = stretch.end.0.seconds_since(stretch.begin.0);
        for pair in cuts.windows(2) {
            let cell = self.cell(stretch.at(f64::midpoint(pair[0], pair[1])));
            self.seconds[cell] += (pair[1] - pair[0]) * seconds;
        }
    }

    fn cell(&self, at: PointNorm) -> usize {
        let index = |share: f64, count: u32| ((share * f64::from(count)) as u32).min(count - 1);
        (index(at.y, self.rows) * self.columns + index(at.x, self.columns)) as usize
    }
}

/// Where on the way from `a` to `b`, as shares of it, lines lie that cut 0..1 into `count` pieces.
fn crossings(a: f64, b: f64, count: u32) -> impl Iterator<Item = f64> {
    let scaled = |share: f64| share * f64::from(count);
    let (low, high) = (scaled(a.min(b)), scaled(a.max(b)));
    let lines = (low.floor() as u32 + 1)..=(high.ceil() as u32).saturating_sub(1).min(count - 1);
    lines
        .map(move |line| (f64::from(line) / f64::from(count) - a) / (b - a))
        .filter(|share| (0.0..=1.0).contains(share))
}

type Knot = (Timestamp, PointNorm);

/// A straight and even part of an object's way.
struct Stretch {
    begin: Knot,
    end: Knot,
}

impl Stretch {
    fn at(&self, share: f64) -> PointNorm {
        let (a, b) = (self.begin.1, self.end.1);
        PointNorm { x: a.x + (b.x - a.x) * share, y: a.y + (b.y - a.y) * share }
    }

    /// What of it lies within a time; none where nothing does.
    fn within(&self, from: Timestamp, until: Timestamp) -> Option<Self> {
        let (begin, end) = (self.begin.0.max(from), self.end.0.min(until));
        let whole = self.end.0.seconds_since(self.begin.0);
        if begin >= end {
            return None;
        }
        let place = |at: Timestamp| (at, self.at(at.seconds_since(self.begin.0) / whole));
        Some(Self { begin: place(begin), end: place(end) })
    }
}

/// Where the object's foot is when, from begin to end. Times of boxes never go back, whatever an edge sent.
fn knots(event: &Event) -> Vec<Knot> {
    let foot = |bbox: &vigil_base::BoxNorm| {
        let foot = bbox.foot();
        PointNorm { x: foot.x.clamp(0.0, 1.0), y: foot.y.clamp(0.0, 1.0) }
    };
    let best = foot(&event.best_box);
    let first = event.path.first().map_or(best, |point| foot(&point.bbox));
    let mut knots = vec![(event.begin_time, first)];
    let mut last = event.begin_time;
    for point in &event.path {
        last = point.time.clamp(last, event.end_time.max(last));
        knots.push((last, foot(&point.bbox)));
    }
    let end = event.path.last().map_or(best, |point| foot(&point.bbox));
    knots.push((event.end_time.max(last), end));
    knots
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use vigil_base::BoxNorm;
    use vigil_base::event::PathPoint;

    use super::super::testing::event;
    use super::*;

    fn second(s: f64) -> Timestamp {
        event().begin_time + Duration::from_secs_f64(s)
    }

    /// A box whose foot is there.
    fn at(x: f32, y: f32) -> BoxNorm {
        BoxNorm { left: x, top: y, width: 0.0, height: 0.0 }
    }

    fn moving(length_s: f64, points: &[(f64, f32, f32)]) -> Event {
        let point = |(s, x, y): &(f64, f32, f32)| PathPoint { time: second(*s), bbox: at(*x, *y), confidence: 0.5 };
        Event {
            end_time: second(length_s),
            path: points.iter().map(point).collect(),
            best_box: at(0.5, 0.5),
            ..event()
        }
    }

    fn grid(event: &Event, columns: u32, rows: u32, from: f64, until: f64) -> Vec<f64> {
        let mut grid = Grid::new(columns, rows);
        grid.add(event, second(from), second(until));
        grid.seconds.iter().map(|seconds| (seconds * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn time_is_shared_by_length_among_the_cells_on_the_way() {
        // One second at the left edge, then eight across four cells, then one at the right edge.
        let across = moving(10.0, &[(1.0, 0.0, 0.5), (9.0, 1.0, 0.5)]);
        assert_eq!(grid(&across, 4, 1, 0.0, 10.0), [3.0, 2.0, 2.0, 3.0]);
        assert_eq!(grid(&across, 4, 1, 2.0, 4.0), [1.0, 1.0, 0.0, 0.0], "cut to the time asked for");
        let diagonal = moving(8.0, &[(0.0, 1.0, 1.0), (8.0, 0.0, 0.0)]);
        assert_eq!(grid(&diagonal, 2, 2, 0.0, 8.0), [4.0, 0.0, 0.0, 4.0]);
        let standing = moving(30.0, &[]);
        assert_eq!(grid(&standing, 3, 3, 0.0, 60.0), [0.0, 0.0, 0.0, 0.0, 30.0, 0.0, 0.0, 0.0, 0.0]);
    }

    /// Word by word: where the foot is at each of many moments.
    fn model(event: &Event, columns: u32, rows: u32, from: f64, until: f64) -> Vec<f64> {
        const STEPS: usize = 20_000;
        let knots = knots(event);
        let grid = Grid::new(columns, rows);
        let mut seconds = vec![0.0; grid.seconds.len()];
        let step = (until - from) / STEPS as f64;
        for i in 0..STEPS {
            let now = second(from + (i as f64 + 0.5) * step);
            let pair = knots.windows(2).find(|pair| pair[0].0 <= now && now < pair[1].0);
            if let Some(pair) = pair {
                let stretch = Stretch { begin: pair[0], end: pair[1] };
                let share = now.seconds_since(pair[0].0) / pair[1].0.seconds_since(pair[0].0);
                seconds[grid.cell(stretch.at(share))] += step;
            }
        }
        seconds
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_moment_counts_once_and_where_the_object_was(
            points in prop::collection::vec((0.0f64..40.0, 0.0f32..1.0, 0.0f32..1.0), 0..8),
            (columns, rows) in (1u32..12, 1u32..12),
            (from, length) in (0.0f64..30.0, 1.0f64..30.0),
        ) {
            // In any order: an edge may send what it likes.
            let event = moving(35.0, &points);
            let until = from + length;
            let counted = grid(&event, columns, rows, from, until);
            let expected = model(&event, columns, rows, from, until);
            let within = (until.min(35.0) - from).max(0.0);
            prop_assert!((counted.iter().sum::<f64>() - within).abs() < 1e-3, "{counted:?} is not {within}");
            for (counted, expected) in counted.iter().zip(&expected) {
                prop_assert!((counted - expected).abs() < 0.05, "{counted} is not {expected}");
            }
        }
    }
}
