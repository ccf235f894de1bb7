use vigil_base::Timestamp;
use vigil_base::event::Speed;

use super::*;

fn spot_at(second: i64) -> Spot {
    Spot { time: Timestamp::from_micros(second * 1_000_000 + 250_000), at: PointNorm { x: 0.25, y: 0.75 } }
}

/// One of each variant, each field with a value of its own.
fn all() -> Vec<Evidence> {
    let (at, since) = (PointNorm { x: 0.1, y: 0.9 }, Timestamp::from_micros(1_700_000_000_000_001));
    let time = Duration::from_micros(61_500_001);
    let crossing = |direction| Crossing { direction, at: spot_at(2), from: spot_at(1), to: spot_at(3) };
    let tampered = |cause| Evidence::Tampered { cause, value: 3.5, limit: 2.5 };
    vec![
        Evidence::Crossing(crossing(Direction::Left)),
        Evidence::Crossing(crossing(Direction::Right)),
        Evidence::Counts(Counts { left: 17, right: 13, since }),
        Evidence::Stay { since, dwell: time },
        Evidence::Border { at: spot_at(2), from: spot_at(1), to: spot_at(3) },
        Evidence::Occupancy { count: 51, capacity: 50, peak: 53 },
        Evidence::Density { count: 9, density: 1.25, limit: 1.0, unit: DensityUnit::PerSquareMetre },
        Evidence::Density { count: 9, density: 12.5, limit: 10.0, unit: DensityUnit::PerPicture },
        Evidence::Standing { at, since, stood: time },
        Evidence::WrongWay { from: spot_at(1), to: spot_at(3), allowed_degrees: 90.0, went_degrees: 271.5 },
        Evidence::Speeding {
            speed: Speed::MetresPerSecond(17.5),
            peak: Speed::MetresPerSecond(19.0),
            limit: Speed::MetresPerSecond(13.9),
            from: spot_at(1),
            to: spot_at(3),
        },
        Evidence::Abandoned { at, since, unattended: time, owner: Some(TrackId(0)) },
        Evidence::Abandoned { at, since, unattended: time, owner: None },
        Evidence::Removed { at, since, last_seen: Timestamp::from_micros(1_700_000_060_000_000) },
        tampered(Tamper::Covered),
        tampered(Tamper::Blurred),
        tampered(Tamper::Moved),
        tampered(Tamper::Dark),
        tampered(Tamper::Frozen),
        Evidence::Plate { text: "BAB1234".into(), likelihood: 0.875, listed: true },
    ]
}

#[test]
fn every_evidence_survives_the_wire() {
    for evidence in all() {
        assert_eq!(evidence_from_wire(evidence_to_wire(&evidence)).unwrap(), evidence);
    }
}

#[test]
fn what_is_missing_or_absurd_is_refused_by_its_name() {
    let refused = |detail: Option<Detail>| evidence_from_wire(v1::RuleEvidence { detail }).unwrap_err().to_string();
    assert!(refused(None).starts_with("detail: is missing"));
    let crossing = Detail::Crossing(v1::LineCrossing { direction: 7, ..v1::LineCrossing::default() });
    assert!(refused(Some(crossing)).starts_with("crossing.direction: "));
    let stay = v1::ZoneStay {
        since: Some(prost_types::Timestamp { seconds: 5, nanos: 0 }),
        dwell: Some(WireDuration { seconds: -1, nanos: 0 }),
    };
    assert!(refused(Some(Detail::Stay(stay))).starts_with("stay.dwell: "));
    let tampering = v1::CameraTampering { cause: 1, value: f32::NAN, limit: 0.0 };
    assert!(refused(Some(Detail::Tampering(tampering))).starts_with("tampering.value: "));
    let density = v1::CrowdDensity { count: 1, density: 1.0, limit: f64::INFINITY, unit: 1 };
    assert!(refused(Some(Detail::Density(density))).starts_with("density.limit: "));
    let standing = v1::Standing { at: Some(v1::Point { x: 90.0, y: 0.5 }), ..v1::Standing::default() };
    assert!(refused(Some(Detail::Standing(standing))).starts_with("standing.at: "));
    let plate = v1::PlateSighting { text: "X".repeat(33), likelihood: 0.5, listed: false };
    assert!(refused(Some(Detail::Plate(plate))).starts_with("plate.text: "));
    let speeding =
        v1::Speeding { speed: Some(v1::Speed { value: -1.0, unit: 2, error: None }), ..v1::Speeding::default() };
    assert!(refused(Some(Detail::Speeding(speeding))).starts_with("speeding.speed.value: "));
}
