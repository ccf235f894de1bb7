//! A decoder's buffer as a [`Frame`], without copying a sample.

use std::sync::Arc;

use bytes::Bytes;
use gst_video::prelude::*;
use gst_video::video_frame::Readable;
use gst_video::{VideoColorMatrix, VideoColorRange, VideoFrame, VideoInfo};
use gstreamer as gst;
use gstreamer_video as gst_video;
use vigil_base::{ColourMatrix, Frame, Plane, Size, TimeSource, Timestamp};

/// What a frame carries beside its picture.
#[derive(Clone, Copy)]
pub(crate) struct Label {
    pub sequence: u64,
    pub session: u32,
    pub capture_time: Timestamp,
    pub time_source: TimeSource,
}

/// Keeps a mapped buffer alive for as long as anyone holds one of its planes; only then may the decoder reuse it.
struct PlaneOwner {
    picture: Arc<VideoFrame<Readable>>,
    plane: u32,
}

impl AsRef<[u8]> for PlaneOwner {
    fn as_ref(&self) -> &[u8] {
        self.picture.plane_data(self.plane).expect("an I420 picture has three planes")
    }
}

/// Wraps an I420 buffer. None when the buffer does not hold a picture of that format and size.
pub(crate) fn frame(buffer: gst::Buffer, info: &VideoInfo, label: Label) -> Option<Frame> {
    let planes = planes(VideoFrame::from_buffer_readable(buffer, info).ok()?)?;
    Some(Frame {
        sequence: label.sequence,
        session: label.session,
        capture_time: label.capture_time,
        time_source: label.time_source,
        size: Size::new(info.width(), info.height()),
        planes,
        matrix: matrix(info),
        full_range: info.colorimetry().range() == VideoColorRange::Range0_255,
    })
}

/// The three planes. Where they lie in one block, as decoders have it, they share one handle on it; else each has its own.
fn planes(picture: VideoFrame<Readable>) -> Option<[Plane; 3]> {
    let layout = [0, 1, 2].map(|plane| Layout::of(&picture, plane));
    if picture.buffer().n_memory() != 1 {
        let picture = Arc::new(picture);
        return Some(layout.map(|layout| layout.plane(Bytes::from_owner(layout.owner(&picture)))));
    }
    let block = Bytes::from_owner(picture.into_buffer().into_mapped_buffer_readable().ok()?);
    Some(layout.map(|layout| layout.plane(block.slice(layout.within(block.len())))))
}

/// Where a plane's samples are.
#[derive(Clone, Copy)]
struct Layout {
    plane: u32,
    /// Bytes into the block.
    offset: usize,
    len: usize,
    stride: usize,
    width: u32,
    height: u32,
}

impl Layout {
    fn of(picture: &VideoFrame<Readable>, plane: u32) -> Self {
        Self {
            plane,
            offset: picture.plane_offset()[plane as usize],
            len: picture.plane_data(plane).map_or(0, <[u8]>::len),
            stride: picture.plane_stride()[plane as usize].unsigned_abs() as usize,
            width: picture.comp_width(plane),
            height: picture.comp_height(plane),
        }
    }

    fn within(&self, block: usize) -> std::ops::Range<usize> {
        self.offset.min(block)..(self.offset + self.len).min(block)
    }

    fn owner(&self, picture: &Arc<VideoFrame<Readable>>) -> PlaneOwner {
        PlaneOwner { picture: picture.clone(), plane: self.plane }
    }

    fn plane(&self, data: Bytes) -> Plane {
        Plane { data, stride: self.stride, width: self.width, height: self.height }
    }
}

/// The stream's matrix; where the stream says nothing, GStreamer has already put what its size suggests (BT.601 up to 576
/// rows, BT.709 above). BT.2020 is closest to BT.709 of the two that Vigil knows.
fn matrix(info: &VideoInfo) -> ColourMatrix {
    match info.colorimetry().matrix() {
        VideoColorMatrix::Bt709 | VideoColorMatrix::Bt2020 | VideoColorMatrix::Smpte240m => ColourMatrix::Bt709,
        _ => ColourMatrix::Bt601,
    }
}

#[cfg(test)]
mod tests {
    use gst_video::{VideoColorimetry, VideoFormat};

    use super::*;

    fn label() -> Label {
        Label { sequence: 0, session: 0, capture_time: Timestamp::default(), time_source: TimeSource::File }
    }

    #[test]
    fn colour_matrix_and_range_come_from_the_stream() {
        gst::init().unwrap();
        for (text, matrix, full_range) in [
            ("bt601", ColourMatrix::Bt601, false),
            ("bt709", ColourMatrix::Bt709, false),
            ("1:4:0:0", ColourMatrix::Bt601, true),
        ] {
            let colorimetry = text.parse::<VideoColorimetry>().unwrap();
            let info = VideoInfo::builder(VideoFormat::I420, 64, 48).colorimetry(&colorimetry).build().unwrap();
            let frame = frame(gst::Buffer::with_size(info.size()).unwrap(), &info, label()).unwrap();
            assert_eq!((frame.matrix, frame.full_range), (matrix, full_range), "{text}");
        }
    }

    #[test]
    fn odd_sizes_have_rounded_up_chroma_and_a_short_buffer_is_refused() {
        gst::init().unwrap();
        let info = VideoInfo::builder(VideoFormat::I420, 33, 17).build().unwrap();
        let odd = frame(gst::Buffer::with_size(info.size()).unwrap(), &info, label()).unwrap();
        assert_eq!((odd.planes[1].width, odd.planes[1].height), (17, 9));
        assert_eq!(odd.planes[2].row(8).len(), 17);
        assert!(frame(gst::Buffer::with_size(100).unwrap(), &info, label()).is_none());
    }
}
