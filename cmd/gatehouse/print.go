package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// printJSON prints a thing as JSON on one line. Every command does so with each thing. So a program
// can read any output line by line, and need not wait for the end of a list.
func printJSON(t terminal, v any) error { return json.NewEncoder(t.out).Encode(v) }

// printDone says what was done to what, in words or as a line of JSON.
func printDone(t terminal, asJSON bool, done string, what, line any) error {
	if asJSON {
		return printJSON(t, line)
	}
	_, err := fmt.Fprintf(t.out, "%s: %v\n", done, what)
	return err
}

// printTable prints rows in columns.
func printTable(t terminal, rows [][]string) error {
	var table table
	for _, row := range rows {
		table.fit(row)
	}
	for _, row := range rows {
		if err := table.print(t, row); err != nil {
			return err
		}
	}
	return nil
}

// printLines prints each of some things as a line of JSON or, under a head, as a row of a table.
func printLines[T, L any](t terminal, asJSON bool, head []string, all []T, line func(T) L, row func(L) []string) error {
	lines := make([]L, len(all))
	for n, one := range all {
		lines[n] = line(one)
	}
	p := list[L]{t: t, asJSON: asJSON, head: head, row: row}
	p.fit(lines...)
	return p.print(lines...)
}

// list prints things one by one, while nobody knows how many come: each as a line of JSON or, under
// a head, as a row of a table.
type list[L any] struct {
	t      terminal
	asJSON bool
	head   []string // nil once it is printed
	row    func(L) []string
	table  table
}

// fit makes room in the table for lines that are to come.
func (p *list[L]) fit(lines ...L) {
	p.table.fit(p.head)
	for _, l := range lines {
		p.table.fit(p.row(l))
	}
}

// print prints the head first, also without a line.
func (p *list[L]) print(lines ...L) error {
	if p.asJSON {
		for _, l := range lines {
			if err := printJSON(p.t, l); err != nil {
				return err
			}
		}
		return nil
	}
	if p.head != nil {
		if err := p.table.print(p.t, p.head); err != nil {
			return err
		}
		p.head = nil
	}
	for _, l := range lines {
		if err := p.table.print(p.t, p.row(l)); err != nil {
			return err
		}
	}
	return nil
}

// table prints rows one by one. A column is as wide as its widest cell so far.
type table struct{ widths []int }

// fit makes room for a row that is to come.
func (c *table) fit(row []string) {
	for n, cell := range row {
		if n == len(c.widths) {
			c.widths = append(c.widths, 0)
		}
		c.widths[n] = max(c.widths[n], utf8.RuneCountInString(cell))
	}
}

func (c *table) print(t terminal, row []string) error {
	c.fit(row)
	var line strings.Builder
	for n, cell := range row[:len(row)-1] {
		line.WriteString(cell + strings.Repeat(" ", c.widths[n]-utf8.RuneCountInString(cell)+2))
	}
	_, err := fmt.Fprintln(t.out, line.String()+row[len(row)-1])
	return err
}

func timeOr(at *time.Time, otherwise string) string {
	if at == nil {
		return otherwise
	}
	return at.UTC().Format(time.RFC3339)
}
