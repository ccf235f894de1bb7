//! What an object looked like, as a vector that is stored and compared.

use std::fmt;
use std::sync::Arc;

/// Fewer values tell nothing apart.
pub const MIN_APPEARANCE_LEN: usize = 16;
/// More would make an event of the size of its picture: 20 million of them are 20 GB.
pub const MAX_APPEARANCE_LEN: usize = 1024;

/// What an object looked like, averaged over its best moments: clothes, or a vehicle's body. No face.
///
/// Two of the same method can be compared, those of different ones cannot.
#[derive(Clone, PartialEq)]
pub struct Appearance {
    /// The look.
    pub vector: AppearanceVector,
    /// How it was made.
    pub method: AppearanceMethod,
    /// Moments that it was averaged over, 1 and more.
    pub looks: u32,
    /// How much there was to see, 0..1.
    pub quality: f32,
}

impl fmt::Debug for Appearance {
    /// How it was made and how well, not what: logs are no place for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vector, method, looks, quality } = self;
        write!(f, "Appearance {{ {method}, {} values, {looks} looks, quality: {quality} }}", vector.values().len())
    }
}

/// How an appearance was made: the same method only where both are the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppearanceMethod {
    /// Of a descriptor or a model.
    pub name: Arc<str>,
    /// Of a descriptor its version, of a model the SHA-256 of its file in lower-case hex.
    pub version: Arc<str>,
}

impl fmt::Display for AppearanceMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// A direction in a space of [`MIN_APPEARANCE_LEN`] to [`MAX_APPEARANCE_LEN`] dimensions: values within -127 and 127, not all
/// zero. Its length means nothing.
///
/// -128 is left out, so that the product of any two values fits into 15 bits and the sum of two such into 16.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AppearanceVector(Arc<[i8]>);

impl AppearanceVector {
    /// Of these values; none when there are too few or too many, one is -128, or all are zero.
    pub fn new(values: &[i8]) -> Option<Self> {
        let sized = (MIN_APPEARANCE_LEN..=MAX_APPEARANCE_LEN).contains(&values.len());
        let valid = sized && !values.contains(&i8::MIN) && values.iter().any(|value| *value != 0);
        valid.then(|| Self(values.into()))
    }

    /// In the direction of `values`, the largest of which becomes 127 or -127; none when there are too few or too many, they are
    /// all zero, or not all numbers.
    ///
    /// The error of a value is at most half of 1/127 of the largest one, so that of a cosine is below 0.01 even where all
    /// values are near the largest, and smaller the more of them there are, since errors of different values cancel out.
    pub fn quantise(values: &[f32]) -> Option<Self> {
        let largest = values.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        if largest <= 0.0 || !values.iter().all(|value| value.is_finite()) {
            return None;
        }
        let scaled: Vec<i8> = values.iter().map(|value| (value / largest * 127.0).round() as i8).collect();
        Self::new(&scaled)
    }

    /// The values.
    pub fn values(&self) -> &[i8] {
        &self.0
    }
}

impl fmt::Debug for AppearanceVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppearanceVector of {}", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    fn back(vector: &AppearanceVector) -> Vec<f32> {
        vector.values().iter().map(|value| f32::from(*value)).collect()
    }

    #[test]
    fn what_is_no_direction_is_no_vector() {
        let mut minimum = [1; 16];
        minimum[3] = i8::MIN;
        for bad in [&[1; 15][..], &[0; 16], &minimum, &[1; MAX_APPEARANCE_LEN + 1]] {
            assert_eq!(AppearanceVector::new(bad), None);
        }
        for bad in [f32::NAN, f32::INFINITY] {
            let mut values = [1.0; 16];
            values[7] = bad;
            assert_eq!(AppearanceVector::quantise(&values), None);
        }
        assert_eq!(AppearanceVector::quantise(&[0.0; 16]), None);
    }

    #[test]
    fn what_it_shows_stands_in_no_log() {
        let vector = AppearanceVector::new(&[77; 16]).unwrap();
        let method = AppearanceMethod { name: "m".into(), version: "1".into() };
        let shown = format!("{:?} {vector:?}", Appearance { vector: vector.clone(), method, looks: 3, quality: 0.5 });
        assert!(shown.contains("3 looks") && !shown.contains("77"), "{shown}");
    }

    proptest! {
        #[test]
        fn quantising_keeps_how_alike_two_are(
            a in prop::collection::vec(-1f32..1.0, 128),
            b in prop::collection::vec(-1f32..1.0, 128),
        ) {
            let (Some(qa), Some(qb)) = (AppearanceVector::quantise(&a), AppearanceVector::quantise(&b)) else {
                return Ok(());
            };
            prop_assert!((cosine(&back(&qa), &back(&qb)) - cosine(&a, &b)).abs() < 0.01);
        }
    }
}
