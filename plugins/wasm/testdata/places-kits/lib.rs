//! Says where rows stand in the log, with the Rust kit.

use leat::{Cell, From};

fn plan(p: &mut leat::Plan) -> Result<(), String> {
    p.positions = p.config.get("asks").is_true() && p.features.iter().any(|f| f == "positions");
    let (input, out) = (p.need(1), p.compute("u"));
    p.keep_all().columns[1].1 = From::Computed(out);
    p.on_batch(move |b, o| {
        for row in 0..b.rows() {
            match b.column(input).text(row) {
                Cell::Value(v) => {
                    let at = b.place(row);
                    o.column(out).push_text(&format!("{} {}/{} {}", v, at.lsn, at.ordinal, at.commit_time));
                }
                empty => o.column(out).push_empty(empty),
            }
        }
        Ok(())
    });
    Ok(())
}

leat::transform!(plan);
