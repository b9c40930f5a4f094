package schemaproof

// change is a table and what becomes of it.
type change struct {
	table  string // at the end
	create string // makes and fills it
	// steps are transactions; each may hold several statements.
	steps []string
	// kept are columns that only the destination has at the end.
	kept []string
}

// changes are one for each kind that the pipeline file names, and those that
// go wrong most easily. Every one has rows before, between and after.
var changes = []change{
	{
		table:  "added",
		create: `CREATE TABLE added (id int PRIMARY KEY, v text); INSERT INTO added SELECT n, 'old ' || n FROM generate_series(1, 9) n`,
		steps: []string{
			`UPDATE added SET v = 'before' WHERE id = 1; INSERT INTO added VALUES (10, 'before'); ALTER TABLE added ADD plain int;
			 UPDATE added SET plain = 2 WHERE id = 2; ALTER TABLE added ADD seven int DEFAULT 7; UPDATE added SET seven = 8 WHERE id = 3; INSERT INTO added VALUES (11, 'after')`,
			`ALTER TABLE added ADD moment timestamptz NOT NULL DEFAULT '2020-02-02 02:02:02.020202+00', ADD list text[] DEFAULT '{new,NULL}', ADD raw bytea DEFAULT '\x00ff'`,
			`ALTER TABLE added ADD amount numeric(10,3) DEFAULT 1.5, ADD doc jsonb DEFAULT '{"a": "\"b\" \\ c"}', ADD yes bool DEFAULT true, ADD far date DEFAULT 'infinity',
			 ADD word text DEFAULT E'it''s {a}, "b" \\ c', ADD at timestamptz DEFAULT now(), ADD part float8 DEFAULT 'NaN', ADD small smallint DEFAULT -1;
			 INSERT INTO added (id, v) VALUES (12, 'last'); DELETE FROM added WHERE id = 4; UPDATE added SET word = NULL WHERE id = 5`,
		},
	},
	{
		table:  "volatile",
		create: `CREATE TABLE volatile (id int PRIMARY KEY); INSERT INTO volatile SELECT generate_series(1, 9)`,
		steps: []string{
			`INSERT INTO volatile VALUES (20)`,
			`ALTER TABLE volatile ADD chance float8 DEFAULT random(); ALTER TABLE volatile ADD number serial; DELETE FROM volatile WHERE id = 2`,
			`INSERT INTO volatile VALUES (30)`,
		},
	},
	{
		table:  "renamed",
		create: `CREATE TABLE renamed (id int PRIMARY KEY, a text, b text, c text); INSERT INTO renamed SELECT n, 'a' || n, 'b' || n, 'c' || n FROM generate_series(1, 9) n`,
		steps: []string{
			`UPDATE renamed SET a = 'before' WHERE id = 1; ALTER TABLE renamed RENAME a TO x; UPDATE renamed SET x = 'after' WHERE id = 2; INSERT INTO renamed VALUES (10, 'x')`,
			`ALTER TABLE renamed RENAME b TO tmp; ALTER TABLE renamed RENAME c TO b; ALTER TABLE renamed RENAME tmp TO c; UPDATE renamed SET b = 'was c' WHERE id = 3; INSERT INTO renamed VALUES (11, 'x', 'c', 'b')`,
			`ALTER TABLE renamed RENAME id TO key; UPDATE renamed SET key = 100 WHERE key = 4; DELETE FROM renamed WHERE key = 5; UPDATE renamed SET c = 'key renamed' WHERE key = 1`,
		},
	},
	{
		table:  "dropped",
		create: `CREATE TABLE dropped (id int PRIMARY KEY, a text, b text, c int); INSERT INTO dropped SELECT n, 'a' || n, 'b' || n, n FROM generate_series(1, 9) n`,
		steps: []string{
			`UPDATE dropped SET b = 'before' WHERE id = 1; ALTER TABLE dropped DROP b; UPDATE dropped SET a = 'after' WHERE id = 2; INSERT INTO dropped VALUES (10, 'new', 10)`,
			`ALTER TABLE dropped DROP c, ADD c text; INSERT INTO dropped VALUES (11, 'new', 'c is text'); UPDATE dropped SET a = 'again' WHERE id = 3`,
			`ALTER TABLE dropped DROP a; ALTER TABLE dropped ADD a text DEFAULT 'fresh'; UPDATE dropped SET a = 'set' WHERE id = 6`,
		},
		kept: []string{"b", "c_dropped_4", "a_dropped_2"},
	},
	{
		table:  "recreated",
		create: `CREATE TABLE recreated (id int PRIMARY KEY, a text); INSERT INTO recreated SELECT n, 'a' || n FROM generate_series(1, 9) n`,
		steps: []string{
			`UPDATE recreated SET a = 'before' WHERE id = 1`,
			`ALTER TABLE recreated DROP a; ALTER TABLE recreated ADD a text; UPDATE recreated SET a = 'after' WHERE id = 2`,
			`INSERT INTO recreated VALUES (10, 'last')`,
		},
		kept: []string{"a_dropped_2"},
	},
	{
		table: "widened",
		create: `CREATE TABLE widened (id int PRIMARY KEY, n smallint, d numeric(6,2), s varchar(5), f real, t date);
			INSERT INTO widened SELECT n, n, n + 0.25, 's' || n, n + 0.5, date '2020-01-01' + n FROM generate_series(1, 9) n`,
		steps: []string{
			`UPDATE widened SET n = 100 WHERE id = 1; ALTER TABLE widened ALTER n TYPE int, ALTER d TYPE numeric(12,2), ALTER s TYPE varchar(50), ALTER f TYPE float8; UPDATE widened SET n = 100000, d = 12345678.25, s = 'much longer' WHERE id = 2`,
			`ALTER TABLE widened ALTER id TYPE bigint, ALTER n TYPE bigint, ALTER d TYPE numeric, ALTER s TYPE text, ALTER t TYPE timestamp; INSERT INTO widened VALUES (10000000000, 10000000000, 0.123456789, 'text', 0.1, '2020-01-01 10:00:00')`,
			`UPDATE widened SET n = 1 WHERE id = 3; DELETE FROM widened WHERE id = 4`,
		},
	},
	{
		table: "narrowed",
		create: `CREATE TABLE narrowed (id int PRIMARY KEY, n bigint, s text, d numeric(12,4), t timestamptz);
			INSERT INTO narrowed SELECT n, n, 's' || n, n + 0.25, timestamptz '2020-01-01 10:00:00+00' + n * interval '1 hour' FROM generate_series(1, 9) n`,
		steps: []string{
			`UPDATE narrowed SET n = 100 WHERE id = 1; ALTER TABLE narrowed ALTER n TYPE smallint, ALTER s TYPE varchar(10); UPDATE narrowed SET n = 200 WHERE id = 2`,
			`ALTER TABLE narrowed ALTER d TYPE numeric(8,1), ALTER t TYPE date; INSERT INTO narrowed VALUES (10, 1, 's', 2.5, '2021-01-01')`,
		},
	},
	{
		table: "retyped",
		create: `CREATE TABLE retyped (id int PRIMARY KEY, a int, b text, c bool, d int, e timestamptz, f float8);
			INSERT INTO retyped SELECT n, n, n::text, n % 2 = 0, n, timestamptz '2020-01-01 10:00:00+00' + n * interval '1 hour', n + 0.5 FROM generate_series(1, 9) n`,
		steps: []string{
			`UPDATE retyped SET a = 100 WHERE id = 1; ALTER TABLE retyped ALTER a TYPE text USING 'no. ' || a, ALTER b TYPE int USING b::int * 2; UPDATE retyped SET a = 'text' WHERE id = 2; INSERT INTO retyped (id, a, b) VALUES (10, 'a', 1)`,
			`ALTER TABLE retyped ALTER c TYPE int USING c::int, ALTER d TYPE int USING d * 100; UPDATE retyped SET c = 7 WHERE id = 3`,
			`ALTER TABLE retyped ALTER e TYPE bigint USING extract(epoch FROM e)::bigint, ALTER f TYPE text USING f::text; UPDATE retyped SET e = 1 WHERE id = 4; DELETE FROM retyped WHERE id = 5`,
		},
	},
	{
		table:  "keyed",
		create: `CREATE TABLE keyed (id int PRIMARY KEY, other int NOT NULL, v text); INSERT INTO keyed SELECT n, n + 100, 'v' || n FROM generate_series(1, 9) n`,
		steps: []string{
			`DELETE FROM keyed WHERE id = 9; ALTER TABLE keyed DROP CONSTRAINT keyed_pkey; ALTER TABLE keyed ADD PRIMARY KEY (other); UPDATE keyed SET id = 1000 WHERE other = 101; INSERT INTO keyed VALUES (1000, 110, 'same id')`,
			`ALTER TABLE keyed DROP CONSTRAINT keyed_pkey; ALTER TABLE keyed ADD PRIMARY KEY (v, other); UPDATE keyed SET other = 0 WHERE v = 'v2'; DELETE FROM keyed WHERE v = 'v3'; INSERT INTO keyed VALUES (1, 109, 'other again')`,
		},
	},
	{
		table:  "unkeyed",
		create: `CREATE TABLE unkeyed (id int PRIMARY KEY, v text); INSERT INTO unkeyed SELECT n, 'v' || n FROM generate_series(1, 9) n`,
		steps: []string{
			`UPDATE unkeyed SET v = 'before' WHERE id = 1`,
			`ALTER TABLE unkeyed DROP CONSTRAINT unkeyed_pkey; INSERT INTO unkeyed VALUES (1, 'twice')`,
		},
	},
	{
		table:  "became_keyed",
		create: `CREATE TABLE became_keyed (id int, v text); INSERT INTO became_keyed SELECT n, 'v' || n FROM generate_series(1, 9) n`,
		steps: []string{
			`INSERT INTO became_keyed VALUES (10, 'before')`,
			`ALTER TABLE became_keyed ADD PRIMARY KEY (id); INSERT INTO became_keyed VALUES (11, 'after')`,
			`INSERT INTO became_keyed VALUES (12, 'last')`,
		},
	},
	{
		table: "listed",
		create: `CREATE TYPE colour AS ENUM ('red', 'green'); CREATE DOMAIN small AS int CHECK (VALUE < 1000); CREATE TABLE listed (id int PRIMARY KEY, c colour, s small);
			INSERT INTO listed SELECT n, 'red', n FROM generate_series(1, 9) n`,
		steps: []string{
			`INSERT INTO listed VALUES (20, 'green', 20)`,
			`ALTER TYPE colour ADD VALUE 'blue' BEFORE 'green'`,
			`INSERT INTO listed VALUES (21, 'blue', 21); UPDATE listed SET c = 'blue' WHERE id = 1`,
			`CREATE DOMAIN wide AS bigint; ALTER TABLE listed ALTER s TYPE wide; DROP DOMAIN small; INSERT INTO listed VALUES (22, 'red', 10000000000)`,
			`CREATE TYPE paint AS ENUM ('red', 'green', 'blue', 'white'); ALTER TABLE listed ALTER c TYPE paint USING c::text::paint; DROP TYPE colour; INSERT INTO listed VALUES (23, 'white', 23)`,
		},
	},
	{
		table:  "called_otherwise",
		create: `CREATE TABLE called_so (id int PRIMARY KEY, v text); INSERT INTO called_so SELECT n, 'v' || n FROM generate_series(1, 9) n`,
		steps: []string{
			`UPDATE called_so SET v = 'before' WHERE id = 1; ALTER TABLE called_so RENAME TO called_otherwise; UPDATE called_otherwise SET v = 'after' WHERE id = 2; DELETE FROM called_otherwise WHERE id = 3`,
			`INSERT INTO called_otherwise VALUES (10, 'last')`,
		},
	},
	{
		table:  "log_only", // nothing but the change
		create: `CREATE TABLE log_only (id int PRIMARY KEY, n int); INSERT INTO log_only SELECT n, n FROM generate_series(1, 9) n`,
		steps:  []string{`ALTER TABLE log_only ALTER n TYPE int USING n * 10`},
	},
	{
		table:  "without_key",
		create: `CREATE TABLE without_key (id int, v text); INSERT INTO without_key SELECT n, 'v' || n FROM generate_series(1, 9) n`,
		steps: []string{
			`INSERT INTO without_key VALUES (1, 'v1'); ALTER TABLE without_key ADD d int DEFAULT 5; INSERT INTO without_key VALUES (10, 'ten', 10)`,
			`ALTER TABLE without_key RENAME v TO w; ALTER TABLE without_key ALTER id TYPE text USING 'no. ' || id; INSERT INTO without_key VALUES ('eleven', 'w', 11)`,
		},
	},
}
