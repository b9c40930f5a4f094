// Keeps the last state of every row in DuckDB. Requests and replies are the
// JSON of section 6 of the interface.

import { Destination, Json, Reply, registerDestination, sql } from "./leat/assembly";
export * from "./leat/assembly/destination_exports";

// What write needs to know of a planned table.
class Table {
  names: string[] = [];
  types: string[] = [];
  keys: bool[] = [];
  ddl: string = "";
  constructor(public name: string) {}

  // The temporary table of a batch: its columns, a flag for each one that some
  // row lacks, and what tells the rows apart.
  stage(batch: Json, absent: Json[]): Json {
    const columns = Json.list();
    columns.items.push(ingested("leat_op", "VARCHAR", "op", 0));
    columns.items.push(ingested("leat_row", "BIGINT", "row", 0));
    columns.items.push(ingested("leat_origin", "BIGINT", "origin", 0));
    for (let i = 0; i < this.names.length; i++) columns.items.push(ingested("c" + i.toString(), this.types[i], "column", i));
    for (let a = 0; a < absent.length; a++) {
      const i = <i32>absent[a].integer(0);
      columns.items.push(ingested("absent" + i.toString(), "BOOLEAN", "absent", i));
    }
    const ingest = Json.object().with("table", Json.of("leat_stage")).with("temporary", Json.flag(true)).with("columns", columns);
    return Json.object().with("batch", batch).with("ingest", ingest);
  }

  // The statements that bring the stage into the table.
  merge(absent: Json[]): string[] {
    const statements: string[] = [], cells: string[] = [], same: string[] = [];
    for (let i = 0; i < this.names.length; i++) {
      cells.push("c" + i.toString());
      if (this.keys[i]) same.push("t." + this.names[i] + " = o.c" + i.toString());
    }
    const match = same.join(" AND ");
    // Unchanged is neither null nor a value: it is what the row had, under the
    // key it had.
    for (let a = 0; a < absent.length; a++) {
      const i = <i32>absent[a].integer(0), n = i.toString();
      statements.push("UPDATE leat_stage AS s SET c" + n + " = t." + this.names[i] + " FROM leat_stage AS o, " + this.name + " AS t WHERE s.absent" + n +
        " AND s.leat_op NOT IN ('D', 'K') AND o.leat_row = s.leat_origin AND " + match);
    }
    statements.push("DELETE FROM " + this.name + " AS t USING leat_stage AS o WHERE " + match);
    statements.push("INSERT INTO " + this.name + " (" + this.names.join(", ") + ") SELECT " + cells.join(", ") + " FROM leat_stage WHERE leat_op NOT IN ('D', 'K')");
    return statements;
  }
}

function ingested(name: string, type: string, from: string, column: i32): Json {
  return Json.object().with("name", Json.of(name)).with("type", Json.of(type)).with("from", Json.of(from)).with("column", Json.int(column));
}

// DuckDB's name for a format that has a type of its own; all else stays the
// text that PostgreSQL prints.
function typeOf(format: string): string {
  const formats = ["b", "s", "i", "l", "f", "g", "w:16", "z"];
  const types = ["BOOLEAN", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "UUID", "BLOB"];
  const i = formats.indexOf(format);
  return i < 0 ? "VARCHAR" : types[i];
}

// A name of SQL, and a literal.
function quote(name: string): string { return "\"" + name.split("\"").join("\"\"") + "\""; }
function text(s: string): string { return "'" + s.split("'").join("''") + "'"; }

const done = Reply.ok(Json.object());

// The one instance of a pipeline; its methods are called one at a time.
class Plugin extends Destination {
  prefix: string = "";
  pipeline: string = "";
  inTransaction: bool = false;
  tables: Map<i64, Table> = new Map<i64, Table>(); // by the number of their plan
  ready: string[] = [];
  waiting: string[] = []; // DDL that runs before the next transaction

  // Makes the plugin's own table. compacts: of a key's rows in a batch only the
  // last is needed.
  open(request: Json): Reply {
    this.pipeline = request.get("pipeline").text();
    this.prefix = request.get("config").get("prefix").text();
    const made = sql.exec("CREATE TABLE IF NOT EXISTS leat_checkpoint (pipeline VARCHAR, key VARCHAR, value VARCHAR)");
    if (made.failed) return made;
    return Reply.ok(Json.object().with("driver", Json.of("duckdb")).with("compacts", Json.flag(true)).with("changes_apart", Json.flag(true)));
  }

  // Decides how a table lands. It runs no DDL: the host shows the statements to
  // people first.
  plan(request: Json): Reply {
    const schema = request.get("schema");
    const source = schema.get("table").get("name").text();
    const t = new Table(quote(this.prefix + source));
    const columns = schema.get("columns").items, shown = Json.list(), defined: string[] = [];
    let keyed = false;
    for (let i = 0; i < columns.length; i++) {
      const c = columns[i], type = typeOf(c.get("format").text()), key = c.get("key").integer(0) > 0;
      keyed = keyed || key;
      t.names.push(quote(c.get("name").text()));
      t.types.push(type);
      t.keys.push(key);
      defined.push(t.names[i] + " " + type);
      shown.items.push(Json.object().with("name", c.get("name")).with("type", Json.of(type)).with("source", c.get("name")));
    }
    if (!keyed) return Reply.fail("table " + source + " has no key, by which rows could be found again");
    const statements = ["CREATE TABLE IF NOT EXISTS " + t.name + " (" + defined.join(", ") + ")"];
    // Of a table that is older than a column.
    for (let i = 0; i < defined.length; i++) statements.push("ALTER TABLE " + t.name + " ADD COLUMN IF NOT EXISTS " + defined[i]);
    t.ddl = statements.join("; ");
    this.tables.set(request.get("plan").integer(0), t);
    const list = Json.list();
    for (let i = 0; i < statements.length; i++) list.items.push(Json.of(statements[i]));
    return Reply.ok(Json.object().with("table", Json.of(t.name)).with("columns", shown).with("statements", list)
      .with("read", Json.of("SELECT " + t.names.join(", ") + " FROM " + t.name)));
  }

  // Runs a plan's DDL before the first rows. DuckDB does not take a changed
  // table and its rows in one transaction: if one is open, the host takes it
  // back and begins anew, with the table as it has to be.
  prepare(ddl: string): Reply {
    if (this.ready.includes(ddl)) return done;
    if (this.inTransaction) {
      this.ready.push(ddl);
      this.waiting.push(ddl);
      const again = Reply.fail("a table is changed first");
      again.kind = "connection";
      return again;
    }
    const ran = sql.exec(ddl);
    if (!ran.failed) this.ready.push(ddl);
    return ran;
  }

  begin(): Reply {
    if (this.inTransaction) return done;
    const began = sql.begin();
    this.inTransaction = !began.failed;
    return began;
  }

  // Brings a batch into the transaction: staged, merged, inserted.
  write(request: Json): Reply {
    const t = this.tables.get(request.get("plan").integer(0)), batch = request.get("batch");
    let r = this.prepare(t.ddl);
    if (r.failed) return r;
    if (batch.get("rows").integer(0) == 0) return done;
    r = this.begin();
    if (r.failed) return r;
    if (!batch.get("ops").get("T").isMissing()) {
      r = sql.exec("DELETE FROM " + t.name);
      return r.failed ? r : done;
    }
    const absent = batch.get("absent").items;
    r = sql.ingest(t.stage(batch.get("handle"), absent));
    if (r.failed) return r;
    const statements = t.merge(absent);
    for (let i = 0; i < statements.length; i++) {
      r = sql.exec(statements[i]);
      if (r.failed) return r;
    }
    return done;
  }

  // Stores the entries beside the rows and makes both durable together.
  commit(request: Json): Reply {
    let r = this.begin();
    if (r.failed) return r;
    const entries = request.get("entries").items;
    for (let i = 0; i < entries.length; i++) {
      const pipeline = text(this.pipeline), key = text(entries[i].get("key").text()), value = entries[i].get("value");
      let statement = "DELETE FROM leat_checkpoint WHERE pipeline = " + pipeline + " AND key = " + key;
      if (value.isText()) statement += "; INSERT INTO leat_checkpoint VALUES (" + pipeline + ", " + key + ", " + text(value.text()) + ")";
      r = sql.exec(statement);
      if (r.failed) return r;
    }
    r = sql.commit();
    if (r.failed) return r;
    this.inTransaction = false;
    return done;
  }

  // Returns what commit has stored.
  checkpoint(request: Json): Reply {
    const r = sql.query("SELECT key, value FROM leat_checkpoint WHERE pipeline = " + text(this.pipeline));
    if (r.failed) return r;
    const rows = r.ok.get("rows").items, entries = Json.list();
    for (let i = 0; i < rows.length; i++) entries.items.push(Json.object().with("key", rows[i].items[0]).with("value", rows[i].items[1]));
    return Reply.ok(Json.object().with("entries", entries));
  }

  // Takes back what was not committed, and makes the changes of tables that
  // wait for the end of a transaction.
  rollback(request: Json): Reply {
    this.inTransaction = false;
    const r = sql.rollback();
    if (r.failed) return r;
    while (this.waiting.length > 0) {
      const ran = sql.exec(this.waiting[0]);
      if (ran.failed) return ran;
      this.waiting.shift();
    }
    return done;
  }

  close(request: Json): Reply { return this.rollback(request); }
}

registerDestination(new Plugin());
