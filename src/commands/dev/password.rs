//! A password that can be read, remembered for an afternoon, and typed.

/// Makes a password of 48 random bits, written as proquints (arXiv:0901.4016): three words to pronounce.
pub(super) fn readable() -> Option<String> {
    let mut random = [0; 6];
    aws_lc_rs::rand::fill(&mut random).ok()?;
    let words: Vec<_> = random.chunks_exact(2).map(|pair| word(u16::from_be_bytes([pair[0], pair[1]]))).collect();
    Some(words.join("-"))
}

/// 16 bits as consonant, vowel, consonant, vowel, consonant.
fn word(bits: u16) -> String {
    const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
    const VOWELS: &[u8; 4] = b"aiou";
    let consonant = |shift: u32| char::from(CONSONANTS[usize::from(bits >> shift & 0xf)]);
    let vowel = |shift: u32| char::from(VOWELS[usize::from(bits >> shift & 0x3)]);
    [consonant(12), vowel(10), consonant(6), vowel(4), consonant(0)].into_iter().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn words_are_those_of_the_paper() {
        // 127.0.0.1 and 63.84.220.193
        assert_eq!([0x7f00, 0x0001, 0x3f54, 0xdcc1].map(word), ["lusab", "babad", "gutih", "tugad"]);
    }

    #[test]
    fn no_two_are_the_same() {
        let (one, other) = (readable().unwrap(), readable().unwrap());
        assert_eq!(one.len(), 17);
        assert_ne!(one, other);
    }
}
