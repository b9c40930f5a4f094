/* Hashes a text column regardless of case and drops the rows that a condition
 * does not hold for. Kernels of the host do both: no cell enters the plugin. */
#include "leat.h"

static bool plan(leat_plan *p) {
    int c = leat_text_column(p);
    if (c < 0) return false;
    uint32_t lower = leat_kernel(p, "case", leat_str("{\"to\": \"lower\"}"), 1, &c);
    uint32_t hash = leat_kernel(p, "hash", leat_str("{\"algorithm\": \"md5\"}"), 1, (int[]){LEAT_RESULT(lower)});
    int *all = leat_new(p->table.n_columns * sizeof *all);
    for (uint32_t i = 0; i < p->table.n_columns; i++) all[i] = (int)i;
    leat_buffer parameters = {0};
    leat_json_raw(&parameters, "{\"as\": \"b\", \"source\": "), leat_json_text(&parameters, leat_string(leat_get(p->config, "where"))), leat_json_raw(&parameters, "}");
    uint32_t keep = leat_kernel(p, "expression", (leat_json){parameters.at, parameters.len}, p->table.n_columns, all);
    leat_target *t = leat_keep_all(p);
    t->columns[c].from = LEAT_KERNEL, t->columns[c].index = hash;
    leat_choose(t, keep);
    return true;
}

LEAT_TRANSFORM(plan)
