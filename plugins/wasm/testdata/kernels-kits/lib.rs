//! What testdata/kernels does, with the Rust kit.

use leat::{run_kernel, Cell, Column, From};

fn plan(p: &mut leat::Plan) -> Result<(), String> {
    let at = p.config.get("column").int().unwrap_or(0) as usize;
    let (field, kernel, parameters) = (p.table.columns[at].clone(), p.config.get("kernel").text().to_string(), p.config.get("parameters").clone());
    let (input, out) = (p.need(at), p.compute("u"));
    p.keep_all().columns[at].1 = From::Computed(out);
    p.on_batch(move |b, o| {
        let mut turned = Column::new("u");
        for row in 0..b.rows() {
            match b.column(input).text(row) {
                Cell::Value(v) => turned.push_text(&v.chars().rev().collect::<String>()),
                empty => turned.push_empty(empty),
            }
        }
        let r = run_kernel(&kernel, parameters.clone(), &[(&field, &turned.view())])?;
        if r.format != "u" {
            return Err(format!("the result has format {}", r.format));
        }
        for (row, message) in &r.failed {
            o.fail(*row, message);
        }
        for row in 0..b.rows() {
            match r.view().text(row) {
                Cell::Value(v) => o.column(out).push_text(v),
                empty => o.column(out).push_empty(empty),
            }
        }
        Ok(())
    });
    Ok(())
}

leat::transform!(plan);
