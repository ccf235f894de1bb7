//! What stands in an export: one row an event, one column a property. The schema is documented in docs/export.md; a column's name
//! and meaning never change, new ones come at the end.

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::TypePtr;
use std::sync::Arc;
use vigil_base::event::{Event, EventState, Speed};
use vigil_base::{TimeSource, Timestamp};

/// One value; what an event lacks is null.
enum Value {
    Text(String),
    Number(i64),
    Real(f64),
    Time(Timestamp),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Real,
    Time,
}

struct Column {
    name: &'static str,
    kind: Kind,
    read: fn(&Event) -> Option<Value>,
}

const fn column(name: &'static str, kind: Kind, read: fn(&Event) -> Option<Value>) -> Column {
    Column { name, kind, read }
}

#[allow(clippy::unnecessary_wraps, clippy::needless_pass_by_value)] // Every column may be empty, and takes what events hold.
fn text(value: impl ToString) -> Option<Value> {
    Some(Value::Text(value.to_string()))
}

#[allow(clippy::unnecessary_wraps)] // Every column may be empty.
fn real(value: f32) -> Option<Value> {
    Some(Value::Real(f64::from(value)))
}

const COLUMNS: [Column; 34] = [
    column("event_id", Kind::Text, |event| text(event.id)),
    column("revision", Kind::Number, |event| Some(Value::Number(event.revision.into()))),
    column("region", Kind::Text, |event| text(&event.region)),
    column("edge", Kind::Text, |event| text(&event.edge)),
    column("camera", Kind::Text, |event| text(&event.camera)),
    column("kind", Kind::Text, |event| text(event.kind())),
    column("class", Kind::Text, |event| Some(&event.object_class).filter(|class| !class.is_empty()).and_then(text)),
    column("track", Kind::Number, |event| Some(Value::Number(event.track.0 as i64)).filter(|_| event.track.0 > 0)),
    column("begin_time", Kind::Time, |event| Some(Value::Time(event.begin_time))),
    column("end_time", Kind::Time, |event| Some(Value::Time(event.end_time))),
    column("confirm_time", Kind::Time, |event| Some(Value::Time(event.confirm_time))),
    column("receive_time", Kind::Time, |event| event.receive_time.map(Value::Time)),
    column("time_source", Kind::Text, |event| text(time_source(event.time_source))),
    column("ongoing", Kind::Number, |event| Some(Value::Number((event.state == EventState::Ongoing).into()))),
    column("confidence", Kind::Real, |event| real(event.confidence)),
    column("best_time", Kind::Time, |event| Some(Value::Time(event.best_time))),
    column("best_left", Kind::Real, |event| real(event.best_box.left)),
    column("best_top", Kind::Real, |event| real(event.best_box.top)),
    column("best_width", Kind::Real, |event| real(event.best_box.width)),
    column("best_height", Kind::Real, |event| real(event.best_box.height)),
    column("latitude", Kind::Real, |event| event.location.map(|at| Value::Real(at.latitude))),
    column("longitude", Kind::Real, |event| event.location.map(|at| Value::Real(at.longitude))),
    column("ground_x", Kind::Real, |event| event.attributes.position.map(|on| Value::Real(on.place.x))),
    column("ground_y", Kind::Real, |event| event.attributes.position.map(|on| Value::Real(on.place.y))),
    column("ground_error", Kind::Real, |event| event.attributes.position.and_then(|on| real(on.error_metres))),
    column("direction_degrees", Kind::Real, |event| event.attributes.direction_degrees.and_then(real)),
    column("metres_per_second", Kind::Real, |event| match event.attributes.speed? {
        Speed::MetresPerSecond(value) => real(value),
        Speed::PictureWidthsPerSecond(_) => None,
    }),
    column("picture_widths_per_second", Kind::Real, |event| match event.attributes.speed? {
        Speed::PictureWidthsPerSecond(value) => real(value),
        Speed::MetresPerSecond(_) => None,
    }),
    column("colours", Kind::Text, colours),
    column("rule", Kind::Text, |event| event.finding.as_ref().and_then(|found| text(&found.rule))),
    column("zone", Kind::Text, |event| event.finding.as_ref().and_then(|found| text(found.zone.as_ref()?))),
    column("suppressed", Kind::Number, |event| {
        event.finding.as_ref().map(|found| Value::Number(found.suppressed.into()))
    }),
    column("model", Kind::Text, |event| text(&event.model.name)),
    column("model_fingerprint", Kind::Text, |event| text(&event.model.fingerprint)),
];

/// Personal data: only where they are asked for.
const PLATE_COLUMNS: [Column; 2] = [
    column("plate", Kind::Text, |event| event.plate.as_ref().and_then(|plate| text(&plate.text))),
    column("plate_confidence", Kind::Real, |event| event.plate.as_ref().and_then(|plate| real(plate.confidence))),
];

fn time_source(source: TimeSource) -> &'static str {
    match source {
        TimeSource::Ntp => "ntp",
        TimeSource::Arrival => "arrival",
        TimeSource::File => "file",
    }
}

/// `upper:red,lower:black`, the largest first within each part.
fn colours(event: &Event) -> Option<Value> {
    let told = event.attributes.colours.iter().map(|told| format!("{}:{}", told.part.name(), told.colour.name()));
    let told = told.collect::<Vec<_>>().join(",");
    (!told.is_empty()).then_some(Value::Text(told))
}

/// The columns of one export.
#[derive(Clone)]
pub(super) struct Columns(Vec<&'static Column>);

impl Columns {
    pub(super) fn new(with_plates: bool) -> Self {
        let plates: &[Column] = if with_plates { &PLATE_COLUMNS } else { &[] };
        Self(COLUMNS.iter().chain(plates).collect())
    }

    pub(super) fn schema(&self) -> Result<TypePtr, ParquetError> {
        let field = |column: &&Column| {
            let (name, kind) = (column.name, column.kind);
            match kind {
                Kind::Text => format!("OPTIONAL BYTE_ARRAY {name} (STRING);"),
                Kind::Number => format!("OPTIONAL INT64 {name};"),
                Kind::Real => format!("OPTIONAL DOUBLE {name};"),
                Kind::Time => format!("OPTIONAL INT64 {name} (TIMESTAMP(MICROS,true));"),
            }
        };
        let fields: String = self.0.iter().map(field).collect();
        parse_message_type(&format!("message event {{ {fields} }}")).map(Arc::new)
    }

    /// Writes events as one row group.
    pub(super) fn write<W: std::io::Write + Send>(
        &self,
        events: &[Event],
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        for column in &self.0 {
            let values: Vec<Option<Value>> = events.iter().map(column.read).collect();
            let is_there: Vec<i16> = values.iter().map(|value| value.is_some().into()).collect();
            let values = values.into_iter().flatten();
            let mut writer = group.next_column()?.ok_or_else(|| ParquetError::General("a column is missing".into()))?;
            match column.kind {
                Kind::Text => {
                    let texts: Vec<ByteArray> = values.filter_map(Value::into_text).collect();
                    writer.typed::<ByteArrayType>().write_batch(&texts, Some(&is_there), None)?;
                }
                Kind::Real => {
                    let reals: Vec<f64> = values.filter_map(Value::into_real).collect();
                    writer.typed::<DoubleType>().write_batch(&reals, Some(&is_there), None)?;
                }
                Kind::Number | Kind::Time => {
                    let numbers: Vec<i64> = values.filter_map(Value::into_number).collect();
                    writer.typed::<Int64Type>().write_batch(&numbers, Some(&is_there), None)?;
                }
            }
            writer.close()?;
        }
        Ok(())
    }
}

/// How files are written: Snappy, which every reader has.
pub(super) fn properties() -> WriterProperties {
    let by = concat!("vigil ", env!("CARGO_PKG_VERSION")).to_owned();
    WriterProperties::builder().set_created_by(by).set_compression(Compression::SNAPPY).build()
}

impl Value {
    fn into_text(self) -> Option<ByteArray> {
        if let Self::Text(text) = self { Some(text.into_bytes().into()) } else { None }
    }

    fn into_real(self) -> Option<f64> {
        if let Self::Real(value) = self { Some(value) } else { None }
    }

    fn into_number(self) -> Option<i64> {
        match self {
            Self::Number(value) => Some(value),
            Self::Time(at) => Some(at.as_micros()),
            Self::Text(_) | Self::Real(_) => None,
        }
    }
}
