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
		{"files", "files", true},
		{"me files", "files", true},
		{"files", "file", false},
		{"files:*", "files", false},
		{"files", "files:read", false},
		{"files:read", "files", false},
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
