//! Opening a model: a session on one provider, whose input and output are what the manifest says.

use std::path::Path;
use std::sync::Arc;

use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{TensorElementType, ValueType};
use vigil_base::Size;

use crate::heads::Head;
use crate::manifest::{Layout, ModelEntry};
use crate::provider::{self, Provider};
use crate::{DetectError, Runtime};

/// A session cannot be made on one provider.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The provider does not work here; another may.
    Provider(String),
    /// The model itself is wrong; another provider would not help.
    Model(DetectError),
}

/// A model's file, read and checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weights<'a> {
    /// Whose they are.
    pub model: &'a str,
    pub path: &'a Path,
    /// What stands in it.
    pub file: &'a [u8],
}

/// One thread that does not spin: two spinning threads, the default, nearly double the CPU time of a picture. `fixed` sets the
/// size of a model that takes any.
pub(crate) fn make_session(
    runtime: &Runtime,
    weights: &Weights<'_>,
    fixed: Option<Size>,
    on: Provider,
) -> Result<Session, OpenError> {
    let unloadable = |source: ort::Error| {
        OpenError::Model(DetectError::Unloadable {
            model: weights.model.to_owned(),
            path: weights.path.to_owned(),
            source: Arc::new(source),
        })
    };
    let configured = || {
        runtime
            .session_builder()?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_memory_pattern(true)?
            .with_log_level(ort::logging::LogLevel::Error)
            .map_err(ort::Error::from)
    };
    let fix = |builder: SessionBuilder, Size { width, height }: Size| {
        let builder = builder.with_dimension_override("H", i64::from(height))?;
        builder.with_dimension_override("W", i64::from(width)).map_err(ort::Error::from)
    };
    let mut builder = configured().map_err(unloadable)?;
    if let Some(size) = fixed {
        builder = fix(builder, size).map_err(unloadable)?;
    }
    provider::register(&mut builder, on).map_err(OpenError::Provider)?;
    builder.commit_from_memory(weights.file).map_err(|err| match on {
        Provider::Cpu => unloadable(err),
        Provider::Cuda | Provider::TensorRt => OpenError::Provider(err.message().trim().to_owned()),
    })
}

/// The input's shape behind the batch axis.
pub(crate) fn input_shape(layout: Layout, canvas: Size) -> [usize; 3] {
    let (width, height) = (canvas.width as usize, canvas.height as usize);
    match layout {
        Layout::NhwcU8 => [height, width, 3],
        Layout::NchwF32 | Layout::NchwF32Unit => [3, height, width],
    }
}

/// Checks the model's input and output against its entry; says whether its batch is fixed at one picture.
pub(crate) fn check_interface(session: &Session, entry: &ModelEntry, head: &Head) -> Result<bool, DetectError> {
    let ([input], [output]) = (session.inputs(), session.outputs()) else {
        return Err(DetectError::Interface {
            model: entry.name.clone(),
            what: "the number of inputs and outputs",
            expected: "one of each".to_owned(),
            found: format!("{} and {}", session.inputs().len(), session.outputs().len()),
        });
    };
    let input_type = match entry.layout {
        Layout::NhwcU8 => TensorElementType::Uint8,
        Layout::NchwF32 | Layout::NchwF32Unit => TensorElementType::Float32,
    };
    let taken = check_tensor("the input", entry, input.dtype(), input_type, &input_shape(entry.layout, entry.input))?;
    let given =
        check_tensor("the output", entry, output.dtype(), TensorElementType::Float32, &head.shape(entry.input))?;
    Ok(taken || given)
}

/// Compares type and shape; a side that the file leaves open may be anything. Says whether the batch is fixed.
fn check_tensor(
    what: &'static str,
    entry: &ModelEntry,
    found: &ValueType,
    element: TensorElementType,
    behind_batch: &[usize],
) -> Result<bool, DetectError> {
    let open_or = |side: &i64, wanted: usize| *side < 0 || usize::try_from(*side) == Ok(wanted);
    if let ValueType::Tensor { ty, shape, .. } = found
        && *ty == element
        && let [batch, sides @ ..] = &shape[..]
        && open_or(batch, 1)
        && sides.len() == behind_batch.len()
        && sides.iter().zip(behind_batch).all(|(side, wanted)| open_or(side, *wanted))
    {
        return Ok(*batch >= 0);
    }
    Err(DetectError::Interface {
        model: entry.name.clone(),
        what,
        expected: describe(element, std::iter::once(-1).chain(behind_batch.iter().map(|side| *side as i64))),
        found: match found {
            ValueType::Tensor { ty, shape, .. } => describe(*ty, shape.iter().copied()),
            other => other.to_string(),
        },
    })
}

fn describe(element: TensorElementType, shape: impl Iterator<Item = i64>) -> String {
    let sides: Vec<_> = shape.map(|side| if side < 0 { "N".to_owned() } else { side.to_string() }).collect();
    format!("{element} [{}]", sides.join(", "))
}
