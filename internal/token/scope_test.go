package token

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestAScopeHasWhatItNamesAndWhatAResourcesStarCovers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		scope, permission string
		want              bool
	}{
		{"files:read", "files:read", true},
		{"a:b files:read c:d", "files:read", true},
		{"files:*", "files:read", true},
		{"files:*", "files:*", true},
		{"files:read", "files:*", false},
		{"files:read", "files:rea", false},
		{"files:read", "files:reader", false},
		{"files:*", "filesystem:read", false},
		{"file:*", "files:read", false},
		{"*:*", "files:read", false},
		{"", "files:read", false},
		{"", "", false},
		{"files", "files", false},
		{"files:read ", "", false},
		{"a:b c:d", "a:b c:d", false},
		{":*", ":x", true}, // which no role can have
	} {
		if got := ScopeHas(test.scope, test.permission); got != test.want {
			t.Errorf("%q has %q: %t", test.scope, test.permission, got)
		}
	}
}

func TestRolesAndScopeComeBackFromATokenAndMalformedRolesDoNot(t *testing.T) {
	t.Parallel()
	i := issuer(t, bytes.Repeat([]byte{'k'}, MinKeyLength))
	subject := Subject{UserID: uuid.New(), SessionID: uuid.New(), Username: "alice", Version: 1, Roles: "clerk,driver", Scope: "files:* prices:write", ClientID: "shop"}
	raw, err := i.Issue(issued, subject, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	access, err := i.Verify(issued, raw)
	if err != nil || access.Subject != subject {
		t.Errorf("%+v, %v", access, err)
	}
	for role, want := range map[string]bool{"clerk": true, "driver": true, "cler": false, "": false, "clerk,driver": false} {
		if access.HasRole(role) != want {
			t.Errorf("role %q: %t", role, !want)
		}
	}
	for _, role := range []string{"a b", "a\r\nb", ",", "clerk,,driver", "r\u00f4le", `a"b`} {
		subject.Roles = role
		raw, err := i.Issue(issued, subject, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := i.Verify(issued, raw); err == nil {
			t.Errorf("%q passed", role)
		}
	}
}

func FuzzACursorOpensOnlyAsItWasMade(f *testing.F) {
	keys, err := NewCursorKeys([][]byte{[]byte("a secret of the fuzz test, of 32 bytes or more")})
	if err != nil {
		f.Fatal(err)
	}
	made := keys.Make(issued, "question", "position")
	for _, seed := range []string{made, made[1:], "", "AAAA", made + "\n"} {
		f.Add(seed, "question", "position")
	}
	f.Fuzz(func(t *testing.T, raw, question, position string) {
		if got, err := keys.Open(issued, question, raw); err == nil && (question != "question" || got != "position") {
			t.Errorf("%q was opened: %q", raw, got) // the seed was sealed with another nonce in each process
		}
		if len(position) > 256 {
			return
		}
		sealed := keys.Make(issued, question, position)
		if got, err := keys.Open(issued.Add(24*time.Hour), question, sealed); err != nil || got != position {
			t.Errorf("%q came back as %q, %v", position, got, err)
		}
		if _, err := keys.Open(issued, question+"x", sealed); err == nil {
			t.Error("it answered another question")
		}
		if _, err := keys.Open(issued.Add(24*time.Hour+time.Second), question, sealed); err == nil {
			t.Error("it never grows old")
		}
	})
}

// Cursors live on while SECRET_KEY is rotated.
func TestACursorOfTheKeyBeforeStillOpens(t *testing.T) {
	t.Parallel()
	old, next := []byte("an old secret, with thirty-two bytes or more"), []byte("a new secret, with thirty-two bytes or more")
	before, errBefore := NewCursorKeys([][]byte{old})
	after, errAfter := NewCursorKeys([][]byte{next, old})
	if errBefore != nil || errAfter != nil {
		t.Fatal(errBefore, errAfter)
	}
	cursor := before.Make(issued, "q", "p")
	if got, err := after.Open(issued, "q", cursor); err != nil || got != "p" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := before.Open(issued, "q", after.Make(issued, "q", "p")); err == nil {
		t.Error("a key opened what another sealed")
	}
	if _, err := NewCursorKeys(nil); err == nil {
		t.Error("no key is enough")
	}
}
