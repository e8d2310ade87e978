//! The module with reordered functions and without custom sections.
//!
//! Numbers are re-encoded at minimum length (the linker pads them for its own relocations); names and other custom sections are
//! dropped.

use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{CodeSection, FunctionSection, Module};
use wasmparser::{CodeSectionReader, CustomSectionReader, FunctionSectionReader, Parser};

use crate::LayoutError;
use crate::functions::Functions;
use crate::order::Order;

struct Reorderer<'a> {
    /// Number of imported functions.
    imported: u32,
    order: &'a Order,
    /// New positions of the module's own functions, in their old order.
    new: Vec<u32>,
}

/// The module with its functions in this order.
///
/// # Errors
/// [`LayoutError`] when the module is malformed.
pub fn reorder(
    module: &[u8],
    functions: &Functions,
    order: &Order,
) -> Result<Vec<u8>, LayoutError> {
    let mut new = vec![0; order.old.len()];
    for (position, old) in (0_u32..).zip(&order.old) {
        if let Some(new) = new.get_mut(*old) {
            *new = position;
        }
    }
    let mut reorderer = Reorderer {
        imported: u32::try_from(functions.imported.len()).unwrap_or(u32::MAX),
        order,
        new,
    };
    let mut out = Module::new();
    reorderer.parse_core_module(&mut out, Parser::new(0), module)?;
    Ok(out.finish())
}

impl Reorderer<'_> {
    /// The items of a section, in the new order.
    fn sorted<T>(
        &self,
        items: impl Iterator<Item = wasmparser::Result<T>>,
    ) -> wasmparser::Result<Vec<T>> {
        let mut items = items
            .map(|item| item.map(Some))
            .collect::<wasmparser::Result<Vec<_>>>()?;
        let old = self.order.old.iter();
        Ok(old
            .filter_map(|old| items.get_mut(*old).and_then(Option::take))
            .collect())
    }
}

impl Reencode for Reorderer<'_> {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        let own = function.checked_sub(self.imported);
        let new = own.and_then(|own| self.new.get(own as usize));
        Ok(new.map_or(function, |new| self.imported + new))
    }

    fn parse_function_section(
        &mut self,
        out: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        for ty in self.sorted(section.into_iter())? {
            out.function(self.type_index(ty)?);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        out: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        for body in self.sorted(section.into_iter())? {
            self.parse_function_body(out, body)?;
        }
        Ok(())
    }

    fn parse_custom_section(
        &mut self,
        _: &mut Module,
        _: CustomSectionReader<'_>,
    ) -> Result<(), Error> {
        Ok(())
    }
}
