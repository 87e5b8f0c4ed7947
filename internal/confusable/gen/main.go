// Command gen writes table.txt, the characters of usernames that look like others.
//
// Source: confusables.txt of the Unicode Security Mechanisms, version 17.0.0 (Unicode License v3),
// as ported in go.mau.fi/util v0.11.0 (MPL-2.0), package confusable. TABLE.md has the notices.
package main

import (
	"fmt"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.mau.fi/util/confusable"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
)

func main() {
	if err := os.WriteFile("table.txt", []byte(table()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// table has a line for each character: itself and what it looks like. It is in the order of bytes.
//
// Only characters that a username may have are in it, as they are once they are decomposed. ASCII
// ones are not: m would be rn and 0 would be O, so that modem and modern were one name.
func table() string {
	var lines strings.Builder
	names := precis.NewIdentifier()
	for r := rune(utf8.RuneSelf); r <= unicode.MaxRune; r++ {
		self := string(r)
		if _, err := names.String(self); err != nil || norm.NFD.String(self) != self {
			continue
		}
		if looks := strings.ReplaceAll(confusable.Skeleton(self), "rn", "m"); looks != self && looks != "" {
			lines.WriteString(self + looks + "\n")
		}
	}
	return lines.String()
}
