//go:build duckdb_arrow

package schemaproof

import (
	"bytes"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// said keeps what a pipeline logs.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (s *said) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(text)
}

// take returns what was logged since the last call.
func (s *said) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.text.Reset()
	return s.text.String()
}

// TestAlteredTypes alters the types behind columns: all rows then read otherwise,
// and the log has nothing of it. Another label of an enum changes no row.
func TestAlteredTypes(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec(t, server, database, `CREATE TYPE colour AS ENUM ('red', 'green'); CREATE DOMAIN paint AS colour; CREATE TYPE place AS (x int, y int, c paint); CREATE DOMAIN spot AS place;
		CREATE TABLE plain (id int PRIMARY KEY, v text); INSERT INTO plain VALUES (1, 'one');
		CREATE TABLE enums (id int PRIMARY KEY, c colour); INSERT INTO enums VALUES (1, 'red'), (2, 'green');
		CREATE TABLE lists (id int PRIMARY KEY, l paint[]); INSERT INTO lists VALUES (1, '{red,green}'), (2, NULL);
		CREATE TABLE places (id int PRIMARY KEY, p spot, q place[]); INSERT INTO places VALUES (1, '(1,2,red)', ARRAY['(3,4,green)'::place]), (2, NULL, NULL)`)
	both := []*pipeline{newPipeline(t, server, "duckdb", database), newPipeline(t, server, "postgres", database)}
	logs := make([]said, len(both))
	for i, p := range both {
		p.log = slog.New(slog.NewTextHandler(&logs[i], &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	catchUp(t, both...)
	for _, step := range []struct {
		sql    string
		loaded []string
	}{
		{`ALTER TYPE colour ADD VALUE 'blue' BEFORE 'green'`, nil},
		{`INSERT INTO enums VALUES (3, 'blue')`, nil},
		{`ALTER TYPE colour RENAME VALUE 'red' TO 'crimson'; INSERT INTO enums VALUES (4, 'crimson')`, []string{"enums", "lists", "places"}},
		{`ALTER TYPE place ADD ATTRIBUTE z int`, []string{"places"}},
		{`UPDATE places SET p = '(5,6,blue,7)' WHERE id = 2; ALTER TYPE place DROP ATTRIBUTE y; ALTER TYPE colour ADD VALUE 'white'`, []string{"places"}},
		{`INSERT INTO places VALUES (3, '(8,white,9)', NULL); DELETE FROM places WHERE id = 1; INSERT INTO plain VALUES (2, 'two')`, nil},
	} {
		exec(t, server, database, step.sql)
		catchUp(t, both...)
		for i, p := range both {
			text := logs[i].take()
			for _, table := range []string{"plain", "enums", "lists", "places"} {
				p.equal(t, table)
				want := strings.Contains(strings.Join(step.loaded, " "), table)
				again := regexp.MustCompile(`loading a table again.* table=` + database + `\.public\.` + table + ` `)
				if got := again.MatchString(text); got != want {
					t.Errorf("%s, %s: table %s was loaded again: %v\n%s", p.destination, step.sql, table, got, text)
				}
			}
			p.verify(t)
		}
	}
}
