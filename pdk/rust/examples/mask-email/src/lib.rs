//! Keeps the first letter and the domain of an e-mail address.

fn plan(p: &mut leat::Plan) -> Result<(), String> {
    let c = p.text_column("column")?;
    p.keep_all();
    p.rewrite(c, |value, out| {
        match value.rfind('@') {
            Some(at) if at > 0 && value.is_char_boundary(1) => {
                out.push_str(&value[..1]);
                out.push_str("***");
                out.push_str(&value[at..]);
            }
            _ => out.push_str("***"), // no address, or no letter of one byte
        }
        Ok(())
    });
    Ok(())
}

leat::transform!(plan);
