//! Memory that a decoder and the readers of its pictures share.
//!
//! libav keeps a picture that later ones refer to mapped for writing for as long as it may be referred to. GStreamer refuses to
//! share memory that is mapped so, and copies the picture on its way out of the decoder: 3 MB for each picture of 1080
//! rows, a tenth of all decoding. Nothing is written once a picture is out, so the copy serves nobody.
//!
//! [`SharedPicturePool`] therefore hands out pictures whose mapping, also one for writing, takes a reader's lock only.

#![allow(unsafe_code)] // GStreamer takes the function that maps a plane as a C function; one place, `share`.

use gst::glib;
use gst::glib::translate::from_glib;
use gst::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::{VideoAlignment, VideoFrameFlags, VideoInfo, VideoMeta};
use gstreamer as gst;
use gstreamer_video as gst_video;
use parking_lot::Mutex;

const OPTIONS: [&str; 2] = ["GstBufferPoolOptionVideoMeta", "GstBufferPoolOptionVideoAlignment"];

glib::wrapper! {
    /// Pictures in main memory, padded as the decoder asks for.
    pub struct SharedPicturePool(ObjectSubclass<Pool>) @extends gst::BufferPool, gst::Object;
}

impl SharedPicturePool {
    pub fn new() -> Self {
        glib::Object::new()
    }
}

/// What one picture looks like in memory.
struct Layout {
    info: VideoInfo,
    alignment: VideoAlignment,
}

#[derive(Default)]
pub struct Pool {
    layout: Mutex<Option<Layout>>,
}

#[glib::object_subclass]
impl ObjectSubclass for Pool {
    const NAME: &'static str = "VigilSharedPicturePool";
    type Type = SharedPicturePool;
    type ParentType = gst::BufferPool;
}

impl ObjectImpl for Pool {}
impl GstObjectImpl for Pool {}

impl BufferPoolImpl for Pool {
    fn options() -> &'static [&'static str] {
        &OPTIONS
    }

    fn set_config(&self, config: &mut gst::BufferPoolConfigRef) -> bool {
        let Some((Some(caps), _, min, max)) = config.params() else { return false };
        let Ok(mut info) = VideoInfo::from_caps(&caps) else { return false };
        let mut alignment = VideoAlignment::default();
        if config.has_option(OPTIONS[1])
            && let Some(asked) = config.video_alignment()
        {
            alignment = asked;
        }
        if info.align(&mut alignment).is_err() {
            return false;
        }
        let Ok(size) = u32::try_from(info.size()) else { return false };
        config.set_video_alignment(&alignment);
        config.set_params(Some(&caps), size, min, max);
        *self.layout.lock() = Some(Layout { info, alignment });
        self.parent_set_config(config)
    }

    fn alloc_buffer(&self, params: Option<&gst::BufferPoolAcquireParams>) -> Result<gst::Buffer, gst::FlowError> {
        let mut buffer = self.parent_alloc_buffer(params)?;
        let layout = self.layout.lock();
        let Layout { info, alignment } = layout.as_ref().ok_or(gst::FlowError::NotNegotiated)?;
        let writable = buffer.get_mut().ok_or(gst::FlowError::Error)?;
        let (width, height) = (info.width(), info.height());
        let flags = VideoFrameFlags::empty();
        let meta = VideoMeta::add_full(writable, flags, info.format(), width, height, info.offset(), info.stride());
        let mut meta = meta.map_err(|_| gst::FlowError::Error)?;
        meta.set_alignment(alignment).map_err(|_| gst::FlowError::Error)?;
        share(meta);
        Ok(buffer)
    }
}

/// Makes every mapping of the picture a reader's.
fn share(mut meta: gst::MetaRefMut<'_, VideoMeta, gst::meta::Standalone>) {
    let meta = meta.as_mut_ptr();
    // SAFETY: the pointer is the meta just added to a buffer that nobody else holds, so writing its fields races with nobody.
    // The two functions keep GStreamer's contract for them (see each).
    unsafe {
        (*meta).map = Some(map_shared);
        (*meta).unmap = Some(unmap_shared);
    }
}

/// As GStreamer's own mapping of a plane, but with a reader's lock, for a picture that lies in one piece of memory.
///
/// The decoder writes through it, and only before the picture goes out, while nobody else knows of it; main memory is the
/// same memory however it is mapped.
unsafe extern "C" fn map_shared(
    meta: *mut gst_video::ffi::GstVideoMeta,
    plane: u32,
    info: *mut gst::ffi::GstMapInfo,
    data: *mut glib::ffi::gpointer,
    stride: *mut i32,
    flags: gst::ffi::GstMapFlags,
) -> glib::ffi::gboolean {
    // SAFETY: GStreamer calls this with a live meta on a live buffer, a plane below its number of planes, and places for the
    // three answers. The offset lies within the memory, since the layout's size was what the pool allocated.
    unsafe {
        let (plane, readable) = (plane as usize, flags & !gst::ffi::GST_MAP_WRITE);
        if !from_glib::<_, bool>(gst::ffi::gst_buffer_map_range((*meta).buffer, 0, 1, info, readable)) {
            return glib::ffi::GFALSE;
        }
        *data = (*info).data.add((*meta).offset[plane]).cast();
        *stride = (*meta).stride[plane];
        glib::ffi::GTRUE
    }
}

/// The other half of [`map_shared`].
unsafe extern "C" fn unmap_shared(
    meta: *mut gst_video::ffi::GstVideoMeta,
    _plane: u32,
    info: *mut gst::ffi::GstMapInfo,
) -> glib::ffi::gboolean {
    // SAFETY: `info` is what `map_shared` filled for the same buffer.
    unsafe { gst::ffi::gst_buffer_unmap((*meta).buffer, info) };
    glib::ffi::GTRUE
}

#[cfg(test)]
mod tests {
    use gst_video::{VideoFormat, VideoFrame, VideoFrameExt};

    use super::*;

    fn pool(width: u32, height: u32) -> (SharedPicturePool, VideoInfo) {
        gst::init().unwrap();
        let info = VideoInfo::builder(VideoFormat::I420, width, height).build().unwrap();
        let pool = SharedPicturePool::new();
        let mut config = pool.config();
        config.set_params(Some(&info.to_caps().unwrap()), u32::try_from(info.size()).unwrap(), 0, 0);
        for option in OPTIONS {
            config.add_option(option);
        }
        config.set_video_alignment(&VideoAlignment::new(0, 8, 0, 0, &[31; 4]));
        pool.set_config(config).unwrap();
        pool.set_active(true).unwrap();
        (pool, info)
    }

    #[test]
    fn a_picture_that_is_still_mapped_for_writing_is_shared_and_not_copied() {
        let (pool, info) = pool(1920, 1080);
        let mut held = VideoFrame::from_buffer_writable(pool.acquire_buffer(None).unwrap(), &info).unwrap();
        held.plane_data_mut(0).unwrap()[0] = 77;
        let passed_on = held.buffer().copy();
        assert_eq!(passed_on.peek_memory(0).as_ptr(), held.buffer().peek_memory(0).as_ptr());
        let seen = VideoFrame::from_buffer_readable(passed_on, &info).unwrap();
        assert_eq!(seen.plane_data(0).unwrap()[0], 77);
    }

    #[test]
    fn planes_are_padded_as_asked_and_do_not_overlap() {
        let (pool, info) = pool(112, 90);
        let frame = VideoFrame::from_buffer_readable(pool.acquire_buffer(None).unwrap(), &info).unwrap();
        let starts = [0, 1, 2].map(|plane| frame.plane_data(plane).unwrap().as_ptr() as usize);
        assert_eq!(frame.plane_stride()[0], 128);
        assert!(starts[1] - starts[0] >= 128 * 98 && starts[2] - starts[1] >= 64 * 49, "{starts:?}");
    }
}
