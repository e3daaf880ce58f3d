//! Texts that cost a careless renderer dearly, for the property tests of all of them.

use proptest::prelude::*;

/// What is repeated.
const PIECES: [&str; 44] = [
    "- ",
    "> ",
    "* ",
    "+ ",
    "1. ",
    "[",
    "![",
    "]",
    "](",
    "](x)",
    "`",
    "``",
    "```\n",
    "**",
    "*",
    "_",
    "__",
    "~~",
    "~",
    "<",
    "<a ",
    "<!--",
    "<?",
    "<![CDATA[",
    "&",
    "&amp;",
    "&#0;",
    "&nbsp;",
    "| ",
    "|a|b|\n|-|-|\n",
    "\n",
    "\n\n",
    "\t",
    "    ",
    "a",
    "*a* ",
    "**a *b ",
    "- a\n",
    "> a\n",
    "[a]: https://example.com/?a&b|c\n",
    "[a] ",
    "\\",
    "$",
    "é",
];

/// A text of about so many bytes: pieces that are repeated, one after the other or mixed.
pub(super) fn texts(bytes: usize) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        9 => prop::sample::select(&PIECES[..]).prop_map(str::to_owned),
        1 => "\\PC{1,3}",
    ];
    prop::collection::vec(piece, 1..5).prop_flat_map(move |pieces| {
        prop_oneof![
            Just(repeated(&pieces, bytes, true)),
            Just(repeated(&pieces, bytes, false)),
        ]
    })
}

fn repeated(pieces: &[String], bytes: usize, in_turn: bool) -> String {
    if in_turn {
        let unit = pieces.concat();
        return unit.repeat(bytes / unit.len() + 1);
    }
    let share = bytes / pieces.len() + 1;
    let runs = pieces
        .iter()
        .map(|piece| piece.repeat(share / piece.len() + 1));
    runs.collect()
}

/// Each piece by itself, at the end with a letter, so that nothing is a rule.
pub(super) fn plain(bytes: usize) -> impl Iterator<Item = (&'static str, String)> {
    PIECES
        .into_iter()
        .map(move |piece| (piece, format!("{}x", piece.repeat(bytes / piece.len() + 1))))
}
