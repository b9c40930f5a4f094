//! Keeps the last state of every row in DuckDB.

use leat::{sql, Checkpoint, Class, Destination, Failure, Info, Ingest, Landing, Open, Source, Table, WriteBatch};
use std::collections::HashSet;

/// The one instance of a pipeline; its methods are called one at a time.
#[derive(Default)]
struct Plugin {
    prefix: String,
    pipeline: String,
    open: bool, // a transaction
    ready: HashSet<String>,
    waiting: Vec<String>, // DDL that runs before the next transaction
}

/// What write needs to know of a planned table.
struct Target {
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
    fn prepare(&mut self, ddl: &str) -> Result<(), Failure> {
        if self.ready.contains(ddl) {
            return Ok(());
        }
        if self.open {
            self.ready.insert(ddl.into());
            self.waiting.push(ddl.into());
            return Err(Failure::of(Class::Connection, "a table is changed first"));
        }
        sql::exec(ddl)?;
        self.ready.insert(ddl.into());
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Failure> {
        if !self.open {
            sql::begin()?;
            self.open = true;
        }
        Ok(())
    }
}

impl Target {
    /// The temporary table of a batch: its columns, a flag for each one that
    /// some row lacks, and what tells the rows apart.
    fn stage(&self, absent: &[usize]) -> Ingest {
        let mut stage = Ingest { table: "leat_stage".into(), temporary: true, ..Ingest::default() };
        stage.column("leat_op", "VARCHAR", Source::Op);
        stage.column("leat_row", "BIGINT", Source::Row);
        stage.column("leat_origin", "BIGINT", Source::Origin);
        for (i, c) in self.columns.iter().enumerate() {
            stage.column(&format!("c{}", i), c.sql_type, Source::Column(i));
        }
        for &i in absent {
            stage.column(&format!("absent{}", i), "BOOLEAN", Source::Absent(i));
        }
        stage
    }

    /// The statements that bring the stage into the table.
    fn merge(&self, absent: &[usize]) -> Vec<String> {
        let names: Vec<&str> = self.columns.iter().map(|c| &*c.name).collect();
        let cells: Vec<String> = (0..names.len()).map(|i| format!("c{}", i)).collect();
        let same: Vec<String> = self.columns.iter().enumerate().filter(|(_, c)| c.key).map(|(i, c)| format!("t.{} = o.c{}", c.name, i)).collect();
        let same = same.join(" AND ");
        // Unchanged is neither null nor a value: it is what the row had, under
        // the key it had.
        let fill = |&i: &usize| {
            format!(
                "UPDATE leat_stage AS s SET c{0} = t.{1} FROM leat_stage AS o, {2} AS t WHERE s.absent{0} AND s.leat_op NOT IN ('D', 'K') AND o.leat_row = s.leat_origin AND {3}",
                i, names[i], self.name, same
            )
        };
        let mut sql: Vec<String> = absent.iter().map(fill).collect();
        sql.push(format!("DELETE FROM {} AS t USING leat_stage AS o WHERE {}", self.name, same));
        sql.push(format!("INSERT INTO {} ({}) SELECT {} FROM leat_stage WHERE leat_op NOT IN ('D', 'K')", self.name, names.join(", "), cells.join(", ")));
        sql
    }
}

impl Destination for Plugin {
    type State = Target;

    /// Makes the plugin's own table. compacts: of a key's rows in a batch only
    /// the last is needed. empties: a truncate takes the rows of a table back.
    fn open(&mut self, o: &Open) -> Result<Info, Failure> {
        self.pipeline = o.pipeline.clone();
        self.prefix = o.config.get("prefix").text().into();
        sql::exec("CREATE TABLE IF NOT EXISTS leat_checkpoint (pipeline VARCHAR, key VARCHAR, value VARCHAR)")?;
        Ok(Info { driver: "duckdb".into(), compacts: true, changes_apart: true, empties: true, ..Info::default() })
    }

    /// Decides how a table lands. It runs no DDL: the host shows the statements
    /// to people first.
    fn plan(&mut self, table: &Table) -> Result<(Landing, Target), Failure> {
        if !table.columns.iter().any(|c| c.key > 0) {
            return Err(Failure::new(format!("table {} has no key, by which rows could be found again", table.name)));
        }
        let name = quote(&format!("{}{}", self.prefix, table.name));
        let mut landing = Landing { table: name.clone(), ..Landing::default() };
        let mut columns = Vec::new();
        for c in &table.columns {
            let column = Column { name: quote(&c.name), sql_type: type_of(&c.format), key: c.key > 0 };
            landing.column(&c.name, column.sql_type);
            columns.push(column);
        }
        let defined: Vec<String> = columns.iter().map(|c| format!("{} {}", c.name, c.sql_type)).collect();
        landing.statements.push(format!("CREATE TABLE IF NOT EXISTS {} ({})", name, defined.join(", ")));
        for (c, source) in defined.iter().zip(&table.columns) {
            // Of a table that is older than a column, whose rows have the column's default.
            let default = source.missing.as_ref().map_or(String::new(), |v| format!(" DEFAULT {}", text(v)));
            landing.statements.push(format!("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {}{}", name, c, default));
        }
        let read: Vec<&str> = columns.iter().map(|c| &*c.name).collect();
        landing.read = format!("SELECT {} FROM {}", read.join(", "), name);
        let ddl = landing.statements.join("; ");
        Ok((landing, Target { name, columns, ddl }))
    }

    /// Brings a batch into the transaction: staged, merged, inserted.
    fn write(&mut self, target: &Target, batch: &WriteBatch) -> Result<(), Failure> {
        self.prepare(&target.ddl)?;
        if batch.rows == 0 {
            return Ok(());
        }
        self.begin()?;
        if batch.is_truncate() {
            sql::exec(&format!("DELETE FROM {}", target.name))?;
            return Ok(());
        }
        batch.ingest(&target.stage(&batch.absent))?;
        for statement in target.merge(&batch.absent) {
            sql::exec(&statement)?;
        }
        Ok(())
    }

    /// Stores the entries beside the rows and makes both durable together.
    fn commit(&mut self, entries: &[Checkpoint]) -> Result<(), Failure> {
        self.begin()?;
        let pipeline = text(&self.pipeline);
        for e in entries {
            let key = text(&e.key);
            let mut statement = format!("DELETE FROM leat_checkpoint WHERE pipeline = {} AND key = {}", pipeline, key);
            if let Some(value) = &e.value {
                statement += &format!("; INSERT INTO leat_checkpoint VALUES ({}, {}, {})", pipeline, key, text(value));
            }
            sql::exec(&statement)?;
        }
        sql::commit()?;
        self.open = false;
        Ok(())
    }

    /// Returns what commit has stored.
    fn checkpoint(&mut self) -> Result<Vec<Checkpoint>, Failure> {
        let found = sql::query(&format!("SELECT key, value FROM leat_checkpoint WHERE pipeline = {}", text(&self.pipeline)))?;
        Ok(found.rows.into_iter().map(|mut r| Checkpoint { key: r[0].take().unwrap_or_default(), value: r[1].take() }).collect())
    }

    /// Takes back what was not committed, and makes the changes of tables that
    /// wait for the end of a transaction.
    fn rollback(&mut self) -> Result<(), Failure> {
        self.open = false;
        sql::rollback()?;
        while let Some(ddl) = self.waiting.first() {
            sql::exec(ddl)?;
            self.waiting.remove(0);
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Failure> {
        self.rollback()
    }
}

leat::destination!(Plugin);
