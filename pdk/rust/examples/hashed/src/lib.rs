//! Hashes a text column regardless of case and drops the rows that a condition
//! does not hold for. Kernels of the host do both: no cell enters the plugin.

use leat::{From, Input, Json};

fn plan(p: &mut leat::Plan) -> Result<(), String> {
    let c = p.text_column("column")?;
    let lower = p.kernel("case", Json::object([("to", "lower".into())]), &[Input::Column(c)]);
    let hash = p.kernel("hash", Json::object([("algorithm", "md5".into())]), &[Input::Kernel(lower)]);
    let all: Vec<Input> = (0..p.table.columns.len()).map(Input::Column).collect();
    let source = p.config.get("where").clone();
    let keep = p.kernel("expression", Json::object([("source", source), ("as", "b".into())]), &all);
    let t = p.keep_all();
    t.columns[c].1 = From::Kernel(hash);
    t.chosen_by = Some(keep);
    Ok(())
}

leat::transform!(plan);
