//! An instrumented module that logs the number of each function, in hexadecimal, on its first run in a stream.
//!
//! Each function gets a global that records whether it has run, and code at its start that checks and sets it. All globals are
//! cleared at the start of a stream. The text of a log line is written to address 0: the linker places the stack first in memory,
//! and the stack, which grows down to that address, never fills up.

use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, GlobalSection, GlobalType, Instruction, MemArg,
    MemArgTarget, Module, ValType,
};
use wasmparser::{FunctionBody, GlobalSectionReader, Parser};

use crate::LayoutError;
use crate::functions::Functions;

/// Log level of the lines; every proxy prints it.
const CRITICAL: i32 = 5;
/// Number of digits of a function number.
const DIGITS: u32 = 4;
/// The callback at the start of a stream.
const STREAM_START: &str = "proxy_on_context_create";
/// The timer callback, which belongs to no stream.
const TIMER: &str = "proxy_on_tick";
/// Prefix of the names of callbacks.
const CALLBACK: &str = "proxy_on_";

struct Tracer<'a> {
    functions: &'a Functions,
    log: u32,
    /// Index of the first global of a function.
    globals: u32,
    /// Index of the current function.
    at: u32,
}

/// The instrumented module.
///
/// # Errors
/// [`LayoutError`] when the module is malformed or cannot log.
pub fn trace(module: &[u8], functions: &Functions) -> Result<Vec<u8>, LayoutError> {
    let log = functions
        .imported
        .iter()
        .position(|name| name == "env.proxy_log");
    let log = log.and_then(|log| u32::try_from(log).ok());
    let mut tracer = Tracer {
        functions,
        log: log.ok_or(LayoutError::NoLogImport)?,
        globals: 0,
        at: 0,
    };
    let mut out = Module::new();
    tracer.parse_core_module(&mut out, Parser::new(0), module)?;
    Ok(out.finish())
}

/// The functions in the log of an instrumented module, in the order of their first run, without those of the timer.
#[must_use]
pub fn run<'a>(log: &str, functions: &'a Functions) -> Vec<&'a str> {
    let name = |line: &str| {
        let position = usize::from_str_radix(line.rsplit_once(": ")?.1.trim(), 16).ok()?;
        Some(functions.own.get(position)?.as_str())
    };
    let lines = log.lines().filter(|line| line.contains("wasm log"));
    let mut timer = false;
    let own = |name: &&str| {
        if name.starts_with(CALLBACK) {
            timer = *name == TIMER;
        }
        !timer
    };
    lines.filter_map(name).filter(own).collect()
}

impl Reencode for Tracer<'_> {
    type Error = Infallible;

    fn parse_global_section(
        &mut self,
        out: &mut GlobalSection,
        section: GlobalSectionReader<'_>,
    ) -> Result<(), Error> {
        self.globals = section.count();
        utils::parse_global_section(self, out, section)?;
        let has_run = GlobalType {
            val_type: ValType::I32,
            mutable: true,
            shared: false,
        };
        for _ in &self.functions.own {
            out.global(has_run, &ConstExpr::i32_const(0));
        }
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        out: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error> {
        let global = self.globals + self.at;
        let mut digits = [0; DIGITS as usize];
        digits.copy_from_slice(&format!("{:04x}", self.at & 0xFFFF).into_bytes());
        let target = MemArg {
            offset: 0,
            align: 0,
            target: MemArgTarget::Memory(0),
            ordering: None,
        };
        let mut function = self.new_function_with_parsed_locals(&body)?;
        if self
            .functions
            .own
            .get(self.at as usize)
            .is_some_and(|name| name == STREAM_START)
        {
            for own in 0..self.functions.own.len() {
                let global = self.globals + u32::try_from(own).unwrap_or(u32::MAX);
                function.instruction(&Instruction::I32Const(0));
                function.instruction(&Instruction::GlobalSet(global));
            }
        }
        for instruction in [
            Instruction::GlobalGet(global),
            Instruction::I32Eqz,
            Instruction::If(BlockType::Empty),
            Instruction::I32Const(1),
            Instruction::GlobalSet(global),
            Instruction::I32Const(0),
            Instruction::I32Const(i32::from_le_bytes(digits)),
            Instruction::I32Store(target),
            Instruction::I32Const(CRITICAL),
            Instruction::I32Const(0),
            Instruction::I32Const(DIGITS.cast_signed()),
            Instruction::Call(self.log),
            Instruction::Drop,
            Instruction::End,
        ] {
            function.instruction(&instruction);
        }
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            function.instruction(&self.parse_instruction(&mut reader)?);
        }
        out.function(&function);
        self.at += 1;
        Ok(())
    }
}
