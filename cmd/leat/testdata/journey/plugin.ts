// Writes customers in upper case, drops orders of a negative amount and makes a
// row of each tag.

import { Batch, Column, Field, From, Output, Plan, Rewrite, State, Transform, View, registerTransform } from "./leat/assembly";
export * from "./leat/assembly/transform";

class Upper extends Rewrite {
  append(value: View, row: i32, out: Column): string | null {
    const text = value.text(row);
    if (text.length == 0) return "the customer has no name";
    out.appendText(text.toUpperCase());
    return null;
  }
}

class Plugin extends Transform {
  amount: i32 = 0;
  tags: i32 = 0;
  tag: i32 = 0;

  plan(p: Plan): bool {
    const id = p.table.find("id"), customer = p.table.find("customer"), amount = p.table.find("amount"), tags = p.table.find("tags");
    if (id < 0 || customer < 0 || amount < 0 || tags < 0) return p.refuse("this is for tables with the columns id, customer, amount and tags");
    p.keepAll();
    p.filters = true;
    p.rewrite(customer, new Upper());
    this.amount = p.need(amount);
    this.tags = p.need(tags);
    this.tag = p.compute("u");
    const each = p.addTarget(p.table.name + "_tags");
    each.add(p.table.columns[id].copy(0), From.Column, id);
    each.add(Field.make("tag", "u", "text"), From.Computed, this.tag);
    return true;
  }

  process(b: Batch, o: Output): bool {
    const amount = b.column(this.amount), tags = b.column(this.tags), tag = o.column(this.tag);
    o.select();
    for (let row = 0; row < b.rows; row++) {
      if (amount.state(row) == State.Value && amount.get<i64>(row) < 0) continue;
      o.emit(row, 0);
      tag.pushNull();
      if (tags.state(row) != State.Value) continue;
      const parts = tags.text(row).split(",");
      for (let i = 0; i < parts.length; i++) {
        o.emit(row, 1);
        tag.pushText(parts[i]);
      }
    }
    return true;
  }
}

registerTransform(() => new Plugin());
