//! Turns array literals of PostgreSQL, such as {1,NULL,"a b"}, into JSON. A
//! row whose literal is broken fails alone.

use std::fmt::Write;

fn plan(p: &mut leat::Plan) -> Result<(), String> {
    let c = p.text_column("column")?;
    let column = &mut p.keep_all().columns[c].0;
    let numbers = ["int2[]", "int4[]", "int8[]"].contains(&column.pg_type.get("name").text());
    column.pg_type = leat::Field::new("", "u", "text").pg_type;
    p.rewrite(c, move |value, out| {
        let mut p = Parser { rest: value, numbers, out };
        match p.array(1) {
            Some(()) if p.rest.is_empty() => Ok(()),
            _ => Err("the array literal is broken".into()),
        }
    });
    Ok(())
}

leat::transform!(plan);

struct Parser<'a> {
    rest: &'a str,
    numbers: bool,
    out: &'a mut String,
}

impl Parser<'_> {
    fn take(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn array(&mut self, depth: u32) -> Option<()> {
        if depth > 6 || !self.take('{') {
            return None;
        }
        self.out.push('[');
        if !self.take('}') {
            loop {
                match self.rest.as_bytes().first()? {
                    b'{' => self.array(depth + 1)?,
                    b'"' => self.quoted()?,
                    _ => self.bare()?,
                }
                if self.take('}') {
                    break;
                }
                if !self.take(',') {
                    return None;
                }
                self.out.push(',');
            }
        }
        self.out.push(']');
        Some(())
    }

    fn quoted(&mut self) -> Option<()> {
        self.out.push('"');
        let mut chars = self.rest[1..].char_indices();
        loop {
            match chars.next()? {
                (i, '"') => {
                    self.rest = &self.rest[i + 2..];
                    self.out.push('"');
                    return Some(());
                }
                (_, '\\') => {
                    let c = chars.next()?.1;
                    self.char(c);
                }
                (_, c) => self.char(c),
            }
        }
    }

    fn bare(&mut self) -> Option<()> {
        let end = self.rest.find(|c| matches!(c, ',' | '}' | '"' | '{' | '\\'))?;
        if end == 0 || !matches!(self.rest.as_bytes()[end], b',' | b'}') {
            return None;
        }
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        let digits = text.strip_prefix('-').unwrap_or(text);
        if text == "NULL" {
            self.out.push_str("null");
        } else if self.numbers && !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()) {
            self.out.push_str(text);
        } else {
            self.out.push('"');
            text.chars().for_each(|c| self.char(c));
            self.out.push('"');
        }
        Some(())
    }

    fn char(&mut self, c: char) {
        if c == '"' || c == '\\' {
            self.out.push('\\');
        }
        if c < ' ' {
            let _ = write!(self.out, "\\u{:04x}", c as u32);
        } else {
            self.out.push(c);
        }
    }
}
