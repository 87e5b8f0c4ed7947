package password

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"

	"gatehouse.example/internal/breached"
)

func TestPrepareRefusesWhatCannotBeAPassword(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		password string
		want     error
	}{
		"empty":                      {"", ErrTooShort},
		"257 characters":             {strings.Repeat("a", 257), ErrTooLong},
		"257 characters of 2 bytes":  {strings.Repeat("é", 257), ErrTooLong},
		"a megabyte":                 {strings.Repeat("a", 1<<20), ErrTooLong},
		"longer once normalized":     {strings.Repeat("\u0958", 256), ErrTooLong}, // decomposes into two
		"NUL":                        {"passw\x00rd", ErrCharacters},
		"line feed":                  {"passw\nrd", ErrCharacters},
		"DEL":                        {"passw\x7frd", ErrCharacters},
		"right-to-left override":     {"passw\u202erd", ErrCharacters},
		"soft hyphen":                {"passw\u00adrd", ErrCharacters},
		"joiner out of context":      {"passw\u200drd", ErrCharacters},
		"joiner after an emoji":      {"\U0001f468\u200drd", ErrCharacters},
		"joiner before an emoji":     {"pass\u200d\U0001f468", ErrCharacters},
		"joiner at the end":          {"\U0001f468\u200d", ErrCharacters},
		"zero-width space":           {"passw\u200brd", ErrCharacters},
		"tags of no flag":            {"\U0001f468\U000e0067\U000e007f", ErrCharacters},
		"a style alone":              {"\ufe0f", ErrTooShort},
		"invalid UTF-8":              {"passw\xffrd", ErrCharacters},
		"UTF-8 of half a surrogate":  {"passw\xed\xa0\x80rd", ErrCharacters},
		"overlong UTF-8 of a letter": {"passw\xc1\xafrd", ErrCharacters},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := Prepare(c.password); !errors.Is(err, c.want) || got != "" {
				t.Errorf("Prepare = %q, %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestPrepareKeepsWhatTheUserMeant(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"Correct Horse":                   "Correct Horse", // case and spaces count
		" lead, trail ":                   " lead, trail ",
		"a\u00a0b":                        "a b", // any space is the space
		"e\u0301":                         "é",
		"ｆｕｌｌ":                            "ｆｕｌｌ", // unlike in a username, width counts
		"pw 😀":                            "pw 😀",
		"1":                               "1",
		family:                            family,
		"\u2764\ufe0f\u200d\U0001f525":    "\u2764\u200d\U0001f525", // a style is written by some keyboards, and not by others
		"\u2764\ufe0e":                    "\u2764",
		"1\ufe0f\u20e3":                   "1\u20e3",
		scotland:                          scotland,
		"\U0001f44d\U0001f3fd":            "\U0001f44d\U0001f3fd",
		"\U0001faff":                      "\U0001faff", // not assigned yet
		"\U0001f642\u200d\u2194\ufe0f":    "\U0001f642\u200d\u2194",
		strings.Repeat("a", 256):          strings.Repeat("a", 256),
		strings.Repeat("\U0001F600", 256): strings.Repeat("\U0001F600", 256),
	} {
		if got, err := Prepare(typed); err != nil || got != want {
			t.Errorf("Prepare(%+q) = %+q, %v; want %+q", typed, got, err, want)
		}
	}
}

const (
	family   = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
	scotland = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
)

func FuzzPrepare(f *testing.F) {
	for _, seed := range []string{"", "tr0ub4dor&3", "e\u0301", "\u0958", "\u3000\u0344", "l\u00b7l", "passw\xffrd", family, scotland, "\u2764\ufe0f", "a\u0338\ufe0f\u0338"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, password string) {
		prepared, err := Prepare(password)
		if err != nil {
			if prepared != "" {
				t.Errorf("Prepare(%+q) = %+q with %v", password, prepared, err)
			}
			return
		}
		if byProfile, err := precis.OpaqueString.String(password); err == nil && byProfile != prepared {
			t.Errorf("Prepare(%+q) = %+q, under the profile it is %+q: who has that password is locked out", password, prepared, byProfile)
		}
		if again, err := Prepare(prepared); err != nil || again != prepared {
			t.Errorf("Prepare(%+q) = %+q, but that gives %+q, %v", password, prepared, again, err)
		}
		if n := utf8.RuneCountInString(prepared); n < 1 || n > MaxLength || len(prepared) > 1024 {
			t.Errorf("Prepare(%+q) has %d characters, %d bytes", password, n, len(prepared))
		}
	})
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		minLength int
		password  string
		want      error
	}{
		"seven":                        {0, "tr0ub4d", ErrTooShort},
		"eight":                        {0, "tr0ub4do", nil},
		"seven characters of 14 bytes": {0, "ééééééé", ErrTooShort},
		"eight characters of 16 bytes": {0, "éèêëéèêë", nil},
		"a floor below which none":     {4, "tr0ub", ErrTooShort},
		"fourteen where fifteen":       {15, "tr0ub4dor&3 ba", ErrTooShort},
		"fifteen where fifteen":        {15, "tr0ub4dor&3 bat", nil},
		"257":                          {0, strings.Repeat("é", 257), ErrTooLong},
		"256":                          {0, strings.Repeat("é", 256), nil},
		"common":                       {0, "password1", ErrCommon},
		"common in capitals":           {0, "PassWord1", ErrCommon},
		"common digits":                {0, "12345678", ErrCommon},
		"common within more":           {0, "password1 password1", nil},
		"username":                     {0, "alice.liddell", ErrIsUsername},
		"username in capitals":         {0, "Alice.Liddell", ErrIsUsername},
		"username in full width":       {0, "ａｌｉｃｅ.liddell", ErrIsUsername},
		"username within more":         {0, "alice.liddell7", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := (Policy{MinLength: c.minLength}).Check(c.password, "alice.liddell"); !errors.Is(err, c.want) {
				t.Errorf("Check(%q) = %v, want %v", c.password, err, c.want)
			}
		})
	}
}

// A list has the hashes of passwords as most people type them. So one that is typed in another
// encoding is the same.
func TestAPasswordOfALeakIsRefusedInEveryEncoding(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "leaked")
	builder, err := breached.NewBuilder(file)
	if err != nil {
		t.Fatal(err)
	}
	defer builder.Close()
	list := fmt.Sprintf("%X:7\n", sha1.Sum([]byte("tr0ub4dör & 3")))
	if err := builder.Read(t.Context(), "list", strings.NewReader(list), func(int) {}); err != nil {
		t.Fatal(err)
	}
	if _, err := builder.Write(t.Context(), func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	filter, err := breached.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	for typed, want := range map[string]error{
		"tr0ub4dör & 3": ErrBreached, "tr0ub4do\u0308r\u00a0& 3": ErrBreached, "Tr0ub4dör & 3": nil,
		"tr0ub4dör & 33": nil,
	} {
		prepared, err := Prepare(typed)
		if err != nil {
			t.Fatal(err)
		}
		err = Policy{Breached: filter}.Check(prepared, "alice")
		if _, ok := errors.AsType[PolicyError](err); !errors.Is(err, want) || ok != (want != nil) {
			t.Errorf("Check(%+q) = %v, want %v", prepared, err, want)
		}
	}
}

// Whoever knows where somebody works guesses "bakery2026!" before anything else.
func TestNoPasswordIsAWordOfTheInstallationWithDigitsAndSigns(t *testing.T) {
	t.Parallel()
	policy := Policy{Words: []string{Letters("Bakery"), Letters("Müller & Söhne")}}
	for typed, want := range map[string]error{
		"bakery2026!": ErrIsWord, "2026-BAKERY": ErrIsWord, "b.a.k.e.r.y.1": ErrIsWord,
		"Müller & Söhne": ErrIsWord, "mu\u0308ller+so\u0308hne1": ErrIsWord,
		"the bakery around the corner": nil, "bakeries2026": nil, "12345 6789 !": nil,
	} {
		prepared, err := Prepare(typed)
		if err != nil {
			t.Fatal(err)
		}
		if err := policy.Check(prepared, "alice"); !errors.Is(err, want) {
			t.Errorf("Check(%+q) = %v, want %v", prepared, err, want)
		}
	}
}

// Handlers show these texts: whatever Prepare and Check return has to be a PolicyError and to name
// the figure.
func TestPolicyErrorsAreForUsers(t *testing.T) {
	t.Parallel()
	_, tooLong := Prepare(strings.Repeat("a", 257))
	tooShort := Policy{MinLength: 15}.Check("tr0ub4dor&3", "alice")
	for err, want := range map[error]string{
		tooLong:  "password is too long: at most 256 characters",
		tooShort: "password is too short: at least 15 characters",
	} {
		if _, ok := errors.AsType[PolicyError](fmt.Errorf("register: %w", err)); !ok || err.Error() != want {
			t.Errorf("error %q, want a PolicyError %q", err, want)
		}
	}
}

func TestCommonListIsFoundByBinarySearch(t *testing.T) {
	t.Parallel()
	if !strings.HasSuffix(commonList, "\n") {
		t.Error("the last line doesn't end")
	}
	lines := strings.Split(strings.TrimSuffix(commonList, "\n"), "\n")
	if len(lines) < 3000 {
		t.Errorf("only %d passwords", len(lines))
	}
	if !slices.IsSorted(lines) {
		t.Error("the list is not sorted")
	}
	for i, line := range lines {
		if line != strings.ToLower(line) || utf8.RuneCountInString(line) < DefaultMinLength {
			t.Errorf("line %d, %q, can never be looked up", i+1, line)
		}
		if !isCommon(line) || !isCommon(strings.ToUpper(line)) {
			t.Errorf("line %d, %q, is not found", i+1, line)
		}
	}
	for _, absent := range []string{"", "\n", "password1\n", lines[0] + "\n" + lines[1], "!", "~~~~~~~~~", "passwor"} {
		if isCommon(absent) {
			t.Errorf("%q is found", absent)
		}
	}
}
