/* Says where rows stand in the log, with the C kit. */
#include "leat.h"

static void put_number(leat_builder *out, const char *before, int64_t n) {
    leat_buffer b = {0};
    leat_json_int(&b, n);
    leat_append_str(out, before), leat_append(out, b.at, b.len);
}

static bool process(const leat_batch *in, leat_output *out, void *state) {
    (void)state;
    if (!in->places) return leat_fail(out, "the plan does not ask for positions");
    leat_builder *said = leat_out(out, 0);
    for (uint32_t row = 0; row < in->rows; row++) {
        leat_text v;
        leat_state s = leat_read_text(&in->columns[0], row, &v);
        if (s != LEAT_VALUE) {
            leat_put_state(said, s);
            continue;
        }
        const leat_place *at = &in->places[row];
        leat_append_text(said, v);
        put_number(said, " ", (int64_t)at->lsn), put_number(said, "/", (int64_t)at->ordinal), put_number(said, " ", at->commit_time);
        leat_end(said);
    }
    return true;
}

static bool plan(leat_plan *p) {
    p->positions = leat_bool(leat_get(p->config, "asks"), false) && leat_has(p, "positions");
    leat_need(p, 1);
    leat_target_column *c = &leat_keep_all(p)->columns[1];
    c->from = LEAT_COMPUTED, c->index = leat_compute(p, "u");
    p->process = process;
    return true;
}

LEAT_TRANSFORM(plan)
