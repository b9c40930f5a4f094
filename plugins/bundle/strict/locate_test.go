package strict

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
)

var seed = flag.Uint64("seed", 0, "seed of the property tests, 0 for a new one")

// author writes random TOML and notes where it put each key.
type author struct {
	rng    *rand.Rand
	text   strings.Builder
	places map[string]int
	next   int
}

func (a *author) pick(words ...string) string { return words[a.rng.IntN(len(words))] }

func (a *author) note(p Path, at int) {
	if _, known := a.places[p.id()]; !known {
		a.places[p.id()] = at
	}
}

// name makes a key that was not used before, and a way to write it.
func (a *author) name() (name, written string) {
	a.next++
	n := strconv.Itoa(a.next)
	switch a.rng.IntN(6) {
	case 0:
		return "a.b " + n, `"a.b ` + n + `"`
	case 1:
		return `q"\` + n, `'q"\` + n + `'`
	case 2:
		return "é\t= #" + n, `"\u00e9\t= #` + n + `"`
	case 3:
		return n, n
	case 4:
		return `say "` + n + `"`, `"say \"` + n + `\""`
	}
	return "key-" + n, "key-" + n
}

func (a *author) blank() {
	a.text.WriteString(a.pick("", "\n", "  \n# [no] x = 1\n", "\t\r\n", "# \"\n"))
}

func (a *author) space() { a.text.WriteString(a.pick("", " ", "\t ")) }

// keys writes a key of one to three parts and returns its path below p.
func (a *author) keys(p Path) Path {
	for i := range 1 + a.rng.IntN(3) {
		if i > 0 {
			a.space()
			a.text.WriteString(".")
			a.space()
		}
		name, written := a.name()
		p = p.Key(name)
		a.note(p, a.text.Len())
		a.text.WriteString(written)
	}
	return p
}

func (a *author) keyValue(p Path, depth int) {
	p = a.keys(p)
	a.space()
	a.text.WriteString("=")
	a.space()
	a.value(p, depth)
}

func (a *author) value(p Path, depth int) {
	kind := a.rng.IntN(10)
	if depth > 2 {
		kind = a.rng.IntN(8)
	}
	switch kind {
	case 8:
		a.text.WriteString("[")
		for i := range a.rng.IntN(4) {
			if i > 0 {
				a.text.WriteString(",")
			}
			a.blank()
			a.note(p.Index(i), a.text.Len())
			a.value(p.Index(i), depth+1)
			a.space()
		}
		a.text.WriteString(a.pick("]", "\n]", " # ]\n]"))
	case 9:
		a.text.WriteString("{")
		for i := range a.rng.IntN(4) {
			if i > 0 {
				a.text.WriteString(",")
			}
			a.space()
			a.keyValue(p, depth+1)
			a.space()
		}
		a.text.WriteString("}")
	default:
		a.text.WriteString(a.pick("1", "-2.5e3", "true", `"x # = ] } \" \\"`, `'it\'`, "\"\"\"\n[x]\ny = \\\"\"\"q\"\"\"\"", "'''\n'a' = 1\n'''", "1979-05-27 07:32:00", "nan", `""`))
	}
}

func (a *author) document() string {
	for range a.rng.IntN(4) {
		a.blank()
		a.keyValue(nil, 0)
		a.text.WriteString(a.pick("\n", " \r\n", " # c\n"))
	}
	var lists []Path
	counts := map[string]int{}
	for range a.rng.IntN(6) {
		a.blank()
		var p Path
		switch {
		case len(lists) > 0 && a.rng.IntN(2) == 0: // one more element
			list := lists[a.rng.IntN(len(lists))]
			i := counts[list.id()]
			counts[list.id()]++
			p = list.Index(i)
			name := list[0].(string)
			fmt.Fprintf(&a.text, "[[ ")
			a.note(p, a.text.Len())
			fmt.Fprintf(&a.text, "%s ]]", strconv.Quote(name))
		case a.rng.IntN(2) == 0:
			a.text.WriteString("[[")
			name, written := a.name()
			p = Path{name}
			a.note(p, a.text.Len())
			a.note(p.Index(0), a.text.Len())
			a.text.WriteString(written + "]]")
			if !strings.ContainsAny(name, "é\t") { // strconv.Quote writes others as TOML does
				lists, counts[p.id()] = append(lists, p), 1
			}
			p = p.Index(0)
		default:
			a.text.WriteString("[")
			p = a.keys(nil)
			a.text.WriteString("]")
		}
		a.text.WriteString("\n")
		for range a.rng.IntN(4) {
			a.space()
			a.keyValue(p, 0)
			a.text.WriteString(a.pick("\n", " # c\n"))
		}
	}
	return a.text.String()
}

// TestLocate writes random documents and asks for every key in them.
func TestLocate(t *testing.T) {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed=%d", s)
	rng := rand.New(rand.NewPCG(s, 1))
	keys := 0
	for range 3000 {
		a := &author{rng: rng, places: map[string]int{}}
		text := a.document()
		checkLocate(t, text)
		got := locate(text)
		for id, at := range a.places {
			if place, ok := got[id]; !ok || place != at {
				t.Fatalf("%q: found at %d (%v), written at %d, in\n%s", id, place, ok, at, text)
			}
		}
		keys += len(a.places)
	}
	if keys < 10000 {
		t.Errorf("only %d keys were tried", keys)
	}
}

// checkLocate holds the locator against the parser: they must see the same
// keys, and the text at a key's place must read as that key.
func checkLocate(t *testing.T, text string) {
	t.Helper()
	places := locate(text)
	var tree map[string]any
	if _, err := toml.Decode(text, &tree); err != nil {
		return // locate has ended, which is all it promises
	}
	n := 0
	walk(nil, tree, func(p Path) {
		n++
		at, ok := places[p.id()]
		if !ok {
			t.Fatalf("%s was not found in\n%s", p, text)
		}
		if name, isKey := p[len(p)-1].(string); isKey {
			l := &locator{text: text, at: at}
			if got := l.simpleKey(); got != name {
				t.Fatalf("%s: the text at %d reads %q in\n%s", p, at, got, text)
			}
		}
	})
	if n != len(places) {
		t.Fatalf("%d keys, %d places in\n%s", n, len(places), text)
	}
}

func walk(p Path, v any, visit func(Path)) {
	if len(p) > 0 {
		visit(p)
	}
	if tree, ok := v.(map[string]any); ok {
		for k, e := range tree {
			walk(p.Key(k), e, visit)
		}
	}
	if list, ok := elements(v); ok {
		for i, e := range list {
			walk(p.Index(i), e, visit)
		}
	}
}

func FuzzLocate(f *testing.F) {
	for _, text := range []string{
		"a = 1", "[a.b]\n c.d = [1, {e = 2}]", "[[a]]\n[[a.b]]\nx=1\n[[a]]\n[a.b]\n", "\ufeffa = '''x'''''", `"" = """"""`,
		"a = [[1,2],[]]#", "'' = {}\n\"\\x41\\e\" = 07:32:00", "a = {b.c = 1,\n d = 2,}", "a\r\n=1", "[", "a = [", `"`, "a = 1979-05-27 07:32:00 # c",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { checkLocate(t, text) })
}
