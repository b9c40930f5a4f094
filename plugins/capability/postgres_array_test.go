package capability

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
)

// TestPostgresArrays holds every literal against what the server itself makes
// of it, whether it goes as an array or as text.
func TestPostgresArrays(t *testing.T) {
	db := openTestPostgres(t)
	for _, c := range []struct {
		typ, in string
		plain   bool
	}{
		{"text[]", `{}`, true},
		{"text[]", `{a,NULL,"NULL","","x y","{","}","q\"\\",ž}`, true},
		{"text[]", `{a\,b,c}`, true},
		{"varchar(3)[]", `{abc}`, true},
		{"varchar(3)[]", `{abcd}`, true},
		{"integer[]", `{1,-2147483648,NULL}`, true},
		{"integer[]", `{2147483648}`, true},
		{"integer[]", `{1,x}`, true},
		{"smallint[]", `{-32768,32767}`, true},
		{"bigint[]", `{-9223372036854775808}`, true},
		{"text[]", `{a,}`, true},
		{"text[]", `{a, b}`, false},
		{"text[]", `{null,nULL}`, false},
		{"text[]", `{{a,b},{c,d}}`, false},
		{"text[]", `[0:1]={a,b}`, false},
		{"text[]", `{"a"b}`, false},
		{"text[]", `{a"b"}`, false},
		{"text[]", `{"a}`, false},
		{"text[]", `a`, false},
		{"boolean[]", `{t,f}`, false},
	} {
		b := pgTexts(c.in)
		if got := hasBinaryArrays(b.Rows.Column(0).(*array.String), parsePostgresType(c.typ)); got != c.plain {
			t.Errorf("%s %s: plain %v, want %v", c.typ, c.in, got, c.plain)
		}
		_, err := db.Ingest(t.Context(), b, Ingest{Table: "arrays", Temporary: true, Columns: []IngestColumn{{Name: "v", Type: c.typ, From: FromColumn}}})
		b.Release()
		// A cast to a length cuts where storing refuses.
		want, refused := db.Query(t.Context(), "DROP TABLE IF EXISTS wanted; CREATE TEMPORARY TABLE wanted (v "+c.typ+"); INSERT INTO wanted VALUES ("+quoteText(c.in)+"); SELECT v, array_dims(v) FROM wanted")
		if refused != nil || err != nil {
			if classOf(err) != Data || classOf(refused) != Data {
				t.Errorf("%s %s: %v, the server says %v", c.typ, c.in, err, refused)
			}
			continue
		}
		got, err := db.Query(t.Context(), "SELECT v, array_dims(v) FROM arrays")
		if err != nil {
			t.Fatal(err)
		}
		for i, cell := range want.Rows[0] {
			if text := got.Rows[0][i]; (text == nil) != (cell == nil) || text != nil && *text != *cell {
				t.Errorf("%s %s: %v, the server says %v", c.typ, c.in, text, cell)
			}
		}
	}
}
