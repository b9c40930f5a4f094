// Section 6: destinations.

import { Failure, sqlIngest } from "./host";
import { Json } from "./json";
import { Table } from "./plan";

// What a destination opens with: the name of the pipeline, the scope of its
// checkpoints, and the plugin's table of the pipeline file.
export class Open {
  pipeline: string;
  config: Json;

  constructor(request: Json) {
    this.pipeline = request.get("pipeline").text();
    this.config = request.get("config");
  }
}

// Tells the host what a destination is.
export class Info {
  // The SQL dialect that the destination writes.
  driver: string = "";
  // Rows of one key in one batch may be merged into the last state before write:
  // the destination keeps no history.
  compacts: bool = false;
  // Absent cells are to be filled from earlier rows of the batch before write:
  // the destination keeps every state of a row.
  fills: bool = false;
  // A table cannot be changed in a transaction with rows: the host then has all
  // changes of a delivery made before its rows.
  changesApart: bool = false;
  // A truncate takes back the rows of a table, so that an interrupted load may
  // begin anew.
  empties: bool = false;

  json(): Json {
    return Json.object().with("driver", Json.of(this.driver)).with("compacts", Json.flag(this.compacts)).with("fills", Json.flag(this.fills))
      .with("changes_apart", Json.flag(this.changesApart)).with("empties", Json.flag(this.empties));
  }
}

// A column of the target table: source is the source column's name, empty for
// what the destination adds; losses name what the type cannot hold.
export class LandingColumn {
  losses: string[] = [];
  constructor(public name: string, public type: string, public source: string) {}
}

// How a table lands. Extend it by what write needs to know of the table.
export class Landing {
  columns: LandingColumn[] = [];
  // The DDL that the first write of this plan would run.
  statements: string[] = [];
  // Why the rows that are there have to be loaded again, empty if they have not.
  reload: string = "";
  // A SELECT of the live rows with the source's columns in their order.
  read: string = "";
  failure: Failure | null = null;

  // The target as it stands in SQL: quoted and qualified.
  constructor(public table: string) {}

  // Refuses a table: return Landing.refused("why").
  static refused(message: string): Landing {
    const l = new Landing("");
    l.failure = new Failure(message);
    return l;
  }

  // Adds a column that holds one of the source without loss.
  column(name: string, type: string): LandingColumn {
    const c = new LandingColumn(name, type, name);
    this.columns.push(c);
    return c;
  }

  json(): Json {
    const columns = Json.list();
    for (let i = 0; i < this.columns.length; i++) {
      const c = this.columns[i];
      columns.items.push(Json.object().with("name", Json.of(c.name)).with("type", Json.of(c.type)).with("source", Json.of(c.source)).with("losses", Json.texts(c.losses)));
    }
    return Json.object().with("table", Json.of(this.table)).with("columns", columns).with("statements", Json.texts(this.statements))
      .with("reload", Json.of(this.reload)).with("read", Json.of(this.read));
  }
}

// An entry that a destination keeps beside its rows. In commit a value of null
// removes it.
export class Checkpoint {
  constructor(public key: string, public value: string | null) {}
}

// What fills a column of an ingested table: column i of the batch; whether the
// source did not send it; a text; one of I U D R K; the 0-based number of the
// row; the SHA-256 of the whole row; when Leat read the batch; the number of the
// row whose key the database knows this row by before the batch.
export enum Source { Column, Absent, Constant, Op, Lsn, Ordinal, CommitTime, Row, RowId, IngestTime, Origin }

const sources = ["column", "absent", "constant", "op", "lsn", "ordinal", "commit_time", "row", "row_id", "ingest_time", "origin"];

// One column of an ingested table. The name is not quoted. losses are those that
// the plan declared: "nan_to_null", "infinity_to_null".
export class IngestColumn {
  column: i32 = 0;
  value: string = "";
  losses: string[] = [];
  constructor(public name: string, public type: string, public from: Source) {}

  json(): Json {
    const c = Json.object().with("name", Json.of(this.name)).with("type", Json.of(this.type)).with("from", Json.of(sources[this.from]));
    if (this.from == Source.Column || this.from == Source.Absent) c.with("column", Json.int(this.column));
    if (this.from == Source.Constant) c.with("value", Json.of(this.value));
    return this.losses.length > 0 ? c.with("lossy", Json.texts(this.losses)) : c;
  }
}

// Where the rows of a batch go and which columns they have there.
export class Ingest {
  // Makes the table anew as a temporary one of this connection.
  temporary: bool = false;
  columns: IngestColumn[] = [];
  // Keeps only rows whose operation is in this text ("IUR"); empty keeps all.
  ops: string = "";

  // The target as it stands in SQL.
  constructor(public table: string) {}

  // Adds a column. i is the batch's column of Source.Column and Source.Absent.
  add(name: string, type: string, from: Source, i: i32 = 0): IngestColumn {
    const c = new IngestColumn(name, type, from);
    c.column = i;
    this.columns.push(c);
    return c;
  }

  json(): Json {
    const columns = Json.list();
    for (let i = 0; i < this.columns.length; i++) columns.items.push(this.columns[i].json());
    return Json.object().with("table", Json.of(this.table)).with("temporary", Json.flag(this.temporary)).with("columns", columns).with("ops", Json.of(this.ops));
  }
}

// The batch of one write: a handle, and what SQL needs to know of the rows.
export class WriteBatch {
  handle: i64;
  rows: i32;
  // The columns with an absent cell in a row that is more than an identity.
  absent: i32[] = [];
  // What is reached with this batch, in Leat's text form. A batch without rows has
  // one only where the table came to its shape there.
  position: string;
  private ops: Json;

  constructor(b: Json) {
    this.handle = b.get("handle").integer(0);
    this.rows = <i32>b.get("rows").integer(0);
    this.position = b.get("position").text();
    this.ops = b.get("ops");
    const absent = b.get("absent").items;
    for (let i = 0; i < absent.length; i++) this.absent.push(<i32>absent[i].integer(0));
  }

  // How many rows have an operation: I, U, D, R, K or T.
  count(op: string): i32 { return <i32>this.ops.get(op).integer(0); }

  // Whether the batch has no rows but the place in the log where the table came to
  // its shape: the rows before it have been written.
  isChange(): bool { return this.rows == 0 && !this.position.startsWith("0:0/0+"); }

  // Whether the batch is a TRUNCATE of its table.
  isTruncate(): bool { return this.count("T") > 0; }

  // Has the host move the rows into a table at native speed.
  ingest(into: Ingest): Failure | null { return sqlIngest(Json.object().with("batch", Json.int(this.handle)).with("ingest", into.json())); }
}

// Decides how batches land. Calls come one at a time: open, then any of the
// others, then close. What was written since the last commit becomes durable
// together with its entries, or not at all. After a failure the host calls
// rollback before anything else. null says that all went well.
export abstract class Destination {
  // Fills in what the destination is.
  abstract open(o: Open, info: Info): Failure | null;
  // Decides how a table lands. It writes nothing.
  abstract plan(table: Table): Landing;
  // Brings the rows of a batch into the current transaction and opens it if there
  // is none. table is what plan has returned.
  abstract write(table: Landing, batch: WriteBatch): Failure | null;
  // Stores the entries in the current transaction, opening one if there is none,
  // and commits it.
  abstract commit(entries: Checkpoint[]): Failure | null;
  // Reads back what commit has stored.
  abstract checkpoint(into: Checkpoint[]): Failure | null;
  // Takes back what was written since the last commit, if anything.
  abstract rollback(): Failure | null;
  abstract close(): Failure | null;
}

// Entries of the host's request.
export function entriesOf(request: Json): Checkpoint[] {
  const items = request.get("entries").items, out: Checkpoint[] = [];
  for (let i = 0; i < items.length; i++) {
    const value = items[i].get("value");
    out.push(new Checkpoint(items[i].get("key").text(), value.isText() ? value.text() : null));
  }
  return out;
}

export function entriesJson(entries: Checkpoint[]): Json {
  const list = Json.list();
  for (let i = 0; i < entries.length; i++) {
    const value = entries[i].value;
    list.items.push(Json.object().with("key", Json.of(entries[i].key)).with("value", value === null ? Json.nothing() : Json.of(value)));
  }
  return Json.object().with("entries", list);
}
