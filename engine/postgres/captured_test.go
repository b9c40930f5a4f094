package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/batch"
)

var testKey = bytes.Repeat([]byte("key?"), captureKeyBytes/4)

// signed is a message as the event triggers write it.
func signed(text string) []byte {
	inner := sha256.Sum256(slices.Concat(testKey[:captureKeyBytes/2], []byte(text)))
	outer := sha256.Sum256(slices.Concat(testKey[captureKeyBytes/2:], inner[:]))
	return append(outer[:], text...)
}

const capturedText = `{"v":1,"xid":4294967303,"oid":20000,"schema":"public","name":"t","kind":"r","identity":"d","immediate":true,"columns":[
	{"id":1,"name":"id","type":23,"typmod":-1,"nullable":false,"generated":"","dropped":false,"missing":null,"primary":1,"identity":0},
	{"id":2,"name":"........pg.dropped.2........","type":0,"typmod":-1,"nullable":true,"generated":"","dropped":true,"missing":null,"primary":0,"identity":0},
	{"id":3,"name":"v","type":25,"typmod":-1,"nullable":true,"generated":"","dropped":false,"missing":"{\"a b\"}","primary":0,"identity":0}]}`

// TestCapturedMessages takes only messages that are signed, in the transaction
// that they are of, and describe a table.
func TestCapturedMessages(t *testing.T) {
	c := &Capture{Key: testKey}
	read, err := c.read(signed(capturedText), 7)
	if err != nil {
		t.Fatal(err)
	}
	table := c.table(read, "shop", newTypeMap())
	if is := fmt.Sprintf("%s %v %s %d %s", table.ID(), table.Schema.Key(), table.Schema.Columns[1].Name, table.Schema.Columns[1].ID, *table.Schema.Columns[1].Missing); is != "shop.public.t [0] v 3 a b" {
		t.Errorf("read %s", is)
	}
	other := func(old, new string) []byte { return signed(strings.Replace(capturedText, old, new, 1)) }
	bent := signed(capturedText)
	bent[40]++
	for name, content := range map[string][]byte{
		"empty": {}, "short": bent[:31], "unsigned": append(make([]byte, 32), capturedText...), "bent": bent, "large": make([]byte, mostCaptured+1),
		"no JSON": signed("{"), "nothing": signed("{}"), "another version": other(`"v":1`, `"v":2`), "another transaction": other("4294967303", "4294967304"),
		"no name": other(`"name":"t"`, `"name":""`), "no identity": other(`"identity":"d"`, `"identity":"x"`), "no UTF-8": other(`"v"`, "\"\xff\""),
		"no order": other(`"id":1`, `"id":9`), "messages": other("20000", "4294967295"), "many": other(`"columns":[`, `"columns":[`+strings.Repeat(`{"id":0},`, 1700)),
	} {
		if _, err := c.read(content, 7); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// FuzzCaptured feeds signed texts to the decoder, whose key nobody else knows:
// even then there is an error or a relation.
func FuzzCaptured(f *testing.F) {
	f.Add(capturedText)
	f.Add(`{"v":1,"xid":7,"oid":1,"dropped":true,"schema":"s","name":"n"}`)
	f.Add(`{"v":1,"xid":7,"oid":1,"schema":"s","name":"n","identity":"i","columns":[{"id":-1,"name":"","type":1,"identity":-3}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		types := newTypeMap()
		ignore := func(uint32, batch.TableID, uint64) {}
		d := newPgoutput(relationSource{types: func() *TypeMap { return types }, capture: &Capture{Key: testKey, Noticed: ignore, Refused: func(error) {},
			Follows: func(uint32, batch.TableID) bool { return true }}}, 1, batch.Position{})
		d.tx = transaction{open: true, lsn: 5, xid: 7}
		if err := d.captured(context.Background(), 1, signed(text)); err == nil {
			d.finish(6)
			for _, b := range d.cut().Batches {
				b.Release()
			}
		}
	})
}
