package main

import "github.com/spf13/cobra"

// examples are those of the commands' help, by the command's path. A test parses
// every line, and runs those that need nothing but a pipeline.
var examples = map[string]string{
	"leat demo": `  leat demo
  leat demo --for 2m --keep`,
	"leat init": `  leat init postgres://leat@db.example.com:5432/shop
  leat init 'postgres://leat@a.example.com,b.example.com/shop?sslmode=verify-full&sslrootcert=ca.pem'
  leat init postgres://postgres@db.example.com/shop --role leat
  leat init service=shop
  leat init postgres://leat@10.0.0.5/shop --ssh me@bastion.example.com --ssh-key ~/.ssh/id_ed25519`,
	"leat check": `  leat check shop.toml
  leat --json check shop.toml`,
	"leat plan": `  leat plan shop.toml
  leat plan shop.toml --indexes
  leat plan shop.toml --ddl "ALTER TABLE orders ADD COLUMN colour text"`,
	"leat run": `  leat run shop.toml
  leat run shop.toml --until-caught-up
  leat run shop.toml --log-json --metrics 127.0.0.1:9187`,
	"leat status": `  leat status shop.toml
  leat --json status shop.toml`,
	"leat objects list":    `  leat objects list shop.toml`,
	"leat objects skip":    `  leat objects skip shop.toml public.audit_*`,
	"leat objects include": `  leat objects include shop.toml public.audit_log`,
	"leat objects pause":   `  leat objects pause shop.toml public.orders`,
	"leat objects resume":  `  leat objects resume shop.toml public.orders`,
	"leat objects restart": `  leat objects restart shop.toml public.orders --yes`,
	"leat objects run-now": `  leat objects run-now shop.toml
  leat objects run-now shop.toml public.orders`,
	"leat objects set-mode": `  leat objects set-mode shop.toml public.orders --query-mode incrementing_append_only --incrementing-column id
  leat objects set-mode shop.toml public.orders --reset`,
	"leat objects set-position": `  leat objects set-position shop.toml public.orders 250000 --yes
  leat objects set-position shop.toml public.customers "2026-01-31 12:00:00+00" --column updated_at`,
	"leat failed list": `  leat failed list shop.toml`,
	"leat failed show": `  leat failed show shop.toml EVENT`,
	"leat failed replay": `  leat failed replay shop.toml --all
  leat failed replay shop.toml EVENT`,
	"leat failed skip":    `  leat failed skip shop.toml EVENT`,
	"leat failed capsule": `  leat failed capsule shop.toml EVENT --mask -o call.capsule`,
	"leat verify": `  leat verify shop.toml
  leat verify shop.toml --keys 100`,
	"leat explain row": `  leat explain row shop.toml public.orders id=7
  leat explain row shop.toml public.orders 7`,
	"leat query": `  leat query shop.toml "SELECT count(*) FROM orders"
  leat query shop.toml "SHOW TABLES"
  leat --json query shop.toml "SELECT id, total FROM orders WHERE total > 100"`,
	"leat drop": `  leat drop shop.toml
  leat drop shop.toml shop_us --yes`,
	"leat schema": `  leat schema > pipeline.schema.json
  leat schema --reference`,
	"leat plugin list": `  leat plugin list`,
	"leat plugin info": `  leat plugin info mask
  leat plugin info ./hide-email`,
	"leat plugin new": `  leat plugin new hide-email
  leat plugin new hide-email --lang rust
  leat plugin new to-my-store --kind destination`,
	"leat plugin kit":   `  leat plugin kit hide-email`,
	"leat plugin build": `  leat plugin build hide-email`,
	"leat plugin test": `  leat plugin test hide-email
  leat plugin test hide-email --watch`,
	"leat plugin test capsule": `  leat plugin test capsule call.capsule
  leat plugin test capsule call.capsule --plugin ./hide-email`,
	"leat plugin bench": `  leat plugin bench hide-email`,
	"leat plugin run":   `  leat plugin run hide-email --pipeline shop.toml --table public.customers`,
	"leat plugin conformance": `  leat plugin conformance duckdb --quick
  leat plugin conformance ./to-my-store`,
	"leat plugin promote": `  leat plugin promote shop.toml
  leat plugin promote shop.toml 2`,
	"leat plugin keygen": `  leat plugin keygen acme`,
	"leat plugin pack":   `  leat plugin pack hide-email`,
	"leat plugin sign":   `  leat plugin sign acme-hide-email-0.1.0.leat --key acme.key`,
	"leat plugin verify": `  leat plugin verify acme-hide-email-0.1.0.leat --key acme.pub`,
	"leat plugin push":   `  leat plugin push acme-hide-email-0.1.0.leat ghcr.io/acme/hide-email`,
	"leat plugin pull":   `  leat plugin pull ghcr.io/acme/hide-email:0.1.0`,
	"leat plugin remove": `  leat plugin remove acme/hide-email
  leat plugin remove --dir /etc/leat acme/hide-email@0.1.0`,
	"leat plugin install": `  leat plugin install acme/hide-email@0.1.0
  leat plugin install ghcr.io/acme/hide-email:0.1.0
  leat plugin install acme-hide-email-0.1.0.leat
  leat plugin install`,
	"leat plugin update": `  leat plugin update
  leat plugin update acme/hide-email`,
	"leat plugin search":           `  leat plugin search mask email`,
	"leat plugin catalogue add":    `  leat plugin catalogue add acme https://plugins.example.com/`,
	"leat plugin catalogue list":   `  leat plugin catalogue list`,
	"leat plugin catalogue remove": `  leat plugin catalogue remove acme`,
	"leat plugin trust add":        `  leat plugin trust add acme acme.pub`,
	"leat plugin trust list":       `  leat plugin trust list`,
	"leat plugin trust mode":       `  leat plugin trust mode require`,
	"leat plugin trust revoke":     `  leat plugin trust revoke 4f1c9a --reason "the key was stolen"`,
	"leat marketplace build":       `  leat marketplace build plugins`,
	"leat plugin yank":             `  leat plugin yank acme/hide-email@0.1.0 --reason "hides too little"`,
	"leat marketplace push":        `  leat marketplace push plugins ghcr.io/acme`,
	"leat marketplace mirror":      `  leat marketplace mirror https://plugins.example.com/ plugins`,
}

// addExamples gives a command and those under it their examples.
func addExamples(c *cobra.Command) {
	c.Example = examples[c.CommandPath()]
	for _, sub := range c.Commands() {
		addExamples(sub)
	}
}
