package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

func printJSON(t terminal, v any) error {
	encoder := json.NewEncoder(t.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

func printJSONLine(t terminal, v any) error { return json.NewEncoder(t.out).Encode(v) }

func printTable(t terminal, rows [][]string) error {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

func timeOr(at *time.Time, otherwise string) string {
	if at == nil {
		return otherwise
	}
	return at.UTC().Format(time.RFC3339)
}
