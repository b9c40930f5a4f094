// Says where rows stand in the log, with the TypeScript kit.

import { Batch, From, Output, Plan, State, Transform, registerTransform } from "../../../../pdk/typescript/assembly";
export * from "../../../../pdk/typescript/assembly/transform";

class Places extends Transform {
  plan(p: Plan): bool {
    p.positions = p.config.get("asks").isTrue() && p.has("positions");
    p.need(1);
    const c = p.keepAll().columns[1];
    c.from = From.Computed;
    c.index = p.compute("u");
    return true;
  }

  process(b: Batch, o: Output): bool {
    const v = b.column(0), said = o.column(0);
    for (let row = 0; row < b.rows; row++) {
      const s = v.state(row);
      if (s != State.Value) {
        said.pushState(s);
        continue;
      }
      const at = b.place(row);
      said.pushText(v.text(row) + " " + at.lsn.toString() + "/" + at.ordinal.toString() + " " + at.commitTime.toString());
    }
    return true;
  }
}

registerTransform(() => new Places());
