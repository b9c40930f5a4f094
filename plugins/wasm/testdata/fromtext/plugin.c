/* A transform written from pdk/README.md alone, without any kit: it makes the
 * ASCII letters of the first text column that is no key upper-case, drops rows
 * whose text is "drop" and refuses those whose text is "fail". Build line:
 *
 *   clang --target=wasm32 -std=c11 -O2 -Wall -Wextra -Werror -mbulk-memory -nostdlib -Wl,--no-entry -o fromtext.wasm plugin.c
 */
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name), used))

void *memcpy(void *to, const void *from, unsigned long n) { return __builtin_memcpy(to, from, n); }
void *memset(void *to, int c, unsigned long n) { return __builtin_memset(to, c, n); }

/* ---- Section 2: memory. The input is at the start, outputs come behind it. -- */

extern unsigned char __heap_base;
static uint32_t input_end, top;

static uint32_t take(uint32_t size) {
    uint32_t at = (top + 7) & ~7u;
    top = at + size;
    uint32_t have = (uint32_t)__builtin_wasm_memory_size(0) << 16;
    if (top > have && __builtin_wasm_memory_grow(0, (top - have + 65535) >> 16) == -1ul) __builtin_trap();
    return at;
}

EXPORT(leat_abi_version) int32_t abi(void) { return 1; }

EXPORT(leat_alloc) uint32_t alloc(uint32_t size) {
    top = (uint32_t)&__heap_base;
    uint32_t at = take(size);
    input_end = top;
    return at;
}

/* ---- The request: JSON, of which unknown keys are passed over. -------------- */

typedef struct { const char *at, *end; } text;

static const char *blank(const char *p) { while (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r' || *p == ',' || *p == ':') p++; return p; }

/* The end of the value at p, which is well formed. */
static const char *skip(const char *p) {
    int depth = 0;
    do {
        if (*p == '"') {
            for (p++; *p != '"'; p++) if (*p == '\\') p++;
            p++;
        } else if (*p == '{' || *p == '[') depth++, p++;
        else if (*p == '}' || *p == ']') depth--, p++;
        else if (depth) p++;
        else while (*p != ',' && *p != '}' && *p != ']' && *p != ' ') p++;
    } while (depth);
    return p;
}

static int same(text t, const char *s) {
    const char *p = t.at;
    for (; *s; p++, s++) if (p >= t.end || *p != *s) return 0;
    return p == t.end;
}

/* A member of an object; its text with quotes, empty if there is none. */
static text member(text object, const char *key) {
    for (const char *p = blank(object.at + 1); p < object.end && *p != '}'; p = blank(p)) {
        text name = {p + 1, skip(p) - 1};
        const char *value = blank(name.end + 1);
        p = skip(value);
        if (same(name, key)) return (text){value, p};
    }
    return (text){0, 0};
}

/* ---- The reply ------------------------------------------------------------- */

static uint32_t begin(void) { top = input_end; return take(0); }
static void put(const char *s) {
    for (; *s; s++) {
        uint32_t have = (uint32_t)__builtin_wasm_memory_size(0) << 16;
        if (top == have && __builtin_wasm_memory_grow(0, 1) == -1ul) __builtin_trap();
        *(char *)top++ = *s;
    }
}
static void put_text(text t) { for (const char *p = t.at; p < t.end; p++) { char one[2] = {*p, 0}; put(one); } }
static void put_int(uint32_t n) {
    char s[11], *p = s + 10;
    *p = 0;
    do *--p = (char)('0' + n % 10); while (n /= 10);
    put(p);
}

/* Puts a member of a column as it is, or what stands in for a missing one. */
static void put_member(text column, const char *key, const char *otherwise) {
    text v = member(column, key);
    put("\""), put(key), put("\":");
    if (v.at) put_text(v); else put(otherwise);
}

EXPORT(leat_plan) uint64_t plan(const char *request, uint32_t len) {
    text schema = member((text){request, request + len}, "schema"), columns = member(schema, "columns");
    uint32_t at = begin(), i = 0, chosen = UINT32_MAX;
    for (const char *p = blank(columns.at + 1); *p != ']'; p = blank(skip(p)), i++) {
        text c = {p, skip(p)}, key = member(c, "key");
        if (chosen == UINT32_MAX && same(member(c, "format"), "\"u\"") && (!key.at || same(key, "0"))) chosen = i;
    }
    if (chosen == UINT32_MAX) {
        put("{\"error\":{\"message\":\"the table has no text column\"}}");
        return (uint64_t)at << 32 | (top - at);
    }
    put("{\"ok\":{\"needs\":["), put_int(chosen), put("],\"computed\":[\"u\"],\"filters\":true,\"outputs\":[{\"table\":{");
    text table = member(schema, "table");
    put_member(table, "database", "\"\""), put(","), put_member(table, "schema", "\"\""), put(","), put_member(table, "name", "\"\"");
    put("},\"columns\":[");
    i = 0;
    for (const char *p = blank(columns.at + 1); *p != ']'; p = blank(skip(p)), i++) {
        text c = {p, skip(p)};
        put(i ? ",{" : "{"), put_member(c, "name", "\"\""), put(","), put_member(c, "format", "\"u\""), put(","), put_member(c, "pg_type", "{}");
        put(","), put_member(c, "nullable", "true"), put(","), put_member(c, "key", "0");
        put(",\"from\":{");
        if (i == chosen) put("\"computed\":0}}"); else put("\"column\":"), put_int(i), put("}}");
    }
    put("]}]}}");
    return (uint64_t)at << 32 | (top - at);
}

/* ---- Sections 3 and 5 ------------------------------------------------------- */

typedef struct { int64_t length, null_count, offset, n_buffers, n_children; uint32_t buffers, children, dictionary, release, private_data, pad; } array;
_Static_assert(sizeof(array) == 64, "an ArrowArray has 64 bytes");
typedef struct { uint32_t plan, rows, array, schema, presence, ops, reserved[2]; } input;
typedef struct { uint32_t message, message_len, rows, columns, array, presence, selection, routes, n_errors, errors, reserved[2]; } output;
_Static_assert(sizeof(output) == 48, "a result has 48 bytes");

static uint32_t zeroed(uint32_t size) { uint32_t at = take(size); memset((void *)at, 0, size); return at; }
static int bit(const uint8_t *map, uint32_t i) { return !map || map[i >> 3] >> (i & 7) & 1; }
static void set(uint8_t *map, uint32_t i) { map[i >> 3] |= (uint8_t)(1 << (i & 7)); }

EXPORT(leat_process) uint32_t process(const input *in) {
    top = input_end;
    const array *root = (array *)in->array, *column = (array *)*(uint32_t *)root->children;
    const uint32_t *buffers = (uint32_t *)column->buffers;
    const uint8_t *valid = (uint8_t *)buffers[0], *present = (uint8_t *)*(uint32_t *)in->presence;
    const int32_t *offsets = (int32_t *)buffers[1];
    const char *data = (char *)buffers[2], *ops = (char *)in->ops;
    uint32_t rows = in->rows, bits = (rows + 7) / 8;
    output *out = (output *)zeroed(sizeof(output));
    array *made_root = (array *)zeroed(sizeof(array)), *made = (array *)zeroed(sizeof(array));
    uint32_t *children = (uint32_t *)zeroed(4), *presence = (uint32_t *)zeroed(4), *none = (uint32_t *)zeroed(4), *b = (uint32_t *)zeroed(12);
    uint8_t *has = (uint8_t *)zeroed(bits + 1), *sent = (uint8_t *)zeroed(bits + 1);
    int32_t *ends = (int32_t *)zeroed(4 * rows + 4);
    uint32_t *selection = (uint32_t *)zeroed(4 * rows + 4), *errors = (uint32_t *)zeroed(12 * rows + 4);
    char *bytes = (char *)zeroed(rows ? (uint32_t)offsets[rows] + 1 : 1);
    static const char refused[] = "the text is \"fail\"";
    uint32_t n = 0, used = 0;
    for (uint32_t r = 0; r < rows; r++) {
        int is_value = bit(present, r) && bit(valid, r);
        text t = is_value ? (text){data + offsets[r], data + offsets[r + 1]} : (text){0, 0};
        if (is_value && same(t, "drop") && ops[r] != 'K') continue;
        if (is_value && same(t, "fail")) {
            uint32_t *e = errors + 3 * out->n_errors++;
            e[0] = r, e[1] = (uint32_t)refused, e[2] = sizeof refused - 1;
        }
        for (const char *p = t.at; p < t.end; p++) bytes[used++] = *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p;
        if (is_value) set(has, n);
        if (bit(present, r)) set(sent, n);
        selection[n++] = r, ends[n] = (int32_t)used;
    }
    b[0] = (uint32_t)has, b[1] = (uint32_t)ends, b[2] = (uint32_t)bytes;
    *made = (array){.length = n, .null_count = -1, .n_buffers = 3, .buffers = (uint32_t)b};
    *children = (uint32_t)made, *presence = (uint32_t)sent;
    *made_root = (array){.length = n, .n_buffers = 1, .n_children = 1, .buffers = (uint32_t)none, .children = (uint32_t)children};
    out->rows = n, out->columns = 1, out->array = (uint32_t)made_root, out->presence = (uint32_t)presence;
    out->selection = (uint32_t)selection, out->errors = (uint32_t)errors;
    return (uint32_t)out;
}
