package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"syscall"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
)

// ownCPU is what this process has used.
func ownCPU() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

// runBare receives everything and looks only for the end: the least that any
// reader of the log has to do.
func (r *logRun) runBare(ctx context.Context) (measure, error) {
	return r.timed(ctx, walsender, func(ctx context.Context) error {
		conn, err := r.replicate(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		return receiveUntil(conn, r.end)
	})
}

// byteReader keeps the protocol's reader from taking more than one message, so
// that the connection can be taken over.
type byteReader struct{ io.Reader }

// Read implements io.Reader.
func (r byteReader) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }

// replicate starts streaming from runSlot and hands over the connection.
func (r *logRun) replicate(ctx context.Context) (net.Conn, error) {
	cfg, err := pgconn.ParseConfig(r.source.SocketDSN(r.database))
	if err != nil {
		return nil, err
	}
	cfg.RuntimeParams["replication"] = "database"
	cfg.BuildFrontend = func(in io.Reader, out io.Writer) *pgproto3.Frontend {
		return pgproto3.NewFrontend(byteReader{in}, out)
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := pglogrepl.StartReplication(ctx, conn, runSlot, 0, pglogrepl.StartReplicationOptions{PluginArgs: r.pluginArguments()}); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	taken, err := conn.Hijack()
	if err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return taken.Conn, nil
}

func (r *logRun) pluginArguments() []string {
	return []string{"proto_version '1'", fmt.Sprintf("publication_names '%s'", publication), fmt.Sprintf("binary '%t'", r.binary)}
}

// receiveUntil reads in large pieces and steps from message to message until
// a transaction ends behind lsn.
func receiveUntil(conn net.Conn, lsn uint64) error {
	buf := make([]byte, 1<<20)
	start, end := 0, 0
	for {
		copy(buf, buf[start:end])
		start, end = 0, end-start
		n, err := conn.Read(buf[end:])
		if err != nil {
			return fmt.Errorf("receive log: %w", err)
		}
		end += n
		for end-start >= 5 {
			size := 1 + int(binary.BigEndian.Uint32(buf[start+1:]))
			if size > len(buf) {
				return fmt.Errorf("receive log: message of %d bytes", size)
			}
			if end-start < size {
				break
			}
			m := buf[start : start+size]
			start += size
			if m[0] == 'E' {
				return errors.New("receive log: the server reports an error")
			}
			// CopyData, XLogData, Commit: its flags, its LSN, its end.
			if m[0] == 'd' && m[5] == 'w' && len(m) > 30+18 && m[30] == 'C' && binary.BigEndian.Uint64(m[40:]) > lsn {
				return nil
			}
		}
	}
}

func (r *logRun) runRecvLogical(ctx context.Context) (measure, error) {
	program, _ := r.tool("pg_recvlogical")
	cmd := exec.CommandContext(ctx, program, "-d", r.source.SocketDSN(r.database), "-S", runSlot, "--start", "-f", "/dev/null", "--no-loop", "-F", "0",
		"-o", "proto_version=1", "-o", "publication_names="+publication, "-o", fmt.Sprintf("binary=%t", r.binary), "--endpos", batch.FormatLSN(r.end))
	m, err := r.timed(ctx, walsender, func(context.Context) error {
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	if err == nil {
		m.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
		m.PeakMB = peakMB(cmd.ProcessState)
	}
	return m, err
}

// runDecoded is Leat's stream with nobody behind it.
func (r *logRun) runDecoded(ctx context.Context) (measure, error) {
	source, _, err := r.open(ctx)
	if err != nil {
		return measure{}, err
	}
	defer source.Close(ctx)
	cfg, err := pgconn.ParseConfig(r.source.SocketDSN(r.database))
	if err != nil {
		return measure{}, err
	}
	rows := 0
	m, err := r.timed(ctx, walsender, func(ctx context.Context) error {
		stream, err := postgres.OpenStream(ctx, cfg, postgres.StreamOptions{
			Slot: runSlot, Publications: []string{publication}, Binary: r.binary, Database: r.database,
			MaxBytes: 32 << 20, MaxRows: 50_000, Linger: time.Second, Tables: source.TableByOID, Types: source.Types,
			Until: r.end,
		})
		if err != nil {
			return err
		}
		running, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- stream.Run(running) }()
		rows, err = drain(ctx, stream, r.end)
		stop()
		<-ended
		return err
	})
	if err == nil && rows != r.changes+1 {
		err = fmt.Errorf("%d changes came, want %d and the marker", rows, r.changes)
	}
	return m, err
}

// drain takes groups up to the transaction behind lsn and drops them.
func drain(ctx context.Context, stream *postgres.Stream, lsn uint64) (rows int, err error) {
	for {
		group, err := stream.Next(ctx)
		if err != nil {
			return rows, err
		}
		for _, b := range group.Batches {
			rows += b.Len()
			b.Release()
		}
		if group.Complete && group.End() > lsn {
			return rows, nil
		}
	}
}
