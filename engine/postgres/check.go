package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Outcome is the result of one check.
type Outcome string

// The outcomes. Warn does not keep a pipeline from running; Unknown was not
// looked at because an earlier item failed.
const (
	OK      Outcome = "ok"
	Warn    Outcome = "warn"
	Fail    Outcome = "fail"
	Unknown Outcome = "unknown"
)

// Item is one prerequisite.
type Item struct {
	Name string `json:"name"`
	// Object is the database or the table that it is about, empty for the
	// server.
	Object  string  `json:"object,omitempty"`
	Found   string  `json:"found"`
	Outcome Outcome `json:"outcome"`
	// Code and SQLState are those of Error.
	Code     int      `json:"code,omitempty"`
	SQLState string   `json:"sqlstate,omitempty"`
	Causes   []string `json:"causes,omitempty"`
	// Fix is the statement or the line of a configuration file that makes the
	// item pass.
	Fix string `json:"fix,omitempty"`
}

// Report is what Check found, in the order in which it is to be repaired.
type Report struct {
	Items []Item `json:"items"`
}

// OK says whether nothing failed.
func (r *Report) OK() bool {
	for _, i := range r.Items {
		if i.Outcome == Fail || i.Outcome == Unknown {
			return false
		}
	}
	return true
}

// Requirements are what a pipeline wants of a server.
type Requirements struct {
	Selection Selection
	// Fixed: no table joins that is created later.
	Fixed bool
	// Slot is the name of the slot, Publication that of the publication that
	// Leat keeps. Adopt names publications of an administrator instead.
	Slot        string
	Publication string
	Adopt       []string
	// Running: this pipeline's own engine may hold the slot.
	Running bool
	Past    Past
	// DDLCapture: event triggers are to write schema changes into the log.
	DDLCapture bool
}

// Past is what is known of earlier runs of the pipeline.
type Past int

// What may be known. GivenUp is a pipeline whose slot leat drop has dropped.
const (
	Untold Past = iota
	NeverRan
	Ran
	GivenUp
)

// Check looks at every prerequisite of logical replication from every database
// of cfg. It changes nothing. What an early failure hides is reported as
// Unknown.
func Check(ctx context.Context, cfg *Config, want Requirements) *Report {
	r := new(Report)
	if len(cfg.Databases) == 0 {
		r.error("database", "", &Error{Code: CodeDatabaseName, Err: fmt.Errorf("no database is named"), Hint: `databases = ["shop"]`})
	}
	server := false
	for _, database := range cfg.Databases {
		c := &checker{Report: r, cfg: cfg, want: want, database: database}
		if !c.connect(ctx) {
			continue
		}
		if !server {
			c.server(ctx)
			server = true
		}
		c.replicationConnection(ctx)
		c.objects(ctx)
		c.slot(ctx)
		c.capture(ctx)
		c.source.Close(ctx)
	}
	return r
}

// checker is the check of one database.
type checker struct {
	*Report
	cfg      *Config
	want     Requirements
	database string
	source   *Source
}

func (r *Report) add(i Item) { r.Items = append(r.Items, i) }

// error adds a failed item.
func (r *Report) error(name, object string, err error) {
	e := Classify(err)
	found := err.Error()
	if e.Err != nil {
		found = oneLine(e.Err)
	}
	r.add(Item{Name: name, Object: object, Found: found, Outcome: Fail, Code: e.Code, SQLState: e.SQLState, Causes: e.Causes, Fix: e.Hint})
}

// connect checks that the server is reached, the encryption, the login and the
// database. A failure says how far it came.
func (c *checker) connect(ctx context.Context) bool {
	source, err := Open(ctx, c.cfg, c.database)
	if err != nil {
		steps := []string{"connection settings", "SSH tunnel", "server reachable", "login", "database"}
		at := map[int]int{CodeSettings: 0, CodeUnreachable: 2, CodeAuthentication: 3, CodePassword: 3, CodeNoHBAEntry: 3,
			CodePrerequisite: 4, CodeNoDatabase: 4, CodeDatabaseName: 4}[Classify(err).Code]
		if at == 0 && Classify(err).SQLState != "" {
			at = 3 // a server has answered
		}
		switch {
		case c.cfg.Tunnel == nil:
			steps, at = slices.Delete(steps, 1, 2), max(0, at-1)
		case Classify(err).Op == opTunnel:
			at = 1
		}
		for i, step := range steps {
			switch {
			case i < at:
				c.add(Item{Name: step, Object: c.database, Found: "yes", Outcome: OK})
			case i == at:
				c.error(step, c.database, err)
			default:
				c.add(Item{Name: step, Object: c.database, Found: "not looked at", Outcome: Unknown})
			}
		}
		return false
	}
	c.source = source
	if c.cfg.Tunnel != nil {
		c.add(Item{Name: "SSH tunnel", Object: c.database, Found: "through " + c.cfg.Tunnel.cfg.address() + ", whose host key is known", Outcome: OK})
	}
	c.add(Item{Name: "server reachable", Object: c.database, Found: source.cfg.address() + passed(source.Missed), Outcome: OK})
	tls := Item{Name: "TLS", Object: c.database, Found: "encrypted", Outcome: OK}
	if !isEncrypted(source.conn.PgConn().Conn()) {
		tls.Found = "not encrypted"
		if !strings.HasPrefix(source.cfg.Host, "/") && c.cfg.Tunnel == nil {
			tls.Outcome, tls.Fix = Warn, `[source.tls] mode = "verify-full" (and ssl = on in postgresql.conf)`
		}
	}
	c.add(tls)
	c.add(Item{Name: "login", Object: c.database, Found: c.cfg.User, Outcome: OK})
	c.add(Item{Name: "database", Object: c.database, Found: c.database, Outcome: OK})
	return true
}

// passed lists the servers that were asked before the one that answered.
func passed(missed []error) string {
	var s strings.Builder
	for _, err := range missed {
		fmt.Fprintf(&s, "; passed over: %v", err)
	}
	return s.String()
}

// replicationConnection opens what the stream will use: pg_hba.conf matches it
// by its database, as any other connection, but the role needs REPLICATION and
// the server a free walsender.
func (c *checker) replicationConnection(ctx context.Context) {
	conn, err := c.source.cfg.connectReplication(ctx, c.database)
	if err != nil {
		c.error("replication connection", c.database, err)
		return
	}
	conn.Close(ctx)
	c.add(Item{Name: "replication connection", Object: c.database, Found: "accepted", Outcome: OK})
}

// slot looks at the slot of an earlier run.
func (c *checker) slot(ctx context.Context) {
	if c.want.Slot == "" {
		return
	}
	const loadAgain = "leat run --resync, which creates the slot and loads every table again beside the rows that are there"
	slot, err := c.source.Slot(ctx, c.want.Slot)
	item := Item{Name: "slot", Object: c.want.Slot, Outcome: OK}
	switch {
	case err != nil:
		c.error("slot", c.want.Slot, err)
		return
	case slot == nil && c.want.Past == GivenUp:
		item.Outcome, item.Found = Warn, "not there: leat drop has given the pipeline up"
		item.Causes = []string{"The log since then is gone. A run stops with exit code 8 and changes nothing, unless the destination was emptied: then it begins anew."}
		item.Fix = loadAgain
	case slot == nil && c.want.Past == Ran:
		item.Outcome, item.Found = Fail, "does not exist any more, and with it the log that the destination needs"
		item.Causes = []string{"Somebody dropped it, or the server was restored or failed over to a standby without a copy of it."}
		item.Fix = loadAgain
	case slot == nil:
		item.Found = "not there yet: the first run creates it"
	case slot.Plugin != string(c.cfg.decoder()) || slot.Database != c.database:
		item.Outcome, item.Found = Fail, fmt.Sprintf("belongs to plugin %q and database %q", slot.Plugin, slot.Database)
		item.Causes = []string{"Another program uses a slot of this name."}
		item.Fix = "Name another slot in the pipeline."
	case slot.Lost():
		item.Outcome, item.Found = Fail, "lost: the server removed log that it needed"
		item.Causes = []string{slot.WhyLost()}
		item.Fix = "leat run --resync, which drops the slot, creates it anew and loads every table again beside the rows that are there"
	default:
		item.Found = fmt.Sprintf("retains %d MB of log", slot.RetainedBytes>>20)
		if slot.WALStatus != "" {
			item.Found += ", wal_status " + slot.WALStatus
		}
		if slot.SafeWALSize != nil {
			item.Found += fmt.Sprintf(", lost after %d MB more", *slot.SafeWALSize>>20)
		}
		if slot.WALStatus == "unreserved" {
			item.Outcome, item.Fix = Warn, "ALTER SYSTEM SET max_slot_wal_keep_size = -1; SELECT pg_reload_conf();"
		}
		if (c.want.Past == NeverRan || c.want.Past == GivenUp) && !slot.Active {
			item.Outcome = Warn
			item.Found += ", made by no run that the state folder knows"
			item.Causes = []string{"The state folder is another one, or was removed: a run goes on if the destination has what was loaded, and refuses to start otherwise.", "Another pipeline of this name uses the slot."}
			item.Fix = fmt.Sprintf("SELECT pg_drop_replication_slot(%s); -- to begin anew with an empty destination, if no other pipeline uses it; otherwise give this pipeline another name", quoteLiteral(slot.Name))
		}
		switch {
		case slot.Active && c.want.Running:
			item.Found += fmt.Sprintf(", in use by the running pipeline (server process %d)", slot.ActivePID)
		case slot.Active:
			item.Outcome = Warn
			item.Found += fmt.Sprintf(", in use by server process %d", slot.ActivePID)
			item.Causes = []string{"Another Leat, on another machine or with another state folder, or another program reads from this slot."}
			item.Fix = fmt.Sprintf("SELECT application_name, client_addr, backend_start FROM pg_stat_activity WHERE pid = %d; -- then stop it, or name another slot in the pipeline", slot.ActivePID)
		}
	}
	c.add(item)
}

// query runs a query for one row and says under which name it failed.
func (c *checker) query(ctx context.Context, name, sql string, args []any, into ...any) bool {
	err := c.source.do(ctx, func(conn *pgx.Conn) error { return conn.QueryRow(ctx, sql, args...).Scan(into...) })
	if err != nil {
		c.error(name, c.database, err)
	}
	return err == nil
}
