// Makes a row of each word of a text column, in the table NAME_words beside the
// source table. A change of words shows as new rows: use it for tables that
// are only inserted into.

import { Batch, Field, From, Output, Plan, State, Transform, registerTransform } from "../../assembly";
export * from "../../assembly/transform";

class Example extends Transform {
  text: i32 = 0;
  word: i32 = 0;

  plan(p: Plan): bool {
    const c = p.textColumn("column");
    if (c < 0) return false;
    this.text = p.need(c);
    this.word = p.compute("u");
    p.keepAll();
    const words = p.addTarget(p.table.name + "_words");
    for (let i = 0; i < p.table.columns.length; i++) {
      if (p.table.columns[i].key > 0) words.add(p.table.columns[i].copy(0), From.Column, i);
    }
    words.add(Field.make("word", "u", "text"), From.Computed, this.word);
    return true;
  }

  process(b: Batch, o: Output): bool {
    const v = b.column(this.text), word = o.column(this.word);
    for (let row = 0; row < b.rows; row++) {
      o.emit(row, 0);
      word.pushNull(); // the first table takes no word
      if (v.state(row) != State.Value) continue;
      const at = v.textAt(row), n = v.textLength(row);
      for (let i = 0, from = 0; i <= n; i++) {
        if (i < n && load<u8>(at + i) != 0x20) continue;
        if (i > from) {
          o.emit(row, 1);
          word.append(at + from, i - from);
          word.endText();
        }
        from = i + 1;
      }
    }
    return true;
  }
}

registerTransform(() => new Example());
