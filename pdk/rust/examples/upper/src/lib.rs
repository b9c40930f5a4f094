//! Writes the ASCII letters of a text column in upper case.

fn plan(p: &mut leat::Plan) -> Result<(), String> {
    let c = p.text_column("column")?;
    p.keep_all();
    p.rewrite(c, |value, out| {
        out.push_str(value);
        out.make_ascii_uppercase();
        Ok(())
    });
    Ok(())
}

leat::transform!(plan);
