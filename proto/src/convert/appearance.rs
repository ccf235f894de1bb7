//! Appearances, and questions for them, both ways.

use std::time::Duration;

use bytes::Bytes;
use vigil_base::event::{Appearance, AppearanceMethod, AppearanceVector, EventKind};
use vigil_base::{BoxNorm, EventId, RegionId};

use super::event::{box_from_wire, box_to_wire};
use super::{Filter, WireError, bounded_text, filter_from_wire, filter_to_wire, share};
use crate::v1;

/// Largest picture that is taken, bytes: with the largest filter it stays below the 1 MiB that a server takes as a question.
pub const MAX_PICTURE_BYTES: usize = 768 * 1024;
/// Most hits in an answer.
pub const MAX_HITS: usize = 1_000;
/// Hits in an answer when the question does not say.
const DEFAULT_HITS: usize = 50;
/// Longest name and version of a method, in bytes: a SHA-256 in hex has 64.
const MAX_METHOD_TEXT: usize = 128;
/// A shorter span would see one camera alone, a longer one puts together what has nothing to do with each other.
const SPAN_SECONDS: std::ops::RangeInclusive<u64> = 1..=86_400;
/// Cameras that a journey must pass.
const MIN_CAMERAS: std::ops::RangeInclusive<u32> = 2..=100;

/// What to look for.
#[derive(Debug, Clone, PartialEq)]
pub enum Example {
    /// As this event's object looked.
    Event {
        /// The event.
        id: EventId,
        /// Only this region is asked for it.
        region: Option<RegionId>,
    },
    /// As what is in a picture.
    Picture {
        /// JPEG or PNG; not looked into yet.
        image: Bytes,
        /// Where in it; none: all of it.
        bbox: Option<BoxNorm>,
    },
    /// As this.
    Appearance(Appearance),
}

/// Who looked like this.
#[derive(Debug, Clone, PartialEq)]
pub struct AppearanceQuestion {
    /// What to look for.
    pub example: Example,
    /// Among which events: of objects alone, unless it named kinds, rules or zones.
    pub filter: Filter,
    /// Most hits, 1 to [`MAX_HITS`].
    pub limit: usize,
    /// Least similarity of a hit, 0..1.
    pub min_similarity: f32,
}

/// Which cameras saw somebody who looked like this, within a time.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowQuestion {
    /// The sightings, as a question with the largest limit.
    pub sightings: AppearanceQuestion,
    /// The time.
    pub span: Duration,
    /// Least number of cameras.
    pub min_cameras: usize,
}

/// An appearance for the wire.
pub fn appearance_to_wire(appearance: &Appearance) -> v1::Appearance {
    v1::Appearance {
        vector: appearance.vector.values().iter().map(|value| value.cast_unsigned()).collect(),
        method: Some(method_to_wire(&appearance.method)),
        looks: appearance.looks,
        quality: appearance.quality,
    }
}

/// An appearance from the wire.
pub fn appearance_from_wire(wire: v1::Appearance) -> Result<Appearance, WireError> {
    let values: Vec<i8> = wire.vector.iter().map(|byte| byte.cast_signed()).collect();
    let vector = AppearanceVector::new(&values).ok_or_else(|| {
        WireError::new("vector", "must have 16 to 1024 values within -127 and 127 that are not all zero")
    })?;
    if wire.looks == 0 {
        return Err(WireError::new("looks", "must be at least 1"));
    }
    let method = wire.method.ok_or_else(|| WireError::new("method", "is missing"))?;
    Ok(Appearance {
        vector,
        method: method_from_wire(method).map_err(|error| error.within("method"))?,
        looks: wire.looks,
        quality: share("quality", wire.quality)?,
    })
}

/// A method for the wire.
pub fn method_to_wire(method: &AppearanceMethod) -> v1::AppearanceMethod {
    v1::AppearanceMethod { name: method.name.to_string(), version: method.version.to_string() }
}

/// A method from the wire.
pub fn method_from_wire(wire: v1::AppearanceMethod) -> Result<AppearanceMethod, WireError> {
    let text = |field, value| match bounded_text(field, value, MAX_METHOD_TEXT)? {
        empty if empty.is_empty() => Err(WireError::new(field, "is missing")),
        text => Ok(text.into()),
    };
    Ok(AppearanceMethod { name: text("name", wire.name)?, version: text("version", wire.version)? })
}

/// The question from the wire.
pub fn appearance_question_from_wire(wire: v1::SearchByAppearanceRequest) -> Result<AppearanceQuestion, WireError> {
    let limit = match usize::try_from(wire.limit) {
        Err(_) => return Err(WireError::new("limit", format!("is {}; must not be negative", wire.limit))),
        Ok(0) => DEFAULT_HITS,
        Ok(limit) => limit.min(MAX_HITS),
    };
    Ok(AppearanceQuestion {
        example: example_from_wire(wire.example).map_err(|error| error.within("example"))?,
        filter: objects_alone(filter_from_wire(wire.filter).map_err(|error| error.within("filter"))?),
        limit,
        min_similarity: share("min_similarity", wire.min_similarity)?,
    })
}

/// The question for the wire.
pub fn appearance_question_to_wire(question: &AppearanceQuestion) -> v1::SearchByAppearanceRequest {
    v1::SearchByAppearanceRequest {
        example: Some(example_to_wire(&question.example)),
        filter: Some(filter_to_wire(&question.filter)),
        limit: question.limit as i32,
        min_similarity: question.min_similarity,
    }
}

/// The question from the wire.
pub fn follow_question_from_wire(wire: v1::FollowAppearanceRequest) -> Result<FollowQuestion, WireError> {
    if wire.min_similarity <= 0.0 {
        return Err(WireError::new("min_similarity", "must be above 0: what is a sighting?"));
    }
    let span = wire.span.and_then(|span| Duration::try_from(span).ok());
    let span = span.filter(|span| {
        (Duration::from_secs(*SPAN_SECONDS.start())..=Duration::from_secs(*SPAN_SECONDS.end())).contains(span)
    });
    let span = span.ok_or_else(|| WireError::new("span", "must be within 1 second and 24 hours"))?;
    if !MIN_CAMERAS.contains(&wire.min_cameras) {
        return Err(WireError::new("min_cameras", format!("is {}; must be within 2 and 100", wire.min_cameras)));
    }
    let sightings = appearance_question_from_wire(v1::SearchByAppearanceRequest {
        example: wire.example,
        filter: wire.filter,
        limit: MAX_HITS as i32,
        min_similarity: wire.min_similarity,
    })?;
    Ok(FollowQuestion { sightings, span, min_cameras: wire.min_cameras as usize })
}

/// Without any word on kinds, a search for a look means objects: rules tell of the same objects once more.
fn objects_alone(filter: Filter) -> Filter {
    if filter.kinds.is_empty() && filter.rules.is_empty() && filter.zones.is_empty() {
        return Filter { kinds: vec![EventKind::Object], ..filter };
    }
    filter
}

fn example_from_wire(wire: Option<v1::AppearanceExample>) -> Result<Example, WireError> {
    use v1::appearance_example::Example as Wire;
    match wire.and_then(|wire| wire.example) {
        None => Err(WireError::new("event", "is missing: give an event, a picture or an appearance")),
        Some(Wire::Event(event)) => {
            let region = Some(event.region_id).filter(|id| !id.is_empty()).map(|id| RegionId::new(&id)).transpose();
            Ok(Example::Event {
                id: event.event_id.parse().map_err(|e| WireError::new("event.event_id", e))?,
                region: region.map_err(|e| WireError::new("event.region_id", e))?,
            })
        }
        Some(Wire::Picture(picture)) => {
            if picture.image.len() > MAX_PICTURE_BYTES {
                let problem = format!("has {} bytes; at most {MAX_PICTURE_BYTES} are taken", picture.image.len());
                return Err(WireError::new("picture.image", problem));
            }
            let bbox = picture.r#box.map(|bbox| box_from_wire("picture.box", Some(bbox))).transpose()?;
            Ok(Example::Picture { image: picture.image, bbox })
        }
        Some(Wire::Appearance(appearance)) => {
            Ok(Example::Appearance(appearance_from_wire(appearance).map_err(|error| error.within("appearance"))?))
        }
    }
}

fn example_to_wire(example: &Example) -> v1::AppearanceExample {
    use v1::appearance_example::Example as Wire;
    let wire = match example {
        Example::Event { id, region } => Wire::Event(v1::EventReference {
            event_id: id.to_string(),
            region_id: region.as_ref().map(ToString::to_string).unwrap_or_default(),
        }),
        Example::Picture { image, bbox } => {
            Wire::Picture(v1::Picture { image: image.clone(), r#box: bbox.map(box_to_wire) })
        }
        Example::Appearance(appearance) => Wire::Appearance(appearance_to_wire(appearance)),
    };
    v1::AppearanceExample { example: Some(wire) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn appearance() -> Appearance {
        Appearance {
            vector: AppearanceVector::new(&[-127, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 127]).unwrap(),
            method: AppearanceMethod { name: "m".into(), version: "1".into() },
            looks: 3,
            quality: 0.5,
        }
    }

    #[test]
    fn an_appearance_survives_the_wire() {
        assert_eq!(appearance_from_wire(appearance_to_wire(&appearance())).unwrap(), appearance());
    }

    #[test]
    fn hostile_appearances_are_refused_by_the_name_of_the_field() {
        let good = appearance_to_wire(&appearance());
        let cases = [
            (v1::Appearance { vector: vec![], ..good.clone() }, "vector"),
            (v1::Appearance { vector: vec![0x80; 16], ..good.clone() }, "vector"),
            (v1::Appearance { vector: vec![0; 64], ..good.clone() }, "vector"),
            (v1::Appearance { vector: vec![1; 1025], ..good.clone() }, "vector"),
            (v1::Appearance { looks: 0, ..good.clone() }, "looks"),
            (v1::Appearance { quality: f32::NAN, ..good.clone() }, "quality"),
            (v1::Appearance { method: None, ..good.clone() }, "method"),
            (v1::Appearance { method: Some(v1::AppearanceMethod::default()), ..good }, "method.name"),
        ];
        for (wire, field) in cases {
            assert_eq!(appearance_from_wire(wire).unwrap_err().field, field);
        }
    }

    #[test]
    fn a_question_survives_the_wire_and_means_objects_unless_it_says_otherwise() {
        let bbox = BoxNorm { left: 0.1, top: 0.2, width: 0.3, height: 0.4 };
        for example in [
            Example::Appearance(appearance()),
            Example::Picture { image: Bytes::from_static(b"jpeg"), bbox: Some(bbox) },
            Example::Event {
                id: EventId::at(vigil_base::Timestamp::from_micros(1_700_000_000_000_000)),
                region: Some(RegionId::new("north").unwrap()),
            },
        ] {
            let filter = Filter { kinds: vec![EventKind::Object], ..Filter::default() };
            let question = AppearanceQuestion { example, filter, limit: 7, min_similarity: 0.5 };
            let wire = appearance_question_to_wire(&question);
            assert_eq!(appearance_question_from_wire(wire.clone()).unwrap(), question);
            let silent = v1::SearchByAppearanceRequest { filter: None, ..wire };
            assert_eq!(appearance_question_from_wire(silent).unwrap(), question);
        }
    }

    #[test]
    fn hostile_questions_are_refused_by_the_name_of_the_field() {
        let example = Some(example_to_wire(&Example::Appearance(appearance())));
        let good = v1::SearchByAppearanceRequest { example, ..Default::default() };
        let picture = |image: Vec<u8>, r#box| {
            let picture = v1::Picture { image: image.into(), r#box };
            let example = v1::appearance_example::Example::Picture(picture);
            Some(v1::AppearanceExample { example: Some(example) })
        };
        let outside = v1::Box { left: 0.5, top: 0.0, width: 0.6, height: 1.0 };
        let cases = [
            (v1::SearchByAppearanceRequest { example: None, ..good.clone() }, "example.event"),
            (v1::SearchByAppearanceRequest { limit: -1, ..good.clone() }, "limit"),
            (v1::SearchByAppearanceRequest { min_similarity: 1.5, ..good.clone() }, "min_similarity"),
            (
                v1::SearchByAppearanceRequest {
                    example: picture(vec![0; MAX_PICTURE_BYTES + 1], None),
                    ..good.clone()
                },
                "example.picture.image",
            ),
            (v1::SearchByAppearanceRequest { example: picture(vec![0], Some(outside)), ..good }, "example.picture.box"),
        ];
        for (wire, field) in cases {
            assert_eq!(appearance_question_from_wire(wire).unwrap_err().field, field);
        }
    }

    #[test]
    fn a_journey_has_a_span_cameras_and_a_similarity() {
        let second = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let good = v1::FollowAppearanceRequest {
            example: Some(example_to_wire(&Example::Appearance(appearance()))),
            filter: None,
            min_similarity: 0.9,
            span: second(600),
            min_cameras: 2,
        };
        let question = follow_question_from_wire(good.clone()).unwrap();
        assert_eq!((question.span, question.min_cameras), (Duration::from_mins(10), 2));
        assert_eq!(question.sightings.limit, MAX_HITS);
        let cases = [
            (v1::FollowAppearanceRequest { min_similarity: 0.0, ..good.clone() }, "min_similarity"),
            (v1::FollowAppearanceRequest { span: None, ..good.clone() }, "span"),
            (v1::FollowAppearanceRequest { span: second(-3), ..good.clone() }, "span"),
            (v1::FollowAppearanceRequest { span: second(86_401), ..good.clone() }, "span"),
            (v1::FollowAppearanceRequest { min_cameras: 1, ..good }, "min_cameras"),
        ];
        for (wire, field) in cases {
            assert_eq!(follow_question_from_wire(wire).unwrap_err().field, field);
        }
    }

    proptest! {
        #[test]
        fn every_vector_of_the_wire_is_taken_or_refused(vector in prop::collection::vec(any::<u8>(), 0..1100)) {
            let wire = v1::Appearance { vector: vector.clone(), ..appearance_to_wire(&appearance()) };
            if let Ok(taken) = appearance_from_wire(wire) {
                prop_assert_eq!(appearance_to_wire(&taken).vector, vector);
            }
        }
    }
}
