//! Writing JSON.

/// The template with a JSON string in place of each `$`, in order.
pub(crate) fn fill(template: &str, texts: &[&str]) -> Vec<u8> {
    let mut out = Vec::with_capacity(template.len() + 64);
    let mut texts = texts.iter();
    for byte in template.bytes() {
        match (byte, texts.as_slice()) {
            (b'$', [text, ..]) => {
                push_string(&mut out, text);
                texts.next();
            }
            _ => out.push(byte),
        }
    }
    out
}

/// The template with a list in place of `$`: an item for each name, made from a template of its own with the name for each `$`.
pub(crate) fn fill_list(
    template: &str,
    item: &str,
    names: &mut dyn Iterator<Item = &str>,
) -> Vec<u8> {
    let (before, after) = template.split_once('$').unwrap_or((template, ""));
    let mut out = before.as_bytes().to_vec();
    for (i, name) in names.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend(fill(item, &[name; 4]));
    }
    out.extend_from_slice(after.as_bytes());
    out
}

/// Appends `text` as a JSON string, with everything escaped that has to be.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
