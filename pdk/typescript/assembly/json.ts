// The little JSON that control messages need.

import { Bytes } from "./memory";

export enum Kind { Missing, Null, Bool, Number, Text, List, Object }

// A JSON value. Numbers keep their text.
export class Json {
  kind: Kind = Kind.Missing;
  bool: bool = false;
  word: string = "";
  keys: string[] = [];
  items: Json[] = [];

  static of(text: string): Json {
    const v = new Json();
    v.kind = Kind.Text;
    v.word = text;
    return v;
  }

  static int(n: i64): Json {
    const v = new Json();
    v.kind = Kind.Number;
    v.word = n.toString();
    return v;
  }

  static flag(b: bool): Json {
    const v = new Json();
    v.kind = Kind.Bool;
    v.bool = b;
    return v;
  }

  static object(): Json {
    const v = new Json();
    v.kind = Kind.Object;
    return v;
  }

  static list(): Json {
    const v = new Json();
    v.kind = Kind.List;
    return v;
  }

  static nothing(): Json {
    const v = new Json();
    v.kind = Kind.Null;
    return v;
  }

  // A list of texts.
  static texts(list: string[]): Json {
    const v = Json.list();
    for (let i = 0; i < list.length; i++) v.items.push(Json.of(list[i]));
    return v;
  }

  // Adds a member to an object and returns the object.
  with(key: string, value: Json): Json {
    this.keys.push(key);
    this.items.push(value);
    return this;
  }

  // A member of an object, a missing value where there is none.
  get(key: string): Json {
    const i = this.keys.indexOf(key);
    return i < 0 ? new Json() : this.items[i];
  }

  // The text of a string, empty for everything else.
  text(): string { return this.kind == Kind.Text ? this.word : ""; }

  integer(otherwise: i64): i64 { return this.kind == Kind.Number ? I64.parseInt(this.word) : otherwise; }

  // Whether there is no such member.
  isMissing(): bool { return this.kind == Kind.Missing; }

  isText(): bool { return this.kind == Kind.Text; }

  isTrue(): bool { return this.kind == Kind.Bool && this.bool; }

  write(out: Bytes): void {
    switch (this.kind) {
      case Kind.Bool: out.text(this.bool ? "true" : "false"); break;
      case Kind.Number: out.text(this.word); break;
      case Kind.Text: quote(this.word, out); break;
      case Kind.List:
        out.text("[");
        for (let i = 0; i < this.items.length; i++) {
          if (i > 0) out.text(",");
          this.items[i].write(out);
        }
        out.text("]");
        break;
      case Kind.Object:
        out.text("{");
        for (let i = 0; i < this.items.length; i++) {
          if (i > 0) out.text(",");
          quote(this.keys[i], out);
          out.text(":");
          this.items[i].write(out);
        }
        out.text("}");
        break;
      default: out.text("null");
    }
  }

  // Reads the host's JSON, which is well formed.
  static parse(text: string): Json { return new Parser(text).value(); }
}

function quote(s: string, out: Bytes): void {
  let from = 0;
  out.text("\"");
  for (let i = 0; i < s.length; i++) {
    const c = s.charCodeAt(i);
    if (c >= 0x20 && c != 0x22 && c != 0x5c) continue;
    out.text(s.substring(from, i));
    from = i + 1;
    if (c < 0x20) out.text("\\u" + c.toString(16).padStart(4, "0"));
    else out.text("\\" + String.fromCharCode(c));
  }
  out.text(s.substring(from));
  out.text("\"");
}

class Parser {
  at: i32 = 0;
  constructor(public text: string) {}

  next(): i32 {
    while (this.at < this.text.length) {
      const c = this.text.charCodeAt(this.at);
      if (c != 0x20 && c != 0x0a && c != 0x09 && c != 0x0d) return c;
      this.at++;
    }
    throw new Error("the request ends in the middle");
  }

  take(c: i32): bool {
    const found = this.next() == c;
    if (found) this.at++;
    return found;
  }

  value(): Json {
    const c = this.next();
    if (c == 0x22) return Json.of(this.string());
    if (c == 0x7b) {
      const v = Json.object();
      this.at++;
      while (!this.take(0x7d)) {
        this.take(0x2c);
        this.next();
        const key = this.string();
        this.take(0x3a);
        v.with(key, this.value());
      }
      return v;
    }
    if (c == 0x5b) {
      const v = Json.list();
      this.at++;
      while (!this.take(0x5d)) {
        this.take(0x2c);
        v.items.push(this.value());
      }
      return v;
    }
    const from = this.at;
    while (this.at < this.text.length && ",]} \n\t\r".indexOf(this.text.charAt(this.at)) < 0) this.at++;
    const word = this.text.substring(from, this.at);
    const v = new Json();
    if (word == "true" || word == "false") return Json.flag(word == "true");
    v.kind = word == "null" ? Kind.Null : Kind.Number;
    v.word = word;
    return v;
  }

  string(): string {
    let out = "";
    let from = ++this.at;
    for (;;) {
      const c = this.text.charCodeAt(this.at);
      if (c == 0x22) break;
      if (c != 0x5c) {
        this.at++;
        continue;
      }
      out += this.text.substring(from, this.at);
      const e = this.text.charAt(this.at + 1);
      this.at += 2;
      if (e == "u") {
        out += String.fromCharCode(<i32>I32.parseInt(this.text.substr(this.at, 4), 16));
        this.at += 4;
      } else out += e == "n" ? "\n" : e == "t" ? "\t" : e == "r" ? "\r" : e == "b" ? "\b" : e == "f" ? "\f" : e;
      from = this.at;
    }
    out += this.text.substring(from, this.at++);
    return out;
  }
}
