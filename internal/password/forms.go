package password

import (
	"slices"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// forms are the texts that a typed password may stand for.
type forms struct {
	own string // what Gatehouse hashes
	// others are what other programs may have hashed. own is not among them.
	others []string
}

// formsOf finds the forms of a password. Other programs hash the bytes as they come, or bring them
// into a normal form first (UAX #15). So a password with a no-break space, or one that a Mac typed
// with combining accents, has several.
//
// What cannot be prepared, such as a password with a tab, can be no new password. But it may have
// been imported: then its bytes are what Gatehouse hashes too.
func formsOf(typed string) forms {
	f := forms{own: typed}
	if isPrintableASCII(typed) {
		return f
	}
	if prepared, err := Prepare(typed); err == nil {
		f.own = prepared
	}
	candidates := []string{typed}
	if utf8.ValidString(typed) {
		candidates = append(candidates, norm.NFC.String(typed), norm.NFD.String(typed))
	}
	for _, c := range candidates {
		if c != f.own && !slices.Contains(f.others, c) {
			f.others = append(f.others, c)
		}
	}
	return f
}

func isPrintableASCII(s string) bool {
	for n := range len(s) {
		if s[n] < ' ' || s[n] > '~' {
			return false
		}
	}
	return true
}

// all has the form of our own first.
func (f forms) all() [][]byte {
	all := [][]byte{[]byte(f.own)}
	for _, other := range f.others {
		all = append(all, []byte(other))
	}
	return all
}
