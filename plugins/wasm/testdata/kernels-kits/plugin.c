/* What testdata/kernels does, with the C kit. */
#include "leat.h"

typedef struct { leat_column column; const char *kernel; leat_json parameters; } settings;

static bool process(const leat_batch *in, leat_output *out, void *state) {
    static leat_builder turned;
    const settings *s = state;
    leat_begin_column(&turned, "u");
    for (uint32_t row = 0; row < in->rows; row++) {
        leat_text v;
        leat_state is = leat_read_text(&in->columns[0], row, &v);
        if (is != LEAT_VALUE) {
            leat_put_state(&turned, is);
            continue;
        }
        for (uint32_t i = v.len; i-- > 0;) leat_append_char(&turned, v.at[i]);
        leat_end(&turned);
    }
    leat_computed r;
    leat_failure f;
    if (!leat_run_kernel(s->kernel, s->parameters, 1, &(leat_operand){s->column, leat_built(&turned)}, &r, &f)) return leat_fail(out, leat_cstr(f.message));
    if (!leat_is(r.format, "u")) return leat_fail(out, "the result has format ", leat_cstr(r.format));
    for (uint32_t i = 0; i < r.n_errors; i++) leat_fail_row(out, r.errors[i].row, leat_cstr(r.errors[i].message));
    for (uint32_t row = 0; row < in->rows; row++) {
        leat_text v;
        leat_state is = leat_read_text(&r.view, row, &v);
        if (is == LEAT_VALUE) leat_put_text(leat_out(out, 0), v);
        else leat_put_state(leat_out(out, 0), is);
    }
    return true;
}

static bool plan(leat_plan *p) {
    settings *s = leat_new(sizeof *s);
    uint32_t at = (uint32_t)leat_int(leat_get(p->config, "column"), 0);
    s->column = p->table.columns[at], s->parameters = leat_get(p->config, "parameters");
    s->kernel = leat_cstr(leat_string(leat_get(p->config, "kernel")));
    leat_need(p, (int)at);
    leat_target_column *c = &leat_keep_all(p)->columns[at];
    c->from = LEAT_COMPUTED, c->index = leat_compute(p, "u");
    p->process = process, p->state = s;
    return true;
}

LEAT_TRANSFORM(plan)
