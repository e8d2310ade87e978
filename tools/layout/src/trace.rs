//! A module that logs the number of each of its functions, in hexadecimal, when it is run for the first time in a stream.
//!
//! Each function gets a global that says whether it has been run, and code at its beginning that looks; where a stream
//! begins, none has. The text of a line
//! is put where the stack would end, at address 0: the linker puts the stack first, and no stack of ours is ever full.

use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, GlobalSection, GlobalType, Instruction, MemArg,
    MemArgTarget, Module, ValType,
};
use wasmparser::{FunctionBody, GlobalSectionReader, Parser};

use crate::LayoutError;
use crate::functions::Functions;

/// The level of its lines: one that every proxy writes.
const CRITICAL: i32 = 5;
/// Digits of a number.
const DIGITS: u32 = 4;
/// Where a stream begins.
const BEGINNING: &str = "proxy_on_context_create";
/// What is no stream's.
const TIMER: &str = "proxy_on_tick";
/// What every callback's name begins with.
const CALLBACK: &str = "proxy_on_";

struct Tracer<'a> {
    functions: &'a Functions,
    log: u32,
    /// The first global that is a function's.
    globals: u32,
    /// The function whose body is read.
    at: u32,
}

/// The module, with its voice.
///
/// # Errors
/// [`LayoutError`]: no well-formed module, or one that cannot log.
pub fn trace(module: &[u8], functions: &Functions) -> Result<Vec<u8>, LayoutError> {
    let log = functions
        .imported
        .iter()
        .position(|name| name == "env.proxy_log");
    let log = log.and_then(|log| u32::try_from(log).ok());
    let mut tracer = Tracer {
        functions,
        log: log.ok_or(LayoutError::Speechless)?,
        globals: 0,
        at: 0,
    };
    let mut out = Module::new();
    tracer.parse_core_module(&mut out, Parser::new(0), module)?;
    Ok(out.finish())
}

/// The functions that a traced module's log names, in the order in which they were first run, without the timer's.
#[must_use]
pub fn run<'a>(log: &str, functions: &'a Functions) -> Vec<&'a str> {
    let name = |line: &str| {
        let place = usize::from_str_radix(line.rsplit_once(": ")?.1.trim(), 16).ok()?;
        Some(functions.own.get(place)?.as_str())
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
        let seen = GlobalType {
            val_type: ValType::I32,
            mutable: true,
            shared: false,
        };
        for _ in &self.functions.own {
            out.global(seen, &ConstExpr::i32_const(0));
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
        let place = MemArg {
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
            .is_some_and(|name| name == BEGINNING)
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
            Instruction::I32Store(place),
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
