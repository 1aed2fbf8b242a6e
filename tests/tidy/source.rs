//! Just enough of Rust's grammar to ask a source file what it imports and how long its functions are.

/// `text` with comments, strings and character literals blanked, so that braces and words in it are code. Lines and
/// byte offsets stay.
pub fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match literal_end(bytes, at) {
            Some(end) => end.min(bytes.len()),
            None => {
                at += 1;
                continue;
            }
        };
        code[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    String::from_utf8(code).expect("literals begin and end at ASCII characters")
}

/// The end of the comment or literal that begins at `at`, if one does.
fn literal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let in_word = at > 0 && is_word(bytes[at - 1]);
    let length = match rest {
        [b'/', b'/', ..] => find(rest, b"\n").unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment_length(rest),
        [b'"', ..] => string_length(rest),
        [b'r', b'"' | b'#', ..] if !in_word => raw_string_length(rest)?,
        [b'b', b'r', b'"' | b'#', ..] if !in_word => 1 + raw_string_length(&rest[1..])?,
        [b'\'', b'\\', _, ..] => 4 + find(rest.get(3..)?, b"'")?,
        // Up to four bytes of UTF-8 between the quotes; a lifetime has no second quote right after its first letter.
        [b'\'', first, ..] => {
            1 + char_length(*first) + rest.get(1 + char_length(*first)).filter(|b| **b == b'\'').map(|_| 1)?
        }
        _ => return None,
    };
    Some(at + length)
}

fn block_comment_length(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw_string_length(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    let body = rest.get(1 + hashes..)?.strip_prefix(b"\"")?;
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    Some(2 + hashes + find(body, &close).unwrap_or(body.len()) + close.len())
}

fn char_length(first: u8) -> usize {
    match first {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Offsets at which `word` stands on its own in `code`.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code.as_bytes()[..*at].last().copied();
        let after = code.as_bytes().get(at + word.len()).copied();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The 1-based line of an offset.
pub fn line(code: &str, at: usize) -> usize {
    1 + code[..at].matches('\n').count()
}

/// From `at`, the first `{` with its matching `}` behind it, unless the item ends with `;` before.
pub fn block(code: &str, at: usize) -> Option<std::ops::Range<usize>> {
    let mut nested = 0;
    let mut open = None;
    for (offset, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b';' if open.is_none() && nested == 0 => return None,
            b'(' | b'[' => nested += 1,
            b')' | b']' => nested -= 1,
            b'{' if open.is_none() && nested == 0 => (open, nested) = (Some(offset), 1),
            b'{' => nested += 1,
            b'}' => {
                nested -= 1;
                if let Some(open) = open.filter(|_| nested == 0) {
                    return Some(open..offset + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// `code` with each item under `#[cfg(test)]` blanked.
pub fn without_tests(code: &str) -> String {
    let mut kept = code.as_bytes().to_vec();
    for (at, _) in code.match_indices("#[cfg(test)]") {
        let item = at + "#[cfg(test)]".len();
        let end = block(code, item).map_or(item, |block| block.end);
        kept[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Name, first line and length in lines of each function with a body.
pub fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let named = words(code, "fn").filter_map(|at| {
        let name: String =
            code[at + 2..].trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let body = block(code, at).filter(|_| !name.is_empty())?;
        Some((name, line(code, at), line(code, body.end) - line(code, at) + 1))
    });
    named.collect()
}

/// Every path from the crate's root that `code` names, without the root, with its line. `module` is where the file
/// stands (`["net", "wheel"]`), `root` what the root is called there: `crate`, or the library's name in a binary.
pub fn paths(code: &str, module: &[&str], root: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in words(code, root).filter(|at| code[at + root.len()..].starts_with("::")) {
        let tree = &code[at + root.len() + 2..];
        expand(tree, "", &mut |path| found.push((line(code, at), path)));
    }
    let inline: Vec<_> = words(code, "mod").filter_map(|at| block(code, at)).collect();
    for at in words(code, "super").filter(|at| !code[..*at].ends_with("super::")) {
        let chain = &code[at..];
        let supers = chain.split("::").take_while(|segment| *segment == "super").count();
        let depth = module.len() + inline.iter().filter(|block| block.contains(&at)).count();
        if supers > 0 && supers == depth {
            let tree = &chain[supers * "super::".len()..];
            expand(tree, "", &mut |path| found.push((line(code, at), path)));
        }
    }
    found
}

/// Calls `found` with each path of the use tree that `tree` begins with; gives what is left behind it.
fn expand<'a>(tree: &'a str, prefix: &str, found: &mut dyn FnMut(String)) -> &'a str {
    let tree = tree.trim_start();
    if let Some(mut rest) = tree.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            rest = expand(rest, prefix, found);
            let next = rest.find([',', '}']).unwrap_or(rest.len());
            rest = rest[next..].strip_prefix(',').unwrap_or(&rest[next..]);
            if rest.is_empty() {
                return rest;
            }
        }
    }
    let length = tree.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '*')).unwrap_or(tree.len());
    let path = if prefix.is_empty() { tree[..length].to_owned() } else { format!("{prefix}::{}", &tree[..length]) };
    match tree[length..].strip_prefix("::") {
        Some(rest) => expand(rest, &path, found),
        None => {
            found(path);
            &tree[length..]
        }
    }
}
