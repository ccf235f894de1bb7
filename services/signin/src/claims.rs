//! What a token says, read strictly: a claim of the wrong kind is an error, never an absent claim.

use serde_json::{Map, Value};
use vigil_base::Timestamp;
use vigil_trust::Fingerprint;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Longest text that is taken over from a token, in characters.
const MAX_TEXT: usize = 200;
/// Most values of one list that are looked at: a member of more groups than that is refused rather than half read.
const MAX_LIST: usize = 1_000;

/// A claim is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its claim {name:?} {problem}")]
pub struct ClaimFault {
    name: String,
    problem: &'static str,
}

fn fault(name: &str, problem: &'static str) -> ClaimFault {
    ClaimFault { name: name.chars().take(MAX_TEXT).collect(), problem }
}

/// The payload of a token whose signature holds.
#[derive(Debug, Clone)]
pub struct Claims(Map<String, Value>);

impl Claims {
    pub(crate) fn new(payload: Map<String, Value>) -> Self {
        Self(payload)
    }

    /// A text; none where the claim is absent.
    ///
    /// # Errors
    /// It is no text, an empty or long one, or has control characters.
    pub fn text(&self, name: &str) -> Result<Option<String>, ClaimFault> {
        match self.find(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => checked(name, text).map(Some),
            Some(_) => Err(fault(name, "is no text")),
        }
    }

    /// Texts: a list of them, or one text that stands for one, or for several with blanks between them (as `scope` does).
    ///
    /// # Errors
    /// Something else stands there, or too much.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, ClaimFault> {
        match self.find(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::String(text)) => text.split_whitespace().map(|word| checked(name, word)).collect(),
            Some(Value::Array(list)) if list.len() > MAX_LIST => Err(fault(name, "has more than 1000 values")),
            Some(Value::Array(list)) => {
                let texts = list.iter().map(|value| value.as_str().ok_or_else(|| fault(name, "is no list of texts")));
                texts.map(|text| text.and_then(|text| checked(name, text))).collect()
            }
            Some(_) => Err(fault(name, "is neither a text nor a list of texts")),
        }
    }

    /// Whom the token is for (RFC 7519, section 4.1.3): one text, which may hold blanks, or a list.
    pub(crate) fn audiences(&self) -> Result<Vec<String>, ClaimFault> {
        match self.0.get("aud") {
            Some(Value::String(text)) => Ok(vec![checked("aud", text)?]),
            _ => self.texts("aud"),
        }
    }

    /// A time (`NumericDate`, RFC 7519, section 2): seconds since 1970, whole or not.
    ///
    /// # Errors
    /// It is no such number.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, ClaimFault> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| (0.0..=MAX_SECONDS).contains(seconds));
        let seconds = seconds.ok_or_else(|| fault(name, "is no time in seconds since 1970"))?;
        Ok(Some(Timestamp::from_micros((seconds * 1e6) as i64)))
    }

    /// The certificate that the token is bound to (RFC 8705, section 3.1); none where it is bound to nothing.
    ///
    /// # Errors
    /// It is bound in another way, which cannot be checked here, or malformed.
    pub fn bound_to(&self) -> Result<Option<Fingerprint>, ClaimFault> {
        const NAME: &str = "cnf";
        let Some(value) = self.0.get(NAME) else { return Ok(None) };
        let methods = value.as_object().ok_or_else(|| fault(NAME, "is malformed"))?;
        let thumbprint = match methods.iter().next() {
            Some((method, Value::String(thumbprint))) if method == "x5t#S256" && methods.len() == 1 => thumbprint,
            _ => return Err(fault(NAME, "binds the token to something else than a certificate (x5t#S256)")),
        };
        let bytes = URL_SAFE_NO_PAD.decode(thumbprint).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(|bytes| Some(Fingerprint::from_bytes(bytes))).ok_or_else(|| fault(NAME, "is malformed"))
    }

    /// A claim by its name; by a path of names where there is none of the whole name, since names may hold dots themselves.
    fn find(&self, path: &str) -> Option<&Value> {
        if let Some(value) = self.0.get(path) {
            return Some(value);
        }
        let mut names = path.split('.');
        let first = self.0.get(names.next()?)?;
        names.try_fold(first, |value, name| value.as_object()?.get(name))
    }
}

/// The end of the year 9999, as far as [`Timestamp`] goes.
const MAX_SECONDS: f64 = 253_402_300_799.0;

fn checked(name: &str, text: &str) -> Result<String, ClaimFault> {
    let length = text.chars().count();
    if length == 0 || length > MAX_TEXT || text.chars().any(char::is_control) {
        return Err(fault(name, "is empty, longer than 200 characters, or has control characters"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        match value {
            Value::Object(map) => Claims::new(map),
            _ => unreachable!("a payload is an object"),
        }
    }

    #[test]
    fn a_claim_is_found_by_name_and_by_path() {
        let found = claims(json!({
            "roles": ["a", "b"], "realm_access": { "roles": ["c"] }, "https://x.example/role": "d e", "aud": "one two"
        }));
        assert_eq!(found.texts("roles").unwrap(), ["a", "b"]);
        assert_eq!(found.texts("realm_access.roles").unwrap(), ["c"]);
        assert_eq!(found.texts("https://x.example/role").unwrap(), ["d", "e"]);
        assert_eq!(found.audiences().unwrap(), ["one two"], "an audience may hold blanks");
        assert!(found.texts("realm_access.none.deeper").unwrap().is_empty());
    }

    #[test]
    fn a_claim_of_the_wrong_kind_is_an_error_and_not_absent() {
        let found = claims(json!({
            "nbf": "1700000000", "exp": -1, "sub": 7, "roles": [1], "aud": {}, "long": "x".repeat(201),
            "cnf": { "jkt": "x" }, "line": "a\nb"
        }));
        assert!(found.time("nbf").is_err() && found.time("exp").is_err());
        assert!(found.text("sub").is_err() && found.text("long").is_err() && found.text("line").is_err());
        assert!(found.texts("roles").is_err() && found.audiences().is_err() && found.bound_to().is_err());
        assert_eq!(found.time("iat"), Ok(None));
    }

    proptest! {
        #[test]
        fn no_payload_panics(text in "\\PC{0,40}", number in any::<f64>()) {
            let found = claims(json!({ "exp": number, "cnf": { "x5t#S256": text.clone() }, "roles": text.clone() }));
            let _ = (found.time("exp"), found.bound_to(), found.texts("roles"), found.text(&text));
        }
    }
}
