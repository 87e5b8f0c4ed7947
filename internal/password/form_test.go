package password

import (
	"strings"
	"testing"
)

var someBody = strings.Repeat("Ab.", 17) + "/9"

func TestParseTakesExactlyTheStoredForms(t *testing.T) {
	t.Parallel()
	for stored, want := range map[string]form{
		"$2a$12$" + someBody:                                 {"", "a", 12, someBody},
		"$2x$99$" + someBody:                                 {"", "x", 99, someBody},
		"$hmac-sha256$k=0$$2a$12$" + someBody:                {"0", "a", 12, someBody},
		"$hmac-sha256$k=0123456789abcdef$$2b$04$" + someBody: {"0123456789abcdef", "b", 4, someBody},
	} {
		if got, err := parse(stored); err != nil || got != want {
			t.Errorf("parse(%q) = %+v, %v; want %+v", stored, got, err, want)
		}
	}
}

func TestParseRefusesWhatIsNearlyAStoredForm(t *testing.T) {
	t.Parallel()
	bcrypt := "$2a$12$" + someBody
	for _, stored := range []string{
		"",
		bcrypt[:len(bcrypt)-1],
		bcrypt + "A",
		bcrypt + "\n",
		" " + bcrypt,
		"\n" + bcrypt,
		"$2$12$" + someBody,
		"$2A$12$" + someBody,
		"$2c$12$" + someBody,
		"$3a$12$" + someBody,
		"$2a$1$" + someBody,
		"$2a$+4$" + someBody,
		"$2a$012$" + someBody,
		"$2a$12$" + someBody[:52] + "=",
		"$2a$12$" + someBody[:52] + "+",
		"$2a$12$" + someBody[:52] + "\x00",
		"$hmac-sha256$k=$" + bcrypt,
		"$hmac-sha256$k=0" + bcrypt,
		"$hmac-sha256$k=0$$" + bcrypt,
		"$hmac-sha256$k=0123456789abcdef0$" + bcrypt,
		"$hmac-sha256$k=A$" + bcrypt,
		"$hmac-sha256$k=g$" + bcrypt,
		"$hmac-sha512$k=0$" + bcrypt,
		"$hmac-sha256$k=0$$hmac-sha256$k=0$" + bcrypt,
	} {
		if got, err := parse(stored); err == nil {
			t.Errorf("parse(%q) = %+v, want an error", stored, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("$2a$12$" + someBody)
	f.Add("$hmac-sha256$k=0$$2a$12$" + someBody)
	f.Add("$hmac-sha256$k=0123456789abcdef$$2y$31$" + someBody)
	f.Add("$hmac-sha256$k=0$2x$00$" + someBody)
	f.Fuzz(func(t *testing.T, stored string) {
		parsed, err := parse(stored)
		if err != nil {
			return
		}
		if again := parsed.String(); again != stored {
			t.Errorf("%q prints back as %q", stored, again)
		}
	})
}
