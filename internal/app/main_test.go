package app_test

import (
	"testing"

	"gatehouse/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
