//! Reads plates for `scripts/bench plates`: one JSON line and one raw I420 picture in, one JSON line out.
//!
//! `read_plates MANIFEST`. In: `{"track": 1, "width": 640, "height": 480, "vehicle": [left, top, width, height]}`, all in pixels
//! and both sides even, then the picture's bytes (BT.601, limited range). Out: what this look found, and what all looks at the
//! track so far say together. It prints what it reads: feed it drawn plates only.

#![allow(clippy::print_stdout)] // Its output is its purpose.

use std::collections::BTreeMap;
use std::io::{BufRead, Read, stdin};

use serde_json::{Value, json};
use vigil_base::{BoxPx, Frame, Size, Timestamp};
use vigil_detect::{Character, ModelCatalogue, ModelConfig, PlateLook, PlateModels, ReadPlates, Runtime};
use vigil_plates::Ballot;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let manifest = std::env::args().nth(1).ok_or("name a manifest")?;
    let catalogue = ModelCatalogue::load(manifest.as_ref())?;
    let models = PlateModels::load(&Runtime::start(None)?, catalogue.plates(None)?, &ModelConfig::default())?;
    let (mut input, mut line) = (stdin().lock(), String::new());
    let mut ballots: BTreeMap<u64, Ballot> = BTreeMap::new();
    while input.read_line(&mut line)? > 0 {
        let asked: Value = serde_json::from_str(&line)?;
        line.clear();
        let side = |name: &str| asked[name].as_u64().and_then(|side| u32::try_from(side).ok()).ok_or("no size");
        let frame = picture(&mut input, Size::new(side("width")?, side("height")?))?;
        let edge = |index: usize| asked["vehicle"][index].as_f64().map_or(f32::NAN, |edge| edge as f32);
        let look = models.look(&frame, BoxPx::new(edge(0), edge(1), edge(2), edge(3)))?;
        let ballot = ballots.entry(asked["track"].as_u64().ok_or("no track")?).or_default();
        println!("{}", answer(&look, ballot));
    }
    Ok(())
}

fn picture(input: &mut impl Read, size: Size) -> Result<Frame, Failure> {
    let mut frame = Frame::uniform(size, [0; 3], Timestamp::default());
    for plane in &mut frame.planes {
        let mut samples = vec![0; (plane.width * plane.height) as usize];
        input.read_exact(&mut samples)?;
        plane.data = samples.into();
    }
    Ok(frame)
}

fn answer(look: &PlateLook, ballot: &mut Ballot) -> Value {
    let PlateLook::Found(found) = look else { return json!({ "found": false, "voted": voted(ballot) }) };
    ballot.add(&found.characters);
    json!({
        "found": true,
        "confidence": found.confidence,
        "corners": found.corners.0,
        "text": found.characters.iter().map(|read| read.character).collect::<String>(),
        "sure": found.characters.iter().map(|Character { confidence, .. }| *confidence).collect::<Vec<_>>(),
        "voted": voted(ballot),
    })
}

fn voted(ballot: &Ballot) -> Value {
    ballot.verdict().map_or(
        Value::Null,
        |voted| json!({ "text": voted.text, "confidence": voted.confidence, "readings": voted.readings }),
    )
}
