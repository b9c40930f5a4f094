package capability

import "regexp"

// askHint says what Ask takes.
const askHint = "only questions are asked: one SELECT, VALUES, TABLE, SHOW, DESCRIBE or EXPLAIN; to change the destination stop Leat and use the database's own client"

// refuseAsk is the answer to a statement that is no question.
func refuseAsk(why string) error { return &Error{Class: Question, Message: why, Hint: askHint} }

// explainHead finds what stands before the statement that an EXPLAIN is of.
var explainHead = regexp.MustCompile(`(?i)^\s*explain(\s+analyze\b|\s*\([^)]*\))?`)
