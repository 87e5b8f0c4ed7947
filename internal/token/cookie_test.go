package token

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/uuid"

	"gatehouse.example/internal/keychain"
)

func cookieKeys(t testing.TB, secrets ...string) *CookieKeys {
	t.Helper()
	var all [][]byte
	for _, secret := range secrets {
		all = append(all, bytes.Repeat([]byte(secret), 32))
	}
	keys, err := keychain.New(all)
	if err != nil {
		t.Fatal(err)
	}
	return NewCookieKeys(keys)
}

// An app on a sibling host sees the sibling cookie of everybody who comes to it.
func TestASiblingCookieNeverPassesForTheCookieItself(t *testing.T) {
	t.Parallel()
	keys, c := cookieKeys(t, "a"), SessionCookie{uuid.New(), 3}
	own, sibling := keys.Make(c), keys.MakeSibling(c)
	for name, raw := range map[string]string{
		"as it is": sibling, "with the prefix of the cookie": cookiePrefix + sibling[len(siblingPrefix):],
	} {
		if _, err := keys.Verify(raw); !errors.Is(err, ErrInvalidCookie) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := keys.VerifySibling(siblingPrefix + own[len(cookiePrefix):]); err == nil {
		t.Error("the cookie passes for its sibling")
	}
	if got, err := keys.VerifySibling(sibling); err != nil || got != c {
		t.Errorf("%v, %v", got, err)
	}
}

func TestACookieIsGoodUnderTheSecretsInUseAndUnderNoOther(t *testing.T) {
	t.Parallel()
	c := SessionCookie{uuid.New(), 1 << 40}
	raw := cookieKeys(t, "a").Make(c)
	if got, err := cookieKeys(t, "b", "a").Verify(raw); err != nil || got != c {
		t.Errorf("behind a newer secret: %v, %v", got, err)
	}
	if _, err := cookieKeys(t, "b").Verify(raw); !errors.Is(err, ErrInvalidCookie) {
		t.Errorf("under another secret: %v", err)
	}
	if refresh := NewRefreshKeys(mustKeychain(t)).Make(c.SessionID, c.N, nil); refresh[4:] == raw[4:] {
		t.Error("a refresh token is made in the same way")
	}
}

func mustKeychain(t testing.TB) *keychain.Keychain {
	t.Helper()
	keys, err := keychain.New([][]byte{bytes.Repeat([]byte("a"), 32)})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// Lenience would give a session two cookies, and a flood of spellings a place each in the memory.
func FuzzASessionCookieHasOneSpelling(f *testing.F) {
	keys := cookieKeys(f, "a")
	f.Add(keys.Make(SessionCookie{uuid.New(), 0}))
	f.Add(keys.MakeSibling(SessionCookie{uuid.New(), 1}))
	f.Add("ghs_")
	f.Fuzz(func(t *testing.T, raw string) {
		if c, err := keys.Verify(raw); err == nil && keys.Make(c) != raw {
			t.Errorf("%q is taken for %q", raw, keys.Make(c))
		}
	})
}
