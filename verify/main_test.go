package verify_test

import (
	"os"
	"testing"

	"gatehouse.example/internal/dbtest"
)

func TestMain(m *testing.M) {
	switch os.Getenv("RUN_EXAMPLE") {
	case "secret":
		Example()
		return
	case "public keys":
		Example_publicKeys()
		return
	case "a strong login":
		Example_strongLogin()
		return
	}
	dbtest.Main(m)
}
