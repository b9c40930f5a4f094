package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
)

// SourceConfig is the source section of a pipeline file as the postgres
// package takes it, secrets resolved.
func SourceConfig(s *spec.Spec) (*postgres.Config, error) {
	password, err := s.Source.Password.Reveal()
	if err != nil {
		return nil, fmt.Errorf("source.password: %w", err)
	}
	keyPassword, err := s.Source.TLS.ClientKeyPassword.Reveal()
	if err != nil {
		return nil, fmt.Errorf("source.tls.client_key_password: %w", err)
	}
	src, tls := s.Source, s.Source.TLS
	cfg := &postgres.Config{
		Host: src.Host, Port: uint16(src.Port), User: src.User, Password: password, Databases: Databases(s),
		ByLeaf: src.Partitions == "leaf", Decoder: postgres.Decoder(src.Decoder), Target: postgres.Target(src.TargetSessionAttrs),
		TLS: postgres.TLSConfig{
			Mode: postgres.TLSMode(tls.Mode), CAFile: tls.CAFile, LoadAllCA: &tls.LoadAllCACertificates,
			ClientCertificate: tls.ClientCertificate, ClientKey: tls.ClientKey, ClientKeyPassword: keyPassword,
		},
	}
	if src.Mode == "logical" { // a query may take long to find its first row
		cfg.Silence = src.ReceiveTimeout
	}
	for i, text := range src.Hosts {
		a, err := postgres.ParseAddress(text)
		if err != nil {
			return nil, err
		}
		a.Port = cmp.Or(a.Port, uint16(src.Port))
		if i == 0 {
			cfg.Host, cfg.Port = a.Host, a.Port
		} else {
			cfg.Others = append(cfg.Others, a)
		}
	}
	if src.Service != "" {
		if err := cfg.FromService(src.Service); err != nil {
			return nil, err
		}
	}
	cfg.Tunnel, err = tunnel(src.SSH)
	return cfg, err
}

// tunnel returns the way through an SSH server, nil where there is none.
func tunnel(s spec.SSH) (*postgres.Tunnel, error) {
	if s.Host == "" {
		return nil, nil
	}
	passphrase, err := s.KeyPassphrase.Reveal()
	if err != nil {
		return nil, fmt.Errorf("source.ssh.key_passphrase: %w", err)
	}
	return postgres.NewTunnel(postgres.SSHConfig{
		Host: s.Host, Port: uint16(s.Port), User: s.User, KeyFile: s.KeyFile, KeyPassphrase: passphrase, KnownHosts: s.KnownHosts,
	}), nil
}

// eachSource connects to the source databases of a pipeline one after the other,
// for as long as do takes.
func eachSource(ctx context.Context, s *spec.Spec, do func(*postgres.Source) error) error {
	cfg, err := SourceConfig(s)
	if err != nil {
		return err
	}
	for _, database := range Databases(s) {
		if err := withSource(ctx, cfg, database, do); err != nil {
			return err
		}
	}
	return nil
}

// withSource connects to a database for as long as do takes.
func withSource(ctx context.Context, cfg *postgres.Config, database string, do func(*postgres.Source) error) error {
	source, err := postgres.Open(ctx, cfg, database)
	if err != nil {
		return err
	}
	return errors.Join(do(source), source.Close(ctx))
}

// Databases are the source databases of a pipeline in the order of its file.
func Databases(s *spec.Spec) []string {
	if s.Source.Database != "" {
		return []string{s.Source.Database}
	}
	return s.Source.Databases
}

// StateDir is the state folder of a pipeline: instead, if it is not empty.
func StateDir(s *spec.Spec, instead string) string {
	if instead != "" {
		return instead
	}
	return s.Engine.StateDir
}

// names returns the slot and the publication of a database: those of the
// pipeline file, numbered if it has several databases, or names made of the
// pipeline's and the database's.
func names(s *spec.Spec, database string) (slot, publication string) {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s\x00%s", s.Name, database)
	made := []byte("leat_")
	for _, c := range []byte(strings.ToLower(s.Name + "_" + database)) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			c = '_'
		}
		made = append(made, c)
	}
	name := fmt.Sprintf("%s_%08x", made[:min(len(made), 40)], h.Sum32())
	number := ""
	if all := Databases(s); len(all) > 1 {
		for i := range all {
			if all[i] == database {
				number = fmt.Sprintf("_%d", i+1)
			}
		}
	}
	slot, publication = name, name
	if s.Source.Slot != "" {
		slot = s.Source.Slot + number
	}
	if s.Source.Publication != "" {
		publication = s.Source.Publication
	}
	return slot, publication
}

func selection(s *spec.Spec) postgres.Selection {
	return postgres.Selection{Include: texts(s.Objects.Include), Exclude: texts(s.Objects.Exclude)}
}

func texts(patterns []spec.Pattern) []string {
	out := make([]string, len(patterns))
	for i, p := range patterns {
		out[i] = p.String()
	}
	return out
}
