//! Section 6: destinations, and the SQL capability of section 7.

use crate::exports::host;
use crate::json::Json;

/// Why a call of a destination failed.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub message: String,
    /// The number of the host's error behind this one, 0 for none.
    pub cause: i64,
    /// A class of section 7 for an error of the plugin's own.
    pub class: Option<&'static str>,
}

impl Refusal {
    pub fn new(message: impl Into<String>) -> Refusal {
        Refusal { message: message.into(), cause: 0, class: None }
    }

    pub(crate) fn json(&self) -> Json {
        let mut members = vec![("message".to_string(), (&*self.message).into())];
        if self.cause != 0 {
            members.push(("cause".into(), self.cause.into()));
        }
        if let Some(class) = self.class {
            members.push(("class".into(), class.into()));
        }
        Json::Object(members)
    }
}

impl std::convert::From<String> for Refusal {
    fn from(message: String) -> Refusal {
        Refusal::new(message)
    }
}

/// The `ok` of a reply; an empty object where the interface asks for nothing.
pub type Reply = Result<Json, Refusal>;

/// A destination: each call takes the request and returns the `ok` of its
/// reply, as section 6 gives them.
pub trait Destination {
    fn open(&mut self, request: &Json) -> Reply;
    fn plan(&mut self, request: &Json) -> Reply;
    fn write(&mut self, request: &Json) -> Reply;
    fn commit(&mut self, request: &Json) -> Reply;
    fn checkpoint(&mut self, request: &Json) -> Reply;
    fn rollback(&mut self, request: &Json) -> Reply;
    fn close(&mut self, request: &Json) -> Reply;
}

/// The database behind the capability `sql`.
pub struct Sql;

impl Sql {
    pub fn exec(sql: &str) -> Reply {
        ask(host::sql_exec, &Json::object([("sql", sql.into())]))
    }

    pub fn query(sql: &str) -> Reply {
        ask(host::sql_query, &Json::object([("sql", sql.into())]))
    }

    /// Has the host move the rows of a batch, see `sql_ingest`.
    pub fn ingest(request: &Json) -> Reply {
        ask(host::sql_ingest, request)
    }

    pub fn begin() -> Reply {
        ask(host::sql_begin, &Json::object([]))
    }

    pub fn commit() -> Reply {
        ask(host::sql_commit, &Json::object([]))
    }

    pub fn rollback() -> Reply {
        ask(host::sql_rollback, &Json::object([]))
    }
}

fn ask(function: unsafe extern "C" fn(*const u8, u32) -> u32, request: &Json) -> Reply {
    let mut text = String::new();
    request.write(&mut text);
    let mut reply = vec![0u8; unsafe { function(text.as_ptr(), text.len() as u32) } as usize];
    unsafe { host::reply(reply.as_mut_ptr(), reply.len() as u32) };
    let reply = Json::parse(&String::from_utf8_lossy(&reply))?;
    match reply.get("error") {
        Json::Null => Ok(reply.get("ok").clone()),
        e => Err(Refusal { message: e.get("message").text().into(), cause: e.get("number").int().unwrap_or(0), class: None }),
    }
}
