// Hashes a text column regardless of case and drops the rows that a condition
// does not hold for. Kernels of the host do both: no cell enters the plugin.

import { From, Input, Json, Plan, Transform, registerTransform } from "../../assembly";
export * from "../../assembly/transform";

class Example extends Transform {
  plan(p: Plan): bool {
    const c = p.textColumn("column");
    if (c < 0) return false;
    const lower = p.kernel("case", Json.object().with("to", Json.of("lower")), [Input.column(c)]);
    const hash = p.kernel("hash", Json.object().with("algorithm", Json.of("md5")), [Input.kernel(lower)]);
    const all: Input[] = [];
    for (let i = 0; i < p.table.columns.length; i++) all.push(Input.column(i));
    const t = p.keepAll();
    t.columns[c].from = From.Kernel;
    t.columns[c].index = hash;
    t.chosenBy = p.kernel("expression", Json.object().with("source", p.config.get("where")).with("as", Json.of("b")), all);
    return true;
  }
}

registerTransform(() => new Example());
