//! One vector against many: products of int8, summed in 32 bits.
//!
//! Compiled three times: for any CPU, for AVX2, and for AVX-512 with VNNI. All give the same sums, bit by bit, since integers add
//! up alike in any order, and what follows is one multiplication of floats that all share.

#![allow(unsafe_code)] // To call code compiled for other CPUs, after this one was asked; and to load vector registers.

use vigil_base::event::AppearanceVector;

/// Which compilation is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// For any CPU.
    Any,
    /// For x86-64 CPUs with AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// For x86-64 CPUs with AVX-512 VNNI.
    #[cfg(target_arch = "x86_64")]
    Vnni,
}

impl Kernel {
    /// All that this CPU can run, the fastest last.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)] // There is one alone where the CPU is no x86-64.
        let mut kernels = vec![Self::Any];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                kernels.push(Self::Avx2);
            }
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
                kernels.push(Self::Vnni);
            }
        }
        kernels
    }
}

/// A vector that many are compared with.
#[derive(Debug, Clone)]
pub struct Probe {
    values: Box<[i8]>,
    /// Of its values: what VNNI's unsigned operand adds too much.
    sum: i32,
    inverse_length: f32,
    kernel: Kernel,
}

impl Probe {
    /// To be compared on the fastest way this CPU has.
    pub fn new(vector: &AppearanceVector) -> Self {
        let kernel = Kernel::available().pop().unwrap_or(Kernel::Any);
        Self::with(vector, kernel)
    }

    /// To be compared by `kernel`, which must be one of [`Kernel::available`].
    ///
    /// # Panics
    /// This CPU cannot run it.
    pub fn with(vector: &AppearanceVector, kernel: Kernel) -> Self {
        assert!(Kernel::available().contains(&kernel), "this CPU cannot run {kernel:?}");
        let values: Box<[i8]> = vector.values().into();
        let sum = values.iter().map(|value| i32::from(*value)).sum();
        Self { sum, inverse_length: inverse_length(&values), values, kernel }
    }

    /// Values of a row.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is nothing to compare, which no vector has.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Products with each row of `rows`, one after the other.
    ///
    /// # Panics
    /// `rows` is not as many rows as `products` has places.
    pub fn products(&self, rows: &[i8], products: &mut [i32]) {
        assert_eq!(rows.len(), products.len() * self.len(), "a product for each row");
        match self.kernel {
            Kernel::Any => plain(&self.values, rows, products),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `with` has made sure that this CPU has AVX2.
            Kernel::Avx2 => unsafe { avx2::products(&self.values, rows, products) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `with` has made sure that this CPU has AVX-512 and VNNI.
            Kernel::Vnni => unsafe { vnni::products(&self.values, self.sum, rows, products) },
        }
    }

    /// Cosine of the angle with a vector, from its product and its inverse length.
    pub fn cosine(&self, product: i32, inverse_length: f32) -> f32 {
        product as f32 * self.inverse_length * inverse_length
    }

    /// Cosine of the angle with a vector; none when that has another number of values.
    pub fn similarity(&self, vector: &AppearanceVector) -> Option<f32> {
        let values = vector.values();
        let mut product = [0];
        (values.len() == self.len()).then(|| self.products(values, &mut product))?;
        Some(self.cosine(product[0], inverse_length(values)))
    }
}

/// One over the length of a vector that is not all zero.
pub fn inverse_length(values: &[i8]) -> f32 {
    let squares: i32 = values.iter().map(|value| i32::from(*value).pow(2)).sum();
    1.0 / (squares as f32).sqrt()
}

/// Written so that the compiler makes vector instructions of it.
fn plain(probe: &[i8], rows: &[i8], products: &mut [i32]) {
    for (row, product) in rows.chunks_exact(probe.len()).zip(products) {
        *product = tail(probe, row);
    }
}

fn tail(a: &[i8], b: &[i8]) -> i32 {
    // 127 times 127 fits into 16 bits: the multiplication is done in those.
    a.iter().zip(b).map(|(a, b)| i32::from(i16::from(*a) * i16::from(*b))).sum()
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_shuffle_epi32, _mm256_add_epi32,
        _mm256_castsi256_si128, _mm256_cvtepi8_epi16, _mm256_extracti128_si256, _mm256_madd_epi16,
        _mm256_setzero_si256,
    };

    /// Values that are taken at a time.
    const STEP: usize = 16;

    #[target_feature(enable = "avx2")]
    pub(super) fn products(probe: &[i8], rows: &[i8], products: &mut [i32]) {
        let (whole, rest) = probe.as_chunks::<STEP>();
        for (row, product) in rows.chunks_exact(probe.len()).zip(products) {
            let (row, row_rest) = row.as_chunks::<STEP>();
            let mut sums = _mm256_setzero_si256();
            for (a, b) in whole.iter().zip(row) {
                let (a, b) = (_mm256_cvtepi8_epi16(load(a)), _mm256_cvtepi8_epi16(load(b)));
                sums = _mm256_add_epi32(sums, _mm256_madd_epi16(a, b));
            }
            let half = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
            let quarter = _mm_add_epi32(half, _mm_shuffle_epi32::<0b_00_00_11_10>(half));
            let sum = _mm_add_epi32(quarter, _mm_shuffle_epi32::<0b_00_00_00_01>(quarter));
            *product = _mm_cvtsi128_si32(sum) + super::tail(rest, row_rest);
        }
    }

    #[target_feature(enable = "avx2")]
    fn load(values: &[i8; STEP]) -> __m128i {
        // SAFETY: 16 bytes are there to be read; the instruction needs no alignment.
        unsafe { _mm_loadu_si128(values.as_ptr().cast()) }
    }
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use std::arch::x86_64::{
        __m512i, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_reduce_add_epi32, _mm512_set1_epi8,
        _mm512_setzero_si512, _mm512_xor_si512,
    };

    /// Values that are taken at a time.
    const STEP: usize = 64;

    /// VNNI multiplies unsigned with signed: the row gets 128 added to each value, and 128 times the sum of the probe's values is
    /// taken off at the end. Its sums do not saturate.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn products(probe: &[i8], probe_sum: i32, rows: &[i8], products: &mut [i32]) {
        let (whole, rest) = probe.as_chunks::<STEP>();
        let rest_sum: i32 = rest.iter().map(|value| i32::from(*value)).sum();
        let too_much = 128 * (probe_sum - rest_sum);
        let add_128 = _mm512_set1_epi8(i8::MIN);
        for (row, product) in rows.chunks_exact(probe.len()).zip(products) {
            let (row, row_rest) = row.as_chunks::<STEP>();
            let mut sums = _mm512_setzero_si512();
            for (a, b) in whole.iter().zip(row) {
                sums = _mm512_dpbusd_epi32(sums, _mm512_xor_si512(load(b), add_128), load(a));
            }
            *product = _mm512_reduce_add_epi32(sums) - too_much + super::tail(rest, row_rest);
        }
    }

    #[target_feature(enable = "avx512f")]
    fn load(values: &[i8; STEP]) -> __m512i {
        // SAFETY: 64 bytes are there to be read; the instruction needs no alignment.
        unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_vector_is_like_itself_unlike_its_opposite_and_not_comparable_with_a_shorter_one() {
        let values: Vec<i8> = (0..128).map(|i| (i * 7 % 255 - 127) as i8).collect();
        let opposite: Vec<i8> = values.iter().map(|value| -value).collect();
        let of = |values: &[i8]| AppearanceVector::new(values).unwrap();
        let probe = Probe::new(&of(&values));
        assert!((probe.similarity(&of(&values)).unwrap() - 1.0).abs() < 1e-6);
        assert!((probe.similarity(&of(&opposite)).unwrap() + 1.0).abs() < 1e-6);
        assert_eq!(probe.similarity(&of(&values[..64])), None);
    }

    #[test]
    fn the_largest_products_do_not_overflow() {
        let most = AppearanceVector::new(&[127; 1024]).unwrap();
        for kernel in Kernel::available() {
            let mut products = [0];
            Probe::with(&most, kernel).products(&[-127; 1024], &mut products);
            assert_eq!(products, [-127 * 127 * 1024], "{kernel:?}");
        }
    }

    proptest! {
        #[test]
        fn every_kernel_gives_the_same_bits(
            probe in prop::collection::vec(-127i8..=127, 16..300),
            seed in any::<u64>(),
        ) {
            let Some(vector) = AppearanceVector::new(&probe) else { return Ok(()) };
            // A linear congruential generator (Knuth): rows need not be random, only many.
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 56) as u8).cast_signed().max(-127)
            };
            let rows: Vec<i8> = std::iter::repeat_with(&mut next).take(probe.len() * 7).collect();
            let expected: Vec<i32> = rows
                .chunks(probe.len())
                .map(|row| row.iter().zip(&probe).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum())
                .collect();
            for kernel in Kernel::available() {
                let mut products = [0; 7];
                Probe::with(&vector, kernel).products(&rows, &mut products);
                prop_assert_eq!(&products[..], &expected[..], "{:?}", kernel);
            }
        }
    }
}
