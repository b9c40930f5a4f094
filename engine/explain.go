package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/state"
)

// RowExplanation says what made a row at the destination, and what its source
// row comes to now. It has no value of the source that is not at the
// destination or comes out of the transforms.
type RowExplanation struct {
	Table batch.TableID `json:"table"`
	Key   string        `json:"key"`
	// AtSource says whether the source has the row now.
	AtSource bool `json:"at_source"`
	// Plugins are those that the row passes now, in order.
	Plugins []ExplainedPlugin `json:"plugins"`
	// MadeBy names the transforms by which the table was loaded, Now those that
	// are there now; see the notes for what follows.
	MadeBy string `json:"made_by,omitempty"`
	Now    string `json:"now"`
	// Landings are the tables that the row goes to.
	Landings []Landing `json:"landings"`
	// Refused is why a plugin refuses the row now.
	Refused string `json:"refused,omitempty"`
	// SetAside counts the changes of the row that are kept as failed events.
	SetAside int `json:"set_aside"`
	// Delivered is the position up to which the destination has the log.
	Delivered batch.Position `json:"delivered"`
	// Notes say why the row at the destination may be another.
	Notes []string `json:"notes,omitempty"`
}

// ExplainedPlugin is a transform or, last, the destination.
type ExplainedPlugin struct {
	Plugin string          `json:"plugin"`
	Digest string          `json:"digest"`
	Config json.RawMessage `json:"config"`
	// Grants are the capabilities by which it may answer otherwise each time.
	Grants []string `json:"grants,omitempty"`
}

// Landing is a row of one table of the destination.
type Landing struct {
	Table string `json:"table"`
	// State is equal, different, missing (the destination has no such row, and
	// should), deleted (neither has it, or it is marked) or extra (the source
	// has it no more).
	State string `json:"state"`
	// Rows is how many rows or versions of the key there are; what follows is of
	// the newest.
	Rows int `json:"rows"`
	// Position of the change that made the row, and Metadata: what Leat added to it.
	Position string            `json:"position,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Cells    []ExplainedCell   `json:"cells,omitempty"`
}

// ExplainedCell is a cell as the destination has it and as it is made again;
// null is nil.
type ExplainedCell struct {
	Column      string  `json:"column"`
	Destination *string `json:"destination"`
	Again       *string `json:"again"`
	Equal       bool    `json:"equal"`
}

// The states of a Landing.
const (
	LandingEqual     = "equal"
	LandingDifferent = "different"
	LandingMissing   = "missing"
	LandingDeleted   = "deleted"
	LandingExtra     = "extra"
)

// Equal says whether the destination has what the source's row comes to now.
func (e *RowExplanation) Equal() bool {
	return !slices.ContainsFunc(e.Landings, func(l Landing) bool { return l.State != LandingEqual && l.State != LandingDeleted })
}

// ExplainRow explains the row of a table with a key, which is written as
// column=value, with commas between. It writes nothing, and may be called while
// the pipeline runs.
func (p *Pipeline) ExplainRow(ctx context.Context, table, key string) (_ *RowExplanation, err error) {
	if p.Spec.Queries() {
		return nil, &RequestError{"the pipeline reads its source by queries: a row has no position in the log", "leat verify compares its rows; explain works where mode is logical"}
	}
	source, t, err := p.explained(ctx, table)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close(context.WithoutCancel(ctx))) }()
	values, err := keyValues(t.Schema, key)
	if err != nil {
		return nil, err
	}
	if _, err := p.store.Source(t.ID().Database); errors.Is(err, state.ErrNotFound) {
		return nil, neverReplicated(t.ID().Database, p.Spec.Path)
	}
	own, err := p.openChain(ctx)
	if err != nil {
		return nil, err
	}
	defer own.close(context.WithoutCancel(ctx))
	x := &explainer{p: p, own: own, source: source, table: t, out: &RowExplanation{Table: t.ID(), Key: key, Landings: []Landing{}}}
	b, found, err := source.Row(ctx, t, values)
	var refused *postgres.Error
	if errors.As(err, &refused) && strings.HasPrefix(refused.SQLState, "22") { // a value is none of the column's type
		return nil, &RequestError{fmt.Sprintf("key %q: %v", key, refused.Err), "give each value as the source prints it"}
	}
	if err != nil {
		return nil, err
	}
	defer b.Release()
	x.out.AtSource = found
	own.chain.Announce(t.Schema)
	if err := x.plugins(b); err != nil {
		return nil, err
	}
	if err := x.again(ctx, b); err != nil {
		return nil, err
	}
	return x.out, x.notes(ctx)
}

// explained finds a table of the pipeline.
func (p *Pipeline) explained(ctx context.Context, table string) (*postgres.Source, *postgres.Table, error) {
	parts := strings.Split(table, ".")
	if len(parts) == 2 && len(Databases(p.Spec)) > 1 {
		var names []string
		for _, database := range Databases(p.Spec) {
			names = append(names, database+"."+table)
		}
		return nil, nil, &RequestError{fmt.Sprintf("table %q may be that of several databases", table), "say which: " + strings.Join(names, ", ")}
	}
	if len(parts) == 3 && !slices.Contains(Databases(p.Spec), parts[0]) {
		return nil, nil, &RequestError{fmt.Sprintf("database %q is not one of the pipeline's", parts[0]), "its databases are " + strings.Join(Databases(p.Spec), ", ")}
	}
	source, t, err := findTable(ctx, p.Spec, table)
	if err != nil {
		return nil, nil, err
	}
	refuse := func(reason, hint string) (*postgres.Source, *postgres.Table, error) {
		return nil, nil, errors.Join(&RequestError{reason, hint}, source.Close(context.WithoutCancel(ctx)))
	}
	switch {
	case !p.Spec.Objects.Selection().Match(t.ID().Schema, t.ID().Name):
		return refuse(fmt.Sprintf("table %s is not one of the pipeline's", t.ID()), "leat objects list shows them")
	case len(t.Schema.Key()) == 0:
		return refuse(fmt.Sprintf("table %s has no key: none of its rows can be told from another by name", t.ID()), "leat verify compares them as wholes; a primary key, or REPLICA IDENTITY USING INDEX, gives the table a key")
	}
	if _, err := p.showVisible(ctx, t.ID().Database, []*postgres.Table{t}); err != nil {
		return nil, nil, errors.Join(err, source.Close(context.WithoutCancel(ctx)))
	}
	return source, t, nil
}

// keyValues reads the values of a key, in quotes where they have commas.
func keyValues(s *batch.Schema, text string) (map[string]string, error) {
	var names []string
	for _, i := range s.Key() {
		names = append(names, s.Columns[i].Name)
	}
	refuse := func(format string, args ...any) (map[string]string, error) {
		return nil, &RequestError{fmt.Sprintf("key %q: %s", text, fmt.Sprintf(format, args...)),
			fmt.Sprintf(`the key of %s.%s is %s=...; a value with a comma or a quote stands in "quotes", a quote in it twice`, s.Table.Schema, s.Table.Name, strings.Join(names, "=...,"))}
	}
	out := map[string]string{}
	for rest := text; rest != ""; {
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			if len(names) == 1 && len(out) == 0 {
				return map[string]string{names[0]: text}, nil
			}
			return refuse("%q is no column=value", rest)
		}
		if name = strings.TrimSpace(name); !slices.Contains(names, name) {
			return refuse("column %q is not in the key", name)
		}
		if _, twice := out[name]; twice {
			return refuse("column %q comes twice", name)
		}
		value := ""
		if strings.HasPrefix(after, `"`) {
			if value, rest, ok = quotedValue(after); !ok {
				return refuse("a quote does not end")
			}
		} else if value, rest, ok = strings.Cut(after, ","); !ok {
			rest = ""
		}
		out[name] = value
	}
	for _, name := range names {
		if _, ok := out[name]; !ok {
			return refuse("column %q is missing", name)
		}
	}
	return out, nil
}

// quotedValue reads a value in quotes, and what stands behind its comma.
func quotedValue(text string) (value, rest string, ok bool) {
	var out strings.Builder
	for i := 1; i < len(text); i++ {
		if text[i] != '"' {
			out.WriteByte(text[i])
			continue
		}
		if i+1 < len(text) && text[i+1] == '"' {
			out.WriteByte('"')
			i++
			continue
		}
		rest = text[i+1:]
		if rest != "" && rest[0] != ',' {
			return "", "", false
		}
		return out.String(), strings.TrimPrefix(rest, ","), true
	}
	return "", "", false
}

// explainer works on one row.
type explainer struct {
	p      *Pipeline
	own    *ownChain
	source *postgres.Source
	table  *postgres.Table
	out    *RowExplanation
}

// plugins names those that the row passes.
func (x *explainer) plugins(b *batch.Batch) error {
	x.p.plugins.mu.Lock()
	defer x.p.plugins.mu.Unlock()
	add := func(p loadedPlugin, config json.RawMessage) {
		x.out.Plugins = append(x.out.Plugins, ExplainedPlugin{p.identity(), p.Digest, config, p.plugin.Grants.Volatile()})
	}
	for i := range x.own.chain.transforms {
		if t := &x.own.chain.transforms[i]; t.match(b.Schema.Table) {
			add(t.loaded, t.loaded.public)
		}
	}
	target := x.p.plugins.target
	config, err := x.p.Spec.Destination.ConfigJSON(false)
	if err != nil {
		return fmt.Errorf("settings of plugin %s: %w", x.p.Spec.Destination.Plugin, err)
	}
	if config, _, err = bundle.SplitConfig(target.Manifest, config, x.p.Spec.Dir); err != nil {
		return err
	}
	add(target, config)
	return nil
}

// again passes the row through the transforms and holds what comes out against
// what the destination has.
func (x *explainer) again(ctx context.Context, b *batch.Batch) error {
	outputs, failures, err := x.own.chain.Process(ctx, b)
	if err != nil {
		return err
	}
	defer releaseAll(outputs)
	if len(failures) > 0 {
		x.out.Refused = failures[0].message
	}
	for _, o := range outputs {
		for row := range o.Batch.Ops {
			l, err := x.landing(ctx, o, row)
			if err != nil {
				return err
			}
			x.out.Landings = append(x.out.Landings, l)
		}
	}
	events, err := x.events(b)
	x.out.SetAside = events
	return err
}

// events counts the failed events of the row.
func (x *explainer) events(b *batch.Batch) (n int, err error) {
	hash := string(keyHash(b, b.Schema.Key(), 0))
	for f, err := range x.p.store.FailedEvents(state.FailedFilter{Table: b.Schema.Table}) {
		if err != nil {
			return n, fmt.Errorf("read failed events: %w", err)
		}
		if f.Superseded == nil && string(f.KeyHash) == hash {
			n++
		}
	}
	return n, nil
}

// landing looks for a row at the destination that came out of the transforms.
func (x *explainer) landing(ctx context.Context, o Output, row int) (Landing, error) {
	l := Landing{Table: o.Plan.Table}
	t := &verified{plan: o.Plan, schema: o.Batch.Schema, types: x.source.Types()}
	hash, err := newRowHasher(t)
	if err != nil {
		return l, err
	}
	k := &keyedRead{rowHasher: hash, row: row, made: o.Batch}
	if err := k.prepare(); err != nil {
		return l, err
	}
	prefix, err := metadataPrefix(x.p.Spec)
	if err != nil {
		return l, err
	}
	if err := x.own.sql.Read(ctx, k.sql(prefix), func(r arrow.RecordBatch) error { return k.take(r) }); err != nil {
		return l, fmt.Errorf("read %s at the destination: %w", o.Plan.Table, err)
	}
	l.Rows, l.Metadata = k.rows, k.metadata(prefix)
	l.Position = positionText(l.Metadata)
	gone := k.rows == 0 || l.Metadata["marked_deleted"] == "true" || l.Metadata["op_type"] == "D" || l.Metadata["valid_to"] != ""
	deleted := o.Batch.Ops[row] == batch.Delete
	switch {
	case gone && deleted:
		l.State = LandingDeleted
	case gone:
		l.State = LandingMissing
	case deleted:
		l.State = LandingExtra
	default:
		l.State = LandingEqual
	}
	if k.rows == 0 {
		return l, nil
	}
	if l.Cells, err = k.cells(); err != nil {
		return l, err
	}
	if l.State == LandingEqual && slices.ContainsFunc(l.Cells, func(c ExplainedCell) bool { return !c.Equal }) {
		l.State = LandingDifferent
	}
	return l, nil
}

// positionText is the position in the metadata of a row, empty if it has none.
func positionText(metadata map[string]string) string {
	lsn, err := strconv.ParseUint(metadata["lsn"], 10, 64)
	if err != nil {
		return ""
	}
	ordinal, err := strconv.ParseUint(metadata["ordinal"], 10, 64)
	if err == nil && ordinal >= firstLoaded {
		return batch.FormatLSN(lsn) + ", in the snapshot of a load"
	}
	return batch.FormatLSN(lsn) + ", change " + metadata["ordinal"] + " of its transaction"
}

// notes say why the row at the destination may be another than what comes out
// now.
func (x *explainer) notes(ctx context.Context) error {
	note := func(format string, args ...any) { x.out.Notes = append(x.out.Notes, fmt.Sprintf(format, args...)) }
	known, _, err := x.p.knownShapes(ctx, x.table.ID().Database)
	if err != nil {
		return err
	}
	noted, _ := known.get(x.table.OID)
	x.out.MadeBy, x.out.Now = noted.Chain, x.p.plugins.chainOf(x.table.ID())
	if noted.Chain != "" && noted.Chain != x.out.Now {
		note("the table was loaded by other transforms (%s) than there are now (%s): rows that have not changed since are theirs; leat objects restart %s %s.%s loads it again", noted.Chain, x.out.Now, x.p.Spec.Path, x.table.ID().Schema, x.table.ID().Name)
	}
	record, err := x.p.store.Source(x.table.ID().Database)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return err
	}
	x.out.Delivered = record.Durable
	system, err := x.source.System(ctx)
	if err != nil {
		return err
	}
	if has := max(record.Durable.LSN, record.IdleAcknowledged, record.Acknowledged.LSN); system.LSN > has {
		note("the source has %d bytes of log that the destination has not: the row may have changed since", system.LSN-has)
	}
	for _, plugin := range x.out.Plugins {
		if len(plugin.Grants) > 0 {
			note("plugin %s is granted %s: what it makes of a row need not be the same each time", plugin.Plugin, strings.Join(plugin.Grants, ", "))
		}
	}
	if x.out.SetAside > 0 {
		note("changes of the row that are set aside: %d; leat failed list %s shows them", x.out.SetAside, x.p.Spec.Path)
	}
	o, err := x.p.store.Object(x.table.ID())
	if err == nil && (o.State == state.Paused || o.State == state.Skipped) {
		note("the table is %s: %s", o.State, o.Reason)
	}
	if x.out.AtSource && len(x.out.Landings) == 0 && x.out.Refused == "" {
		note("the transforms leave the row out")
	}
	if slices.ContainsFunc(x.out.Landings, func(l Landing) bool { return l.Rows > 0 && l.Position == "" }) {
		how := ""
		if x.p.plugins.target.Manifest.HasSetting("metadata") { // of the destinations that are part of leat
			how = `: metadata = [..., "position"] in its config keeps it from then on`
		}
		note("the destination keeps no position of its rows%s", how)
	}
	return nil
}
