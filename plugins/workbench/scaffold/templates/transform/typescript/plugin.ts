// Replaces the values of text columns by one text.

import { Column, Plan, Rewrite, Transform, View, registerTransform } from "./leat/assembly";
export * from "./leat/assembly/transform";

// The kit calls it for values only: null stays null, and what the source did
// not send stays unchanged.
class Replace extends Rewrite {
  constructor(public text: string) { super(); }

  append(value: View, row: i32, out: Column): string | null {
    out.appendText(this.text);
    return null;
  }
}

class Plugin extends Transform {
  // Called once for each version of each table. It says what becomes of the
  // table and which columns are needed for that: no other enters the plugin.
  plan(p: Plan): bool {
    // The settings are already valid against config.schema.json.
    const setting = p.config.get("with");
    const text = setting.isMissing() ? "***" : setting.text();
    const names = p.config.get("columns").items;
    p.keepAll(); // every column as it is; from here on, changes
    for (let n = 0; n < names.length; n++) {
      const name = names[n].text();
      const i = p.table.find(name);
      if (i < 0) return p.refuse("table " + p.table.name + " has no column " + name + ": correct columns, or leave the table out under tables of the pipeline file");
      const column = p.table.columns[i];
      if (column.key > 0) return p.refuse("column " + name + " of table " + p.table.name + " is part of the key: one text for all would make one row of all");
      if (column.format != "u") return p.refuse("column " + name + " of table " + p.table.name + " is not text");
      p.rewrite(i, new Replace(text));
    }
    return true;
  }
}

registerTransform(() => new Plugin());
