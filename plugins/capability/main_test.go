package capability

import (
	"os"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

func TestMain(m *testing.M) { os.Exit(pgserver.Main(m)) }
