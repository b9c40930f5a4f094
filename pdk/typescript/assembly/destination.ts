// Section 6: destinations, and the SQL capability of section 7.

import { Json, Kind } from "./json";
import { Bytes } from "./memory";

// The reply of a call: its ok, or why it failed. cause is the number of the
// host's error behind it, 0 for none; kind a class of section 7, or "".
export class Reply {
  ok: Json = Json.object();
  message: string = "";
  cause: i64 = 0;
  kind: string = "";
  failed: bool = false;

  static ok(value: Json): Reply {
    const r = new Reply();
    r.ok = value;
    return r;
  }

  static fail(message: string): Reply {
    const r = new Reply();
    r.message = message;
    r.failed = true;
    return r;
  }

  json(): Json {
    if (!this.failed) return Json.object().with("ok", this.ok);
    const e = Json.object().with("message", Json.of(this.message));
    if (this.cause != 0) e.with("cause", Json.int(this.cause));
    if (this.kind != "") e.with("class", Json.of(this.kind));
    return Json.object().with("error", e);
  }
}

// A destination: each call takes the request and returns the reply, as section
// 6 gives them.
export abstract class Destination {
  abstract open(request: Json): Reply;
  abstract plan(request: Json): Reply;
  abstract write(request: Json): Reply;
  abstract commit(request: Json): Reply;
  abstract checkpoint(request: Json): Reply;
  abstract rollback(request: Json): Reply;
  abstract close(request: Json): Reply;
}

// @ts-ignore: decorator
@external("leat", "reply") declare function hostReply(into: usize, length: u32): void;
// @ts-ignore: decorator
@external("leat", "sql_exec") declare function sqlExec(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "sql_query") declare function sqlQuery(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "sql_ingest") declare function sqlIngest(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "sql_begin") declare function sqlBegin(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "sql_commit") declare function sqlCommit(at: usize, length: u32): u32;
// @ts-ignore: decorator
@external("leat", "sql_rollback") declare function sqlRollback(at: usize, length: u32): u32;

const request = new Bytes();

function encode(r: Json): void {
  request.len = 0;
  r.write(request);
}

function received(length: u32): Reply {
  const text = new Bytes();
  text.want(length);
  hostReply(text.at, length);
  const v = Json.parse(String.UTF8.decodeUnsafe(text.at, length));
  heap.free(text.at);
  const e = v.get("error");
  if (e.kind == Kind.Missing) return Reply.ok(v.get("ok"));
  const r = Reply.fail(e.get("message").text());
  r.cause = e.get("number").integer(0);
  return r;
}

// The database behind the capability sql.
export namespace sql {
  export function exec(statement: string): Reply {
    encode(Json.object().with("sql", Json.of(statement)));
    return received(sqlExec(request.at, request.len));
  }
  export function query(statement: string): Reply {
    encode(Json.object().with("sql", Json.of(statement)));
    return received(sqlQuery(request.at, request.len));
  }
  // Has the host move the rows of a batch, see sql_ingest.
  export function ingest(r: Json): Reply {
    encode(r);
    return received(sqlIngest(request.at, request.len));
  }
  export function begin(): Reply {
    encode(Json.object());
    return received(sqlBegin(request.at, request.len));
  }
  export function commit(): Reply {
    encode(Json.object());
    return received(sqlCommit(request.at, request.len));
  }
  export function rollback(): Reply {
    encode(Json.object());
    return received(sqlRollback(request.at, request.len));
  }
}
