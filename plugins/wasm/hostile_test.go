package wasm

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/batch"
)

var hostileLimits = Limits{MemoryBytes: 1 << 20, Fuel: 300_000_000, Deadline: time.Minute}

func load(t testing.TB, h *Host, c code) (*Transform, error) {
	t.Helper()
	return h.Transform(context.Background(), c.bytes(), Plugin{Name: "hostile", Version: "6.6.6", Limits: hostileLimits})
}

func mustLoad(t testing.TB, h *Host, c code) *Transform {
	t.Helper()
	tr, err := load(t, h, c)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// wantAlive shows that the host goes on: a good plugin still works.
func wantAlive(t testing.TB, h *Host) {
	t.Helper()
	tr := mustLoad(t, h, good(computes))
	r := mustProcess(t, tr, mustPlan(t, tr, PlanInput{Schema: customers("d")}), twoRows())
	wantRows(t, r.Batches[0], "I|1|ab", "U|2|öc")
}

func twoRows() *batch.Batch {
	return customerBatch(customers("d"), row{batch.Insert, 1, [3]string{"a", "b", "{}"}}, row{batch.Update, 2, [3]string{"c", absent, null}})
}

func TestModulesThatAreRefused(t *testing.T) {
	h := newHost(t)
	for _, c := range []struct {
		name   string
		change func(*code)
		kind   Kind
		text   string
	}{
		{"another ABI", func(c *code) { c.version = 2 }, KindContract, "it speaks ABI 2, this host speaks 1: rebuild"},
		{"no process", func(c *code) { c.without = "leat_process" }, KindContract, "does not export leat_process"},
		{"no memory export", func(c *code) { c.without = "memory" }, KindContract, "does not export its memory"},
		{"a command", func(c *code) { c.extra = "_start" }, KindContract, "exports _start: build it as a reactor"},
		{"file access", func(c *code) { c.imports = [][2]string{{"wasi_snapshot_preview1", "path_open"}} }, KindContract, "path_open, which this host does not offer"},
		{"network", func(c *code) { c.imports = [][2]string{{"wasi_snapshot_preview1", "sock_accept"}} }, KindContract, "sock_accept"},
		{"another module", func(c *code) { c.imports = [][2]string{{"env", "system"}} }, KindContract, "env.system"},
		{"the meter's own tick", func(c *code) { c.imports = [][2]string{{"leat_meter", "tick"}} }, KindContract, "leat_meter"},
		{"no grant", func(c *code) { c.imports = [][2]string{{"leat", "sql_exec"}} }, KindContract, `"sql" is not granted`},
		{"too large", func(c *code) { c.pages = 17 }, KindMemory, "starts with 1114112 bytes of memory, its limit is 1048576"},
		{"a data segment outside", func(c *code) { c.pages = 0 }, KindTrap, "out of bounds"},
		{"a loop at the start", func(c *code) { c.extra, c.first = "_initialize", endlessLoop[:5] }, KindFuel, "300000000 units"},
		{"code that does not validate", func(c *code) { c.alloc = nil }, KindContract, "compile"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := good(computes)
			c.change(&bad)
			_, err := load(t, h, bad)
			if e := wantError(t, err, c.kind, c.text); e.Op != "load" || e.Plugin != "hostile" || e.Version != "6.6.6" {
				t.Errorf("error is %+v", e)
			}
		})
	}
	_, err := h.Transform(context.Background(), []byte("\x00asm\x0d\x00\x01\x00"), Plugin{Name: "component"})
	wantError(t, err, KindContract, "component")
	_, err = h.Transform(context.Background(), good(computes).bytes(), Plugin{Name: "p", Digest: "sha256:00"})
	wantError(t, err, KindContract, "expected sha256:00")
	wantAlive(t, h)
}

var (
	endlessLoop  = []byte{0x03, 0x40, 0x0c, 0x00, 0x0b, 0x41, 0x00}
	unreachable  = []byte{0x00}
	greedy       = []byte{0x03, 0x40, 0x41, 0x01, 0x40, 0x00, 0x41, 0x7f, 0x47, 0x0d, 0x00, 0x0b, 0x00} // grow until refused, then trap
	recursion    = []byte{0x20, 0x00, 0x10, 0x03}
	outOfBounds  = append(i32const(math.MaxInt32), 0x28, 0x02, 0x00)
	divideByZero = []byte{0x41, 0x01, 0x41, 0x00, 0x6d}
)

func TestCallsThatGoWrong(t *testing.T) {
	h := newHost(t)
	for _, c := range []struct {
		name   string
		change func(*code)
		kind   Kind
		text   string
	}{
		{"endless loop", func(c *code) { c.process = endlessLoop }, KindFuel, "300000000 units of fuel"},
		{"endless loop in alloc", func(c *code) { c.alloc = endlessLoop }, KindFuel, "300000000 units of fuel"},
		{"endless allocation", func(c *code) { c.process = greedy }, KindMemory, "more than its 1048576 bytes"},
		{"endless recursion", func(c *code) { c.process = recursion }, KindTrap, "stack overflow"},
		{"trap", func(c *code) { c.process = unreachable }, KindTrap, "unreachable"},
		{"wild load", func(c *code) { c.process = outOfBounds }, KindTrap, "out of bounds memory access"},
		{"division by zero", func(c *code) { c.process = divideByZero }, KindTrap, "integer divide by zero"},
		{"alloc returns 0", func(c *code) { c.alloc = i32const(0) }, KindContract, "leat_alloc returned 0"},
		{"alloc not aligned", func(c *code) { c.alloc = i32const(allocAt + 4) }, KindContract, "aligned to 8"},
		{"alloc outside", func(c *code) { c.alloc = i32const(2<<16 - 8) }, KindContract, "beyond the 131072 bytes"},
		{"alloc far outside", func(c *code) { c.alloc = i32const(-8) }, KindContract, "beyond"},
		{"result 0", func(c *code) { c.process = i32const(0) }, KindContract, "result: the pointer is 0"},
		{"result outside", func(c *code) { c.process = i32const(-4) }, KindContract, "beyond the 131072 bytes"},
		{"error that is no JSON", func(c *code) { c.image.u32(resultAt, dataAt); c.image.u32(resultAt+4, 2) }, KindContract, "cannot be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := good(computes)
			c.change(&bad)
			tr := mustLoad(t, h, bad)
			p, err := tr.Plan(context.Background(), PlanInput{Schema: customers("d")})
			b := twoRows()
			if err == nil {
				_, err = tr.Process(context.Background(), p, b)
			}
			if e := wantError(t, err, c.kind, c.text); e.Table != "d.public.customers" || e.Op == "process" && e.Position != b.Position {
				t.Errorf("error is %+v", e)
			}
			if s := tr.Stats(); s.Recycled != 1 {
				t.Errorf("the instance was not thrown away: %+v", s)
			}
		})
	}
	wantAlive(t, h)
}

func TestPlansThatLie(t *testing.T) {
	h := newHost(t)
	replace := func(old, new string) string { return strings.Replace(computes, old, new, 1) }
	for _, c := range []struct{ name, reply, text string }{
		{"not JSON", `{"ok": `, "unexpected EOF"},
		{"not UTF-8", "{\"ok\": \"\xff\"}", "not valid UTF-8"},
		{"empty", ``, "EOF"},
		{"neither", `{}`, "neither ok nor error"},
		{"unknown key", `{"ok": {"outptus": []}}`, `unknown field "outptus"`},
		{"two values", `{"ok": {}} {}`, "more than one JSON value"},
		{"need outside", replace(`[1]`, `[4]`), "needs column 4 of a table with 4"},
		{"negative need", replace(`[1]`, `[-1]`), "needs column -1"},
		{"need twice", replace(`[1]`, `[1, 1]`), "twice"},
		{"computed format", replace(`["u"]`, `["+s"]`), "not one that a batch may contain"},
		{"pass of another format", replace(`"format": "l"`, `"format": "i"`), "not that of what it comes from"},
		{"column outside", replace(`{"column": 0}`, `{"column": 9}`), "column 9 of a table with 4"},
		{"computed outside", replace(`{"computed": 0}`, `{"computed": 1}`), "computed column 1 of 1"},
		{"two origins", replace(`{"column": 0}`, `{"column": 0, "null": true}`), "2 members, expected 1"},
		{"no origin", replace(`{"column": 0}`, `{}`), "0 members"},
		{"narrowing cast", replace(`"format": "l", "pg_type": {"name": "int8", "oid": 20, "typmod": -1}, "nullable": false, "key": 1, "from": {"column": 0}`, `"format": "i", "pg_type": {"name": "int4"}, "from": {"cast": 0}`), "cannot be cast to int32 without loss"},
		{"key with a gap", replace(`"key": 1`, `"key": 2`), "no place 1"},
		{"same name twice", replace(`"name": "x"`, `"name": "id"`), "empty or taken"},
		{"table without name", replace(`"name": "t"`, `"name": ""`), "no name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := mustLoad(t, h, good(c.reply)).Plan(context.Background(), PlanInput{Schema: customers("d")})
			wantError(t, err, KindContract, c.text)
		})
	}
	_, err := mustLoad(t, h, good(`{"error": {"message": "no such column"}}`)).Plan(context.Background(), PlanInput{Schema: customers("d")})
	wantError(t, err, KindGuest, "no such column")
}

func TestAPlanMayNotChangeBetweenInstances(t *testing.T) {
	bad := good(computes)
	other := strings.Replace(computes, `"name": "t"`, `"name": "u"`, 1)
	copy(bad.image[secondAt:], other)
	// The first call of an instance answers one thing, later calls another.
	at512 := i32const(512)
	bad.plan = append(append([]byte{}, at512...), 0x28, 0x02, 0x00, 0x04, 0x7e)
	bad.plan = append(append(bad.plan, i64const(secondAt<<32|int64(len(other)))...), 0x05)
	bad.plan = append(append(bad.plan, at512...), 0x41, 0x01, 0x36, 0x02, 0x00)
	bad.plan = append(append(bad.plan, i64const(replyAt<<32|int64(len(computes)))...), 0x0b)
	bad.process = unreachable
	tr := mustLoad(t, newHost(t), bad)
	first := mustPlan(t, tr, PlanInput{Schema: customers("d")})
	second := mustPlan(t, tr, PlanInput{Schema: customers("d"), Databases: []string{"d"}})
	_, err := tr.Process(context.Background(), first, twoRows())
	wantError(t, err, KindTrap, "unreachable")
	_, err = tr.Process(context.Background(), second, twoRows())
	wantError(t, err, KindContract, "planned d.public.customers differently")
}

func TestDeadlineAndCancellation(t *testing.T) {
	h := newHost(t)
	bad := good(computes)
	bad.process = endlessLoop
	tr, err := h.Transform(context.Background(), bad.bytes(), Plugin{Name: "slow", Version: "1", Limits: Limits{Deadline: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	p := mustPlan(t, tr, PlanInput{Schema: customers("d")})
	_, err = tr.Process(context.Background(), p, twoRows())
	wantError(t, err, KindDeadline, "more than 1ms")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = tr.Process(ctx, p, twoRows())
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want the cancellation", err)
	}
}

func TestFuelIsTheSameEveryTime(t *testing.T) {
	counting := good(computes)
	// Count 250,000 down in memory, then return the result.
	at512 := i32const(512)
	body := append(append([]byte{}, at512...), i32const(250_000)...)
	body = append(body, 0x36, 0x02, 0x00, 0x03, 0x40)
	body = append(append(body, at512...), at512...)
	body = append(body, 0x28, 0x02, 0x00, 0x41, 0x01, 0x6b, 0x36, 0x02, 0x00)
	body = append(append(body, at512...), 0x28, 0x02, 0x00, 0x0d, 0x00, 0x0b)
	counting.process = append(body, i32const(resultAt)...)
	tr := mustLoad(t, newHost(t), counting)
	p := mustPlan(t, tr, PlanInput{Schema: customers("d")})
	var used []uint64
	for range 3 {
		before := tr.Stats().Fuel
		mustProcess(t, tr, p, twoRows())
		used = append(used, tr.Stats().Fuel-before)
	}
	if used[0] < 250_000 || used[0] > 5_000_000 || used[0] != used[1] || used[1] != used[2] {
		t.Errorf("three equal calls used %v fuel", used)
	}
}

func TestInstancesAreRecycledPastTheHighWaterMark(t *testing.T) {
	tr, err := newHost(t).Transform(context.Background(), good(computes).bytes(), Plugin{Name: "large", Limits: Limits{HighWater: 1 << 16}})
	if err != nil {
		t.Fatal(err)
	}
	p := mustPlan(t, tr, PlanInput{Schema: customers("d")})
	mustProcess(t, tr, p, twoRows())
	if s := tr.Stats(); s.Recycled != 3 || s.Instances != 3 || s.MemoryBytes != 0 {
		t.Errorf("stats are %+v", s)
	}
}
