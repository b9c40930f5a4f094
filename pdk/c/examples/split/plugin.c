/* Makes a row of each word of a text column, in the table NAME_words beside
 * the source table. A change of words shows as new rows: use it for tables
 * that are only inserted into. */
#include "leat.h"

static bool process(const leat_batch *in, leat_output *out, void *state) {
    (void)state;
    leat_builder *word = leat_out(out, 0);
    leat_select(out);
    for (uint32_t r = 0; r < in->rows; r++) {
        leat_text v;
        leat_emit(out, r, 0);
        leat_put_null(word); /* the first table takes no word */
        if (leat_read_text(&in->columns[0], r, &v) != LEAT_VALUE) continue;
        for (uint32_t i = 0, from = 0; i <= v.len; i++) {
            if (i < v.len && v.at[i] != ' ') continue;
            if (i > from) {
                leat_emit(out, r, 1);
                leat_put_text(word, (leat_text){v.at + from, i - from});
            }
            from = i + 1;
        }
    }
    return true;
}

static bool plan(leat_plan *p) {
    int c = leat_text_column(p);
    if (c < 0) return false;
    leat_need(p, c);
    leat_keep_all(p);
    leat_buffer name = {0};
    leat_json_raw(&name, leat_cstr(p->table.name)), leat_json_raw(&name, "_words");
    leat_target *words = leat_add_target(p, leat_cstr((leat_text){name.at, name.len}));
    for (uint32_t i = 0; i < p->table.n_columns; i++)
        if (p->table.columns[i].key) {
            leat_target_column *k = leat_add(words, leat_cstr(p->table.columns[i].name), "u", "text");
            k->column = p->table.columns[i], k->column.key = 0, k->from = LEAT_PASS, k->index = i;
        }
    leat_target_column *word = leat_add(words, "word", "u", "text");
    word->from = LEAT_COMPUTED, word->index = leat_compute(p, "u");
    p->process = process;
    return true;
}

LEAT_TRANSFORM(plan)
