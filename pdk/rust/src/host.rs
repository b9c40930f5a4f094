//! Section 7: what the host does for a plugin. A function links only if the
//! pipeline grants its capability, and only what a plugin uses is imported.

use crate::exports::host;
use crate::json::Json;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Class {
    Connection,
    Data,
    Locked,
    Resource,
    Permission,
    Schema,
    Internal,
}

const CLASSES: [(Class, &str); 7] = [
    (Class::Connection, "connection"),
    (Class::Data, "data"),
    (Class::Locked, "locked"),
    (Class::Resource, "resource"),
    (Class::Permission, "permission"),
    (Class::Schema, "schema"),
    (Class::Internal, "internal"),
];

/// Why a host function or a call of a destination failed. Passed on by `?`, the
/// host's error reaches the engine as it is.
#[derive(Clone, Debug, Default)]
pub struct Failure {
    pub message: String,
    pub class: Option<Class>,
    /// SQLSTATE or the driver's own code, empty where there is none.
    pub code: String,
    pub hint: String,
    cause: i64, // by which the host knows the error, 0 for the plugin's own
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), ..Failure::default() }
    }

    /// A failure of the plugin's own with a class: `Connection` has the delivery
    /// made again, `Data` has the host look for the rows that cause it.
    pub fn of(class: Class, message: impl Into<String>) -> Failure {
        Failure { class: Some(class), ..Failure::new(message) }
    }

    fn read(e: &Json) -> Failure {
        let class = e.get("class").text();
        Failure {
            message: e.get("message").text().into(),
            class: CLASSES.iter().find(|(_, name)| *name == class).map(|(c, _)| *c),
            code: e.get("code").text().into(),
            hint: e.get("hint").text().into(),
            cause: e.get("number").int().unwrap_or(0),
        }
    }

    pub(crate) fn json(&self) -> Json {
        let mut members = vec![("message".to_string(), (&*self.message).into())];
        if self.cause != 0 {
            members.push(("cause".into(), self.cause.into()));
        } else if let Some(class) = self.class {
            let name = CLASSES.iter().find(|(c, _)| *c == class).map_or("", |(_, name)| *name);
            members.push(("class".into(), name.into()));
        }
        Json::Object(members)
    }
}

impl std::convert::From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::new(message)
    }
}

impl std::convert::From<&str> for Failure {
    fn from(message: &str) -> Failure {
        Failure::new(message)
    }
}

/// So that `?` works in a transform, whose errors are texts.
impl std::convert::From<Failure> for String {
    fn from(f: Failure) -> String {
        f.message
    }
}

/// A host function: `(ptr, len) -> len of the reply`.
pub(crate) type Function = unsafe extern "C" fn(*const u8, u32) -> u32;

pub(crate) const SQL_INGEST: Function = host::sql_ingest;

/// Sends a request and returns the `ok` of the reply.
pub(crate) fn call(function: Function, request: &Json) -> Result<Json, Failure> {
    let mut text = String::new();
    request.write(&mut text);
    let mut reply = vec![0u8; unsafe { function(text.as_ptr(), text.len() as u32) } as usize];
    unsafe { host::reply(reply.as_mut_ptr(), reply.len() as u32) };
    let reply = Json::parse(&String::from_utf8_lossy(&reply))?;
    match reply.get("error") {
        Json::Null => Ok(reply.get("ok").clone()),
        e => Err(Failure::read(e)),
    }
}

/// The database of a destination, the capability `sql`.
pub mod sql {
    use super::*;

    /// A small result in text; `None` is NULL.
    pub struct Rows {
        pub columns: Vec<String>,
        pub rows: Vec<Vec<Option<String>>>,
    }

    /// Runs one or more statements; returns the rows that the last one affected.
    pub fn exec(sql: &str) -> Result<i64, Failure> {
        Ok(call(host::sql_exec, &Json::object([("sql", sql.into())]))?.get("affected").int().unwrap_or(0))
    }

    /// Runs one statement with a small result: look-ups, checkpoints, counts.
    pub fn query(sql: &str) -> Result<Rows, Failure> {
        let ok = call(host::sql_query, &Json::object([("sql", sql.into())]))?;
        let cell = |c: &Json| match c {
            Json::Text(s) => Some(s.clone()),
            _ => None,
        };
        Ok(Rows {
            columns: ok.get("columns").list().iter().map(|c| c.text().into()).collect(),
            rows: ok.get("rows").list().iter().map(|r| r.list().iter().map(cell).collect()).collect(),
        })
    }

    /// Opens a transaction. Without it each statement commits by itself.
    pub fn begin() -> Result<(), Failure> {
        call(host::sql_begin, &Json::object([])).map(|_| ())
    }

    pub fn commit() -> Result<(), Failure> {
        call(host::sql_commit, &Json::object([])).map(|_| ())
    }

    /// Takes the open transaction back; without one it does nothing.
    pub fn rollback() -> Result<(), Failure> {
        call(host::sql_rollback, &Json::object([])).map(|_| ())
    }
}

/// Servers that the pipeline allows, the capability `http`.
pub mod http {
    use super::*;

    #[derive(Default)]
    pub struct Request {
        pub method: String,
        pub url: String,
        pub headers: Vec<(String, String)>,
        pub body: Vec<u8>,
    }

    /// The names of headers are in lower case.
    pub struct Response {
        pub status: i64,
        pub headers: Vec<(String, String)>,
        pub body: Vec<u8>,
    }

    /// Sends a request. Any status is a response. A batch may be processed again
    /// after a failure: let a request that is repeated do no harm.
    pub fn send(r: &Request) -> Result<Response, Failure> {
        let headers = Json::Object(r.headers.iter().map(|(k, v)| (k.clone(), (&**v).into())).collect());
        let body = match std::str::from_utf8(&r.body) {
            Ok(text) => ("body", text.into()),
            Err(_) => ("body_base64", Json::Text(base64::encode(&r.body))),
        };
        let ok = call(host::http_request, &Json::object([("method", (&*r.method).into()), ("url", (&*r.url).into()), ("headers", headers), body]))?;
        let headers = match ok.get("headers") {
            Json::Object(members) => members.iter().map(|(k, v)| (k.clone(), v.text().into())).collect(),
            _ => Vec::new(),
        };
        let body = match ok.get("body_base64") {
            Json::Text(data) => base64::decode(data),
            _ => ok.get("body").text().as_bytes().to_vec(),
        };
        Ok(Response { status: ok.get("status").int().unwrap_or(0), headers, body })
    }
}

fn key(key: &str) -> Json {
    Json::object([("key", key.into())])
}

fn value(ok: &Json) -> Option<Vec<u8>> {
    match ok.get("value") {
        Json::Text(data) => Some(base64::decode(data)),
        _ => None,
    }
}

fn keys(ok: &Json) -> Vec<String> {
    ok.get("keys").list().iter().map(|k| k.text().into()).collect()
}

/// The plugin's own space of keys and values, the capability `kv`. A write is
/// durable at once, not with the batch: a batch that is processed again sees it.
pub mod kv {
    use super::*;

    pub fn get(name: &str) -> Result<Option<Vec<u8>>, Failure> {
        Ok(value(&call(host::kv_get, &key(name))?))
    }

    pub fn put(name: &str, data: &[u8]) -> Result<(), Failure> {
        call(host::kv_put, &Json::object([("key", name.into()), ("value", Json::Text(base64::encode(data)))])).map(|_| ())
    }

    /// Removes a value; it is no error where there is none.
    pub fn delete(name: &str) -> Result<(), Failure> {
        call(host::kv_delete, &key(name)).map(|_| ())
    }

    /// The keys that start with prefix, at most 10,000.
    pub fn list(prefix: &str) -> Result<Vec<String>, Failure> {
        Ok(keys(&call(host::kv_list, &Json::object([("prefix", prefix.into())]))?))
    }
}

/// Files of the folder that the pipeline grants, the capability `blob`. Names
/// are slash-separated.
pub mod blob {
    use super::*;

    pub fn get(name: &str) -> Result<Option<Vec<u8>>, Failure> {
        Ok(value(&call(host::blob_get, &key(name))?))
    }

    /// Writes a file whole.
    pub fn put(name: &str, data: &[u8]) -> Result<(), Failure> {
        call(host::blob_put, &Json::object([("key", name.into()), ("value", Json::Text(base64::encode(data)))])).map(|_| ())
    }

    /// Removes a file; it is no error where there is none.
    pub fn delete(name: &str) -> Result<(), Failure> {
        call(host::blob_delete, &key(name)).map(|_| ())
    }

    /// The files whose names start with prefix, at most 10,000.
    pub fn list(prefix: &str) -> Result<Vec<String>, Failure> {
        Ok(keys(&call(host::blob_list, &Json::object([("prefix", prefix.into())]))?))
    }
}

/// The time of day in microseconds since 1970, the capability `clock`. A batch
/// that is processed again sees another time.
pub fn now() -> i64 {
    unsafe { host::clock_now() }
}

/// Fills into with random bytes, the capability `random`.
pub fn random(into: &mut [u8]) {
    unsafe { host::random_fill(into.as_mut_ptr(), into.len() as u32) }
}

/// Bytes in JSON.
mod base64 {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    pub fn encode(data: &[u8]) -> String {
        let mut out = String::with_capacity((data.len() + 2) / 3 * 4);
        for part in data.chunks(3) {
            let byte = |i: usize| *part.get(i).unwrap_or(&0) as u32;
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for i in 0..4 {
                out.push(if i <= part.len() { DIGITS[(bits >> (18 - 6 * i) & 63) as usize] as char } else { '=' });
            }
        }
        out
    }

    /// The host's text is well formed.
    pub fn decode(text: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() / 4 * 3);
        let (mut bits, mut n) = (0u32, 0);
        for c in text.bytes() {
            if let Some(digit) = DIGITS.iter().position(|&d| d == c) {
                bits = bits << 6 | digit as u32;
                n += 6;
                if n >= 8 {
                    n -= 8;
                    out.push((bits >> n) as u8);
                }
            }
        }
        out
    }
}
