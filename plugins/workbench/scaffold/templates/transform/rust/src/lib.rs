//! Replaces the values of text columns by one text.

/// Called once for each version of each table. It says what becomes of the
/// table and which columns are needed for that: no other enters the plugin.
fn plan(p: &mut leat::Plan) -> Result<(), String> {
    // The settings are already valid against config.schema.json.
    let with = match p.config.get("with") {
        leat::Json::Text(text) => text.clone(),
        _ => "***".to_string(),
    };
    let names: Vec<String> = p.config.get("columns").list().iter().map(|name| name.text().to_string()).collect();
    p.keep_all(); // every column as it is; from here on, changes
    for name in names {
        let i = match p.table.find(&name) {
            Some(i) => i,
            None => return Err(format!("table {} has no column {}: correct columns, or leave the table out under tables of the pipeline file", p.table.name, name)),
        };
        if p.table.columns[i].key > 0 {
            return Err(format!("column {} of table {} is part of the key: one text for all would make one row of all", name, p.table.name));
        }
        if p.table.columns[i].format != "u" {
            return Err(format!("column {} of table {} is not text", name, p.table.name));
        }
        // The kit calls it for values only: null stays null, and what the
        // source did not send stays unchanged.
        let with = with.clone();
        p.rewrite(i, move |_value, out| {
            out.push_str(&with);
            Ok(())
        });
    }
    Ok(())
}

leat::transform!(plan);
