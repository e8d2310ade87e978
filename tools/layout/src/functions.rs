//! The functions of a module with their names.

use wasmparser::{KnownCustom, Name, Parser, Payload, TypeRef};

use crate::LayoutError;

/// The functions of a module, in module order.
#[derive(Debug, Default)]
pub struct Functions {
    /// `module.function` of the imported functions, which are numbered first.
    pub imported: Vec<String>,
    /// Names of the module's own functions, demangled and without crate hashes. Names may repeat.
    pub own: Vec<String>,
}

impl Functions {
    /// Reads the functions of a module.
    ///
    /// # Errors
    /// [`LayoutError`] when the module is malformed or has no names.
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
            false => Err(LayoutError::NoNames),
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
