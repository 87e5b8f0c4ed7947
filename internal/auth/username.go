package auth

import (
	"errors"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

// MaxUsernameLength is in characters, both of the name as given and of its key.
const MaxUsernameLength = 64

// Username is a name as its owner wrote it and the key by which it is found: two names with one key are the
// same account.
type Username struct {
	Given string
	Key   string
}

var (
	errNameEmpty      = errors.New("must not be empty")
	errNameLong       = errors.New("must have at most 64 characters")
	errNameCharacters = errors.New("may have letters, digits and punctuation, but no spaces, symbols or control characters")
	errNameMixed      = errors.New("must not mix letters of different scripts, which can be mistaken for each other")
	errNameLookalike  = errors.New("must not look like a name in Latin letters that it is not")
)

// parseUsername finds the key of a name by the profile UsernameCaseMapped of PRECIS (RFC 8265 §3.3): width and
// case are folded, so that "Alice" and "ａｌｉｃｅ" are "alice".
func parseUsername(given string) (Username, error) {
	switch {
	case given == "":
		return Username{}, errNameEmpty
	// The bytes first: counting the characters of a megabyte is work that a stranger could order.
	case len(given) > utf8.UTFMax*MaxUsernameLength, utf8.RuneCountInString(given) > MaxUsernameLength:
		return Username{}, errNameLong
	}
	key, err := precis.UsernameCaseMapped.String(given)
	if err != nil {
		return Username{}, errNameCharacters
	}
	// The profile is not idempotent for every string (RFC 8264 §7), and a key that has a key of its own
	// would be two accounts.
	if again, err := precis.UsernameCaseMapped.String(key); err != nil || again != key {
		return Username{}, errNameCharacters
	}
	if utf8.RuneCountInString(key) > MaxUsernameLength {
		return Username{}, errNameLong
	}
	return Username{Given: given, Key: key}, nil
}

// newUsername is parseUsername for a name that is to be registered: it must not pass for another one.
func newUsername(given string) (Username, error) {
	name, err := parseUsername(given)
	if err != nil {
		return Username{}, err
	}
	return name, checkConfusable(name.Key)
}

// checkConfusable refuses the names by which one account could pose as another: those that mix scripts beyond
// what UTS #39 §5.2 calls highly restrictive, those written wholly in the letters of another script that look
// Latin (§4), and the phonetic twins of Latin letters.
func checkConfusable(key string) error {
	scripts, latinShaped := map[string]bool{}, true
	for _, r := range key {
		if unicode.Is(phonetic(), r) {
			return errNameLookalike
		}
		script := scriptOf(r)
		if script == "" {
			continue
		}
		scripts[script] = true
		latinShaped = latinShaped && isLatinShaped(r)
	}
	if !mayMix(scripts) {
		return errNameMixed
	}
	if len(scripts) > 0 && latinShaped {
		return errNameLookalike
	}
	return nil
}

// scriptOf is empty for characters that belong to no single script, like digits and punctuation.
func scriptOf(r rune) string {
	if unicode.In(r, unicode.Common, unicode.Inherited) {
		return ""
	}
	for _, common := range []string{"Latin", "Cyrillic", "Greek", "Han", "Hiragana", "Katakana", "Hangul", "Arabic"} {
		if unicode.Is(unicode.Scripts[common], r) {
			return common
		}
	}
	for name, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			return name
		}
	}
	return "" // not reached: PRECIS refuses what is unassigned
}

// mayMix: one script alone, or one of the sets in which Chinese, Japanese and Korean are written beside Latin.
func mayMix(scripts map[string]bool) bool {
	if len(scripts) <= 1 {
		return true
	}
	for _, set := range [][]string{
		{"Latin", "Han", "Hiragana", "Katakana"},
		{"Latin", "Han", "Bopomofo"},
		{"Latin", "Han", "Hangul"},
	} {
		found := 0
		for _, s := range set {
			if scripts[s] {
				found++
			}
		}
		if found == len(scripts) {
			return true
		}
	}
	return false
}

// isLatinShaped: lower-case Cyrillic, Greek and Armenian letters that most typefaces draw as Latin ones.
func isLatinShaped(r rune) bool {
	switch r {
	case 'а', 'в', 'е', 'ѕ', 'і', 'ј', 'к', 'м', 'н', 'о', 'р', 'с', 'т', 'у', 'х', 'ү', 'һ', 'ӏ', 'ԁ', 'ԛ', 'ԝ', 'ѵ', 'ь', 'п', 'г',
		'α', 'γ', 'ι', 'κ', 'ν', 'ο', 'ρ', 'σ', 'τ', 'υ', 'χ', 'ω', 'η', 'ϲ', 'ϳ',
		'ո', 'ս', 'օ', 'հ', 'ց', 'զ':
		return true
	}
	return false
}

// phonetic is the Unicode blocks of letters for phonetic transcription, in which no name is written.
func phonetic() *unicode.RangeTable {
	return &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x0250, Hi: 0x02AF, Stride: 1}, {Lo: 0x1D00, Hi: 0x1DBF, Stride: 1}}}
}
