package db

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse/internal/auth"
	"gatehouse/internal/dbtest"
	"gatehouse/internal/password"
	"gatehouse/internal/ratelimit"
	"gatehouse/internal/revocation"
	"gatehouse/internal/token"
)

const goodPassword = "correct horse battery staple"

// limitedService is one with all limits on.
func (d *DB) limitedService(t *testing.T) *auth.Service {
	t.Helper()
	secrets := [][]byte{[]byte("a secret key of the tests with 32 bytes or more")}
	lane := password.NewLane(password.LaneOptions{Threads: 1, Queue: 9})
	t.Cleanup(lane.Close)
	ring, err := password.NewKeyRing(nil)
	must(t, err)
	must(t, auth.ClaimPasswordKeys(t.Context(), d, ring))
	hasher, err := password.NewHasher(lane, ring, 4)
	must(t, err)
	signing, err := token.SecretRing(secrets)
	must(t, err)
	tokens, err := token.NewIssuer(token.Settings{Ring: signing, Issuer: "https://id.test", Audience: "test", Lifetime: testLifetime})
	must(t, err)
	refresh, err := token.NewRefreshKeys(secrets)
	must(t, err)
	limit := ratelimit.Limit{Burst: 2, Interval: time.Hour}
	limiter, err := auth.NewLimiter(auth.RateLimits{Account: limit, AccountDay: limit, Address: limit, Registration: limit}, d, secrets, time.Now)
	must(t, err)
	revoked := revocation.NewSet(time.Now(), testLifetime)
	revoked.Confirm(time.Now())
	return auth.NewService(auth.Parts{
		Store: d, Hasher: hasher, Tokens: tokens, Refresh: refresh, Limiter: limiter, Clock: time.Now,
		Revocations: auth.NewChecker(revoked, d, time.Now, time.Hour),
		Limits:      auth.SessionLimits{Idle: time.Hour, Absolute: time.Hour, Grace: time.Minute, PerUser: 9},
	})
}

// Each statement is a round trip that somebody waits for, and a share of what the database can do.
func TestOperationsSendNoMoreStatementsThanTheyNeed(t *testing.T) {
	t.Parallel()
	d, seen := open(t, Options{URL: dbtest.New(t)}).traced(t)
	s := d.limitedService(t)
	from := auth.Client{Address: "192.0.2.1"}
	login := func(pw string, want error) auth.Grant {
		grant, err := s.Login(t.Context(), "alice", pw, from)
		if !errors.Is(err, want) {
			t.Errorf("login: %v, want %v", err, want)
		}
		return grant
	}
	_, err := s.SignUp(t.Context(), "alice", goodPassword, from)
	must(t, err)
	grant := login(goodPassword, nil)
	access, err := s.Authenticate(grant.AccessToken)
	must(t, err)
	for _, test := range []struct {
		name string
		do   func()
		want int
	}{
		{"registration", func() { _, err := s.SignUp(t.Context(), "bob", goodPassword, from); must(t, err) }, 2},
		{"login", func() { login(goodPassword, nil) }, 4},
		{"failed login", func() { login("wrong", auth.ErrWrongPassword) }, 3},
		{"refresh", func() { _, err := s.Refresh(t.Context(), grant.RefreshToken, auth.Client{}); must(t, err) }, 2},
		{"the same again", func() { _, err := s.Refresh(t.Context(), grant.RefreshToken, auth.Client{}); must(t, err) }, 1},
		{"a forged token", func() { _, _ = s.Refresh(t.Context(), "ghr_forged", auth.Client{}) }, 0},
		{"check", func() { _, err := s.CheckAccess(t.Context(), grant.AccessToken); must(t, err) }, 0},
		{"list of sessions", func() { _, err := s.Sessions(t.Context(), access.UserID, uuid.Max, 10); must(t, err) }, 1},
		{"end of the others", func() { must(t, s.EndSessions(t.Context(), access.UserID, access.SessionID)) }, 1},
		{"own user", func() { _, err := s.Me(t.Context(), access); must(t, err) }, 1},
		{"replacement of a password", func() {
			_, err := s.ReplacePassword(t.Context(), "bob", goodPassword, "another good password", from)
			must(t, err)
		}, 5},
		{"last failure", func() { login("wrong", auth.ErrWrongPassword) }, 3},
		{"first refusal", func() { login("wrong", auth.ErrLimited) }, 2},
		{"refusal", func() { login("wrong", auth.ErrLimited) }, 0},
		{"logout", func() { must(t, s.Logout(t.Context(), access)) }, 1},
	} {
		seen.statements = nil
		test.do()
		if sent := seen.take(); len(sent) != test.want {
			t.Errorf("%s: %d statements, want %d: %v", test.name, len(sent), test.want, sent)
		}
	}
}
