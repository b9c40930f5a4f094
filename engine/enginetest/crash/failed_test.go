package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// refuser is a transform that refuses one row in 256 of table stock, with
// all its changes: the text goes with a row when its key moves. If it is told
// to, it comes to no end instead.
const refuser = `package main

import (
	"errors"

	"github.com/leat-etl/leat/pdk/go"
)

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	var c struct{ Refuse, Loop bool }
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	p := pdk.KeepAll(in.Schema)
	if i := in.Schema.Column("filler"); c.Refuse && i >= 0 {
		p.Rewrite(i, func(dst, value []byte) ([]byte, error) {
			if value[0] == '0' && value[1] == '0' {
				return dst, errors.New("refused")
			}
			return append(dst, value...), nil
		})
	}
	if i := in.Schema.Column("filler"); c.Loop && i >= 0 {
		p.Rewrite(i, func(dst, value []byte) ([]byte, error) {
			for {
			}
		})
	}
	return p, nil
}
`

const refuserManifest = `name = "refuser"
version = "0.1.0"
kind = "transform"
abi = 1
description = "Refuse rows."
licence = "Apache-2.0"
`

// buildRefuser compiles the transform beside the pipeline file.
func (p *pipeline) buildRefuser() {
	p.t.Helper()
	dir := filepath.Join(filepath.Dir(p.file), "refuser")
	kit, err := filepath.Abs(filepath.Join(root, "pdk/go"))
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	module := fmt.Sprintf("module refuser\n\ngo 1.26\n\nrequire github.com/leat-etl/leat/pdk/go v0.0.0\n\nreplace github.com/leat-etl/leat/pdk/go => %s\n", kit)
	schema := `{"type": "object", "properties": {"Refuse": {"type": "boolean"}, "Loop": {"type": "boolean"}}}`
	for name, text := range map[string]string{"main.go": refuser, "plugin.toml": refuserManifest, "go.mod": module, "config.schema.json": schema} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	p.t.Setenv("GOFLAGS", "")
	path, err := program()
	if err != nil {
		p.t.Fatal(err)
	}
	if out, err := exec.CommandContext(p.t.Context(), path, "plugin", "build", dir).CombinedOutput(); err != nil {
		p.t.Fatalf("build the transform: %v\n%s", err, out)
	}
}

// refuse turns the transform on or off.
func (p *pipeline) refuse(on bool) { p.configure(fmt.Sprintf("Refuse = %v", on)) }

// configure sets the transform's config.
func (p *pipeline) configure(config string) {
	p.t.Helper()
	text, err := os.ReadFile(p.file)
	if err != nil {
		p.t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), "[[transforms]]")
	if found {
		_, rest, _ = strings.Cut(rest, "[destination]")
		rest = "[destination]" + rest
	} else {
		before, rest, _ = strings.Cut(string(text), "[destination]")
		rest = "[destination]" + rest
	}
	chain := fmt.Sprintf("[[transforms]]\nplugin = \"./refuser\"\ntables = [\"public.stock\"]\nconfig = { %s }\nlimits = { fuel = 100000000 }\n", config)
	if err := os.WriteFile(p.file, []byte(before+chain+rest), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// TestRefusedRowsSurviveKills sets rows aside while the program is killed, in
// the load and in the log, and the columns of their table change; it replays
// them once the transform takes them, is killed in the middle of that, too, and
// has every row.
func TestRefusedRowsSurviveKills(t *testing.T) {
	p := newPipeline(t, pgserver.Test(t, pgserver.Options{}), variant{"duckdb", "hard", false, 1, true}, *seed+6000)
	p.buildRefuser()
	p.refuse(true)
	p.work()
	random := rand.New(rand.NewPCG(uint64(p.seed), 3))
	for _, name := range []string{"chunk-committed", "failed-stored"} {
		p.killAt(name, 1+random.IntN(3))
	}
	p.catchUp()
	p.pace(quickly)
	alters := []string{"ADD COLUMN place text DEFAULT 'here'", "ADD COLUMN counted int", "RENAME COLUMN place TO shelf"}
	for i, name := range []string{"failed-stored", "destination-committed", "delivery-written"} {
		if err := p.source.Exec(t.Context(), p.databases[0], "ALTER TABLE stock "+alters[i]); err != nil {
			t.Fatal(err)
		}
		p.killAt(name, 1+random.IntN(4))
	}
	p.killAfter(300*time.Millisecond + time.Duration(random.Int64N(int64(time.Second))))
	p.rest()
	p.catchUp()
	if faults := p.faults(); len(faults) == 0 {
		t.Error("nothing was refused: the test proves nothing")
	}
	p.refuse(false)
	replay := func() *process { return p.start("", "failed replay", "--all") }
	r := replay()
	r.after(500*time.Millisecond+time.Duration(random.Int64N(int64(time.Second))), syscall.SIGKILL)
	r.wait()
	if code, by := replay().wait(); code != 0 || by != 0 {
		t.Errorf("leat failed replay ended with code %d, signal %v", code, by)
	}
	p.prove()
}
