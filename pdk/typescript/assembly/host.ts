// Section 7: what the host does for a plugin. A function links only if the
// pipeline grants its capability, and only what a plugin uses is imported.

import { Json, Kind } from "./json";
import { Bytes, scratch } from "./memory";
import { View, arrayOf, viewOf } from "./batch";
import { Field } from "./plan";

// @ts-ignore: decorator
@external("leat", "reply") declare function hostReply(into: usize, length: u32): void;
// @ts-ignore: decorator
@external("leat", "sql_exec") declare function hostExec(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "sql_query") declare function hostQuery(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "sql_ingest") declare function hostIngest(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "sql_begin") declare function hostBegin(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "sql_commit") declare function hostCommit(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "sql_rollback") declare function hostRollback(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "http_request") declare function hostHttp(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "kv_get") declare function hostKvGet(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "kv_put") declare function hostKvPut(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "kv_delete") declare function hostKvDelete(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "kv_list") declare function hostKvList(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "blob_get") declare function hostBlobGet(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "blob_put") declare function hostBlobPut(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "blob_delete") declare function hostBlobDelete(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "blob_list") declare function hostBlobList(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "kernel_run") declare function hostKernelRun(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "kernel_result") declare function hostKernelResult(into: usize, length: u32): void;
// @ts-ignore: decorator
@external("leat", "clock_now") declare function hostNow(): i64;
// @ts-ignore: decorator
@external("leat", "random_fill") declare function hostRandom(into: usize, length: u32): void;

// Why a host function or a call of a destination failed. Returned from a
// destination's method, the host's error reaches the engine as it is.
export class Failure {
  // connection, data, locked, resource, permission, schema or internal, or "".
  // On a failure of the plugin's own "connection" has the delivery made again,
  // "data" has the host look for the rows that cause it.
  kind: string = "";
  // SQLSTATE or the driver's own code.
  code: string = "";
  hint: string = "";
  cause: i64 = 0; // by which the host knows the error, 0 for the plugin's own

  constructor(public message: string) {}

  static of(kind: string, message: string): Failure {
    const f = new Failure(message);
    f.kind = kind;
    return f;
  }

  json(): Json {
    const e = Json.object().with("message", Json.of(this.message));
    if (this.cause != 0) return e.with("cause", Json.int(this.cause));
    return this.kind == "" ? e : e.with("class", Json.of(this.kind));
  }
}

// What the host said: ok, or the failure.
class Answer {
  constructor(public ok: Json, public failure: Failure | null) {}
}

const request = new Bytes();

function encode(r: Json): void {
  request.len = 0;
  r.write(request);
}

function received(length: u32): Answer {
  const text = new Bytes();
  text.want(length);
  hostReply(text.at, length);
  const v = Json.parse(String.UTF8.decodeUnsafe(text.at, length));
  heap.free(text.at);
  const e = v.get("error");
  if (e.kind == Kind.Missing) return new Answer(v.get("ok"), null);
  const f = Failure.of(e.get("class").text(), e.get("message").text());
  f.code = e.get("code").text();
  f.hint = e.get("hint").text();
  f.cause = e.get("number").integer(0);
  return new Answer(v, f);
}

// A small result of a query in text; null is NULL.
export class Rows {
  columns: string[] = [];
  rows: (string | null)[][] = [];
  failure: Failure | null = null;
}

// Rows that the last statement or ingest affected.
let affected: i64 = 0;

export function sqlIngest(r: Json): Failure | null {
  encode(r);
  const a = received(hostIngest(request.at, request.len));
  affected = a.ok.get("rows").integer(0);
  return a.failure;
}

// What a kernel made of columns; it lasts as long as the call. A row that it could
// not work on is absent, and among rows with its message. view is not to be used
// after a failure.
export class KernelResult {
  format: string = "";
  view: View = new View();
  rows: i32[] = [];
  messages: string[] = [];
  failure: Failure | null = null;
}

// Has the host compute a kernel of pdk/README.md at once, over columns of one
// length: those of the batch, of a Column, or another kernel's result. Fields say
// what they are; names count where the kernel names its columns. What the plan
// can say beforehand costs less there, see Plan.kernel.
export function runKernel(name: string, parameters: Json, fields: Field[], views: View[]): KernelResult {
  const inputs = Json.list(), rows = views.length > 0 ? views[0].rows : 0, out = new KernelResult();
  for (let i = 0; i < views.length; i++) {
    const f = fields[i], v = views[i];
    inputs.items.push(Json.object().with("name", Json.of(f.name)).with("format", Json.of(f.format)).with("pg_type", f.type)
      .with("array", Json.int(arrayOf(v))).with("presence", Json.int(v.present)));
  }
  encode(Json.object().with("kernel", Json.of(name)).with("parameters", parameters).with("rows", Json.int(rows)).with("inputs", inputs));
  const a = received(hostKernelRun(request.at, request.len));
  out.failure = a.failure;
  if (a.failure !== null) return out;
  const size = <u32>a.ok.get("size").integer(0), head = scratch(size);
  hostKernelResult(head, size);
  out.format = a.ok.get("format").text();
  out.view = viewOf(load<usize>(head), load<usize>(head, 4), rows, out.format);
  const n = load<i32>(head, 8), errors = load<usize>(head, 12);
  for (let i = 0; i < n; i++) {
    const e = errors + 12 * i;
    out.rows.push(load<i32>(e));
    out.messages.push(String.UTF8.decodeUnsafe(load<usize>(e, 4), load<u32>(e, 8)));
  }
  return out;
}

// The database of a destination, the capability sql.
export namespace sql {
  // Runs one or more statements.
  export function exec(statement: string): Failure | null {
    encode(Json.object().with("sql", Json.of(statement)));
    const a = received(hostExec(request.at, request.len));
    affected = a.ok.get("affected").integer(0);
    return a.failure;
  }

  // How many rows the last exec or ingest affected.
  export function rows(): i64 { return affected; }

  // Runs one statement with a small result: look-ups, checkpoints, counts.
  export function query(statement: string): Rows {
    encode(Json.object().with("sql", Json.of(statement)));
    const a = received(hostQuery(request.at, request.len)), out = new Rows();
    out.failure = a.failure;
    const columns = a.ok.get("columns").items, rows = a.ok.get("rows").items;
    for (let i = 0; i < columns.length; i++) out.columns.push(columns[i].text());
    for (let i = 0; i < rows.length; i++) {
      const row: (string | null)[] = [], cells = rows[i].items;
      for (let k = 0; k < cells.length; k++) row.push(cells[k].isText() ? cells[k].text() : null);
      out.rows.push(row);
    }
    return out;
  }

  // Opens a transaction. Without it each statement commits by itself.
  export function begin(): Failure | null {
    encode(Json.object());
    return received(hostBegin(request.at, request.len)).failure;
  }
  export function commit(): Failure | null {
    encode(Json.object());
    return received(hostCommit(request.at, request.len)).failure;
  }
  // Takes the open transaction back; without one it does nothing.
  export function rollback(): Failure | null {
    encode(Json.object());
    return received(hostRollback(request.at, request.len)).failure;
  }
}

// A request to a server that the pipeline allows.
export class HttpRequest {
  headers: Map<string, string> = new Map<string, string>();
  body: Uint8Array = new Uint8Array(0);
  constructor(public method: string, public url: string) {}
}

// The answer; the names of headers are in lower case. Any status is one.
export class HttpResponse {
  status: i32 = 0;
  headers: Map<string, string> = new Map<string, string>();
  body: Uint8Array = new Uint8Array(0);
  failure: Failure | null = null;

  text(): string { return String.UTF8.decodeUnsafe(this.body.dataStart, this.body.length); }
}

// Servers that the pipeline allows, the capability http. A batch may be processed
// again after a failure: let a request that is repeated do no harm.
export namespace http {
  export function send(r: HttpRequest): HttpResponse {
    const headers = Json.object(), names = r.headers.keys();
    for (let i = 0; i < names.length; i++) headers.with(names[i], Json.of(r.headers.get(names[i])));
    encode(Json.object().with("method", Json.of(r.method)).with("url", Json.of(r.url)).with("headers", headers).with("body_base64", Json.of(base64(r.body))));
    const a = received(hostHttp(request.at, request.len)), out = new HttpResponse();
    out.failure = a.failure;
    out.status = <i32>a.ok.get("status").integer(0);
    const found = a.ok.get("headers");
    for (let i = 0; i < found.keys.length; i++) out.headers.set(found.keys[i], found.items[i].text());
    const data = a.ok.get("body_base64");
    out.body = data.isText() ? fromBase64(data.text()) : utf8(a.ok.get("body").text());
    return out;
  }
}

// A value of kv or blob; data is null where there is none.
export class Stored {
  constructor(public data: Uint8Array | null, public failure: Failure | null) {}
}

// The names that a list has found, at most 10,000.
export class Names {
  names: string[] = [];
  failure: Failure | null = null;
}

function stored(a: Answer): Stored {
  const value = a.ok.get("value");
  return new Stored(value.isText() ? fromBase64(value.text()) : null, a.failure);
}

function namesOf(a: Answer): Names {
  const out = new Names(), keys = a.ok.get("keys").items;
  out.failure = a.failure;
  for (let i = 0; i < keys.length; i++) out.names.push(keys[i].text());
  return out;
}

function keyed(key: string): void { encode(Json.object().with("key", Json.of(key))); }

function keyedValue(key: string, data: Uint8Array): void { encode(Json.object().with("key", Json.of(key)).with("value", Json.of(base64(data)))); }

function prefixed(prefix: string): void { encode(Json.object().with("prefix", Json.of(prefix))); }

// The plugin's own space of keys and values, the capability kv. A write is
// durable at once, not with the batch: a batch that is processed again sees it.
export namespace kv {
  export function get(key: string): Stored {
    keyed(key);
    return stored(received(hostKvGet(request.at, request.len)));
  }
  export function put(key: string, data: Uint8Array): Failure | null {
    keyedValue(key, data);
    return received(hostKvPut(request.at, request.len)).failure;
  }
  // Removes a value; it is no error where there is none.
  export function remove(key: string): Failure | null {
    keyed(key);
    return received(hostKvDelete(request.at, request.len)).failure;
  }
  export function list(prefix: string): Names {
    prefixed(prefix);
    return namesOf(received(hostKvList(request.at, request.len)));
  }
}

// Files of the folder that the pipeline grants, the capability blob. Names are
// slash-separated.
export namespace blob {
  export function get(name: string): Stored {
    keyed(name);
    return stored(received(hostBlobGet(request.at, request.len)));
  }
  // Writes a file whole.
  export function put(name: string, data: Uint8Array): Failure | null {
    keyedValue(name, data);
    return received(hostBlobPut(request.at, request.len)).failure;
  }
  // Removes a file; it is no error where there is none.
  export function remove(name: string): Failure | null {
    keyed(name);
    return received(hostBlobDelete(request.at, request.len)).failure;
  }
  export function list(prefix: string): Names {
    prefixed(prefix);
    return namesOf(received(hostBlobList(request.at, request.len)));
  }
}

// The time of day in microseconds since 1970, the capability clock. A batch that
// is processed again sees another time.
export function now(): i64 { return hostNow(); }

// Fills into with random bytes, the capability random.
export function random(into: Uint8Array): void { hostRandom(into.dataStart, into.length); }

// The bytes of a text.
export function utf8(text: string): Uint8Array { return Uint8Array.wrap(String.UTF8.encode(text)); }

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

function base64(data: Uint8Array): string {
  let out = "";
  for (let i = 0; i < data.length; i += 3) {
    const left = data.length - i;
    const bits = (<u32>data[i] << 16) | (left > 1 ? <u32>data[i + 1] << 8 : 0) | (left > 2 ? <u32>data[i + 2] : 0);
    for (let k = 0; k < 4; k++) out += k <= left ? digits.charAt((bits >> (18 - 6 * k)) & 63) : "=";
  }
  return out;
}

// The host's text is well formed.
function fromBase64(text: string): Uint8Array {
  const end = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const out = new Uint8Array((text.length >> 2) * 3 - end);
  let bits: u32 = 0, at = 0;
  for (let i = 0; i < text.length - end; i++) {
    bits = (bits << 6) | <u32>digits.indexOf(text.charAt(i));
    const kept = (i & 3) * 2; // bits of the byte behind that wait
    if ((i & 3) > 0 && at < out.length) out[at++] = <u8>(bits >> (6 - kept));
  }
  return out;
}
