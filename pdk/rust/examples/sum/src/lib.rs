//! Adds two bigint columns into a new one; an overflow fails its row.

use leat::{Cell, Field, From};

fn plan(p: &mut leat::Plan) -> Result<(), String> {
    let mut bigint = |setting: &str| {
        let name = p.config.get(setting).text().to_string();
        match p.table.find(&name) {
            Some(i) if p.table.columns[i].format == "l" => Ok(p.need(i)),
            _ => Err(format!("there is no bigint column {}", name)),
        }
    };
    let (a, b) = (bigint("a")?, bigint("b")?);
    let sum = p.compute("l");
    let into = Field::new(p.config.get("into").text(), "l", "int8");
    p.keep_all().columns.push((into, From::Computed(sum)));
    p.on_batch(move |batch, o| {
        for row in 0..batch.rows() {
            match (batch.column(a).get::<i64>(row), batch.column(b).get::<i64>(row)) {
                (Cell::Value(x), Cell::Value(y)) => {
                    if x.checked_add(y).is_none() {
                        o.fail(row, "the sum is out of range for bigint");
                    }
                    o.column(sum).push(x.wrapping_add(y));
                }
                (Cell::Absent, _) | (_, Cell::Absent) => o.column(sum).push_absent(),
                _ => o.column(sum).push_null(),
            }
        }
        Ok(())
    });
    Ok(())
}

leat::transform!(plan);
