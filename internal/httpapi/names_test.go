package httpapi

import (
	_ "embed"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

//go:embed testdata/usernames.txt
var hostileNames string

// A name that registers but cannot log in is an account lost; one that fails otherwise is a way to crash.
func TestEveryHostileNameRegistersAndLogsInOrIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	registered := 0
	for line := range strings.Lines(hostileNames) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") {
			continue
		}
		name, err := strconv.Unquote(line)
		must(t, err)
		switch a := f.register(name, goodPassword); {
		case a.status == http.StatusCreated:
			registered++
			if got := a.json(t, "user", "username"); got != name {
				t.Errorf("%s is shown as %q", line, got)
			}
			f.wantLogin(line, name)
		case a.status == http.StatusConflict: // the same account as a line before
			f.wantLogin(line, name)
		case a.status != http.StatusUnprocessableEntity:
			t.Errorf("register %s: %d %s", line, a.status, a.body)
		}
	}
	f.wantUsers(registered)
	if registered < 40 {
		t.Errorf("only %d of the names were taken: the rest of this test has little to say", registered)
	}
}

func (f *fixture) wantLogin(line, name string) {
	f.Helper()
	if a := f.login(name, goodPassword); a.status != http.StatusOK {
		f.Errorf("login %s: %d %s", line, a.status, a.body)
	}
}

func TestOneNameInManyWritingsIsOneAccount(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("Alice")
	for _, name := range []string{"Alice", "alice", "ALICE", "ａｌｉｃｅ", "ＡＬＩＣＥ", "aLiCe"} {
		if a := f.register(name, goodPassword); a.status != http.StatusConflict {
			t.Errorf("register %s: %d %s", name, a.status, a.body)
		}
		f.wantLogin(name, name)
	}
	f.loggedIn("rené")
	f.wantLogin("decomposed", "rene\u0301")
	f.wantUsers(2)
}

func TestANameThatPosesAsAnotherIsRefusedInClearWords(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	for name, message := range map[string]string{
		"аlice":       "must not mix letters of different scripts", // a Cyrillic а
		"αlice":       "must not mix letters of different scripts",
		"сосо":        "must not look like a name in Latin letters", // Cyrillic throughout
		"ον":          "must not look like a name in Latin letters",
		"ɑlice":       "must not look like a name in Latin letters", // phonetic
		"ali\u200bce": "no spaces, symbols or control characters",
		"ali\u202ece": "no spaces, symbols or control characters",
		"ali\x1bce":   "no spaces, symbols or control characters",
		"ali ce":      "no spaces, symbols or control characters",
	} {
		a := f.register(name, goodPassword)
		if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, message) {
			t.Errorf("register %+q: %d %s", name, a.status, a.body)
		}
	}
	for _, name := range []string{"иван", "田中a", "σίσυφος", "דוד", "björn", "user.name+tag@example.com"} {
		if a := f.register(name, goodPassword); a.status != http.StatusCreated {
			t.Errorf("register %s: %d %s", name, a.status, a.body)
		}
	}
}

func TestPasswordsAreAlikeInEveryNormalForm(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	const composed, decomposed, wideSpace = "Ångström ångström", "A\u030angstro\u0308m a\u030angstro\u0308m", "Ångström\u3000ångström"
	if a := f.register("alice", composed); a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, pw := range []string{composed, decomposed, wideSpace, "\u212bngström ångström"} {
		if a := f.login("alice", pw); a.status != http.StatusOK {
			t.Errorf("%+q: %d %s", pw, a.status, a.body)
		}
	}
	for _, pw := range []string{"ångström ångström", "Angstrom angstrom", composed + " "} {
		if a := f.login("alice", pw); a.status != http.StatusUnauthorized {
			t.Errorf("%+q: %d %s", pw, a.status, a.body)
		}
	}
}

// bcrypt alone looks at no more than 72 bytes.
func TestTheLastByteOfALongPasswordCounts(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	for _, length := range []int{71, 72, 73, 256} {
		name, pw := "user"+strconv.Itoa(length), strings.Repeat("Pa55word", 32)[:length-1]
		if a := f.register(name, pw+"x"); a.status != http.StatusCreated {
			t.Fatalf("%d: %d %s", length, a.status, a.body)
		}
		if a := f.login(name, pw+"x"); a.status != http.StatusOK {
			t.Errorf("%d: %d %s", length, a.status, a.body)
		}
		for _, other := range []string{pw + "y", pw} {
			if a := f.login(name, other); a.status != http.StatusUnauthorized {
				t.Errorf("%d, last byte changed: %d %s", length, a.status, a.body)
			}
		}
	}
}
