/* The Leat plugin kit for C: one header, no library, not even the C library.
 *
 * A transform is one function that plans a table and, if it needs data, one
 * that processes batches:
 *
 *     #include "leat.h"
 *
 *     static void redact(leat_builder *out, leat_text value, void *state) {
 *         leat_append_str(out, "***");
 *     }
 *
 *     static bool plan(leat_plan *p) {
 *         int email = leat_find(&p->table, "email");
 *         if (email < 0) return leat_refuse(p, "the table has no column email");
 *         leat_keep_all(p);
 *         leat_rewrite(p, email, redact, 0);
 *         return true;
 *     }
 *
 *     LEAT_TRANSFORM(plan)
 *
 * Build: clang --target=wasm32 -O2 -mbulk-memory -nostdlib -Wl,--no-entry -I<folder of this file> -o plugin.wasm plugin.c
 *
 * A module is one C file that includes this header once. Section numbers are
 * those of pdk/README.md, the interface itself. Memory: what a plan allocates
 * stays; what a call of process or of a destination allocates is taken back
 * at the next call. There is no other way to free, and no way to leak.
 */
#ifndef LEAT_H
#define LEAT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEAT_EXPORT(name) __attribute__((export_name(#name), used))
#define LEAT_IMPORT(name) __attribute__((import_module("leat"), import_name(#name)))
#define LEAT_CHECKED __attribute__((warn_unused_result))
#define LEAT_API static inline __attribute__((unused))

/* ---- Text ------------------------------------------------------------- */

/* Bytes that somebody else owns, not ended by a zero. */
typedef struct { const char *at; uint32_t len; } leat_text;

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
int memcmp(const void *a, const void *b, size_t n);

LEAT_API uint32_t leat_strlen(const char *s) { uint32_t n = 0; while (s[n]) n++; return n; }
LEAT_API leat_text leat_str(const char *s) { return (leat_text){s, leat_strlen(s)}; }
LEAT_API bool leat_equal(leat_text a, leat_text b) { return a.len == b.len && memcmp(a.at, b.at, a.len) == 0; }
/* The text with a zero behind it, in memory as that of leat_string. */
const char *leat_cstr(leat_text t);
LEAT_API bool leat_is(leat_text a, const char *s) { return leat_equal(a, leat_str(s)); }

/* ---- JSON --------------------------------------------------------------
 * A value is its own text. A missing one has length 0. Keys are compared as
 * they are written, so a key with escapes is not found. */

typedef leat_text leat_json;
typedef struct { const char *at, *end; bool object; leat_text key; leat_json value; } leat_each;

leat_json leat_get(leat_json object, const char *key);  /* a member, or missing */
leat_each leat_begin(leat_json list);                   /* of an array or object */
bool leat_next(leat_each *e);                           /* sets key and value */
leat_text leat_string(leat_json v);                     /* unescaped; empty if it is no string */
int64_t leat_int(leat_json v, int64_t otherwise);
bool leat_bool(leat_json v, bool otherwise);

/* ---- Plans, section 4 --------------------------------------------------- */

typedef struct { leat_text name, format; leat_json pg_type; bool nullable; int key; } leat_column;
typedef struct { leat_text database, schema, name; uint32_t n_columns; leat_column *columns; } leat_table;

typedef enum { LEAT_PASS, LEAT_CAST, LEAT_CONSTANT, LEAT_NOTHING, LEAT_COMPUTED, LEAT_KERNEL } leat_origin;

/* A column of an output and where it comes from: index is that of the input
 * column, of the computed one or of the kernel. */
typedef struct { leat_column column; leat_origin from; uint32_t index; leat_text constant; } leat_target_column;
/* chosen_by is set by leat_choose. */
typedef struct { leat_text database, schema, name; uint32_t n_columns, room; leat_target_column *columns; uint32_t chosen_by; } leat_target;

typedef struct leat_batch leat_batch;
typedef struct leat_output leat_output;
typedef struct leat_builder leat_builder;

typedef bool (*leat_process_fn)(const leat_batch *in, leat_output *out, void *state);
typedef void (*leat_rewrite_fn)(leat_builder *out, leat_text value, void *state);

typedef struct { uint32_t in, out; leat_rewrite_fn f; void *state; } leat_rewrite_step;

typedef struct {
    leat_table table;        /* the source table */
    leat_json config;        /* the plugin's table of the pipeline file */
    leat_json peers;         /* schemas of the same-named tables elsewhere */
    leat_json databases;
    bool filters;            /* set it if process calls leat_emit */
    leat_process_fn process; /* set it if data is needed beyond rewrites */
    void *state;             /* yours, handed to process */

    uint32_t *needs, n_needs, room_needs;
    leat_text *computed; uint32_t n_computed, room_computed;
    leat_target *targets; uint32_t n_targets, room_targets;
    leat_rewrite_step *rewrites; uint32_t n_rewrites, room_rewrites;
    leat_text *kernels; uint32_t n_kernels, room_kernels;
    leat_text message;
} leat_plan;

int leat_find(const leat_table *t, const char *name);          /* index, -1 if there is none */
int leat_find_text(const leat_table *t, leat_text name);
/* The text column that the setting "column" names; -1 after a refusal. */
int leat_text_column(leat_plan *p);
leat_json leat_type(const char *name);                         /* a PostgreSQL type such as "text", for pg_type */
leat_target *leat_keep_all(leat_plan *p);                      /* an output with every column as it is */
leat_target *leat_add_target(leat_plan *p, const char *name);  /* an empty output in the source's schema; with several, route each row.
                                                                  Valid until the next one is added; afterwards p->targets[i] */
uint32_t leat_need(leat_plan *p, int column);                  /* index of the column in the batch */
uint32_t leat_compute(leat_plan *p, const char *format);       /* index of the column in the output */
/* Has the host compute a kernel of pdk/README.md and returns its index for
 * LEAT_KERNEL, LEAT_RESULT and leat_choose. parameters is JSON; the n inputs are
 * columns of the table or LEAT_RESULT(k), the result of an earlier kernel. No
 * cell of them enters the plugin. */
#define LEAT_RESULT(k) (-1 - (int)(k))
uint32_t leat_kernel(leat_plan *p, const char *name, leat_json parameters, uint32_t n, const int *inputs);
/* Has the host choose the rows of an output by a kernel of boolean result;
 * then every output has one. */
void leat_choose(leat_target *t, uint32_t kernel);
/* Adds a nullable column of a PostgreSQL type such as "text", "int8" or
 * "float8" in the format that goes with it. Set from and index afterwards. */
leat_target_column *leat_add(leat_target *t, const char *name, const char *format, const char *type);
void leat_remove(leat_target *t, const char *name);
/* Replaces text column i of the first output by what f appends for each value.
 * Null stays null, absent stays absent. */
void leat_rewrite(leat_plan *p, int column, leat_rewrite_fn f, void *state);
void *leat_new(uint32_t size);                                 /* zeroed memory that stays, for state */
bool leat_refuse_(leat_plan *p, ...);
/* Ends a plan with a message made of C strings: return leat_refuse(p, "no column ", name); */
#define leat_refuse(p, ...) leat_refuse_((p), __VA_ARGS__, (const char *)0)

/* ---- Batches, section 5 -------------------------------------------------- */

/* A cell holds a value, is SQL NULL, or is absent: the source did not send it,
 * and nothing may be computed from it. */
typedef enum { LEAT_VALUE, LEAT_NULL, LEAT_ABSENT } leat_state;

typedef struct {
    uint32_t rows;
    const uint8_t *valid, *present;  /* bitmaps, 0: all set */
    const int32_t *offsets;          /* of text and binary columns */
    const void *data;
} leat_view;

struct leat_batch { uint32_t rows; const char *ops; uint32_t n_columns; leat_view *columns; };

LEAT_API bool leat_bit(const uint8_t *map, uint32_t i) { return map[i >> 3] >> (i & 7) & 1; }
LEAT_CHECKED LEAT_API leat_state leat_state_of(const leat_view *v, uint32_t row) {
    if (v->present && !leat_bit(v->present, row)) return LEAT_ABSENT;
    return v->valid && !leat_bit(v->valid, row) ? LEAT_NULL : LEAT_VALUE;
}
/* Every cell is a value: kernels over whole buffers need no other check. */
LEAT_API bool leat_dense(const leat_view *v) { return !v->valid && !v->present; }

/* Readers say what the cell is and set *value only for LEAT_VALUE. The column
 * must have the reader's format. */
LEAT_CHECKED LEAT_API leat_state leat_read_text(const leat_view *v, uint32_t row, leat_text *value) {
    leat_state s = leat_state_of(v, row);
    if (s == LEAT_VALUE) *value = (leat_text){(const char *)v->data + v->offsets[row], (uint32_t)(v->offsets[row + 1] - v->offsets[row])};
    return s;
}
#define LEAT_READER(name, type)                                                                \
    LEAT_CHECKED LEAT_API leat_state name(const leat_view *v, uint32_t row, type *value) {     \
        leat_state s = leat_state_of(v, row);                                                  \
        if (s == LEAT_VALUE) *value = ((const type *)v->data)[row];                            \
        return s;                                                                              \
    }
LEAT_READER(leat_read_int16, int16_t)
LEAT_READER(leat_read_int32, int32_t)
LEAT_READER(leat_read_int64, int64_t)
LEAT_READER(leat_read_float, float)
LEAT_READER(leat_read_double, double)
LEAT_CHECKED LEAT_API leat_state leat_read_bool(const leat_view *v, uint32_t row, bool *value) {
    leat_state s = leat_state_of(v, row);
    if (s == LEAT_VALUE) *value = leat_bit(v->data, row);
    return s;
}

/* Growing bytes. */
typedef struct { char *at; uint32_t len, room; } leat_buffer;

/* The cells of a computed column, one for each output row. */
struct leat_builder {
    leat_text format;
    int width; /* bytes of a value, 0 for a bit, -1 for text */
    uint32_t rows;
    leat_buffer data, offsets, valid, present;
    bool has_valid, has_present;
};

typedef struct { uint32_t row; leat_text message; } leat_row_error;

struct leat_output {
    uint32_t n_columns; leat_builder *columns;
    bool selected;
    leat_buffer selection, routes, errors;
    leat_text message;
};

LEAT_API leat_builder *leat_out(leat_output *o, uint32_t k) { return &o->columns[k]; }

void leat_put_text(leat_builder *b, leat_text v);
void leat_put_null(leat_builder *b);
void leat_put_absent(leat_builder *b);
/* What is computed from null is null, from absent absent. s is not LEAT_VALUE. */
LEAT_API void leat_put_state(leat_builder *b, leat_state s) { if (s == LEAT_NULL) leat_put_null(b); else leat_put_absent(b); }
void leat_put_bool(leat_builder *b, bool v);
void leat_put_fixed(leat_builder *b, const void *v); /* as many bytes as the format has */
LEAT_API void leat_put_int16(leat_builder *b, int16_t v) { leat_put_fixed(b, &v); }
LEAT_API void leat_put_int32(leat_builder *b, int32_t v) { leat_put_fixed(b, &v); }
LEAT_API void leat_put_int64(leat_builder *b, int64_t v) { leat_put_fixed(b, &v); }
LEAT_API void leat_put_double(leat_builder *b, double v) { leat_put_fixed(b, &v); }

/* A text written piece by piece: any number of appends, then leat_end. In a
 * rewrite the kit calls leat_end. */
void leat_append(leat_builder *b, const char *at, uint32_t len);
LEAT_API void leat_append_text(leat_builder *b, leat_text t) { leat_append(b, t.at, t.len); }
LEAT_API void leat_append_str(leat_builder *b, const char *s) { leat_append(b, s, leat_strlen(s)); }
LEAT_API void leat_append_char(leat_builder *b, char c) { leat_append(b, &c, 1); }
/* Room for len more bytes of the text; leat_filled says how many were used. */
char *leat_room(leat_builder *b, uint32_t len);
LEAT_API void leat_filled(leat_builder *b, uint32_t len) { b->data.len += len; }
void leat_end(leat_builder *b);

/* Makes input row the next output row of a target; rows go in input order, as
 * often as wanted. Without it every input row is an output row. */
void leat_emit(leat_output *o, uint32_t row, uint32_t target);
/* No row stays if none is emitted. leat_emit calls it. */
LEAT_API void leat_select(leat_output *o) { o->selected = true; }
/* The row becomes a failed event, the rest of the batch goes on. Its cells are
 * put all the same. */
void leat_fail_row(leat_output *o, uint32_t row, const char *message);
bool leat_fail_(leat_output *o, ...);
#define leat_fail(o, ...) leat_fail_((o), __VA_ARGS__, (const char *)0)

/* ---- Log ----------------------------------------------------------------- */

typedef enum { LEAT_DEBUG, LEAT_INFO, LEAT_WARN, LEAT_ERROR } leat_level;
LEAT_IMPORT(log) void leat_log_(int32_t level, const char *at, uint32_t len);
LEAT_API void leat_log(leat_level level, const char *line) { leat_log_(level, line, leat_strlen(line)); }

/* ---- Destinations, section 6 ---------------------------------------------
 * Each function takes the request and appends the "ok" of the reply, if it has
 * one, as JSON. To fail it returns leat_refuse_reply. */

typedef struct { leat_buffer json; leat_text message; int cause; const char *class_; } leat_reply;
typedef bool (*leat_call)(leat_json request, leat_reply *reply);
typedef struct { leat_call open, plan, write, commit, checkpoint, rollback, close; } leat_destination;

void leat_json_raw(leat_buffer *b, const char *json);        /* as it is */
void leat_json_text(leat_buffer *b, leat_text text);         /* quoted */
void leat_json_int(leat_buffer *b, int64_t v);
bool leat_refuse_reply_(leat_reply *r, ...);
#define leat_refuse_reply(r, ...) leat_refuse_reply_((r), __VA_ARGS__, (const char *)0)

LEAT_IMPORT(reply) void leat_reply_(char *into, uint32_t len);
LEAT_IMPORT(sql_exec) uint32_t leat_sql_exec(const char *request, uint32_t len);
LEAT_IMPORT(sql_query) uint32_t leat_sql_query(const char *request, uint32_t len);
LEAT_IMPORT(sql_ingest) uint32_t leat_sql_ingest(const char *request, uint32_t len);
LEAT_IMPORT(sql_begin) uint32_t leat_sql_begin(const char *request, uint32_t len);
LEAT_IMPORT(sql_commit) uint32_t leat_sql_commit(const char *request, uint32_t len);
LEAT_IMPORT(sql_rollback) uint32_t leat_sql_rollback(const char *request, uint32_t len);

/* Calls a host function, section 7. On success *ok is the "ok" of its reply;
 * otherwise the reply r says what the host said. */
bool leat_host(uint32_t (*function)(const char *, uint32_t), leat_text request, leat_json *ok, leat_reply *r);
/* The same for the functions that take {"sql": "..."}. */
bool leat_sql(uint32_t (*function)(const char *, uint32_t), const char *sql, leat_json *ok, leat_reply *r);

#include "leat_impl.h"

#endif
