//! The part of a frame in which a vehicle's plate is looked for.

use bytes::Bytes;
use vigil_base::{BoxPx, Frame, Plane, Size};

/// What is added to a vehicle's box on each side, as a share of it: detectors cut bumpers off.
const MARGIN: f32 = 0.05;
/// The share of a vehicle's box, from below, that is looked at: plates are not at the windscreen.
const LOWER: f32 = 0.75;
/// Smallest side of a part that is looked at, frame pixels: on less no plate can be read.
const MIN_CROP: u32 = 32;

/// A part of a frame.
pub(super) struct Cut {
    /// Its left and top in the frame; even, so that its chroma begins where its luma does.
    pub left: u32,
    pub top: u32,
    /// The part; shares the frame's samples.
    pub picture: Frame,
}

/// The lower part of a vehicle, with a margin; none where too little of it lies in the frame.
pub(super) fn cut(frame: &Frame, vehicle: BoxPx) -> Option<Cut> {
    let (dx, dy) = (vehicle.width * MARGIN, vehicle.height * LOWER * MARGIN);
    let top = vehicle.top + vehicle.height * (1.0 - LOWER);
    let wide = BoxPx::new(vehicle.left - dx, top - dy, vehicle.width + 2.0 * dx, vehicle.height * LOWER + 2.0 * dy);
    let inside = wide.clamp(frame.size);
    if inside.width < MIN_CROP as f32 || inside.height < MIN_CROP as f32 {
        return None;
    }
    let (left, top) = (inside.left as u32 & !1, inside.top as u32 & !1);
    let right = (inside.right().ceil() as u32).min(frame.size.width);
    let bottom = (inside.bottom().ceil() as u32).min(frame.size.height);
    let size = Size::new(right - left, bottom - top);
    let half = Size::new(size.width.div_ceil(2), size.height.div_ceil(2));
    let [luma, cb, cr] = &frame.planes;
    let planes = [part(luma, left, top, size)?, part(cb, left / 2, top / 2, half)?, part(cr, left / 2, top / 2, half)?];
    Some(Cut { left, top, picture: Frame { size, planes, ..frame.clone() } })
}

/// A part of a plane; none where the plane is smaller than its frame says.
fn part(plane: &Plane, left: u32, top: u32, size: Size) -> Option<Plane> {
    let first = top as usize * plane.stride + left as usize;
    let last = first + (size.height as usize - 1) * plane.stride + size.width as usize;
    let data: Bytes = (last <= plane.data.len()).then(|| plane.data.slice(first..))?;
    Some(Plane { data, stride: plane.stride, width: size.width, height: size.height })
}

#[cfg(test)]
mod tests {
    use vigil_base::Timestamp;

    use super::*;

    #[test]
    fn the_lower_part_is_cut_out_and_stays_in_the_frame() {
        let frame = Frame::uniform(Size::new(641, 361), [90, 128, 128], Timestamp::default());
        for vehicle in [
            BoxPx::new(101.0, 51.0, 201.0, 99.0),
            BoxPx::new(-40.0, 250.0, 200.0, 200.0),
            BoxPx::new(540.0, -20.0, 400.0, 1000.0),
            BoxPx::new(-1e9, -1e9, 3e9, 3e9),
        ] {
            let cut = cut(&frame, vehicle).unwrap();
            let size = cut.picture.size;
            assert!(cut.left.is_multiple_of(2) && cut.top.is_multiple_of(2));
            assert!(cut.left + size.width <= 641 && cut.top + size.height <= 361);
            let last_rows = cut.picture.planes.each_ref().map(|plane| plane.row(plane.height - 1).len());
            assert_eq!(last_rows[0], size.width as usize);
            assert_eq!(last_rows[1], size.width.div_ceil(2) as usize);
        }
    }

    #[test]
    fn nothing_is_cut_where_nothing_could_be_read() {
        let frame = Frame::uniform(Size::new(640, 360), [90, 128, 128], Timestamp::default());
        let tiny = Frame::uniform(Size::new(1, 1), [90, 128, 128], Timestamp::default());
        for vehicle in [
            BoxPx::new(10.0, 10.0, 1.0, 1.0),
            BoxPx::new(700.0, 10.0, 100.0, 100.0),
            BoxPx::new(f32::NAN, 0.0, 100.0, 100.0),
            BoxPx::new(0.0, 0.0, -50.0, 60.0),
        ] {
            assert!(cut(&frame, vehicle).is_none(), "{vehicle:?}");
        }
        assert!(cut(&tiny, BoxPx::new(0.0, 0.0, 100.0, 100.0)).is_none());
        let mut torn = frame.clone();
        torn.planes[2].data = torn.planes[2].data.slice(..100);
        assert!(cut(&torn, BoxPx::new(0.0, 100.0, 200.0, 200.0)).is_none());
    }
}
