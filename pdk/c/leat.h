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
 * stays; what any other call allocates is taken back at the next one. There is no other way to free, and no way to leak.
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

/* Growing bytes. */
typedef struct { char *at; uint32_t len, room; } leat_buffer;

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

/* id is the number of the source's column, which stays when the column is
 * renamed or gets another type. missing, if has_missing, is the value of rows that
 * are older than the column; destinations are told, transforms are not. */
typedef struct { leat_text name, format; leat_json pg_type; bool nullable; int key, id; bool has_missing; leat_text missing; } leat_column;
/* version counts the changes of the table's shape; oid is the relation's at the
 * source, which stays when the table is renamed. 0 is unknown. */
typedef struct { leat_text database, schema, name; uint32_t n_columns; leat_column *columns; int64_t version, oid; } leat_table;

typedef enum { LEAT_PASS, LEAT_CAST, LEAT_CONSTANT, LEAT_NOTHING, LEAT_COMPUTED, LEAT_KERNEL } leat_origin;

/* A column of an output and where it comes from: index is that of the input
 * column, of the computed one or of the kernel. */
typedef struct { leat_column column; leat_origin from; uint32_t index; leat_text constant; leat_buffer losses; } leat_target_column;
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
    leat_json features;      /* what a plan may ask for that not every host has */
    bool positions;          /* set it if process reads places; asks for the feature "positions" */
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
/* Says what of the input a column cannot hold, for leat plan to show. */
void leat_lose(leat_target_column *c, const char *loss);
/* Replaces text column i of the first output by what f appends for each value.
 * Null stays null, absent stays absent; leat_refuse_value fails the row. Where
 * rows are emitted, the column follows them. */
void leat_rewrite(leat_plan *p, int column, leat_rewrite_fn f, void *state);
void *leat_new(uint32_t size);                                 /* zeroed memory that stays, for state */
/* Says whether the host has a feature, such as "positions". */
bool leat_has(const leat_plan *p, const char *feature);
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

/* Where a row stands: the LSN of its commit, its place in that transaction, and
 * the time of the commit in microseconds since 1970. What a load has read has
 * those of its snapshot, which is another one where it is read again. */
typedef struct { uint64_t lsn, ordinal; int64_t commit_time; } leat_place;

/* places is 0 where the plan does not set positions. */
struct leat_batch { uint32_t rows; const char *ops; uint32_t n_columns; leat_view *columns; const leat_place *places; };

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

/* The cells of a computed column, one for each output row. */
struct leat_builder {
    leat_text format;
    int width; /* bytes of a value, 0 for a bit, -1 for text */
    uint32_t rows;
    leat_buffer data, offsets, valid, present;
    bool has_valid, has_present;
    const char *refused; /* by leat_refuse_value */
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
/* Room for len more bytes of the text; leat_filled says how many were used. */
char *leat_room(leat_builder *b, uint32_t len);
LEAT_API void leat_filled(leat_builder *b, uint32_t len) { b->data.len += len; }
LEAT_API void leat_append_char(leat_builder *b, char c) { *leat_room(b, 1) = c, leat_filled(b, 1); }
void leat_end(leat_builder *b);
/* In a rewrite: the value cannot be rewritten, and its row becomes a failed
 * event. What was appended is left out. */
LEAT_API void leat_refuse_value(leat_builder *b, const char *why) { b->refused = why; }

/* An empty column that is no output; static, it uses its memory again. And the
 * cells of a column as a kernel takes them. */
void leat_begin_column(leat_builder *b, const char *format);
leat_view leat_built(const leat_builder *b);

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

/* ---- What the host does, section 7 ----------------------------------------
 * A function links only if the pipeline grants its capability, and only what a
 * plugin uses is imported. Each returns false and says why in f. */

/* The classes of failures. Of a failure of the plugin's own LEAT_CONNECTION has
 * the delivery made again, LEAT_DATA has the host look for the rows that cause
 * it. */
typedef enum { LEAT_NO_CLASS, LEAT_CONNECTION, LEAT_DATA, LEAT_LOCKED, LEAT_RESOURCE, LEAT_PERMISSION, LEAT_SCHEMA, LEAT_INTERNAL } leat_class;

/* Why something failed. Left as it is, the host's error reaches the engine. */
typedef struct {
    leat_text message, code, hint; /* code: SQLSTATE or the driver's own */
    leat_class kind;
    int cause;                     /* by which the host knows the error */
} leat_failure;

bool leat_because_(leat_failure *f, leat_class kind, ...);
/* Fails with a message made of C strings: return leat_because(f, LEAT_NO_CLASS, "no column ", name); */
#define leat_because(f, kind, ...) leat_because_((f), (kind), __VA_ARGS__, (const char *)0)

/* Has the host compute a kernel of pdk/README.md at once, over columns of one
 * length: those of the batch, of a builder, or another kernel's result. Their
 * name counts where the kernel names its columns; a pg_type may be missing. What
 * the plan can say beforehand costs less there, see leat_kernel. A row that fails
 * is absent in the result, which lasts as long as the call. */
typedef struct { leat_column column; leat_view view; } leat_operand;
typedef struct { leat_view view; leat_text format; uint32_t n_errors; const leat_row_error *errors; } leat_computed;
bool leat_run_kernel(const char *kernel, leat_json parameters, uint32_t n, const leat_operand *inputs, leat_computed *result, leat_failure *f);

/* The database of a destination, the capability sql. affected may be 0. */
bool leat_sql_exec(const char *sql, int64_t *affected, leat_failure *f); /* one or more statements */
bool leat_sql_begin(leat_failure *f);    /* without it each statement commits by itself */
bool leat_sql_commit(leat_failure *f);
bool leat_sql_rollback(leat_failure *f); /* does nothing without a transaction */
/* Runs one statement with a small result, read row by row: while
 * (leat_next_row(&rows)) leat_cell(&rows, 0, &text). */
typedef struct { leat_each each; leat_json columns; } leat_rows;
bool leat_sql_query(const char *sql, leat_rows *rows, leat_failure *f);
LEAT_API bool leat_next_row(leat_rows *r) { return leat_next(&r->each); }
LEAT_CHECKED leat_state leat_cell(const leat_rows *r, uint32_t column, leat_text *value);

/* Servers that the pipeline allows, the capability http. headers is a list of
 * names and values that ends with a 0, or 0. Any status is a response. A batch
 * may be processed again after a failure: let a repeated request do no harm. */
typedef struct { const char *method, *url; const char *const *headers; leat_text body; } leat_http_request;
typedef struct { int status; leat_json headers; leat_text body; } leat_http_response;
bool leat_http(const leat_http_request *request, leat_http_response *response, leat_failure *f);

/* The plugin's own space of keys and values, the capability kv; a write is
 * durable at once, not with the batch. And files of the folder that the pipeline
 * grants, the capability blob. Without a value, found is false. keys is a list to
 * be read with leat_begin, of at most 10,000. */
bool leat_kv_get(leat_text key, leat_text *value, bool *found, leat_failure *f);
bool leat_kv_put(leat_text key, leat_text value, leat_failure *f);
bool leat_kv_delete(leat_text key, leat_failure *f);
bool leat_kv_list(leat_text prefix, leat_json *keys, leat_failure *f);
bool leat_blob_get(leat_text name, leat_text *value, bool *found, leat_failure *f);
bool leat_blob_put(leat_text name, leat_text value, leat_failure *f);
bool leat_blob_delete(leat_text name, leat_failure *f);
bool leat_blob_list(leat_text prefix, leat_json *keys, leat_failure *f);

/* The time of day in microseconds since 1970, the capability clock; and random
 * bytes, the capability random. */
LEAT_IMPORT(clock_now) int64_t leat_now(void);
LEAT_IMPORT(random_fill) void leat_random(void *into, uint32_t len);

/* ---- Destinations, section 6 ----------------------------------------------
 * Calls come one at a time: open, then any of the others, then close. What was
 * written since the last commit becomes durable together with its entries, or
 * not at all. After a failure the host calls rollback before anything else.
 * What open and plan allocate stays. */

/* Tells the host what a destination is. */
typedef struct {
    const char *driver; /* the SQL dialect that it writes */
    bool compacts;      /* rows of one key in one batch may be merged into the last state before write */
    bool fills;         /* absent cells are to be filled from earlier rows of the batch before write */
    bool changes_apart; /* a table cannot be changed in a transaction with rows */
    bool empties;       /* a truncate takes back the rows of a table */
} leat_info;

/* How a table lands. */
typedef struct {
    const char *table;  /* as it stands in SQL: quoted and qualified */
    const char *read;   /* a SELECT of the live rows with the source's columns in their order */
    const char *reload; /* why the rows that are there have to be loaded again, or 0 */
    void *state;        /* yours, handed to write */

    leat_buffer columns, statements;
} leat_landing;

/* Adds a column of the target. source is the source column's name, or empty for
 * what the destination adds. */
void leat_land(leat_landing *l, leat_text name, const char *type, leat_text source);
/* Says what the type of the column added last cannot hold. */
void leat_land_loss(leat_landing *l, const char *loss);
/* Adds a statement of the DDL that the first write of this plan would run. */
void leat_land_statement(leat_landing *l, const char *sql);

/* An entry that a destination keeps beside its rows. In commit a value that is
 * not kept removes it. */
typedef struct { leat_text key, value; bool kept; } leat_entry;
typedef struct { leat_entry *at; uint32_t n, room; } leat_entries;
void leat_add_entry(leat_entries *e, leat_text key, leat_text value);

/* The batch of one write: a handle, and what SQL needs to know of the rows.
 * absent are the columns with an absent cell in a row that is more than an
 * identity. */
typedef struct { uint32_t handle, rows, n_absent; const uint32_t *absent; leat_text position; leat_json ops; } leat_write_batch;
int64_t leat_count(const leat_write_batch *b, char op); /* rows with an operation: I, U, D, R, K or T */
/* Whether the batch has no rows but the place in the log where the table came to
 * its shape: the rows before it have been written. */
LEAT_API bool leat_is_change(const leat_write_batch *b) { return b->rows == 0 && (b->position.len < 6 || memcmp(b->position.at, "0:0/0+", 6) != 0); }
LEAT_API bool leat_is_truncate(const leat_write_batch *b) { return leat_count(b, 'T') > 0; }

/* What fills a column of an ingested table: column i of the batch; whether the
 * source did not send it; one of I U D R K; ...; the 0-based number of the row;
 * the SHA-256 of the whole row; when Leat read the batch; the number of the row
 * whose key the database knows this row by before the batch. */
typedef enum { LEAT_FROM_COLUMN, LEAT_FROM_ABSENT, LEAT_FROM_OP, LEAT_FROM_LSN, LEAT_FROM_ORDINAL, LEAT_FROM_COMMIT_TIME, LEAT_FROM_ROW, LEAT_FROM_ROW_ID, LEAT_FROM_INGEST_TIME, LEAT_FROM_ORIGIN } leat_source;

/* Where the rows of a batch go: the table as it stands in SQL; temporary makes
 * it anew for this connection; ops keeps only rows with these operations
 * ("IUR"), 0 keeps all. */
typedef struct { const char *table; bool temporary; const char *ops; leat_buffer columns; } leat_ingest;
/* Adds a column; the name is not quoted, i is for LEAT_FROM_COLUMN and _ABSENT. */
void leat_ingest_column(leat_ingest *in, const char *name, const char *type, leat_source from, uint32_t i);
/* Adds a column that holds one text in every row. */
void leat_ingest_constant(leat_ingest *in, const char *name, const char *type, leat_text value);
/* Has the host move the rows of a batch at native speed. rows may be 0. */
bool leat_sql_ingest(const leat_write_batch *b, const leat_ingest *in, int64_t *rows, leat_failure *f);

typedef struct {
    bool (*open)(leat_text pipeline, leat_json config, leat_info *info, leat_failure *f);
    bool (*plan)(const leat_table *table, leat_landing *landing, leat_failure *f); /* runs no DDL */
    bool (*write)(void *state, const leat_write_batch *batch, leat_failure *f);    /* opens a transaction if there is none */
    bool (*commit)(const leat_entries *entries, leat_failure *f);                  /* stores the entries and commits */
    bool (*checkpoint)(leat_entries *into, leat_failure *f);                       /* reads back what commit has stored */
    bool (*rollback)(leat_failure *f);
    bool (*close)(leat_failure *f);
} leat_destination;

#include "leat_impl.h"
#include "leat_host.h"

#endif
