// Section 4: what becomes of a table.

import { Json } from "./json";
import { Column, Output } from "./output";
import { Batch, State, View } from "./batch";

// A column of a table. format is an Arrow format string, type the type in
// PostgreSQL as the host describes it, key the 1-based place in the row
// identity, 0 outside it.
export class Field {
  // The number of the source's column, which stays when the column is renamed or
  // gets another type; 0 is unknown.
  id: i64 = 0;
  // The value of rows that are older than the column, as PostgreSQL prints it;
  // null is NULL. Destinations are told, transforms are not.
  missing: string | null = null;

  constructor(public name: string, public format: string, public type: Json, public nullable: bool, public key: i32) {}

  // A nullable column of a PostgreSQL type such as "text", "int8" or "float8"
  // in the format that goes with it.
  static make(name: string, format: string, type: string): Field { return new Field(name, format, Field.typeOf(type), true, 0); }

  static typeOf(name: string): Json {
    const names = ["bool", "bytea", "int8", "int2", "int4", "text", "oid", "float4", "float8", "varchar", "date", "time", "timestamp", "timestamptz", "numeric", "uuid"];
    const oids = [16, 17, 20, 21, 23, 25, 26, 700, 701, 1043, 1082, 1083, 1114, 1184, 1700, 2950];
    const i = names.indexOf(name);
    return Json.object().with("name", Json.of(name)).with("oid", Json.int(i < 0 ? 0 : oids[i])).with("typmod", Json.int(-1)).with("kind", Json.of("b"));
  }

  copy(key: i32): Field {
    const f = new Field(this.name, this.format, this.type, this.nullable, key);
    f.id = this.id;
    return f;
  }
}

// The source table. version counts the changes of its shape; oid is the
// relation's at the source, which stays when the table is renamed, 0 is unknown.
export class Table {
  database: string;
  schema: string;
  name: string;
  version: i64;
  oid: i64;
  columns: Field[] = [];

  constructor(schema: Json) {
    const id = schema.get("table");
    this.database = id.get("database").text();
    this.schema = id.get("schema").text();
    this.name = id.get("name").text();
    this.version = schema.get("version").integer(0);
    this.oid = schema.get("oid").integer(0);
    const columns = schema.get("columns").items;
    for (let i = 0; i < columns.length; i++) {
      const c = columns[i];
      const f = new Field(c.get("name").text(), c.get("format").text(), c.get("pg_type"), c.get("nullable").isTrue(), <i32>c.get("key").integer(0));
      f.id = c.get("id").integer(0);
      const missing = c.get("missing");
      if (missing.isText()) f.missing = missing.text();
      this.columns.push(f);
    }
  }

  // The index of a column, -1 if there is none.
  find(name: string): i32 {
    for (let i = 0; i < this.columns.length; i++) if (this.columns[i].name == name) return i;
    return -1;
  }
}

// Where a column of an output comes from: input column index as it is or
// converted by the host, one text, null, computed column index, or the result of
// kernel index.
export enum From { Column, Cast, Constant, Null, Computed, Kernel }

// What a kernel works on: an input column, or the result of an earlier kernel.
export class Input {
  private constructor(public name: string, public index: i32) {}

  static column(i: i32): Input { return new Input("column", i); }
  static kernel(k: i32): Input { return new Input("kernel", k); }
}

// losses say what of the input the column cannot hold, for leat plan to show.
export class TargetColumn {
  constant: string = "";
  losses: string[] = [];
  constructor(public field: Field, public from: From, public index: i32) {}
}

// A table that rows go to.
export class Target {
  columns: TargetColumn[] = [];
  // The kernel, of boolean result, that chooses the rows, -1 for none; then
  // every target has one.
  chosenBy: i32 = -1;
  constructor(public database: string, public schema: string, public name: string) {}

  add(field: Field, from: From, index: i32): TargetColumn {
    const c = new TargetColumn(field, from, index);
    this.columns.push(c);
    return c;
  }
}

// What replaces a text: appends to out. An error message fails the row.
export abstract class Rewrite {
  abstract append(value: View, row: i32, out: Column): string | null;
}

class Step {
  constructor(public input: i32, public out: i32, public rewrite: Rewrite) {}
}

// What becomes of a table. A new plan has no target: every row is dropped.
export class Plan {
  table: Table;
  config: Json;
  peers: Json;
  databases: Json;
  // What a plan may ask for that not every host of this ABI has, such as
  // "positions".
  features: Json;
  // Says that process asks where rows stand in the log, see Batch.place. The host
  // has to have the feature "positions".
  positions: bool = false;
  targets: Target[] = [];
  filters: bool = false;
  needs: i32[] = [];
  computed: string[] = [];
  kernels: Json = Json.list();
  message: string = "";
  steps: Step[] = [];

  constructor(request: Json) {
    this.config = request.get("config");
    this.peers = request.get("peers");
    this.databases = request.get("databases");
    this.features = request.get("features");
    this.table = new Table(request.get("schema"));
  }

  // Says whether the host has a feature.
  has(feature: string): bool {
    for (let i = 0; i < this.features.items.length; i++) if (this.features.items[i].text() == feature) return true;
    return false;
  }

  // Ends the plan with a message: return p.refuse("why").
  refuse(message: string): bool {
    this.message = message;
    return false;
  }

  // Adds a target with every column as it is.
  keepAll(): Target {
    const t = this.addTarget(this.table.name);
    for (let i = 0; i < this.table.columns.length; i++) t.add(this.table.columns[i].copy(this.table.columns[i].key), From.Column, i);
    return t;
  }

  // Adds a target without columns in the source's schema. With several, every
  // row is routed by Output.emit.
  addTarget(name: string): Target {
    const t = new Target(this.table.database, this.table.schema, name);
    this.targets.push(t);
    return t;
  }

  // The text column that a setting names; -1 after a refusal.
  textColumn(setting: string): i32 {
    const name = this.config.get(setting).text();
    const i = this.table.find(name);
    if (i >= 0 && this.table.columns[i].format == "u") return i;
    this.refuse("table " + this.table.name + " has no text column " + name);
    return -1;
  }

  // Asks for input column i and returns its index in the batch. No other
  // column enters the plugin.
  need(i: i32): i32 {
    const at = this.needs.indexOf(i);
    return at >= 0 ? at : this.needs.push(i) - 1;
  }

  // Announces a computed column and returns its index in the output.
  compute(format: string): i32 { return this.computed.push(format) - 1; }

  // Has the host compute a kernel of pdk/README.md and returns its index for
  // From.Kernel, Input.kernel and chosenBy. No cell of its inputs enters the
  // plugin.
  kernel(name: string, parameters: Json, inputs: Input[]): i32 {
    const list = Json.list();
    for (let i = 0; i < inputs.length; i++) list.items.push(Json.object().with(inputs[i].name, Json.int(inputs[i].index)));
    return this.kernels.items.push(Json.object().with("kernel", Json.of(name)).with("inputs", list).with("parameters", parameters)) - 1;
  }

  // Replaces text column i of the first target. Null stays null, absent stays
  // absent. Where rows are emitted, the column follows them.
  rewrite(i: i32, r: Rewrite): void {
    const step = new Step(this.need(i), this.compute("u"), r);
    this.steps.push(step);
    const c = this.targets[0].columns[i];
    c.from = From.Computed;
    c.index = step.out;
  }

  run(b: Batch, o: Output): void {
    for (let i = 0; i < this.steps.length; i++) {
      const step = this.steps[i];
      const view = b.column(step.input), out = o.column(step.out);
      for (let row = 0; row < b.rows; row++) {
        const state = view.state(row);
        if (state != State.Value) {
          out.pushState(state);
          continue;
        }
        const message = step.rewrite.append(view, row, out);
        if (message !== null) o.fail(row, message);
        out.endText();
      }
    }
  }

  // Has the columns of rewrites follow the rows that were emitted.
  follow(o: Output): void { for (let i = 0; i < this.steps.length; i++) o.follow(this.steps[i].out); }

  reply(): Json {
    const needs = Json.list(), computed = Json.list(), outputs = Json.list();
    for (let i = 0; i < this.needs.length; i++) needs.items.push(Json.int(this.needs[i]));
    for (let i = 0; i < this.computed.length; i++) computed.items.push(Json.of(this.computed[i]));
    for (let i = 0; i < this.targets.length; i++) {
      const t = this.targets[i], columns = Json.list();
      for (let k = 0; k < t.columns.length; k++) columns.items.push(describe(t.columns[k]));
      const table = Json.object().with("database", Json.of(t.database)).with("schema", Json.of(t.schema)).with("name", Json.of(t.name));
      const output = Json.object().with("table", table).with("columns", columns);
      outputs.items.push(t.chosenBy < 0 ? output : output.with("where", Json.int(t.chosenBy)));
    }
    const reply = Json.object().with("needs", needs).with("computed", computed).with("filters", Json.flag(this.filters)).with("kernels", this.kernels).with("outputs", outputs);
    return this.positions ? reply.with("positions", Json.flag(true)) : reply;
  }
}

function describe(c: TargetColumn): Json {
  const from = Json.object();
  switch (c.from) {
    case From.Column: from.with("column", Json.int(c.index)); break;
    case From.Cast: from.with("cast", Json.int(c.index)); break;
    case From.Constant: from.with("constant", Json.of(c.constant)); break;
    case From.Null: from.with("null", Json.flag(true)); break;
    case From.Kernel: from.with("kernel", Json.int(c.index)); break;
    default: from.with("computed", Json.int(c.index));
  }
  const column = Json.object().with("name", Json.of(c.field.name)).with("format", Json.of(c.field.format)).with("pg_type", c.field.type)
    .with("nullable", Json.flag(c.field.nullable)).with("key", Json.int(c.field.key)).with("id", Json.int(c.field.id)).with("from", from);
  return c.losses.length > 0 ? column.with("losses", Json.texts(c.losses)) : column;
}
