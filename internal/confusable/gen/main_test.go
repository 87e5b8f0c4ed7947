package main

import (
	"os"
	"testing"
)

func TestCommittedTableIsWhatTheGeneratorWrites(t *testing.T) {
	t.Parallel()
	committed, err := os.ReadFile("../table.txt")
	if err != nil {
		t.Fatal(err)
	}
	if string(committed) != table() {
		t.Error("table.txt differs from its source: run go generate ./internal/confusable")
	}
}
