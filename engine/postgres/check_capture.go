package postgres

import (
	"context"
	"fmt"
)

// capture looks for what writes schema changes into the log. The pipeline runs
// without it.
func (c *checker) capture(ctx context.Context) {
	if !c.want.DDLCapture {
		return
	}
	state, err := c.source.CaptureState(ctx)
	if err != nil {
		c.error("ddl capture", c.database, err)
		return
	}
	item := Item{Name: "ddl capture", Object: c.database, Found: state.Problem(), Outcome: Warn}
	switch {
	case item.Found == "":
		item.Outcome = OK
		item.Found = fmt.Sprintf("version %d is installed; what takes it out again: %s", state.Version, CaptureRemovalSQL)
	case state.server < messagesVersion:
		item.Causes = []string{"Schema changes are told by the rows after them and the catalogue."}
		item.Fix = "Remove ddl_capture from [source], or upgrade the server."
	case state.Version > captureVersion:
		item.Fix = "Run a newer Leat."
	case state.Standby:
		item.Causes = []string{"The server is a standby, which has what its primary has."}
		item.Fix = "Run at the primary, as a superuser:\n" + CaptureSQL(c.cfg.User)
	case state.Permitted:
		item.Causes = []string{"The next run installs it, as ddl_capture = true lets it."}
		item.Fix = "leat run, or by hand:\n" + CaptureSQL(c.cfg.User)
	default:
		item.Causes = []string{"Only a superuser may create event triggers; at a managed server rds_superuser or its like."}
		item.Fix = fmt.Sprintf("Run in database %s, as a superuser:\n%s", c.database, CaptureSQL(c.cfg.User))
	}
	c.add(item)
}
