package relational

import (
	"fmt"
	"slices"
	"strings"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// A table of a database with physical keys has one of two:
//
//   - a primary key, the source's;
//   - a unique index, where a column of the key may be NULL (tables that were
//     merged), or where rows without a key live in the table as well: then the
//     index spares the rows that have an id.
//
// Tables that are merged may have different keys, for good or while a change of
// the key has come from one database and not yet from the other. From then on
// each source's rows have a unique index of their own, which names the database.
//
// Before PostgreSQL 15 an index takes no NULL for a value: there it holds keys
// without NULL apart, and what replaces a row with NULL in its key deletes it
// first.

// keyIndexPrefix begins the names of such indexes.
const keyIndexPrefix = "__leat_key_"

// ownPrefix begins the names of the indexes that are for the rows of a source
// alone.
func (t *table) ownPrefix() string {
	return keyIndexPrefix + "own_" + digest(t.quoted()+" "+t.source.Database) + "_"
}

// keyIndex is the unique index of a table.
type keyIndex struct {
	columns []string
	// nullable takes NULL for a value, partial spares rows with an id.
	nullable, partial bool
	// own is the condition on the rows of one source, empty for all.
	own string
}

// name is another one for every shape, so that an index is known by it.
func (k keyIndex) name(t *table) string {
	prefix := keyIndexPrefix
	if k.own != "" {
		prefix = t.ownPrefix()
	}
	return prefix + digest(fmt.Sprintf("%s %q %v %v", t.quoted(), k.columns, k.nullable, k.partial))
}

func (k keyIndex) create(d *Destination, t *table) string {
	s := fmt.Sprintf("CREATE UNIQUE INDEX %s ON %s (%s)", Quote(k.name(t)), t.quoted(), quoteAll(k.columns))
	if k.nullable {
		s += " NULLS NOT DISTINCT"
	}
	return s + k.where(d)
}

// where is the condition of the index, with which an INSERT names it.
func (k keyIndex) where(d *Destination) string {
	var some []string
	if k.own != "" {
		some = append(some, k.own)
	}
	if k.partial {
		some = append(some, Quote(d.config.MetadataPrefix+"id")+" IS NULL")
	}
	if len(some) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(some, " AND ")
}

// index is the unique index that a table should have.
func (d *Destination) index(t *table, partial bool) keyIndex {
	return keyIndex{columns: t.keyNames(), nullable: t.nullableKey && d.equalNulls, partial: partial, own: t.ownKey}
}

// nullsApart says whether rows of equal keys with NULL in them do not meet in
// the table's index.
func (d *Destination) nullsApart(t *table) (bool, error) {
	if !d.hasKey(t) || !t.nullableKey {
		return false, nil
	}
	if apart, known := d.apart[t.quoted()]; known {
		return apart, nil
	}
	have, err := d.physicalKey(t)
	if err != nil {
		return false, err
	}
	_, whole := have.indexes[keyIndex{columns: t.keyNames(), nullable: true}.name(t)]
	_, spares := have.indexes[keyIndex{columns: t.keyNames(), nullable: true, partial: true}.name(t)]
	if t.ownKey != "" { // never mind what others have
		return !d.equalNulls, nil
	}
	d.apart[t.quoted()] = !whole && !spares
	return d.apart[t.quoted()], nil
}

func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = Quote(name)
	}
	return strings.Join(quoted, ", ")
}

// physicalKey is what a target has.
type physicalKey struct {
	constraint string
	columns    []string // of the constraint
	indexes    map[string]keyIndex
	own        []string // names of indexes that are for one source alone
	notNull    []string // columns of the target that take no NULL
}

func (d *Destination) physicalKey(t *table) (physicalKey, error) {
	k := physicalKey{indexes: map[string]keyIndex{}}
	rows, err := pdk.Query(d.dialect.Key(t.schema, t.name, keyIndexPrefix))
	if err != nil {
		return k, fmt.Errorf("read key of %s: %w", t.quoted(), err)
	}
	for _, r := range rows.Rows { // kind, name, column, partial
		if *r[0] == "p" {
			k.constraint, k.columns = *r[1], append(k.columns, *r[2])
			continue
		}
		if *r[0] == "n" {
			k.notNull = append(k.notNull, *r[2])
			continue
		}
		if strings.HasPrefix(*r[1], keyIndexPrefix+"own_") {
			if !slices.Contains(k.own, *r[1]) {
				k.own = append(k.own, *r[1])
			}
			continue
		}
		index := k.indexes[*r[1]]
		index.columns, index.partial = append(index.columns, *r[2]), *r[3] == "true" || *r[3] == "t"
		k.indexes[*r[1]] = index
	}
	return k, nil
}

// rekey makes the target's key the source's. shared says that rows without a
// key live in the target, or are about to, renamed what columns are called by
// then.
func (d *Destination) rekey(t *table, shared bool, renamed func(string) string) ([]string, error) {
	if !d.dialect.PhysicalKey || d.config.LoadMode != merge {
		return nil, nil
	}
	have, err := d.physicalKey(t)
	if err != nil {
		return nil, err
	}
	names := [][]string{have.columns, have.notNull}
	for _, index := range have.indexes {
		names = append(names, index.columns)
	}
	for _, names := range names {
		for i, name := range names {
			names[i] = renamed(name)
		}
	}
	delete(d.apart, t.quoted())
	if err := d.decideOwn(t, have); err != nil {
		return nil, err
	}
	want := d.index(t, shared)
	var out []string
	for _, name := range have.own {
		if strings.HasPrefix(name, t.ownPrefix()) && (t.keyless() || name != want.name(t)) {
			out = append(out, fmt.Sprintf("DROP INDEX %s.%s", Quote(t.schema), Quote(name)))
		}
	}
	if t.keyless() {
		return append(out, d.spareKeyless(t, have)...), nil
	}
	primary := !want.partial && !t.nullableKey && want.own == ""
	if have.constraint != "" && (!primary || !slices.Equal(have.columns, want.columns)) {
		out = append(out, d.dropPrimary(t, have, want.columns)...)
		have.constraint = ""
	}
	for name := range have.indexes {
		if primary || name != want.name(t) {
			out = append(out, fmt.Sprintf("DROP INDEX %s.%s", Quote(t.schema), Quote(name)))
		}
	}
	if u := d.unkeyed[t.quoted()]; have.constraint == "" && t.keyLater && u != nil && !u.made {
		return out, nil // it comes with the end of the load
	}
	adopted, err := d.adopt(t, shared)
	if err != nil {
		return nil, err
	}
	out = append(out, adopted...)
	if t.nullableKey {
		out = append(out, d.takeNulls(t, have)...)
	}
	_, indexed := have.indexes[want.name(t)]
	indexed = indexed || slices.Contains(have.own, want.name(t))
	if primary && have.constraint != "" || !primary && indexed {
		return out, nil
	}
	if t.meta.marked != "" {
		out = append(out, d.dropMarked(t, want))
	}
	if primary {
		return append(out, t.addKey()), nil
	}
	return append(out, want.create(d, t)), nil
}

// decideOwn settles whether the rows of the table's source have an index of
// their own: where those of a source have one already, or the target's key is
// another one and rows of other sources are there.
func (d *Destination) decideOwn(t *table, have physicalKey) error {
	t.ownKey = ""
	column := t.ownColumn()
	if !slices.Contains(t.keyNames(), column) {
		return nil
	}
	apart := len(have.own) > 0
	columns := [][]string{have.columns}
	for _, index := range have.indexes {
		columns = append(columns, index.columns)
	}
	for _, other := range columns {
		if apart || !slices.Contains(other, column) || slices.Equal(other, t.keyNames()) {
			continue
		}
		rows, err := pdk.Query(fmt.Sprintf("SELECT 1 FROM %s WHERE %s <> %s LIMIT 1", t.quoted(), Quote(column), Literal(t.source.Database)))
		if err != nil {
			return fmt.Errorf("look for rows of other databases in %s: %w", t.quoted(), err)
		}
		apart = len(rows.Rows) > 0
	}
	if apart {
		t.ownKey = Quote(column) + " = " + Literal(t.source.Database)
	}
	return nil
}

// adoptOwn is decideOwn for a version of a table that changes nothing.
func (d *Destination) adoptOwn(t *table) error {
	if !d.hasKey(t) {
		return nil
	}
	have, err := d.physicalKey(t)
	if err == nil && len(have.own) > 0 {
		err = d.decideOwn(t, have)
	}
	return err
}

func (d *Destination) dropPrimary(t *table, have physicalKey, keep []string) []string {
	out := []string{fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", t.quoted(), Quote(have.constraint))}
	for _, name := range have.columns {
		if !slices.Contains(keep, name) || len(keep) == 0 {
			out = append(out, fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL", t.quoted(), Quote(name)))
		}
	}
	return out
}

// takeNulls lets the columns of a key have NULL that had none while the target
// had a primary key, or waited for it until the end of a load: that key is not
// to come any more.
func (d *Destination) takeNulls(t *table, have physicalKey) (out []string) {
	for _, name := range t.keyNames() {
		if slices.Contains(have.notNull, name) {
			out = append(out, fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL", t.quoted(), Quote(name)))
		}
	}
	return out
}

// dropMarked removes rows that are marked as deleted and could not have the
// table's key: another row has it, or it is NULL there.
func (d *Destination) dropMarked(t *table, key keyIndex) string {
	spared, equal := "", "="
	var null, same []string
	if key.nullable {
		equal = "IS NOT DISTINCT FROM"
	}
	for _, name := range key.columns {
		same = append(same, fmt.Sprintf("b.%[1]s %[2]s a.%[1]s", Quote(name), equal))
		if !key.nullable && !key.partial {
			null = append(null, "a."+Quote(name)+" IS NULL")
		}
	}
	if key.partial {
		id := Quote(d.config.MetadataPrefix + "id")
		spared = fmt.Sprintf(" AND a.%[1]s IS NULL AND b.%[1]s IS NULL", id)
	}
	if key.own != "" {
		spared += " AND a." + key.own
	}
	// Two statements: with OR, EXISTS would be asked anew for each row.
	out := fmt.Sprintf("DELETE FROM %[1]s AS a WHERE a.%[2]s AND EXISTS (SELECT 1 FROM %[1]s AS b WHERE %[3]s%[5]s AND (NOT b.%[2]s OR b.%[4]s > a.%[4]s))",
		t.quoted(), Quote(t.meta.marked), strings.Join(same, " AND "), d.dialect.RowID, spared)
	if len(null) > 0 {
		out = fmt.Sprintf("DELETE FROM %s AS a WHERE a.%s AND (%s); %s", t.quoted(), Quote(t.meta.marked), strings.Join(null, " OR "), out)
	}
	return out
}

// spareKeyless turns the key that a target has, of another source or of before
// the source lost it, into one that rows without a key do not meet.
func (d *Destination) spareKeyless(t *table, have physicalKey) []string {
	var out []string
	if have.constraint != "" {
		out = append(d.dropPrimary(t, have, nil), keyIndex{columns: have.columns, partial: true}.create(d, t))
	}
	for name, index := range have.indexes {
		if !index.partial {
			out = append(out, fmt.Sprintf("DROP INDEX %s.%s", Quote(t.schema), Quote(name)),
				keyIndex{columns: index.columns, nullable: d.equalNulls, partial: true}.create(d, t))
		}
	}
	return out
}

// adopt returns the statement that gives the live rows which this source wrote
// without a key, before it had one, to the key.
func (d *Destination) adopt(t *table, shared bool) ([]string, error) {
	if !shared {
		return nil, nil
	}
	id := Quote(d.config.MetadataPrefix + "id")
	own := fmt.Sprintf("%s IS NOT NULL%s", id, t.ownRows(" AND "))
	if marked := d.config.metadata(false).marked; marked != "" {
		own += " AND NOT " + Quote(marked)
	}
	rows, err := pdk.Query(fmt.Sprintf("SELECT 1 FROM %s WHERE %s LIMIT 1", t.quoted(), own))
	if err != nil || len(rows.Rows) == 0 {
		return nil, err
	}
	return []string{fmt.Sprintf("UPDATE %s SET %s = NULL WHERE %s", t.quoted(), id, own)}, nil
}

// learnShared looks once whether rows without a key live in a target.
func (d *Destination) learnShared(t *table) error {
	if _, known := d.shared[t.quoted()]; known || !d.dialect.PhysicalKey || t.keyless() {
		return nil
	}
	have, err := d.existing(t)
	if err != nil {
		return err
	}
	d.shared[t.quoted()] = have[d.dialect.fold(d.config.MetadataPrefix+"id")] != ""
	return nil
}

// keyNames are the key's columns in order.
func (t *table) keyNames() []string {
	names := make([]string, len(t.key))
	for i, k := range t.key {
		names[i] = t.columns[k].name
	}
	return names
}
