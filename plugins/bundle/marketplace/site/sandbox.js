// Runs a transform, its very module, on a few rows. This is the host's side of
// pdk/README.md in small: text, integers, booleans and double precision as
// input, every row an insert. It is a worker of its own, so that the page can
// end it, and what it does leaves it only as the answer to a message.
"use strict";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

// The types that a column can have in the sample, with their Arrow formats.
const types = {
  "text": { format: "u", name: "text", oid: 25, kind: "b" },
  "text[]": { format: "u", name: "text[]", oid: 1009, kind: "a" },
  "integer": { format: "i", name: "int4", oid: 23, kind: "b" },
  "bigint": { format: "l", name: "int8", oid: 20, kind: "b" },
  "boolean": { format: "b", name: "bool", oid: 16, kind: "b" },
  "double precision": { format: "g", name: "float8", oid: 701, kind: "b" },
};

// parseCSV reads rows of cells; an empty cell without quotes is null.
function parseCSV(text) {
  const rows = [];
  let row = [], cell = "", quoted = false, was = false;
  const endCell = () => { row.push(cell === "" && !was ? null : cell); cell = ""; was = false; };
  const endRow = () => { endCell(); if (row.length > 1 || row[0] !== null) rows.push(row); row = []; };
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c !== '"') cell += c;
      else if (text[i + 1] === '"') { cell += '"'; i++; }
      else quoted = false;
    } else if (c === '"') { quoted = was = true; }
    else if (c === ",") endCell();
    else if (c === "\n") endRow();
    else if (c !== "\r") cell += c;
  }
  if (quoted) throw new Error("a quoted cell is not closed");
  if (cell !== "" || was || row.length > 0) endRow();
  return rows;
}

// readTable makes columns of CSV whose header may name types: id:bigint.
function readTable(text) {
  const [header, ...rows] = parseCSV(text);
  if (!header) throw new Error("the sample is empty");
  if (rows.length > 1000) throw new Error("the sample has more than 1000 rows");
  return header.map((title, at) => {
    const colon = (title || "").lastIndexOf(":");
    const name = colon < 0 ? title : title.slice(0, colon);
    const type = types[colon < 0 ? "text" : title.slice(colon + 1).trim()];
    if (!name) throw new Error("column " + (at + 1) + " has no name");
    if (!type) throw new Error("column " + name + ": types are " + Object.keys(types).join(", "));
    return { name, type, values: rows.map((row, i) => readValue(type.format, row[at] ?? null, name, i)) };
  });
}

function readValue(format, text, name, row) {
  if (text === null || format === "u") return text;
  const wrong = () => new Error("row " + (row + 1) + ", column " + name + ": " + text + " is not of its type");
  switch (format) {
    case "i": case "l": {
      if (!/^-?\d+$/.test(text)) throw wrong();
      const n = BigInt(text), bits = format === "i" ? 32 : 64;
      if (BigInt.asIntN(bits, n) !== n) throw wrong();
      return n;
    }
    case "b":
      if (!/^(t|f|true|false)$/.test(text)) throw wrong();
      return text[0] === "t";
  }
  if (Number.isNaN(Number(text))) throw wrong();
  return Number(text);
}

function notHere() { throw new Error("this plugin has functions of Leat run on what it computed, which a browser cannot: try it with leat plugin run"); }

// Guest is an instance of a plugin.
class Guest {
  constructor() { this.said = ""; this.keys = new Map(); this.reply = new Uint8Array(0); }

  async load(bytes) {
    await this.start(bytes, false);
    if (this.exports.leat_abi_version() !== 1) throw new Error("the plugin speaks another ABI");
  }

  async start(bytes, lenient) {
    const module = await WebAssembly.compile(bytes);
    const wasi = this.wasi();
    if (lenient) for (const i of WebAssembly.Module.imports(module)) wasi[i.name] ??= () => 52; // there is no such function
    this.exports = (await WebAssembly.instantiate(module, { wasi_snapshot_preview1: wasi, leat: this.leat() })).exports;
    if (this.exports._initialize) this.exports._initialize();
  }

  // leat is the module of that name. What a plugin keeps by kv lasts for one run.
  leat() {
    const answer = (f) => (p, n) => {
      this.reply = encoder.encode(JSON.stringify({ ok: f(JSON.parse(this.text(p, n))) }));
      return this.reply.length;
    };
    return {
      log: (_, p, n) => { this.say(this.text(p, n)); },
      reply: (p, n) => { this.bytes(p, n).set(this.reply); },
      kernel_run: notHere, kernel_result: notHere,
      kv_get: answer((r) => ({ value: this.keys.get(r.key) ?? null })),
      kv_put: answer((r) => { this.keys.set(r.key, r.value); return {}; }),
      kv_delete: answer((r) => { this.keys.delete(r.key); return {}; }),
      kv_list: answer((r) => ({ keys: [...this.keys.keys()].filter((k) => k.startsWith(r.prefix)).sort().slice(0, r.limit || 10000) })),
    };
  }

  view() { return new DataView(this.exports.memory.buffer); }
  bytes(p, n) { return new Uint8Array(this.exports.memory.buffer, p >>> 0, n >>> 0); }
  text(p, n) { return decoder.decode(this.bytes(p, n)); }
  say(text) { if (this.said.length < 4096) this.said += text; }

  wasi() {
    const u32 = (p, v) => this.view().setUint32(p, v, true);
    const zero = (p, n) => { this.bytes(p, n).fill(0); return 0; };
    return {
      args_get: () => 0, args_sizes_get: (a, b) => { u32(a, 0); u32(b, 0); return 0; },
      environ_get: () => 0, environ_sizes_get: (a, b) => { u32(a, 0); u32(b, 0); return 0; },
      clock_time_get: (_, __, p) => { this.view().setBigUint64(p, BigInt(Math.round(performance.now() * 1e6)), true); return 0; },
      clock_res_get: (_, p) => { this.view().setBigUint64(p, 1000n, true); return 0; },
      random_get: zero,
      fd_write: (fd, vectors, count, written) => {
        let n = 0;
        for (let i = 0; i < count; i++) {
          const p = this.view().getUint32(vectors + 8 * i, true), size = this.view().getUint32(vectors + 8 * i + 4, true);
          if (fd === 1 || fd === 2) this.say(this.text(p, size));
          n += size;
        }
        u32(written, n);
        return 0;
      },
      fd_close: () => 0, fd_seek: () => 70, fd_read: () => 8, fd_fdstat_set_flags: () => 0,
      fd_fdstat_get: (_, p) => { zero(p, 24); this.bytes(p, 1)[0] = 2; return 0; },
      fd_prestat_get: () => 8, fd_prestat_dir_name: () => 8, sched_yield: () => 0,
      poll_oneoff: (from, to, count, events) => {
        for (let i = 0; i < count; i++) {
          zero(to + 32 * i, 32);
          this.bytes(to + 32 * i, 8).set(this.bytes(from + 48 * i, 8));
        }
        u32(events, count);
        return 0;
      },
      proc_exit: (code) => { throw new Error("the plugin ended with code " + code); },
    };
  }

  // ask makes a call that takes and gives JSON.
  ask(name, request) {
    const input = encoder.encode(JSON.stringify(request));
    const at = this.exports.leat_alloc(input.length) >>> 0;
    this.bytes(at, input.length).set(input);
    const reply = BigInt.asUintN(64, this.exports[name](at, input.length));
    return this.ok(JSON.parse(this.text(Number(reply >> 32n), Number(reply & 0xffffffffn))));
  }

  ok(reply) {
    if (reply.error) throw new Error(reply.error.message);
    return reply.ok;
  }

  // process calls leat_process with some columns and returns what it computed.
  process(columns, rows, computed, positions) {
    const size = layOut(new Block(0, null), columns, rows, positions);
    const at = this.exports.leat_alloc(size) >>> 0;
    layOut(new Block(at, this.bytes(at, size)), columns, rows, positions);
    const out = this.exports.leat_process(at) >>> 0;
    const v = this.view(), word = (p) => v.getUint32(p, true);
    if (word(out) !== 0) this.ok(JSON.parse(this.text(word(out), word(out + 4))));
    const result = { rows: word(out + 8), columns: [], errors: [], selection: null, routes: null };
    const array = word(out + 16), presence = word(out + 20);
    computed.forEach((format, i) => {
      const child = word(word(array + 44) + 4 * i);
      result.columns.push(this.column(format, child, presence && word(presence + 4 * i), result.rows));
    });
    const list = (p) => p === 0 ? null : Array.from({ length: result.rows }, (_, i) => v.getInt32(p + 4 * i, true));
    result.selection = list(word(out + 24));
    result.routes = list(word(out + 28));
    for (let i = 0, p = word(out + 36); i < word(out + 32); i++, p += 12) {
      result.errors.push({ row: word(p), message: this.text(word(p + 4), Math.min(word(p + 8), 4096)) });
    }
    return result;
  }

  column(format, array, presence, rows) {
    const v = this.view(), buffers = v.getUint32(array + 40, true), buffer = (i) => v.getUint32(buffers + 4 * i, true);
    const bit = (p, i) => p === 0 || (v.getUint8(p + (i >> 3)) >> (i & 7) & 1) === 1;
    const values = [];
    for (let i = 0; i < rows; i++) {
      values.push(bit(presence, i) && bit(buffer(0), i) ? this.value(format, buffer, i) : null);
    }
    return values;
  }

  value(format, buffer, i) {
    const v = this.view(), p = buffer(1);
    switch (format) {
      case "b": return (v.getUint8(p + (i >> 3)) >> (i & 7) & 1) === 1;
      case "s": return BigInt(v.getInt16(p + 2 * i, true));
      case "i": return BigInt(v.getInt32(p + 4 * i, true));
      case "I": return BigInt(v.getUint32(p + 4 * i, true));
      case "l": return v.getBigInt64(p + 8 * i, true);
      case "f": return v.getFloat32(p + 4 * i, true);
      case "g": return v.getFloat64(p + 8 * i, true);
      case "u": case "z": {
        const start = v.getInt32(p + 4 * i, true), end = v.getInt32(p + 4 * i + 4, true), data = buffer(2) + start;
        if (format === "u") return this.text(data, end - start);
        return "\\x" + Array.from(this.bytes(data, end - start), (b) => b.toString(16).padStart(2, "0")).join("");
      }
    }
    return "(" + format + ")";
  }
}

// Block lays things out in guest memory: first without memory, to know how
// large they are, then into it.
class Block {
  constructor(base, into) { this.base = base; this.size = 0; this.into = into; }

  take(n) {
    const at = this.size = (this.size + 7) & ~7;
    this.size += n;
    if (this.into) this.into.fill(0, at, at + n);
    return at;
  }

  u32(at, v) { if (this.into) new DataView(this.into.buffer, this.into.byteOffset).setUint32(at, v, true); }
  i64(at, v) { if (this.into) new DataView(this.into.buffer, this.into.byteOffset).setBigInt64(at, BigInt(v), true); }

  put(bytes) {
    const at = this.take(Math.max(bytes.length, 1));
    if (this.into) this.into.set(bytes, at);
    return this.base + at;
  }

  words(list) { return this.put(new Uint8Array(Uint32Array.from(list).buffer)); }
}

// layOut writes the argument of leat_process and returns its size.
function layOut(b, columns, rows, positions) {
  const call = b.take(32);
  b.u32(call + 4, rows);
  b.u32(call, 1);
  b.u32(call + 8, array(b, rows, [0], columns.map((c) => array(b, rows, buffersOf(b, c, rows), []))));
  b.u32(call + 12, schema(b, "+s", "", columns.map((c) => schema(b, c.type.format, c.name, []))));
  b.u32(call + 16, b.words(columns.length ? columns.map(() => 0) : [0]));
  b.u32(call + 20, b.put(new Uint8Array(rows).fill("I".charCodeAt(0))));
  if (positions) b.u32(call + 24, places(b, rows));
  return b.size;
}

// places has the rows be those of one transaction of just now.
function places(b, rows) {
  const at = b.take(24 * rows), now = BigInt(Date.now()) * 1000n;
  for (let i = 0; i < rows; i++) {
    b.i64(at + 24 * i, 1);
    b.i64(at + 24 * i + 8, i);
    b.i64(at + 24 * i + 16, now);
  }
  return b.base + at;
}

function array(b, rows, buffers, children) {
  const at = b.take(64);
  b.i64(at, rows);
  b.i64(at + 8, -1);
  b.i64(at + 24, buffers.length);
  b.i64(at + 32, children.length);
  b.u32(at + 40, b.words(buffers));
  b.u32(at + 44, children.length ? b.words(children) : 0);
  return b.base + at;
}

function schema(b, format, name, children) {
  const at = b.take(48);
  b.u32(at, b.put(encoder.encode(format + "\0")));
  b.u32(at + 4, b.put(encoder.encode(name + "\0")));
  b.i64(at + 16, 2);
  b.i64(at + 24, children.length);
  b.u32(at + 32, children.length ? b.words(children) : 0);
  return b.base + at;
}

function buffersOf(b, column, rows) {
  const bits = (f) => {
    const out = new Uint8Array((rows + 7) >> 3);
    column.values.forEach((v, i) => { if (f(v)) out[i >> 3] |= 1 << (i & 7); });
    return b.put(out);
  };
  const valid = bits((v) => v !== null);
  switch (column.type.format) {
    case "b": return [valid, bits((v) => v === true)];
    case "i": return [valid, b.put(new Uint8Array(Int32Array.from(column.values, (v) => Number(v ?? 0)).buffer))];
    case "l": return [valid, b.put(new Uint8Array(BigInt64Array.from(column.values, (v) => v ?? 0n).buffer))];
    case "g": return [valid, b.put(new Uint8Array(Float64Array.from(column.values, (v) => v ?? 0).buffer))];
  }
  const texts = column.values.map((v) => encoder.encode(v ?? ""));
  const offsets = new Int32Array(rows + 1);
  texts.forEach((t, i) => { offsets[i + 1] = offsets[i] + t.length; });
  const data = new Uint8Array(offsets[rows]);
  texts.forEach((t, i) => data.set(t, offsets[i]));
  return [valid, b.put(new Uint8Array(offsets.buffer)), b.put(data)];
}

const print = (v) => v === null ? null : v === true ? "t" : v === false ? "f" : String(v);

// Columns as the interface describes them.
const fieldOf = (c, i) => ({ name: c.name, format: c.type.format, nullable: i > 0, key: i === 0 ? 1 : 0, pg_type: { name: c.type.name, oid: c.type.oid, typmod: -1, kind: c.type.kind } });

// split parts the settings into the plugin's own and those that stay with the
// host, as a pipeline does.
function split(config, hosts) {
  const own = {}, host = {};
  for (const [name, value] of Object.entries(config)) (hosts.includes(name) ? host : own)[name] = value;
  return { own, host };
}

// Kernels computes what a plan leaves to the host: the same code as Leat's, as a
// module of its own. results are texts by kernel and row.
class Kernels {
  constructor(plan, columns, rows) { this.plan = plan; this.columns = columns; this.rows = rows; this.results = []; this.failed = []; }

  async compute(bytes, settings) {
    const guest = new Guest();
    await guest.start(bytes, true);
    const columns = this.columns.map((c, i) => ({ ...fieldOf(c, i), cells: c.values.map(print) }));
    const done = guest.ask("leat_kernels", { rows: this.rows, columns, kernels: this.plan.kernels, settings });
    this.results = done.results;
    this.failed = done.failed;
  }

  // takes says whether an output takes a row.
  takes(output, row) { return !("where" in output) || this.results[output.where][row] === "t"; }

  // errors are rows that a kernel could not compute, if an output takes them or
  // if it was to decide that.
  errors() {
    const deciding = new Set(), visit = (k) => {
      if (deciding.has(k)) return;
      deciding.add(k);
      for (const from of this.plan.kernels[k].inputs) if ("kernel" in from) visit(from.kernel);
    };
    for (const o of this.plan.outputs) if ("where" in o) visit(o.where);
    const out = [];
    this.failed.forEach((rows, k) => {
      for (const [row, message] of Object.entries(rows)) {
        if (deciding.has(k) || this.plan.outputs.some((o) => this.takes(o, Number(row)))) out.push({ row: Number(row), message });
      }
    });
    return out;
  }
}

// run plans a plugin for a table, processes its rows, and puts together what
// a destination would be given. hosts are the settings that stay with the host,
// kernels fetches its kernels.
async function run(bytes, csv, config, hosts, kernels) {
  const columns = readTable(csv), rows = columns[0].values.length;
  const guest = new Guest(), settings = split(config, hosts);
  try {
    await guest.load(bytes);
    const table = { database: "sample", schema: "public", name: "sample" };
    const plan = guest.ask("leat_plan", {
      abi: 1, kind: "transform", plan: 1, config: settings.own, peers: [], databases: ["sample"], kernels: kernelNames, features: ["positions"],
      schema: { table, version: 1, columns: columns.map(fieldOf) },
    });
    plan.kernels = plan.kernels || [];
    plan.outputs = plan.outputs || [];
    const needs = (plan.needs || []).map((i) => columns[i]), computed = plan.computed || [];
    const chosen = plan.outputs.some((o) => "where" in o);
    const calls = rows > 0 && (computed.length > 0 || plan.filters || (plan.outputs.length > 1 && !chosen));
    const done = calls ? guest.process(needs, rows, computed, plan.positions === true) : { rows, columns: [], errors: [], selection: null, routes: null };
    const host = new Kernels(plan, columns, rows);
    if (plan.kernels.length > 0) await host.compute(await kernels(), settings.host);
    const errors = done.errors.concat(host.errors()).filter((e, i, all) => all.findIndex((other) => other.row === e.row) === i);
    const failed = new Set(errors.map((e) => e.row));
    const tables = plan.outputs.map((output, o) => {
      const picked = [];
      for (let i = 0; i < done.rows; i++) {
        const from = done.selection ? done.selection[i] : i;
        if ((chosen ? host.takes(output, from) : (done.routes ? done.routes[i] : 0) === o) && !failed.has(from)) picked.push([i, from]);
      }
      const cell = (from, [i, row]) => {
        if ("column" in from) return print(columns[from.column].values[row]);
        if ("cast" in from) return print(columns[from.cast].values[row]);
        if ("constant" in from) return from.constant;
        if ("computed" in from) return print(done.columns[from.computed][i]);
        if ("kernel" in from) return host.results[from.kernel][row];
        return null;
      };
      return { name: output.table.schema + "." + output.table.name, columns: output.columns.map((c) => c.name), rows: picked.map((at) => output.columns.map((c) => cell(c.from, at))) };
    });
    return { tables, errors, sees: needs.map((c) => c.name), kernels: [...new Set(plan.kernels.map((k) => k.kernel))], said: guest.said };
  } catch (e) {
    return { error: e.message, said: guest.said };
  }
}

const kernelNames = ["aes-siv", "any", "array-json", "case", "cast", "expression", "geojson", "hash", "hmac", "interval-iso", "json-path", "mask", "range-json", "regex", "replace", "round", "split", "substring", "time", "trim"];

async function read(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error("the module cannot be read: " + answer.status);
  return answer;
}

onmessage = async ({ data }) => {
  try {
    const kernels = async () => new Response((await read(data.kernels)).body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
    const module = await (await read(data.module)).arrayBuffer();
    postMessage(await run(module, data.csv, JSON.parse(data.config || "{}"), data.hosts, kernels));
  } catch (e) {
    postMessage({ error: e.message, said: "" });
  }
};
