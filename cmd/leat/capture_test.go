package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/engine/postgres"
)

// TestCaptureWithoutTheRight runs a role that may not create event triggers:
// check, plan and run say so, and the rows after a change tell of it. Then a
// superuser runs the SQL that check prints, and a change comes without rows.
func TestCaptureWithoutTheRight(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.keys = "ddl_capture = true"
	s.write()
	s.expect(s.leat("check", s.file), exitOK, "warn     ddl capture", "the event triggers are not installed", "Only a superuser may create event triggers", "CREATE EVENT TRIGGER leat_ddl_end")
	s.expect(s.leat("plan", s.file), exitOK, "warning: schema changes of "+s.database+" are not captured", "leat check")
	s.expect(s.run(), exitOK, "schema changes are not captured", "leat check")
	s.exec("ALTER TABLE orders ADD paid boolean DEFAULT true", "UPDATE orders SET paid = false WHERE id = 1")
	s.mended()

	r := s.leat("check", "--json", s.file)
	s.expect(r, exitOK)
	var report postgres.Report
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatal(err)
	}
	for _, item := range report.Items {
		if item.Name == "ddl capture" {
			_, sql, _ := strings.Cut(item.Fix, "\n")
			s.exec(sql, sql) // it may be run again
		}
	}
	s.expect(s.leat("check", s.file), exitOK, "ok       ddl capture", "version 1 is installed", postgres.CaptureRemovalSQL)
	if !strings.Contains(readme(t), postgres.CaptureRemovalSQL) {
		t.Error("the README does not say how the event triggers are taken out")
	}
	if r := s.leat("plan", s.file); strings.Contains(r.err, "captured") {
		t.Errorf("plan says %s", r.err)
	}
	p := s.start()
	p.listens()
	s.exec("ALTER TABLE orders ADD late integer DEFAULT 7")
	s.await("SELECT count(*) FROM information_schema.columns WHERE table_name = 'orders' AND column_name = 'late'", "1")
	s.expect(s.leat("status", s.file), exitOK, s.database+": schema changes are captured: yes")
	p.stop()
	s.mended()
}
