package pdk

import "fmt"

// Level is the importance of a log line.
type Level int32

// The levels.
const (
	LevelDebug Level = iota
	LevelInfo
	LevelWarn
	LevelError
)

// Logf writes a line to Leat's log under the plugin's name. The host cuts long
// lines and drops what is too much.
func Logf(l Level, format string, args ...any) { hostLog(l, fmt.Sprintf(format, args...)) }
