//! Section 6: destinations.

use crate::host::{call, Failure, SQL_INGEST};
use crate::json::Json;
use crate::plan::Table;

/// What a destination opens with.
pub struct Open {
    /// The name of the pipeline, the scope of its checkpoints.
    pub pipeline: String,
    /// The plugin's table of the pipeline file.
    pub config: Json,
}

/// Tells the host what a destination is. Whatever is not set is false.
#[derive(Default)]
pub struct Info {
    /// The SQL dialect that the destination writes.
    pub driver: String,
    /// Rows of one key in one batch may be merged into the last state before
    /// `write`: the destination keeps no history.
    pub compacts: bool,
    /// Absent cells are to be filled from earlier rows of the batch before
    /// `write`: the destination keeps every state of a row.
    pub fills: bool,
    /// A table cannot be changed in a transaction with rows: the host then has
    /// all changes of a delivery made before its rows.
    pub changes_apart: bool,
    /// A truncate takes back the rows of a table, so that an interrupted load
    /// may begin anew.
    pub empties: bool,
}

/// A column of the target table.
pub struct TargetColumn {
    pub name: String,
    pub sql_type: String,
    /// The source column's name, empty for what the destination adds.
    pub source: String,
    /// What the type cannot hold, for `leat plan` to show.
    pub losses: Vec<String>,
}

/// How a table lands.
#[derive(Default)]
pub struct Landing {
    /// The target as it stands in SQL: quoted and qualified.
    pub table: String,
    pub columns: Vec<TargetColumn>,
    /// The DDL that the first `write` of this plan would run.
    pub statements: Vec<String>,
    /// Why the rows that are there have to be loaded again, empty if they have
    /// not.
    pub reload: String,
    /// A SELECT of the live rows with the source's columns in their order.
    pub read: String,
}

impl Landing {
    /// Adds a column that holds one of the source without loss.
    pub fn column(&mut self, name: &str, sql_type: &str) {
        self.columns.push(TargetColumn { name: name.into(), sql_type: sql_type.into(), source: name.into(), losses: Vec::new() });
    }

    fn json(&self) -> Json {
        let columns = self.columns.iter().map(|c| {
            Json::object([("name", (&*c.name).into()), ("type", (&*c.sql_type).into()), ("source", (&*c.source).into()), ("losses", texts(&c.losses))])
        });
        Json::object([
            ("table", (&*self.table).into()),
            ("columns", Json::List(columns.collect())),
            ("statements", texts(&self.statements)),
            ("reload", (&*self.reload).into()),
            ("read", (&*self.read).into()),
        ])
    }
}

fn texts(list: &[String]) -> Json {
    Json::List(list.iter().map(|s| (&**s).into()).collect())
}

/// An entry that a destination keeps beside its rows. In `commit` a value of
/// `None` removes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    pub key: String,
    pub value: Option<String>,
}

/// The batch of one `write`: a handle, and what SQL needs to know of the rows.
pub struct WriteBatch {
    pub handle: i64,
    pub rows: usize,
    /// The columns with an absent cell in a row that is more than an identity.
    pub absent: Vec<usize>,
    /// What is reached with this batch, in Leat's text form. A batch without
    /// rows has one only where the table came to its shape there.
    pub position: String,
    ops: Json,
}

impl WriteBatch {
    fn new(b: &Json) -> WriteBatch {
        WriteBatch {
            handle: b.get("handle").int().unwrap_or(0),
            rows: b.get("rows").int().unwrap_or(0) as usize,
            absent: b.get("absent").list().iter().filter_map(|i| i.int()).map(|i| i as usize).collect(),
            position: b.get("position").text().into(),
            ops: b.get("ops").clone(),
        }
    }

    /// How many rows have an operation: I, U, D, R, K or T.
    pub fn count(&self, op: char) -> i64 {
        self.ops.get(op.encode_utf8(&mut [0; 4])).int().unwrap_or(0)
    }

    /// Whether the batch has no rows but the place in the log where the table
    /// came to its shape: the rows before it have been written.
    pub fn is_change(&self) -> bool {
        self.rows == 0 && !self.position.starts_with("0:0/0+")
    }

    /// Whether the batch is a TRUNCATE of its table.
    pub fn is_truncate(&self) -> bool {
        self.count('T') > 0
    }

    /// Has the host move the rows into a table at native speed; returns how many
    /// it moved.
    pub fn ingest(&self, into: &Ingest) -> Result<i64, Failure> {
        let request = Json::object([("batch", self.handle.into()), ("ingest", into.json())]);
        Ok(call(SQL_INGEST, &request)?.get("rows").int().unwrap_or(0))
    }
}

/// Where the rows of a batch go and which columns they have there.
#[derive(Default)]
pub struct Ingest {
    /// The target as it stands in SQL.
    pub table: String,
    /// Makes the table anew as a temporary one of this connection.
    pub temporary: bool,
    pub columns: Vec<IngestColumn>,
    /// Keeps only rows whose operation is in this text ("IUR"); empty keeps all.
    pub ops: String,
}

impl Ingest {
    /// Adds a column: its name, its SQL type and what fills it.
    pub fn column(&mut self, name: &str, sql_type: &str, from: Source) {
        self.columns.push(IngestColumn { name: name.into(), sql_type: sql_type.into(), from, lossy: Vec::new() });
    }

    fn json(&self) -> Json {
        let columns = Json::List(self.columns.iter().map(IngestColumn::json).collect());
        Json::object([("table", (&*self.table).into()), ("temporary", Json::Bool(self.temporary)), ("columns", columns), ("ops", (&*self.ops).into())])
    }
}

/// One column of an ingested table. The name is not quoted.
pub struct IngestColumn {
    pub name: String,
    pub sql_type: String,
    pub from: Source,
    /// The losses that the plan declared: "nan_to_null", "infinity_to_null".
    pub lossy: Vec<String>,
}

impl IngestColumn {
    fn json(&self) -> Json {
        let (from, more): (&str, Option<(&str, Json)>) = match &self.from {
            Source::Column(i) => ("column", Some(("column", (*i as i64).into()))),
            Source::Absent(i) => ("absent", Some(("column", (*i as i64).into()))),
            Source::Constant(text) => ("constant", Some(("value", (&**text).into()))),
            Source::Op => ("op", None),
            Source::Lsn => ("lsn", None),
            Source::Ordinal => ("ordinal", None),
            Source::CommitTime => ("commit_time", None),
            Source::Row => ("row", None),
            Source::RowId => ("row_id", None),
            Source::IngestTime => ("ingest_time", None),
            Source::Origin => ("origin", None),
        };
        let mut members: Vec<(String, Json)> = vec![("name".into(), (&*self.name).into()), ("type".into(), (&*self.sql_type).into()), ("from".into(), from.into())];
        if let Some((key, value)) = more {
            members.push((key.to_string(), value));
        }
        if !self.lossy.is_empty() {
            members.push(("lossy".into(), texts(&self.lossy)));
        }
        Json::Object(members)
    }
}

/// What fills a column of an ingested table.
pub enum Source {
    /// Column i of the batch.
    Column(usize),
    /// Whether the source did not send column i.
    Absent(usize),
    Constant(String),
    /// One of I U D R K.
    Op,
    Lsn,
    Ordinal,
    CommitTime,
    /// The 0-based number of the row.
    Row,
    /// The SHA-256 of the whole row, in hexadecimal.
    RowId,
    /// When Leat read the batch.
    IngestTime,
    /// The number of the row whose key the database knows this row by before the
    /// batch: its own, or the first old key of several moves.
    Origin,
}

/// Decides how batches land. Calls come one at a time: `open`, then any of the
/// others, then `close`. What was written since the last `commit` becomes
/// durable together with its entries, or not at all. After a failure the host
/// calls `rollback` before anything else.
pub trait Destination {
    /// What `write` needs to know of a planned table.
    type State: 'static;

    fn open(&mut self, o: &Open) -> Result<Info, Failure>;
    /// Decides how a table lands. It writes nothing.
    fn plan(&mut self, table: &Table) -> Result<(Landing, Self::State), Failure>;
    /// Brings the rows of a batch into the current transaction and opens it if
    /// there is none.
    fn write(&mut self, table: &Self::State, batch: &WriteBatch) -> Result<(), Failure>;
    /// Stores the entries in the current transaction, opening one if there is
    /// none, and commits it.
    fn commit(&mut self, entries: &[Checkpoint]) -> Result<(), Failure>;
    /// Reads back what `commit` has stored.
    fn checkpoint(&mut self) -> Result<Vec<Checkpoint>, Failure>;
    /// Takes back what was written since the last `commit`, if anything.
    fn rollback(&mut self) -> Result<(), Failure>;
    fn close(&mut self) -> Result<(), Failure>;
}

/// The destination of a module with its plans by the host's number.
pub struct Held<D: Destination> {
    destination: D,
    plans: Vec<(i64, D::State)>,
}

impl<D: Destination + Default> Default for Held<D> {
    fn default() -> Held<D> {
        Held { destination: D::default(), plans: Vec::new() }
    }
}

/// What the calls of section 6 ask for; `ok` of the reply.
type Answer = Result<Json, Failure>;

impl<D: Destination> Held<D> {
    pub fn open(&mut self, request: &Json) -> Answer {
        let info = self.destination.open(&Open { pipeline: request.get("pipeline").text().into(), config: request.get("config").clone() })?;
        Ok(Json::object([
            ("driver", (&*info.driver).into()),
            ("compacts", Json::Bool(info.compacts)),
            ("fills", Json::Bool(info.fills)),
            ("changes_apart", Json::Bool(info.changes_apart)),
            ("empties", Json::Bool(info.empties)),
        ]))
    }

    pub fn plan(&mut self, request: &Json) -> Answer {
        let (landing, state) = self.destination.plan(&Table::new(request.get("schema")))?;
        self.plans.push((request.get("plan").int().unwrap_or(0), state));
        Ok(landing.json())
    }

    pub fn write(&mut self, request: &Json) -> Answer {
        let number = request.get("plan").int().unwrap_or(0);
        let state = match self.plans.iter().rev().find(|(n, _)| *n == number) {
            Some((_, state)) => state,
            None => return Err(Failure::new(format!("no plan has number {}", number))),
        };
        self.destination.write(state, &WriteBatch::new(request.get("batch")))?;
        Ok(Json::object([]))
    }

    pub fn commit(&mut self, request: &Json) -> Answer {
        let entry = |e: &Json| Checkpoint {
            key: e.get("key").text().into(),
            value: match e.get("value") {
                Json::Text(v) => Some(v.clone()),
                _ => None,
            },
        };
        let entries: Vec<Checkpoint> = request.get("entries").list().iter().map(entry).collect();
        self.destination.commit(&entries)?;
        Ok(Json::object([]))
    }

    pub fn checkpoint(&mut self, _request: &Json) -> Answer {
        let entries = self.destination.checkpoint()?.into_iter().map(|e| {
            let value = e.value.map_or(Json::Null, Json::Text);
            Json::object([("key", Json::Text(e.key)), ("value", value)])
        });
        Ok(Json::object([("entries", Json::List(entries.collect()))]))
    }

    pub fn rollback(&mut self, _request: &Json) -> Answer {
        self.destination.rollback()?;
        Ok(Json::object([]))
    }

    pub fn close(&mut self, _request: &Json) -> Answer {
        self.destination.close()?;
        Ok(Json::object([]))
    }
}
