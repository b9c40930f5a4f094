/* What leat.h declares. It is part of the one C file that includes leat.h. */
#ifndef LEAT_IMPL_H
#define LEAT_IMPL_H

#define LEAT_FAULT __builtin_trap

void *memcpy(void *to, const void *from, size_t n) {
    __builtin_memcpy(to, from, n); /* one instruction, with -mbulk-memory */
    return to;
}
void *memset(void *to, int value, size_t n) {
    __builtin_memset(to, value, n);
    return to;
}
int memcmp(const void *a, const void *b, size_t n) {
    const unsigned char *x = a, *y = b;
    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    return 0;
}

/* ---- Memory ---------------------------------------------------------------
 * Blocks of powers of two, given back to a list for each size. What is taken
 * during a call is noted, and given back when the next one begins. */

extern unsigned char __heap_base;
static uintptr_t leat_heap;
typedef struct leat_block { struct leat_block *next; } leat_block;
static leat_block *leat_free_blocks[32];

static void *leat_take(uint32_t size, uint32_t *room) {
    uint32_t order = 6;
    while (((uint32_t)1 << order) < size)
        if (++order > 30) LEAT_FAULT();
    *room = (uint32_t)1 << order;
    leat_block *b = leat_free_blocks[order];
    if (b) {
        leat_free_blocks[order] = b->next;
        return b;
    }
    if (!leat_heap) leat_heap = ((uintptr_t)&__heap_base + 63) & ~(uintptr_t)63;
    uint64_t end = (uint64_t)leat_heap + *room, have = (uint64_t)__builtin_wasm_memory_size(0) << 16;
    if (end > have && __builtin_wasm_memory_grow(0, (end - have + 65535) >> 16) == (size_t)-1) LEAT_FAULT();
    void *at = (void *)leat_heap;
    leat_heap += *room;
    return at;
}

static void leat_give(void *at, uint32_t room) {
    if (!room) return;
    leat_block *b = at;
    uint32_t order = 31 - __builtin_clz(room);
    b->next = leat_free_blocks[order];
    leat_free_blocks[order] = b;
}

static void leat_want(leat_buffer *b, uint32_t more) {
    if ((uint64_t)b->len + more <= b->room) return;
    if ((uint64_t)b->len + more > (1u << 30)) LEAT_FAULT();
    leat_buffer old = *b;
    b->at = leat_take(old.len + more, &b->room);
    memcpy(b->at, old.at, old.len);
    leat_give(old.at, old.room);
}

static void leat_add_bytes(leat_buffer *b, const void *at, uint32_t len) {
    leat_want(b, len);
    memcpy(b->at + b->len, at, len);
    b->len += len;
}

/* The sizes that cells have: a store each, where a copy of any size is a call. */
static void leat_add_fixed(leat_buffer *b, const void *v, uint32_t size) {
    leat_want(b, size);
    char *to = b->at + b->len;
    switch (size) {
    case 2: __builtin_memcpy(to, v, 2); break;
    case 4: __builtin_memcpy(to, v, 4); break;
    case 8: __builtin_memcpy(to, v, 8); break;
    default: memcpy(to, v, size);
    }
    b->len += size;
}

typedef struct leat_scrap { struct leat_scrap *next; uint32_t room; } leat_scrap;
static leat_scrap *leat_scraps;
static bool leat_planning;

/* Memory until the next call, or for good while a plan is made. */
static void *leat_scratch(uint32_t size) {
    uint32_t room;
    if (leat_planning) {
        void *at = leat_take(size, &room);
        memset(at, 0, size);
        return at;
    }
    leat_scrap *s = leat_take(size + sizeof(leat_scrap), &room);
    s->next = leat_scraps, s->room = room;
    leat_scraps = s;
    memset(s + 1, 0, size);
    return s + 1;
}

static void leat_sweep(void) {
    while (leat_scraps) {
        leat_scrap *s = leat_scraps;
        leat_scraps = s->next;
        leat_give(s, s->room);
    }
}

void *leat_new(uint32_t size) {
    uint32_t room;
    void *at = leat_take(size, &room);
    memset(at, 0, size);
    return at;
}

static leat_text leat_keep(leat_text t) {
    char *at = leat_scratch(t.len + 1);
    memcpy(at, t.at, t.len);
    return (leat_text){at, t.len};
}

const char *leat_cstr(leat_text t) { return leat_keep(t).at; }

static leat_text leat_join(const char *first, va_list rest) {
    leat_buffer b = {0};
    for (const char *s = first; s; s = va_arg(rest, const char *)) leat_add_bytes(&b, s, leat_strlen(s));
    leat_text joined = leat_keep((leat_text){b.at, b.len});
    leat_give(b.at, b.room);
    return joined;
}

/* Appends an element to an array that stays. */
#define LEAT_PUSH(array, n, room, element)                                                        \
    do {                                                                                          \
        if ((n) == (room)) {                                                                      \
            uint32_t bytes_;                                                                      \
            void *more_ = leat_take(((n) + 1) * 2 * sizeof *(array), &bytes_);                    \
            memcpy(more_, (array), (n) * sizeof *(array));                                        \
            (array) = more_, (room) = bytes_ / sizeof *(array);                                   \
        }                                                                                         \
        (array)[(n)++] = (element);                                                               \
    } while (0)

/* ---- JSON ------------------------------------------------------------------ */

static const char *leat_blank(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r' || *at == ',' || *at == ':')) at++;
    return at;
}

/* The end of the value that begins at at; the host's JSON is well formed. */
static const char *leat_value_end(const char *at, const char *end) {
    int depth = 0;
    bool quoted = false;
    for (; at < end; at++) {
        if (quoted) {
            if (*at == '\\') at++;
            else if (*at == '"') {
                quoted = false;
                if (!depth) return at + 1;
            }
            continue;
        }
        switch (*at) {
        case '"': quoted = true; break;
        case '{': case '[': depth++; break;
        case '}': case ']':
            if (depth == 0) return at;
            if (--depth == 0) return at + 1;
            break;
        case ',': case ' ': case '\n': case '\t': case '\r':
            if (!depth) return at;
        }
    }
    return end;
}

leat_each leat_begin(leat_json list) {
    leat_each e = {0};
    if (list.len < 2 || (*list.at != '{' && *list.at != '[')) return e;
    e.object = *list.at == '{', e.at = list.at + 1, e.end = list.at + list.len - 1;
    return e;
}

bool leat_next(leat_each *e) {
    e->at = leat_blank(e->at, e->end);
    if (e->at >= e->end) return false;
    if (e->object) {
        const char *end = leat_value_end(e->at, e->end);
        e->key = (leat_text){e->at + 1, (uint32_t)(end - e->at) - 2};
        e->at = leat_blank(end, e->end);
    }
    const char *end = leat_value_end(e->at, e->end);
    e->value = (leat_json){e->at, (uint32_t)(end - e->at)};
    e->at = end;
    return true;
}

leat_json leat_get(leat_json object, const char *key) {
    leat_each e = leat_begin(object);
    while (e.object && leat_next(&e))
        if (leat_is(e.key, key)) return e.value;
    return (leat_json){0, 0};
}

static uint32_t leat_hex(const char *at) {
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        v = v << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    return v;
}

static uint32_t leat_utf8(char *to, uint32_t c) {
    if (c < 0x80) return to[0] = (char)c, 1;
    if (c < 0x800) return to[0] = (char)(0xc0 | c >> 6), to[1] = (char)(0x80 | (c & 63)), 2;
    if (c < 0x10000)
        return to[0] = (char)(0xe0 | c >> 12), to[1] = (char)(0x80 | (c >> 6 & 63)), to[2] = (char)(0x80 | (c & 63)), 3;
    return to[0] = (char)(0xf0 | c >> 18), to[1] = (char)(0x80 | (c >> 12 & 63)), to[2] = (char)(0x80 | (c >> 6 & 63)), to[3] = (char)(0x80 | (c & 63)), 4;
}

leat_text leat_string(leat_json v) {
    if (v.len < 2 || *v.at != '"') return (leat_text){"", 0};
    char *to = leat_scratch(v.len);
    uint32_t n = 0;
    for (const char *at = v.at + 1, *end = v.at + v.len - 1; at < end; at++) {
        if (*at != '\\') {
            to[n++] = *at;
            continue;
        }
        switch (*++at) {
        case 'n': to[n++] = '\n'; break;
        case 't': to[n++] = '\t'; break;
        case 'r': to[n++] = '\r'; break;
        case 'b': to[n++] = '\b'; break;
        case 'f': to[n++] = '\f'; break;
        case 'u': {
            uint32_t c = leat_hex(at + 1);
            at += 4;
            if (c >= 0xd800 && c < 0xdc00 && end - at > 6 && at[1] == '\\') {
                c = 0x10000 + ((c - 0xd800) << 10) + (leat_hex(at + 3) - 0xdc00);
                at += 6;
            }
            n += leat_utf8(to + n, c);
            break;
        }
        default: to[n++] = *at;
        }
    }
    return (leat_text){to, n};
}

int64_t leat_int(leat_json v, int64_t otherwise) {
    bool negative = v.len && *v.at == '-';
    uint64_t n = 0;
    uint32_t i = negative;
    for (; i < v.len && v.at[i] >= '0' && v.at[i] <= '9'; i++) n = n * 10 + (uint64_t)(v.at[i] - '0');
    if (i == negative) return otherwise;
    return negative ? -(int64_t)n : (int64_t)n;
}

bool leat_bool(leat_json v, bool otherwise) { return leat_is(v, "true") || (!leat_is(v, "false") && otherwise); }

void leat_json_raw(leat_buffer *b, const char *json) { leat_add_bytes(b, json, leat_strlen(json)); }

void leat_json_text(leat_buffer *b, leat_text t) {
    leat_json_raw(b, "\"");
    for (uint32_t i = 0; i < t.len; i++) {
        unsigned char c = (unsigned char)t.at[i];
        if (c == '"' || c == '\\') leat_json_raw(b, "\\");
        if (c < 0x20) {
            const char *digits = "0123456789abcdef";
            char escape[6] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
            leat_add_bytes(b, escape, 6);
        } else leat_add_bytes(b, &c, 1);
    }
    leat_json_raw(b, "\"");
}

void leat_json_int(leat_buffer *b, int64_t v) {
    char digits[20];
    uint32_t n = 20;
    uint64_t left = v < 0 ? -(uint64_t)v : (uint64_t)v;
    do digits[--n] = (char)('0' + left % 10); while (left /= 10);
    if (v < 0) leat_json_raw(b, "-");
    leat_add_bytes(b, digits + n, 20 - n);
}

/* ---- Calls with JSON, section 2 --------------------------------------------- */

static leat_buffer leat_input, leat_last;

LEAT_EXPORT(leat_abi_version) int32_t leat_abi_version(void) { return 1; }

LEAT_EXPORT(leat_alloc) void *leat_alloc(uint32_t size) {
    leat_input.len = 0;
    leat_want(&leat_input, size ? size : 1);
    return leat_input.at;
}

static uint64_t leat_answer(void) { return (uint64_t)(uintptr_t)leat_last.at << 32 | leat_last.len; }

static uint64_t leat_answer_error(leat_text message, int cause, const char *class_) {
    leat_last.len = 0;
    leat_json_raw(&leat_last, "{\"error\":{\"message\":");
    leat_json_text(&leat_last, message);
    if (cause) leat_json_raw(&leat_last, ",\"cause\":"), leat_json_int(&leat_last, cause);
    if (class_) leat_json_raw(&leat_last, ",\"class\":"), leat_json_text(&leat_last, leat_str(class_));
    leat_json_raw(&leat_last, "}}");
    return leat_answer();
}

/* ---- Plans ----------------------------------------------------------------- */

static leat_plan **leat_plans;
static uint32_t leat_n_plans, leat_room_plans;

static leat_column leat_parse_column(leat_json c) {
    return (leat_column){leat_string(leat_get(c, "name")), leat_string(leat_get(c, "format")), leat_keep(leat_get(c, "pg_type")),
                         leat_bool(leat_get(c, "nullable"), false), (int)leat_int(leat_get(c, "key"), 0), (int)leat_int(leat_get(c, "id"), 0),
                         leat_get(c, "missing").len && *leat_get(c, "missing").at == '"', leat_string(leat_get(c, "missing"))};
}

static leat_table leat_parse_table(leat_json schema) {
    leat_json id = leat_get(schema, "table");
    leat_table t = {leat_string(leat_get(id, "database")), leat_string(leat_get(id, "schema")), leat_string(leat_get(id, "name")), 0, 0,
                    leat_int(leat_get(schema, "version"), 0), leat_int(leat_get(schema, "oid"), 0)};
    uint32_t room = 0;
    for (leat_each e = leat_begin(leat_get(schema, "columns")); leat_next(&e);) LEAT_PUSH(t.columns, t.n_columns, room, leat_parse_column(e.value));
    return t;
}

int leat_find_text(const leat_table *t, leat_text name) {
    for (uint32_t i = 0; i < t->n_columns; i++)
        if (leat_equal(t->columns[i].name, name)) return (int)i;
    return -1;
}

int leat_find(const leat_table *t, const char *name) { return leat_find_text(t, leat_str(name)); }

int leat_text_column(leat_plan *p) {
    leat_text name = leat_string(leat_get(p->config, "column"));
    int c = leat_find_text(&p->table, name);
    if (c >= 0 && leat_is(p->table.columns[c].format, "u")) return c;
    leat_refuse(p, "table ", leat_cstr(p->table.name), " has no text column ", leat_cstr(name));
    return -1;
}

leat_target *leat_add_target(leat_plan *p, const char *name) {
    leat_target t = {p->table.database, p->table.schema, leat_keep(leat_str(name)), 0, 0, 0, 0};
    LEAT_PUSH(p->targets, p->n_targets, p->room_targets, t);
    return &p->targets[p->n_targets - 1];
}

leat_target *leat_keep_all(leat_plan *p) {
    leat_target *t = leat_add_target(p, "");
    t->name = p->table.name;
    for (uint32_t i = 0; i < p->table.n_columns; i++) {
        leat_target_column c = {.column = p->table.columns[i], .from = LEAT_PASS, .index = i};
        LEAT_PUSH(t->columns, t->n_columns, t->room, c);
    }
    return t;
}

uint32_t leat_need(leat_plan *p, int column) {
    for (uint32_t i = 0; i < p->n_needs; i++)
        if (p->needs[i] == (uint32_t)column) return i;
    LEAT_PUSH(p->needs, p->n_needs, p->room_needs, (uint32_t)column);
    return p->n_needs - 1;
}

bool leat_has(const leat_plan *p, const char *feature) {
    for (leat_each e = leat_begin(p->features); leat_next(&e);)
        if (leat_is(leat_string(e.value), feature)) return true;
    return false;
}

uint32_t leat_compute(leat_plan *p, const char *format) {
    LEAT_PUSH(p->computed, p->n_computed, p->room_computed, leat_keep(leat_str(format)));
    return p->n_computed - 1;
}

uint32_t leat_kernel(leat_plan *p, const char *name, leat_json parameters, uint32_t n, const int *inputs) {
    leat_buffer k = {0};
    leat_json_raw(&k, "{\"kernel\":"), leat_json_text(&k, leat_str(name));
    leat_json_raw(&k, ",\"inputs\":[");
    for (uint32_t i = 0; i < n; i++) {
        leat_json_raw(&k, i ? "," : ""), leat_json_raw(&k, inputs[i] < 0 ? "{\"kernel\":" : "{\"column\":");
        leat_json_int(&k, inputs[i] < 0 ? -1 - inputs[i] : inputs[i]), leat_json_raw(&k, "}");
    }
    leat_json_raw(&k, "],\"parameters\":"), leat_add_bytes(&k, parameters.at, parameters.len), leat_json_raw(&k, "}");
    leat_text text = {k.at, k.len};
    LEAT_PUSH(p->kernels, p->n_kernels, p->room_kernels, text);
    return p->n_kernels - 1;
}

void leat_choose(leat_target *t, uint32_t kernel) { t->chosen_by = kernel + 1; }

static int leat_oid(const char *type) {
    static const struct { const char *name; int oid; } known[] = {
        {"bool", 16}, {"bytea", 17}, {"int8", 20}, {"int2", 21}, {"int4", 23}, {"text", 25}, {"oid", 26}, {"float4", 700}, {"float8", 701},
        {"varchar", 1043}, {"date", 1082}, {"time", 1083}, {"timestamp", 1114}, {"timestamptz", 1184}, {"numeric", 1700}, {"uuid", 2950}};
    for (uint32_t i = 0; i < sizeof known / sizeof *known; i++)
        if (leat_is(leat_str(type), known[i].name)) return known[i].oid;
    return 0;
}

leat_json leat_type(const char *name) {
    leat_buffer pg = {0};
    leat_json_raw(&pg, "{\"name\":"), leat_json_text(&pg, leat_str(name));
    leat_json_raw(&pg, ",\"oid\":"), leat_json_int(&pg, leat_oid(name));
    leat_json_raw(&pg, ",\"typmod\":-1,\"kind\":\"b\"}");
    return (leat_json){pg.at, pg.len};
}

leat_target_column *leat_add(leat_target *t, const char *name, const char *format, const char *type) {
    leat_target_column c = {.column = {.name = leat_keep(leat_str(name)), .format = leat_keep(leat_str(format)), .pg_type = leat_type(type), .nullable = true}, .from = LEAT_NOTHING};
    LEAT_PUSH(t->columns, t->n_columns, t->room, c);
    return &t->columns[t->n_columns - 1];
}

void leat_remove(leat_target *t, const char *name) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < t->n_columns; i++)
        if (!leat_is(t->columns[i].column.name, name)) t->columns[kept++] = t->columns[i];
    t->n_columns = kept;
}

void leat_lose(leat_target_column *c, const char *loss) { leat_json_raw(&c->losses, c->losses.len ? "," : ""), leat_json_text(&c->losses, leat_str(loss)); }

void leat_rewrite(leat_plan *p, int column, leat_rewrite_fn f, void *state) {
    leat_rewrite_step s = {leat_need(p, column), leat_compute(p, "u"), f, state};
    LEAT_PUSH(p->rewrites, p->n_rewrites, p->room_rewrites, s);
    leat_target_column *c = &p->targets[0].columns[column];
    c->from = LEAT_COMPUTED, c->index = s.out;
}

bool leat_refuse_(leat_plan *p, ...) {
    va_list rest;
    va_start(rest, p);
    const char *first = va_arg(rest, const char *);
    p->message = leat_join(first, rest);
    va_end(rest);
    return false;
}

static void leat_write_column(leat_buffer *b, const leat_target_column *t) {
    static const char *const from[] = {"column", "cast", "constant", "null", "computed", "kernel"};
    leat_json_raw(b, "{\"name\":"), leat_json_text(b, t->column.name);
    leat_json_raw(b, ",\"format\":"), leat_json_text(b, t->column.format);
    leat_json_raw(b, ",\"pg_type\":"), leat_add_bytes(b, t->column.pg_type.at, t->column.pg_type.len);
    leat_json_raw(b, t->column.nullable ? ",\"nullable\":true" : ",\"nullable\":false");
    leat_json_raw(b, ",\"key\":"), leat_json_int(b, t->column.key), leat_json_raw(b, ",\"id\":"), leat_json_int(b, t->column.id);
    if (t->losses.len) leat_json_raw(b, ",\"losses\":["), leat_add_bytes(b, t->losses.at, t->losses.len), leat_json_raw(b, "]");
    leat_json_raw(b, ",\"from\":{"), leat_json_text(b, leat_str(from[t->from])), leat_json_raw(b, ":");
    if (t->from == LEAT_CONSTANT) leat_json_text(b, t->constant);
    else if (t->from == LEAT_NOTHING) leat_json_raw(b, "true");
    else leat_json_int(b, t->index);
    leat_json_raw(b, "}}");
}

static uint64_t leat_write_plan(const leat_plan *p) {
    leat_buffer *b = &leat_last;
    b->len = 0;
    leat_json_raw(b, p->positions ? "{\"ok\":{\"positions\":true,\"needs\":[" : "{\"ok\":{\"needs\":[");
    for (uint32_t i = 0; i < p->n_needs; i++) leat_json_raw(b, i ? "," : ""), leat_json_int(b, p->needs[i]);
    leat_json_raw(b, "],\"computed\":[");
    for (uint32_t i = 0; i < p->n_computed; i++) leat_json_raw(b, i ? "," : ""), leat_json_text(b, p->computed[i]);
    leat_json_raw(b, "],\"kernels\":[");
    for (uint32_t i = 0; i < p->n_kernels; i++) leat_json_raw(b, i ? "," : ""), leat_add_bytes(b, p->kernels[i].at, p->kernels[i].len);
    leat_json_raw(b, p->filters ? "],\"filters\":true,\"outputs\":[" : "],\"filters\":false,\"outputs\":[");
    for (uint32_t i = 0; i < p->n_targets; i++) {
        const leat_target *t = &p->targets[i];
        leat_json_raw(b, i ? ",{\"table\":{\"database\":" : "{\"table\":{\"database\":"), leat_json_text(b, t->database);
        leat_json_raw(b, ",\"schema\":"), leat_json_text(b, t->schema);
        leat_json_raw(b, ",\"name\":"), leat_json_text(b, t->name);
        leat_json_raw(b, "},\"columns\":[");
        for (uint32_t k = 0; k < t->n_columns; k++) leat_json_raw(b, k ? "," : ""), leat_write_column(b, &t->columns[k]);
        leat_json_raw(b, "]");
        if (t->chosen_by) leat_json_raw(b, ",\"where\":"), leat_json_int(b, t->chosen_by - 1);
        leat_json_raw(b, "}");
    }
    leat_json_raw(b, "]}}");
    return leat_answer();
}

LEAT_API uint64_t leat_plan_transform(leat_json request, bool (*plan)(leat_plan *)) {
    leat_planning = true;
    uint32_t number = (uint32_t)leat_int(leat_get(request, "plan"), 0);
    leat_plan *p = leat_new(sizeof *p);
    p->table = leat_parse_table(leat_get(request, "schema"));
    p->config = leat_keep(leat_get(request, "config"));
    p->peers = leat_keep(leat_get(request, "peers"));
    p->databases = leat_keep(leat_get(request, "databases"));
    p->features = leat_keep(leat_get(request, "features"));
    bool made = plan(p);
    leat_planning = false;
    if (!made) return leat_answer_error(p->message, 0, 0);
    while (leat_n_plans <= number) LEAT_PUSH(leat_plans, leat_n_plans, leat_room_plans, (leat_plan *)0);
    leat_plans[number] = p;
    return leat_write_plan(p);
}

/* ---- Columns, section 3 ------------------------------------------------------ */

typedef struct {
    uint32_t format, name, metadata, pad; int64_t flags, n_children;
    uint32_t children, dictionary, release, private_data;
} leat_arrow_schema;
typedef struct {
    int64_t length, null_count, offset, n_buffers, n_children;
    uint32_t buffers, children, dictionary, release, private_data, pad;
} leat_arrow_array;
_Static_assert(sizeof(leat_arrow_schema) == 48 && sizeof(leat_arrow_array) == 64, "section 3");

#define LEAT_AT(type, address) ((type *)(uintptr_t)(address))
#define LEAT_ADDRESS(pointer) ((uint32_t)(uintptr_t)(pointer))

static int leat_width(leat_text f) {
    switch (f.at[0]) {
    case 'b': return 0;
    case 's': return 2;
    case 'i': case 'I': case 'f': return 4;
    case 'l': case 'g': return 8;
    case 'u': case 'z': return -1;
    case 'w': return 16;
    case 't': return f.at[1] == 'd' ? 4 : 8;
    case 'd': return f.len > 4 && f.at[f.len - 4] == ',' && f.at[f.len - 1] == '6' ? 32 : 16;
    }
    LEAT_FAULT();
}

static leat_view leat_view_of(uint32_t array, uint32_t presence, uint32_t rows) {
    const leat_arrow_array *a = LEAT_AT(leat_arrow_array, array);
    const uint32_t *buffers = LEAT_AT(uint32_t, a->buffers);
    bool text = a->n_buffers == 3;
    return (leat_view){rows, LEAT_AT(uint8_t, buffers[0]), LEAT_AT(uint8_t, presence), text ? LEAT_AT(int32_t, buffers[1]) : 0, LEAT_AT(void, buffers[text ? 2 : 1])};
}

static leat_batch leat_read_batch(const uint32_t *in, const leat_plan *p) {
    const leat_arrow_array *root = LEAT_AT(leat_arrow_array, in[2]);
    const uint32_t *children = LEAT_AT(uint32_t, root->children), *presence = LEAT_AT(uint32_t, in[4]);
    leat_batch b = {in[1], LEAT_AT(char, in[5]), p->n_needs, 0, LEAT_AT(leat_place, in[6])};
    b.columns = leat_scratch(p->n_needs * sizeof *b.columns);
    for (uint32_t i = 0; i < p->n_needs; i++) b.columns[i] = leat_view_of(children[i], presence[i], b.rows);
    return b;
}

static void leat_set_bit(leat_buffer *map, uint32_t i, bool v) {
    if (i >> 3 >= map->len) leat_want(map, 1), map->at[map->len++] = 0;
    if (v) map->at[i >> 3] |= (char)(1 << (i & 7));
    else map->at[i >> 3] &= (char)~(1 << (i & 7));
}

static void leat_start_map(leat_buffer *map, bool *has, uint32_t rows) {
    if (*has) return;
    *has = true, map->len = 0;
    uint32_t bytes = (rows + 7) / 8;
    leat_want(map, bytes);
    memset(map->at, 0xff, bytes);
    map->len = bytes;
}

static void leat_end_cell(leat_builder *b) {
    if (b->has_valid) leat_set_bit(&b->valid, b->rows, true);
    if (b->has_present) leat_set_bit(&b->present, b->rows, true);
    b->rows++;
}

void leat_append(leat_builder *b, const char *at, uint32_t len) { leat_add_bytes(&b->data, at, len); }

char *leat_room(leat_builder *b, uint32_t len) {
    leat_want(&b->data, len);
    return b->data.at + b->data.len;
}

void leat_end(leat_builder *b) {
    if (b->width != -1) LEAT_FAULT();
    leat_add_fixed(&b->offsets, &b->data.len, 4);
    leat_end_cell(b);
}

void leat_put_text(leat_builder *b, leat_text v) {
    leat_append(b, v.at, v.len);
    leat_end(b);
}

void leat_put_fixed(leat_builder *b, const void *v) {
    if (b->width <= 0) LEAT_FAULT();
    leat_add_fixed(&b->data, v, (uint32_t)b->width);
    leat_end_cell(b);
}

void leat_put_bool(leat_builder *b, bool v) {
    if (b->width != 0) LEAT_FAULT();
    leat_set_bit(&b->data, b->rows, v);
    leat_end_cell(b);
}

void leat_put_null(leat_builder *b) {
    static const char zeros[32];
    leat_start_map(&b->valid, &b->has_valid, b->rows);
    if (b->width == -1) leat_end(b);
    else if (b->width == 0) leat_put_bool(b, false);
    else leat_put_fixed(b, zeros);
    leat_set_bit(&b->valid, b->rows - 1, false);
}

void leat_put_absent(leat_builder *b) {
    leat_start_map(&b->present, &b->has_present, b->rows);
    leat_put_null(b);
    leat_set_bit(&b->present, b->rows - 1, false);
}

void leat_begin_column(leat_builder *b, const char *format) {
    b->format = leat_str(format), b->width = leat_width(b->format), b->rows = 0;
    b->data.len = b->offsets.len = 0, b->has_valid = b->has_present = false, b->refused = 0;
    if (b->width == -1) leat_add_bytes(&b->offsets, &b->data.len, 4);
}

leat_view leat_built(const leat_builder *b) {
    return (leat_view){b->rows, b->has_valid ? (const uint8_t *)b->valid.at : 0, b->has_present ? (const uint8_t *)b->present.at : 0, b->width == -1 ? (const int32_t *)b->offsets.at : 0, b->data.at};
}

void leat_emit(leat_output *o, uint32_t row, uint32_t target) {
    o->selected = true;
    leat_add_fixed(&o->selection, &row, 4);
    leat_add_fixed(&o->routes, &target, 4);
}

void leat_fail_row(leat_output *o, uint32_t row, const char *message) {
    leat_text m = leat_keep(leat_str(message));
    uint32_t entry[3] = {row, LEAT_ADDRESS(m.at), m.len > 4096 ? 4096 : m.len};
    leat_add_bytes(&o->errors, entry, 12);
}

bool leat_fail_(leat_output *o, ...) {
    va_list rest;
    va_start(rest, o);
    const char *first = va_arg(rest, const char *);
    o->message = leat_join(first, rest);
    va_end(rest);
    return false;
}

/* ---- Transform: process, section 5 ------------------------------------------- */

static leat_output leat_result; /* its buffers are used again */

static void leat_reset(leat_output *o, const leat_plan *p) {
    static uint32_t room;
    while (o->n_columns < p->n_computed) LEAT_PUSH(o->columns, o->n_columns, room, (leat_builder){0});
    for (uint32_t k = 0; k < p->n_computed; k++) {
        leat_builder *b = &o->columns[k];
        b->format = p->computed[k], b->width = leat_width(b->format), b->rows = 0;
        b->data.len = b->offsets.len = 0, b->has_valid = b->has_present = false, b->refused = 0;
        if (b->width == -1) leat_add_bytes(&b->offsets, &b->data.len, 4);
    }
    o->selected = false, o->selection.len = o->routes.len = o->errors.len = 0, o->message = (leat_text){0, 0};
}

static void leat_run_rewrites(const leat_plan *p, const leat_batch *in, leat_output *o) {
    for (uint32_t i = 0; i < p->n_rewrites; i++) {
        const leat_rewrite_step *s = &p->rewrites[i];
        const leat_view *v = &in->columns[s->in];
        leat_builder *b = leat_out(o, s->out);
        for (uint32_t r = 0; r < in->rows; r++) {
            leat_text value;
            leat_state state = leat_read_text(v, r, &value);
            if (state != LEAT_VALUE) {
                leat_put_state(b, state);
                continue;
            }
            uint32_t start = b->data.len;
            s->f(b, value, s->state);
            if (!b->refused) {
                leat_end(b);
                continue;
            }
            leat_fail_row(o, r, b->refused);
            b->data.len = start, b->refused = 0;
            leat_put_absent(b);
        }
    }
}

/* Columns that were filled row by row of the input follow the rows that were
 * emitted. */
static void leat_follow(const leat_plan *p, leat_output *o) {
    for (uint32_t i = 0; o->selected && i < p->n_rewrites; i++) {
        leat_builder *b = leat_out(o, p->rewrites[i].out), from = *b;
        leat_view v = leat_built(&from);
        *b = (leat_builder){.format = from.format, .width = from.width};
        leat_add_bytes(&b->offsets, &b->data.len, 4);
        for (uint32_t k = 0; k < o->selection.len / 4; k++) {
            leat_text text;
            leat_state state = leat_read_text(&v, ((uint32_t *)o->selection.at)[k], &text);
            if (state == LEAT_VALUE) leat_put_text(b, text);
            else leat_put_state(b, state);
        }
        leat_give(from.data.at, from.data.room), leat_give(from.offsets.at, from.offsets.room);
        leat_give(from.valid.at, from.valid.room), leat_give(from.present.at, from.present.room);
    }
}

static uint32_t leat_array_of(const leat_view *v) {
    static const uint64_t nothing;
    uint32_t *buffers = leat_scratch(12), n = 0;
    buffers[n++] = v->rows ? LEAT_ADDRESS(v->valid) : 0;
    if (v->offsets) buffers[n++] = LEAT_ADDRESS(v->offsets);
    buffers[n++] = v->data ? LEAT_ADDRESS(v->data) : LEAT_ADDRESS(&nothing);
    leat_arrow_array *a = leat_scratch(sizeof *a);
    a->length = v->rows, a->null_count = -1, a->n_buffers = n, a->buffers = LEAT_ADDRESS(buffers);
    return LEAT_ADDRESS(a);
}

static uint32_t leat_write_result(const leat_plan *p, const leat_batch *in, leat_output *o) {
    uint32_t *r = leat_scratch(48), rows = o->selected ? o->selection.len / 4 : in->rows;
    r[2] = rows, r[3] = p->n_computed;
    if (p->n_computed) {
        uint32_t *children = leat_scratch(4 * p->n_computed), *presence = leat_scratch(4 * p->n_computed);
        for (uint32_t k = 0; k < p->n_computed; k++) {
            leat_view v = leat_built(&o->columns[k]);
            children[k] = leat_array_of(&v), presence[k] = v.rows ? LEAT_ADDRESS(v.present) : 0;
        }
        leat_arrow_array *root = leat_scratch(sizeof *root);
        root->length = rows, root->n_buffers = 1, root->buffers = LEAT_ADDRESS(leat_scratch(4));
        root->n_children = p->n_computed, root->children = LEAT_ADDRESS(children);
        r[4] = LEAT_ADDRESS(root), r[5] = LEAT_ADDRESS(presence);
    }
    if (o->selected) {
        leat_want(&o->selection, 4), leat_want(&o->routes, 4); /* never a pointer of 0 */
        r[6] = LEAT_ADDRESS(o->selection.at);
        if (p->n_targets > 1) r[7] = LEAT_ADDRESS(o->routes.at);
    }
    r[8] = o->errors.len / 12, r[9] = LEAT_ADDRESS(o->errors.at);
    return LEAT_ADDRESS(r);
}

LEAT_API uint32_t leat_run_process(const uint32_t *in) {
    leat_sweep();
    leat_plan *p = in[0] < leat_n_plans ? leat_plans[in[0]] : 0;
    leat_output *o = &leat_result;
    if (!p) LEAT_FAULT();
    leat_reset(o, p);
    leat_batch b = leat_read_batch(in, p);
    leat_run_rewrites(p, &b, o);
    if (!p->process || p->process(&b, o, p->state)) {
        leat_follow(p, o);
        return leat_write_result(p, &b, o);
    }
    leat_answer_error(o->message, 0, 0);
    uint32_t *r = leat_scratch(48);
    r[0] = LEAT_ADDRESS(leat_last.at), r[1] = leat_last.len;
    return LEAT_ADDRESS(r);
}

#define LEAT_TRANSFORM(plan_function)                                                                                  \
    LEAT_EXPORT(leat_plan) uint64_t leat_export_plan(const char *at, uint32_t len) {                                   \
        leat_sweep();                                                                                                  \
        return leat_plan_transform((leat_json){at, len}, plan_function);                                               \
    }                                                                                                                  \
    LEAT_EXPORT(leat_process) uint32_t leat_export_process(const uint32_t *in) { return leat_run_process(in); }

#endif
