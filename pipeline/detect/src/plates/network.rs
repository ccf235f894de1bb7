//! One model of a pair in a session, with its input.

use std::sync::Arc;

use ort::session::Session;

use super::manifest::Part;
use crate::open::{OpenError, Weights, input_shape, make_session};
use crate::preprocess::{InputSpec, Slot};
use crate::provider::Provider;
use crate::session::Input;
use crate::{DetectError, Runtime};

/// A model that takes one picture and answers with one table.
pub(super) struct Network {
    name: String,
    session: Session,
    spec: InputSpec,
    input: Input,
}

impl Network {
    pub fn open(runtime: &Runtime, part: &Part, file: &[u8], on: Provider) -> Result<Self, OpenError> {
        let weights = Weights { model: &part.name, path: &part.file, file };
        let session = make_session(runtime, &weights, None, on)?;
        let (inputs, outputs) = (session.inputs().len(), session.outputs().len());
        if (inputs, outputs) != (1, 1) {
            return Err(OpenError::Model(DetectError::Interface {
                model: part.name.clone(),
                what: "the number of inputs and outputs",
                expected: "one of each".to_owned(),
                found: format!("{inputs} and {outputs}"),
            }));
        }
        let input = Input::new(part.input.layout, part.input.len());
        Ok(Self { name: part.name.clone(), session, spec: part.input, input })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The input, to be filled.
    pub fn slot(&mut self) -> Slot<'_> {
        self.input.slot(0, self.spec.len())
    }

    /// Runs the model on what the input holds; `read` is given the rows, the columns and the numbers of its answer, row by row.
    pub fn run<T>(
        &mut self,
        read: impl FnOnce(usize, usize, &[f32]) -> Result<T, DetectError>,
    ) -> Result<T, DetectError> {
        let failed = |source| DetectError::Run { model: self.name.clone(), source: Arc::new(source) };
        let [a, b, c] = input_shape(self.spec.layout, self.spec.size);
        let tensor = self.input.tensor([1, a, b, c]).map_err(failed)?;
        let outputs = self.session.run([tensor]).map_err(failed)?;
        let (shape, numbers) = outputs[0].try_extract_tensor::<f32>().map_err(failed)?;
        let sides: Vec<_> = shape.iter().map(|side| usize::try_from(*side).unwrap_or(0)).collect();
        match sides[..] {
            [1, rows, columns] if rows > 0 && columns > 0 => read(rows, columns, numbers),
            _ => Err(wrong_answer(&self.name, "one table of numbers", format!("{:?}", &shape[..]))),
        }
    }
}

/// The model does not answer as its entry says.
pub(super) fn wrong_answer(model: &str, expected: impl Into<String>, found: impl Into<String>) -> DetectError {
    DetectError::Interface {
        model: model.to_owned(),
        what: "the output",
        expected: expected.into(),
        found: found.into(),
    }
}
