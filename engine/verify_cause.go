package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/state"
)

// LeftOut is a table that Verify does not compare, and why.
type LeftOut struct {
	Table  batch.TableID `json:"table"`
	Reason string        `json:"reason"`
	// Behind: the destination is known not to have the table as it is.
	Behind bool `json:"behind,omitempty"`
	// Refused: the table should be replicated and cannot be, such as for want of a
	// right; Reason says what mends it.
	Refused bool `json:"refused,omitempty"`
}

// What may be wrong with a key.
const (
	isMissing   = "missing at the destination"
	isExtra     = "extra at the destination"
	isDifferent = "different"
)

// cause is something that the state knows and that would explain differences
// of the kinds in explains.
type cause struct {
	text     string
	explains []string
}

var anyKind = []string{isMissing, isExtra, isDifferent}

// unknownCause is said where nothing that is known explains a difference.
const unknownCause = "nothing that Leat knows of explains it, such as that something else has written to the destination: leat objects restart loads the table again"

// causes collects what may explain the differences of a target, the likeliest
// first.
type causes struct {
	v       *verifier
	stored  *checkpointEntries
	list    []cause
	events  map[string]string // failed events by the key of their row
	settled bool              // the pipeline has delivered what the source had
}

func (v *verifier) causesOf(ctx context.Context, t *verified, settled bool) (*causes, error) {
	entries, err := v.destination.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	c := &causes{v: v, stored: new(checkpointEntries), events: map[string]string{}, settled: settled}
	c.stored.set(entries)
	for _, id := range t.sources() {
		if err := c.look(id, t); err != nil {
			return nil, err
		}
	}
	c.leftOut(t)
	c.filtered(t)
	c.otherForms(t)
	if len(t.owed) > 0 {
		c.add(anyKind, "%s", t.owes())
	}
	if err := c.settings(); err != nil {
		return nil, err
	}
	if v.lag > 0 && !settled {
		c.add(anyKind, "its change has not arrived (the server has written %d bytes of log since: leat run %s --until-caught-up, then verify again), or something else has written to the destination", v.lag, v.p.Spec.Path)
	}
	return c, nil
}

func (c *causes) add(explains []string, format string, args ...any) {
	c.list = append(c.list, cause{fmt.Sprintf(format, args...), explains})
}

// look asks the state about one source table.
func (c *causes) look(id batch.TableID, t *verified) error {
	o, err := c.v.p.store.Object(id)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return err
	}
	path, name := c.v.p.Spec.Path, id.Schema+"."+id.Name
	switch o.State {
	case state.FailedState, state.Inaccessible:
		c.add(anyKind, "%s is %s: %s; %s", id, o.State, o.Reason, o.Fix)
	case state.Queued, state.HistoricalLoad:
		c.add(anyKind, "%s is %s: leat run %s loads it", id, o.State, path)
	}
	if o.NullCursors > 0 {
		c.add([]string{isMissing}, "%d rows of %s have no value of the cursor column and are not replicated", o.NullCursors, id)
	}
	if o.Waiting > 0 {
		c.add([]string{isMissing}, "%d rows of %s wait because the value of their cursor lies ahead", o.Waiting, id)
	}
	if err := c.failed(id, t); err != nil {
		return err
	}
	if c.v.p.Spec.Queries() {
		return nil
	}
	for _, table := range t.tables {
		if table.ID() == id && table.Keyless {
			_, fix := table.KeylessFix()
			c.add(anyKind, "%s has nothing that identifies its rows in the log, so only its inserts and truncates come (%s); once that is mended, leat objects restart %s %s loads it again", id, fix, path, name)
		}
	}
	var noted shape
	known := new(shapes)
	if err := known.read(c.stored, id.Database); err != nil {
		return err
	}
	for _, one := range known.under(id) {
		if !one.Ousted {
			noted = one
		}
	}
	switch {
	case noted.Due > 0:
		c.add(anyKind, "%s is to be loaded again: %s; leat run %s does it", id, noted.Why, path)
	case !c.v.p.Spec.Source.LoadHistoricalData:
		c.add([]string{isMissing}, "rows of %s from before the pipeline are not loaded: load_historical_data = false", id)
	case c.stored.get(loadKey(id)) == "":
		c.add([]string{isMissing, isDifferent}, "the historical load of %s has not finished: leat run %s goes on with it", id, path)
	}
	if now := c.v.p.plugins.chainOf(id); noted.Chain != "" && noted.Chain != now {
		c.add(anyKind, "rows of %s were made by other transforms (%s, now %s): leat objects restart %s %s loads them again", id, noted.Chain, now, path, name)
	}
	return nil
}

// failed notes the failed events of a table, and those that were skipped, under the
// keys of their rows, and as causes of their own those whose key cannot be told.
func (c *causes) failed(id batch.TableID, t *verified) error {
	path, untold := c.v.p.Spec.Path, 0
	for f, err := range c.v.p.store.FailedEvents(state.FailedFilter{Table: id, WithPayload: true, Limit: maxNamedKeys}) {
		if err != nil {
			return err
		}
		why := fmt.Sprintf("a failed event: the row was refused (leat failed show %s %s)", path, f.ID)
		if f.WaitsBehind != "" {
			why = fmt.Sprintf("it waits behind a failed event (leat failed show %s %s)", path, f.WaitsBehind)
		}
		d, err := Describe(f)
		if err != nil {
			d = &DescribedEvent{} // its key cannot be told
		}
		if !c.event(id, t, d.values(false), why) {
			untold++
		}
	}
	if untold > 0 {
		c.add(anyKind, "%d failed events of %s are not at the destination: leat failed list %s", untold, id, path)
	}
	skipped := 0
	for s, err := range c.v.p.store.SkippedEvents(id, maxNamedKeys) {
		if err != nil {
			return err
		}
		why := fmt.Sprintf("a failed event of it was skipped at %s (%s): a change of the row at the source, or leat objects restart %s %s.%s, brings it", s.At.Local().Format(time.DateTime), s.Reason, path, id.Schema, id.Name)
		if !c.event(id, t, s.Keys, why) {
			skipped++
		}
	}
	if skipped > 0 {
		c.add(anyKind, "failed events of %s were skipped that told no key (%d): leat objects restart %s %s.%s loads the table again", id, skipped, path, id.Schema, id.Name)
	}
	return nil
}

// event notes why rows of a table may differ that have these values, under their
// keys as verify names them. It returns false if a column of a key is not among the
// values, or there are no rows.
func (c *causes) event(id batch.TableID, t *verified, rows []map[string]string, why string) bool {
	var keys []string
	for _, values := range rows {
		var parts []string
		for _, col := range t.schema.Key() {
			name := t.schema.Columns[col].Name
			value, ok := values[name]
			if col == databaseColumn(t.schema) {
				value, ok = id.Database, true
			}
			if !ok {
				return false
			}
			parts = append(parts, name+"="+value)
		}
		if len(parts) > 0 {
			keys = append(keys, strings.Join(parts, ", "))
		}
	}
	for _, key := range keys {
		if c.events[key] == "" {
			c.events[key] = why
		}
	}
	return len(keys) > 0
}

// leftOut notes sources of a merged table that are not compared: their rows at
// the destination have no counterpart.
func (c *causes) leftOut(t *verified) {
	for _, l := range c.v.left {
		if slices.ContainsFunc(t.sources(), func(id batch.TableID) bool { return id.Schema == l.Table.Schema && id.Name == l.Table.Name }) {
			c.add([]string{isExtra, isDifferent}, "rows of %s are not compared: %s", l.Table, l.Reason)
		}
	}
}

// filtered are the transforms that leave out rows of a target.
func (c *causes) filtered(t *verified) {
	var look func(s *step)
	look = func(s *step) {
		if s.plan != nil && s.plan.Filters() {
			c.add([]string{isExtra, isDifferent}, "plugin %s has left out an update of it, which takes nothing back at the destination (an output's where in its plan does, see pdk/README.md)", s.transform.loaded.identity())
		}
		for _, next := range s.next {
			look(next)
		}
	}
	for _, table := range t.tables {
		if root := c.v.chain.roots[table.Schema]; root != nil {
			look(root)
		}
	}
}

// otherForms are the columns of a merged table that are text for the sake of some of
// its sources: a value stands as the types wrote it that the column has had before at
// the destination, 8 as 8.00.
func (c *causes) otherForms(t *verified) {
	for _, column := range t.schema.Columns {
		types, converted := map[string]bool{}, false
		for n, table := range t.tables {
			number := numberIn(t.leaves[n], column.Name)
			if at := table.Schema.ColumnID(number); number > 0 && at >= 0 {
				types[postgres.TypeName(table.Schema.Columns[at].PG)] = true
				converted = converted || table.Schema.Columns[at].Type.ID() != arrow.STRING
			}
		}
		if column.Type.ID() == arrow.STRING && converted && len(types) > 1 {
			id := t.tables[0].ID()
			c.add([]string{isDifferent}, "column %s has several types (%s), and a value from before it became text may stand as another of its types wrote it: leat objects restart %s %s.%s loads the rows again",
				column.Name, strings.Join(slices.Sorted(maps.Keys(types)), ", "), c.v.p.Spec.Path, id.Schema, id.Name)
		}
	}
}

// settings are those of the destination by which it keeps what the source has
// no more.
func (c *causes) settings() error {
	text, err := c.v.p.Spec.Destination.Config.JSON(false)
	if err != nil {
		return err
	}
	var s struct {
		LoadMode string `json:"load_mode"`
		Deletes  string `json:"deletes"`
		Truncate string `json:"truncate"`
	}
	if json.Unmarshal(text, &s) != nil {
		return nil // a destination whose settings are others
	}
	if s.Deletes == "ignore" {
		c.add([]string{isExtra}, `the source deleted it, and the destination keeps it: deletes = "ignore"`)
	}
	switch {
	case s.LoadMode == "append":
		c.add([]string{isExtra}, `neither a TRUNCATE nor another table that takes the name takes rows back: load_mode = "append"`)
	case s.Truncate == "ignore" || s.Truncate == "" && s.Deletes == "ignore":
		c.add([]string{isExtra}, `the source truncated the table, and the destination keeps its rows: truncate = "ignore"`)
	}
	return nil
}

// explain gives every difference its likely cause.
func (c *causes) explain(out *TableVerification) {
	for i := range out.Keys {
		k := &out.Keys[i]
		if k.Cause = c.events[k.Key]; k.Cause != "" {
			continue
		}
		k.Cause = unknownCause
		if at := slices.IndexFunc(c.list, func(one cause) bool { return slices.Contains(one.explains, k.What) }); at >= 0 {
			k.Cause = c.list[at].text
		}
	}
}

// sources are the tables that land in a target.
func (t *verified) sources() (out []batch.TableID) {
	for _, table := range t.tables {
		out = append(out, table.ID())
	}
	for _, o := range t.objects {
		out = append(out, o.ID())
	}
	return out
}

// leaveOut notes a table that is not compared.
func (v *verifier) leaveOut(id batch.TableID, reason string, refused bool) error {
	o, err := v.p.store.Object(id)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return err
	}
	if reason == "" {
		reason = "it is " + o.State
		if o.Reason != "" {
			reason += ": " + o.Reason
		}
	}
	v.left = append(v.left, LeftOut{Table: id, Reason: reason, Refused: refused})
	return nil
}

// isBehind says whether the destination cannot be read for a change that it still
// owes.
func (t *verified) isBehind(err error) bool {
	var failed *capability.Error
	return len(t.owed) > 0 && errors.As(err, &failed) && failed.Class == capability.Schema
}

// behind leaves the tables out that land in a table which is still to be changed.
func (t *verified) behind() (out []LeftOut) {
	for _, id := range t.sources() {
		out = append(out, LeftOut{Table: id, Behind: true, Reason: t.owes()})
	}
	return out
}

// owes says what the destination has still to do to a table. Of a merged one
// that may be values of single sources.
func (t *verified) owes() string {
	return fmt.Sprintf("%s is not yet what the table is by now; its next row, or leat objects restart, brings: %s", t.plan.Table, strings.Join(t.owed, "; "))
}
