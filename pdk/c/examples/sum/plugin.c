/* Adds two bigint columns into a new one; an overflow fails its row. */
#include "leat.h"

static bool process(const leat_batch *in, leat_output *out, void *state) {
    (void)state;
    const leat_view *a = &in->columns[0], *b = &in->columns[in->n_columns - 1];
    leat_builder *sum = leat_out(out, 0);
    for (uint32_t r = 0; r < in->rows; r++) {
        int64_t x, y, total = 0;
        leat_state sx = leat_read_int64(a, r, &x), sy = leat_read_int64(b, r, &y);
        if (sx != LEAT_VALUE || sy != LEAT_VALUE) {
            leat_put_state(sum, sx > sy ? sx : sy); /* absent before null */
            continue;
        }
        if (__builtin_add_overflow(x, y, &total)) leat_fail_row(out, r, "the sum is out of range for bigint");
        leat_put_int64(sum, total);
    }
    return true;
}

static bool plan(leat_plan *p) {
    leat_text names[2] = {leat_string(leat_get(p->config, "a")), leat_string(leat_get(p->config, "b"))};
    for (int i = 0; i < 2; i++) {
        int c = leat_find_text(&p->table, names[i]);
        if (c < 0 || !leat_is(p->table.columns[c].format, "l")) return leat_refuse(p, "there is no bigint column ", leat_cstr(names[i]));
        leat_need(p, c);
    }
    leat_target *t = leat_keep_all(p);
    leat_target_column *sum = leat_add(t, leat_cstr(leat_string(leat_get(p->config, "into"))), "l", "int8");
    sum->from = LEAT_COMPUTED, sum->index = leat_compute(p, "l");
    p->process = process;
    return true;
}

LEAT_TRANSFORM(plan)
