package engine_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// shout compiles a variant of the test guest into a folder of its own and
// returns the folder.
func shout(t *testing.T, variant string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shout")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	shoutInto(t, dir, variant)
	return dir
}

func shoutInto(t *testing.T, dir, variant string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags", "-s -w -X main.variant="+variant, "-o", filepath.Join(dir, "shout.wasm"), "./testdata/shout")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the test guest: %v\n%s", err, text)
	}
	manifest, err := os.ReadFile("testdata/shout/plugin.toml")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "plugin.toml"), manifest, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestShadow runs a candidate that differs in single values beside the live
// plugin, holds the report against what is known of them, and promotes it.
func TestShadow(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec := func(sql ...string) {
		t.Helper()
		if err := server.Exec(t.Context(), database, sql...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE a (id int PRIMARY KEY, name text, n int)`,
		`INSERT INTO a VALUES (1, 'one', 1), (2, 'quiet', 2), (3, 'refused by live', 3), (4, 'refused by candidate', 4), (5, NULL, 5)`)
	p := pipelineOf(t, server, database, "[[transforms]]", `plugin = "`+shout(t, "live")+`"`, `shadow = "`+shout(t, "candidate")+`"`)
	catchUp := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.Run(ctx, engine.RunOptions{UntilCaughtUp: true}); err != nil {
			t.Fatal(err)
		}
	}
	arrived := func(want string) {
		t.Helper()
		got := ""
		if err := p.Query(t.Context(), `SELECT string_agg(id || coalesce(name, '~'), ' ' ORDER BY id) FROM a WHERE NOT __leat_marked_deleted`, func(r engine.Rows) error {
			got = *r.Rows[0][0]
			return nil
		}); err != nil || got != want {
			t.Errorf("the destination has %q, %v; want %q", got, err, want)
		}
	}
	catchUp()
	arrived("1ONE 2QUIET 4REFUSED BY CANDIDATE 5~")
	report := p.Status().Shadows
	if len(report) != 1 {
		t.Fatalf("%d reports, want 1", len(report))
	}
	r := report[0]
	// A batch with a refused row is made again without it, and compared again.
	if r.Transform != "1:shout" || r.Differing != 2 || r.FailedLive != 1 || r.FailedCandidate != 2 || r.Errors != 0 || len(r.Shapes) != 0 {
		t.Errorf("the report is %+v", r)
	}
	if want := map[string]int64{"public.a.name": 2}; !reflect.DeepEqual(r.Columns, want) {
		t.Errorf("columns that differ: %v, want %v", r.Columns, want)
	}
	if len(r.Examples) == 0 || r.Candidate.Fuel == 0 || r.Live.Digest == r.Candidate.Digest {
		t.Errorf("the report has no examples, fuel or digests: %+v", r)
	}
	exec(`INSERT INTO a VALUES (6, 'trap', 6)`)
	catchUp()
	arrived("1ONE 2QUIET 4REFUSED BY CANDIDATE 5~ 6TRAP")
	if r = p.Status().Shadows[0]; r.Errors != 1 || !strings.Contains(r.LastError, "shout meets a trap") {
		t.Errorf("the trap of the candidate is reported as %+v", r)
	}
	if _, err := p.Promote(t.Context(), 1); err == nil {
		t.Error("a transform that is not there was promoted")
	}
	promoted, err := p.Promote(t.Context(), 0)
	if err != nil || promoted.Digest != r.Candidate.Digest {
		t.Fatalf("promoted %+v, %v; want the candidate %+v", promoted, err, r.Candidate)
	}
	exec(`INSERT INTO a VALUES (7, 'quiet', 7), (8, 'loud', 8)`)
	catchUp()
	arrived("1ONE 2QUIET 4REFUSED BY CANDIDATE 5~ 6TRAP 7quiet 8LOUD")
	if len(p.Status().Shadows) != 0 {
		t.Error("a candidate is left after its promotion")
	}
}

// TestACandidateThatMeetsItsLimits holds up the live plugin three times and no
// more, and one that keeps something is promoted with what the live one kept.
func TestACandidateThatMeetsItsLimits(t *testing.T) {
	p := pausable(t, "", "good")
	p.close()
	p.Pipeline = pipelineIn(t, p.dir, p.server, p.database, `heartbeat = "1s"`, "[[transforms]]", `plugin = "`+shout(t, "live")+`"`, `shadow = "`+shout(t, "broken")+`"`, brokenLimits,
		"[[transforms]]", `plugin = "dedupe"`, `shadow = "dedupe"`, `config = { columns = ["id"] }`, `grants = { kv = "1MB" }`)
	t.Cleanup(p.close)
	for id := 1001; id < 1006; id++ {
		p.exec(fmt.Sprintf(`INSERT INTO b VALUES (%d, 'loop')`, id))
		if err := p.run(engine.RunOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	reports := p.Status().Shadows
	if r := reports[0]; r.Errors != 3 || !r.Stopped || !strings.Contains(r.LastError, "units of fuel") {
		t.Errorf("the report is %+v", r)
	}
	if r := reports[1]; !r.Clean() || r.Batches == 0 {
		t.Errorf("the report of the one that keeps something is %+v", r)
	}
	if _, err := p.Promote(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	p.exec(`INSERT INTO b VALUES (1006, 'last')`)
	if err := p.run(engine.RunOptions{}); err != nil {
		t.Fatal(err)
	}
	p.verify()
}
