//! Keeps the last state of every row in DuckDB.
//!
//! Requests and replies are the JSON of section 6 of the interface.

use leat::{Destination, Json, Refusal, Reply, Sql};
use std::collections::{HashMap, HashSet};

/// The one instance of a pipeline; its methods are called one at a time.
#[derive(Default)]
struct Plugin {
    prefix: String,
    pipeline: String,
    open: bool, // a transaction
    tables: HashMap<i64, Table>, // by the number of their plan
    ready: HashSet<String>,
    waiting: Vec<String>, // DDL that runs before the next transaction
}

/// What write needs to know of a planned table.
struct Table {
    name: String,
    columns: Vec<Column>,
    ddl: String,
}

struct Column {
    name: String,
    sql_type: &'static str,
    key: bool,
}

/// DuckDB's name for a format that has a type of its own; all else stays the
/// text that PostgreSQL prints.
fn type_of(format: &str) -> &'static str {
    match format {
        "b" => "BOOLEAN",
        "s" => "SMALLINT",
        "i" => "INTEGER",
        "l" => "BIGINT",
        "f" => "FLOAT",
        "g" => "DOUBLE",
        "w:16" => "UUID",
        "z" => "BLOB",
        _ => "VARCHAR",
    }
}

fn nothing() -> Json {
    Json::object([])
}

/// A name of SQL.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A literal of SQL.
fn text(s: &str) -> String {
    format!("'{}'", s.replace('\'', "''"))
}

impl Plugin {
    /// Runs a plan's DDL before the first rows. DuckDB does not take a changed
    /// table and its rows in one transaction: if one is open, the host takes it
    /// back and begins anew, with the table as it has to be.
    fn prepare(&mut self, ddl: &str) -> Result<(), Refusal> {
        if self.ready.contains(ddl) {
            return Ok(());
        }
        if self.open {
            self.ready.insert(ddl.into());
            self.waiting.push(ddl.into());
            let mut again = Refusal::new("a table is changed first");
            again.class = Some("connection");
            return Err(again);
        }
        Sql::exec(ddl)?;
        self.ready.insert(ddl.into());
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Refusal> {
        if !self.open {
            Sql::begin()?;
            self.open = true;
        }
        Ok(())
    }
}

impl Table {
    /// The temporary table of a batch: its columns, a flag for each one that
    /// some row lacks, and what tells the rows apart.
    fn stage(&self, batch: i64, absent: &[i64]) -> Json {
        let column = |name: &str, sql_type: &str, from: &str, i: i64| {
            Json::object([("name", name.into()), ("type", sql_type.into()), ("from", from.into()), ("column", i.into())])
        };
        let mut columns = vec![column("leat_op", "VARCHAR", "op", 0), column("leat_row", "BIGINT", "row", 0), column("leat_origin", "BIGINT", "origin", 0)];
        for (i, c) in self.columns.iter().enumerate() {
            columns.push(column(&format!("c{}", i), c.sql_type, "column", i as i64));
        }
        for &i in absent {
            columns.push(column(&format!("absent{}", i), "BOOLEAN", "absent", i));
        }
        let ingest = Json::object([("table", "leat_stage".into()), ("temporary", Json::Bool(true)), ("columns", Json::List(columns))]);
        Json::object([("batch", batch.into()), ("ingest", ingest)])
    }

    /// The statements that bring the stage into the table.
    fn merge(&self, absent: &[i64]) -> Vec<String> {
        let names: Vec<&str> = self.columns.iter().map(|c| &*c.name).collect();
        let cells: Vec<String> = (0..names.len()).map(|i| format!("c{}", i)).collect();
        let same: Vec<String> = self.columns.iter().enumerate().filter(|(_, c)| c.key).map(|(i, c)| format!("t.{} = o.c{}", c.name, i)).collect();
        let same = same.join(" AND ");
        // Unchanged is neither null nor a value: it is what the row had, under
        // the key it had.
        let fill = |&i: &i64| {
            format!(
                "UPDATE leat_stage AS s SET c{0} = t.{1} FROM leat_stage AS o, {2} AS t WHERE s.absent{0} AND s.leat_op NOT IN ('D', 'K') AND o.leat_row = s.leat_origin AND {3}",
                i, names[i as usize], self.name, same
            )
        };
        let mut sql: Vec<String> = absent.iter().map(fill).collect();
        sql.push(format!("DELETE FROM {} AS t USING leat_stage AS o WHERE {}", self.name, same));
        sql.push(format!("INSERT INTO {} ({}) SELECT {} FROM leat_stage WHERE leat_op NOT IN ('D', 'K')", self.name, names.join(", "), cells.join(", ")));
        sql
    }
}

impl Destination for Plugin {
    /// Makes the plugin's own table. compacts: of a key's rows in a batch only
    /// the last is needed.
    fn open(&mut self, request: &Json) -> Reply {
        self.pipeline = request.get("pipeline").text().into();
        self.prefix = request.get("config").get("prefix").text().into();
        Sql::exec("CREATE TABLE IF NOT EXISTS leat_checkpoint (pipeline VARCHAR, key VARCHAR, value VARCHAR)")?;
        Ok(Json::object([("driver", "duckdb".into()), ("compacts", Json::Bool(true)), ("changes_apart", Json::Bool(true))]))
    }

    /// Decides how a table lands. It runs no DDL: the host shows the statements
    /// to people first.
    fn plan(&mut self, request: &Json) -> Reply {
        let schema = request.get("schema");
        let source = schema.get("table").get("name").text();
        let name = quote(&format!("{}{}", self.prefix, source));
        let columns: Vec<Column> = schema.get("columns").list().iter().map(|c| Column {
            name: quote(c.get("name").text()),
            sql_type: type_of(c.get("format").text()),
            key: c.get("key").int().unwrap_or(0) > 0,
        }).collect();
        if !columns.iter().any(|c| c.key) {
            return Err(Refusal::new(format!("table {} has no key, by which rows could be found again", source)));
        }
        let defined: Vec<String> = columns.iter().map(|c| format!("{} {}", c.name, c.sql_type)).collect();
        let mut statements = vec![format!("CREATE TABLE IF NOT EXISTS {} ({})", name, defined.join(", "))];
        for c in &defined { // of a table that is older than a column
            statements.push(format!("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {}", name, c));
        }
        let read: Vec<&str> = columns.iter().map(|c| &*c.name).collect();
        let read = format!("SELECT {} FROM {}", read.join(", "), name);
        let shown = schema.get("columns").list().iter().zip(&columns).map(|(source, c)| {
            Json::object([("name", source.get("name").clone()), ("type", c.sql_type.into()), ("source", source.get("name").clone())])
        });
        let reply = Json::object([
            ("table", (&*name).into()),
            ("columns", Json::List(shown.collect())),
            ("statements", Json::List(statements.iter().map(|s| (&**s).into()).collect())),
            ("read", (&*read).into()),
        ]);
        self.tables.insert(request.get("plan").int().unwrap_or(0), Table { name, columns, ddl: statements.join("; ") });
        Ok(reply)
    }

    /// Brings a batch into the transaction: staged, merged, inserted.
    fn write(&mut self, request: &Json) -> Reply {
        let plan = request.get("plan").int().unwrap_or(0);
        let batch = request.get("batch");
        let ddl = self.tables.get(&plan).ok_or_else(|| Refusal::new("no such plan"))?.ddl.clone();
        self.prepare(&ddl)?;
        if batch.get("rows").int() == Some(0) {
            return Ok(nothing());
        }
        self.begin()?;
        let table = &self.tables[&plan];
        if batch.get("ops").get("T").int().is_some() {
            Sql::exec(&format!("DELETE FROM {}", table.name))?;
            return Ok(nothing());
        }
        let absent: Vec<i64> = batch.get("absent").list().iter().filter_map(|i| i.int()).collect();
        Sql::ingest(&table.stage(batch.get("handle").int().unwrap_or(0), &absent))?;
        for sql in table.merge(&absent) {
            Sql::exec(&sql)?;
        }
        Ok(nothing())
    }

    /// Stores the entries beside the rows and makes both durable together.
    fn commit(&mut self, request: &Json) -> Reply {
        self.begin()?;
        for e in request.get("entries").list() {
            let (pipeline, key) = (text(&self.pipeline), text(e.get("key").text()));
            let mut sql = format!("DELETE FROM leat_checkpoint WHERE pipeline = {} AND key = {}", pipeline, key);
            if let Json::Text(value) = e.get("value") {
                sql += &format!("; INSERT INTO leat_checkpoint VALUES ({}, {}, {})", pipeline, key, text(value));
            }
            Sql::exec(&sql)?;
        }
        Sql::commit()?;
        self.open = false;
        Ok(nothing())
    }

    /// Returns what commit has stored.
    fn checkpoint(&mut self, _request: &Json) -> Reply {
        let rows = Sql::query(&format!("SELECT key, value FROM leat_checkpoint WHERE pipeline = {}", text(&self.pipeline)))?;
        let entries = rows.get("rows").list().iter().map(|r| Json::object([("key", r.list()[0].clone()), ("value", r.list()[1].clone())]));
        Ok(Json::object([("entries", Json::List(entries.collect()))]))
    }

    /// Takes back what was not committed, and makes the changes of tables that
    /// wait for the end of a transaction.
    fn rollback(&mut self, _request: &Json) -> Reply {
        self.open = false;
        Sql::rollback()?;
        while let Some(ddl) = self.waiting.first() {
            Sql::exec(ddl)?;
            self.waiting.remove(0);
        }
        Ok(nothing())
    }

    fn close(&mut self, request: &Json) -> Reply {
        self.rollback(request)
    }
}

leat::destination!(Plugin);
