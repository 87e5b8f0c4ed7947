package db

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/ratelimit"
	"gatehouse.example/internal/revocation"
)

const goodPassword = "correct horse battery staple"

// limited are the rules with all limits on.
func (d *DB) limited(t *testing.T) *authtest.Rules {
	t.Helper()
	limit := ratelimit.Limit{Burst: 2, Interval: time.Hour}
	revoked := revocation.NewSet(time.Now(), testLifetime)
	revoked.Confirm(time.Now())
	rules := authtest.New(t, d, authtest.Options{
		Rates:   auth.RateLimits{Account: limit, AccountDay: limit, Address: limit, Registration: limit, Recovery: ratelimit.Limit{Burst: 100, Interval: time.Hour}},
		Revoked: revoked, Staleness: time.Hour, Email: auth.EmailOptional,
		Limits: auth.SessionLimits{Idle: time.Hour, Absolute: time.Hour, Grace: time.Minute, PerUser: 9},
	})
	must(t, rules.Peppers.Claim(t.Context()))
	return rules
}

// Each statement is a round trip that somebody waits for, and a share of what the database can do.
func TestOperationsSendNoMoreStatementsThanTheyNeed(t *testing.T) {
	t.Parallel()
	d, seen := open(t, Options{URL: dbtest.New(t)}).traced(t)
	s := d.limited(t)
	from := auth.Caller{Address: "192.0.2.1"}
	login := func(pw string, want error) auth.Grant {
		grant, err := s.Logins.Login(t.Context(), "alice", pw, from)
		if !errors.Is(err, want) {
			t.Errorf("login: %v, want %v", err, want)
		}
		return grant
	}
	_, _, err := s.Registration.SignUp(t.Context(), auth.Stranger{Username: "alice", Password: goodPassword}, from)
	must(t, err)
	for _, known := range []auth.NewAccount{
		{Username: "known", Email: "known@example.org", EmailVerified: true},
		{Username: "named@example.org"},
	} {
		known.Password = goodPassword
		_, _, err := s.Accounts.Register(t.Context(), authtest.Operator(), known)
		must(t, err)
	}
	signUp := func(name, address string) func() {
		return func() {
			_, _, err := s.Registration.SignUp(t.Context(), auth.Stranger{
				Username: name, Password: goodPassword, Email: address,
			}, auth.Caller{Address: name}) // each from its own
			must(t, err)
		}
	}
	grant := login(goodPassword, nil)
	access, err := s.Access.Authenticate(grant.AccessToken)
	must(t, err)
	addressed := func(name, verified string) {
		d.mustInsert(t, name)
		d.exec(t, `UPDATE users SET email = $1 || '@example.org', email_key = $1 || '@example.org',
			email_verified_at = `+verified+` WHERE username = $1`, name)
	}
	addressed("verified", "now()")
	addressed("unverified", "NULL")
	addressed("disabled", "now()")
	d.exec(t, "UPDATE users SET disabled_at = now() WHERE username = $1", "disabled")
	forgot := func(login string) func() {
		return func() { _, err := s.Recovery.Forgot(t.Context(), login, "en", from); must(t, err) }
	}
	for _, test := range []struct {
		name string
		do   func()
		want int
	}{
		{"registration", signUp("bob", ""), 2},
		// More for one of them would tell who has an account.
		{"registration, known address", signUp("carol", "Known@example.org"), 2},
		{"registration, unknown address", signUp("dave", "unknown@example.org"), 2},
		{"registration, address that is a name", signUp("erin", "named@example.org"), 2},
		{"forgot", forgot("verified"), 2},
		{"forgot, unverified", forgot("unverified"), 2},
		{"forgot, disabled", forgot("disabled"), 2},
		{"forgot, without an address", forgot("alice"), 2},
		{"forgot, unknown", forgot("nobody"), 2},
		{"forgot, unknown address", forgot("nobody@example.org"), 2},
		{"forgot, no name", forgot("no body"), 2},
		{"login", func() { login(goodPassword, nil) }, 4},
		{"failed login", func() { login("wrong", auth.ErrWrongPassword) }, 4},
		{"refresh", func() { _, err := s.Tokens.Refresh(t.Context(), grant.RefreshToken, auth.Caller{}); must(t, err) }, 2},
		{"the same again", func() { _, err := s.Tokens.Refresh(t.Context(), grant.RefreshToken, auth.Caller{}); must(t, err) }, 2},
		{"a forged token", func() { _, _ = s.Tokens.Refresh(t.Context(), "ghr_forged", auth.Caller{}) }, 0},
		{"check", func() { _, err := s.Access.Check(t.Context(), grant.AccessToken); must(t, err) }, 0},
		{"list of sessions", func() {
			_, err := s.Sessions.List(t.Context(), auth.Reach{UserID: access.UserID, AllClients: true}, uuid.Max, 10)
			must(t, err)
		}, 1},
		{"end of the others", func() {
			must(t, s.Sessions.EndAll(t.Context(), auth.Reach{UserID: access.UserID, AllClients: true}, access.SessionID))
		}, 1},
		{"own user", func() { _, err := s.Access.Me(t.Context(), access); must(t, err) }, 1},
		// A look after the change could find a later one, whose version its tokens would then have.
		{"change of a password", func() {
			grant = login(goodPassword, nil)
			access, err = s.Access.Authenticate(grant.AccessToken)
			must(t, err)
			seen.statements = nil
			_, err := s.Logins.ChangePassword(t.Context(), access, goodPassword, "another good password")
			must(t, err)
		}, 5},
		{"replacement of a password", func() {
			_, err := s.Logins.ReplacePassword(t.Context(), "bob", goodPassword, "another good password", from)
			must(t, err)
		}, 5},
		{"last failure", func() { login("wrong", auth.ErrWrongPassword) }, 4},
		{"first refusal", func() { login("wrong", auth.ErrLimited) }, 2},
		{"refusal", func() { login("wrong", auth.ErrLimited) }, 0},
		{"logout", func() { must(t, s.Sessions.Logout(t.Context(), access)) }, 1},
	} {
		seen.statements = nil
		test.do()
		if sent := seen.take(); len(sent) != test.want {
			t.Errorf("%s: %d statements, want %d: %v", test.name, len(sent), test.want, sent)
		}
	}
}
