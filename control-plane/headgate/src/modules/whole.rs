//! Check that a module is complete: a file that is still being written must not reach a proxy.
//!
//! It follows the sections to the last byte and decodes none of them. Envoy validates the code, and its refusal is shown. Format: <https://webassembly.github.io/spec/core/binary/modules.html>.

/// `\0asm` and version 1.
const PREAMBLE: &[u8] = b"\0asm\x01\0\0\0";
/// Section ids.
const CODE: u8 = 10;
const DATA: u8 = 11;
const DATA_COUNT: u8 = 12;

/// Checks that a module ends where its last section ends, that it has code, and the data it announces.
///
/// # Errors
/// What is wrong, as a phrase for people.
pub(super) fn check(module: &[u8]) -> Result<(), String> {
    let mut rest = module
        .strip_prefix(PREAMBLE)
        .ok_or("it does not begin as a module of version 1 does")?;
    let mut seen = Vec::new();
    while let Some((&id, after)) = rest.split_first() {
        let (size, body) = leb128(after).ok_or("the size of its last section is cut off")?;
        rest = body.get(size..).ok_or_else(|| {
            let missing = size - body.len();
            format!("its last {missing} bytes are missing, or a section is damaged")
        })?;
        seen.push(id);
    }
    if !seen.contains(&CODE) {
        return Err("its code is missing".to_owned());
    }
    if seen.contains(&DATA_COUNT) && !seen.contains(&DATA) {
        return Err("its data is missing".to_owned());
    }
    Ok(())
}

/// An unsigned 32-bit number, seven bits a byte, and what comes after it.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[at + 1..]));
        }
    }
    None
}

/// A module with one function that does nothing, one byte of data, and a custom section with `content`.
#[cfg(test)]
pub(super) fn module(content: &[u8]) -> Vec<u8> {
    let mut custom = vec![1, b'c'];
    custom.extend_from_slice(content);
    let sections: [(u8, &[u8]); 7] = [
        (1, &[1, 0x60, 0, 0]),
        (3, &[1, 0]),
        (5, &[1, 0, 1]),
        (DATA_COUNT, &[1]),
        (CODE, &[1, 2, 0, 0x0b]),
        (DATA, &[1, 0, 0x41, 0, 0x0b, 1, b'!']),
        (0, &custom),
    ];
    let mut module = PREAMBLE.to_vec();
    for (id, body) in sections {
        module.push(id);
        // Padded as compilers pad sizes they fill in later.
        module.extend([body.len() as u8 | 0x80, 0]);
        module.extend_from_slice(body);
    }
    module
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_module_is_whole_and_every_cut_before_its_data_ends_is_seen() {
        let module = module(b"name");
        assert_eq!(check(&module), Ok(()));
        // What is lost behind the data are names for debuggers; a module without them is another whole module.
        let without_names = module.len() - (1 + 2 + 6);
        for cut in 0..module.len() {
            assert_eq!(check(&module[..cut]).is_ok(), cut == without_names, "{cut}");
        }
    }

    #[test]
    fn a_damaged_size_is_seen() {
        let mut module = module(b"name");
        module[9] = 0xff;
        assert!(check(&module).is_err());
        assert!(check(&[PREAMBLE, &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat()).is_err());
    }
}
