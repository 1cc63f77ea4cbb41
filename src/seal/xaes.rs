//! XAES-256-GCM (C2SP): AES-256-GCM under a key derived from the first half of a 192-bit nonce, so that random nonces
//! may be drawn without counting messages. <https://c2sp.org/XAES-256-GCM>

use aes_gcm::aead::AeadInOut;
use aes_gcm::aes::cipher::BlockCipherEncrypt;
use aes_gcm::aes::{Aes256, Block};
use aes_gcm::{Aes256Gcm, KeyInit};
use zeroize::Zeroizing;

use super::DoesNotOpen;

/// Bytes of a nonce.
pub(super) const NONCE: usize = 24;
/// Bytes of a tag.
pub(super) const TAG: usize = 16;

/// The AES-256-GCM key and nonce of one message.
pub(super) struct MessageKey {
    key: Zeroizing<[u8; 32]>,
    nonce: [u8; 12],
}

impl MessageKey {
    /// Derives them: a counter-mode KDF (SP 800-108r1) with CMAC, of which two blocks suffice.
    pub(super) fn derive(key: &[u8; 32], nonce: &[u8; NONCE]) -> Self {
        let cipher = Aes256::new(key.into());
        let mut subkey = Block::default();
        cipher.encrypt_block(&mut subkey);
        double(&mut subkey);

        let (salt, rest) = nonce.split_at(12);
        let mut derived = Zeroizing::new([0; 32]);
        for (counter, half) in (1..).zip(derived.chunks_exact_mut(16)) {
            let mut block = Block::default();
            block[..4].copy_from_slice(&[0, counter, b'X', 0]);
            block[4..].copy_from_slice(salt);
            block.iter_mut().zip(&subkey).for_each(|(b, k)| *b ^= k);
            cipher.encrypt_block(&mut block);
            half.copy_from_slice(&block);
        }
        Self { key: derived, nonce: rest.try_into().expect("24 bytes less 12") }
    }

    /// The derived key, for a commitment to it.
    pub(super) fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Appends ciphertext and tag of `plain` to `out`.
    pub(super) fn seal(&self, aad: &[u8], plain: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(plain);
        let tag = Aes256Gcm::new((&*self.key).into())
            .encrypt_inout_detached(&self.nonce.into(), aad, (&mut out[start..]).into())
            .expect("records are far below the 64 GiB that one message may have");
        out.extend_from_slice(&tag);
    }

    /// The plaintext of ciphertext and tag.
    pub(super) fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, DoesNotOpen> {
        let (ciphertext, tag) = sealed.split_last_chunk::<TAG>().ok_or(DoesNotOpen)?;
        let mut plain = Zeroizing::new(ciphertext.to_vec());
        Aes256Gcm::new((&*self.key).into())
            .decrypt_inout_detached(&self.nonce.into(), aad, plain.as_mut_slice().into(), tag.into())
            .map_err(|_| DoesNotOpen)?;
        Ok(plain)
    }
}

/// Doubling in GF(2^128), as CMAC makes its first subkey (RFC 4493 section 2.3), without a branch on the secret.
fn double(block: &mut Block) {
    let value = u128::from_be_bytes((*block).into());
    let reduced = (value << 1) ^ (0x87 * (value >> 127));
    block.copy_from_slice(&reduced.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use sha3::digest::{ExtendableOutput, Update, XofReader};

    use super::*;

    fn seal(key: &[u8; 32], nonce: &[u8; NONCE], aad: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        MessageKey::derive(key, nonce).seal(aad, plain, &mut out);
        out
    }

    #[test]
    fn seals_and_opens_the_published_vectors() {
        let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
        let vectors: [(u8, &[u8], &str); 2] = [
            (1, b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
            (3, b"c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
        ];
        for (byte, aad, expected) in vectors {
            let sealed = seal(&[byte; 32], nonce, aad, b"XAES-256-GCM");
            assert_eq!(HEXLOWER.encode(&sealed), expected);
            let opened = MessageKey::derive(&[byte; 32], nonce).open(aad, &sealed).unwrap();
            assert_eq!(opened.as_slice(), b"XAES-256-GCM");
        }
    }

    #[test]
    fn matches_the_published_accumulation_of_ten_thousand_messages() {
        let mut random = sha3::Shake128::default().finalize_xof();
        let mut accumulated = sha3::Shake128::default();
        for _ in 0..10_000 {
            let key = read::<32>(&mut random);
            let nonce = read::<NONCE>(&mut random);
            let plain = read_some(&mut random);
            let aad = read_some(&mut random);
            let sealed = seal(&key, &nonce, &aad, &plain);
            assert_eq!(MessageKey::derive(&key, &nonce).open(&aad, &sealed).unwrap().as_slice(), plain);
            accumulated.update(&sealed);
        }
        let sum = read::<32>(&mut accumulated.finalize_xof());
        assert_eq!(HEXLOWER.encode(&sum), "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939");
    }

    fn read<const N: usize>(from: &mut impl XofReader) -> [u8; N] {
        let mut bytes = [0; N];
        from.read(&mut bytes);
        bytes
    }

    fn read_some(from: &mut impl XofReader) -> Vec<u8> {
        let [length] = read::<1>(from);
        let mut bytes = vec![0; length.into()];
        from.read(&mut bytes);
        bytes
    }
}
