// Section 2: the calls of the host.

import { Batch, array, arrayOf, viewOf } from "./batch";
import { Checkpoint, Destination, Info, Landing, Open, WriteBatch, entriesJson, entriesOf } from "./destination";
import { Failure } from "./host";
import { Json } from "./json";
import { Bytes, scratch, sweep } from "./memory";
import { Output } from "./output";
import { Plan, Table } from "./plan";

// @ts-ignore: decorator
@external("leat", "log") declare function hostLog(level: i32, at: usize, length: u32): void;

export enum Level { Debug, Info, Warn, Error }

// Writes a line to Leat's log, cut at 4 KiB.
export function log(level: Level, line: string): void {
  const text = String.UTF8.encode(line);
  hostLog(level, changetype<usize>(text), text.byteLength);
}

// A transform. There is one instance for each plan, so that plan may keep in
// fields what process needs. Both return false after a refusal.
export abstract class Transform {
  abstract plan(p: Plan): bool;
  process(b: Batch, o: Output): bool { return true; }
}

let makeTransform: (() => Transform) | null = null;
let destination: Destination | null = null;
const plans = new Map<u32, Plan>();
const transforms = new Map<u32, Transform>();
const landings = new Map<u32, Landing>();

// Makes the plugin a transform: registerTransform(() => new MyTransform()).
export function registerTransform(make: () => Transform): void { makeTransform = make; }

// Makes the plugin a destination.
export function registerDestination(d: Destination): void { destination = d; }

const input = new Bytes();
const answer = new Bytes();
const output = new Output();

export function leat_abi_version(): i32 { return 1; }

export function leat_alloc(size: u32): usize {
  input.len = 0;
  input.want(size);
  return input.at;
}

function replied(reply: Json): u64 {
  answer.len = 0;
  reply.write(answer);
  return (<u64>answer.at << 32) | answer.len;
}

function succeeded(ok: Json): u64 { return replied(Json.object().with("ok", ok)); }

// The reply of a call that returns nothing.
function done(f: Failure | null): u64 {
  return f === null ? succeeded(Json.object()) : replied(Json.object().with("error", f.json()));
}

export function leat_plan(at: usize, length: u32): u64 {
  const r = request(at, length), number = <u32>r.get("plan").integer(0);
  if (destination) {
    const landing = destination!.plan(new Table(r.get("schema")));
    if (landing.failure) return done(landing.failure);
    landings.set(number, landing);
    return succeeded(landing.json());
  }
  if (!makeTransform) return done(new Failure("the plugin registers nothing"));
  const t = makeTransform!();
  const p = new Plan(r);
  if (!t.plan(p)) return done(new Failure(p.message));
  plans.set(number, p);
  transforms.set(number, t);
  return succeeded(p.reply());
}

export function leat_process(at: usize): usize {
  sweep();
  const number = load<u32>(at);
  if (!plans.has(number)) return refused("no plan has number " + number.toString());
  const p = plans.get(number);
  const b = read(at, p);
  output.reset(p.computed);
  p.run(b, output);
  if (!transforms.get(number).process(b, output)) return refused(output.message);
  p.follow(output);
  return write(p, b.rows);
}

function refused(message: string): usize {
  done(new Failure(message));
  const r = scratch(48);
  store<usize>(r, answer.at);
  store<u32>(r, answer.len, 4);
  return r;
}

function read(at: usize, p: Plan): Batch {
  const b = new Batch();
  b.rows = load<i32>(at, 4);
  b.ops = load<usize>(at, 20);
  b.places = load<usize>(at, 24);
  const children = load<usize>(load<usize>(at, 8), 44), presence = load<usize>(at, 16);
  for (let i = 0; i < p.needs.length; i++) b.columns.push(viewOf(load<usize>(children + (i << 2)), load<usize>(presence + (i << 2)), b.rows, p.table.columns[p.needs[i]].format));
  return b;
}

function write(p: Plan, rowsIn: i32): usize {
  const r = scratch(48);
  const rows = output.selected ? <i32>(output.selection.len >> 2) : rowsIn;
  store<i32>(r, rows, 8);
  store<i32>(r, output.used, 12);
  if (output.used > 0) {
    const children = scratch(output.used << 2), presence = scratch(output.used << 2);
    for (let k = 0; k < output.used; k++) {
      const c = output.columns[k];
      store<usize>(children + (k << 2), arrayOf(c.view()));
      store<usize>(presence + (k << 2), c.hasAbsent ? c.present.at : 0);
    }
    store<usize>(r, array(rows, scratch(4), 1, children, output.used), 16);
    store<usize>(r, presence, 20);
  }
  if (output.selected) {
    store<usize>(r, output.selection.at, 24);
    if (p.targets.length > 1) store<usize>(r, output.routes.at, 28);
  }
  store<u32>(r, output.errors.len / 12, 32);
  store<usize>(r, output.errors.at, 36);
  return r;
}

function request(at: usize, length: u32): Json {
  sweep();
  return Json.parse(String.UTF8.decodeUnsafe(at, length));
}

export function leat_open(at: usize, length: u32): u64 {
  const info = new Info();
  const failure = destination!.open(new Open(request(at, length)), info);
  return failure === null ? succeeded(info.json()) : done(failure);
}

export function leat_write(at: usize, length: u32): u64 {
  const r = request(at, length), number = <u32>r.get("plan").integer(0);
  if (!landings.has(number)) return done(new Failure("no plan has number " + number.toString()));
  return done(destination!.write(landings.get(number), new WriteBatch(r.get("batch"))));
}

export function leat_commit(at: usize, length: u32): u64 { return done(destination!.commit(entriesOf(request(at, length)))); }

export function leat_checkpoint(at: usize, length: u32): u64 {
  request(at, length);
  const entries: Checkpoint[] = [];
  const failure = destination!.checkpoint(entries);
  return failure === null ? succeeded(entriesJson(entries)) : done(failure);
}

export function leat_rollback(at: usize, length: u32): u64 {
  request(at, length);
  return done(destination!.rollback());
}

export function leat_close(at: usize, length: u32): u64 {
  request(at, length);
  return done(destination!.close());
}
