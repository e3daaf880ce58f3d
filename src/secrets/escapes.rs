//! Texts without their escapes: percent, JSON, HTML. Which of them a text has nobody says, so all
//! are taken away at once; every byte remembers what it was made of.

/// Longest escape: a named character of HTML.
const ESCAPE_MAX: usize = 10;

/// The characters that HTML names and secrets have.
const NAMED: [(&str, char); 40] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", ' '),
    ("excl", '!'),
    ("num", '#'),
    ("dollar", '$'),
    ("percnt", '%'),
    ("lpar", '('),
    ("rpar", ')'),
    ("ast", '*'),
    ("midast", '*'),
    ("plus", '+'),
    ("comma", ','),
    ("period", '.'),
    ("sol", '/'),
    ("colon", ':'),
    ("semi", ';'),
    ("equals", '='),
    ("quest", '?'),
    ("commat", '@'),
    ("lsqb", '['),
    ("lbrack", '['),
    ("bsol", '\\'),
    ("rsqb", ']'),
    ("rbrack", ']'),
    ("Hat", '^'),
    ("lowbar", '_'),
    ("UnderBar", '_'),
    ("grave", '`'),
    ("lcub", '{'),
    ("lbrace", '{'),
    ("verbar", '|'),
    ("vert", '|'),
    ("rcub", '}'),
    ("rbrace", '}'),
    ("hyphen", '-'),
    ("dash", '-'),
];

/// Whether a byte begins an escape, or breaks a line.
pub(super) const fn is_special(byte: u8) -> bool {
    matches!(byte, b'%' | b'\\' | b'&' | b'\r' | b'\n' | b'\t')
}

/// A text, and where in the source each of its bytes comes from.
pub(super) struct Stream {
    bytes: Vec<u8>,
    /// Beginning and end of each byte's source; `None` while they are the bytes themselves.
    source: Option<Vec<(u32, u32)>>,
}

impl Stream {
    pub(super) fn of(text: &[u8]) -> Self {
        Self {
            bytes: text.to_vec(),
            source: None,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What these bytes were in the source.
    pub(super) fn source(&self, from: usize, to: usize) -> (usize, usize) {
        match &self.source {
            None => (from, to),
            Some(places) => {
                let first = places.get(from).map_or(0, |(from, _)| *from);
                let last = places.get(to.saturating_sub(1)).map_or(0, |(_, to)| *to);
                (first as usize, last as usize)
            }
        }
    }

    /// One layer of escapes taken away, with what breaks lines; `None` where there is none.
    pub(super) fn unescaped(&self) -> Option<Self> {
        if !self.bytes.iter().any(|byte| is_special(*byte)) {
            return None;
        }
        let (mut bytes, mut places) = (Vec::with_capacity(self.bytes.len()), Vec::new());
        let (mut at, mut changed) = (0, false);
        while let Some(byte) = self.bytes.get(at) {
            let rest = self.bytes.get(at..).unwrap_or_default();
            let (length, made) = match unit(rest) {
                Some((length, made)) => {
                    changed = true;
                    (length, made)
                }
                None => (1, Made::Byte(*byte)),
            };
            let (from, to) = self.source(at, at + length);
            // A piece has 16 KiB.
            let place = (
                u32::try_from(from).unwrap_or(u32::MAX),
                u32::try_from(to).unwrap_or(u32::MAX),
            );
            let mut put = |made: &[u8]| {
                bytes.extend_from_slice(made);
                places.extend(made.iter().map(|_| place));
            };
            match made {
                Made::Nothing => {}
                Made::Byte(byte) => put(&[byte]),
                Made::Char(c) => put(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
            at += length;
        }
        changed.then_some(Self {
            bytes,
            source: Some(places),
        })
    }
}

/// A text with at most so many layers of escapes taken away.
pub(super) fn decode(text: &[u8], layers: usize) -> Vec<u8> {
    let mut stream = Stream::of(text);
    for _ in 0..layers {
        match stream.unescaped() {
            Some(next) => stream = next,
            None => break,
        }
    }
    stream.bytes
}

enum Made {
    Nothing,
    Byte(u8),
    Char(char),
}

/// The escape at the beginning of a text: its length, and what it stands for.
fn unit(text: &[u8]) -> Option<(usize, Made)> {
    match text.first()? {
        b'\r' | b'\n' | b'\t' => Some((1, Made::Nothing)),
        b'%' => Some((3, Made::Byte(u8::try_from(number(text, 1, 2, 16)?).ok()?))),
        b'\\' => match text.get(1)? {
            b'u' => {
                let first = number(text, 2, 4, 16)?;
                let second = (0xD800..0xDC00).contains(&first) && text.get(6..8) == Some(b"\\u");
                let low = if second { number(text, 8, 4, 16) } else { None };
                match low.filter(|low| (0xDC00..0xE000).contains(low)) {
                    Some(low) => {
                        let code = 0x1_0000 + ((first - 0xD800) << 10) + (low - 0xDC00);
                        Some((12, Made::Char(char::from_u32(code)?)))
                    }
                    None => Some((6, Made::Char(char::from_u32(first)?))),
                }
            }
            b'x' => Some((4, Made::Byte(u8::try_from(number(text, 2, 2, 16)?).ok()?))),
            b'n' | b'r' | b't' => Some((2, Made::Nothing)),
            b'"' => Some((2, Made::Byte(b'"'))),
            b'\'' => Some((2, Made::Byte(b'\''))),
            b'/' => Some((2, Made::Byte(b'/'))),
            b'\\' => Some((2, Made::Byte(b'\\'))),
            _ => None,
        },
        b'&' => {
            let end = text
                .iter()
                .take(ESCAPE_MAX + 2)
                .position(|byte| *byte == b';')?;
            let name = text.get(1..end)?;
            let made = match name {
                [b'#', b'x' | b'X', ..] => char::from_u32(number(name, 2, name.len() - 2, 16)?)?,
                [b'#', ..] => char::from_u32(number(name, 1, name.len() - 1, 10)?)?,
                name => NAMED.iter().find(|(known, _)| known.as_bytes() == name)?.1,
            };
            Some((end + 1, Made::Char(made)))
        }
        _ => None,
    }
}

fn number(text: &[u8], at: usize, length: usize, radix: u32) -> Option<u32> {
    let digits = text.get(at..at + length)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}
