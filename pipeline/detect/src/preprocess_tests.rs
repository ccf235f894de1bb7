//! Preprocessing against the plainest way to say the same.

use proptest::prelude::*;
use vigil_base::Timestamp;
use vigil_base::frame::yuv_to_rgb;

use super::*;

const CANVAS: Size = Size::new(96, 64);

fn spec(layout: Layout, colour: Colour) -> InputSpec {
    InputSpec { size: CANVAS, any_size: false, layout, colour, anchor: Anchor::Centre, pad: 114 }
}

fn frame(size: Size, seed: u64) -> Frame {
    let mut frame = Frame::uniform(size, [0; 3], Timestamp::default());
    let mut state = seed | 1;
    for plane in &mut frame.planes {
        let mut sample = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        plane.data = (0..plane.width * plane.height).map(|_| sample()).collect::<Vec<_>>().into();
    }
    frame
}

fn bytes(preprocessor: &mut Preprocessor, frame: &Frame) -> Vec<u8> {
    let mut buffer = vec![0; preprocessor.spec.len()];
    preprocessor.painted[0] = None;
    preprocessor.fill(frame, 0, Slot::Bytes(&mut buffer)).unwrap();
    buffer
}

#[test]
fn every_matrix_and_range_agrees_with_the_formula_to_a_level() {
    let size = Size::new(96, 64);
    for matrix in [ColourMatrix::Bt601, ColourMatrix::Bt709] {
        for full_range in [false, true] {
            for yuv in [[16, 128, 128], [235, 128, 128], [81, 90, 240], [145, 54, 34], [41, 240, 110], [120, 60, 200]] {
                let mut frame = Frame::uniform(size, yuv, Timestamp::default());
                (frame.matrix, frame.full_range) = (matrix, full_range);
                let mut preprocessor = Preprocessor::new(spec(Layout::NhwcU8, Colour::Rgb), 1);
                let expected = yuv_to_rgb(yuv[0], yuv[1], yuv[2], matrix, full_range);
                let found = bytes(&mut preprocessor, &frame);
                for (found, expected) in found[..3].iter().zip(expected) {
                    assert!(found.abs_diff(expected) <= 1, "{yuv:?} {matrix:?} {full_range}: {:?}", &found);
                }
            }
        }
    }
}

#[test]
fn layouts_and_colour_orders_hold_the_same_picture() {
    let frame = frame(Size::new(120, 50), 7);
    let rgb = bytes(&mut Preprocessor::new(spec(Layout::NhwcU8, Colour::Rgb), 1), &frame);
    let bgr = bytes(&mut Preprocessor::new(spec(Layout::NhwcU8, Colour::Bgr), 1), &frame);
    assert!(rgb.as_chunks::<3>().0.iter().zip(bgr.as_chunks::<3>().0).all(|(a, b)| *a == [b[2], b[1], b[0]]));
    for (layout, divisor) in [(Layout::NchwF32, 1.0), (Layout::NchwF32Unit, 255.0)] {
        let mut preprocessor = Preprocessor::new(spec(layout, Colour::Rgb), 1);
        let mut floats = vec![f32::NAN; preprocessor.spec.len()];
        preprocessor.fill(&frame, 0, Slot::Floats(&mut floats)).unwrap();
        for (i, pixel) in rgb.as_chunks::<3>().0.iter().enumerate() {
            for (channel, &sample) in pixel.iter().enumerate() {
                assert_eq!(floats[channel * 96 * 64 + i], f32::from(sample) / divisor);
            }
        }
    }
}

#[test]
fn a_picture_of_another_shape_leaves_nothing_of_the_one_before() {
    let mut preprocessor = Preprocessor::new(spec(Layout::NhwcU8, Colour::Rgb), 1);
    let mut buffer = vec![0; preprocessor.spec.len()];
    let wide = Frame::uniform(Size::new(192, 32), [235, 128, 128], Timestamp::default());
    let tall = Frame::uniform(Size::new(32, 192), [235, 128, 128], Timestamp::default());
    for frame in [&wide, &tall, &wide] {
        preprocessor.fill(frame, 0, Slot::Bytes(&mut buffer)).unwrap();
    }
    assert_eq!(buffer, bytes(&mut Preprocessor::new(preprocessor.spec, 1), &wide));
    assert_eq!((buffer[0], buffer[3 * 96 * 32]), (114, 255));
}

#[test]
fn frames_that_are_none_are_refused() {
    let mut preprocessor = Preprocessor::new(spec(Layout::NhwcU8, Colour::Rgb), 1);
    let mut buffer = vec![0; preprocessor.spec.len()];
    let good = Frame::uniform(Size::new(64, 48), [0; 3], Timestamp::default());
    let empty = Frame { size: Size::new(0, 48), ..good.clone() };
    let grown = Frame { size: Size::new(640, 480), ..good.clone() };
    let mut short = good.clone();
    short.planes[2].data = vec![0; 10].into();
    for bad in [empty, grown, short] {
        let err = preprocessor.fill(&bad, 0, Slot::Bytes(&mut buffer)).unwrap_err();
        assert!(matches!(err, DetectError::BadFrame { .. }), "{err:?}");
    }
    preprocessor.fill(&good, 0, Slot::Bytes(&mut buffer)).unwrap();
}

#[test]
fn a_tile_holds_the_very_bytes_of_the_whole_picture_and_pad_lies_around_it() {
    let frame = frame(Size::new(300, 200), 11);
    for layout in [Layout::NhwcU8, Layout::NchwF32] {
        let mut preprocessor = Preprocessor::new(spec(layout, Colour::Rgb), 1);
        let fit = preprocessor.spec.fit(frame.size);
        let canvas = Size::new(64, 32);
        let tile = Tile { left: 30, top: 20, width: 40, height: 22, x: 6, y: 8 };
        let whole = bytes(&mut Preprocessor::new(spec(Layout::NhwcU8, Colour::Rgb), 1), &frame);
        let mut parts = vec![0.0; tensor_len(canvas)];
        if layout == Layout::NhwcU8 {
            let mut buffer = vec![0; tensor_len(canvas)];
            preprocessor.fill_tiles(&frame, fit, &[tile], canvas, 0, Slot::Bytes(&mut buffer));
            parts = buffer.into_iter().map(f32::from).collect();
        } else {
            preprocessor.fill_tiles(&frame, fit, &[tile], canvas, 0, Slot::Floats(&mut parts));
        }
        let at = |x: u32, y: u32, channel: usize| match layout {
            Layout::NhwcU8 => parts[3 * (y * canvas.width + x) as usize + channel],
            _ => parts[channel * plane_len(canvas) + (y * canvas.width + x) as usize],
        };
        for (x, y) in (0..canvas.height).flat_map(|y| (0..canvas.width).map(move |x| (x, y))) {
            let inside = (tile.x..tile.x + tile.width).contains(&x) && (tile.y..tile.y + tile.height).contains(&y);
            for channel in 0..3 {
                let (px, py) = (x + tile.left - tile.x.min(x), y + tile.top - tile.y.min(y));
                let expected = if inside { whole[3 * (py * CANVAS.width + px) as usize + channel] } else { 114 };
                assert_eq!(at(x, y, channel), f32::from(expected), "{x} {y}");
            }
        }
    }
}

proptest! {
    #[test]
    fn both_compilations_give_the_same_tensor(width in 1u32..300, height in 1u32..120, seed: u64, full_range: bool) {
        let mut frame = frame(Size::new(width, height), seed);
        frame.full_range = full_range;
        let spec = spec(Layout::NhwcU8, Colour::Bgr);
        let any = bytes(&mut Preprocessor::on(Cpu::Any, spec, 1), &frame);
        let best = bytes(&mut Preprocessor::on(Cpu::detect(), spec, 1), &frame);
        prop_assert!(any == best);
    }

    #[test]
    fn many_sizes_in_turn_do_not_disturb_each_other(sizes in prop::collection::vec((1u32..200, 1u32..200), 1..20)) {
        let spec = spec(Layout::NhwcU8, Colour::Rgb);
        let mut shared = Preprocessor::new(spec, 1);
        let mut buffer = vec![0; spec.len()];
        for (i, (width, height)) in sizes.into_iter().enumerate() {
            let frame = frame(Size::new(width, height), i as u64);
            shared.fill(&frame, 0, Slot::Bytes(&mut buffer)).unwrap();
            prop_assert!(buffer == bytes(&mut Preprocessor::new(spec, 1), &frame));
            prop_assert!(shared.plans.len() <= MAX_PLANS);
        }
    }
}
