//! As much of HPACK (RFC 7541) as says any field to a server, and reads the status of its answer.

/// Encodes fields as they are: literals that are never indexed, without Huffman's code.
pub(super) fn encode(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0x10);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend(text);
        }
    }
    block
}

/// The `:status` of an answer, which is its first field. The table of the server must be empty: our settings say so.
pub(super) fn status(block: &[u8]) -> Option<u16> {
    /// The static table, from index 8.
    const STATIC: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    let mut rest = block;
    // Updates of the table's size come first.
    while let Some((first, tail)) = rest.split_first()
        && first & 0xe0 == 0x20
    {
        rest = tail;
    }
    let (&first, rest) = rest.split_first()?;
    if first & 0x80 != 0 {
        return STATIC.get(usize::from(first & 0x7f).checked_sub(8)?).copied();
    }
    let index = if first & 0x40 != 0 { first & 0x3f } else { first & 0x0f };
    if !(8..15).contains(&index) {
        return None;
    }
    let (&length, rest) = rest.split_first()?;
    let text = rest.get(..usize::from(length & 0x7f))?;
    if length & 0x80 == 0 { std::str::from_utf8(text).ok()?.parse().ok() } else { digits(text) }
}

/// A length with a prefix of seven bits.
fn length(block: &mut Vec<u8>, mut length: usize) {
    if length < 0x7f {
        block.push(length as u8);
        return;
    }
    block.push(0x7f);
    length -= 0x7f;
    while length >= 0x80 {
        block.push((length % 0x80) as u8 | 0x80);
        length /= 0x80;
    }
    block.push(length as u8);
}

/// Three digits in Huffman's code: 0 to 2 are 00000 to 00010, 3 to 9 are 011001 to 011111.
fn digits(text: &[u8]) -> Option<u16> {
    let mut bits = text.iter().flat_map(|byte| (0..8).rev().map(move |i| u16::from(byte >> i & 1)));
    let mut take = |count: usize| (0..count).try_fold(0, |value, _| Some(value << 1 | bits.next()?));
    let mut number = 0;
    for _ in 0..3 {
        let five = take(5)?;
        let digit = if five < 3 { five } else { (five << 1 | take(1)?).checked_sub(0b01_1001)? + 3 };
        number = number * 10 + digit;
    }
    Some(number)
}
