//! Makes a row of each word of a text column, in the table NAME_words beside
//! the source table. A change of words shows as new rows: use it for tables
//! that are only inserted into.

use leat::{Cell, Field, From};

fn plan(p: &mut leat::Plan) -> Result<(), String> {
    let c = p.text_column("column")?;
    let (text, word) = (p.need(c), p.compute("u"));
    p.keep_all();
    let key = p.table.columns.iter().enumerate().filter(|(_, c)| c.key > 0);
    let mut columns: Vec<_> = key.map(|(i, c)| (Field { key: 0, ..c.clone() }, From::Column(i))).collect();
    columns.push((Field::new("word", "u", "text"), From::Computed(word)));
    let name = format!("{}_words", p.table.name);
    p.add_target(&name).columns = columns;
    p.on_batch(move |b, o| {
        for row in 0..b.rows() {
            o.emit(row, 0);
            o.column(word).push_null(); // the first table takes no word
            if let Cell::Value(v) = b.column(text).text(row) {
                for w in v.split(' ').filter(|w| !w.is_empty()) {
                    o.emit(row, 1);
                    o.column(word).push_text(w);
                }
            }
        }
        Ok(())
    });
    Ok(())
}

leat::transform!(plan);
