//! What is done to images.

use ic_nn_types::TensorType::*;

use super::Op;

#[test]
fn powers_are_pooled() {
    let op =
        |p: i64| Op::new("LpPool").int("p", p).ints("kernel_shape", &[2]).f32(&[1, 1, 3], &[3.0, -4.0, 0.0]);
    op(2).gives(&[1, 1, 2], &[5.0, 4.0]);
    op(1).gives(&[1, 1, 2], &[7.0, 4.0]);
    op(0).refuses(&["p 0"]);
    Op::new("LpPool").ints("kernel_shape", &[2]).f32(&[3], &[0.0; 3]).refuses(&["rank 1"]);
    Op::new("MaxPool").ints("kernel_shape", &[2]).f32(&[3], &[0.0; 3]).refuses(&["rank 1"]);
    Op::new("GlobalAveragePool").f32(&[3], &[0.0; 3]).refuses(&["rank 1"]);
}

#[test]
fn kernels_that_reach_beyond_are_refused() {
    let op = |k: i64| {
        Op::new("MaxPool")
            .ints("kernel_shape", &[k])
            .ints("dilations", &[2])
            .f32(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0])
    };
    op(2).gives(&[1, 1, 2], &[3.0, 4.0]);
    op(3).refuses(&["reaches over 5"]);
    let op = |shape: i64| {
        let op = Op::new("ConvTranspose").ints("strides", &[2]).ints("output_shape", &[shape]);
        op.f32(&[1, 1, 2], &[1.0, 2.0]).f32(&[1, 1, 1], &[3.0])
    };
    op(4).gives(&[1, 1, 4], &[3.0, 0.0, 6.0, 0.0]);
    op(2).refuses(&["output_shape"]);
}

#[test]
fn what_was_pooled_goes_back() {
    let op = |indices: &[f64]| {
        Op::new("MaxUnpool")
            .ranks(3)
            .ints("kernel_shape", &[2])
            .ints("strides", &[2])
            .f32(&[1, 1, 2], &[5.0, 7.0])
            .input(I64, &[1, 1, 2], indices)
    };
    op(&[1.0, 2.0]).gives(&[1, 1, 4], &[0.0, 5.0, 7.0, 0.0]);
    op(&[1.0, 2.0]).i64(&[1.0, 1.0, 5.0]).gives(&[1, 1, 5], &[0.0, 5.0, 7.0, 0.0, 0.0]);
    op(&[1.0, 2.0]).i64(&[1.0, 1.0, 3.0]).refuses(&["output_shape"]);
    for index in [4.0, -1.0] {
        let error = op(&[0.0, index]).run().unwrap_err();
        assert!(error.contains("into 4 elements"), "{error}");
    }
}

#[test]
fn old_models_grow_by_scales() {
    let op = |opset| Op::new("Upsample").opset(opset).text("mode", "nearest").f32(&[1, 1, 1, 2], &[1.0, 2.0]);
    op(9).f32(&[4], &[1.0, 1.0, 2.0, 2.0]).gives(&[1, 1, 2, 4], &[1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
    op(9).refuses(&["scales"]);
}

#[test]
fn grids_are_mapped() {
    let op = |corners: i64| {
        Op::new("AffineGrid")
            .ranks(4)
            .int("align_corners", corners)
            .f32(&[1, 2, 3], &[1.0, 0.0, 0.0, 0.0, 2.0, 1.0])
            .i64(&[1.0, 1.0, 2.0, 2.0])
    };
    op(1).gives(&[1, 2, 2, 2], &[-1.0, -1.0, 1.0, -1.0, -1.0, 3.0, 1.0, 3.0]);
    op(0).gives(&[1, 2, 2, 2], &[-0.5, 0.0, 0.5, 0.0, -0.5, 2.0, 0.5, 2.0]);
    let op = Op::new("AffineGrid").f32(&[1, 2, 3], &[0.0; 6]).i64(&[1.0, 1.0, -2.0, 2.0]);
    op.refuses(&["size"]);
}

#[test]
fn columns_add_up_to_an_image() {
    let op = |columns: &[f64]| {
        Op::new("Col2Im").ranks(3).f32(&[1, 2, columns.len() as u32 / 2], columns).i64(&[3.0]).i64(&[2.0])
    };
    op(&[1.0, 2.0, 10.0, 20.0]).gives(&[1, 1, 3], &[1.0, 12.0, 20.0]);
    op(&[1.0, 2.0]).refuses(&["columns"]);
    let op = Op::new("Col2Im").ranks(3).f32(&[1, 2, 2], &[0.0; 4]).i64(&[3.0]).i64(&[0.0]);
    op.refuses(&["block_shape"]);
}

#[test]
fn regions_are_pooled_between_pixels() {
    let op = |member: f64| {
        Op::new("RoiAlign")
            .text("coordinate_transformation_mode", "output_half_pixel")
            .int("sampling_ratio", 1)
            .f32(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0])
            .f32(&[1, 4], &[0.0, 0.0, 1.0, 1.0])
            .i64(&[member])
    };
    op(0.0).gives(&[1, 1, 1, 1], &[2.5]);
    let error = op(1.0).run().unwrap_err();
    assert!(error.contains("batch index 1"), "{error}");
    let op =
        Op::new("RoiAlign").f32(&[1, 1, 2, 2], &[0.0; 4]).f32(&[1, 4], &[0.0, 0.0, 1e30, 1e30]).i64(&[0.0]);
    let error = op.run().unwrap_err();
    assert!(error.contains("samples"), "{error}");
}

#[test]
fn kernels_are_deformed() {
    let op = |offset: &[f64]| {
        Op::new("DeformConv")
            .f32(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0])
            .f32(&[1, 1, 1, 1], &[2.0])
            .f32(&[1, 2, 2, 2], offset)
    };
    op(&[0.0; 8]).gives(&[1, 1, 2, 2], &[2.0, 4.0, 6.0, 8.0]);
    // Down by a half everywhere: half of each row and the next, nothing below the last.
    let down = [0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0];
    op(&down).f32(&[1], &[1.0]).gives(&[1, 1, 2, 2], &[5.0, 7.0, 4.0, 5.0]);
    op(&[f64::NAN; 8]).run().unwrap();
    op(&[0.0; 8]).f32(&[2], &[0.0; 2]).refuses(&["input 3"]);
    op(&[0.0; 8]).int("group", 0).refuses(&["groups"]);
}
