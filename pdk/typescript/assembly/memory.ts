// Growing bytes outside the collector's heap, whose address stays until they
// grow.
export class Bytes {
  at: usize = heap.alloc(64);
  len: u32 = 0;
  room: u32 = 64;

  want(more: u32): void {
    const len = <u64>this.len + more;
    if (len <= this.room) return;
    if (len > 0x7fffffff) throw new Error("a column of more than 2 GiB");
    this.room = <u32>max<u64>(len, min<u64>(<u64>this.room * 2, 0x7fffffff));
    this.at = heap.realloc(this.at, this.room);
  }

  push<T>(v: T): void {
    this.want(sizeof<T>());
    store<T>(this.at + this.len, v);
    this.len += sizeof<T>();
  }

  copy(from: usize, n: u32): void {
    this.want(n);
    memory.copy(this.at + this.len, from, n);
    this.len += n;
  }

  zeros(n: u32): void {
    this.want(n);
    memory.fill(this.at + this.len, 0, n);
    this.len += n;
  }

  text(s: string): void {
    const n = <u32>String.UTF8.byteLength(s);
    this.want(n);
    String.UTF8.encodeUnsafe(changetype<usize>(s), s.length, this.at + this.len);
    this.len += n;
  }
}

// Memory of one call, taken back at the next.
const scraps: usize[] = [];

export function scratch(size: usize): usize {
  const at = heap.alloc(max<usize>(size, 8));
  memory.fill(at, 0, size);
  scraps.push(at);
  return at;
}

export function sweep(): void {
  for (let i = 0; i < scraps.length; i++) heap.free(scraps[i]);
  scraps.length = 0;
}
