package shortcode

import (
	"strings"
	"testing"
)

// Codes that are out must stay good. The values are those of the Base32 of RFC 4648, in Crockford's
// alphabet.
func TestBitsAreWrittenFromTheFirstToTheLast(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		"":                     "",
		"\x00":                 "00",
		"\xff":                 "ZW",
		"\x00\x44\x32\x14\xc7": "01234567",
		"\xff\xff\xff\xff\xff": "ZZZZZZZZ",
		"foobar":               "CSQPYRK1E8",
		"\x80\x00\x00\x00\x00\x00\x00\x00\x00\x01": "G000000000000001",
	} {
		if got := Encode([]byte(data)); got != want {
			t.Errorf("%x is written as %s, want %s", data, got, want)
		}
	}
}

func TestACodeIsShownInGroupsOfFour(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"": "", "ABC": "ABC", "ABCD": "ABCD", "ABCDE": "ABCD-E", "0123456789ABCDEF": "0123-4567-89AB-CDEF",
	} {
		if got := Shown(code); got != want {
			t.Errorf("%s is shown as %s, want %s", code, got, want)
		}
	}
}

// People type what they see, on keyboards of telephones.
func TestACodeIsReadHoweverItIsTyped(t *testing.T) {
	t.Parallel()
	const code = "0189ABYZ"
	for _, typed := range []string{
		code, "0189-ABYZ", "0189-abyz", " 0189 ABYZ\t", "0 1 8 9 A B Y Z", "0189–ABYZ", "0189\u00a0ABYZ",
		"0189\u2011ABYZ", "O189ABYZ", "o189abyz", "0I89ABYZ", "0l89ABYZ", "--0189ABYZ--",
	} {
		if got, ok := Read(typed, len(code)); !ok || got != code {
			t.Errorf("%q is read as %q, %t", typed, got, ok)
		}
	}
	for _, typed := range []string{
		"", "-", code[:7], code + "0", code[:7] + "U", code[:7] + "é", code + "\x00", "0189_ABYZ", "0189\nABYZ",
		strings.Repeat(" ", MostTyped) + code, "\uff10189ABYZ", "0189ABY\xff",
	} {
		if got, ok := Read(typed, len(code)); ok {
			t.Errorf("%q is read as %q", typed, got)
		}
	}
}

// FuzzWhatIsTypedAsACode wants whatever is read as a code to be one, and to be read again as the
// same.
func FuzzWhatIsTypedAsACode(f *testing.F) {
	for _, seed := range []string{
		"", "0123-4567", "oilO-1234", "ABCD EFGH", "\u00a0", "ﬀ", "ıIiİ", "0000000\xff", "ſ",
		"0123-4567-89AB-CDEF",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		for _, letters := range []int{8, 16} {
			code, ok := Read(typed, letters)
			if !ok {
				continue
			}
			if len(code) != letters || strings.Trim(code, Alphabet) != "" {
				t.Errorf("%q is read as %q", typed, code)
			}
			if again, ok := Read(Shown(code), letters); !ok || again != code {
				t.Errorf("%q is read as %q, and that as %q", typed, code, again)
			}
		}
	})
}
