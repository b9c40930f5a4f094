package conformance

// scenario is the stories that show one capability, whose name is of lower-case
// words with hyphens.
type scenario struct {
	capability string
	cases      []testCase
}

const people = "id bigint key, name text, note text"

// lifeOfTwoTables has everything in few deliveries, each over both tables.
var lifeOfTwoTables = testCase{"a life of two tables", `
table a: id bigint key, name text, note text
op | id | name | note
read | 1 | one | long
read | 2 | two | long
read | 3 | three | null
table b: id bigint key, name text, note text
op | id | name | note
read | 1 | b one | x
---
table a:
op | id | name | note
update | 1 | "ONE" | unchanged
insert | 4 | four | new
delete | 2 | unchanged | unchanged
old key | 3 | unchanged | unchanged
update | 5 | moved | unchanged
table b:
op | id | name | note
insert | 2 | b two | y
---
table a: id bigint key, name text, note text, extra integer
op | id | name | note | extra
insert | 2 | again | back | 8
update | 4 | unchanged | null | 9
table b:
op | id | name | note
truncate | unchanged | unchanged | unchanged
insert | 3 | b three | z
---
table a:
op | id | name | note | extra
delete | 1 | unchanged | unchanged | unchanged
table b:
op | id | name | note
delete | 3 | unchanged | unchanged
`}

var scenarios = []scenario{
	{"changes", []testCase{
		{"an initial load, then changes", `
table t: ` + people + `
op | id | name | note
read | 1 | one | a
read | 2 | two | null
---
table t:
op | id | name | note
insert | 3 | three | "it's \"quoted\" \\ and | barred"
update | 1 | "uno\n" | "ünï 😀"
delete | 2 | unchanged | unchanged
---
table t:
op | id | name | note
insert | 2 | "" | " "
update | 2 | null | null
delete | 3 | unchanged | unchanged
insert | 3 | again | b`},
		{"a row that comes and goes in one batch", `
table t: ` + people + `
op | id | name | note
insert | 1 | a | b
update | 1 | c | unchanged
delete | 1 | unchanged | unchanged
insert | 2 | stays | d`},
		{"a delete of a row that is not there", `
table t: ` + people + `
op | id | name | note
insert | 1 | a | b
---
table t:
op | id | name | note
delete | 9 | unchanged | unchanged`},
		{"a batch of a thousand rows", "\ntable t: " + people + "\n" + many("read", 1000)},
	}},
	{"unchanged-values", []testCase{
		{"an update that leaves a value out", `
table t: ` + people + `
op | id | name | note
insert | 1 | a | kept
insert | 2 | b | kept, too
---
table t:
op | id | name | note
update | 1 | c | unchanged
update | 2 | unchanged | new`},
		{"an insert and a partial update of one key in one batch", `
table t: ` + people + `
op | id | name | note
insert | 1 | a | kept
update | 1 | b | unchanged`},
		{"a value that stays through a change of the key", `
table t: ` + people + `
op | id | name | note
insert | 1 | a | kept
---
table t:
op | id | name | note
old key | 1 | unchanged | unchanged
update | 2 | b | unchanged`},
	}},
	{"key-changes", []testCase{
		{"a row that moves", `
table t: ` + people + `
op | id | name | note
insert | 1 | a | x
---
table t:
op | id | name | note
old key | 1 | unchanged | unchanged
update | 2 | a | x
insert | 1 | new | y`},
		{"two rows that swap their keys over a third", `
table t: ` + people + `
op | id | name | note
insert | 1 | a | of a
insert | 2 | b | of b
---
table t:
op | id | name | note
old key | 1 | unchanged | unchanged
update | 3 | a | unchanged
old key | 2 | unchanged | unchanged
update | 1 | b | unchanged
old key | 3 | unchanged | unchanged
update | 2 | a | unchanged`},
		{"a key of several columns", `
table t: a bigint key, b text key, v text
op | a | b | v
insert | 1 | x | one
insert | 1 | y | two
---
table t:
op | a | b | v
old key | 1 | x | unchanged
update | 1 | z | moved
delete | 1 | y | unchanged`},
		{"a row that moves to the key of one that was deleted", `
table t: ` + people + `
op | id | name | note
insert | 1 | a | of a
insert | 2 | b | of b
---
table t:
op | id | name | note
delete | 2 | unchanged | unchanged
old key | 1 | unchanged | unchanged
update | 2 | a | unchanged`},
	}},
	{"truncate", []testCase{
		{"a truncate between rows", `
table t: ` + people + `
op | id | name | note
insert | 1 | a | x
insert | 2 | b | y
---
table t:
op | id | name | note
insert | 3 | c | z
truncate | unchanged | unchanged | unchanged
insert | 2 | anew | w
---
table t:
op | id | name | note
truncate | unchanged | unchanged | unchanged`},
		{"a truncate of one of two tables", `
table t: ` + people + `
op | id | name | note
insert | 1 | a | x
table u: ` + people + `
op | id | name | note
insert | 1 | b | y
---
table t:
op | id | name | note
truncate | unchanged | unchanged | unchanged`},
	}},
	{"schema-changes", []testCase{
		{"a column is added, with its default in the rows that are there", `
table t: ` + people + `
op | id | name | note
insert | 1 | a | x
---
table t: ` + people + `, extra integer, more text default given
op | id | name | note | extra | more
insert | 2 | b | y | 5 | own
update | 1 | c | unchanged | unchanged | unchanged`},
		{"a column is dropped", `
table t: ` + people + `
op | id | name | note
insert | 1 | a | x
---
table t: id bigint key, name text
op | id | name
insert | 2 | b
update | 1 | c`},
		{"a column is renamed", `
table t: ` + people + `
op | id | name | note
insert | 1 | a | x
---
table t: id bigint key, name text, note -> remark text
op | id | name | remark
insert | 2 | b | y
update | 1 | c | unchanged`},
		{"a column is widened", `
table t: id bigint key, n integer
op | id | n
insert | 1 | 5
---
table t: id bigint key, n bigint
op | id | n
insert | 2 | 5000000000`},
		{"rows before and after a change in one delivery", `
table t: ` + people + `
op | id | name | note
insert | 1 | a | x
table t: ` + people + `, extra integer
op | id | name | note | extra
insert | 2 | b | y | 5`},
	}},
	{"keyless-tables", []testCase{
		{"equal rows are all kept", `
table t: id bigint, name text
op | id | name
insert | 1 | a
insert | 1 | a
---
table t:
op | id | name
insert | 1 | a
insert | 2 | null`},
		{"a truncate", `
table t: id bigint, name text
op | id | name
insert | 1 | a
---
table t:
op | id | name
truncate | unchanged | unchanged
insert | 2 | b`},
	}},
}
