// Drops the inserts and updates in which a text column has a value.

import { Batch, Output, Plan, State, Transform, registerTransform } from "../../assembly";
export * from "../../assembly/transform";

class Example extends Transform {
  column: i32 = 0;
  unwanted: string = "";

  plan(p: Plan): bool {
    const c = p.textColumn("column");
    if (c < 0) return false;
    p.keepAll();
    p.filters = true;
    this.column = p.need(c);
    this.unwanted = p.config.get("value").text();
    return true;
  }

  process(b: Batch, o: Output): bool {
    o.select();
    const v = b.column(this.column);
    for (let row = 0; row < b.rows; row++) {
      if (v.state(row) != State.Value || v.text(row) != this.unwanted) o.emit(row, 0);
    }
    return true;
  }
}

registerTransform(() => new Example());
