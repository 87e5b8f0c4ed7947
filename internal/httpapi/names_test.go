package httpapi

import (
	_ "embed"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/ratelimit"
)

//go:embed testdata/usernames.txt
var hostileNames string

// A name that registers but cannot log in is a lost account. A name that fails in another way can
// crash the service.
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
		t.Errorf("only %d of the names were taken: the rest of this test has little to say",
			registered)
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
	const mixed, lookalike, characters, signs, reserved = "must not mix letters of different scripts", "must not look like a name in Latin letters",
		"no spaces, symbols or control characters", "the signs . _ - + ' @", "is reserved"
	for name, message := range map[string]string{
		"аlice":                          mixed, // a Cyrillic а
		"αlice":                          mixed,
		"alice@exаmple.com":              mixed,
		"сосо":                           lookalike, // Cyrillic throughout
		"ον":                             lookalike,
		"ɑlice":                          lookalike, // phonetic
		"сосо@example.com":               lookalike,
		"alice@сосо":                     lookalike,
		"\ua4ee\ua4d3\ua4df\ua4f2\ua4e0": lookalike, // ADMIN in Lisu
		"\ua4ee\ua4f8\ua4d3":             lookalike, // A.D
		"\u13aa\u13a0\u13b7":             lookalike, // in Cherokee capitals
		"\uab7a\uab70\uab87":             lookalike, // and small letters
		"\u2c9f\u2ca3":                   lookalike, // Coptic
		"ali\u200bce":                    characters,
		"ali\u202ece":                    characters,
		"ali\x1bce":                      characters,
		"ali ce":                         characters,
		" alice":                         characters,
		"alice ":                         characters,
		"alice\u00a0":                    characters,
		"=1+1":                           signs,
		"＝1+1":                           characters,
		"+a":                             signs,
		"-a":                             signs,
		"@a":                             signs,
		"'a":                             signs,
		"..":                             signs,
		"<script>":                       signs,
		"a\"b":                           signs,
		"a&b":                            signs,
		"a/b":                            signs,
		"a\\b":                           signs,
		"a%b":                            signs,
		"a,b":                            signs,
		"admin":                          reserved,
		"ADMIN":                          reserved,
		"ａｄｍｉｎ":                          reserved,
		"adm\u0131n":                     reserved, // without a dot
		"ádmin":                          reserved,
		"adm1n":                          reserved,
		"admln":                          reserved,
		"adrnin":                         reserved,
		"ad.min_":                        reserved,
		"r00t":                           reserved,
		"support":                        reserved,
		"SUPP0RT":                        reserved,
	} {
		a := f.register(name, goodPassword)
		if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, message) {
			t.Errorf("register %+q: %d %s, want %q", name, a.status, a.body, message)
		}
	}
	for _, name := range []string{
		"иван", "μαρία", "田中a", "σίσυφος", "דוד", "björn", "user.name+tag@example.com", "o'brien",
		"_x", "modem", "modern", "yıldız", "一", "علی",
		"admins", "root@example.com", "7of9", "иван@почта.рф", "x" + strings.Repeat("y", 63),
	} {
		if a := f.register(name, goodPassword); a.status != http.StatusCreated {
			t.Errorf("register %s: %d %s", name, a.status, a.body)
		}
		f.wantLogin(name, name)
	}
}

// Names that operators and imports have made stay, and so do older ones of strangers.
func TestOperatorsMayGiveNamesThatStrangersMayNotTake(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	for _, name := range []string{"admin", "adm1n", "=1+1", "<script>",
		"\ua4ee\ua4d3\ua4df\ua4f2\ua4e0"} {
		_, _, err := f.rules.Accounts.Register(t.Context(), authtest.Operator(),
			auth.NewAccount{Username: name, Password: goodPassword})
		must(t, err)
		f.wantLogin(name, name)
	}
}

func TestAddressesAreUsernames(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	longest := strings.Repeat("a", auth.MaxAddressLength-len("@example.com")) + "@example.com"
	for _, name := range []string{
		"иван@example.com", "σίσυφος@example.com", "דוד@example.com", "محمد@example.com",
		"محمد.123@xn--mgbh0fb.com", "用户@example.com",
		"Иван＠example.com", longest,
	} {
		if a := f.register(name, goodPassword); a.status != http.StatusCreated &&
			name != "Иван＠example.com" {
			t.Errorf("register %s: %d %s", name, a.status, a.body)
		}
		f.wantLogin(name, name)
		f.wantLogin(name, strings.TrimSuffix(name, "com")+"COM")
	}
	f.wantUsers(7)
	for name, message := range map[string]string{
		longest + "m":                  "at most 64 characters, or 254 bytes with an @",
		strings.Repeat("a", 65):        "at most 64 characters, or 254 bytes with an @",
		"דוד@דוד.example":              "no spaces, symbols or control characters",
		"דודa@example.com":             "no spaces, symbols or control characters",
		"@example.com":                 "must begin with a letter",
		strings.Repeat("я", 127) + "@": "at most 64 characters, or 254 bytes with an @",
	} {
		if a := f.register(name, goodPassword); a.status != http.StatusUnprocessableEntity ||
			!strings.Contains(a.body, message) {
			t.Errorf("register %+q: %d %s, want %q", name, a.status, a.body, message)
		}
	}
}

// A phone's keyboard adds a space after a word that it completes.
func TestSpacesAroundANameAreCutAtLogin(t *testing.T) {
	t.Parallel()
	f := start(t,
		settings{rates: auth.RateLimits{Account: ratelimit.Limit{Burst: 5, Interval: time.Hour}}})
	f.loggedIn("alice")
	for _, typed := range []string{"alice ", " alice", "\talice\n", "\u00a0alice\u3000"} {
		f.wantLogin(typed, typed)
	}
	// one account has one limit
	for _, typed := range []string{"alice", "alice ", " alice", "  alice", "alice  "} {
		f.login(typed, "wrong")
	}
	if a := f.login("\u3000alice", "wrong"); a.status != http.StatusTooManyRequests {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestTwoNamesOfStrangersNeverLookAlike(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	const persian, arabic = "\u0639\u0644\u06cc", "\u0639\u0644\u0649"
	for _, pair := range [][2]string{{"alice", "al\u0131ce"}, {"y\u0131ld\u0131z", "yildiz"},
		{persian, arabic}} {
		if a := f.register(pair[0], goodPassword); a.status != http.StatusCreated {
			t.Errorf("register %s: %d %s", pair[0], a.status, a.body)
		}
		if a := f.register(pair[1], goodPassword); a.status != http.StatusConflict {
			t.Errorf("register %s beside %s: %d %s", pair[1], pair[0], a.status, a.body)
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

// bcrypt alone would look at 72 bytes at most.
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
