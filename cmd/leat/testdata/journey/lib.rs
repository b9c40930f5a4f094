//! Writes customers in upper case, drops orders of a negative amount and makes a
//! row of each tag.

use leat::{Cell, Field, From};

fn plan(p: &mut leat::Plan) -> Result<(), String> {
    let find = |p: &leat::Plan, name: &str| p.table.find(name).ok_or_else(|| "this is for tables with the columns id, customer, amount and tags".to_string());
    let (id, customer, amount, tags) = (find(p, "id")?, find(p, "customer")?, find(p, "amount")?, find(p, "tags")?);
    p.keep_all();
    p.filters = true;
    p.rewrite(customer, |value, out| {
        if value.is_empty() {
            return Err("the customer has no name".into());
        }
        out.push_str(&value.to_uppercase());
        Ok(())
    });
    let (money, list, tag) = (p.need(amount), p.need(tags), p.compute("u"));
    let mut key = p.table.columns[id].clone();
    key.key = 0;
    let name = format!("{}_tags", p.table.name);
    p.add_target(&name).columns = vec![(key, From::Column(id)), (Field::new("tag", "u", "text"), From::Computed(tag))];
    p.on_batch(move |b, o| {
        o.select();
        for row in 0..b.rows() {
            if let Cell::Value(v) = b.column(money).get::<i64>(row) {
                if v < 0 {
                    continue;
                }
            }
            o.emit(row, 0);
            o.column(tag).push_null();
            if let Cell::Value(v) = b.column(list).text(row) {
                for one in v.split(',') {
                    o.emit(row, 1);
                    o.column(tag).push_text(one);
                }
            }
        }
        Ok(())
    });
    Ok(())
}

leat::transform!(plan);
