/* What leat.h declares of sections 6 and 7: host functions and destinations. It
 * is part of the one C file that includes leat.h. */
#ifndef LEAT_HOST_H
#define LEAT_HOST_H

#define LEAT_HOST_FUNCTION(name) LEAT_IMPORT(name) uint32_t leat_import_##name(const char *request, uint32_t len);
LEAT_IMPORT(reply) void leat_import_reply(char *into, uint32_t len);
LEAT_HOST_FUNCTION(sql_exec)
LEAT_HOST_FUNCTION(sql_query)
LEAT_HOST_FUNCTION(sql_ingest)
LEAT_HOST_FUNCTION(sql_begin)
LEAT_HOST_FUNCTION(sql_commit)
LEAT_HOST_FUNCTION(sql_rollback)
LEAT_HOST_FUNCTION(http_request)
LEAT_HOST_FUNCTION(kv_get)
LEAT_HOST_FUNCTION(kv_put)
LEAT_HOST_FUNCTION(kv_delete)
LEAT_HOST_FUNCTION(kv_list)
LEAT_HOST_FUNCTION(blob_get)
LEAT_HOST_FUNCTION(blob_put)
LEAT_HOST_FUNCTION(blob_delete)
LEAT_HOST_FUNCTION(blob_list)
LEAT_HOST_FUNCTION(kernel_run)
LEAT_IMPORT(kernel_result) void leat_import_kernel_result(void *into, uint32_t len);

typedef uint32_t (*leat_function)(const char *, uint32_t);

/* ---- Failures ------------------------------------------------------------- */

static const char *const leat_classes[] = {0, "connection", "data", "locked", "resource", "permission", "schema", "internal"};

bool leat_because_(leat_failure *f, leat_class kind, ...) {
    va_list rest;
    va_start(rest, kind);
    const char *first = va_arg(rest, const char *);
    *f = (leat_failure){leat_join(first, rest), {"", 0}, {"", 0}, kind, 0};
    va_end(rest);
    return false;
}

static void leat_read_failure(leat_json e, leat_failure *f) {
    leat_text kind = leat_string(leat_get(e, "class"));
    f->message = leat_string(leat_get(e, "message")), f->code = leat_string(leat_get(e, "code")), f->hint = leat_string(leat_get(e, "hint"));
    f->cause = (int)leat_int(leat_get(e, "number"), 0), f->kind = LEAT_NO_CLASS;
    for (int i = LEAT_CONNECTION; i <= LEAT_INTERNAL; i++)
        if (leat_is(kind, leat_classes[i])) f->kind = (leat_class)i;
}

/* Calls a host function; on success *ok is the "ok" of its reply. */
static bool leat_ask(leat_function function, const leat_buffer *request, leat_json *ok, leat_failure *f) {
    uint32_t len = function(request->at, request->len);
    char *at = leat_scratch(len + 1);
    leat_import_reply(at, len);
    leat_json failed = leat_get((leat_json){at, len}, "error");
    if (failed.len) return leat_read_failure(failed, f), false;
    *ok = leat_get((leat_json){at, len}, "ok");
    return true;
}

/* ---- Base64, for bytes in JSON --------------------------------------------- */

static const char leat_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void leat_json_base64(leat_buffer *b, leat_text data) {
    leat_json_raw(b, "\"");
    for (uint32_t i = 0; i < data.len; i += 3) {
        uint32_t left = data.len - i, bits = 0;
        for (uint32_t k = 0; k < 3; k++) bits = bits << 8 | (k < left ? (unsigned char)data.at[i + k] : 0);
        char four[4];
        for (uint32_t k = 0; k < 4; k++) four[k] = k <= left ? leat_digits[bits >> (18 - 6 * k) & 63] : '=';
        leat_add_bytes(b, four, 4);
    }
    leat_json_raw(b, "\"");
}

static leat_text leat_from_base64(leat_json v) {
    if (v.len < 2 || *v.at != '"') return (leat_text){"", 0};
    char *to = leat_scratch(v.len);
    uint32_t n = 0, bits = 0, held = 0;
    for (uint32_t i = 1; i + 1 < v.len && v.at[i] != '='; i++) {
        uint32_t digit = 0;
        while (digit < 63 && leat_digits[digit] != v.at[i]) digit++;
        bits = bits << 6 | digit, held += 6;
        if (held >= 8) held -= 8, to[n++] = (char)(bits >> held);
    }
    return (leat_text){to, n};
}

/* ---- sql -------------------------------------------------------------------- */

static leat_buffer leat_question; /* a request, used again */

static bool leat_ask_sql(leat_function function, const char *sql, leat_json *ok, leat_failure *f) {
    leat_question.len = 0;
    leat_json_raw(&leat_question, "{\"sql\":"), leat_json_text(&leat_question, leat_str(sql)), leat_json_raw(&leat_question, "}");
    return leat_ask(function, &leat_question, ok, f);
}

static bool leat_ask_nothing(leat_function function, leat_failure *f) {
    leat_json ok;
    leat_question.len = 0;
    leat_json_raw(&leat_question, "{}");
    return leat_ask(function, &leat_question, &ok, f);
}

bool leat_sql_exec(const char *sql, int64_t *affected, leat_failure *f) {
    leat_json ok;
    if (!leat_ask_sql(leat_import_sql_exec, sql, &ok, f)) return false;
    if (affected) *affected = leat_int(leat_get(ok, "affected"), 0);
    return true;
}

bool leat_sql_query(const char *sql, leat_rows *rows, leat_failure *f) {
    leat_json ok;
    if (!leat_ask_sql(leat_import_sql_query, sql, &ok, f)) return false;
    rows->columns = leat_get(ok, "columns"), rows->each = leat_begin(leat_get(ok, "rows"));
    return true;
}

leat_state leat_cell(const leat_rows *r, uint32_t column, leat_text *value) {
    leat_each cells = leat_begin(r->each.value);
    for (uint32_t i = 0; leat_next(&cells); i++) {
        if (i < column) continue;
        if (*cells.value.at != '"') return LEAT_NULL;
        *value = leat_string(cells.value);
        return LEAT_VALUE;
    }
    LEAT_FAULT(); /* the result has no such column */
}

bool leat_sql_begin(leat_failure *f) { return leat_ask_nothing(leat_import_sql_begin, f); }
bool leat_sql_commit(leat_failure *f) { return leat_ask_nothing(leat_import_sql_commit, f); }
bool leat_sql_rollback(leat_failure *f) { return leat_ask_nothing(leat_import_sql_rollback, f); }

/* ---- http, kv and blob ------------------------------------------------------- */

bool leat_http(const leat_http_request *request, leat_http_response *response, leat_failure *f) {
    leat_buffer *q = &leat_question;
    leat_json ok, body;
    q->len = 0;
    leat_json_raw(q, "{\"method\":"), leat_json_text(q, leat_str(request->method));
    leat_json_raw(q, ",\"url\":"), leat_json_text(q, leat_str(request->url)), leat_json_raw(q, ",\"headers\":{");
    for (uint32_t i = 0; request->headers && request->headers[i]; i += 2) {
        leat_json_raw(q, i ? "," : ""), leat_json_text(q, leat_str(request->headers[i])), leat_json_raw(q, ":");
        leat_json_text(q, leat_str(request->headers[i + 1]));
    }
    leat_json_raw(q, "},\"body_base64\":"), leat_json_base64(q, request->body), leat_json_raw(q, "}");
    if (!leat_ask(leat_import_http_request, q, &ok, f)) return false;
    body = leat_get(ok, "body_base64");
    response->status = (int)leat_int(leat_get(ok, "status"), 0), response->headers = leat_get(ok, "headers");
    response->body = body.len ? leat_from_base64(body) : leat_string(leat_get(ok, "body"));
    return true;
}

static bool leat_ask_key(leat_function function, leat_text key, const leat_text *value, leat_json *ok, leat_failure *f) {
    leat_buffer *q = &leat_question;
    q->len = 0;
    leat_json_raw(q, "{\"key\":"), leat_json_text(q, key);
    if (value) leat_json_raw(q, ",\"value\":"), leat_json_base64(q, *value);
    leat_json_raw(q, "}");
    return leat_ask(function, q, ok, f);
}

static bool leat_ask_value(leat_function function, leat_text key, leat_text *value, bool *found, leat_failure *f) {
    leat_json ok;
    if (!leat_ask_key(function, key, 0, &ok, f)) return false;
    leat_json v = leat_get(ok, "value");
    *found = v.len && *v.at == '"';
    *value = leat_from_base64(v);
    return true;
}

static bool leat_ask_list(leat_function function, leat_text prefix, leat_json *keys, leat_failure *f) {
    leat_json ok;
    leat_question.len = 0;
    leat_json_raw(&leat_question, "{\"prefix\":"), leat_json_text(&leat_question, prefix), leat_json_raw(&leat_question, "}");
    if (!leat_ask(function, &leat_question, &ok, f)) return false;
    *keys = leat_get(ok, "keys");
    return true;
}

#define LEAT_SPACE(space)                                                                                                     \
    bool leat_##space##_get(leat_text key, leat_text *value, bool *found, leat_failure *f) { return leat_ask_value(leat_import_##space##_get, key, value, found, f); } \
    bool leat_##space##_put(leat_text key, leat_text value, leat_failure *f) { leat_json ok; return leat_ask_key(leat_import_##space##_put, key, &value, &ok, f); }    \
    bool leat_##space##_delete(leat_text key, leat_failure *f) { leat_json ok; return leat_ask_key(leat_import_##space##_delete, key, 0, &ok, f); }                    \
    bool leat_##space##_list(leat_text prefix, leat_json *keys, leat_failure *f) { return leat_ask_list(leat_import_##space##_list, prefix, keys, f); }
LEAT_SPACE(kv)
LEAT_SPACE(blob)

/* ---- Kernels ------------------------------------------------------------------ */

bool leat_run_kernel(const char *kernel, leat_json parameters, uint32_t n, const leat_operand *inputs, leat_computed *result, leat_failure *f) {
    leat_buffer *q = &leat_question;
    leat_json ok;
    uint32_t rows = n ? inputs[0].view.rows : 0;
    q->len = 0;
    leat_json_raw(q, "{\"kernel\":"), leat_json_text(q, leat_str(kernel)), leat_json_raw(q, ",\"rows\":"), leat_json_int(q, rows);
    if (parameters.len) leat_json_raw(q, ",\"parameters\":"), leat_add_bytes(q, parameters.at, parameters.len);
    leat_json_raw(q, ",\"inputs\":[");
    for (uint32_t i = 0; i < n; i++) {
        const leat_operand *in = &inputs[i];
        leat_json_raw(q, i ? ",{\"name\":" : "{\"name\":"), leat_json_text(q, in->column.name);
        leat_json_raw(q, ",\"format\":"), leat_json_text(q, in->column.format);
        if (in->column.pg_type.len) leat_json_raw(q, ",\"pg_type\":"), leat_add_bytes(q, in->column.pg_type.at, in->column.pg_type.len);
        leat_json_raw(q, ",\"array\":"), leat_json_int(q, leat_array_of(&in->view));
        leat_json_raw(q, ",\"presence\":"), leat_json_int(q, LEAT_ADDRESS(in->view.present)), leat_json_raw(q, "}");
    }
    leat_json_raw(q, "]}");
    if (!leat_ask(leat_import_kernel_run, q, &ok, f)) return false;
    uint32_t size = (uint32_t)leat_int(leat_get(ok, "size"), 0), *head = leat_scratch(size);
    leat_import_kernel_result(head, size);
    result->format = leat_string(leat_get(ok, "format"));
    result->view = leat_view_of(head[0], head[1], rows);
    result->n_errors = head[2], result->errors = LEAT_AT(leat_row_error, head[3]);
    return true;
}

/* ---- Destinations ------------------------------------------------------------ */

void leat_land(leat_landing *l, leat_text name, const char *type, leat_text source) {
    leat_buffer *b = &l->columns;
    leat_json_raw(b, b->len ? "]},{\"name\":" : "{\"name\":"), leat_json_text(b, name);
    leat_json_raw(b, ",\"type\":"), leat_json_text(b, leat_str(type));
    leat_json_raw(b, ",\"source\":"), leat_json_text(b, source), leat_json_raw(b, ",\"losses\":[");
}

void leat_land_loss(leat_landing *l, const char *loss) {
    leat_json_raw(&l->columns, l->columns.at[l->columns.len - 1] == '[' ? "" : ","), leat_json_text(&l->columns, leat_str(loss));
}

void leat_land_statement(leat_landing *l, const char *sql) {
    leat_json_raw(&l->statements, l->statements.len ? "," : ""), leat_json_text(&l->statements, leat_str(sql));
}

void leat_add_entry(leat_entries *e, leat_text key, leat_text value) {
    if (e->n == e->room) {
        leat_entry *more = leat_scratch((e->room = 2 * e->room + 4) * sizeof *more);
        memcpy(more, e->at, e->n * sizeof *more);
        e->at = more;
    }
    e->at[e->n++] = (leat_entry){key, value, true};
}

int64_t leat_count(const leat_write_batch *b, char op) { return leat_int(leat_get(b->ops, (char[]){op, 0}), 0); }

static leat_buffer *leat_ingest_named(leat_ingest *in, const char *name, const char *type, const char *from) {
    leat_buffer *b = &in->columns;
    leat_json_raw(b, b->len ? ",{\"name\":" : "{\"name\":"), leat_json_text(b, leat_str(name));
    leat_json_raw(b, ",\"type\":"), leat_json_text(b, leat_str(type)), leat_json_raw(b, ",\"from\":"), leat_json_text(b, leat_str(from));
    return b;
}

void leat_ingest_column(leat_ingest *in, const char *name, const char *type, leat_source from, uint32_t i) {
    static const char *const sources[] = {"column", "absent", "op", "lsn", "ordinal", "commit_time", "row", "row_id", "ingest_time", "origin"};
    leat_buffer *b = leat_ingest_named(in, name, type, sources[from]);
    if (from <= LEAT_FROM_ABSENT) leat_json_raw(b, ",\"column\":"), leat_json_int(b, i);
    leat_json_raw(b, "}");
}

void leat_ingest_constant(leat_ingest *in, const char *name, const char *type, leat_text value) {
    leat_buffer *b = leat_ingest_named(in, name, type, "constant");
    leat_json_raw(b, ",\"value\":"), leat_json_text(b, value), leat_json_raw(b, "}");
}

bool leat_sql_ingest(const leat_write_batch *batch, const leat_ingest *in, int64_t *rows, leat_failure *f) {
    leat_buffer *q = &leat_question;
    leat_json ok;
    q->len = 0;
    leat_json_raw(q, "{\"batch\":"), leat_json_int(q, batch->handle);
    leat_json_raw(q, ",\"ingest\":{\"table\":"), leat_json_text(q, leat_str(in->table));
    leat_json_raw(q, in->temporary ? ",\"temporary\":true" : ",\"temporary\":false");
    leat_json_raw(q, ",\"ops\":"), leat_json_text(q, leat_str(in->ops ? in->ops : ""));
    leat_json_raw(q, ",\"columns\":["), leat_add_bytes(q, in->columns.at, in->columns.len), leat_json_raw(q, "]}}");
    if (!leat_ask(leat_import_sql_ingest, q, &ok, f)) return false;
    if (rows) *rows = leat_int(leat_get(ok, "rows"), 0);
    return true;
}

/* The reply of a call that returns nothing. */
static uint64_t leat_done(bool done, const leat_failure *f) {
    if (!done) return leat_answer_error(f->message, f->cause, f->cause ? 0 : leat_classes[f->kind]);
    leat_last.len = 0;
    leat_json_raw(&leat_last, "{\"ok\":{}}");
    return leat_answer();
}

static void leat_write_flag(const char *name, bool v) {
    leat_json_raw(&leat_last, ",\""), leat_json_raw(&leat_last, name), leat_json_raw(&leat_last, v ? "\":true" : "\":false");
}

LEAT_API uint64_t leat_run_open(leat_json request, const leat_destination *d) {
    leat_info info = {0};
    leat_failure f = {0};
    leat_planning = true;
    bool done = d->open(leat_string(leat_get(request, "pipeline")), leat_keep(leat_get(request, "config")), &info, &f);
    leat_planning = false;
    if (!done) return leat_done(false, &f);
    leat_last.len = 0;
    leat_json_raw(&leat_last, "{\"ok\":{\"driver\":"), leat_json_text(&leat_last, leat_str(info.driver ? info.driver : ""));
    leat_write_flag("compacts", info.compacts), leat_write_flag("fills", info.fills);
    leat_write_flag("changes_apart", info.changes_apart), leat_write_flag("empties", info.empties);
    leat_json_raw(&leat_last, "}}");
    return leat_answer();
}

static void **leat_states; /* of the plans, by number */
static uint32_t leat_n_states, leat_room_states;

LEAT_API uint64_t leat_plan_destination(leat_json request, const leat_destination *d) {
    leat_landing l = {0};
    leat_failure f = {0};
    leat_planning = true;
    uint32_t number = (uint32_t)leat_int(leat_get(request, "plan"), 0);
    leat_table *table = leat_new(sizeof *table);
    *table = leat_parse_table(leat_get(request, "schema"));
    bool done = d->plan(table, &l, &f);
    leat_planning = false;
    if (!done) return leat_done(false, &f);
    while (leat_n_states <= number) LEAT_PUSH(leat_states, leat_n_states, leat_room_states, (void *)0);
    leat_states[number] = l.state;
    leat_last.len = 0;
    leat_json_raw(&leat_last, "{\"ok\":{\"table\":"), leat_json_text(&leat_last, leat_str(l.table ? l.table : ""));
    leat_json_raw(&leat_last, ",\"columns\":["), leat_add_bytes(&leat_last, l.columns.at, l.columns.len);
    leat_json_raw(&leat_last, l.columns.len ? "]}],\"statements\":[" : "],\"statements\":["), leat_add_bytes(&leat_last, l.statements.at, l.statements.len);
    leat_json_raw(&leat_last, "],\"reload\":"), leat_json_text(&leat_last, leat_str(l.reload ? l.reload : ""));
    leat_json_raw(&leat_last, ",\"read\":"), leat_json_text(&leat_last, leat_str(l.read ? l.read : "")), leat_json_raw(&leat_last, "}}");
    leat_give(l.columns.at, l.columns.room), leat_give(l.statements.at, l.statements.room);
    return leat_answer();
}

LEAT_API uint64_t leat_run_write(leat_json request, const leat_destination *d) {
    leat_json batch = leat_get(request, "batch"), absent = leat_get(batch, "absent");
    leat_write_batch b = {0};
    leat_failure f = {0};
    b.handle = (uint32_t)leat_int(leat_get(batch, "handle"), 0), b.rows = (uint32_t)leat_int(leat_get(batch, "rows"), 0);
    b.position = leat_string(leat_get(batch, "position")), b.ops = leat_get(batch, "ops");
    uint32_t *columns = leat_scratch(absent.len * sizeof *columns), number = (uint32_t)leat_int(leat_get(request, "plan"), 0);
    for (leat_each e = leat_begin(absent); leat_next(&e);) columns[b.n_absent++] = (uint32_t)leat_int(e.value, 0);
    b.absent = columns;
    if (number >= leat_n_states) return leat_done(leat_because(&f, LEAT_NO_CLASS, "no plan has this number"), &f);
    return leat_done(d->write(leat_states[number], &b, &f), &f);
}

LEAT_API uint64_t leat_run_commit(leat_json request, const leat_destination *d) {
    leat_entries entries = {0};
    leat_failure f = {0};
    for (leat_each e = leat_begin(leat_get(request, "entries")); leat_next(&e);) {
        leat_json value = leat_get(e.value, "value");
        leat_add_entry(&entries, leat_string(leat_get(e.value, "key")), leat_string(value));
        entries.at[entries.n - 1].kept = value.len && *value.at == '"';
    }
    return leat_done(d->commit(&entries, &f), &f);
}

LEAT_API uint64_t leat_run_checkpoint(leat_json request, const leat_destination *d) {
    (void)request;
    leat_entries entries = {0};
    leat_failure f = {0};
    if (!d->checkpoint(&entries, &f)) return leat_done(false, &f);
    leat_last.len = 0;
    leat_json_raw(&leat_last, "{\"ok\":{\"entries\":[");
    for (uint32_t i = 0; i < entries.n; i++) {
        leat_json_raw(&leat_last, i ? ",{\"key\":" : "{\"key\":"), leat_json_text(&leat_last, entries.at[i].key);
        leat_json_raw(&leat_last, ",\"value\":"), leat_json_text(&leat_last, entries.at[i].value), leat_json_raw(&leat_last, "}");
    }
    leat_json_raw(&leat_last, "]}}");
    return leat_answer();
}

LEAT_API uint64_t leat_run_rollback(leat_json request, const leat_destination *d) {
    (void)request;
    leat_failure f = {0};
    return leat_done(d->rollback(&f), &f);
}

LEAT_API uint64_t leat_run_close(leat_json request, const leat_destination *d) {
    (void)request;
    leat_failure f = {0};
    return leat_done(d->close(&f), &f);
}

#define LEAT_CALL(name, run, d)                                                           \
    LEAT_EXPORT(leat_##name) uint64_t leat_export_##name(const char *at, uint32_t len) {  \
        leat_sweep();                                                                     \
        return run((leat_json){at, len}, &(d));                                           \
    }
/* Makes the module a destination: d is a static leat_destination. */
#define LEAT_DESTINATION(d)                                                                                  \
    LEAT_CALL(open, leat_run_open, d) LEAT_CALL(plan, leat_plan_destination, d)                              \
    LEAT_CALL(write, leat_run_write, d) LEAT_CALL(commit, leat_run_commit, d)                                \
    LEAT_CALL(checkpoint, leat_run_checkpoint, d) LEAT_CALL(rollback, leat_run_rollback, d)                  \
    LEAT_CALL(close, leat_run_close, d)

#endif
