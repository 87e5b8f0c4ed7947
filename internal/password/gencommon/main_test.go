package main

import (
	"bytes"
	"os"
	"testing"
)

func TestCommittedListIsWhatTheGeneratorWrites(t *testing.T) {
	t.Parallel()
	committed, err := os.ReadFile("../common.txt")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committed, list()) {
		t.Error("common.txt differs from its source: run go generate ./internal/password")
	}
}
