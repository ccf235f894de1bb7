//! Why somebody asks: purpose and case number, which travel with every question and subscription.
//!
//! They are gRPC metadata, in any language (`-bin` values are UTF-8): a client sets them once for all its calls, and a gateway
//! passes them on to the regions.

use tonic::metadata::{BinaryMetadataValue, MetadataMap};

use crate::ServiceError;

/// Why, in the asker's words.
const PURPOSE: &str = "vigil-purpose-bin";
/// The case it is for.
const CASE: &str = "vigil-case-bin";
/// For whom a gateway asks.
const ON_BEHALF_OF: &str = "vigil-on-behalf-of-bin";
/// Longest purpose, in characters: a sentence or two.
const MAX_PURPOSE: usize = 500;
/// Longest case number, in characters.
const MAX_CASE: usize = 100;
/// Longest name of who asks, in characters.
const MAX_SUBJECT: usize = 300;

/// What a question says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Why, in the asker's words.
    pub purpose: Option<String>,
    /// The case it is for.
    pub case: Option<String>,
    /// For whom a gateway asks; said by the gateway, not proved by whom it names.
    pub on_behalf_of: Option<String>,
}

impl Access {
    /// From a call's metadata; blanks around the words do not count.
    ///
    /// # Errors
    /// A value that is not text, has control characters or is too long.
    pub fn of(metadata: &MetadataMap) -> Result<Self, ServiceError> {
        Ok(Self {
            purpose: text(metadata, PURPOSE, MAX_PURPOSE)?,
            case: text(metadata, CASE, MAX_CASE)?,
            on_behalf_of: text(metadata, ON_BEHALF_OF, MAX_SUBJECT)?,
        })
    }

    /// Into the metadata of a call.
    pub fn write(&self, metadata: &mut MetadataMap) {
        for (key, value) in [(PURPOSE, &self.purpose), (CASE, &self.case), (ON_BEHALF_OF, &self.on_behalf_of)] {
            if let Some(value) = value {
                metadata.insert_bin(key, BinaryMetadataValue::from_bytes(value.as_bytes()));
            }
        }
    }
}

fn text(metadata: &MetadataMap, key: &'static str, most: usize) -> Result<Option<String>, ServiceError> {
    let Some(value) = metadata.get_bin(key) else { return Ok(None) };
    let bytes = value.to_bytes().map_err(|_| ServiceError::field(key, "is not base64"))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| ServiceError::field(key, "is not UTF-8"))?.trim();
    if text.chars().count() > most {
        return Err(ServiceError::field(key, format!("has more than {most} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(ServiceError::field(key, "has control characters"));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &'static str, bytes: &[u8]) -> Result<Access, ServiceError> {
        let mut metadata = MetadataMap::new();
        metadata.insert_bin(key, BinaryMetadataValue::from_bytes(bytes));
        Access::of(&metadata)
    }

    #[test]
    fn what_was_written_is_read_in_any_language() {
        let access = Access {
            purpose: Some("寻找失踪的孩子".to_owned()),
            case: Some("2026/417".to_owned()),
            on_behalf_of: Some("vigil://operator/jo".to_owned()),
        };
        let mut metadata = MetadataMap::new();
        access.write(&mut metadata);
        assert_eq!(Access::of(&metadata), Ok(access));
        assert_eq!(Access::of(&MetadataMap::new()), Ok(Access::default()));
        assert_eq!(with(PURPOSE, b"   "), Ok(Access::default()), "blanks are no purpose");
    }

    #[test]
    fn what_is_no_short_text_is_refused_by_its_name() {
        for (key, bytes) in [
            (PURPOSE, "x".repeat(MAX_PURPOSE + 1).into_bytes()),
            (CASE, vec![b'1'; MAX_CASE + 1]),
            (CASE, b"2026\n417".to_vec()),
            (ON_BEHALF_OF, vec![0xff, 0xfe]),
        ] {
            assert_eq!(with(key, &bytes).unwrap_err().field.as_deref(), Some(key));
        }
    }
}
