//! Section 4: what becomes of a table.

use crate::batch::{Batch, Cell};
use crate::json::Json;
use crate::output::{Column, Output};

/// A column of a table. `format` is an Arrow format string; `pg_type` the
/// type in PostgreSQL as the host describes it.
#[derive(Clone)]
pub struct Field {
    pub name: String,
    pub format: String,
    pub pg_type: Json,
    pub nullable: bool,
    /// The 1-based place in the row identity, 0 outside it.
    pub key: i64,
    /// The number of the source's column, which stays when the column is renamed
    /// or gets another type; 0 is unknown.
    pub id: i64,
    /// The value of rows that are older than the column, as PostgreSQL prints
    /// it; `None` is NULL. Destinations are told, transforms are not.
    pub missing: Option<String>,
    /// Of an output column: what of the input it cannot hold, for `leat plan` to
    /// show.
    pub losses: Vec<String>,
}

impl Field {
    /// A nullable column of a PostgreSQL type such as "text", "int8" or
    /// "float8" in the format that goes with it.
    pub fn new(name: &str, format: &str, pg_type: &str) -> Field {
        Field { name: name.into(), format: format.into(), pg_type: pg_type_of(pg_type), nullable: true, key: 0, id: 0, missing: None, losses: Vec::new() }
    }
}

/// A type in PostgreSQL by its name.
pub fn pg_type_of(name: &str) -> Json {
    let oid = match name {
        "bool" => 16,
        "bytea" => 17,
        "int8" => 20,
        "int2" => 21,
        "int4" => 23,
        "text" => 25,
        "oid" => 26,
        "float4" => 700,
        "float8" => 701,
        "varchar" => 1043,
        "date" => 1082,
        "time" => 1083,
        "timestamp" => 1114,
        "timestamptz" => 1184,
        "numeric" => 1700,
        "uuid" => 2950,
        _ => 0,
    };
    Json::object([("name", name.into()), ("oid", oid.into()), ("typmod", (-1).into()), ("kind", "b".into())])
}

/// The source table.
pub struct Table {
    pub database: String,
    pub schema: String,
    pub name: String,
    /// Counts the changes of the table's shape.
    pub version: i64,
    /// The relation's at the source, which stays when the table is renamed; 0 is
    /// unknown.
    pub oid: i64,
    pub columns: Vec<Field>,
}

impl Table {
    pub(crate) fn new(schema: &Json) -> Table {
        let id = schema.get("table");
        let column = |c: &Json| Field {
            name: c.get("name").text().into(),
            format: c.get("format").text().into(),
            pg_type: c.get("pg_type").clone(),
            nullable: c.get("nullable").is_true(),
            key: c.get("key").int().unwrap_or(0),
            id: c.get("id").int().unwrap_or(0),
            missing: match c.get("missing") {
                Json::Text(v) => Some(v.clone()),
                _ => None,
            },
            losses: Vec::new(),
        };
        Table {
            database: id.get("database").text().into(),
            schema: id.get("schema").text().into(),
            name: id.get("name").text().into(),
            version: schema.get("version").int().unwrap_or(0),
            oid: schema.get("oid").int().unwrap_or(0),
            columns: schema.get("columns").list().iter().map(column).collect(),
        }
    }

    /// The index of a column.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }
}

/// Where a column of an output comes from.
#[derive(Clone)]
pub enum From {
    /// Input column i as it is.
    Column(usize),
    /// Input column i, converted by the host without loss.
    Cast(usize),
    /// One text in every row.
    Constant(String),
    Null,
    /// Computed column k.
    Computed(usize),
    /// The result of kernel k, see [`Plan::kernel`].
    Kernel(usize),
}

/// What a kernel works on.
#[derive(Clone, Copy)]
pub enum Input {
    /// Input column i.
    Column(usize),
    /// The result of an earlier kernel.
    Kernel(usize),
}

/// A table that rows go to.
pub struct Target {
    pub database: String,
    pub schema: String,
    pub name: String,
    pub columns: Vec<(Field, From)>,
    /// The kernel, of boolean result, that chooses the rows; then every target
    /// has one.
    pub chosen_by: Option<usize>,
}

type Process = Box<dyn Fn(&Batch, &mut Output) -> Result<(), String>>;

/// What becomes of a table. A new plan has no target: every row is dropped.
pub struct Plan {
    pub table: Table,
    /// The plugin's table of the pipeline file.
    pub config: Json,
    /// Schemas of the same-named tables in the pipeline's other databases.
    pub peers: Json,
    pub databases: Vec<String>,
    /// What a plan may ask for that not every host of this ABI has, such as
    /// "positions".
    pub features: Vec<String>,
    /// Says that the batches' function asks where rows stand in the log, see
    /// [`Batch::place`]. The host has to have the feature "positions".
    pub positions: bool,
    pub targets: Vec<Target>,
    /// Says that the batches' function emits rows.
    pub filters: bool,
    pub(crate) needs: Vec<usize>,
    pub(crate) computed: Vec<String>,
    kernels: Vec<Json>,
    pub(crate) process: Vec<Process>,
    pub(crate) rewritten: Vec<usize>, // computed columns
}

impl Plan {
    pub(crate) fn new(request: &Json) -> Plan {
        Plan {
            table: Table::new(request.get("schema")),
            config: request.get("config").clone(),
            peers: request.get("peers").clone(),
            databases: request.get("databases").list().iter().map(|d| d.text().into()).collect(),
            features: request.get("features").list().iter().map(|f| f.text().into()).collect(),
            positions: false,
            targets: Vec::new(),
            filters: false,
            needs: Vec::new(),
            computed: Vec::new(),
            kernels: Vec::new(),
            process: Vec::new(),
            rewritten: Vec::new(),
        }
    }

    /// Adds a target with every column as it is.
    pub fn keep_all(&mut self) -> &mut Target {
        let name = self.table.name.clone();
        let columns = self.table.columns.iter().cloned().enumerate().map(|(i, c)| (c, From::Column(i))).collect();
        let t = self.add_target(&name);
        t.columns = columns;
        t
    }

    /// Adds a target without columns in the source's schema. With several,
    /// every row is routed by [`Output::emit`].
    pub fn add_target(&mut self, name: &str) -> &mut Target {
        self.targets.push(Target { database: self.table.database.clone(), schema: self.table.schema.clone(), name: name.into(), columns: Vec::new(), chosen_by: None });
        self.targets.last_mut().unwrap()
    }

    /// The text column that a setting names.
    pub fn text_column(&self, setting: &str) -> Result<usize, String> {
        let name = self.config.get(setting).text();
        match self.table.find(name) {
            Some(i) if self.table.columns[i].format == "u" => Ok(i),
            _ => Err(format!("table {} has no text column {}", self.table.name, name)),
        }
    }

    /// Asks for input column i and returns its index in the batch. No other
    /// column enters the plugin.
    pub fn need(&mut self, i: usize) -> usize {
        if let Some(at) = self.needs.iter().position(|&n| n == i) {
            return at;
        }
        self.needs.push(i);
        self.needs.len() - 1
    }

    /// Announces a computed column and returns its index in the output.
    pub fn compute(&mut self, format: &str) -> usize {
        self.computed.push(format.into());
        self.computed.len() - 1
    }

    /// Has the host compute a kernel of pdk/README.md and returns its index for
    /// [`From::Kernel`], [`Input::Kernel`] and [`Target::chosen_by`]. No cell of
    /// its inputs enters the plugin.
    pub fn kernel(&mut self, name: &str, parameters: Json, inputs: &[Input]) -> usize {
        let inputs = inputs.iter().map(|input| match input {
            Input::Column(i) => Json::object([("column", (*i as i64).into())]),
            Input::Kernel(k) => Json::object([("kernel", (*k as i64).into())]),
        });
        self.kernels.push(Json::object([("kernel", name.into()), ("inputs", Json::List(inputs.collect())), ("parameters", parameters)]));
        self.kernels.len() - 1
    }

    /// Replaces text column i of the first target by what f appends for each
    /// value. Null stays null, absent stays absent, an error fails the row. Where
    /// rows are emitted, the column follows them.
    pub fn rewrite(&mut self, i: usize, f: impl Fn(&str, &mut String) -> Result<(), String> + 'static) {
        let (input, out) = (self.need(i), self.compute("u"));
        self.targets[0].columns[i].1 = From::Computed(out);
        self.rewritten.push(out);
        self.on_batch(move |b, o| {
            let mut text = String::new();
            for row in 0..b.rows() {
                match b.column(input).text(row) {
                    Cell::Value(v) => {
                        text.clear();
                        match f(v, &mut text) {
                            Ok(()) => o.column(out).push_text(&text),
                            Err(message) => {
                                o.fail(row, &message);
                                o.column(out).push_absent();
                            }
                        }
                    }
                    empty => o.column(out).push_empty(empty),
                }
            }
            Ok(())
        });
    }

    /// Calls f for each batch, after what was announced before it. An error
    /// fails the whole batch, [`Output::fail`] one row.
    pub fn on_batch(&mut self, f: impl Fn(&Batch, &mut Output) -> Result<(), String> + 'static) {
        self.process.push(Box::new(f));
    }

    pub(crate) fn reply(&self) -> Json {
        let targets = self.targets.iter().map(|t| {
            let table = Json::object([("database", (&*t.database).into()), ("schema", (&*t.schema).into()), ("name", (&*t.name).into())]);
            let columns = t.columns.iter().map(|(c, from)| {
                let from = match from {
                    From::Column(i) => ("column", (*i as i64).into()),
                    From::Cast(i) => ("cast", (*i as i64).into()),
                    From::Constant(text) => ("constant", (&**text).into()),
                    From::Null => ("null", Json::Bool(true)),
                    From::Computed(k) => ("computed", (*k as i64).into()),
                    From::Kernel(k) => ("kernel", (*k as i64).into()),
                };
                // An id of 0 is that of no column.
                let mut column = vec![
                    ("id", c.id.into()),
                    ("name", (&*c.name).into()),
                    ("format", (&*c.format).into()),
                    ("pg_type", c.pg_type.clone()),
                    ("nullable", Json::Bool(c.nullable)),
                    ("key", c.key.into()),
                    ("from", Json::object([from])),
                ];
                if !c.losses.is_empty() {
                    column.push(("losses", Json::List(c.losses.iter().map(|l| (&**l).into()).collect())));
                }
                Json::Object(column.into_iter().map(|(k, v)| (k.to_string(), v)).collect())
            });
            let columns = Json::List(columns.collect());
            match t.chosen_by {
                Some(k) => Json::object([("table", table), ("columns", columns), ("where", (k as i64).into())]),
                None => Json::object([("table", table), ("columns", columns)]),
            }
        });
        let mut reply = vec![
            ("needs", Json::List(self.needs.iter().map(|&i| (i as i64).into()).collect())),
            ("computed", Json::List(self.computed.iter().map(|f| (&**f).into()).collect())),
            ("filters", Json::Bool(self.filters)),
            ("kernels", Json::List(self.kernels.clone())),
            ("outputs", Json::List(targets.collect())),
        ];
        if self.positions {
            reply.push(("positions", Json::Bool(true)));
        }
        Json::Object(reply.into_iter().map(|(k, v)| (k.to_string(), v)).collect())
    }
}

impl Column {
    /// Pushes null for null and absent for absent: what is computed from a
    /// cell without a value has none either.
    pub fn push_empty<T>(&mut self, cell: Cell<T>) {
        match cell {
            Cell::Null => self.push_null(),
            _ => self.push_absent(),
        }
    }
}
