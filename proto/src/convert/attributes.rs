//! What was measured of an object, from and to the wire.

use vigil_base::event::{
    Attributes, Colour, ColourMethod, ColourShare, GroundPosition, MAX_COLOURS, MotionMethod, Part, Speed,
};
use vigil_base::ground::GroundPoint;

use super::{WireError, share};
use crate::v1;

/// Farthest that a place can be from its plane's origin, metres: calibrations reach 5 km.
const MAX_METRES: f64 = 100_000.0;

pub(super) fn attributes_to_wire(attributes: &Attributes) -> v1::Attributes {
    v1::Attributes {
        colours: attributes.colours.iter().map(colour_to_wire).collect(),
        direction_degrees: attributes.direction_degrees,
        speed: attributes.speed.map(|speed| v1::Speed { error: attributes.speed_error, ..speed_to_wire(speed) }),
        colour_method: match attributes.colour_method {
            None => v1::ColourMethod::Unspecified,
            Some(ColourMethod::HsvVote) => v1::ColourMethod::HsvVote,
        }
        .into(),
        direction_confidence: attributes.direction_confidence,
        motion_method: match attributes.motion_method {
            None => v1::MotionMethod::Unspecified,
            Some(MotionMethod::PicturePath) => v1::MotionMethod::PicturePath,
            Some(MotionMethod::GroundPath) => v1::MotionMethod::GroundPath,
        }
        .into(),
        position: attributes.position.map(|GroundPosition { place, error_metres }| v1::GroundPosition {
            x: place.x,
            y: place.y,
            error_metres,
        }),
    }
}

pub(super) fn attributes_from_wire(wire: &v1::Attributes) -> Result<Attributes, WireError> {
    if wire.colours.len() > MAX_COLOURS {
        return Err(WireError::new("attributes.colours", format!("has more than {MAX_COLOURS} entries")));
    }
    if wire.direction_degrees.is_some_and(|d| !(0.0..=360.0).contains(&d)) {
        return Err(WireError::new("attributes.direction_degrees", "is not within 0 and 360"));
    }
    let (colour_method, motion_method) = (wire.colour_method(), wire.motion_method());
    let confidence = wire.direction_confidence;
    Ok(Attributes {
        colours: wire.colours.iter().map(colour_from_wire).collect::<Result<_, _>>()?,
        colour_method: match colour_method {
            v1::ColourMethod::Unspecified => None,
            v1::ColourMethod::HsvVote => Some(ColourMethod::HsvVote),
        },
        direction_degrees: wire.direction_degrees,
        direction_confidence: confidence.map(|c| share("attributes.direction_confidence", c)).transpose()?,
        speed_error: wire.speed.and_then(|speed| speed.error).map(error_from_wire).transpose()?,
        speed: wire.speed.map(speed_from_wire).transpose().map_err(|error| error.within("attributes.speed"))?,
        motion_method: match motion_method {
            v1::MotionMethod::Unspecified => None,
            v1::MotionMethod::PicturePath => Some(MotionMethod::PicturePath),
            v1::MotionMethod::GroundPath => Some(MotionMethod::GroundPath),
        },
        position: wire.position.map(position_from_wire).transpose()?,
    })
}

fn colour_to_wire(told: &ColourShare) -> v1::ColourShare {
    let part = match told.part {
        Part::Whole => v1::ObjectPart::Unspecified,
        Part::Upper => v1::ObjectPart::Upper,
        Part::Lower => v1::ObjectPart::Lower,
    };
    let (name, share, confidence) = (told.colour.to_string(), told.share, told.confidence);
    v1::ColourShare { name, share, part: part.into(), confidence }
}

fn colour_from_wire(wire: &v1::ColourShare) -> Result<ColourShare, WireError> {
    Ok(ColourShare {
        part: match wire.part() {
            v1::ObjectPart::Unspecified => Part::Whole,
            v1::ObjectPart::Upper => Part::Upper,
            v1::ObjectPart::Lower => Part::Lower,
        },
        colour: wire.name.parse::<Colour>().map_err(|e| WireError::new("attributes.colours.name", e))?,
        share: share("attributes.colours.share", wire.share)?,
        confidence: share("attributes.colours.confidence", wire.confidence)?,
    })
}

fn error_from_wire(error: f32) -> Result<f32, WireError> {
    if error.is_finite() && error >= 0.0 {
        return Ok(error);
    }
    Err(WireError::new("attributes.speed.error", "must be a number that is not negative"))
}

fn position_from_wire(wire: v1::GroundPosition) -> Result<GroundPosition, WireError> {
    let v1::GroundPosition { x, y, error_metres } = wire;
    if x.abs() > MAX_METRES || y.abs() > MAX_METRES || !(x.is_finite() && y.is_finite()) {
        return Err(WireError::new("attributes.position", "must be two numbers within 100 km of the origin"));
    }
    if !(error_metres.is_finite() && error_metres >= 0.0) {
        return Err(WireError::new("attributes.position.error_metres", "must be a number that is not negative"));
    }
    Ok(GroundPosition { place: GroundPoint { x, y }, error_metres })
}

pub(super) fn speed_to_wire(speed: Speed) -> v1::Speed {
    match speed {
        Speed::PictureWidthsPerSecond(value) => {
            v1::Speed { value, unit: v1::SpeedUnit::PictureWidthsPerSecond.into(), error: None }
        }
        Speed::MetresPerSecond(value) => v1::Speed { value, unit: v1::SpeedUnit::MetresPerSecond.into(), error: None },
    }
}

pub(super) fn speed_from_wire(wire: v1::Speed) -> Result<Speed, WireError> {
    if !wire.value.is_finite() || wire.value < 0.0 {
        return Err(WireError::new("value", "must be a number that is not negative"));
    }
    match wire.unit() {
        v1::SpeedUnit::PictureWidthsPerSecond => Ok(Speed::PictureWidthsPerSecond(wire.value)),
        v1::SpeedUnit::MetresPerSecond => Ok(Speed::MetresPerSecond(wire.value)),
        v1::SpeedUnit::Unspecified => Err(WireError::new("unit", "is missing or unknown")),
    }
}

#[cfg(test)]
mod tests {
    use vigil_base::event::Speed;

    use super::*;

    fn all() -> Attributes {
        let told = |part, colour, confidence| ColourShare { part, colour, share: 0.5, confidence };
        Attributes {
            colours: vec![
                told(Part::Upper, Colour::Red, 0.75),
                told(Part::Lower, Colour::Blue, 0.6),
                told(Part::Whole, Colour::Grey, 0.0),
            ],
            colour_method: Some(ColourMethod::HsvVote),
            direction_degrees: Some(90.0),
            direction_confidence: Some(0.5),
            speed: Some(Speed::MetresPerSecond(1.5)),
            speed_error: Some(0.1),
            motion_method: Some(MotionMethod::GroundPath),
            position: Some(GroundPosition { place: GroundPoint { x: -4.5, y: 12.25 }, error_metres: 0.2 }),
        }
    }

    #[test]
    fn what_is_sent_arrives() {
        for attributes in [all(), Attributes::default()] {
            assert_eq!(attributes_from_wire(&attributes_to_wire(&attributes)).unwrap(), attributes);
        }
    }

    #[test]
    fn what_an_older_edge_sends_is_of_the_whole_object_and_nobody_knows_how_sure() {
        let colours = vec![v1::ColourShare { name: "red".into(), share: 0.5, ..Default::default() }];
        let read = attributes_from_wire(&v1::Attributes { colours, ..Default::default() }).unwrap();
        let expected = ColourShare { part: Part::Whole, colour: Colour::Red, share: 0.5, confidence: 0.0 };
        assert_eq!((read.colours, read.colour_method), (vec![expected], None));
    }

    #[test]
    fn numbers_that_are_none_are_refused_by_name() {
        let wire = || attributes_to_wire(&all());
        let speed = |error| Some(v1::Speed { error: Some(error), ..wire().speed.unwrap() });
        let position = |x, error_metres| Some(v1::GroundPosition { x, y: 0.0, error_metres });
        let colour = v1::ColourShare { confidence: 1.5, ..wire().colours[0].clone() };
        for (wrong, named) in [
            (v1::Attributes { speed: speed(-1.0), ..wire() }, "speed.error"),
            (v1::Attributes { speed: speed(f32::NAN), ..wire() }, "speed.error"),
            (v1::Attributes { position: position(f64::NAN, 0.1), ..wire() }, "position"),
            (v1::Attributes { position: position(1e9, 0.1), ..wire() }, "position"),
            (v1::Attributes { position: position(1.0, -0.1), ..wire() }, "position.error_metres"),
            (v1::Attributes { direction_confidence: Some(2.0), ..wire() }, "direction_confidence"),
            (v1::Attributes { colours: vec![colour], ..wire() }, "colours.confidence"),
            (v1::Attributes { colours: vec![wire().colours[0].clone(); 10], ..wire() }, "colours"),
        ] {
            let error = attributes_from_wire(&wrong).unwrap_err();
            assert!(error.field.contains(named), "{error}");
        }
    }
}
