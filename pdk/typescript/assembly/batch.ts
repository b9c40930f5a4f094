// Section 5: the columns that a plan asked for, as they lie in memory.

import { scratch } from "./memory";

// What a change is. OldKey is the old identity of the update behind it.
export enum Op { Insert = 0x49, Update = 0x55, Delete = 0x44, Read = 0x52, OldKey = 0x4b }

// The states of a cell. Absent means that the source did not send it: it is
// neither a value nor null, and nothing may be computed from it.
export enum State { Value, Null, Absent }

// Where a row stands: the LSN of its commit, its place in that transaction, and
// the time of the commit in microseconds since 1970. What a load has read has
// those of its snapshot, which is another one where it is read again.
export class Place {
  constructor(public lsn: u64, public ordinal: u64, public commitTime: i64) {}
}

// The rows of a call. It is valid for that call only.
export class Batch {
  rows: i32 = 0;
  ops: usize = 0;
  places: usize = 0;
  columns: View[] = [];

  op(row: i32): Op { return <Op>load<u8>(this.ops + row); }

  // Where a row stands in the log. The plan has to ask for positions.
  place(row: i32): Place {
    if (this.places == 0) throw new Error("the plan does not ask for positions");
    const at = this.places + 24 * row;
    return new Place(load<u64>(at), load<u64>(at, 8), load<i64>(at, 16));
  }

  // The column that Plan.need returned i for.
  column(i: i32): View { return this.columns[i]; }
}

// A bit of a bitmap.
export function bit(map: usize, i: i32): bool { return ((load<u8>(map + (i >> 3)) >> <u8>(i & 7)) & 1) != 0; }

// A column without a copy. A reader stops the call for a cell that is no
// value: look at its state first.
export class View {
  rows: i32 = 0;
  width: i32 = 0;
  valid: usize = 0;
  present: usize = 0;
  offsets: usize = 0;
  data: usize = 0;

  state(row: i32): State {
    if (this.present != 0 && !bit(this.present, row)) return State.Absent;
    return this.valid != 0 && !bit(this.valid, row) ? State.Null : State.Value;
  }

  // Every cell is a value: kernels over whole buffers need no other check.
  dense(): bool { return this.valid == 0 && this.present == 0; }

  private check(row: i32, width: i32): void {
    if (this.width != width) throw new Error("the column has another width");
    if (this.state(row) != State.Value) throw new Error("the cell is null or absent: look at its state first");
  }

  // The bytes of a text: where they begin and how many they are.
  textAt(row: i32): usize {
    this.check(row, -1);
    return this.data + load<i32>(this.offsets + (row << 2));
  }
  textLength(row: i32): i32 { return load<i32>(this.offsets + (row << 2), 4) - load<i32>(this.offsets + (row << 2)); }

  // A text as a string of the language, which costs a copy.
  text(row: i32): string { return String.UTF8.decodeUnsafe(this.textAt(row), this.textLength(row)); }

  bool(row: i32): bool {
    this.check(row, 0);
    return bit(this.data, row);
  }

  // A value of fixed width: i16, i32, i64, f32 or f64.
  get<T>(row: i32): T {
    this.check(row, sizeof<T>());
    return load<T>(this.data + row * sizeof<T>());
  }
}

// A column that the host has written, from its ArrowArray.
export function viewOf(array: usize, presence: usize, rows: i32, format: string): View {
  const buffers = load<usize>(array, 40), v = new View();
  v.rows = rows;
  v.width = width(format);
  v.valid = load<usize>(buffers);
  v.present = presence;
  if (v.width == -1) v.offsets = load<usize>(buffers, 4);
  v.data = v.width == -1 ? load<usize>(buffers, 8) : load<usize>(buffers, 4);
  return v;
}

// Writes the ArrowArray of a column for the host, for the time of a call.
export function arrayOf(v: View): usize {
  const text = v.width == -1, buffers = scratch(12);
  store<usize>(buffers, v.valid);
  if (text) store<usize>(buffers, v.offsets, 4);
  store<usize>(buffers + (text ? 8 : 4), v.data);
  return array(v.rows, buffers, text ? 3 : 2, 0, 0);
}

export function array(rows: i32, buffers: usize, nBuffers: i32, children: usize, nChildren: i32): usize {
  const a = scratch(64);
  store<i64>(a, rows);
  store<i64>(a, -1, 8);
  store<i64>(a, nBuffers, 24);
  store<i64>(a, nChildren, 32);
  store<usize>(a, buffers, 40);
  store<usize>(a, children, 44);
  return a;
}

// Bytes of a value of a format: 0 for booleans, -1 for text and binary.
export function width(format: string): i32 {
  if (format == "b") return 0;
  if (format == "u" || format == "z") return -1;
  if (format == "s") return 2;
  if (format == "i" || format == "I" || format == "f" || format == "tdD") return 4;
  if (format == "l" || format == "g" || format == "ttu" || format == "tsu:" || format == "tsu:UTC") return 8;
  if (format == "w:16") return 16;
  if (format.startsWith("d:")) return format.endsWith(",256") ? 32 : 16;
  throw new Error("no column can have the format " + format);
}
