// Turns array literals of PostgreSQL, such as {1,NULL,"a b"}, into JSON. A row
// whose literal is broken fails alone.

import { Column, Field, Plan, Rewrite, Transform, View, registerTransform } from "../../assembly";
export * from "../../assembly/transform";

const digits = "0123456789abcdef";

class ArrayToJson extends Rewrite {
  at: usize = 0;
  end: usize = 0;
  constructor(public numbers: bool) { super(); }

  append(value: View, row: i32, out: Column): string | null {
    this.at = value.textAt(row);
    this.end = this.at + value.textLength(row);
    return this.array(out, 1) && this.at == this.end ? null : "the array literal is broken";
  }

  peek(): i32 { return this.at < this.end ? load<u8>(this.at) : -1; }

  array(out: Column, depth: i32): bool {
    if (this.peek() != 0x7b || depth > 6) return false;
    this.at++;
    out.appendByte(0x5b);
    if (this.peek() == 0x7d) {
      this.at++;
      out.appendByte(0x5d);
      return true;
    }
    for (;;) {
      const c = this.peek();
      if (c < 0) return false;
      if (!(c == 0x7b ? this.array(out, depth + 1) : c == 0x22 ? this.quoted(out) : this.bare(out))) return false;
      const next = this.peek();
      this.at++;
      if (next == 0x7d) break;
      if (next != 0x2c) return false;
      out.appendByte(0x2c);
    }
    out.appendByte(0x5d);
    return true;
  }

  quoted(out: Column): bool {
    out.appendByte(0x22);
    for (this.at++; this.peek() != 0x22; this.at++) {
      if (this.peek() == 0x5c) this.at++;
      if (this.peek() < 0) return false;
      this.char(out, load<u8>(this.at));
    }
    out.appendByte(0x22);
    this.at++;
    return true;
  }

  bare(out: Column): bool {
    const from = this.at;
    let number = true;
    while (this.peek() >= 0 && this.peek() != 0x2c && this.peek() != 0x7d) {
      const c = this.peek();
      if (c == 0x22 || c == 0x7b || c == 0x5c) return false;
      if ((c < 0x30 || c > 0x39) && (c != 0x2d || this.at > from)) number = false;
      this.at++;
    }
    const n = <i32>(this.at - from);
    if (n == 0) return false;
    if (n == 1 && load<u8>(from) == 0x2d) number = false;
    if (n == 4 && load<u32>(from) == 0x4c4c554e) out.appendText("null"); // NULL
    else if (this.numbers && number) out.append(from, n);
    else {
      out.appendByte(0x22);
      for (let i = 0; i < n; i++) this.char(out, load<u8>(from + i));
      out.appendByte(0x22);
    }
    return true;
  }

  char(out: Column, c: u8): void {
    if (c == 0x22 || c == 0x5c) out.appendByte(0x5c);
    if (c >= 0x20) {
      out.appendByte(c);
      return;
    }
    out.appendText("\\u00");
    out.appendByte(<u8>digits.charCodeAt(c >> 4));
    out.appendByte(<u8>digits.charCodeAt(c & 15));
  }
}

class Example extends Transform {
  plan(p: Plan): bool {
    const c = p.textColumn("column");
    if (c < 0) return false;
    const column = p.keepAll().columns[c].field;
    const numbers = ["int2[]", "int4[]", "int8[]"].includes(column.type.get("name").text());
    column.type = Field.typeOf("text");
    p.rewrite(c, new ArrayToJson(numbers));
    return true;
  }
}

registerTransform(() => new Example());
