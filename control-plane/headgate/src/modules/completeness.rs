//! Completeness check of a wasm module: a file that the writer has not finished must not reach a proxy.
//!
//! Only the section structure is checked. Envoy validates the code, and its rejection is shown in the status.

use wasmparser::{Parser, Payload};

/// Checks that a module ends with its last section, has code, and has the data that it announces.
///
/// # Errors
/// The first defect.
pub(super) fn check(module: &[u8]) -> Result<(), String> {
    let (mut code, mut data, mut announces_data) = (false, false, false);
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(|error| error.to_string())? {
            Payload::CodeSectionStart { .. } => code = true,
            Payload::DataSection(_) => data = true,
            Payload::DataCountSection { count, .. } => announces_data = count > 0,
            _ => {}
        }
    }
    if !code {
        return Err("the code section is missing".to_owned());
    }
    if announces_data && !data {
        return Err("the data section is missing".to_owned());
    }
    Ok(())
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
        (12, &[1]),
        (10, &[1, 2, 0, 0x0b]),
        (11, &[1, 0, 0x41, 0, 0x0b, 1, b'!']),
        (0, &custom),
    ];
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    for (id, body) in sections {
        module.push(id);
        // Padded like the sizes that compilers fill in later.
        module.extend([body.len() as u8 | 0x80, 0]);
        module.extend_from_slice(body);
    }
    module
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_module_is_valid_and_every_truncated_one_is_not() {
        let module = module(b"name");
        assert_eq!(check(&module), Ok(()));
        // Behind the data are names for debuggers. A module without them is another complete module.
        let without_names = module.len() - (1 + 2 + 6);
        for cut in 0..module.len() {
            assert_eq!(check(&module[..cut]).is_ok(), cut == without_names, "{cut}");
        }
    }

    #[test]
    fn a_damaged_size_is_invalid() {
        let mut module = module(b"name");
        module[9] = 0xff;
        assert!(check(&module).is_err());
        assert!(check(&[&module[..8], &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat()).is_err());
    }
}
