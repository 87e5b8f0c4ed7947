package confusable

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestNamesThatLookAlikeHaveOneSkeleton(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"\ua4ee\ua4d3\ua4df\ua4f2\ua4e0": "admln", // Lisu, in which capital i is a small L
		"al\u0131ce":                     "alice", // without a dot
		"\u0430\u0440\u0440\u04cf\u0435": "apple", // Cyrillic
		"ren\u00e9":                      "ren\u00e9",
		"rene\u0301":                     "ren\u00e9",
		"modem":                          "modem",
		"modern":                         "modern",
		"":                               "",
	} {
		if got := Skeleton(name); got != want {
			t.Errorf("%+q has the skeleton %+q, want %+q", name, got, want)
		}
	}
	if Skeleton("\u0639\u0644\u06cc") != Skeleton("\u0639\u0644\u0649") { // two letters that look alike at the end
		t.Error("a name has different skeletons in Arabic and in Persian letters")
	}
}

// The table is searched as it stands: one line out of order hides others.
func TestTheTableIsInOrderAndHasNoASCII(t *testing.T) {
	t.Parallel()
	lines := strings.Split(strings.TrimSuffix(table, "\n"), "\n")
	if !slices.IsSorted(lines) || len(lines) < 1500 {
		t.Errorf("%d lines, sorted: %t", len(lines), slices.IsSorted(lines))
	}
	for _, l := range lines {
		r, size := utf8.DecodeRuneInString(l)
		if r < utf8.RuneSelf || size == len(l) || Prototype(r) != l[size:] {
			t.Errorf("%q is found as %q", l, Prototype(r))
		}
	}
	for r := range rune(utf8.RuneSelf) {
		if Prototype(r) != string(r) {
			t.Errorf("%q looks like %q", r, Prototype(r))
		}
	}
}

func FuzzSkeleton(f *testing.F) {
	for _, seed := range []string{"alice", "al\u0131ce", "\xff", "\u0344", "\u1e9e", "\U00010400"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if got := Skeleton(name); utf8.ValidString(name) && !utf8.ValidString(got) {
			t.Errorf("%+q has the skeleton %+q", name, got)
		}
	})
}
