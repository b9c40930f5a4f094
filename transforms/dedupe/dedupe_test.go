package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/pdk/go"
)

// store answers the calls of kv from memory.
type store struct {
	values map[string][]byte
	fails  int // writes until one fails, 0 for never
}

func (s *store) Log(pdk.Level, string) {}

func (s *store) Call(function string, request []byte) []byte {
	var r struct {
		Key, Prefix string
		Value       []byte
	}
	if err := json.Unmarshal(request, &r); err != nil {
		panic(err)
	}
	var answer any = struct{}{}
	switch function {
	case "kv_get":
		answer = map[string]any{"value": s.values[r.Key]}
	case "kv_put":
		if s.fails--; s.fails == 0 {
			return []byte(`{"error": {"number": 1, "class": "resource", "message": "the quota"}}`)
		}
		s.values[r.Key] = r.Value
	case "kv_delete":
		delete(s.values, r.Key)
	case "kv_list":
		names := slices.DeleteFunc(slices.Sorted(maps.Keys(s.values)), func(name string) bool { return !strings.HasPrefix(name, r.Prefix) })
		answer = map[string]any{"keys": names}
	}
	text, err := json.Marshal(map[string]any{"ok": answer})
	if err != nil {
		panic(err)
	}
	return text
}

var events = &pdk.Schema{Table: pdk.TableID{Database: "shop", Schema: "public", Name: "events"}, Columns: []pdk.Column{
	{Name: "id", Format: "l", PG: pdk.PGType{Name: "int8"}, Key: 1}, {Name: "device", Format: "u", PG: pdk.PGType{Name: "text"}},
}}

// event is an insert of a device's row, minutes after the first.
type event struct {
	id      int64
	device  string
	minutes int64
	op      byte // 0 is an insert
}

// instance is one copy of the plugin.
func instance(t *testing.T, config string) *pdk.Plan {
	t.Helper()
	p, err := plan(&pdk.PlanInput{Schema: events, Features: []string{"positions"}, RawConfig: []byte(config)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pass returns the ids that an instance lets through.
func pass(p *pdk.Plan, rows ...event) (ids []int64, err error) {
	device, id := pdk.NewColumn("u"), pdk.NewColumn("l")
	var places []pdk.Place
	ops := ""
	for _, r := range rows {
		ops += string(cmp.Or(r.op, 'I'))
		device.AppendString(r.device)
		id.AppendInt64(r.id)
		places = append(places, pdk.Place{LSN: uint64(1000 + r.minutes), Ordinal: uint64(r.id), CommitTime: 1_700_000_000_000_000 + r.minutes*60_000_000})
	}
	b := pdk.NewBatch(ops, device.View(), id.View()).WithPlaces(places...)
	out := pdk.NewOutput(p, b)
	if err := p.Process(b, out); err != nil {
		return nil, err
	}
	for _, row := range out.Rows() {
		ids = append(ids, rows[row].id)
	}
	return ids, nil
}

const tenMinutes = `{"columns": ["device"]}`

// TestWindow: a row repeats one that came at most a window before, not the one
// that itself was left out.
func TestWindow(t *testing.T) {
	pdk.SetHost(&store{values: map[string][]byte{}})
	rows := []event{{1, "a", 0, 0}, {2, "a", 10, 0}, {3, "a", 11, 0}, {4, "a", 20, 0}, {5, "b", 20, 0}, {6, "a", 22, 0}}
	got, err := pass(instance(t, tenMinutes), rows...)
	if want := []int64{1, 3, 5, 6}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v pass, %v; want %v", got, err, want)
	}
	pdk.SetHost(&store{values: map[string][]byte{}})
	got, err = pass(instance(t, `{"columns": ["device"], "window": "1h"}`), rows...)
	if want := []int64{1, 5}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v pass in an hour, %v; want %v", got, err, want)
	}
}

// TestDeliveredAgain: rows that come again, in other batches, to other
// instances, after a write that failed, meet the same fate.
func TestDeliveredAgain(t *testing.T) {
	var rows []event
	for i := range int64(400) {
		rows = append(rows, event{i, fmt.Sprint("device ", i*7%23), i / 3, 0})
	}
	pdk.SetHost(&store{values: map[string][]byte{}})
	want, err := pass(instance(t, tenMinutes), rows...)
	if err != nil || len(want) < 30 || len(want) > 350 {
		t.Fatalf("%d of %d rows pass, %v", len(want), len(rows), err)
	}
	for _, size := range []int{400, 100, 7, 1} {
		s := &store{values: map[string][]byte{}}
		pdk.SetHost(s)
		for round := range 3 {
			two := []*pdk.Plan{instance(t, tenMinutes), instance(t, tenMinutes)}
			var got []int64
			if round == 0 {
				s.fails = 1
				if _, err := pass(two[0], rows[:50]...); err == nil {
					t.Error("a write that failed was not said")
				}
			}
			for i := 0; i < len(rows); i += size {
				ids, err := pass(two[i/size%2], rows[i:min(i+size, len(rows))]...)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, ids...)
			}
			if !slices.Equal(got, want) {
				t.Errorf("in batches of %d, round %d: %v pass, want %v", size, round+1, got, want)
			}
		}
		if len(s.values) > smallPages+3 {
			t.Errorf("in batches of %d: the memory has %d pages", size, len(s.values))
		}
	}
}

// TestMemoryForgets: what is far beyond the window is given up, but for rows
// that were left out.
func TestMemoryForgets(t *testing.T) {
	s := &store{values: map[string][]byte{}}
	pdk.SetHost(s)
	p := instance(t, tenMinutes)
	if _, err := pass(p, event{1, "a", 0, 0}, event{2, "a", 1, 0}); err != nil {
		t.Fatal(err)
	}
	days := int64(3 * 24 * time.Hour / time.Minute)
	for i := range int64(3 * smallPages) {
		if _, err := pass(p, event{100 + i, fmt.Sprint(i), days, 0}); err != nil {
			t.Fatal(err)
		}
	}
	fresh := instance(t, tenMinutes)
	got, err := pass(fresh, event{2, "other", days + 1, 'U'}, event{3, "a", days + 1, 0}, event{2, "b", days + 1, 0}, event{2, "c", days + 2, 'U'})
	if want := []int64{3, 2, 2}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v pass, %v; want %v", got, err, want)
	}
	for name, page := range s.values {
		for ; len(page) > 0; page = page[recordSize:] {
			if page[0] == byte(kept) && digest(page[1:17]) == (&digester{}).of(pdk.NewBatch("I", one(1)), 0, []column{{at: 0}}) {
				t.Errorf("page %s remembers a row of three days ago", name)
			}
		}
	}
}

func one(id int64) pdk.View {
	c := pdk.NewColumn("l")
	c.AppendInt64(id)
	return c.View()
}
