//! Drops the inserts and updates in which a text column has a value.

use leat::Cell;

fn plan(p: &mut leat::Plan) -> Result<(), String> {
    let c = p.text_column("column")?;
    let unwanted = p.config.get("value").text().to_string();
    p.keep_all();
    p.filters = true;
    let column = p.need(c);
    p.on_batch(move |b, o| {
        o.select();
        for row in 0..b.rows() {
            if b.column(column).text(row) != Cell::Value(&unwanted) {
                o.emit(row, 0);
            }
        }
        Ok(())
    });
    Ok(())
}

leat::transform!(plan);
