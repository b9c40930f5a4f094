/* Replaces the values of text columns by one text. */
#include "leat.h"

/* The kit calls it for values only: null stays null, and what the source did
 * not send stays unchanged. */
static void replace(leat_builder *out, leat_text value, void *state) {
    (void)value;
    leat_append_text(out, *(leat_text *)state);
}

/* Called once for each version of each table. It says what becomes of the
 * table and which columns are needed for that: no other enters the plugin. */
static bool plan(leat_plan *p) {
    /* The settings are already valid against config.schema.json. */
    leat_text *with = leat_new(sizeof *with); /* stays for the batches */
    leat_json setting = leat_get(p->config, "with");
    *with = setting.len ? leat_string(setting) : leat_str("***");
    leat_keep_all(p); /* every column as it is; from here on, changes */
    for (leat_each names = leat_begin(leat_get(p->config, "columns")); leat_next(&names);) {
        leat_text name = leat_string(names.value);
        int i = leat_find_text(&p->table, name);
        if (i < 0)
            return leat_refuse(p, "table ", leat_cstr(p->table.name), " has no column ", leat_cstr(name), ": correct columns, or leave the table out under tables of the pipeline file");
        if (p->table.columns[i].key)
            return leat_refuse(p, "column ", leat_cstr(name), " of table ", leat_cstr(p->table.name), " is part of the key: one text for all would make one row of all");
        if (!leat_is(p->table.columns[i].format, "u"))
            return leat_refuse(p, "column ", leat_cstr(name), " of table ", leat_cstr(p->table.name), " is not text");
        leat_rewrite(p, i, replace, with);
    }
    return true;
}

LEAT_TRANSFORM(plan)
