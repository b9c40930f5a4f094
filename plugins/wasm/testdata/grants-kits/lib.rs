//! What testdata/grants does, with the Rust kit.

use leat::{blob, http, kv, now, random};

fn act(text: &str) -> Result<String, leat::Failure> {
    let mut words = text.splitn(3, ' ');
    let mut word = || words.next().unwrap_or("");
    let (verb, key, data) = (word(), word(), word());
    let quoted = |v: Option<Vec<u8>>| format!("{:?}", String::from_utf8_lossy(&v.unwrap_or_default()));
    Ok(match verb {
        "get" => {
            let r = http::send(&http::Request { method: "GET".into(), url: key.into(), ..http::Request::default() })?;
            format!("{} {}0", r.status, String::from_utf8_lossy(&r.body))
        }
        "put" => {
            kv::put(key, data.as_bytes())?;
            "put".into()
        }
        "value" => quoted(kv::get(key)?),
        "keys" => format!("[{}]", kv::list(key)?.join(" ")),
        "write" => {
            blob::put(key, data.as_bytes())?;
            "written".into()
        }
        "read" => quoted(blob::get(key)?),
        "files" => format!("[{}]", blob::list(key)?.join(" ")),
        "now" => (1970 + now() / 31_556_952_000_000).to_string(),
        "random" => {
            let mut b = [0; 16];
            random(&mut b);
            b.iter().map(|b| format!("{:02x}", b)).collect()
        }
        "remove" => {
            kv::delete(key)?;
            blob::delete(key)?;
            "removed".into()
        }
        _ => text.into(),
    })
}

fn plan(p: &mut leat::Plan) -> Result<(), String> {
    p.keep_all();
    p.rewrite(1, |value, out| {
        out.push_str(&act(value).unwrap_or_else(|f| format!("error: {}", f.message)));
        Ok(())
    });
    Ok(())
}

leat::transform!(plan);
