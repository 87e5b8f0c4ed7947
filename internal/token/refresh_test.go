package token

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

var salt = bytes.Repeat([]byte{7}, 16)

func refreshKeys(t testing.TB, secrets ...[]byte) *RefreshKeys {
	t.Helper()
	return NewRefreshKeys(keychainOf(t, secrets...))
}

func verifyRefresh(k *RefreshKeys, raw string, salt []byte) error {
	r, err := ParseRefresh(raw)
	if err != nil {
		return err
	}
	return k.Verify(r, salt)
}

func TestARefreshTokenIsTheSameEachTimeItIsMade(t *testing.T) {
	t.Parallel()
	k := refreshKeys(t, keyA)
	raw := k.Make(session, 5, salt)
	if raw != k.Make(session, 5, salt) || !strings.HasPrefix(raw, "ghr_") {
		t.Error(raw)
	}
	r, err := ParseRefresh(raw)
	if err != nil || r.SessionID != session || r.N != 5 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := k.Verify(r, salt); err != nil {
		t.Error(err)
	}
}

func TestARefreshTokenIsBoundToItsSessionNumberSaltAndKey(t *testing.T) {
	t.Parallel()
	k := refreshKeys(t, keyA)
	raw := k.Make(session, 5, salt)
	good, err := ParseRefresh(raw)
	if err != nil {
		t.Fatal(err)
	}
	otherSession, otherNumber := good, good
	otherSession.SessionID, otherNumber.N = alice, 6
	for name, err := range map[string]error{
		"session": k.Verify(otherSession, salt),
		"number":  k.Verify(otherNumber, salt),
		"salt":    k.Verify(good, bytes.Repeat([]byte{8}, 16)),
		"no salt": k.Verify(good, nil),
		"key":     refreshKeys(t, keyB).Verify(good, salt),
	} {
		if !errors.Is(err, ErrInvalidRefresh) {
			t.Errorf("%s changed: %v", name, err)
		}
	}
}

func TestEveryListedKeyVerifiesRefreshTokens(t *testing.T) {
	t.Parallel()
	old, during := refreshKeys(t, keyA), refreshKeys(t, keyB, keyA)
	if err := verifyRefresh(during, old.Make(session, 1, salt), salt); err != nil {
		t.Error(err)
	}
	if err := verifyRefresh(refreshKeys(t, keyB), during.Make(session, 1, salt), salt); err != nil {
		t.Error(err)
	}
}

// What signs access tokens must not also make refresh tokens: one service may be given that key, to
// verify with.
func TestTheKeyOfRefreshTokensIsNotTheSigningKey(t *testing.T) {
	t.Parallel()
	bySigningKey := hmac.New(sha256.New, keyA)
	bySigningKey.Write(numberedBody(session, 1))
	bySigningKey.Write(salt)
	if err := refreshKeys(t, keyA).Verify(Refresh{session, 1, bySigningKey.Sum(nil)}, salt); err == nil {
		t.Error("it is")
	}
	i := issuer(t, keyA)
	if _, err := i.Verify(issued, refreshKeys(t, keyA).Make(session, 1, salt)); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	access, err := i.Issue(issued, Subject{UserID: alice, SessionID: session, Version: 1}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseRefresh(access); !errors.Is(err, ErrInvalidRefresh) {
		t.Error(err)
	}
}

func FuzzParseRefresh(f *testing.F) {
	k := refreshKeys(f, keyA)
	f.Add(k.Make(session, 0, salt))
	f.Add(k.Make(session, math.MaxInt64, salt))
	f.Add("ghr_")
	f.Add("ghr_" + strings.Repeat("_", 75))
	f.Fuzz(func(t *testing.T, raw string) {
		r, err := ParseRefresh(raw)
		if err != nil {
			return
		}
		if r.N < 0 {
			t.Errorf("%q is number %d", raw, r.N)
		}
		// One token has one spelling.
		if made := k.Make(r.SessionID, r.N, salt); (k.Verify(r, salt) == nil) != (made == raw) {
			t.Errorf("%q passes for %q", raw, made)
		}
	})
}
