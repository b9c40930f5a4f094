package typesproof

import (
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestDecoderFormat asks for binary values of a type that Leat reads as text
// only: binary says so and what to do, auto chooses text, also when the column
// comes while the stream is in binary.
func TestDecoderFormat(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	source := connect(t, server.DSN(database))
	run(t, source, "CREATE TABLE prices (id integer PRIMARY KEY, at timestamptz, net numeric(10,2))", "INSERT INTO prices VALUES (1, now(), 1.5)")
	binary := newPipeline(t, server, database, way{name: "format-binary", destination: "duckdb", format: "binary"})
	auto := newPipeline(t, server, database, way{name: "format-auto", destination: "duckdb", format: "auto"})
	catchUp(t, binary, auto)
	run(t, source, "INSERT INTO prices VALUES (2, now(), 2.5)", "ALTER TABLE prices ADD COLUMN gross money", "INSERT INTO prices VALUES (3, now(), 3.5, '$4.20')")
	catchUp(t, auto)
	if v := auto.verify(t); !v.Equal() || v.Tables[0].DestinationRows != 3 {
		t.Errorf("decoder_format = \"auto\": %+v", v.Tables)
	}
	err := binary.run(t)
	for _, want := range []string{"decoder_format", "binary", "gross", "money", `"auto"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("decoder_format = \"binary\" with a column of type money: %v, want %q in it", err, want)
		}
	}
	if failed := binary.failed(t); len(failed) > 0 {
		t.Errorf("failed events instead of a refusal: %v", failed)
	}
	binary.format = "text"
	catchUp(t, binary)
	if v := binary.verify(t); !v.Equal() || v.Tables[0].DestinationRows != 3 {
		t.Errorf("after decoder_format = \"text\": %+v", v.Tables)
	}
}
