/* Keeps the last state of every row in DuckDB. */
#include "leat.h"

/* What write needs to know of a planned table; ddl is run before its rows. */
typedef struct { const char *name, *type; bool key; } column;
typedef struct table { const char *name, *ddl; column *columns; uint32_t n_columns; bool ready, waiting; struct table *next; } table;

/* The one instance of a pipeline; its functions are called one at a time. */
static struct { leat_text prefix, pipeline; bool open; table *tables; } self;

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

/* What was written since line.len = 0, until the next call; in plan for good. */
static const char *written(void) {
    const char *s = leat_cstr((leat_text){line.at, line.len});
    line.len = 0;
    return s;
}

static bool run(leat_failure *f) { return leat_sql_exec(written(), 0, f); }

static bool begin(leat_failure *f) {
    if (!self.open && !leat_sql_begin(f)) return false;
    return self.open = true;
}

/* ---- Open and plan ---------------------------------------------------------- */

/* compacts: of a key's rows in a batch only the last is needed. empties: a
 * truncate takes the rows of a table back. */
static bool open_(leat_text pipeline, leat_json config, leat_info *info, leat_failure *f) {
    self.pipeline = pipeline, self.prefix = leat_string(leat_get(config, "prefix"));
    info->driver = "duckdb", info->compacts = info->changes_apart = info->empties = true;
    return leat_sql_exec("CREATE TABLE IF NOT EXISTS leat_checkpoint (pipeline VARCHAR, key VARCHAR, value VARCHAR)", 0, f);
}

/* DuckDB's name for a format that has a type of its own; all else stays the
 * text that PostgreSQL prints. */
static const char *type_of(leat_text format) {
    static const char *const types[][2] = {{"b", "BOOLEAN"}, {"s", "SMALLINT"}, {"i", "INTEGER"}, {"l", "BIGINT"}, {"f", "FLOAT"}, {"g", "DOUBLE"}, {"w:16", "UUID"}, {"z", "BLOB"}};
    for (uint32_t i = 0; i < sizeof types / sizeof *types; i++)
        if (leat_is(format, types[i][0])) return types[i][1];
    return "VARCHAR";
}

/* Adds what is in line to the plan and to the table's DDL. */
static void statement(leat_landing *landing, leat_buffer *ddl) {
    const char *sql = written();
    leat_land_statement(landing, sql);
    leat_json_raw(ddl, ddl->len ? "; " : ""), leat_json_raw(ddl, sql);
}

/* Decides how a table lands. It runs no DDL: the host shows the statements to
 * people first. */
static bool plan(const leat_table *source, leat_landing *landing, leat_failure *f) {
    table *t = leat_new(sizeof *t);
    leat_buffer name = {0}, ddl = {0};
    bool keyed = false;
    leat_json_raw(&name, leat_cstr(self.prefix)), leat_json_raw(&name, leat_cstr(source->name));
    put_quoted((leat_text){name.at, name.len}, '"'), t->name = written();
    t->columns = leat_new(source->n_columns * sizeof *t->columns), t->n_columns = source->n_columns;
    for (uint32_t i = 0; i < t->n_columns; i++) {
        const leat_column *c = &source->columns[i];
        put_quoted(c->name, '"');
        t->columns[i] = (column){written(), type_of(c->format), c->key > 0};
        keyed = keyed || c->key > 0;
        leat_land(landing, c->name, t->columns[i].type, c->name);
    }
    if (!keyed) return leat_because(f, LEAT_NO_CLASS, "table ", leat_cstr(source->name), " has no key, by which rows could be found again");
    put("CREATE TABLE IF NOT EXISTS "), put(t->name);
    for (uint32_t i = 0; i < t->n_columns; i++) put(i ? ", " : " ("), put(t->columns[i].name), put(" "), put(t->columns[i].type);
    put(")"), statement(landing, &ddl);
    for (uint32_t i = 0; i < t->n_columns; i++) { /* of a table that is older than a column, whose rows have the column's default */
        put("ALTER TABLE "), put(t->name), put(" ADD COLUMN IF NOT EXISTS "), put(t->columns[i].name), put(" "), put(t->columns[i].type);
        if (source->columns[i].has_missing) put(" DEFAULT "), put_quoted(source->columns[i].missing, '\'');
        statement(landing, &ddl);
    }
    for (uint32_t i = 0; i < t->n_columns; i++) put(i ? ", " : "SELECT "), put(t->columns[i].name);
    put(" FROM "), put(t->name);
    landing->table = t->name, landing->read = written(), landing->state = t;
    t->ddl = leat_cstr((leat_text){ddl.at, ddl.len});
    t->next = self.tables, self.tables = t;
    return true;
}

/* ---- Write ------------------------------------------------------------------ */

/* Runs a plan's DDL before the first rows. DuckDB does not take a changed
 * table and its rows in one transaction: if one is open, the host takes it back
 * and begins anew, with the table as it has to be. */
static bool prepare(table *t, leat_failure *f) {
    if (t->ready) return true;
    if (self.open) {
        t->waiting = true;
        return leat_because(f, LEAT_CONNECTION, "the table ", t->name, " is changed first");
    }
    return t->ready = leat_sql_exec(t->ddl, 0, f);
}

static const char *numbered(const char *prefix, uint32_t n) {
    put(prefix), put_n(n);
    return written();
}

/* Fills the temporary table of a batch: its columns, a flag for each one that
 * some row lacks, and what tells the rows apart. */
static bool stage(table *t, const leat_write_batch *b, leat_failure *f) {
    static leat_ingest in = {"leat_stage", true, 0, {0, 0, 0}};
    in.columns.len = 0;
    leat_ingest_column(&in, "leat_op", "VARCHAR", LEAT_FROM_OP, 0);
    leat_ingest_column(&in, "leat_row", "BIGINT", LEAT_FROM_ROW, 0);
    leat_ingest_column(&in, "leat_origin", "BIGINT", LEAT_FROM_ORIGIN, 0);
    for (uint32_t i = 0; i < t->n_columns; i++) leat_ingest_column(&in, numbered("c", i), t->columns[i].type, LEAT_FROM_COLUMN, i);
    for (uint32_t a = 0; a < b->n_absent; a++) leat_ingest_column(&in, numbered("absent", b->absent[a]), "BOOLEAN", LEAT_FROM_ABSENT, b->absent[a]);
    return leat_sql_ingest(b, &in, 0, f);
}

static void put_match(table *t) {
    const char *and = "";
    for (uint32_t i = 0; i < t->n_columns; i++)
        if (t->columns[i].key) put(and), put("t."), put(t->columns[i].name), put(" = o.c"), put_n(i), and = " AND ";
}

/* Brings the stage into the table. */
static bool merge(table *t, const leat_write_batch *b, leat_failure *f) {
    /* Unchanged is neither null nor a value: it is what the row had, under the
     * key it had. */
    for (uint32_t a = 0; a < b->n_absent; a++) {
        uint32_t i = b->absent[a];
        put("UPDATE leat_stage AS s SET c"), put_n(i), put(" = t."), put(t->columns[i].name), put(" FROM leat_stage AS o, "), put(t->name);
        put(" AS t WHERE s.absent"), put_n(i), put(" AND s.leat_op NOT IN ('D', 'K') AND o.leat_row = s.leat_origin AND "), put_match(t);
        if (!run(f)) return false;
    }
    put("DELETE FROM "), put(t->name), put(" AS t USING leat_stage AS o WHERE "), put_match(t);
    if (!run(f)) return false;
    put("INSERT INTO "), put(t->name);
    for (uint32_t i = 0; i < t->n_columns; i++) put(i ? ", " : " ("), put(t->columns[i].name);
    for (uint32_t i = 0; i < t->n_columns; i++) put(i ? ", c" : ") SELECT c"), put_n(i);
    put(" FROM leat_stage WHERE leat_op NOT IN ('D', 'K')");
    return run(f);
}

static bool write_(void *state, const leat_write_batch *b, leat_failure *f) {
    table *t = state;
    if (!prepare(t, f)) return false;
    if (!b->rows) return true;
    if (!begin(f)) return false;
    if (leat_is_truncate(b)) {
        put("DELETE FROM "), put(t->name);
        return run(f);
    }
    return stage(t, b, f) && merge(t, b, f);
}

/* ---- Checkpoint ------------------------------------------------------------- */

/* Stores the entries beside the rows and makes both durable together. */
static bool commit(const leat_entries *entries, leat_failure *f) {
    if (!begin(f)) return false;
    for (uint32_t i = 0; i < entries->n; i++) {
        const leat_entry *e = &entries->at[i];
        put("DELETE FROM leat_checkpoint WHERE pipeline = "), put_quoted(self.pipeline, '\'');
        put(" AND key = "), put_quoted(e->key, '\'');
        if (e->kept) {
            put("; INSERT INTO leat_checkpoint VALUES ("), put_quoted(self.pipeline, '\'');
            put(", "), put_quoted(e->key, '\''), put(", "), put_quoted(e->value, '\''), put(")");
        }
        if (!run(f)) return false;
    }
    if (!leat_sql_commit(f)) return false;
    self.open = false;
    return true;
}

/* Returns what commit has stored. */
static bool checkpoint(leat_entries *into, leat_failure *f) {
    leat_rows rows;
    put("SELECT key, value FROM leat_checkpoint WHERE pipeline = "), put_quoted(self.pipeline, '\'');
    if (!leat_sql_query(written(), &rows, f)) return false;
    while (leat_next_row(&rows)) {
        leat_text key, value;
        if (leat_cell(&rows, 0, &key) == LEAT_VALUE && leat_cell(&rows, 1, &value) == LEAT_VALUE) leat_add_entry(into, key, value);
    }
    return true;
}

/* Takes back what was not committed, and makes the changes of tables that wait
 * for the end of a transaction. */
static bool rollback(leat_failure *f) {
    self.open = false;
    if (!leat_sql_rollback(f)) return false;
    for (table *t = self.tables; t; t = t->next) {
        if (!t->waiting) continue;
        if (!leat_sql_exec(t->ddl, 0, f)) return false;
        t->waiting = false, t->ready = true;
    }
    return true;
}

static const leat_destination destination = {open_, plan, write_, commit, checkpoint, rollback, rollback};

LEAT_DESTINATION(destination)
