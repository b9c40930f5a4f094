/* Writes the ASCII letters of a text column in upper case. */
#include "leat.h"

static void upper(leat_builder *out, leat_text value, void *state) {
    (void)state;
    char *to = leat_room(out, value.len);
    for (uint32_t i = 0; i < value.len; i++) {
        char c = value.at[i];
        to[i] = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
    }
    leat_filled(out, value.len);
}

static bool plan(leat_plan *p) {
    int c = leat_text_column(p);
    if (c < 0) return false;
    leat_keep_all(p);
    leat_rewrite(p, c, upper, 0);
    return true;
}

LEAT_TRANSFORM(plan)
