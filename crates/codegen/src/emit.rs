//! A function body that knows its price.
//!
//! Prices are those of the Internet Computer's metering for wasm32, for the instructions emitted here and no others:
//! one that is not in [`price`] cannot be emitted.

use wasm_encoder::{BlockType, Function, Instruction, MemArg, MemArgTarget, ValType};

/// What an instruction is charged.
fn price(instruction: &Instruction<'_>) -> u64 {
    use Instruction::*;
    match instruction {
        Block(_) | Loop(_) | Else | End => 0,
        LocalGet(_) | LocalSet(_) | LocalTee(_) | I32Const(_) => 1,
        I32Add | I32Sub | I32LtU => 1,
        I32Load(_) | V128Load(_) | V128Load32Splat(_) | V128Load16Splat(_) | V128Load8x8S(_)
        | V128Load8x8U(_) | V128Store(_) => 1,
        V128Const(_) | V128And => 1,
        I16x8ExtendLowI8x16S | F32x4Splat | F32x4PMin | F32x4PMax | I32x4Add | I32x4DotI16x8S
        | F32x4ConvertI32x4S => 1,
        F32x4Add | F32x4Mul | I32x4ShrS => 2,
        If(_) | Br(_) | BrIf(_) => 2,
        other => panic!("{other:?} has no price here"),
    }
}

/// A function under construction. Parameters come first among the locals.
pub(crate) struct Emit {
    body: Vec<u8>,
    locals: Vec<(u32, ValType)>,
    next: u32,
    /// Charged so far since the last [`Emit::take`].
    spent: u64,
}

impl Emit {
    /// A function of so many parameters.
    pub(crate) fn new(parameters: u32) -> Emit {
        Emit { body: vec![], locals: vec![], next: parameters, spent: 0 }
    }

    /// A new local.
    pub(crate) fn local(&mut self, ty: ValType) -> u32 {
        match self.locals.last_mut() {
            Some((count, last)) if *last == ty => *count += 1,
            _ => self.locals.push((1, ty)),
        }
        self.next += 1;
        self.next - 1
    }

    /// One instruction.
    pub(crate) fn put(&mut self, instruction: Instruction<'_>) -> &mut Self {
        self.spent += price(&instruction);
        wasm_encoder::Encode::encode(&instruction, &mut self.body);
        self
    }

    /// Puts a local on the stack.
    pub(crate) fn get(&mut self, local: u32) -> &mut Self {
        self.put(Instruction::LocalGet(local))
    }

    /// Takes the stack's top into a local.
    pub(crate) fn set(&mut self, local: u32) -> &mut Self {
        self.put(Instruction::LocalSet(local))
    }

    /// Copies the stack's top into a local.
    pub(crate) fn tee(&mut self, local: u32) -> &mut Self {
        self.put(Instruction::LocalTee(local))
    }

    /// A number on the stack.
    pub(crate) fn int(&mut self, value: i32) -> &mut Self {
        self.put(Instruction::I32Const(value))
    }

    /// Moves a pointer by a constant.
    pub(crate) fn advance(&mut self, pointer: u32, bytes: u32) {
        self.get(pointer).int(bytes as i32).put(Instruction::I32Add).set(pointer);
    }

    /// `body` while the local is at least `step`, which it loses each time. Answers the price of one round; what is
    /// charged beside the rounds is counted here.
    pub(crate) fn rounds(&mut self, local: u32, step: u32, body: impl FnOnce(&mut Emit)) -> u64 {
        self.put(Instruction::Block(BlockType::Empty)).put(Instruction::Loop(BlockType::Empty));
        // The condition is charged once more than the rounds: when it ends them.
        let before = self.spent;
        self.get(local).int(step as i32).put(Instruction::I32LtU).put(Instruction::BrIf(1));
        let condition = self.spent - before;
        self.get(local).int(step as i32).put(Instruction::I32Sub).set(local);
        body(self);
        self.put(Instruction::Br(0));
        let round = self.spent - before;
        self.spent = before + condition;
        self.put(Instruction::End).put(Instruction::End);
        round
    }

    /// `body` where the local is not 0. Answers what it is charged then; the condition is counted here.
    pub(crate) fn when(&mut self, local: u32, body: impl FnOnce(&mut Emit)) -> u64 {
        self.get(local).put(Instruction::If(BlockType::Empty));
        let before = self.spent;
        body(self);
        let extra = self.spent - before;
        self.spent = before;
        self.put(Instruction::End);
        extra
    }

    /// What was charged since the last time.
    pub(crate) fn take(&mut self) -> u64 {
        std::mem::take(&mut self.spent)
    }

    /// The function.
    pub(crate) fn finish(mut self) -> Function {
        self.put(Instruction::End);
        let mut function = Function::new(self.locals);
        function.raw(self.body);
        function
    }
}

/// Where a load or store reaches beyond its address. Nothing is said of alignment: a hint that nothing depends on.
pub(crate) fn at(offset: u32) -> MemArg {
    MemArg { offset: u64::from(offset), align: 0, target: MemArgTarget::Memory(0), ordering: None }
}
