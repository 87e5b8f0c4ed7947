// Package confusable owns which characters look like others: the skeletons of UTS #39 §4, for the
// characters that a username may have. It is pure.
package confusable

import (
	_ "embed"
	"sort"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

//go:generate go run ./gen

// table has a line for each character, with the text that it looks like, in the order of bytes. It
// is searched as it is, so that a process that registers nobody pays nothing for it.
//
//go:embed table.txt
var table string

// Skeleton is the same for texts that look alike. It is in lower case and in the normal form NFC.
// An ASCII character stands for itself, so each plain Latin name is its own skeleton.
func Skeleton(s string) string {
	var b strings.Builder
	for _, r := range norm.NFD.String(s) {
		b.WriteString(Prototype(r))
	}
	return norm.NFC.String(strings.ToLower(b.String()))
}

// Prototype is the text that a character looks like. It may be the character itself.
func Prototype(r rune) string {
	self := string(r)
	if r < utf8.RuneSelf {
		return self
	}
	at := sort.Search(len(table), func(i int) bool { return line(i) >= self })
	if at < len(table) {
		if looks, ok := strings.CutPrefix(line(at), self); ok {
			return looks
		}
	}
	return self
}

// line is the line with the byte at i, without its line feed.
func line(i int) string {
	start := strings.LastIndexByte(table[:i], '\n') + 1
	text, _, _ := strings.Cut(table[start:], "\n")
	return text
}
