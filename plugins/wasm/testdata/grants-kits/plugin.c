/* What testdata/grants does, with the C kit. */
#include "leat.h"

static leat_text word(leat_text *rest, bool last) {
    leat_text w = {rest->at, 0};
    while (w.len < rest->len && (last || rest->at[w.len] != ' ')) w.len++;
    uint32_t taken = w.len < rest->len ? w.len + 1 : w.len;
    rest->at += taken, rest->len -= taken;
    return w;
}

static void put_quoted(leat_builder *out, leat_text v) {
    leat_append_char(out, '"'), leat_append_text(out, v), leat_append_char(out, '"');
}

static void put_list(leat_builder *out, leat_json keys) {
    const char *before = "[";
    for (leat_each e = leat_begin(keys); leat_next(&e); before = " ") leat_append_str(out, before), leat_append_text(out, leat_string(e.value));
    leat_append_str(out, *before == '[' ? "[]" : "]");
}

static void put_number(leat_builder *out, int64_t n) {
    leat_buffer b = {0};
    leat_json_int(&b, n);
    leat_append(out, b.at, b.len);
}

static bool act(leat_builder *out, leat_text text, leat_failure *f) {
    leat_text rest = text, verb = word(&rest, false), key = word(&rest, false), data = word(&rest, true), value;
    bool found = false;
    leat_json keys;
    if (leat_is(verb, "get")) {
        leat_http_request request = {"GET", leat_cstr(key), (const char *const[]){"accept", "text/plain", 0}, {"", 0}};
        leat_http_response response;
        if (!leat_http(&request, &response, f)) return false;
        put_number(out, response.status), leat_append_str(out, " "), leat_append_text(out, response.body), leat_append_str(out, "0");
    } else if (leat_is(verb, "put")) {
        if (!leat_kv_put(key, data, f)) return false;
        leat_append_str(out, "put");
    } else if (leat_is(verb, "value") || leat_is(verb, "read")) {
        if (!(leat_is(verb, "value") ? leat_kv_get : leat_blob_get)(key, &value, &found, f)) return false;
        put_quoted(out, found ? value : leat_str(""));
    } else if (leat_is(verb, "keys") || leat_is(verb, "files")) {
        if (!(leat_is(verb, "keys") ? leat_kv_list : leat_blob_list)(key, &keys, f)) return false;
        put_list(out, keys);
    } else if (leat_is(verb, "write")) {
        if (!leat_blob_put(key, data, f)) return false;
        leat_append_str(out, "written");
    } else if (leat_is(verb, "now")) {
        put_number(out, 1970 + leat_now() / 31556952000000);
    } else if (leat_is(verb, "random")) {
        unsigned char b[16];
        leat_random(b, sizeof b);
        for (uint32_t i = 0; i < sizeof b; i++) leat_append_char(out, "0123456789abcdef"[b[i] >> 4]), leat_append_char(out, "0123456789abcdef"[b[i] & 15]);
    } else if (leat_is(verb, "remove")) {
        if (!leat_kv_delete(key, f) || !leat_blob_delete(key, f)) return false;
        leat_append_str(out, "removed");
    } else leat_append_text(out, text);
    return true;
}

static void rewrite(leat_builder *out, leat_text value, void *state) {
    (void)state;
    leat_failure f;
    if (!act(out, value, &f)) leat_append_str(out, "error: "), leat_append_text(out, f.message);
}

static bool plan(leat_plan *p) {
    leat_keep_all(p);
    leat_rewrite(p, 1, rewrite, 0);
    return true;
}

LEAT_TRANSFORM(plan)
