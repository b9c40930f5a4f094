package postgres

import (
	"context"
	"fmt"
)

// standbyVersion is the first version whose standbys can decode their log.
const standbyVersion = 160000

// settings are what the server says about its log.
type settings struct {
	version, walLevel, senderTimeout, keepSize string
	slots, usedSlots, senders, usedSenders     int
	standby, feedback                          bool
}

// server checks what is the same for all databases.
func (c *checker) server(ctx context.Context) {
	var s settings
	if !c.query(ctx, "server settings", `SELECT current_setting('server_version'), current_setting('wal_level'), current_setting('wal_sender_timeout'),
			coalesce(current_setting('max_slot_wal_keep_size', true), ''), current_setting('max_replication_slots')::int,
			(SELECT count(*) FROM pg_catalog.pg_replication_slots)::int, current_setting('max_wal_senders')::int,
			(SELECT count(*) FROM pg_catalog.pg_stat_replication)::int, pg_catalog.pg_is_in_recovery(), current_setting('hot_standby_feedback')::bool`,
		nil, &s.version, &s.walLevel, &s.senderTimeout, &s.keepSize, &s.slots, &s.usedSlots, &s.senders, &s.usedSenders, &s.standby, &s.feedback) {
		return
	}
	c.add(Item{Name: "version", Found: s.version, Outcome: OK})
	c.standby(s)
	level := Item{Name: "wal_level", Found: s.walLevel, Outcome: OK}
	if s.walLevel != "logical" {
		level.Outcome, level.Code = Fail, CodePrerequisite
		level.Causes = []string{"The server does not write what logical decoding needs."}
		level.Fix = "ALTER SYSTEM SET wal_level = 'logical'; -- then restart the server; on Amazon RDS: rds.logical_replication = 1"
	}
	c.add(level)
	c.slots(ctx, s)
	c.senders(s)
	c.add(Item{Name: "wal_sender_timeout", Found: s.senderTimeout + ": any value works, keep-alives are answered", Outcome: OK})
	c.keepSize(s)
	c.role(ctx)
}

func (c *checker) standby(s settings) {
	item := Item{Name: "primary or standby", Found: "primary", Outcome: OK}
	switch {
	case s.standby && c.source.Version < standbyVersion:
		item.Found, item.Outcome, item.Code = "standby", Fail, CodePrerequisite
		item.Causes = []string{"Before PostgreSQL 16 a standby cannot decode its log."}
		item.Fix = "Set host to the primary server."
	case s.standby && !s.feedback:
		item.Found, item.Outcome = "standby without hot_standby_feedback", Warn
		item.Causes = []string{"The primary may remove catalogue rows that the slot needs, which invalidates it."}
		item.Fix = "ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf(); -- on the standby"
	case s.standby:
		item.Found = "standby"
	}
	c.add(item)
}

// slots counts what is free, and that the slot of an earlier run needs none.
func (c *checker) slots(ctx context.Context, s settings) {
	item := Item{Name: "max_replication_slots", Found: fmt.Sprintf("%d, %d in use", s.slots, s.usedSlots), Outcome: OK}
	slot, err := c.source.Slot(ctx, c.want.Slot)
	if err != nil {
		c.error("max_replication_slots", "", err)
		return
	}
	if s.usedSlots >= s.slots && slot == nil {
		item.Outcome, item.Code = Fail, CodePrerequisite
		item.Causes = []string{"No replication slot is free."}
		item.Fix = fmt.Sprintf("SELECT slot_name, active FROM pg_replication_slots; -- drop one that nobody needs, or:\nALTER SYSTEM SET max_replication_slots = %d; -- then restart the server", s.slots+10)
	}
	c.add(item)
}

func (c *checker) senders(s settings) {
	item := Item{Name: "max_wal_senders", Found: fmt.Sprintf("%d, %d in use", s.senders, s.usedSenders), Outcome: OK}
	if s.usedSenders >= s.senders {
		item.Outcome, item.Code = Fail, CodePrerequisite
		item.Causes = []string{"No walsender is free."}
		item.Fix = fmt.Sprintf("ALTER SYSTEM SET max_wal_senders = %d; -- then restart the server", s.senders+10)
	}
	c.add(item)
}

func (c *checker) keepSize(s settings) {
	item := Item{Name: "max_slot_wal_keep_size", Found: s.keepSize, Outcome: OK}
	switch s.keepSize {
	case "":
		item.Found = "not in this version: a stopped pipeline keeps log without limit"
	case "-1":
		item.Found = "-1: a stopped pipeline keeps log without limit, no load is ever lost"
	default:
		item.Found += ": a pipeline stopped for longer loads its tables again"
	}
	c.add(item)
}

// role checks the attribute that the walsender asks for. A managed server may
// give it through a role of its own.
func (c *checker) role(ctx context.Context) {
	var super, replication, managed bool
	if !c.query(ctx, "replication role", `SELECT rolsuper, rolreplication, EXISTS (SELECT 1 FROM pg_catalog.pg_roles g
			WHERE g.rolname IN ('rds_replication', 'rds_superuser', 'cloudsqlsuperuser', 'alloydbsuperuser') AND pg_catalog.pg_has_role(r.oid, g.oid, 'member'))
		FROM pg_catalog.pg_roles r WHERE rolname = current_user`, nil, &super, &replication, &managed) {
		return
	}
	item := Item{Name: "replication role", Object: c.cfg.User, Outcome: OK}
	switch {
	case super:
		item.Found = "superuser"
	case replication:
		item.Found = "REPLICATION"
	case managed:
		item.Found = "a replication role of the managed server"
	default:
		item.Found, item.Outcome, item.Code = "no REPLICATION attribute", Fail, CodePrerequisite
		item.Causes = []string{"The role lacks the REPLICATION attribute. The password is right."}
		item.Fix = fmt.Sprintf("ALTER ROLE %s REPLICATION; -- on Amazon RDS: GRANT rds_replication TO %[1]s;", quoteIdent(c.cfg.User))
	}
	c.add(item)
}
