package spec

import (
	"strings"
	"testing"
)

func TestPromoteShadow(t *testing.T) {
	const head = "name = \"p\"\n[source]\nhost = \"h\"\nuser = \"u\"\ndatabase = \"d\"\n[destination]\nplugin = \"duckdb\"\n"
	text := head + "[[transforms]]\nplugin = \"mask\"\n[[transforms]] # second\n  plugin = \"mask\" # live\r\n  shadow = 'acme/mask@1.3.0'\nconfig = { a = 1 }\n"
	out, err := PromoteShadow("p.toml", []byte(text), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := head + "[[transforms]]\nplugin = \"mask\"\n[[transforms]] # second\n  plugin = 'acme/mask@1.3.0' # live\r\nconfig = { a = 1 }\n"
	if string(out) != want {
		t.Errorf("the file became\n%s\nwant\n%s", out, want)
	}
	if _, err := PromoteShadow("p.toml", []byte(text), 0); err == nil || !strings.Contains(err.Error(), "transform 1 has no shadow") {
		t.Errorf("without a shadow: %v", err)
	}
	inline := "name = \"p\"\ntransforms = [{ plugin = \"mask\", shadow = \"acme/mask@1.3.0\" }]\n" + strings.TrimPrefix(head, "name = \"p\"\n")
	if _, err := PromoteShadow("p.toml", []byte(inline), 0); err == nil || !strings.Contains(err.Error(), `p.toml:2: plugin and shadow do not stand on lines of their own: write plugin = "acme/mask@1.3.0"`) {
		t.Errorf("inline: %v", err)
	}
}
