/* Drops the inserts and updates in which a text column has a value. */
#include "leat.h"

static bool process(const leat_batch *in, leat_output *out, void *state) {
    const leat_text *unwanted = state;
    leat_select(out);
    for (uint32_t r = 0; r < in->rows; r++) {
        leat_text value;
        if (leat_read_text(&in->columns[0], r, &value) != LEAT_VALUE || !leat_equal(value, *unwanted)) leat_emit(out, r, 0);
    }
    return true;
}

static bool plan(leat_plan *p) {
    int c = leat_text_column(p);
    if (c < 0) return false;
    leat_keep_all(p);
    leat_need(p, c);
    leat_text *unwanted = leat_new(sizeof *unwanted);
    *unwanted = leat_string(leat_get(p->config, "value"));
    p->filters = true, p->process = process, p->state = unwanted;
    return true;
}

LEAT_TRANSFORM(plan)
