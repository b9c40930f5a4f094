// Keeps the last state of every row in DuckDB.

import { Checkpoint, Destination, Failure, Info, Ingest, Landing, Open, Source, Table, WriteBatch, registerDestination, sql } from "./leat/assembly";
export * from "./leat/assembly/destination_exports";

// How a table lands, with what write needs to know of it.
class Target extends Landing {
  names: string[] = [];
  types: string[] = [];
  keys: bool[] = [];
  ddl: string = "";

  // The temporary table of a batch: its columns, a flag for each one that some
  // row lacks, and what tells the rows apart.
  stage(absent: i32[]): Ingest {
    const stage = new Ingest("leat_stage");
    stage.temporary = true;
    stage.add("leat_op", "VARCHAR", Source.Op);
    stage.add("leat_row", "BIGINT", Source.Row);
    stage.add("leat_origin", "BIGINT", Source.Origin);
    for (let i = 0; i < this.names.length; i++) stage.add("c" + i.toString(), this.types[i], Source.Column, i);
    for (let a = 0; a < absent.length; a++) stage.add("absent" + absent[a].toString(), "BOOLEAN", Source.Absent, absent[a]);
    return stage;
  }

  // The statements that bring the stage into the table.
  merge(absent: i32[]): string[] {
    const statements: string[] = [], cells: string[] = [], same: string[] = [];
    for (let i = 0; i < this.names.length; i++) {
      cells.push("c" + i.toString());
      if (this.keys[i]) same.push("t." + this.names[i] + " = o.c" + i.toString());
    }
    const match = same.join(" AND ");
    // Unchanged is neither null nor a value: it is what the row had, under the
    // key it had.
    for (let a = 0; a < absent.length; a++) {
      const i = absent[a], n = i.toString();
      statements.push("UPDATE leat_stage AS s SET c" + n + " = t." + this.names[i] + " FROM leat_stage AS o, " + this.table + " AS t WHERE s.absent" + n +
        " AND s.leat_op NOT IN ('D', 'K') AND o.leat_row = s.leat_origin AND " + match);
    }
    statements.push("DELETE FROM " + this.table + " AS t USING leat_stage AS o WHERE " + match);
    statements.push("INSERT INTO " + this.table + " (" + this.names.join(", ") + ") SELECT " + cells.join(", ") + " FROM leat_stage WHERE leat_op NOT IN ('D', 'K')");
    return statements;
  }
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

// The one instance of a pipeline; its methods are called one at a time.
class Plugin extends Destination {
  prefix: string = "";
  pipeline: string = "";
  inTransaction: bool = false;
  ready: string[] = [];
  waiting: string[] = []; // DDL that runs before the next transaction

  // Makes the plugin's own table. compacts: of a key's rows in a batch only the
  // last is needed. empties: a truncate takes the rows of a table back.
  open(o: Open, info: Info): Failure | null {
    this.pipeline = o.pipeline;
    this.prefix = o.config.get("prefix").text();
    info.driver = "duckdb";
    info.compacts = info.changesApart = info.empties = true;
    return sql.exec("CREATE TABLE IF NOT EXISTS leat_checkpoint (pipeline VARCHAR, key VARCHAR, value VARCHAR)");
  }

  // Decides how a table lands. It runs no DDL: the host shows the statements to
  // people first.
  plan(table: Table): Landing {
    const t = new Target(quote(this.prefix + table.name)), defined: string[] = [];
    for (let i = 0; i < table.columns.length; i++) {
      const c = table.columns[i], type = typeOf(c.format);
      t.names.push(quote(c.name));
      t.types.push(type);
      t.keys.push(c.key > 0);
      t.column(c.name, type);
      defined.push(t.names[i] + " " + type);
    }
    if (!t.keys.includes(true)) return Landing.refused("table " + table.name + " has no key, by which rows could be found again");
    t.statements.push("CREATE TABLE IF NOT EXISTS " + t.table + " (" + defined.join(", ") + ")");
    // Of a table that is older than a column, whose rows have the column's default.
    for (let i = 0; i < defined.length; i++) {
      const value = table.columns[i].missing;
      t.statements.push("ALTER TABLE " + t.table + " ADD COLUMN IF NOT EXISTS " + defined[i] + (value === null ? "" : " DEFAULT " + text(value)));
    }
    t.ddl = t.statements.join("; ");
    t.read = "SELECT " + t.names.join(", ") + " FROM " + t.table;
    return t;
  }

  // Runs a plan's DDL before the first rows. DuckDB does not take a changed
  // table and its rows in one transaction: if one is open, the host takes it
  // back and begins anew, with the table as it has to be.
  prepare(ddl: string): Failure | null {
    if (this.ready.includes(ddl)) return null;
    if (this.inTransaction) {
      this.ready.push(ddl);
      this.waiting.push(ddl);
      return Failure.of("connection", "a table is changed first");
    }
    const failure = sql.exec(ddl);
    if (failure === null) this.ready.push(ddl);
    return failure;
  }

  begin(): Failure | null {
    if (this.inTransaction) return null;
    const failure = sql.begin();
    this.inTransaction = failure === null;
    return failure;
  }

  // Brings a batch into the transaction: staged, merged, inserted.
  write(table: Landing, batch: WriteBatch): Failure | null {
    const t = <Target>table;
    let failure = this.prepare(t.ddl);
    if (failure !== null || batch.rows == 0) return failure;
    failure = this.begin();
    if (failure !== null) return failure;
    if (batch.isTruncate()) return sql.exec("DELETE FROM " + t.table);
    failure = batch.ingest(t.stage(batch.absent));
    const statements = t.merge(batch.absent);
    for (let i = 0; i < statements.length && failure === null; i++) failure = sql.exec(statements[i]);
    return failure;
  }

  // Stores the entries beside the rows and makes both durable together.
  commit(entries: Checkpoint[]): Failure | null {
    let failure = this.begin();
    for (let i = 0; i < entries.length && failure === null; i++) {
      const pipeline = text(this.pipeline), key = text(entries[i].key), value = entries[i].value;
      let statement = "DELETE FROM leat_checkpoint WHERE pipeline = " + pipeline + " AND key = " + key;
      if (value !== null) statement += "; INSERT INTO leat_checkpoint VALUES (" + pipeline + ", " + key + ", " + text(value) + ")";
      failure = sql.exec(statement);
    }
    if (failure === null) failure = sql.commit();
    if (failure === null) this.inTransaction = false;
    return failure;
  }

  // Returns what commit has stored.
  checkpoint(into: Checkpoint[]): Failure | null {
    const found = sql.query("SELECT key, value FROM leat_checkpoint WHERE pipeline = " + text(this.pipeline));
    for (let i = 0; i < found.rows.length; i++) {
      const key = found.rows[i][0];
      if (key !== null) into.push(new Checkpoint(key, found.rows[i][1]));
    }
    return found.failure;
  }

  // Takes back what was not committed, and makes the changes of tables that
  // wait for the end of a transaction.
  rollback(): Failure | null {
    this.inTransaction = false;
    let failure = sql.rollback();
    while (this.waiting.length > 0 && failure === null) {
      failure = sql.exec(this.waiting[0]);
      if (failure === null) this.waiting.shift();
    }
    return failure;
  }

  close(): Failure | null { return this.rollback(); }
}

registerDestination(new Plugin());
