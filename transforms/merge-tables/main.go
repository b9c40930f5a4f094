// Command merge-tables brings tables of the same name from several databases
// into one table, or keeps them apart by name.
package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/leat-etl/leat/pdk/go"
)

// config is the plugin's configuration; plugin.toml describes it.
type config struct {
	Merge   bool   `json:"merge"`
	OwnKeys bool   `json:"own_keys"`
	Name    string `json:"name"`
}

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	c := config{Merge: true}
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	if c.Name == "" {
		c.Name = "{database}_{table}"
		if c.Merge {
			c.Name = "{table}"
		}
	}
	if c.Merge && strings.Contains(c.Name, "{database}") {
		return nil, errors.New("name: {database} keeps the tables apart; leave it out or set merge = false")
	}
	name, err := expand(c.Name, in.Schema.Table)
	if err != nil {
		return nil, err
	}
	p := pdk.KeepAll(in.Schema)
	if c.Merge {
		if !c.OwnKeys {
			if err := sameKeys(sorted(in.Schema, in.Peers)); err != nil {
				return nil, err
			}
		}
		p.Outputs[0].Columns = merged(in.Schema, in.Peers)
	}
	p.Outputs[0].Table.Name = name
	return p, nil
}

// expand fills the name template.
func expand(template string, t pdk.TableID) (string, error) {
	name := strings.NewReplacer("{database}", t.Database, "{schema}", t.Schema, "{table}", t.Name).Replace(template)
	rest := strings.NewReplacer("{database}", "", "{schema}", "", "{table}", "").Replace(template)
	if i := strings.IndexAny(rest, "{}"); i >= 0 {
		return "", fmt.Errorf("name: %q has a placeholder that is not {database}, {schema} or {table}", template)
	}
	if name == "" {
		return "", errors.New("name: the template is empty")
	}
	return name, nil
}

// merged is the union of a table's columns with those of its peers, filled
// from the table itself. Every table of the group gets the same columns in
// the same order, whichever of them is asked first.
func merged(s *pdk.Schema, peers []*pdk.Schema) []pdk.OutputColumn {
	group := sorted(s, peers)
	var names []string
	types := map[string]pdk.Column{}
	for _, t := range group {
		for _, c := range t.Columns {
			seen, ok := types[c.Name]
			if !ok {
				names = append(names, c.Name)
				types[c.Name] = c
				continue
			}
			types[c.Name] = common(seen, c)
		}
	}
	key := keyOf(s, group)
	var out []pdk.OutputColumn
	for _, name := range names {
		c := types[name]
		c.Key, c.ID, c.Missing = key[name], 0, nil
		i := s.Column(name)
		if i >= 0 { // another source's number is another column here
			c.ID, c.Missing = s.Columns[i].ID, s.Columns[i].Missing
		}
		column := pdk.OutputColumn{Column: c, From: pdk.Null()}
		switch {
		case i < 0:
			column.Nullable = true
		case s.Columns[i].Format == c.Format:
			column.From = pdk.Pass(i)
		default:
			column.From = pdk.Cast(i)
		}
		among := group
		if column.Key > 0 {
			among = keyed(group)
			column.Nullable = nullable(among, name)
		}
		if !inAll(among, name) {
			column.Nullable = true
		}
		out = append(out, column)
	}
	return out
}

// sorted is the table and its peers by database, each database once.
func sorted(s *pdk.Schema, peers []*pdk.Schema) []*pdk.Schema {
	group := []*pdk.Schema{s}
	for _, p := range peers {
		if p.Table.Database == s.Table.Database {
			continue
		}
		at := len(group)
		for at > 0 && group[at-1].Table.Database > p.Table.Database {
			at--
		}
		group = append(group[:at], append([]*pdk.Schema{p}, group[at:]...)...)
	}
	return group
}

func inAll(group []*pdk.Schema, name string) bool {
	for _, t := range group {
		if t.Column(name) < 0 {
			return false
		}
	}
	return true
}

// keyed are the tables of a group that have a key. The others' rows are told
// apart by the destination, which gives them an id.
func keyed(group []*pdk.Schema) []*pdk.Schema {
	var out []*pdk.Schema
	for _, t := range group {
		if len(t.Key()) > 0 {
			out = append(out, t)
		}
	}
	return out
}

// nullable says whether a column may be NULL in the key of one of the tables.
func nullable(group []*pdk.Schema, name string) bool {
	for _, t := range group {
		if i := t.Column(name); i >= 0 && t.Columns[i].Nullable && t.Columns[i].Key > 0 {
			return true
		}
	}
	return false
}

// sameKeys refuses tables of which one has a column beside its key that is in
// the key of another: its deletes and changes of key, which carry its own key
// alone, find their rows only where the key names the database, too.
func sameKeys(group []*pdk.Schema) error {
	for _, t := range keyed(group) {
		for _, other := range keyed(group) {
			for _, i := range other.Key() {
				name := other.Columns[i].Name
				if at := t.Column(name); at >= 0 && t.Columns[at].Key == 0 {
					return fmt.Errorf("table %s has the key (%s) in database %s and (%s) in database %s, where %s is a column beside the key: deletes there would not find their rows. Give the tables the same key, keep them apart with merge = false, or let database-name with key = true follow and set own_keys = true",
						t.Table.Name, keyText(other), other.Table.Database, keyText(t), t.Table.Database, name)
				}
			}
		}
	}
	return nil
}

func keyText(s *pdk.Schema) string {
	var names []string
	for _, i := range s.Key() {
		names = append(names, s.Columns[i].Name)
	}
	return strings.Join(names, ", ")
}

// keyOf gives the columns that tell the rows of s apart their places: those of
// its own key, and those of the others' keys that it lacks, which are NULL in its
// rows. A column that it has beside its key is in no key of its rows.
func keyOf(s *pdk.Schema, group []*pdk.Schema) map[string]int {
	key := map[string]int{}
	if len(s.Key()) == 0 {
		return key
	}
	for _, t := range group {
		for _, i := range t.Key() {
			name := t.Columns[i].Name
			if own := s.Column(name); key[name] == 0 && (own < 0 || s.Columns[own].Key > 0) {
				key[name] = len(key) + 1
			}
		}
	}
	return key
}
