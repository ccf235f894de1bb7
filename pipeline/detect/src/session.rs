//! One ONNX Runtime session with its buffers: pictures in, detections out.

use std::sync::Arc;

use metrics::{Counter, counter};
use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::TensorRef;
use smallvec::{SmallVec, smallvec};
use vigil_base::detection::ModelIdentity;
use vigil_base::{BoxPx, Detection, Detections, Frame, Size};

use crate::heads::{Head, anchors};
use crate::letterbox::Letterbox;
use crate::manifest::{Layout, ModelEntry};
use crate::mosaic::Mosaic;
use crate::nms::{self, Candidate};
use crate::open::{OpenError, Weights, check_interface, input_shape, make_session};
use crate::preprocess::{self, InputSpec, Preprocessor, Slot, tensor_len};
use crate::provider::Provider;
use crate::{DetectError, Regions, Runtime};

/// A cut box of which this share lies in a whole one of its class is a part of that object.
const SAME_OBJECT: f32 = 0.6;

/// A frame, and where to look on it.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub frame: Frame,
    pub regions: Regions,
}

/// An answer is refused when more than one in so many of its anchors is no number; a model in half precision may overflow at
/// a single one.
const SPOILT_SHARE: usize = 100;

/// Answers of one run; a batch of one, as on a CPU, needs no list of its own.
pub(crate) type Found = SmallVec<[Detections; 1]>;

/// Runs a model on several pictures at once.
pub(crate) trait Engine: Send {
    /// One answer per look, in their order. At most [`Engine::batch_limit`] looks.
    fn detect(&mut self, looks: &[Look]) -> Result<Found, DetectError>;

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

/// The input tensor of a whole batch.
#[derive(Debug)]
pub(crate) enum Input {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
}

impl Input {
    /// Zeros, of the type that a layout asks for.
    pub fn new(layout: Layout, len: usize) -> Self {
        match layout {
            Layout::NhwcU8 => Self::Bytes(vec![0; len]),
            Layout::NchwF32 | Layout::NchwF32Unit => Self::Floats(vec![0.0; len]),
        }
    }

    /// A part of it, to be filled.
    pub fn slot(&mut self, from: usize, len: usize) -> Slot<'_> {
        match self {
            Self::Bytes(bytes) => Slot::Bytes(&mut bytes[from..from + len]),
            Self::Floats(floats) => Slot::Floats(&mut floats[from..from + len]),
        }
    }

    /// The first pictures of it, `shape` with the batch in front, as a session takes them.
    pub fn tensor(&self, shape: [usize; 4]) -> ort::Result<SessionInputValue<'_>> {
        let used = shape.iter().product();
        Ok(match self {
            Self::Bytes(bytes) => TensorRef::from_array_view((shape, &bytes[..used]))?.into(),
            Self::Floats(floats) => TensorRef::from_array_view((shape, &floats[..used]))?.into(),
        })
    }
}

/// A model, ready to run.
pub(crate) struct OnnxEngine {
    plan: Arc<SessionPlan>,
    session: Session,
    batch_limit: usize,
    spec: InputSpec,
    input: Input,
    preprocessor: Preprocessor,
    fits: Vec<Letterbox>,
    head: Head,
    candidates: Vec<Candidate>,
    mosaic: Mosaic,
    /// Confident boxes that a tile's border cuts.
    cut: Vec<Detection>,
    looks: Counters,
}

/// How frames were looked at.
struct Counters {
    whole: Counter,
    regions: Counter,
    /// In regions first, and as a whole because a border cut an object.
    cut: Counter,
}

impl OnnxEngine {
    /// Makes a session on one provider, and checks that the model takes and gives what its entry says.
    pub fn open(runtime: &Runtime, plan: &Arc<SessionPlan>, on: Provider) -> Result<Self, OpenError> {
        let entry = &plan.entry;
        let fixed = (entry.any_size && !on.takes_any_size()).then_some(entry.input);
        let session =
            make_session(runtime, &Weights { model: &entry.name, path: &entry.file, file: &plan.file }, fixed, on)?;
        let head = Head::new(entry.head, entry.classes.len());
        let fixed_batch = check_interface(&session, entry, &head).map_err(OpenError::Model)?;
        let batch_limit = if fixed_batch { 1 } else { on.batch_limit() };
        let spec = InputSpec { any_size: entry.any_size && on.takes_any_size(), ..InputSpec::of(entry) };
        let input = Input::new(entry.layout, spec.len() * batch_limit);
        let looks =
            |of: &'static str| counter!("vigil_inference_looks_total", "model" => entry.name.clone(), "of" => of);
        Ok(Self {
            plan: plan.clone(),
            session,
            batch_limit,
            spec,
            input,
            preprocessor: Preprocessor::new(spec, batch_limit),
            fits: Vec::with_capacity(batch_limit),
            head,
            candidates: Vec::new(),
            mosaic: Mosaic::new(),
            cut: Vec::new(),
            looks: Counters { whole: looks("whole"), regions: looks("regions"), cut: looks("cut") },
        })
    }

    /// Runs the session on what the input tensor holds, and leaves its answer unread.
    pub fn run_alone(&mut self) -> Result<(), DetectError> {
        run_session(&mut self.session, &self.plan.entry, &self.input, self.spec.size, 1).map(drop)
    }

    /// Looks at whole frames. Where the model takes any size there is one frame, so that all have the same canvas.
    fn detect_whole(&mut self, looks: &[Look]) -> Result<Found, DetectError> {
        self.looks.whole.increment(looks.len() as u64);
        self.fits.clear();
        for (index, look) in looks.iter().enumerate() {
            let len = tensor_len(self.spec.fit(look.frame.size).canvas);
            let slot = self.input.slot(index * len, len);
            self.fits.push(self.preprocessor.fill(&look.frame, index, slot)?);
        }
        let canvas = self.fits.first().map_or(self.spec.size, |fit| fit.canvas);
        let entry = &self.plan.entry;
        let outputs = run_session(&mut self.session, entry, &self.input, canvas, looks.len())?;
        let numbers = answer(&outputs, entry, &self.head, canvas, looks.len())?;
        let [rows, columns] = self.head.shape(canvas);
        let pictures = numbers.chunks_exact(rows * columns).zip(&self.fits).zip(looks);
        pictures
            .map(|((picture, fit), look)| {
                let spoilt = self.head.read(picture, canvas, self.plan.floor, &mut self.candidates);
                check_answer(entry, spoilt, anchors(canvas), self.candidates.len())?;
                Ok(finish(&mut self.candidates, &self.plan, &look.frame, fit))
            })
            .collect()
    }

    /// Looks at parts of a frame. None where that is no use: the whole costs hardly more, or a border cut an object that no
    /// other part shows whole.
    fn detect_regions(&mut self, look: &Look) -> Result<Option<Detections>, DetectError> {
        preprocess::check(&look.frame)?;
        let whole = self.spec.fit(look.frame.size);
        let Some(fit) = self.mosaic.plan(&look.regions, &whole) else { return Ok(None) };
        self.looks.regions.increment(1);
        let canvas = self.mosaic.canvas;
        let slot = self.input.slot(0, tensor_len(canvas));
        self.preprocessor.fill_tiles(&look.frame, fit, &self.mosaic.tiles, canvas, 0, slot);
        let entry = &self.plan.entry;
        let outputs = run_session(&mut self.session, entry, &self.input, canvas, 1)?;
        let numbers = answer(&outputs, entry, &self.head, canvas, 1)?;
        let spoilt = self.head.read(numbers, canvas, self.plan.floor, &mut self.candidates);
        check_answer(entry, spoilt, anchors(canvas), self.candidates.len())?;
        self.cut.clear();
        self.candidates.retain_mut(|candidate| {
            let Some((tile, bbox)) = self.mosaic.to_picture(&candidate.found.bbox) else { return false };
            candidate.found.bbox = bbox;
            let whole = !self.mosaic.cuts(&tile, &bbox);
            if !whole && candidate.found.confidence >= entry.thresholds.confidence {
                self.cut.push(candidate.found);
            }
            whole
        });
        let shown = |cut: &Detection| {
            let part_of =
                |other: &Detection| other.class == cut.class && share_inside(&cut.bbox, &other.bbox) >= SAME_OBJECT;
            self.candidates.iter().any(|candidate| part_of(&candidate.found))
        };
        if !self.cut.iter().all(shown) {
            self.looks.cut.increment(1);
            return Ok(None);
        }
        Ok(Some(finish(&mut self.candidates, &self.plan, &look.frame, &fit)))
    }
}

impl Engine for OnnxEngine {
    fn detect(&mut self, looks: &[Look]) -> Result<Found, DetectError> {
        if let [look] = looks
            && self.spec.any_size
            && !look.regions.is_whole()
            && let Some(found) = self.detect_regions(look)?
        {
            return Ok(smallvec![found]);
        }
        self.detect_whole(looks)
    }

    fn batch_limit(&self) -> usize {
        self.batch_limit
    }
}

fn run_session<'s>(
    session: &'s mut Session,
    entry: &ModelEntry,
    input: &Input,
    canvas: Size,
    batch: usize,
) -> Result<SessionOutputs<'s>, DetectError> {
    let failed = |source| run_failed(entry, source);
    let [a, b, c] = input_shape(entry.layout, canvas);
    let tensor = input.tensor([batch, a, b, c]).map_err(failed)?;
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

/// The numbers of a run, whose shape must be what the head reads.
fn answer<'o>(
    outputs: &'o SessionOutputs<'_>,
    entry: &ModelEntry,
    head: &Head,
    canvas: Size,
    batch: usize,
) -> Result<&'o [f32], DetectError> {
    let (shape, numbers) = outputs[0].try_extract_tensor::<f32>().map_err(|err| run_failed(entry, err))?;
    let [rows, columns] = head.shape(canvas);
    let expected = [batch, rows, columns];
    if shape.iter().map(|side| usize::try_from(*side).unwrap_or(0)).eq(expected) {
        return Ok(numbers);
    }
    Err(DetectError::Interface {
        model: entry.name.clone(),
        what: "the output of a run",
        expected: format!("{expected:?}"),
        found: format!("{:?}", &shape[..]),
    })
}

/// One box per object, in pixels of the frame.
fn finish(candidates: &mut Vec<Candidate>, plan: &SessionPlan, frame: &Frame, fit: &Letterbox) -> Detections {
    nms::suppress(candidates, plan.entry.thresholds.nms_iou);
    let in_frame = |found: Detection| Detection { bbox: fit.to_frame(found.bbox), ..found };
    Detections {
        capture_time: frame.capture_time,
        time_source: frame.time_source,
        size: frame.size,
        items: candidates.iter().map(|candidate| in_frame(candidate.found)).collect(),
        model: plan.identity.clone(),
    }
}

/// How much of a box lies in another, 0..1.
fn share_inside(part: &BoxPx, whole: &BoxPx) -> f32 {
    let width = part.right().min(whole.right()) - part.left.max(whole.left);
    let height = part.bottom().min(whole.bottom()) - part.top.max(whole.top);
    width.max(0.0) * height.max(0.0) / part.area().max(f32::MIN_POSITIVE)
}
