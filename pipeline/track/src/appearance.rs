//! What an object looks like, as a vector that can be compared.

/// Longest descriptor, values: a track keeps one, so this bounds memory.
pub const MAX_DESCRIPTOR_LEN: usize = 2048;

/// A vector of length 1; two are alike as far as their dot product is near 1.
///
/// The tracker does not care how it was made: a colour histogram ([`Descriptor::from_histogram`]) or a model's
/// embedding ([`Descriptor::new`]). All descriptors of one camera must be made the same way.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptor(Box<[f32]>);

impl Descriptor {
    /// A descriptor in the direction of `values`; none when they are all zero, too many, or not all numbers.
    pub fn new(values: &[f32]) -> Option<Self> {
        if values.len() > MAX_DESCRIPTOR_LEN {
            return None;
        }
        let length = values.iter().map(|v| v * v).sum::<f32>().sqrt();
        (length.is_finite() && length > 0.0).then(|| Self(values.iter().map(|v| v / length).collect()))
    }

    /// Of a histogram: the square roots of its shares, so that the dot product of two is their Bhattacharyya
    /// coefficient.
    pub fn from_histogram(counts: &[f32]) -> Option<Self> {
        if counts.len() > MAX_DESCRIPTOR_LEN {
            return None;
        }
        Self::new(&counts.iter().map(|count| count.sqrt()).collect::<Vec<f32>>())
    }

    /// Cosine of the angle between two, -1 to 1 (0 to 1 for histograms); none when their lengths differ.
    pub fn similarity(&self, other: &Self) -> Option<f32> {
        (self.0.len() == other.0.len()).then(|| dot(&self.0, &other.0))
    }

    /// Moves it towards `newer` by `share`, 0..1.
    pub(crate) fn blend(&mut self, newer: &Self, share: f32) {
        if self.0.len() != newer.0.len() {
            *self = newer.clone();
            return;
        }
        for (old, new) in self.0.iter_mut().zip(&newer.0) {
            *old += share * (new - *old);
        }
        let squares = dot(&self.0, &self.0);
        // Opposite vectors can cancel out; then the newer one is all that is known.
        if squares < 1e-6 {
            self.0.copy_from_slice(&newer.0);
            return;
        }
        let length = squares.sqrt();
        for value in &mut self.0 {
            *value /= length;
        }
    }
}

/// Sum of products, in eight lanes: a single running sum would keep the compiler from using vector registers.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (a_lanes, b_lanes) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a_lanes.remainder().iter().zip(b_lanes.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_lanes.zip(b_lanes) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32]) -> Descriptor {
        Descriptor::new(values).unwrap()
    }

    #[test]
    fn what_is_no_direction_is_no_descriptor() {
        for bad in [vec![], vec![0.0; 8], vec![f32::NAN, 1.0], vec![f32::INFINITY], vec![1.0; MAX_DESCRIPTOR_LEN + 1]] {
            assert_eq!(Descriptor::new(&bad), None);
        }
        assert_eq!(Descriptor::from_histogram(&[-1.0, 2.0]), None);
    }

    #[test]
    fn histograms_compare_by_their_bhattacharyya_coefficient() {
        let a = Descriptor::from_histogram(&[10.0, 30.0]).unwrap();
        let b = Descriptor::from_histogram(&[3.0, 1.0]).unwrap();
        let expected = (0.25f32 * 0.75).sqrt() * 2.0;
        assert!((a.similarity(&b).unwrap() - expected).abs() < 1e-6);
        assert_eq!(a.similarity(&of(&[1.0])), None);
    }

    #[test]
    fn long_descriptors_compare_like_short_ones() {
        let values: Vec<f32> = (0..101).map(|i| (i % 7) as f32 - 3.0).collect();
        let (a, b) = (of(&values), of(&values.iter().map(|v| v * v).collect::<Vec<_>>()));
        let plain: f32 = a.0.iter().zip(&b.0).map(|(x, y)| x * y).sum();
        assert!((a.similarity(&b).unwrap() - plain).abs() < 1e-6);
        assert!((a.similarity(&a).unwrap() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn blending_moves_towards_the_newer_one_and_keeps_the_length() {
        let (mut a, b) = (of(&[1.0, 0.0]), of(&[0.0, 1.0]));
        a.blend(&b, 0.5);
        assert!((a.similarity(&a).unwrap() - 1.0).abs() < 1e-6);
        assert!((a.similarity(&b).unwrap() - 0.5f32.sqrt()).abs() < 1e-6);
        let mut c = of(&[1.0, 0.0]);
        c.blend(&of(&[-1.0, 0.0]), 0.5);
        assert_eq!(c, of(&[-1.0, 0.0]));
    }
}
