/* Writes customers in upper case, drops orders of a negative amount and makes a
 * row of each tag. */
#include "leat.h"

static void upper(leat_builder *out, leat_text value, void *state) {
    (void)state;
    if (!value.len) leat_refuse_value(out, "the customer has no name");
    for (uint32_t i = 0; i < value.len; i++) leat_append_char(out, value.at[i] >= 'a' && value.at[i] <= 'z' ? value.at[i] - 32 : value.at[i]);
}

typedef struct { uint32_t amount, tags, tag; } columns;

static bool process(const leat_batch *in, leat_output *out, void *state) {
    columns *c = state;
    leat_builder *tag = leat_out(out, c->tag);
    leat_select(out);
    for (uint32_t r = 0; r < in->rows; r++) {
        int64_t amount;
        leat_text tags;
        if (leat_read_int64(&in->columns[c->amount], r, &amount) == LEAT_VALUE && amount < 0) continue;
        leat_emit(out, r, 0);
        leat_put_null(tag);
        if (leat_read_text(&in->columns[c->tags], r, &tags) != LEAT_VALUE) continue;
        for (uint32_t from = 0, i = 0; i <= tags.len; i++) {
            if (i < tags.len && tags.at[i] != ',') continue;
            leat_emit(out, r, 1);
            leat_put_text(tag, (leat_text){tags.at + from, i - from});
            from = i + 1;
        }
    }
    return true;
}

static bool plan(leat_plan *p) {
    int id = leat_find(&p->table, "id"), customer = leat_find(&p->table, "customer"), amount = leat_find(&p->table, "amount"), tags = leat_find(&p->table, "tags");
    if (id < 0 || customer < 0 || amount < 0 || tags < 0) return leat_refuse(p, "this is for tables with the columns id, customer, amount and tags");
    leat_keep_all(p);
    leat_rewrite(p, customer, upper, 0);
    columns *c = leat_new(sizeof *c);
    *c = (columns){leat_need(p, amount), leat_need(p, tags), leat_compute(p, "u")};
    leat_buffer name = {0};
    leat_json_raw(&name, leat_cstr(p->table.name)), leat_json_raw(&name, "_tags");
    leat_target *each = leat_add_target(p, leat_cstr((leat_text){name.at, name.len}));
    leat_target_column *key = leat_add(each, "id", "l", "int8");
    key->column = p->table.columns[id], key->column.key = 0, key->from = LEAT_PASS, key->index = (uint32_t)id;
    leat_target_column *tag = leat_add(each, "tag", "u", "text");
    tag->from = LEAT_COMPUTED, tag->index = c->tag;
    p->filters = true, p->process = process, p->state = c;
    return true;
}

LEAT_TRANSFORM(plan)
