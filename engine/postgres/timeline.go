package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pglogrepl"

	"github.com/leat-etl/leat/engine/batch"
)

// TimelineEnd returns where the log of timeline from went over into a later
// one, on the way to timeline to, which the server is on. known is false where
// to does not descend from it.
func (s *Source) TimelineEnd(ctx context.Context, from, to uint32) (lsn uint64, known bool, err error) {
	conn, err := s.cfg.connectReplication(ctx, s.Database)
	if err != nil {
		return 0, false, err
	}
	defer conn.Close(ctx)
	history, err := pglogrepl.TimelineHistory(ctx, conn, int32(to))
	if err != nil {
		return 0, false, wrap("read history of timeline", strconv.FormatUint(uint64(to), 10), err)
	}
	return timelineEnd(string(history.Content), from)
}

// ReplayTimeline returns the timeline whose log the server, a standby, replays now.
// Its control file has that of the last checkpoint, which may be an earlier one.
func (s *Source) ReplayTimeline(ctx context.Context) (uint32, error) {
	conn, err := s.cfg.connectReplication(ctx, s.Database)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	system, err := pglogrepl.IdentifySystem(ctx, conn)
	return uint32(system.Timeline), wrap("identify system of", s.cfg.address(), err)
}

// timelineEnd reads a history file: on each line a timeline, where it ended
// and why, in order.
func timelineEnd(history string, from uint32) (lsn uint64, known bool, err error) {
	for line := range strings.Lines(history) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		timeline, err := strconv.ParseUint(fields[0], 10, 32)
		if err != nil {
			return 0, false, fmt.Errorf("history of timelines: %w", err)
		}
		if uint32(timeline) != from {
			continue
		}
		lsn, err := batch.ParseLSN(fields[1])
		return lsn, err == nil, err
	}
	return 0, false, nil
}

// StandbyPublication returns the publication that EnsurePublication would
// make, at a server that takes none. What is missing is an error whose hint is
// the SQL for the primary.
func (s *Source) StandbyPublication(ctx context.Context, name string, tables []*Table) (*Publication, error) {
	if s.Version < standbyVersion {
		return nil, &Error{Op: "read the log of", Object: s.cfg.address(), Code: CodePrerequisite, Class: Stop, Err: fmt.Errorf("the server is a standby"),
			Causes: []string{"The server is a standby, which before PostgreSQL 16 cannot decode its log."}, Hint: "Set host to the primary server."}
	}
	missing, err := s.PublicationSQL(ctx, name, tables)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return nil, &Error{Op: "find publication", Object: name, Code: CodePrerequisite, Class: Stop,
			Err:    fmt.Errorf("it is not as the pipeline needs it, and the server is a standby, which takes no change"),
			Causes: []string{"The publication has to be made at the primary."},
			Hint:   "Run at the primary:\n" + strings.Join(missing, ";\n") + ";"}
	}
	if s.cfg.Decoder == TestDecoding {
		return &Publication{}, nil
	}
	return &Publication{Names: []string{name, name + keylessSuffix}}, nil
}
