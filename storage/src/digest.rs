//! SHA-256 digests as they are written everywhere: `sha256:` and 64 lower-case hexadecimal digits.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

/// What a written digest begins with.
const PREFIX: &str = "sha256:";

/// Bytes of a SHA-256 digest.
const LENGTH: usize = 32;

/// Buffer of [`Digest::of_reader`]: large enough that the hash, not the system call, is what costs.
const BUFFER_BYTES: usize = 256 * 1024;

/// A SHA-256 digest; reads and writes itself as `sha256:<64 hexadecimal digits>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; LENGTH]);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a digest; write sha256: and 64 lower-case hexadecimal digits")]
pub struct DigestError {
    text: String,
}

impl Digest {
    /// Digest of bytes in memory.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Digest of all that a reader gives, in constant memory.
    pub fn of_reader(mut reader: impl Read) -> std::io::Result<Self> {
        let mut digest = StreamingDigest::default();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(digest.finish().0),
                Ok(n) => digest.update(buffer.get(..n).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Digest of a file, in constant memory.
    pub fn of_file(path: &Path) -> std::io::Result<Self> {
        Self::of_reader(std::fs::File::open(path)?)
    }

    /// A digest given as 64 hexadecimal digits without `sha256:`, as `sha256sum` prints it.
    pub fn from_hex(hex: &str) -> Result<Self, DigestError> {
        let bytes = decode_hex(hex).and_then(|bytes| <[u8; LENGTH]>::try_from(bytes).ok());
        bytes.map(Self).ok_or_else(|| DigestError { text: hex.to_owned() })
    }

    /// The 64 hexadecimal digits without `sha256:`.
    pub fn hex(&self) -> String {
        encode_hex(&self.0)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }

    /// The first twelve hexadecimal digits: enough to tell objects of one folder apart in their names.
    pub fn short(&self) -> String {
        encode_hex(&self.0[..6])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let hex = text.strip_prefix(PREFIX).ok_or_else(|| DigestError { text: text.to_owned() })?;
        Self::from_hex(hex).map_err(|_| DigestError { text: text.to_owned() })
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A digest of bytes that come piece by piece; counts them.
#[derive(Debug, Clone, Default)]
pub struct StreamingDigest {
    state: sha2::Sha256,
    bytes: u64,
}

impl StreamingDigest {
    /// Takes the next piece.
    pub fn update(&mut self, piece: impl AsRef<[u8]>) {
        let piece = piece.as_ref();
        self.state.update(piece);
        self.bytes += piece.len() as u64;
    }

    /// Number of bytes taken so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest and the number of bytes.
    pub fn finish(self) -> (Digest, u64) {
        (Digest(self.state.finalize().into()), self.bytes)
    }
}

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn encode_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a String cannot fail");
        hex
    })
}

/// Bytes of lower-case hexadecimal digits; `None` for any other text.
pub(crate) fn decode_hex(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    rest.is_empty().then_some(())?;
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// FIPS 180-4 example: the digest of "abc".
    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_digest_is_sha256_and_writes_itself_as_it_reads() {
        let digest = Digest::of("abc");
        assert_eq!(digest.to_string(), ABC);
        assert_eq!(ABC.parse(), Ok(digest));
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("{ABC:?}"));
        assert_eq!(serde_json::from_str::<Digest>(&format!("{ABC:?}")).unwrap(), digest);
        assert_eq!(Digest::from_hex(&digest.hex()), Ok(digest));
        assert_eq!(digest.short(), "ba7816bf8f01");
    }

    #[rstest::rstest]
    #[case::no_prefix("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")]
    #[case::upper_case("sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD")]
    #[case::too_short("sha256:ba78")]
    #[case::odd("sha256:ba781")]
    #[case::not_hexadecimal("sha256:zz7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")]
    #[case::other_algorithm("md5:ba7816bf8f01cfea414140de5dae2223")]
    #[case::wide_characters("sha256:ßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßß")]
    fn what_is_not_a_digest_is_named_in_the_error(#[case] text: &str) {
        let error = text.parse::<Digest>().unwrap_err();
        assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
    }

    proptest! {
        #[test]
        fn a_stream_has_the_digest_of_the_whole_however_it_is_cut(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12),
        ) {
            let whole = pieces.concat();
            let mut stream = StreamingDigest::default();
            for piece in &pieces {
                stream.update(piece);
            }
            prop_assert_eq!(stream.finish(), (Digest::of(&whole), whole.len() as u64));
            prop_assert_eq!(Digest::of_reader(whole.as_slice()).unwrap(), Digest::of(&whole));
        }
    }
}
