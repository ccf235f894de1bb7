//! The signed head of the chain: how many records there are, and the last one's hash.
//!
//! The file has two slots; a write goes to the one that does not hold the newest head, so that a torn write leaves the
//! head before. A slot is one line of JSON, padded with blanks.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use vigil_base::Timestamp;

use crate::error::AuditError;
use crate::line::Digest;

/// Bytes of a slot: a head is about 300.
const SLOT: usize = 512;
/// What the signature is about, before the head's own words: a signature for another use is none here.
const CONTEXT: &str = "vigil audit head v1";

/// How far the log went at a moment. Kept elsewhere, it proves later that the log still holds all it held then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The last record's number; 0 when there is none.
    pub seq: u64,
    /// Its hash.
    pub hash: Digest,
    /// The writer's clock, microseconds since 1970.
    pub time_us: i64,
    /// Ed25519 over the words above, 128 hexadecimal digits.
    pub signature: String,
}

/// The key that heads are checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads `public-key.pem`, or any Ed25519 public key in PEM (SPKI, RFC 8410).
    ///
    /// # Errors
    /// The file cannot be read, or holds no such key.
    pub fn load(path: &Path) -> Result<Self, AuditError> {
        let text = fs::read_to_string(path).map_err(|error| AuditError::io(path, "read", error))?;
        let key = VerifyingKey::from_public_key_pem(&text);
        key.map(Self).map_err(|error| AuditError::Key { path: path.to_owned(), problem: error.to_string() })
    }

    /// Whether the head was signed with this key's other half.
    pub fn signed(&self, head: &Head) -> bool {
        let signature = head.signature.parse::<Signature>();
        signature.is_ok_and(|signature| self.0.verify_strict(&head.words(), &signature).is_ok())
    }
}

impl Head {
    fn words(&self) -> Vec<u8> {
        format!("{CONTEXT}\n{}\n{}\n{}\n", self.seq, self.hash, self.time_us).into_bytes()
    }
}

/// Writes heads.
pub(crate) struct HeadFile {
    file: File,
    key: SigningKey,
    /// Where the next head goes.
    slot: u64,
}

impl HeadFile {
    /// The file and the newest head in it, whose signature holds.
    pub(crate) fn open(path: &Path, key: SigningKey) -> Result<(Self, Option<Head>), AuditError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(|error| AuditError::io(path, "open", error))?;
        let slots = read_slots(path)?;
        let public = PublicKey(key.verifying_key());
        let newest = slots.iter().enumerate().filter_map(|(i, slot)| Some((i as u64, slot.clone()?)));
        let newest = newest.filter(|(_, head)| public.signed(head)).max_by_key(|(_, head)| head.seq);
        let slot = newest.as_ref().map_or(0, |(slot, _)| 1 - slot);
        Ok((Self { file, key, slot }, newest.map(|(_, head)| head)))
    }

    /// Signs and writes the head, and returns when it is on the disk.
    pub(crate) fn write(&mut self, seq: u64, hash: Digest, now: Timestamp) -> std::io::Result<()> {
        let mut head = Head { seq, hash, time_us: now.as_micros(), signature: String::new() };
        head.signature = format!("{:x}", self.key.sign(&head.words()));
        let mut slot = serde_json::to_vec(&head)?;
        slot.resize(SLOT - 1, b' ');
        slot.push(b'\n');
        self.file.write_all_at(&slot, self.slot * SLOT as u64)?;
        self.file.sync_data()?;
        self.slot = 1 - self.slot;
        Ok(())
    }
}

/// What stands in the two slots; none where there is no head, or half of one.
fn read_slots(path: &Path) -> Result<[Option<Head>; 2], AuditError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        read => read.map_err(|error| AuditError::io(path, "read", error))?,
    };
    let slot = |i: usize| serde_json::from_slice(bytes.get(i * SLOT..(i + 1) * SLOT)?).ok();
    Ok([slot(0), slot(1)])
}

/// The newest head of a file whose signature holds.
pub(crate) fn newest(path: &Path, key: &PublicKey) -> Result<Option<Head>, AuditError> {
    let heads = read_slots(path)?.into_iter().flatten();
    Ok(heads.filter(|head| key.signed(head)).max_by_key(|head| head.seq))
}

/// The signing key in a file, and its public half in another; what is missing is made.
pub(crate) fn load_or_make_key(private: &Path, public: &Path) -> Result<SigningKey, AuditError> {
    let key_error = |problem: String| AuditError::Key { path: private.to_owned(), problem };
    let key = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(private) {
        Ok(mut file) => {
            // From a generator for keys, seeded by the operating system.
            let key = SigningKey::from_bytes(&rand::random());
            let text = key.to_pkcs8_pem(LineEnding::LF).map_err(|error| key_error(error.to_string()))?;
            let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
            written.map_err(|error| AuditError::io(private, "write", error))?;
            key
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let text = fs::read_to_string(private).map_err(|error| AuditError::io(private, "read", error))?;
            SigningKey::from_pkcs8_pem(&text).map_err(|error| key_error(error.to_string()))?
        }
        Err(error) => return Err(AuditError::io(private, "make", error)),
    };
    if !public.exists() {
        let text = key.verifying_key().to_public_key_pem(LineEnding::LF);
        let text = text.map_err(|error| key_error(error.to_string()))?;
        fs::write(public, text).map_err(|error| AuditError::io(public, "write", error))?;
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_write_leaves_the_head_before_and_a_forged_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let (path, public) = (folder.path().join("head"), folder.path().join("public-key.pem"));
        let key = load_or_make_key(&folder.path().join("key"), &public).unwrap();
        let (mut heads, none) = HeadFile::open(&path, key.clone()).unwrap();
        assert_eq!(none, None);
        for seq in 1..=3 {
            heads.write(seq, Digest::of(&[1]), Timestamp::from_micros(7)).unwrap();
        }
        let public = PublicKey::load(&public).unwrap();
        assert_eq!(newest(&path, &public).unwrap().unwrap().seq, 3);

        // Three went into the first slot; half of four over two, in the second.
        heads.file.write_all_at(b"{\"seq\":4", SLOT as u64).unwrap();
        assert_eq!(newest(&path, &public).unwrap().unwrap().seq, 3);
        let (mut reopened, head) = HeadFile::open(&path, key).unwrap();
        assert_eq!(head.unwrap().seq, 3);
        reopened.write(4, Digest::of(&[2]), Timestamp::from_micros(8)).unwrap();
        let head = newest(&path, &public).unwrap().unwrap();
        assert_eq!((head.seq, head.hash), (4, Digest::of(&[2])));

        assert!(
            !public.signed(&Head { seq: 5, ..head.clone() }) && !public.signed(&Head { time_us: 9, ..head.clone() })
        );
        assert!(!public.signed(&Head { signature: "00".to_owned(), ..head.clone() }));
        let stranger = SigningKey::from_bytes(&rand::random());
        assert!(!PublicKey(stranger.verifying_key()).signed(&head));
    }
}
