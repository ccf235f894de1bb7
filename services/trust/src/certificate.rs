//! What a certificate says, for checks and for people.

use std::cmp::Ordering;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use vigil_base::Timestamp;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use crate::identity::{Identity, IdentityError};

/// Most certificates of one file: an authority's old and new one are two.
const MAX_IN_FILE: usize = 64;
/// Longest serial number (RFC 5280, section 4.1.2.2), in bytes.
const MAX_SERIAL: usize = 20;

/// SHA-256 of a certificate in DER (FIPS 180-4): what tools such as openssl call its fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate.as_ref()).into())
    }

    /// From its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The number that an authority gave to a certificate, or to a list: positive, of any length.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// From its bytes, the most significant first.
    pub fn new(bytes: &[u8]) -> Self {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Self(bytes[zeros..].to_vec())
    }

    /// Its bytes, the most significant first, without leading zeros.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The number after it.
    #[must_use]
    pub fn next(&self) -> Self {
        let mut bytes = [&[0], self.0.as_slice()].concat();
        for byte in bytes.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
        Self::new(&bytes)
    }
}

impl Ord for Serial {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Serial {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Serial {
    /// Hexadecimal with colons, as openssl and others write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

/// A text is no serial number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no serial number: one is written in hexadecimal, as 4f:3a:90")]
pub struct NotASerial;

impl FromStr for Serial {
    type Err = NotASerial;

    fn from_str(text: &str) -> Result<Self, NotASerial> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        // Of an odd number of digits, the first stands alone.
        let (first, rest) = digits.split_at(digits.len() % 2);
        let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        let bytes = (!first.is_empty()).then_some(first).into_iter().chain(rest.chunks(2)).map(byte);
        let bytes: Vec<u8> = bytes.collect::<Option<_>>().ok_or(NotASerial)?;
        let is_plain = digits.iter().all(u8::is_ascii_hexdigit);
        if is_plain && (1..=MAX_SERIAL).contains(&bytes.len()) { Ok(Self::new(&bytes)) } else { Err(NotASerial) }
    }
}

/// A text or some bytes hold no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// Not PEM.
    #[error("is not PEM")]
    Pem,
    /// No certificate in it.
    #[error("holds no certificate")]
    Empty,
    /// Too many in it.
    #[error("holds more than {MAX_IN_FILE} certificates")]
    TooMany,
    /// Not X.509.
    #[error("holds something that is no X.509 certificate")]
    Der,
}

/// The certificates of a PEM text, in their order; at least one.
pub fn from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateFault> {
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        found.push(certificate.map_err(|_| CertificateFault::Pem)?);
        if found.len() > MAX_IN_FILE {
            return Err(CertificateFault::TooMany);
        }
    }
    if found.is_empty() { Err(CertificateFault::Empty) } else { Ok(found) }
}

/// What a certificate says. Reading it checks no signature.
#[derive(Debug, Clone)]
pub struct CertificateInfo {
    /// Who it is for; an authority's names nobody.
    pub identity: Result<Identity, IdentityError>,
    /// Its subject, as X.509 has it.
    pub subject: String,
    /// Who signed it, by its own words.
    pub issuer: String,
    /// Host names and addresses it is good for.
    pub hosts: Vec<String>,
    /// Good from here on.
    pub not_before: Timestamp,
    /// Good until here.
    pub not_after: Timestamp,
    /// The number that its authority gave it.
    pub serial: Serial,
    /// May sign others.
    pub is_authority: bool,
    /// May be shown by who calls.
    pub client_auth: bool,
    /// May be shown by who answers.
    pub server_auth: bool,
    /// SHA-256 of the whole.
    pub fingerprint: Fingerprint,
}

impl CertificateInfo {
    /// Reads a certificate in DER; nothing may follow it.
    pub fn of(der: &CertificateDer<'_>) -> Result<Self, CertificateFault> {
        let (rest, parsed) = x509_parser::parse_x509_certificate(der).map_err(|_| CertificateFault::Der)?;
        if !rest.is_empty() {
            return Err(CertificateFault::Der);
        }
        let names = parsed.subject_alternative_name().map_err(|_| CertificateFault::Der)?;
        let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
        let uris = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        let purposes = parsed.extended_key_usage().map_err(|_| CertificateFault::Der)?;
        let purposes = purposes.map(|extension| (extension.value.client_auth, extension.value.server_auth));
        let (client_auth, server_auth) = purposes.unwrap_or_default();
        Ok(Self {
            identity: Identity::among(uris),
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            hosts: names.iter().filter_map(host).collect(),
            not_before: seconds(parsed.validity().not_before.timestamp()),
            not_after: seconds(parsed.validity().not_after.timestamp()),
            serial: Serial::new(parsed.raw_serial()),
            is_authority: is_authority(&parsed),
            client_auth,
            server_auth,
            fingerprint: Fingerprint::of(der),
        })
    }
}

fn is_authority(certificate: &X509Certificate<'_>) -> bool {
    certificate.basic_constraints().ok().flatten().is_some_and(|extension| extension.value.ca)
}

pub(crate) fn seconds(since_1970: i64) -> Timestamp {
    Timestamp::from_micros(since_1970.saturating_mul(1_000_000))
}

fn host(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(host) => Some((*host).to_owned()),
        GeneralName::IPAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(*octets).map(|octets| Ipv4Addr::from(octets).to_string());
            v4.or_else(|_| <[u8; 16]>::try_from(*octets).map(|octets| Ipv6Addr::from(octets).to_string())).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_serial_number_is_read_as_people_write_it() {
        let serial = Serial::new(&[0, 0x4f, 0x0a]);
        for text in ["4f:0a", "4F0A", "004f0a", "4f0a"] {
            assert_eq!(text.parse(), Ok(serial.clone()), "{text}");
        }
        for bad in ["", ":", "0x4f", "+4f", "-1", "4g", &"ff".repeat(21)] {
            assert_eq!(bad.parse::<Serial>(), Err(NotASerial), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn serial_numbers_count_as_numbers_do(number in any::<u64>()) {
            let serial = Serial::new(&number.to_be_bytes());
            prop_assert_eq!(serial.to_string().parse(), Ok(serial.clone()));
            let next = Serial::new(&(u128::from(number) + 1).to_be_bytes());
            prop_assert!(serial < next);
            prop_assert_eq!(serial.next(), next);
        }
    }
}
