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

// printLines prints each of some things as a line of JSON or, under a head, as a row of a table.
func printLines[T, L any](t terminal, asJSON bool, head []string, all []T, line func(T) L, row func(L) []string) error {
	rows := [][]string{head}
	for _, one := range all {
		l := line(one)
		if !asJSON {
			rows = append(rows, row(l))
		} else if err := printJSONLine(t, l); err != nil {
			return err
		}
	}
	if asJSON {
		return nil
	}
	return printTable(t, rows)
}

func timeOr(at *time.Time, otherwise string) string {
	if at == nil {
		return otherwise
	}
	return at.UTC().Format(time.RFC3339)
}
