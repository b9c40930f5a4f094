// What testdata/kernels does, with the TypeScript kit.

import { Batch, Column, Field, From, Json, Output, Plan, State, Transform, registerTransform, runKernel } from "../../../../pdk/typescript/assembly";
export * from "../../../../pdk/typescript/assembly/transform";

class Kernels extends Transform {
  field: Field = Field.make("", "u", "text");
  kernel: string = "";
  parameters: Json = Json.object();

  plan(p: Plan): bool {
    const at = <i32>p.config.get("column").integer(0);
    this.field = p.table.columns[at];
    this.kernel = p.config.get("kernel").text();
    this.parameters = p.config.get("parameters");
    p.need(at);
    const c = p.keepAll().columns[at];
    c.from = From.Computed;
    c.index = p.compute("u");
    return true;
  }

  process(b: Batch, o: Output): bool {
    const v = b.column(0), turned = Column.make("u");
    for (let row = 0; row < b.rows; row++) {
      const s = v.state(row);
      if (s == State.Value) turned.pushText(v.text(row).split("").reverse().join(""));
      else turned.pushState(s);
    }
    const r = runKernel(this.kernel, this.parameters, [this.field], [turned.view()]);
    const failure = r.failure;
    if (failure !== null) return o.refuse(failure.message);
    if (r.format != "u") return o.refuse("the result has format " + r.format);
    for (let i = 0; i < r.rows.length; i++) o.fail(r.rows[i], r.messages[i]);
    for (let row = 0; row < b.rows; row++) {
      const s = r.view.state(row);
      if (s == State.Value) o.column(0).pushText(r.view.text(row));
      else o.column(0).pushState(s);
    }
    return true;
  }
}

registerTransform(() => new Kernels());
