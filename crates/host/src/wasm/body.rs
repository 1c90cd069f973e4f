//! The metering pass over one function.
//!
//! Every straight-line run of operators is charged as a whole at its start, by subtracting its cost from the counter. At
//! the function's entry and at loop heads the counter is checked too, so no execution runs on for long with a negative
//! counter. A bulk memory operator charges its length just before it runs. Owns which operators end a run; never reorders
//! or removes an operator.
//!
//! | operator | what is put there |
//! | --- | --- |
//! | start of a run that costs something | `counter -= cost` (4 operators) |
//! | function entry, loop head | the same and `if counter < 0 { out_of_instructions() }` (10) |
//! | `memory.fill`, `memory.copy`, `memory.init` | before: `charge(length)` (3) |
//! | `memory.grow` | before: keep the argument; after: `try_grow(result, argument)` (3) |

use wasm_encoder::{Encode, Instruction};
use wasmparser::{BinaryReaderError, FunctionBody, Operator};

use super::opcode;

/// Indices the injected code refers to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Injected {
    /// How far function indices of the module move up.
    pub shift: u32,
    /// The function that ends an execution.
    pub out_of_instructions: u32,
    /// The function called after `memory.grow`.
    pub try_grow: u32,
    /// The function that charges its argument and answers it.
    pub charge: u32,
    /// The counter.
    pub counter: u32,
}

/// A change at a place in the original body, relative to its start.
struct Edit {
    at: usize,
    what: What,
}

enum What {
    /// Start of a run of operators.
    Run { cost: u64, checked: bool },
    /// A bulk memory operator, its length on the stack.
    Bulk,
    /// `memory.grow`, its argument on the stack.
    BeforeGrow,
    /// Behind `memory.grow`.
    AfterGrow,
    /// An operator with a function index as its only operand, which ends at `end`.
    Function { index: u32, end: usize },
}

/// The pass, with its buffers kept between functions.
pub(super) struct Metering {
    injected: Injected,
    edits: Vec<Edit>,
    body: Vec<u8>,
}

impl Metering {
    /// A pass that injects code with these indices.
    pub fn new(injected: Injected) -> Self {
        Self { injected, edits: Vec::new(), body: Vec::new() }
    }

    /// Instruments a function with `params` parameters. Answers its new body and the operators in it.
    pub fn instrument(
        &mut self,
        function: &FunctionBody<'_>,
        params: usize,
    ) -> Result<(&[u8], u64), BinaryReaderError> {
        let operators = self.find_edits(function)?;
        let injected = self.write(function, params)?;
        Ok((&self.body, operators + injected))
    }

    /// Fills `edits`, in order; answers the operators of the original.
    fn find_edits(&mut self, function: &FunctionBody<'_>) -> Result<u64, BinaryReaderError> {
        let start = function.range().start;
        let mut reader = function.get_operators_reader()?;
        let mut operators = 0;
        self.edits.clear();
        // A call costs at least 1, even of an empty function.
        let entry = What::Run { cost: 1, checked: true };
        self.edits.push(Edit { at: (reader.original_position() - start) as usize, what: entry });
        let mut run = 0;
        while !reader.eof() {
            let (op, offset) = reader.read_with_offset()?;
            let at = (offset - start) as usize;
            let end = (reader.original_position() - start) as usize;
            operators += 1;
            if let What::Run { cost, .. } = &mut self.edits[run].what {
                *cost += opcode::cost(&op);
            }
            match op {
                Operator::Loop { .. } => {
                    run = self.start_run(end, true);
                }
                Operator::If { .. }
                | Operator::Else
                | Operator::End
                | Operator::Br { .. }
                | Operator::BrIf { .. }
                | Operator::BrTable { .. }
                | Operator::Return
                | Operator::Unreachable
                | Operator::ReturnCallIndirect { .. } => {
                    run = self.start_run(end, false);
                }
                Operator::ReturnCall { function_index } => {
                    self.edits.push(Edit { at, what: What::Function { index: function_index, end } });
                    run = self.start_run(end, false);
                }
                Operator::Call { function_index } | Operator::RefFunc { function_index } => {
                    self.edits.push(Edit { at, what: What::Function { index: function_index, end } });
                }
                Operator::MemoryFill { .. } | Operator::MemoryCopy { .. } | Operator::MemoryInit { .. } => {
                    self.edits.push(Edit { at, what: What::Bulk });
                }
                Operator::MemoryGrow { .. } => {
                    self.edits.push(Edit { at, what: What::BeforeGrow });
                    self.edits.push(Edit { at: end, what: What::AfterGrow });
                }
                _ => {}
            }
        }
        Ok(operators)
    }

    fn start_run(&mut self, at: usize, checked: bool) -> usize {
        self.edits.push(Edit { at, what: What::Run { cost: 0, checked } });
        self.edits.len() - 1
    }

    /// Fills `body`; answers the operators that were added.
    fn write(&mut self, function: &FunctionBody<'_>, params: usize) -> Result<u64, BinaryReaderError> {
        let Injected { shift, out_of_instructions, try_grow, charge, counter } = self.injected;
        let source = function.as_bytes();
        let body = &mut self.body;
        body.clear();
        let grows = self.edits.iter().any(|edit| matches!(edit.what, What::BeforeGrow));
        let (argument, mut copied) = write_locals(function, params, grows, body)?;
        let mut added = 0;
        for edit in &self.edits {
            if let What::Run { cost: 0, checked: false } = edit.what {
                continue;
            }
            body.extend_from_slice(&source[copied..edit.at]);
            copied = edit.at;
            let mut emit = |instruction: Instruction<'_>| {
                added += 1;
                instruction.encode(body);
            };
            match edit.what {
                What::Run { cost, checked } => {
                    emit(Instruction::GlobalGet(counter));
                    emit(Instruction::I64Const(cost as i64));
                    emit(Instruction::I64Sub);
                    emit(Instruction::GlobalSet(counter));
                    if checked {
                        emit(Instruction::GlobalGet(counter));
                        emit(Instruction::I64Const(0));
                        emit(Instruction::I64LtS);
                        emit(Instruction::If(wasm_encoder::BlockType::Empty));
                        emit(Instruction::Call(out_of_instructions));
                        emit(Instruction::End);
                    }
                }
                What::Bulk => {
                    emit(Instruction::I64ExtendI32U);
                    emit(Instruction::Call(charge));
                    emit(Instruction::I32WrapI64);
                }
                What::BeforeGrow => emit(Instruction::LocalTee(argument)),
                What::AfterGrow => {
                    emit(Instruction::LocalGet(argument));
                    emit(Instruction::Call(try_grow));
                }
                What::Function { index, end } => {
                    // `call`, `return_call` and `ref.func` are one byte each.
                    body.push(source[edit.at]);
                    (index + shift).encode(body);
                    copied = end;
                }
            }
        }
        body.extend_from_slice(&source[copied..]);
        Ok(added)
    }
}

/// Writes the locals of `function` to `body`, and an `i32` more where it `grows` memory. Answers the index of that one
/// and where the operators start in the original.
fn write_locals(
    function: &FunctionBody<'_>,
    params: usize,
    grows: bool,
    body: &mut Vec<u8>,
) -> Result<(u32, usize), BinaryReaderError> {
    let source = function.as_bytes();
    let start = function.range().start;
    let mut locals = function.get_locals_reader()?;
    let groups = locals.get_count();
    let first_group = (locals.original_position() - start) as usize;
    let mut count = params as u32;
    for _ in 0..groups {
        count += locals.read()?.0;
    }
    let code = (locals.original_position() - start) as usize;
    (groups + u32::from(grows)).encode(body);
    body.extend_from_slice(&source[first_group..code]);
    if grows {
        1u32.encode(body);
        wasm_encoder::ValType::I32.encode(body);
    }
    Ok((count, code))
}
