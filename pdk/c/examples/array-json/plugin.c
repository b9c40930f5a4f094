/* Turns array literals of PostgreSQL, such as {1,NULL,"a b"}, into JSON. A row
 * whose literal is broken fails alone. */
#include "leat.h"

typedef struct { const char *at, *end; bool numbers; } parser;

static void append_quoted_char(leat_builder *out, char c) {
    if (c == '"' || c == '\\') leat_append_char(out, '\\');
    if ((unsigned char)c >= 0x20) {
        leat_append_char(out, c);
        return;
    }
    const char *digits = "0123456789abcdef";
    char escape[6] = {'\\', 'u', '0', '0', digits[c >> 4 & 15], digits[c & 15]};
    leat_append(out, escape, 6);
}

static bool quoted(parser *p, leat_builder *out) {
    leat_append_char(out, '"');
    for (p->at++; p->at < p->end && *p->at != '"'; p->at++) {
        if (*p->at == '\\' && ++p->at == p->end) return false;
        append_quoted_char(out, *p->at);
    }
    leat_append_char(out, '"');
    return p->at++ < p->end;
}

static bool is_number(leat_text t) {
    uint32_t i = t.len && t.at[0] == '-', digits = 0;
    for (; i < t.len && t.at[i] >= '0' && t.at[i] <= '9'; i++) digits++;
    return digits && i == t.len;
}

static bool bare(parser *p, leat_builder *out) {
    const char *from = p->at;
    while (p->at < p->end && *p->at != ',' && *p->at != '}') {
        if (*p->at == '"' || *p->at == '{' || *p->at == '\\') return false;
        p->at++;
    }
    leat_text t = {from, (uint32_t)(p->at - from)};
    if (!t.len) return false;
    if (leat_is(t, "NULL")) leat_append_str(out, "null");
    else if (p->numbers && is_number(t)) leat_append_text(out, t);
    else {
        leat_append_char(out, '"');
        for (uint32_t i = 0; i < t.len; i++) append_quoted_char(out, t.at[i]);
        leat_append_char(out, '"');
    }
    return true;
}

static bool array(parser *p, leat_builder *out, int depth) {
    if (p->at >= p->end || *p->at++ != '{' || depth > 6) return false;
    leat_append_char(out, '[');
    if (p->at < p->end && *p->at == '}') {
        leat_append_char(out, ']');
        return p->at++, true;
    }
    for (;;) {
        if (p->at >= p->end) return false;
        bool ok = *p->at == '{' ? array(p, out, depth + 1) : *p->at == '"' ? quoted(p, out) : bare(p, out);
        if (!ok || p->at >= p->end) return false;
        if (*p->at == '}') break;
        if (*p->at++ != ',') return false;
        leat_append_char(out, ',');
    }
    leat_append_char(out, ']');
    return p->at++, true;
}

static bool process(const leat_batch *in, leat_output *out, void *state) {
    leat_builder *json = leat_out(out, 0);
    for (uint32_t r = 0; r < in->rows; r++) {
        leat_text v;
        leat_state s = leat_read_text(&in->columns[0], r, &v);
        if (s != LEAT_VALUE) {
            leat_put_state(json, s);
            continue;
        }
        parser p = {v.at, v.at + v.len, *(bool *)state};
        if (!array(&p, json, 1) || p.at != p.end) leat_fail_row(out, r, "the array literal is broken");
        leat_end(json);
    }
    return true;
}

static bool plan(leat_plan *p) {
    int c = leat_text_column(p);
    if (c < 0) return false;
    leat_need(p, c);
    leat_target *t = leat_keep_all(p);
    bool *numbers = leat_new(sizeof *numbers);
    leat_text type = leat_string(leat_get(t->columns[c].column.pg_type, "name"));
    *numbers = leat_is(type, "int2[]") || leat_is(type, "int4[]") || leat_is(type, "int8[]");
    t->columns[c].column.pg_type = leat_type("text");
    t->columns[c].from = LEAT_COMPUTED, t->columns[c].index = leat_compute(p, "u");
    p->process = process, p->state = numbers;
    return true;
}

LEAT_TRANSFORM(plan)
