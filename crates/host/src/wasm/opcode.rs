//! The price of every operator, and its weight in the complexity limit.
//!
//! Owns two tables over `wasmparser::Operator` and nothing else. Prices are of wasm32; they are charged by basic block,
//! before the block runs.

use wasmparser::Operator;

/// Instructions one operator is charged, what depends on its operands aside (`memory.copy` and its like).
pub(super) fn cost(op: &Operator<'_>) -> u64 {
    use Operator::*;
    match op {
        Block { .. } | Loop { .. } | Else | End => 0,

        If { .. } | Br { .. } | BrIf { .. } | BrTable { .. } => 2,
        Call { .. } => 5,
        CallIndirect { .. } => 10,
        ReturnCall { .. } => 3,
        ReturnCallIndirect { .. } => 60,

        GlobalGet { .. } | GlobalSet { .. } => 2,
        TableGet { .. } | TableSet { .. } => 5,
        TableSize { .. } => 100,
        MemorySize { .. } => 20,
        MemoryGrow { .. } | TableGrow { .. } => 300,
        MemoryFill { .. } | MemoryCopy { .. } | MemoryInit { .. } => 100,
        TableFill { .. } | TableCopy { .. } | TableInit { .. } => 100,
        DataDrop { .. } | ElemDrop { .. } => 300,
        RefIsNull => 5,
        RefFunc { .. } => 130,

        I32DivS | I32DivU | I32RemS | I32RemU => 10,
        I64DivS | I64DivU | I64RemS | I64RemU => 10,

        F32Add | F32Sub | F32Mul | F32Ceil | F32Floor | F32Trunc | F32Nearest => 2,
        F64Add | F64Sub | F64Mul | F64Ceil | F64Floor | F64Trunc | F64Nearest => 2,
        F32Div => 3,
        F64Div => 5,
        F32Sqrt => 5,
        F64Sqrt => 8,
        F32Min | F32Max | F64Min | F64Max => 18,
        F32Copysign => 2,
        F64Copysign => 3,
        F32Eq | F32Ne | F32Lt | F32Gt | F32Le | F32Ge => 3,
        F64Eq | F64Ne | F64Lt | F64Gt | F64Le | F64Ge => 3,
        F32ConvertI32S | F32ConvertI64S | F64ConvertI32S | F64ConvertI64S => 3,
        F32ConvertI32U | F32ConvertI64U | F64ConvertI32U | F64ConvertI64U => 16,
        I32TruncF32S | I32TruncF32U | I32TruncF64S | I32TruncF64U => 20,
        I64TruncF32S | I64TruncF32U | I64TruncF64S | I64TruncF64U => 20,
        I32TruncSatF32S | I32TruncSatF32U | I32TruncSatF64S | I32TruncSatF64U => 20,
        I64TruncSatF32S | I64TruncSatF32U | I64TruncSatF64S | I64TruncSatF64U => 20,

        I8x16Shuffle { .. } | I8x16Popcnt => 3,
        I8x16LtU | I8x16GtU | I16x8LtU | I16x8GtU | I32x4LtU | I32x4GtU => 2,
        I8x16Shl | I8x16ShrS | I64x2ShrS => 3,
        I8x16ShrU | I16x8Shl | I16x8ShrS | I16x8ShrU => 2,
        I32x4Shl | I32x4ShrS | I32x4ShrU | I64x2Shl | I64x2ShrU => 2,
        I16x8ExtAddPairwiseI8x16U => 2,
        I32x4ExtAddPairwiseI16x8U => 3,
        I16x8ExtMulHighI8x16S | I16x8ExtMulHighI8x16U => 2,
        I32x4ExtMulLowI16x8S | I32x4ExtMulHighI16x8S => 2,
        I32x4ExtMulLowI16x8U | I32x4ExtMulHighI16x8U => 2,
        I32x4Mul => 2,
        I64x2Mul => 4,
        F32x4Ceil | F32x4Floor | F32x4Trunc | F32x4Nearest | F32x4Abs | F32x4Neg => 2,
        F32x4Add | F32x4Sub | F32x4Mul => 2,
        F32x4Min | F32x4Max => 4,
        F32x4Sqrt => 5,
        F32x4Div => 10,
        F64x2Ceil | F64x2Floor | F64x2Trunc | F64x2Nearest | F64x2Abs | F64x2Neg => 2,
        F64x2Add | F64x2Sub | F64x2Mul => 2,
        F64x2Min => 4,
        F64x2Max => 5,
        F64x2Div => 12,
        F64x2Sqrt => 14,
        I32x4TruncSatF32x4S | I32x4TruncSatF64x2SZero => 2,
        I32x4TruncSatF64x2UZero => 3,
        I32x4TruncSatF32x4U | F32x4ConvertI32x4U => 4,

        _ => 1,
    }
}

/// Weight of one operator in the complexity of its function: what compiling it costs, roughly.
pub(super) fn complexity(op: &Operator<'_>) -> u64 {
    use Operator::*;
    match op {
        Block { .. } | Loop { .. } | If { .. } | Br { .. } | BrIf { .. } | BrTable { .. } => 50,
        Call { .. } | CallIndirect { .. } | MemoryGrow { .. } => 50,
        TableGet { .. } => 14,
        RefFunc { .. } => 8,
        RefIsNull => 6,
        I32TruncF32S | I32TruncF32U | I32TruncF64S | I32TruncF64U => 5,
        I64TruncF32S | I64TruncF32U | I64TruncF64S | I64TruncF64U => 5,
        F32ConvertI32S | F32ConvertI32U | F32ConvertI64S | F32ConvertI64U => 5,
        F64ConvertI32S | F64ConvertI32U | F64ConvertI64S | F64ConvertI64U => 5,
        I64ExtendI32S | I64ExtendI32U | F32DemoteF64 => 5,
        F32Neg | F32Abs | F64Neg | F64Abs | MemoryCopy { .. } => 4,
        F32Copysign | F64Copysign | F64Eq | MemoryFill { .. } => 3,
        I32RemU | I32RemS | I64RemU | I64RemS | I32DivU | I32DivS | I64DivU | I64DivS => 3,
        I32Load { .. } | I64Load { .. } | F32Load { .. } | F64Load { .. } => 3,
        I32Load8S { .. } | I32Load8U { .. } | I32Load16S { .. } | I32Load16U { .. } => 3,
        I64Load8S { .. } | I64Load8U { .. } | I64Load16S { .. } | I64Load16U { .. } => 3,
        I64Load32S { .. } | I64Load32U { .. } => 3,
        I32TruncSatF32S | I32TruncSatF32U | I32TruncSatF64S | I32TruncSatF64U => 3,
        I64TruncSatF32S | I64TruncSatF32U | I64TruncSatF64S | I64TruncSatF64U => 3,
        GlobalGet { .. } | MemorySize { .. } | Select | I32Popcnt | I64Popcnt => 2,
        I32Store { .. } | I32Store16 { .. } | I32Store8 { .. } | F32Store { .. } => 2,
        I64Store { .. } | I64Store32 { .. } | I64Store16 { .. } | I64Store8 { .. } | F64Store { .. } => 2,
        I32Eqz | I32Eq | I32Ne | I32LtS | I32LtU | I32GtS | I32GtU => 2,
        I32LeS | I32LeU | I32GeS | I32GeU => 2,
        I64Eqz | I64Eq | I64Ne | I64LtS | I64LtU | I64GtS | I64GtU => 2,
        I64LeS | I64LeU | I64GeS | I64GeU => 2,
        F32Eq | F32Ne | F32Lt | F32Gt | F32Le | F32Ge => 2,
        F64Ne | F64Lt | F64Gt | F64Le | F64Ge => 2,
        F32Ceil | F64Ceil | F32Floor | F64Floor | F32Sqrt | F64Sqrt | F32Trunc | F64Trunc => 2,
        I32ReinterpretF32 | I64ReinterpretF64 | F32ReinterpretI32 | F64ReinterpretI64 => 2,
        I32WrapI64 | I32Extend8S | I32Extend16S | I64Extend8S | I64Extend16S | I64Extend32S => 2,
        F64PromoteF32 => 2,
        _ => 1,
    }
}

/// The name of an operator that passes wasm validation and is refused all the same: tables never change.
pub(super) fn unsupported(op: &Operator<'_>) -> Option<&'static str> {
    match op {
        Operator::TableGrow { .. } => Some("table.grow"),
        Operator::TableSet { .. } => Some("table.set"),
        Operator::TableFill { .. } => Some("table.fill"),
        Operator::TableCopy { .. } => Some("table.copy"),
        Operator::TableInit { .. } => Some("table.init"),
        _ => None,
    }
}
