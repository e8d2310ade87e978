//! The functions of a module, with their names.

use wasmparser::{KnownCustom, Name, Parser, Payload, TypeRef};

use crate::LayoutError;

/// The functions of a module, in its order.
#[derive(Debug, Default)]
pub struct Functions {
    /// `module.function` of those that are imported; they come first in the numbering.
    pub imported: Vec<String>,
    /// Names of its own, demangled and without the hashes of their crates. Several may have one name.
    pub own: Vec<String>,
}

impl Functions {
    /// Reads them.
    ///
    /// # Errors
    /// [`LayoutError`]: no well-formed module, or one without names.
    pub fn read(module: &[u8]) -> Result<Self, LayoutError> {
        let mut functions = Self::default();
        let mut named = false;
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        if matches!(import.ty, TypeRef::Func(_)) {
                            let name = format!("{}.{}", import.module, import.name);
                            functions.imported.push(name);
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    functions.own = vec![String::new(); section.count() as usize];
                }
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(names) = section.as_known() {
                        for name in names {
                            if let Name::Function(map) = name? {
                                named = true;
                                functions.name(map)?;
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        match named {
            true => Ok(functions),
            false => Err(LayoutError::Nameless),
        }
    }

    fn name(&mut self, map: wasmparser::NameMap<'_>) -> Result<(), LayoutError> {
        for naming in map {
            let naming = naming?;
            let own = (naming.index as usize).checked_sub(self.imported.len());
            if let Some(name) = own.and_then(|own| self.own.get_mut(own)) {
                *name = format!("{:#}", rustc_demangle::demangle(naming.name));
            }
        }
        Ok(())
    }
}
