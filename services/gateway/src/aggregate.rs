//! Counts over regions: each region's groups, added up.
//!
//! A group that was not asked to be told apart by region is the sum over regions. Camera ids are unique within a region
//! only, and zones' within a camera, so counts by camera or zone alone put those of the same name together; ask for them by
//! region and camera as well.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vigil_base::Timestamp;
use vigil_proto::convert::{Filter, filter_from_wire, filter_to_wire, required_time, time_to_wire};
use vigil_proto::v1;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;
use vigil_serve::ServiceError;
use vigil_serve::grpc::MAX_MESSAGE_BYTES;

use crate::deadline::Question;
use crate::federation::Context;
use crate::link::RegionLink;
use crate::report::{Failure, Freshness, other_region};
use crate::scatter::Scatter;

/// Most groups in an answer.
const MAX_GROUPS: usize = 100_000;
/// Longest time range.
const MAX_RANGE: Duration = Duration::from_hours(366 * 24);

/// One field of a group, comparable in the answer's order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Hour(Timestamp),
    Text(String),
}

/// A group's fields, in the order they were asked for.
type Group = Vec<Field>;

/// One region's checked counts.
#[derive(Debug, Clone, Default, PartialEq)]
struct Counts {
    groups: BTreeMap<Group, u64>,
    /// Whether the region left out its groups after the last of these.
    truncated: bool,
}

/// Answers a question for counts.
pub(crate) async fn aggregate(
    context: &Context,
    question: &Question,
    request: v1::AggregateRequest,
) -> Result<v1::AggregateResponse, ServiceError> {
    let by = group_by(&request.group_by)?;
    let filter = filter_from_wire(request.filter).map_err(|error| error.within("filter"))?;
    check_range(&filter)?;
    let links = context.federation.select(&filter.regions, "filter.region_ids")?;
    let ask = |_, link: Arc<RegionLink>| ask_region(link, question.clone(), filter.clone(), by.clone());
    let parts = Scatter::new(&context.clock, &links, ask).all().await;
    let regions = parts.iter().map(|part| part.report(|(_, fresh)| fresh.clone())).collect();
    let counts = parts.into_iter().filter_map(|part| part.result.ok().map(|(counts, _)| counts));
    let total = add_up(counts, MAX_GROUPS);
    let groups = total.groups.into_iter().map(|(group, count)| group_to_wire(&by, group, count)).collect();
    Ok(v1::AggregateResponse { groups, regions, truncated: total.truncated })
}

fn group_by(wire: &[i32]) -> Result<Vec<v1::GroupBy>, ServiceError> {
    let mut by = Vec::with_capacity(wire.len().min(5));
    for value in wire {
        match v1::GroupBy::try_from(*value) {
            Ok(v1::GroupBy::Unspecified) | Err(_) => {
                return Err(ServiceError::field("group_by", format!("{value} is not a known field")));
            }
            Ok(field) if by.contains(&field) => {
                return Err(ServiceError::field("group_by", format!("names {} twice", field.as_str_name())));
            }
            Ok(field) => by.push(field),
        }
    }
    if by.is_empty() {
        return Err(ServiceError::field("group_by", "is empty: name at least one field"));
    }
    Ok(by)
}

fn check_range(filter: &Filter) -> Result<(), ServiceError> {
    let from = filter.from.ok_or_else(|| ServiceError::field("filter.from", "is required for counts"))?;
    let until = filter.until.ok_or_else(|| ServiceError::field("filter.until", "is required for counts"))?;
    if until.since(from) > MAX_RANGE {
        return Err(ServiceError::field("filter.until", "is more than 366 days after from"));
    }
    Ok(())
}

async fn ask_region(
    link: Arc<RegionLink>,
    question: Question,
    filter: Filter,
    by: Vec<v1::GroupBy>,
) -> Result<(Counts, Freshness), Failure> {
    let filter = Filter { regions: vec![link.id().clone()], ..filter };
    let request = v1::AggregateRequest {
        filter: Some(filter_to_wire(&filter)),
        group_by: by.iter().map(|field| (*field).into()).collect(),
    };
    let send = async |channel, request| {
        let mut client = EventQueryServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        client.aggregate(request).await
    };
    let accept = |answer: v1::AggregateResponse| {
        let fresh = Freshness::of(link.id(), &answer.regions)?;
        let named = |group: &v1::AggregateGroup| group.region_id.clone();
        if by.contains(&v1::GroupBy::Region)
            && let Some(other) = answer.groups.iter().map(named).find(|id| id != link.id().as_str())
        {
            return Err(other_region(link.id(), &other));
        }
        Ok((counts(&by, answer)?, fresh))
    };
    link.read(&question, request, send, accept).await
}

fn counts(by: &[v1::GroupBy], answer: v1::AggregateResponse) -> Result<Counts, Failure> {
    let mut groups = BTreeMap::new();
    for wire in answer.groups {
        let count = wire.count;
        if groups.insert(group_from_wire(by, wire)?, count).is_some() {
            return Err(Failure::Wrong("answered the same group twice".to_owned()));
        }
    }
    Ok(Counts { groups, truncated: answer.truncated })
}

fn group_from_wire(by: &[v1::GroupBy], mut wire: v1::AggregateGroup) -> Result<Group, Failure> {
    let mut field = |by: &v1::GroupBy| {
        Ok(match by {
            v1::GroupBy::Hour => Field::Hour(
                required_time("hour", wire.hour)
                    .map_err(|error| Failure::Wrong(format!("answered a group whose {error}")))?,
            ),
            v1::GroupBy::Camera => Field::Text(std::mem::take(&mut wire.camera_id)),
            v1::GroupBy::Region => Field::Text(std::mem::take(&mut wire.region_id)),
            v1::GroupBy::Zone => Field::Text(std::mem::take(&mut wire.zone_id)),
            v1::GroupBy::Class | v1::GroupBy::Unspecified => Field::Text(std::mem::take(&mut wire.object_class)),
        })
    };
    by.iter().map(&mut field).collect()
}

fn group_to_wire(by: &[v1::GroupBy], group: Group, count: u64) -> v1::AggregateGroup {
    let mut wire = v1::AggregateGroup { count, ..v1::AggregateGroup::default() };
    for (by, field) in by.iter().zip(group) {
        match (by, field) {
            (_, Field::Hour(hour)) => wire.hour = Some(time_to_wire(hour)),
            (v1::GroupBy::Camera, Field::Text(text)) => wire.camera_id = text,
            (v1::GroupBy::Region, Field::Text(text)) => wire.region_id = text,
            (v1::GroupBy::Zone, Field::Text(text)) => wire.zone_id = text,
            (_, Field::Text(text)) => wire.object_class = text,
        }
    }
    wire
}

/// The sums, at most `most` groups, in order.
///
/// What a region left out lies after its last group, so from there on no sum would be right: the answer ends at the
/// earliest such place.
fn add_up(all: impl IntoIterator<Item = Counts>, most: usize) -> Counts {
    let mut total = Counts::default();
    let mut end: Option<Group> = None;
    for counts in all {
        if counts.truncated {
            total.truncated = true;
            let last = counts.groups.last_key_value().map(|(group, _)| group.clone()).unwrap_or_default();
            end = Some(end.map_or(last.clone(), |end| end.min(last)));
        }
        for (group, count) in counts.groups {
            let sum = total.groups.entry(group).or_default();
            *sum = sum.saturating_add(count);
        }
    }
    if let Some(end) = end {
        total.groups.retain(|group, _| *group <= end);
    }
    if let Some((first_left_out, _)) = total.groups.iter().nth(most) {
        let first_left_out = first_left_out.clone();
        total.groups.split_off(&first_left_out);
        total.truncated = true;
    }
    total
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn group(name: &str) -> Group {
        vec![Field::Text(name.into())]
    }

    fn part(groups: &[(&str, u64)], truncated: bool) -> Counts {
        Counts { groups: groups.iter().map(|(name, count)| (group(name), *count)).collect(), truncated }
    }

    #[test]
    fn equal_groups_add_up_in_order() {
        let total = add_up([part(&[("car", 2), ("person", 1)], false), part(&[("bus", 4), ("car", 3)], false)], 10);
        assert_eq!(total, part(&[("bus", 4), ("car", 5), ("person", 1)], false));
    }

    #[test]
    fn no_sum_is_told_that_a_region_cut_short() {
        let total = add_up([part(&[("a", 1), ("b", 1)], true), part(&[("b", 1), ("c", 1)], false)], 10);
        assert_eq!(total, part(&[("a", 1), ("b", 2)], true));
    }

    #[test]
    fn unusable_groupings_are_refused() {
        let hour = i32::from(v1::GroupBy::Hour);
        for bad in [vec![], vec![0], vec![99], vec![hour, hour]] {
            assert_eq!(group_by(&bad).unwrap_err().field.as_deref(), Some("group_by"), "{bad:?}");
        }
    }

    #[test]
    fn counts_need_a_bounded_range() {
        let at = |days: i64| Some(Timestamp::from_micros(days * 86_400_000_000));
        let check = |from, until| check_range(&Filter { from, until, ..Filter::default() });
        assert_eq!(check(None, at(1)).unwrap_err().field.as_deref(), Some("filter.from"));
        assert_eq!(check(at(1), None).unwrap_err().field.as_deref(), Some("filter.until"));
        assert!(check(at(0), at(367)).is_err());
        assert!(check(at(0), at(366)).is_ok());
    }

    #[test]
    fn a_group_survives_the_wire_in_the_order_it_was_asked_for() {
        let by = [v1::GroupBy::Camera, v1::GroupBy::Hour, v1::GroupBy::Region, v1::GroupBy::Zone, v1::GroupBy::Class];
        let wire = v1::AggregateGroup {
            hour: Some(time_to_wire(Timestamp::from_micros(3_600_000_000))),
            object_class: "car".into(),
            camera_id: "gate".into(),
            region_id: "north".into(),
            zone_id: "door".into(),
            count: 7,
        };
        let group = group_from_wire(&by, wire.clone()).unwrap();
        assert_eq!(group[0], Field::Text("gate".into()));
        assert_eq!(group_to_wire(&by, group, 7), wire);
    }

    proptest! {
        #[test]
        fn a_cut_total_is_the_beginning_of_the_whole(
            regions in proptest::collection::vec(proptest::collection::btree_map("[a-d]{1,2}", 1u64..9, 0..15), 0..5),
            keep in 1usize..10,
            most in 1usize..10,
        ) {
            let whole = add_up(regions.iter().map(|map| Counts {
                groups: map.iter().map(|(name, count)| (group(name), *count)).collect(),
                truncated: false,
            }), usize::MAX);
            let cut = add_up(regions.iter().map(|map| Counts {
                groups: map.iter().take(keep).map(|(name, count)| (group(name), *count)).collect(),
                truncated: map.len() > keep,
            }), most);
            prop_assert!(cut.groups.len() <= most);
            prop_assert!(cut.groups.iter().eq(whole.groups.iter().take(cut.groups.len())));
            prop_assert!(cut.truncated || cut.groups.len() == whole.groups.len());
        }
    }
}
