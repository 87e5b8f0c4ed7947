package token

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func tutorialIssuer(t testing.TB, ring *Ring) *Issuer {
	t.Helper()
	i, err := NewIssuer(Settings{Ring: ring, Issuer: "https://id.test", Audience: "app", Lifetime: 30 * time.Minute, Tutorial: true})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func payloadOf(t testing.TB, raw string) map[string]any {
	t.Helper()
	decoded, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var payload map[string]any
	if err := json.Unmarshal(decoded, &payload); err != nil {
		t.Fatal(err)
	}
	return payload
}

// The username of one user may be the id of another: which of the two a token is of must not depend
// on who reads it.
func TestATutorialTokenIsOfItsUserForWhoeverVerifiesIt(t *testing.T) {
	t.Parallel()
	ring := secretRing(t, keyA)
	for _, username := range []string{"alice", uuid.NewString(), "gatehouse", "Zoë"} {
		s := Subject{UserID: alice, SessionID: session, Username: username, Version: 7, Roles: "clerk", Scope: "files:read", ClientID: "shop"}
		raw, err := tutorialIssuer(t, ring).Issue(issued, s, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		payload := payloadOf(t, raw)
		if _, hasAudience := payload["aud"]; hasAudience || payload["sub"] != username || payload["uid"] != alice.String() {
			t.Errorf("%v", payload)
		}
		for name, verifier := range map[string]*Issuer{"the same": tutorialIssuer(t, ring), "one that makes others": issuer(t, keyA)} {
			access, err := verifier.Verify(issued, raw)
			if err != nil || access.Subject != s {
				t.Errorf("%s: %+v, %v, want %+v", name, access.Subject, err, s)
			}
		}
	}
}

// A service that looks at sub alone would take a client for the user of that name.
func TestAClientsOwnTokenIsNoTutorialToken(t *testing.T) {
	t.Parallel()
	raw, err := tutorialIssuer(t, secretRing(t, keyA)).Issue(issued, Subject{UserID: ClientSubject("alice"), ClientID: "alice", Version: 1}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if payload := payloadOf(t, raw); payload["aud"] != "app" || payload["uid"] != nil {
		t.Errorf("%v", payload)
	}
}

// Without an aud, a token by a public key would be good at every service that has the key.
func TestTokensByAPublicKeyAreNeverTutorialTokens(t *testing.T) {
	t.Parallel()
	key, err := GenerateKey(ES256)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := SecretKey([][]byte{keyA})
	if err != nil {
		t.Fatal(err)
	}
	ring, err := NewRing(key, secret)
	if err != nil {
		t.Fatal(err)
	}
	i := tutorialIssuer(t, ring)
	s := Subject{UserID: alice, SessionID: session, Username: "alice", Version: 7}
	raw, err := i.Issue(issued, s, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	payload := payloadOf(t, raw)
	if payload["aud"] != "app" || payload["uid"] != nil || payload["sub"] != alice.String() {
		t.Errorf("%v", payload)
	}
	var c claims
	if _, err := parseUpTo(MaxLength, issued, raw, &c, ring, mediaType); err != nil {
		t.Fatal(err)
	}
	c.Audience, c.UserID, c.Subject = nil, alice.String(), "alice"
	forms := map[string]string{}
	for name, with := range map[string]Key{"ES256": key, "HS256": secret} {
		if forms[name], err = sign(with, mediaType, c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := i.Verify(issued, forms["HS256"]); err != nil {
		t.Errorf("by HS256, which the ring has: %v", err)
	}
	if access, err := i.Verify(issued, forms["ES256"]); err == nil {
		t.Errorf("by ES256: %+v", access)
	}
}

func TestTokensBetweenTheTwoFormsAreRefused(t *testing.T) {
	t.Parallel()
	i := tutorialIssuer(t, secretRing(t, keyA))
	raw, err := i.Issue(issued, Subject{UserID: alice, SessionID: session, Username: "alice", Version: 7}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	good := payloadOf(t, raw)
	for name, change := range map[string]map[string]any{
		"with an aud": {"aud": "app"}, "with another aud": {"aud": []string{"x"}}, "without uid": {"uid": nil}, "an empty uid": {"uid": ""},
		"a uid that is no id": {"uid": "alice"}, "sub is another's name": {"sub": "bob"}, "sub is the id": {"sub": alice.String()},
		"no username": {"username": nil}, "no name at all": {"username": "", "sub": ""}, "no session": {"sid": nil}, "no version": {"ver": 0},
		"another issuer": {"iss": "https://id2.test"}, "no expiry": {"exp": nil},
	} {
		payload := maps.Clone(good)
		maps.Copy(payload, change)
		for claim, value := range change {
			if value == nil {
				delete(payload, claim)
			}
		}
		text, err := json.Marshal(payload)
		if err != nil {
			t.Fatal(err)
		}
		if access, err := i.Verify(issued, signedBy(t, keyA, ownHeaderText, string(text))); err == nil {
			t.Errorf("%s: %+v", name, access)
		}
	}
	if _, err := i.Verify(issued, raw); err != nil {
		t.Error(err)
	}
}
