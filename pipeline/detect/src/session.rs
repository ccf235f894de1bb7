//! One ONNX Runtime session with its buffers: pictures in, detections out.

use std::sync::Arc;

use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::{TensorElementType, TensorRef, ValueType};
use vigil_base::detection::ModelIdentity;
use vigil_base::{Detection, Detections, Frame};

use crate::heads::Head;
use crate::letterbox::Letterbox;
use crate::manifest::{Layout, ModelEntry};
use crate::nms::{self, Candidate};
use crate::preprocess::{InputSpec, Preprocessor, Slot};
use crate::provider::{self, Provider};
use crate::{DetectError, Runtime};

/// An answer is refused when more than one in so many of its anchors is no number; a model in half precision may overflow at
/// a single one.
const SPOILT_SHARE: usize = 100;

/// Runs a model on several pictures at once.
pub(crate) trait Engine: Send {
    /// One answer per frame, in their order. At most [`Engine::batch_limit`] frames.
    fn detect(&mut self, frames: &[Frame]) -> Result<Vec<Detections>, DetectError>;

    /// Frames that one call takes at most; at least one.
    fn batch_limit(&self) -> usize;
}

/// Everything about a model that its sessions share.
pub(crate) struct SessionPlan {
    pub entry: ModelEntry,
    pub identity: Arc<ModelIdentity>,
    /// The model's file, whose fingerprint was checked.
    pub file: Vec<u8>,
    /// Confidence below which nothing is told, 0..1.
    pub floor: f32,
}

/// A session cannot be made on one provider.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The provider does not work here; another may.
    Provider(String),
    /// The model itself is wrong; another provider would not help.
    Model(DetectError),
}

/// The input tensor of a whole batch.
#[derive(Debug)]
enum Input {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
}

/// A model, ready to run.
pub(crate) struct OnnxEngine {
    plan: Arc<SessionPlan>,
    session: Session,
    batch_limit: usize,
    input: Input,
    preprocessor: Preprocessor,
    fits: Vec<Letterbox>,
    head: Head,
    candidates: Vec<Candidate>,
}

impl OnnxEngine {
    /// Makes a session on one provider, and checks that the model takes and gives what its entry says.
    pub fn open(runtime: &Runtime, plan: &Arc<SessionPlan>, on: Provider) -> Result<Self, OpenError> {
        let session = make_session(runtime, plan, on)?;
        let entry = &plan.entry;
        let head = Head::new(entry.head, entry.input, entry.classes.len());
        let fixed_batch = check_interface(&session, entry, &head).map_err(OpenError::Model)?;
        let batch_limit = if fixed_batch { 1 } else { on.batch_limit() };
        let spec = InputSpec::of(entry);
        let input = match entry.layout {
            Layout::NhwcU8 => Input::Bytes(vec![0; spec.len() * batch_limit]),
            Layout::NchwF32 | Layout::NchwF32Unit => Input::Floats(vec![0.0; spec.len() * batch_limit]),
        };
        Ok(Self {
            plan: plan.clone(),
            session,
            batch_limit,
            input,
            preprocessor: Preprocessor::new(spec, batch_limit),
            fits: Vec::with_capacity(batch_limit),
            head,
            candidates: Vec::new(),
        })
    }

    /// Lays the frames into the input tensor.
    fn load(&mut self, frames: &[Frame]) -> Result<(), DetectError> {
        let len = InputSpec::of(&self.plan.entry).len();
        self.fits.clear();
        for (index, frame) in frames.iter().enumerate() {
            let range = index * len..(index + 1) * len;
            let slot = match &mut self.input {
                Input::Bytes(bytes) => Slot::Bytes(&mut bytes[range]),
                Input::Floats(floats) => Slot::Floats(&mut floats[range]),
            };
            self.fits.push(self.preprocessor.fill(frame, index, slot)?);
        }
        Ok(())
    }

    /// Runs the session on what the input tensor holds, and leaves its answer unread.
    pub fn run_alone(&mut self) -> Result<(), DetectError> {
        let entry = &self.plan.entry;
        run_session(&mut self.session, entry, &self.input, 1).map(drop)
    }

    /// Runs what was loaded.
    fn run(&mut self, frames: &[Frame]) -> Result<Vec<Detections>, DetectError> {
        let entry = &self.plan.entry;
        let batch = frames.len();
        let outputs = run_session(&mut self.session, entry, &self.input, batch)?;
        let (shape, numbers) = outputs[0].try_extract_tensor::<f32>().map_err(|err| run_failed(entry, err))?;
        let [rows, columns] = self.head.shape();
        let expected = [batch, rows, columns];
        if !shape.iter().map(|side| usize::try_from(*side).unwrap_or(0)).eq(expected) {
            return Err(DetectError::Interface {
                model: entry.name.clone(),
                what: "the output of a run",
                expected: format!("{expected:?}"),
                found: format!("{:?}", &shape[..]),
            });
        }
        let pictures = numbers.chunks_exact(rows * columns).zip(&self.fits).zip(frames);
        pictures
            .map(|((picture, fit), frame)| {
                let spoilt = self.head.read(picture, self.plan.floor, &mut self.candidates);
                check_answer(entry, spoilt, self.head.anchors(), self.candidates.len())?;
                nms::suppress(&mut self.candidates, entry.thresholds.nms_iou);
                Ok(Detections {
                    capture_time: frame.capture_time,
                    time_source: frame.time_source,
                    size: frame.size,
                    items: self.candidates.iter().map(|candidate| in_frame(candidate.found, *fit)).collect(),
                    model: self.plan.identity.clone(),
                })
            })
            .collect()
    }
}

impl Engine for OnnxEngine {
    fn detect(&mut self, frames: &[Frame]) -> Result<Vec<Detections>, DetectError> {
        self.load(frames)?;
        self.run(frames)
    }

    fn batch_limit(&self) -> usize {
        self.batch_limit
    }
}

fn run_session<'s>(
    session: &'s mut Session,
    entry: &ModelEntry,
    input: &Input,
    batch: usize,
) -> Result<SessionOutputs<'s>, DetectError> {
    let failed = |source| run_failed(entry, source);
    let [a, b, c] = input_shape(entry);
    let (shape, used) = ([batch, a, b, c], batch * InputSpec::of(entry).len());
    let tensor: SessionInputValue<'_> = match input {
        Input::Bytes(bytes) => TensorRef::from_array_view((shape, &bytes[..used])).map_err(failed)?.into(),
        Input::Floats(floats) => TensorRef::from_array_view((shape, &floats[..used])).map_err(failed)?.into(),
    };
    session.run([tensor]).map_err(failed)
}

/// An answer that no trained model gives is an error, and not an empty or a crowded street.
fn check_answer(entry: &ModelEntry, spoilt: usize, anchors: usize, found: usize) -> Result<(), DetectError> {
    if spoilt * SPOILT_SHARE > anchors {
        return Err(DetectError::NotNumbers { model: entry.name.clone(), spoilt, anchors });
    }
    if found > nms::MAX_CANDIDATES {
        return Err(DetectError::TooMany { model: entry.name.clone(), found, limit: nms::MAX_CANDIDATES });
    }
    Ok(())
}

fn run_failed(entry: &ModelEntry, source: ort::Error) -> DetectError {
    DetectError::Run { model: entry.name.clone(), source: Arc::new(source) }
}

fn in_frame(found: Detection, fit: Letterbox) -> Detection {
    Detection { bbox: fit.to_frame(found.bbox), ..found }
}

/// One thread that does not spin: two spinning threads, the default, nearly double the CPU time of a picture.
fn make_session(runtime: &Runtime, plan: &SessionPlan, on: Provider) -> Result<Session, OpenError> {
    let unloadable = |source: ort::Error| {
        OpenError::Model(DetectError::Unloadable {
            model: plan.entry.name.clone(),
            path: plan.entry.file.clone(),
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
    let mut builder = configured().map_err(unloadable)?;
    provider::register(&mut builder, on).map_err(OpenError::Provider)?;
    builder.commit_from_memory(&plan.file).map_err(|err| match on {
        Provider::Cpu => unloadable(err),
        Provider::Cuda | Provider::TensorRt => OpenError::Provider(err.message().trim().to_owned()),
    })
}

/// The input's shape behind the batch axis.
fn input_shape(entry: &ModelEntry) -> [usize; 3] {
    let (width, height) = (entry.input.width as usize, entry.input.height as usize);
    match entry.layout {
        Layout::NhwcU8 => [height, width, 3],
        Layout::NchwF32 | Layout::NchwF32Unit => [3, height, width],
    }
}

/// Checks the model's input and output against its entry; says whether its batch is fixed at one picture.
fn check_interface(session: &Session, entry: &ModelEntry, head: &Head) -> Result<bool, DetectError> {
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
    let taken = check_tensor("the input", entry, input.dtype(), input_type, &input_shape(entry))?;
    let given = check_tensor("the output", entry, output.dtype(), TensorElementType::Float32, &head.shape())?;
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
