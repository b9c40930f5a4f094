// What the compiler calls for a thrown error, by the flag
// --use abort=<this file>/abort: the text goes where the host looks for it, then
// the call ends.

// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_write") declare function fdWrite(fd: u32, parts: usize, n: u32, written: usize): u32;

const part = memory.data(12);

export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const text = String.UTF8.encode((message ? message : "abort") + " (" + (file ? file : "?") + ":" + line.toString() + ")");
  store<usize>(part, changetype<usize>(text));
  store<u32>(part, text.byteLength, 4);
  fdWrite(2, part, 1, part + 8);
  unreachable();
}
