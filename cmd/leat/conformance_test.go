package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/plugins/workbench/conformance"
)

// TestBundledDestinationsConform gives the bundled destinations full marks.
func TestBundledDestinationsConform(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.patience = 10 * time.Minute
	s.expect(s.leat("plugin", "conformance", "duckdb", "--quick"), exitOK, "faults", "duckdb@")
	target, role := s.intoPostgres()
	config, err := json.Marshal(map[string]any{
		"host": s.host, "port": s.port, "user": role, "password": "writes", "database": target, "schema": "shop", "tls": map[string]any{"mode": "disable"},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.expect(s.leat("plugin", "conformance", "postgres", "--quick", "--config", string(config)), exitOK, "faults", "postgres@")
	report := decode[conformance.Report](s, s.leat("--json", "plugin", "conformance", "duckdb", "--only", "names"))
	if report.Of == 0 || report.Passed != report.Of || !report.Partial || !strings.HasPrefix(report.Digest, "sha256:") {
		t.Errorf("the report of a part: %+v", report)
	}
	s.expect(s.leat("plugin", "conformance", "mask"), exitUsage, "is a transform")
	s.expect(s.leat("plugin", "conformance", "duckdb", "--only", "nothing"), exitUsage, "there is no capability", "faults")
}
