// Adds two bigint columns into a new one; an overflow fails its row.

import { Batch, Field, From, Output, Plan, State, Transform, registerTransform } from "../../assembly";
export * from "../../assembly/transform";

class Example extends Transform {
  a: i32 = 0;
  b: i32 = 0;
  sum: i32 = 0;

  bigint(p: Plan, setting: string): i32 {
    const name = p.config.get(setting).text();
    const i = p.table.find(name);
    if (i >= 0 && p.table.columns[i].format == "l") return p.need(i);
    p.refuse("there is no bigint column " + name);
    return -1;
  }

  plan(p: Plan): bool {
    this.a = this.bigint(p, "a");
    if (this.a < 0) return false;
    this.b = this.bigint(p, "b");
    if (this.b < 0) return false;
    this.sum = p.compute("l");
    p.keepAll().add(Field.make(p.config.get("into").text(), "l", "int8"), From.Computed, this.sum);
    return true;
  }

  process(batch: Batch, o: Output): bool {
    const a = batch.column(this.a), b = batch.column(this.b), sum = o.column(this.sum);
    for (let row = 0; row < batch.rows; row++) {
      const state = max<i32>(a.state(row), b.state(row)); // absent before null
      if (state != State.Value) {
        sum.pushState(state);
        continue;
      }
      const x = a.get<i64>(row), y = b.get<i64>(row), total = x + y;
      if (((x ^ total) & (y ^ total)) < 0) o.fail(row, "the sum is out of range for bigint");
      sum.push<i64>(total);
    }
    return true;
  }
}

registerTransform(() => new Example());
