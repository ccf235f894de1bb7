//! The inner loops of preprocessing, compiled twice: for any CPU, and for x86-64 CPUs with AVX2.
//!
//! Both give the same bytes. The arithmetic is OpenCV's, bit by bit (`resize` with `INTER_LINEAR`, `cvtColor` with
//! `COLOR_YUV2RGB_I420`), because an INT8 model turns one level of difference in a pixel into another box.

#![allow(unsafe_code)] // To call code compiled for AVX2, after the CPU was asked; one place, in `on_best_cpu!`.
#![allow(clippy::inline_always)] // A body must become part of its AVX2 caller, or it would not be compiled for AVX2.

/// Bits of a bilinear weight: 1.0 is 2048.
pub(crate) const WEIGHT_BITS: u32 = 11;
/// A horizontal sum of two samples times weights has 19 bits; this many are dropped, so that 15 are left.
const DROPPED_BITS: u32 = 4;

/// Which compilation is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cpu {
    /// Any.
    Any,
    /// x86-64 with AVX2. Made by [`Cpu::detect`] only, where the CPU has it.
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Cpu {
    /// The best this machine can do.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            return Self::Avx2;
        }
        Self::Any
    }
}

/// Makes a function that runs `$body` in the compilation that the first argument names.
macro_rules! on_best_cpu {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),* $(,)?) = $any:path, $avx2:path) => {
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name(cpu: Cpu, $($arg: $type),*) {
            match cpu {
                Cpu::Any => $any($($arg),*),
                #[cfg(target_arch = "x86_64")]
                Cpu::Avx2 => {
                    #[target_feature(enable = "avx2")]
                    fn compiled($($arg: $type),*) {
                        $avx2($($arg),*);
                    }
                    // SAFETY: `Cpu::Avx2` is only made by `Cpu::detect`, after the CPU said that it has AVX2.
                    unsafe { compiled($($arg),*) }
                }
            }
        }
    };
}

/// One output sample of a row: where its two input samples are, and their weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tap {
    /// Index of the first sample; the second is the next one.
    pub first: u32,
    /// Weights of the two, which add up to 2048.
    pub weights: [i16; 2],
}

/// Sixteen output samples of a row for AVX2: four times four that lie within sixteen input bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TapGroup {
    /// Where the sixteen bytes of each four begin, in the order of the vectors' halves: outputs 0..4, 8..12, 4..8, 12..16.
    starts: [u32; 4],
    /// Which bytes go where, per vector: two samples an output, each widened to 16 bits.
    picks: [[u8; 32]; 2],
    /// Their weights, in the same order.
    weights: [[i16; 16]; 2],
}

/// Outputs of one [`TapGroup`].
const GROUP: usize = 16;
/// Input bytes that one shuffle sees.
const SEEN: u32 = 16;

/// The taps of one row, and their groups where the ratio allows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowTaps {
    taps: Vec<Tap>,
    groups: Vec<TapGroup>,
}

impl RowTaps {
    /// For rows of `width` input samples, at least two. Where four neighbouring outputs reach over more than sixteen
    /// input samples (a ratio above 4.6), all of them go the plain way.
    pub fn new(taps: Vec<Tap>, width: u32) -> Self {
        let groups = taps.chunks_exact(GROUP).map(|taps| group(taps, width)).collect::<Option<Vec<_>>>();
        Self { taps, groups: groups.unwrap_or_default() }
    }

    /// Output samples.
    pub fn len(&self) -> usize {
        self.taps.len()
    }
}

fn group(taps: &[Tap], width: u32) -> Option<TapGroup> {
    const ORDER: [usize; 4] = [0, 8, 4, 12];
    const NOTHING: u8 = 0x80;
    let mut group = TapGroup { starts: [0; 4], picks: [[NOTHING; 32]; 2], weights: [[0; 16]; 2] };
    for (quarter, first) in ORDER.into_iter().enumerate() {
        let four = &taps[first..first + 4];
        let start = four[0].first.min(width.checked_sub(SEEN)?);
        group.starts[quarter] = start;
        let (vector, half) = (quarter / 2, quarter % 2);
        for (i, tap) in four.iter().enumerate() {
            let offset = u8::try_from(tap.first - start).ok().filter(|offset| u32::from(*offset) + 1 < SEEN)?;
            let at = half * 16 + i * 4;
            group.picks[vector][at] = offset;
            group.picks[vector][at + 2] = offset + 1;
            group.weights[vector][half * 8 + i * 2..][..2].copy_from_slice(&tap.weights);
        }
    }
    Some(group)
}

on_best_cpu! {
    /// Resizes one row: each output is the weighted sum of two samples, 15 bits wide.
    ///
    /// `taps` were made for rows of `row.len()` samples.
    fn horizontal(row: &[u8], taps: &RowTaps, out: &mut [i16]) = horizontal_any, horizontal_avx2
}

#[inline(always)]
fn horizontal_any(row: &[u8], taps: &RowTaps, out: &mut [i16]) {
    weigh(row, &taps.taps, out);
}

#[inline(always)]
fn weigh(row: &[u8], taps: &[Tap], out: &mut [i16]) {
    for (out, tap) in out.iter_mut().zip(taps) {
        let first = tap.first as usize;
        let [a, b] = [row[first], row[first + 1]].map(i32::from);
        let [of_a, of_b] = tap.weights.map(i32::from);
        *out = ((a * of_a + b * of_b) >> DROPPED_BITS) as i16;
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn horizontal_avx2(row: &[u8], taps: &RowTaps, out: &mut [i16]) {
    use std::arch::x86_64::{
        __m128i, __m256i, _mm256_madd_epi16, _mm256_packs_epi32, _mm256_set_m128i, _mm256_shuffle_epi8,
        _mm256_srai_epi32,
    };

    let seen = |start: u32| bytemuck::pod_read_unaligned::<__m128i>(&row[start as usize..][..SEEN as usize]);
    let grouped = taps.groups.len() * GROUP;
    for (group, out) in taps.groups.iter().zip(out.as_chunks_mut::<GROUP>().0) {
        let sums = |vector: usize| {
            let both = _mm256_set_m128i(seen(group.starts[vector * 2 + 1]), seen(group.starts[vector * 2]));
            let samples = _mm256_shuffle_epi8(both, bytemuck::cast::<_, __m256i>(group.picks[vector]));
            let sums = _mm256_madd_epi16(samples, bytemuck::cast::<_, __m256i>(group.weights[vector]));
            _mm256_srai_epi32::<{ DROPPED_BITS as i32 }>(sums)
        };
        *out = bytemuck::cast(_mm256_packs_epi32(sums(0), sums(1)));
    }
    weigh(row, &taps.taps[grouped..], &mut out[grouped..]);
}

on_best_cpu! {
    /// Blends two resized rows with weights that add up to 2048, and rounds to samples.
    fn vertical(above: &[i16], below: &[i16], weights: [i16; 2], out: &mut [u8]) = vertical_any, vertical_any
}

#[inline(always)]
fn vertical_any(above: &[i16], below: &[i16], weights: [i16; 2], out: &mut [u8]) {
    let share = |sum: i16, weight: i16| ((i32::from(sum) * i32::from(weight)) >> 16) as i16;
    for ((out, &a), &b) in out.iter_mut().zip(above).zip(below) {
        *out = ((share(a, weights[0]) + share(b, weights[1]) + 2) >> 2) as u8;
    }
}

on_best_cpu! {
    /// Halves two rows: each output is the mean of four samples.
    fn halve(above: &[u8], below: &[u8], out: &mut [u8]) = halve_any, halve_any
}

#[inline(always)]
fn halve_any(above: &[u8], below: &[u8], out: &mut [u8]) {
    let pairs = above.as_chunks::<2>().0.iter().zip(below.as_chunks::<2>().0);
    for (out, (a, b)) in out.iter_mut().zip(pairs) {
        let sum = u16::from(a[0]) + u16::from(a[1]) + u16::from(b[0]) + u16::from(b[1]);
        *out = ((sum + 2) >> 2) as u8;
    }
}

/// From luma and chroma to red, green and blue in integers, 2^20 standing for 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ColourRule {
    /// Luma of black.
    pub black: i32,
    /// Of luma, for all three.
    pub gain: i32,
    /// Of Cr for red.
    pub cr_red: i32,
    /// Of Cr for green.
    pub cr_green: i32,
    /// Of Cb for green.
    pub cb_green: i32,
    /// Of Cb for blue.
    pub cb_blue: i32,
}

/// Bits of a [`ColourRule`]'s fractions.
const COLOUR_BITS: u32 = 20;

on_best_cpu! {
    /// What chroma adds to red, green and blue; each chroma sample serves two neighbouring pixels.
    fn chroma(rule: &ColourRule, cb: &[u8], cr: &[u8], shares: &mut [Vec<i32>; 3]) = chroma_any, chroma_any
}

#[inline(always)]
fn chroma_any(rule: &ColourRule, cb: &[u8], cr: &[u8], shares: &mut [Vec<i32>; 3]) {
    let [red, green, blue] = shares.each_mut().map(|share| share.as_chunks_mut::<2>().0);
    let outputs = red.iter_mut().zip(green).zip(blue);
    for (((red, green), blue), (&cb, &cr)) in outputs.zip(cb.iter().zip(cr)) {
        let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
        *red = [rule.cr_red * cr; 2];
        *green = [rule.cr_green * cr + rule.cb_green * cb; 2];
        *blue = [rule.cb_blue * cb; 2];
    }
}

on_best_cpu! {
    /// One row of luma and what chroma adds to it, as rows of red, green and blue.
    fn rgb(rule: &ColourRule, luma: &[u8], shares: &[Vec<i32>; 3], out: &mut [Vec<u8>; 3]) = rgb_any, rgb_any
}

#[inline(always)]
fn rgb_any(rule: &ColourRule, luma: &[u8], shares: &[Vec<i32>; 3], out: &mut [Vec<u8>; 3]) {
    for (share, out) in shares.iter().zip(out) {
        for ((out, &luma), &share) in out.iter_mut().zip(luma).zip(share) {
            let bright = (i32::from(luma) - rule.black).max(0) * rule.gain + (1 << (COLOUR_BITS - 1));
            *out = ((bright + share) >> COLOUR_BITS).clamp(0, 255) as u8;
        }
    }
}

on_best_cpu! {
    /// Three rows of samples as one row of pixels.
    fn interleave(first: &[u8], second: &[u8], third: &[u8], out: &mut [u8]) = interleave_any, interleave_any
}

#[inline(always)]
fn interleave_any(first: &[u8], second: &[u8], third: &[u8], out: &mut [u8]) {
    let rows = first.iter().zip(second).zip(third);
    for (out, ((&first, &second), &third)) in out.as_chunks_mut::<3>().0.iter_mut().zip(rows) {
        *out = [first, second, third];
    }
}

on_best_cpu! {
    /// A row of samples as numbers, each divided by `divisor`.
    fn widen(samples: &[u8], divisor: f32, out: &mut [f32]) = widen_any, widen_any
}

#[inline(always)]
fn widen_any(samples: &[u8], divisor: f32, out: &mut [f32]) {
    for (out, &sample) in out.iter_mut().zip(samples) {
        *out = f32::from(sample) / divisor;
    }
}
