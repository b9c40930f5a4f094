// Section 5: what a batch becomes.

import { State, View, bit, width } from "./batch";
import { Bytes, scratch } from "./memory";

// The cells of a computed column, one for each output row.
export class Column {
  width: i32 = 0;
  rows: i32 = 0;
  data: Bytes = new Bytes();
  offsets: Bytes = new Bytes();
  valid: Bytes = new Bytes();
  present: Bytes = new Bytes();
  hasNulls: bool = false;
  hasAbsent: bool = false;

  reset(format: string): void {
    this.width = width(format);
    this.rows = 0;
    this.data.len = this.offsets.len = this.valid.len = this.present.len = 0;
    this.hasNulls = this.hasAbsent = false;
    if (this.width == -1) this.offsets.push<i32>(0);
  }

  // An empty column of a format, for what is no output: see runKernel.
  static make(format: string): Column {
    const c = new Column();
    c.reset(format);
    return c;
  }

  // The cells that were pushed.
  view(): View {
    const v = new View();
    v.rows = this.rows;
    v.width = this.width;
    v.valid = this.hasNulls ? this.valid.at : 0;
    v.present = this.hasAbsent ? this.present.at : 0;
    v.offsets = this.offsets.at;
    v.data = this.data.at;
    return v;
  }

  private end(valid: bool, present: bool): void {
    if (this.width == -1) this.offsets.push<i32>(this.data.len);
    if (!valid && !this.hasNulls) this.hasNulls = ones(this.valid, this.rows);
    if (!present && !this.hasAbsent) this.hasAbsent = ones(this.present, this.rows);
    if (this.hasNulls) set(this.valid, this.rows, valid);
    if (this.hasAbsent) set(this.present, this.rows, present);
    this.rows++;
  }

  private want(width: i32): void {
    if (this.width != width) throw new Error("the column has another width");
  }

  // A text written piece by piece: any number of appends, then end.
  append(at: usize, length: i32): void { this.data.copy(at, length); }
  appendByte(c: u8): void { this.data.push<u8>(c); }
  appendText(s: string): void { this.data.text(s); }
  endText(): void {
    this.want(-1);
    this.end(true, true);
  }

  // Puts the cells of some rows, i32 each, into another text column.
  choose(rows: Bytes, c: Column): void {
    c.reset("u");
    for (let i: u32 = 0; i < rows.len; i += 4) {
      const row = load<i32>(rows.at + i), from = load<i32>(this.offsets.at + (row << 2));
      c.append(this.data.at + from, load<i32>(this.offsets.at + (row << 2), 4) - from);
      c.end(!this.hasNulls || bit(this.valid.at, row), !this.hasAbsent || bit(this.present.at, row));
    }
  }

  pushText(s: string): void {
    this.appendText(s);
    this.endText();
  }

  pushBool(v: bool): void {
    this.want(0);
    set(this.data, this.rows, v);
    this.end(true, true);
  }

  // Pushes a value of fixed width: i16, i32, i64, f32 or f64.
  push<T>(v: T): void {
    this.want(sizeof<T>());
    this.data.push<T>(v);
    this.end(true, true);
  }

  pushNull(): void {
    this.nothing();
    this.end(false, true);
  }

  // The cell stays as it is at the destination.
  pushAbsent(): void {
    this.nothing();
    this.end(false, false);
  }

  // What is computed from null is null, from absent absent.
  pushState(s: State): void {
    if (s == State.Null) this.pushNull();
    else this.pushAbsent();
  }

  private nothing(): void {
    if (this.width == 0) set(this.data, this.rows, false);
    else if (this.width > 0) this.data.zeros(this.width);
  }
}

function ones(map: Bytes, rows: i32): bool {
  const n = (rows + 7) >> 3;
  map.len = 0;
  map.want(n);
  memory.fill(map.at, 0xff, n);
  map.len = n;
  return true;
}

function set(map: Bytes, i: i32, on: bool): void {
  if (<u32>(i >> 3) >= map.len) map.push<u8>(0);
  const at = map.at + (i >> 3);
  const mask = <u8>1 << <u8>(i & 7);
  store<u8>(at, on ? load<u8>(at) | mask : load<u8>(at) & ~mask);
}

// The computed columns of a batch and, if rows are emitted, where each output
// row comes from.
export class Output {
  columns: Column[] = [];
  used: i32 = 0;
  selected: bool = false;
  selection: Bytes = new Bytes();
  routes: Bytes = new Bytes();
  errors: Bytes = new Bytes();
  message: string = "";
  private spare: Column = new Column();

  reset(computed: string[]): void {
    this.used = computed.length;
    while (this.columns.length < this.used) this.columns.push(new Column());
    for (let k = 0; k < this.used; k++) this.columns[k].reset(computed[k]);
    this.selected = false;
    this.selection.len = this.routes.len = this.errors.len = 0;
    this.message = "";
  }

  column(k: i32): Column { return this.columns[k]; }

  // Has column k, filled row by row of the input, follow the rows that were
  // emitted.
  follow(k: i32): void {
    if (!this.selected) return;
    const c = this.columns[k];
    c.choose(this.selection, this.spare);
    this.columns[k] = this.spare;
    this.spare = c;
  }

  // No row stays if none is emitted. emit calls it.
  select(): void { this.selected = true; }

  // Makes an input row the next output row of a target; rows go in input
  // order, as often as wanted. Without it every input row is an output row.
  emit(row: i32, target: i32): void {
    this.selected = true;
    this.selection.push<i32>(row);
    this.routes.push<i32>(target);
  }

  // The row becomes a failed event, the rest of the batch goes on. Its cells
  // are pushed all the same.
  fail(row: i32, message: string): void {
    const text = message.substr(0, 1000);
    const n = String.UTF8.byteLength(text);
    const at = scratch(n);
    String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, at);
    this.errors.push<u32>(row);
    this.errors.push<u32>(<u32>at);
    this.errors.push<u32>(n);
  }

  // Ends the call with an error: return o.refuse("why").
  refuse(message: string): bool {
    this.message = message;
    return false;
  }
}
