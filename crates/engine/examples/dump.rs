use tract_onnx::prelude::*;
fn main() -> TractResult<()> {
    let path = std::env::args().nth(1).unwrap();
    let m = tract_onnx::onnx().model_for_path(path)?.into_typed()?.into_decluttered()?;
    for id in m.eval_order()? {
        let n = m.node(id);
        if n.op.name() == "Const" { continue; }
        println!("{:4} {:30} {:?} <- {:?} | {}", n.id, n.op.name(), n.outputs.iter().map(|o| format!("{:?}", o.fact)).collect::<Vec<_>>(), n.inputs.iter().map(|i| i.node).collect::<Vec<_>>(), n.op.info()?.join(" ; "));
    }
    Ok(())
}
