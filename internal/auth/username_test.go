package auth

import (
	"testing"
	"unicode/utf8"
)

// A name must have one key, and that key must have itself for a key. Otherwise one account could be
// registered twice.
func FuzzUsername(f *testing.F) {
	for _, name := range []string{
		"alice", "Alice", "ａｌｉｃｅ", "ǅ", "ﬁ", "İ", "ς", "e\u0301", "\xff", "", "田中", "Å", "אב1",
		"\u1e9b\u0323", "דוד@example.com", "a＠b", "א@ב@c", "@", "דוד@",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, given string) {
		name, err := newUsername(given)
		if err != nil {
			return
		}
		if name.Given != given || name.Key == "" || len(name.Key) > utf8.UTFMax*MaxUsernameLength ||
			isTooLong(name.Key) || !utf8.ValidString(name.Key) {
			t.Errorf("%q has the key %q", given, name.Key)
		}
		if again, err := parseUsername(name.Key); err != nil || again.Key != name.Key {
			t.Errorf("%q has the key %q, which has the key %q, %v", given, name.Key, again.Key, err)
		}
	})
}
