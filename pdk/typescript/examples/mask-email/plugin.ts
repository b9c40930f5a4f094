// Keeps the first letter and the domain of an e-mail address.

import { Column, Plan, Rewrite, Transform, View, registerTransform } from "../../assembly";
export * from "../../assembly/transform";

class Mask extends Rewrite {
  append(value: View, row: i32, out: Column): string | null {
    const at = value.textAt(row), n = value.textLength(row);
    let sign = n - 1;
    while (sign >= 0 && load<u8>(at + sign) != 0x40) sign--;
    const known = sign > 0 && load<u8>(at) < 0x80; // an address, with a letter of one byte
    if (known) out.append(at, 1);
    out.appendText("***");
    if (known) out.append(at + sign, n - sign);
    return null;
  }
}

class Example extends Transform {
  plan(p: Plan): bool {
    const c = p.textColumn("column");
    if (c < 0) return false;
    p.keepAll();
    p.rewrite(c, new Mask());
    return true;
  }
}

registerTransform(() => new Example());
