// The C guest of the meter's tests: the kernels of the Go guest. Built with
//   clang --target=wasm32 -O2 -nostdlib -mbulk-memory -Wl,--no-entry -Wl,--strip-all -o guest.wasm guest.c
// (clang and lld 14).
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
#define EXPORT(name) __attribute__((export_name(#name)))
#define ROWS 8192

static i64 a[ROWS], b[ROWS], sum[ROWS];
static u32 eoff[ROWS + 1], aoff[ROWS + 1];
static u8 emails[ROWS * 40], arrays[ROWS * 64], out[1 << 21];

static u32 text(u8 *to, const char *s) {
  u32 n = 0;
  for (; s[n]; n++) to[n] = s[n];
  return n;
}

static u32 number(u8 *to, u32 v) {
  u8 d[10];
  u32 n = 0, i = 0;
  do d[n++] = '0' + v % 10; while (v /= 10);
  while (n) to[i++] = d[--n];
  return i;
}

EXPORT(prepare) void prepare(void) {
  u32 e = 0, r = 0;
  for (u32 i = 0; i < ROWS; i++) {
    a[i] = (i64)i * 7919, b[i] = i ^ 0x5555;
    e += text(emails + e, "customer."), e += number(emails + e, i), e += text(emails + e, "@example.org");
    eoff[i + 1] = e;
    r += text(arrays + r, "{red,\"dark \\\"blue\",NULL,"), r += number(arrays + r, i), r += text(arrays + r, ",green,12.5}");
    aoff[i + 1] = r;
  }
}

static i64 checksum(u32 n) { return (i64)n << 32 | (i64)out[n - 1] << 8 | out[n / 2]; }

EXPORT(add) i64 add(u32 times) {
  while (times--) {
    for (u32 i = 0; i < ROWS; i++) sum[i] = a[i] + b[i];
    __asm__ volatile("" ::: "memory");
  }
  return sum[ROWS - 1];
}

EXPORT(upper) i64 upper(u32 times) {
  u32 o = 0;
  while (times--) {
    o = 0;
    for (u32 i = 0; i < ROWS; i++)
      for (u32 k = eoff[i]; k < eoff[i + 1]; k++) {
        u8 c = emails[k];
        out[o++] = c >= 'a' && c <= 'z' ? c - 32 : c;
      }
    __asm__ volatile("" ::: "memory");
  }
  return checksum(o);
}

EXPORT(mask) i64 mask(u32 times) {
  u32 o = 0;
  while (times--) {
    o = 0;
    for (u32 i = 0; i < ROWS; i++) {
      u32 from = eoff[i], to = eoff[i + 1], at = from;
      while (at < to && emails[at] != '@') at++;
      if (at > from && at < to) out[o++] = emails[from];
      out[o++] = '*', out[o++] = '*', out[o++] = '*';
      if (at > from && at < to) __builtin_memcpy(out + o, emails + at, to - at), o += to - at;
    }
    __asm__ volatile("" ::: "memory");
  }
  return checksum(o);
}

static u32 json(u32 o, const u8 *p, const u8 *end) {
  out[o++] = '[';
  for (p++; p < end; p++) {
    if (*p == '"') {
      out[o++] = '"';
      for (p++; *p != '"'; p++) {
        if (*p == '\\') p++;
        if (*p == '"' || *p == '\\') out[o++] = '\\';
        out[o++] = *p;
      }
      out[o++] = '"', p++;
    } else {
      const u8 *from = p;
      while (*p != ',' && *p != '}') p++;
      if (p - from == 4 && from[0] == 'N' && from[1] == 'U' && from[2] == 'L' && from[3] == 'L') {
        o += text(out + o, "null");
      } else {
        out[o++] = '"';
        for (; from < p; from++) out[o++] = *from;
        out[o++] = '"';
      }
    }
    if (*p == ',') out[o++] = ',';
  }
  out[o++] = ']';
  return o;
}

EXPORT(array) i64 array(u32 times) {
  u32 o = 0;
  while (times--) {
    o = 0;
    for (u32 i = 0; i < ROWS; i++) o = json(o, arrays + aoff[i], arrays + aoff[i + 1]);
    __asm__ volatile("" ::: "memory");
  }
  return checksum(o);
}

static const u32 k[64] = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};
static const u32 start[8] = {
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};
static u32 h[8];

#define ROTR(x, n) ((x) >> (n) | (x) << (32 - (n)))

static void block(const u8 *p) {
  u32 w[64], s[8];
  for (int i = 0; i < 16; i++) w[i] = p[4 * i] << 24 | p[4 * i + 1] << 16 | p[4 * i + 2] << 8 | p[4 * i + 3];
  for (int i = 16; i < 64; i++) {
    u32 x = w[i - 15], y = w[i - 2];
    w[i] = w[i - 16] + (ROTR(x, 7) ^ ROTR(x, 18) ^ x >> 3) + w[i - 7] + (ROTR(y, 17) ^ ROTR(y, 19) ^ y >> 10);
  }
  for (int i = 0; i < 8; i++) s[i] = h[i];
  for (int i = 0; i < 64; i++) {
    u32 e = s[4], t = s[7] + (ROTR(e, 6) ^ ROTR(e, 11) ^ ROTR(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + k[i] + w[i], c = s[0];
    u32 q = (ROTR(c, 2) ^ ROTR(c, 13) ^ ROTR(c, 22)) + ((c & s[1]) ^ (c & s[2]) ^ (s[1] & s[2]));
    s[7] = s[6], s[6] = s[5], s[5] = e, s[4] = s[3] + t, s[3] = s[2], s[2] = s[1], s[1] = c, s[0] = t + q;
  }
  for (int i = 0; i < 8; i++) h[i] += s[i];
}

EXPORT(sha) i64 sha(u32 times) {
  while (times--)
    for (u32 i = 0; i < ROWS; i += 8) {
      u8 m[64];
      u32 n = eoff[i + 1] - eoff[i];
      for (u32 j = 0; j < 64; j++) m[j] = j < n ? emails[eoff[i] + j] : j == n ? 0x80 : 0;
      m[62] = n >> 5, m[63] = n << 3;
      for (int j = 0; j < 8; j++) h[j] = start[j];
      block(m);
    }
  u64 r = 0;
  for (int i = 1; i >= 0; i--)
    r = r << 32 | (u32)__builtin_bswap32(h[i]);
  return r;
}
