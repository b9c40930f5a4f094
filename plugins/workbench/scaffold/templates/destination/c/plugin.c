/* Keeps the last state of every row in DuckDB. Requests and replies are the
 * JSON of section 6 of the interface. */
#include "leat.h"

typedef struct { const char *name, *type; bool key; } column;

/* What write needs to know of a planned table; ddl is run before its rows. */
typedef struct table { int64_t plan; const char *name, *ddl; column *columns; uint32_t n_columns; bool ready, waiting; struct table *next; } table;

/* The one instance of a pipeline; its functions are called one at a time. */
static struct { const char *prefix, *pipeline; bool open; table *tables; } self;

/* ---- Statements, written into one buffer ----------------------------------- */

static leat_buffer line;

static void put(const char *s) { leat_json_raw(&line, s); }
static void put_n(int64_t n) { leat_json_int(&line, n); }

/* Text between marks that are doubled inside it: a name or a literal of SQL. */
static void put_quoted(leat_text t, char mark) {
    char one[3] = {mark, 0, 0};
    put(one);
    for (uint32_t i = 0; i < t.len; i++) {
        char c[3] = {t.at[i], t.at[i] == mark ? mark : 0, 0};
        put(c);
    }
    put(one);
}

/* What was written since line.len = 0, in memory that stays. */
static const char *kept(void) {
    char *s = leat_new(line.len + 1);
    memcpy(s, line.at, line.len);
    line.len = 0;
    return s;
}

static bool run(leat_reply *r) {
    leat_json ok;
    bool done = leat_sql(leat_sql_exec, leat_cstr((leat_text){line.at, line.len}), &ok, r);
    line.len = 0;
    return done;
}

/* Has the host do one of begin, commit and rollback. */
static bool ask(uint32_t (*function)(const char *, uint32_t), leat_reply *r) {
    leat_json ok;
    return leat_host(function, leat_str("{}"), &ok, r);
}

static bool begin(leat_reply *r) {
    if (!self.open && !ask(leat_sql_begin, r)) return false;
    return self.open = true;
}

/* ---- Open and plan ---------------------------------------------------------- */

/* compacts: of a key's rows in a batch only the last is needed. */
static bool open_(leat_json request, leat_reply *r) {
    line.len = 0;
    put(leat_cstr(leat_string(leat_get(leat_get(request, "config"), "prefix")))), self.prefix = kept();
    put(leat_cstr(leat_string(leat_get(request, "pipeline")))), self.pipeline = kept();
    put("CREATE TABLE IF NOT EXISTS leat_checkpoint (pipeline VARCHAR, key VARCHAR, value VARCHAR)");
    if (!run(r)) return false;
    leat_json_raw(&r->json, "{\"driver\":\"duckdb\",\"compacts\":true,\"changes_apart\":true}");
    return true;
}

/* DuckDB's name for a format that has a type of its own; all else stays the
 * text that PostgreSQL prints. */
static const char *type_of(leat_text format) {
    static const char *const types[][2] = {{"b", "BOOLEAN"}, {"s", "SMALLINT"}, {"i", "INTEGER"}, {"l", "BIGINT"}, {"f", "FLOAT"}, {"g", "DOUBLE"}, {"w:16", "UUID"}, {"z", "BLOB"}};
    for (uint32_t i = 0; i < sizeof types / sizeof *types; i++)
        if (leat_is(format, types[i][0])) return types[i][1];
    return "VARCHAR";
}

/* Appends statement s to a JSON list and to the table's DDL. */
static void statement(leat_reply *r, leat_buffer *ddl, const char *s) {
    if (ddl->len) leat_json_raw(ddl, "; "), leat_json_raw(&r->json, ",");
    leat_json_raw(ddl, s);
    leat_json_text(&r->json, leat_str(s));
}

/* Decides how a table lands. It runs no DDL: the host shows the statements to
 * people first. */
static bool plan(leat_json request, leat_reply *r) {
    leat_json schema = leat_get(request, "schema"), columns = leat_get(schema, "columns");
    leat_text source = leat_string(leat_get(leat_get(schema, "table"), "name"));
    table *t = leat_new(sizeof *t);
    for (leat_each c = leat_begin(columns); leat_next(&c);) t->n_columns++;
    t->columns = leat_new(t->n_columns * sizeof *t->columns);
    t->plan = leat_int(leat_get(request, "plan"), 0);
    leat_buffer name = {0};
    leat_json_raw(&name, self.prefix), leat_json_raw(&name, leat_cstr(source));
    put_quoted((leat_text){name.at, name.len}, '"'), t->name = kept();
    bool keyed = false;
    leat_json_raw(&r->json, "{\"table\":"), leat_json_text(&r->json, leat_str(t->name)), leat_json_raw(&r->json, ",\"columns\":[");
    uint32_t i = 0;
    for (leat_each c = leat_begin(columns); leat_next(&c); i++) {
        leat_text column_name = leat_string(leat_get(c.value, "name"));
        put_quoted(column_name, '"');
        t->columns[i] = (column){kept(), type_of(leat_string(leat_get(c.value, "format"))), leat_int(leat_get(c.value, "key"), 0) > 0};
        keyed = keyed || t->columns[i].key;
        leat_json_raw(&r->json, i ? ",{\"name\":" : "{\"name\":"), leat_json_text(&r->json, column_name);
        leat_json_raw(&r->json, ",\"source\":"), leat_json_text(&r->json, column_name);
        leat_json_raw(&r->json, ",\"type\":"), leat_json_text(&r->json, leat_str(t->columns[i].type)), leat_json_raw(&r->json, "}");
    }
    if (!keyed) return leat_refuse_reply(r, "table ", leat_cstr(source), " has no key, by which rows could be found again");
    leat_json_raw(&r->json, "],\"statements\":[");
    leat_buffer ddl = {0};
    put("CREATE TABLE IF NOT EXISTS "), put(t->name);
    for (i = 0; i < t->n_columns; i++) put(i ? ", " : " ("), put(t->columns[i].name), put(" "), put(t->columns[i].type);
    put(")"), statement(r, &ddl, kept());
    for (i = 0; i < t->n_columns; i++) { /* of a table that is older than a column */
        put("ALTER TABLE "), put(t->name), put(" ADD COLUMN IF NOT EXISTS "), put(t->columns[i].name), put(" "), put(t->columns[i].type);
        statement(r, &ddl, kept());
    }
    put(leat_cstr((leat_text){ddl.at, ddl.len})), t->ddl = kept();
    for (i = 0; i < t->n_columns; i++) put(i ? ", " : "SELECT "), put(t->columns[i].name);
    put(" FROM "), put(t->name);
    leat_json_raw(&r->json, "],\"read\":"), leat_json_text(&r->json, (leat_text){line.at, line.len}), leat_json_raw(&r->json, "}");
    line.len = 0;
    t->next = self.tables, self.tables = t;
    return true;
}

/* ---- Write ------------------------------------------------------------------ */

/* Runs a plan's DDL before the first rows. DuckDB does not take a changed
 * table and its rows in one transaction: if one is open, the host takes it back
 * and begins anew, with the table as it has to be. */
static bool prepare(table *t, leat_reply *r) {
    if (t->ready) return true;
    if (self.open) {
        t->waiting = true;
        r->class_ = "connection";
        return leat_refuse_reply(r, "the table ", t->name, " is changed first");
    }
    put(t->ddl);
    return t->ready = run(r);
}

static void ingested(leat_buffer *b, const char *prefix, int64_t n, const char *type, const char *from) {
    leat_json_raw(b, ",{\"name\":\""), leat_json_raw(b, prefix);
    if (n >= 0) leat_json_int(b, n);
    leat_json_raw(b, "\",\"type\":\""), leat_json_raw(b, type), leat_json_raw(b, "\",\"from\":\""), leat_json_raw(b, from);
    leat_json_raw(b, "\",\"column\":"), leat_json_int(b, n < 0 ? 0 : n), leat_json_raw(b, "}");
}

/* Fills the temporary table of a batch: its columns, a flag for each one that
 * some row lacks, and what tells the rows apart. */
static bool stage(table *t, leat_json batch, leat_reply *r) {
    static leat_buffer b;
    b.len = 0;
    leat_json_raw(&b, "{\"batch\":"), leat_json_int(&b, leat_int(leat_get(batch, "handle"), 0));
    leat_json_raw(&b, ",\"ingest\":{\"table\":\"leat_stage\",\"temporary\":true,\"columns\":[{\"name\":\"leat_op\",\"type\":\"VARCHAR\",\"from\":\"op\"}");
    ingested(&b, "leat_row", -1, "BIGINT", "row");
    ingested(&b, "leat_origin", -1, "BIGINT", "origin");
    for (uint32_t i = 0; i < t->n_columns; i++) ingested(&b, "c", i, t->columns[i].type, "column");
    for (leat_each a = leat_begin(leat_get(batch, "absent")); leat_next(&a);) ingested(&b, "absent", leat_int(a.value, 0), "BOOLEAN", "absent");
    leat_json_raw(&b, "]}}");
    leat_json ok;
    return leat_host(leat_sql_ingest, (leat_text){b.at, b.len}, &ok, r);
}

static void put_match(table *t) {
    const char *and = "";
    for (uint32_t i = 0; i < t->n_columns; i++)
        if (t->columns[i].key) put(and), put("t."), put(t->columns[i].name), put(" = o.c"), put_n(i), and = " AND ";
}

/* Brings the stage into the table. */
static bool merge(table *t, leat_json batch, leat_reply *r) {
    /* Unchanged is neither null nor a value: it is what the row had, under the
     * key it had. */
    for (leat_each a = leat_begin(leat_get(batch, "absent")); leat_next(&a);) {
        int64_t i = leat_int(a.value, 0);
        put("UPDATE leat_stage AS s SET c"), put_n(i), put(" = t."), put(t->columns[i].name), put(" FROM leat_stage AS o, "), put(t->name);
        put(" AS t WHERE s.absent"), put_n(i), put(" AND s.leat_op NOT IN ('D', 'K') AND o.leat_row = s.leat_origin AND "), put_match(t);
        if (!run(r)) return false;
    }
    put("DELETE FROM "), put(t->name), put(" AS t USING leat_stage AS o WHERE "), put_match(t);
    if (!run(r)) return false;
    put("INSERT INTO "), put(t->name);
    for (uint32_t i = 0; i < t->n_columns; i++) put(i ? ", " : " ("), put(t->columns[i].name);
    for (uint32_t i = 0; i < t->n_columns; i++) put(i ? ", c" : ") SELECT c"), put_n(i);
    put(" FROM leat_stage WHERE leat_op NOT IN ('D', 'K')");
    return run(r);
}

static bool write_(leat_json request, leat_reply *r) {
    leat_json batch = leat_get(request, "batch");
    int64_t number = leat_int(leat_get(request, "plan"), 0);
    table *t = self.tables;
    while (t && t->plan != number) t = t->next;
    if (!t) return leat_refuse_reply(r, "no such plan");
    if (!prepare(t, r)) return false;
    if (!leat_int(leat_get(batch, "rows"), 0)) return true;
    if (!begin(r)) return false;
    if (leat_get(leat_get(batch, "ops"), "T").len) {
        put("DELETE FROM "), put(t->name);
        return run(r);
    }
    return stage(t, batch, r) && merge(t, batch, r);
}

/* ---- Checkpoint ------------------------------------------------------------- */

/* Stores the entries beside the rows and makes both durable together. */
static bool commit(leat_json request, leat_reply *r) {
    if (!begin(r)) return false;
    for (leat_each e = leat_begin(leat_get(request, "entries")); leat_next(&e);) {
        leat_text key = leat_string(leat_get(e.value, "key"));
        leat_json value = leat_get(e.value, "value");
        put("DELETE FROM leat_checkpoint WHERE pipeline = "), put_quoted(leat_str(self.pipeline), '\'');
        put(" AND key = "), put_quoted(key, '\'');
        if (value.len && value.at[0] == '"') {
            put("; INSERT INTO leat_checkpoint VALUES ("), put_quoted(leat_str(self.pipeline), '\'');
            put(", "), put_quoted(key, '\''), put(", "), put_quoted(leat_string(value), '\''), put(")");
        }
        if (!run(r)) return false;
    }
    if (!ask(leat_sql_commit, r)) return false;
    self.open = false;
    return true;
}

/* Returns what commit has stored. */
static bool checkpoint(leat_json request, leat_reply *r) {
    (void)request;
    put("SELECT key, value FROM leat_checkpoint WHERE pipeline = "), put_quoted(leat_str(self.pipeline), '\'');
    leat_json found;
    bool done = leat_sql(leat_sql_query, leat_cstr((leat_text){line.at, line.len}), &found, r);
    line.len = 0;
    if (!done) return false;
    const char *before = "{\"entries\":[";
    for (leat_each row = leat_begin(leat_get(found, "rows")); leat_next(&row); before = ",") {
        leat_each cell = leat_begin(row.value);
        leat_json_raw(&r->json, before);
        leat_next(&cell), leat_json_raw(&r->json, "{\"key\":"), leat_json_text(&r->json, leat_string(cell.value));
        leat_next(&cell), leat_json_raw(&r->json, ",\"value\":"), leat_json_text(&r->json, leat_string(cell.value));
        leat_json_raw(&r->json, "}");
    }
    leat_json_raw(&r->json, before[0] == ',' ? "]}" : "{\"entries\":[]}");
    return true;
}

/* Takes back what was not committed, and makes the changes of tables that wait
 * for the end of a transaction. */
static bool rollback(leat_json request, leat_reply *r) {
    (void)request;
    self.open = false;
    if (!ask(leat_sql_rollback, r)) return false;
    for (table *t = self.tables; t; t = t->next) {
        if (!t->waiting) continue;
        put(t->ddl);
        if (!run(r)) return false;
        t->waiting = false, t->ready = true;
    }
    return true;
}

LEAT_DESTINATION(((leat_destination){open_, plan, write_, commit, checkpoint, rollback, rollback}))
