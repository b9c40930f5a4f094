// Writes the ASCII letters of a text column in upper case.

import { Column, Plan, Rewrite, Transform, View, registerTransform } from "../../assembly";
export * from "../../assembly/transform";

class Upper extends Rewrite {
  append(value: View, row: i32, out: Column): string | null {
    const at = value.textAt(row), n = value.textLength(row);
    for (let i = 0; i < n; i++) {
      const c = load<u8>(at + i);
      out.appendByte(c >= 0x61 && c <= 0x7a ? c - 32 : c);
    }
    return null;
  }
}

class Example extends Transform {
  plan(p: Plan): bool {
    const c = p.textColumn("column");
    if (c < 0) return false;
    p.keepAll();
    p.rewrite(c, new Upper());
    return true;
  }
}

registerTransform(() => new Example());
