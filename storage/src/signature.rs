//! Ed25519 signatures of manifests: who signs, who checks.
//!
//! Keys are PEM files as `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` write them.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde::{Deserialize, Serialize};

use crate::digest::{decode_hex, encode_hex};

/// The manifest field that holds the signature.
pub(crate) const SIGNATURE_FIELD: &str = "signature";

/// The only algorithm.
const ALGORITHM: &str = "ed25519";

/// What precedes the 32 bytes of an Ed25519 key in a `SubjectPublicKeyInfo` (RFC 8410): a fixed sequence.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A signature and who made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signature {
    /// `ed25519`.
    pub algorithm: String,
    /// The signer's public key, hexadecimal: says which key to look for, not which to trust.
    pub public_key: String,
    /// The signature, hexadecimal.
    pub value: String,
}

/// Why a key or a signature cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// Not a private key of the right kind.
    #[error("not an Ed25519 private key in PKCS#8 PEM; make one with `openssl genpkey -algorithm ed25519`")]
    PrivateKey,
    /// Not a public key of the right kind.
    #[error("not an Ed25519 public key in PEM; make one with `openssl pkey -pubout`")]
    PublicKey,
    /// Signed with something else.
    #[error("signed with {algorithm:?}; only ed25519 is known")]
    Algorithm {
        /// What the signature says.
        algorithm: String,
    },
    /// Signed by someone else.
    #[error("signed with key {signer}, but {trusted} is trusted")]
    OtherKey {
        /// The key in the signature.
        signer: String,
        /// The key that was configured.
        trusted: String,
    },
    /// Not what was signed.
    #[error("the content is not what was signed")]
    Altered,
}

/// Signs.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Reads a PKCS#8 private key from PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self, SignatureError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| SignatureError::PrivateKey)?;
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
            .map(Self)
            .map_err(|_| SignatureError::PrivateKey)
    }

    /// The key that checks what this one signs.
    pub fn verifying_key(&self) -> VerifyingKey {
        let key = self.0.public_key().as_ref().try_into();
        VerifyingKey(key.expect("an Ed25519 public key has 32 bytes"))
    }

    /// Signs bytes.
    pub fn sign(&self, bytes: &[u8]) -> Signature {
        Signature {
            algorithm: ALGORITHM.to_owned(),
            public_key: self.verifying_key().hex(),
            value: encode_hex(self.0.sign(bytes).as_ref()),
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.verifying_key()).finish()
    }
}

/// Checks signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    /// Reads a public key from PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self, SignatureError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| SignatureError::PublicKey)?;
        let key = der.strip_prefix(&SPKI_PREFIX).and_then(|key| key.try_into().ok());
        key.map(Self).ok_or(SignatureError::PublicKey)
    }

    /// The key, hexadecimal.
    pub fn hex(&self) -> String {
        encode_hex(&self.0)
    }

    /// Fails unless `signature` was made over `bytes` with this key.
    pub fn verify(&self, bytes: &[u8], signature: &Signature) -> Result<(), SignatureError> {
        let Signature { algorithm, public_key, value } = signature;
        if algorithm != ALGORITHM {
            return Err(SignatureError::Algorithm { algorithm: algorithm.clone() });
        }
        if *public_key != self.hex() {
            return Err(SignatureError::OtherKey { signer: public_key.clone(), trusted: self.hex() });
        }
        let value = decode_hex(value).ok_or(SignatureError::Altered)?;
        UnparsedPublicKey::new(&ED25519, self.0).verify(bytes, &value).map_err(|_| SignatureError::Altered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`.
    const PRIVATE: &str = "MC4CAQAwBQYDK2VwBCIEINX7SXY/XBIWMkNdrQrHHFOASGHD//eS3o6DcNDJiQeV";
    const PUBLIC: &str = "MCowBQYDK2VwAyEAlbN1Id2ewtr6cEg2W14qlq3uwy+dOHimY3tQMu7WNtA=";
    const OTHER_PUBLIC: &str = "MCowBQYDK2VwAyEAdaM6WeKz8TS9r6w2liMKXWxcXTvIelnUJgiQPT3JK68=";
    /// Of the bytes `inctrl`, by `openssl pkeyutl -sign -rawin`.
    const SIGNATURE: &str = "c218fa619bd638426b8267f8d8ffca5fdbe1c01c91f62d556994ecc59503ff562c63423628d24e6892b9f00fc34d5108e6964f1e698dd3214493159ab4dbf407";

    fn private_pem() -> String {
        format!("-----BEGIN PRIVATE KEY-----\n{PRIVATE}\n-----END PRIVATE KEY-----\n")
    }

    fn public_pem(key: &str) -> String {
        format!("-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n")
    }

    #[test]
    fn keys_and_signatures_are_those_of_openssl() {
        let key = SigningKey::from_pem(private_pem().as_bytes()).unwrap();
        assert_eq!(key.verifying_key(), VerifyingKey::from_pem(public_pem(PUBLIC).as_bytes()).unwrap());
        assert_eq!(key.sign(b"inctrl").value, SIGNATURE);
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_signature_holds_for_its_bytes_and_its_key_alone() {
        let key = SigningKey::from_pem(private_pem().as_bytes()).unwrap();
        let signature = key.sign(b"inctrl");
        assert_eq!(key.verifying_key().verify(b"inctrl", &signature), Ok(()));
        assert_eq!(key.verifying_key().verify(b"Inctrl", &signature), Err(SignatureError::Altered));
        let other = VerifyingKey::from_pem(public_pem(OTHER_PUBLIC).as_bytes()).unwrap();
        assert!(matches!(other.verify(b"inctrl", &signature), Err(SignatureError::OtherKey { .. })));
        let pretended = Signature { public_key: other.hex(), ..signature.clone() };
        assert_eq!(other.verify(b"inctrl", &pretended), Err(SignatureError::Altered));
        let cut = Signature { value: signature.value.chars().skip(1).collect(), ..signature.clone() };
        assert_eq!(key.verifying_key().verify(b"inctrl", &cut), Err(SignatureError::Altered));
        let weaker = Signature { algorithm: "none".to_owned(), ..signature };
        assert!(matches!(
            key.verifying_key().verify(b"inctrl", &weaker),
            Err(SignatureError::Algorithm { .. })
        ));
    }

    #[test]
    fn other_files_are_no_keys() {
        assert_eq!(
            SigningKey::from_pem(public_pem(PUBLIC).as_bytes()).unwrap_err(),
            SignatureError::PrivateKey
        );
        assert_eq!(VerifyingKey::from_pem(private_pem().as_bytes()).unwrap_err(), SignatureError::PublicKey);
        assert_eq!(VerifyingKey::from_pem(b"").unwrap_err(), SignatureError::PublicKey);
    }
}
