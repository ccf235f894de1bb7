//! What is kept back of an answer, told beside it.
//!
//! It follows from who asks, what for, and which cameras there are; never from which events there are.

use vigil_base::{CameraId, RegionId, Timestamp};
use vigil_policy::{Grant, Grants, Share};
use vigil_proto::convert::Filter;
use vigil_proto::v1;

use super::clearing::marks_of_events;
use super::questions::needs;
use super::{Guard, Pass};

/// What is asked, as far as a policy looks at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'q> {
    /// How events are asked for.
    access: Grant,
    needs: Grants,
    /// None: all.
    cameras: &'q [CameraId],
    from: Option<Timestamp>,
}

impl<'q> Question<'q> {
    fn about(access: Grant, filter: &'q Filter) -> Self {
        Self { access, needs: needs(filter), cameras: &filter.cameras, from: filter.from }
    }

    /// For events of the past.
    pub(crate) fn search(filter: &'q Filter) -> Self {
        Self::about(Grant::Events, filter)
    }

    /// For events of the past that look alike.
    pub(crate) fn alike(filter: &'q Filter) -> Self {
        Self { needs: super::alike::needs_alike(filter), ..Self::search(filter) }
    }

    /// For events as they happen.
    pub(crate) fn live(filter: &'q Filter) -> Self {
        Self::about(Grant::Live, filter)
    }

    /// The same, of which nothing is told without this.
    pub(crate) fn needing(self, grant: Grant) -> Self {
        Self { needs: self.needs.with(grant), ..self }
    }

    /// For numbers of events.
    pub(crate) fn count(filter: &'q Filter) -> Self {
        Self::about(Grant::Counts, filter)
    }

    /// For what was watched by these cameras, or their entries.
    pub(crate) fn cameras(cameras: &'q [CameraId]) -> Self {
        Self { access: Grant::Coverage, needs: Grants::NONE, cameras, from: None }
    }

    /// The mark of what this question does not get of some cameras.
    fn mark(&self) -> v1::Withheld {
        match self.access {
            Grant::Counts => v1::Withheld::Counts,
            Grant::Live => v1::Withheld::Live,
            Grant::Coverage => v1::Withheld::Coverage,
            _ => v1::Withheld::Events,
        }
    }

    fn marks(&self, share: &Share<'_>, left_out_for_needs: bool, now: Timestamp) -> Vec<v1::Withheld> {
        let mut marks = Vec::new();
        if share.left_out > 0 || share.is_cut {
            marks.push(self.mark());
        }
        let is_about_events = matches!(self.access, Grant::Events | Grant::Live);
        if is_about_events && !share.parts.is_empty() {
            marks.extend(marks_of_events(Grants::all().without(share.withheld)));
        }
        if left_out_for_needs {
            marks.extend(marks_of_events(Grants::all().without(self.needs)));
        }
        let reaches_back = |back| self.from.is_none_or(|from| from < now - back);
        if share.back.is_some_and(reaches_back) {
            marks.push(v1::Withheld::History);
        }
        marks.sort_unstable();
        marks.dedup();
        marks
    }
}

impl Guard {
    /// What is kept back of the answer to a question; none when nothing is.
    pub(crate) fn kept_back(pass: &Pass, region: &RegionId, question: &Question<'_>) -> Option<v1::WithheldReport> {
        let scope = pass.restricted()?;
        let share = match question.access {
            // A camera has one entry, and one account of what was watched, whoever reads it.
            Grant::Coverage => Share { left_out: scope.lacking(Grant::Coverage, question.cameras), ..Share::default() },
            access => scope.share(access, question.needs, question.cameras),
        };
        let left_out_for_needs = !question.needs.is_empty()
            && scope.share(question.access, Grants::NONE, question.cameras).left_out < share.left_out;
        let what = question.marks(&share, left_out_for_needs, pass.now);
        let clearance = scope.clearance();
        (!what.is_empty()).then(|| v1::WithheldReport {
            region_id: region.to_string(),
            cameras: share.left_out,
            what: what.into_iter().map(i32::from).collect(),
            policy: clearance.policy().version().to_owned(),
            contact: clearance.policy().contact().to_owned(),
            hint: clearance.hint().text().to_owned(),
        })
    }
}
