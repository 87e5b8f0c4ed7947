package verify_test

import (
	"os"
	"testing"

	"gatehouse/internal/dbtest"
)

func TestMain(m *testing.M) {
	if os.Getenv("RUN_EXAMPLE") != "" {
		Example()
		return
	}
	dbtest.Main(m)
}
