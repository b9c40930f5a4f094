/* What testdata/changes does, with the C kit. */
#include "leat.h"

static bool opened(leat_text pipeline, leat_json config, leat_info *info, leat_failure *f) {
    (void)pipeline, (void)config, (void)f;
    info->driver = "none";
    return true;
}

static bool plan(const leat_table *table, leat_landing *landing, leat_failure *f) {
    (void)table, (void)f;
    landing->table = "t";
    return true;
}

static bool written(void *state, const leat_write_batch *b, leat_failure *f) {
    (void)state;
    return leat_because(f, LEAT_NO_CLASS, leat_is_change(b) ? "a change" : leat_is_truncate(b) ? "a truncate" : "neither");
}

static bool commit(const leat_entries *entries, leat_failure *f) { return (void)entries, (void)f, true; }
static bool checkpoint(leat_entries *into, leat_failure *f) { return (void)into, (void)f, true; }
static bool rollback(leat_failure *f) { return (void)f, true; }

static const leat_destination destination = {opened, plan, written, commit, checkpoint, rollback, rollback};

LEAT_DESTINATION(destination)
