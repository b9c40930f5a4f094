package main

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	pdk "github.com/leat-etl/leat/pdk/go"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/destinations/internal/desttest"
)

func TestMain(m *testing.M) { os.Exit(pgserver.Main(m)) }

func openDB(t *testing.T) capability.SQL {
	t.Helper()
	server := pgserver.Test(t, pgserver.Options{})
	db, err := capability.OpenPostgres(t.Context(), capability.PostgresOptions{
		Host: server.Host(), Port: server.Port(), User: server.User(), Password: server.Password(),
		Database: server.Database(t), TLSMode: "disable",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// opener opens the destination with a configuration.
func opener(t *testing.T) func(string) pdk.Destination {
	return func(config string) pdk.Destination {
		d := &destination{}
		if _, err := d.Open(&pdk.OpenInput{Pipeline: "shop", RawConfig: json.RawMessage(config)}); err != nil {
			t.Fatal(err)
		}
		return d
	}
}

func TestRandomChanges(t *testing.T) {
	h := desttest.NewHost(t.Context(), openDB(t))
	desttest.Random(t, h, opener(t), "public", 15)
}
