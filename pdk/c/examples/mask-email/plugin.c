/* Keeps the first letter and the domain of an e-mail address. */
#include "leat.h"

static void mask(leat_builder *out, leat_text value, void *state) {
    (void)state;
    uint32_t at = value.len;
    while (at > 0 && value.at[at - 1] != '@') at--;
    if (at < 2 || (unsigned char)value.at[0] >= 0x80) { /* no address, or no letter of one byte */
        leat_append_str(out, "***");
        return;
    }
    leat_append(out, value.at, 1);
    leat_append_str(out, "***");
    leat_append(out, value.at + at - 1, value.len - at + 1);
}

static bool plan(leat_plan *p) {
    int c = leat_text_column(p);
    if (c < 0) return false;
    leat_keep_all(p);
    leat_rewrite(p, c, mask, 0);
    return true;
}

LEAT_TRANSFORM(plan)
