// What testdata/grants does, with the TypeScript kit.

import { Column, Failure, HttpRequest, Names, Plan, Rewrite, Stored, Transform, View, blob, http, kv, now, random, registerTransform, utf8 } from "../../../../pdk/typescript/assembly";
export * from "../../../../pdk/typescript/assembly/transform";

function failed(f: Failure | null, otherwise: string): string { return f === null ? otherwise : "error: " + f.message; }

function quoted(s: Stored): string {
  const data = s.data;
  return failed(s.failure, "\"" + (data === null ? "" : String.UTF8.decodeUnsafe(data.dataStart, data.length)) + "\"");
}

function listed(n: Names): string { return failed(n.failure, "[" + n.names.join(" ") + "]"); }

function act(text: string): string {
  const words = text.split(" "), verb = words[0], key = words.length > 1 ? words[1] : "", data = utf8(words.slice(2).join(" "));
  if (verb == "get") {
    const r = new HttpRequest("GET", key);
    r.headers.set("accept", "text/plain");
    const answer = http.send(r);
    return failed(answer.failure, answer.status.toString() + " " + answer.text() + "0");
  }
  if (verb == "put") return failed(kv.put(key, data), "put");
  if (verb == "value") return quoted(kv.get(key));
  if (verb == "keys") return listed(kv.list(key));
  if (verb == "write") return failed(blob.put(key, data), "written");
  if (verb == "read") return quoted(blob.get(key));
  if (verb == "files") return listed(blob.list(key));
  if (verb == "now") return (1970 + now() / 31556952000000).toString();
  if (verb == "random") {
    const b = new Uint8Array(16);
    random(b);
    let out = "";
    for (let i = 0; i < b.length; i++) out += (<i32>b[i]).toString(16).padStart(2, "0");
    return out;
  }
  if (verb == "remove") {
    const f = kv.remove(key);
    return failed(f === null ? blob.remove(key) : f, "removed");
  }
  return text;
}

class Do extends Rewrite {
  append(value: View, row: i32, out: Column): string | null {
    out.appendText(act(value.text(row)));
    return null;
  }
}

class Grants extends Transform {
  plan(p: Plan): bool {
    p.keepAll();
    p.rewrite(1, new Do());
    return true;
  }
}

registerTransform(() => new Grants());
