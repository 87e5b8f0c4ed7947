package db

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/otp"
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
		Revoked: revoked, Staleness: time.Hour, Email: auth.EmailOptional, Notices: auth.NoticeKinds(),
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
	d.exec(t, "UPDATE users SET created_at = now() - interval '1 day', email_verified_at = now() - interval '1 day' WHERE username = 'known'")
	device := ""
	told := func() {
		grant, err := s.Logins.Login(t.Context(), "known", goodPassword, auth.Caller{Address: from.Address, Device: device})
		must(t, err)
		device = grant.Device
	}
	// refused is a guess after two others, each from an address of its own.
	refused := func(name string) func() {
		return func() {
			for n := range 3 {
				seen.statements = nil
				_, err := s.Logins.Login(t.Context(), name, "guess", auth.Caller{Address: fmt.Sprintf("%d of %s", n, name)})
				if limited := errors.Is(err, auth.ErrLimited); limited != (n == 2) {
					t.Errorf("guess %d for %s: %v", n, name, err)
				}
			}
		}
	}
	for _, test := range []struct {
		name string
		do   func()
		want int
	}{
		{"login from a device that is not known, told", told, 4},
		{"login from a known device", told, 4},
		{"login that the account refuses, told", refused("verified"), 2},
		{"login that the account refuses, without an address", refused("disabled"), 2},
		{"login that the account refuses, unknown", refused("nobody"), 2},
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
		{"own user", func() { _, _, err := s.Access.Me(t.Context(), access); must(t, err) }, 1},
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

// Whoever counts round trips, or reads the statistics of the database, must not learn who has an
// account. What is typed differs in length alone.
func TestAForgottenPasswordSendsTheSameStatementsWhoeverHasAnAccount(t *testing.T) {
	t.Parallel()
	d, seen := open(t, Options{URL: dbtest.New(t)}).traced(t)
	s := authtest.New(t, d, authtest.Options{
		Rates: auth.RateLimits{
			Recovery: ratelimit.Limit{Burst: 100, Interval: time.Hour}, Mails: ratelimit.PerHour(100),
		},
	})
	must(t, s.Peppers.Claim(t.Context()))
	for _, name := range []string{"known", "unverified", "disabled", "without"} {
		_, _, err := s.Registration.SignUp(t.Context(), auth.Stranger{Username: name, Password: goodPassword}, auth.Caller{})
		must(t, err)
	}
	for _, sql := range []string{
		"UPDATE users SET email = username || '@a.example', email_key = username || '@a.example' WHERE username <> 'without'",
		"UPDATE users SET email_verified_at = now() WHERE username IN ('known', 'disabled')",
		"UPDATE users SET disabled_at = now() WHERE username = 'disabled'",
	} {
		_, err := d.pool.Exec(t.Context(), sql)
		must(t, err)
	}
	var want []string
	for _, login := range []string{
		"known", "nobody", "unverified", "disabled", "without", "known@a.example", "nobody@a.example",
		"unverified@a.example", "not a name", "",
	} {
		seen.statements = nil
		_, err := s.Recovery.Forgot(t.Context(), login, "en", auth.Caller{Address: "192.0.2.1"})
		must(t, err)
		var sent []string
		for _, one := range seen.take() {
			sent = append(sent, one.sql)
		}
		if want == nil {
			want = sent
		}
		if len(sent) != 2 || !slices.Equal(sent, want) {
			t.Errorf("%q: %d statements, want 2:\n%s", login, len(sent), strings.Join(sent, "\n"))
		}
	}
}

// Whoever counts round trips must not learn by a wrong password who has a second factor. Each
// statement of the second step is one that its user waits for.
func TestAWrongPasswordSendsTheSameStatementsWithAndWithoutASecondFactor(t *testing.T) {
	t.Parallel()
	d, seen := open(t, Options{URL: dbtest.New(t)}).traced(t)
	s := d.limited(t)
	login := func(name, pw string) (sent []string, err error) {
		seen.statements = nil
		_, err = s.Logins.LoginInBrowser(t.Context(), name, pw, auth.Caller{Address: name}, auth.BrowserLogin{MayTrust: true})
		for _, one := range seen.take() {
			sent = append(sent, nameOf(one.sql))
		}
		return sent, err
	}
	secret, keys := otp.NewSecret(), keychainOf(t)
	var users []auth.User
	for _, name := range []string{"without", "withone", "another"} {
		u, _, err := s.Accounts.Register(t.Context(), authtest.Operator(), auth.NewAccount{Username: name, Password: goodPassword})
		must(t, err)
		users = append(users, u)
	}
	for _, u := range users[1:] {
		d.exec(t, "INSERT INTO totp_secrets (user_id, sealed, last_step) VALUES ($1, $2, 0)", u.ID,
			keys.Sealer(keychain.TOTPSecrets).Seal(u.ID.String(), secret))
	}
	before := s.Hasher.Work()
	plain, err := login("without", "guess")
	if !errors.Is(err, auth.ErrWrongPassword) {
		t.Error(err)
	}
	work := s.Hasher.Work() - before
	guarded, err := login("withone", "guess")
	if !errors.Is(err, auth.ErrWrongPassword) || !slices.Equal(plain, guarded) || s.Hasher.Work()-before != 2*work {
		t.Errorf("%v: %q, and without a factor %q", err, guarded, plain)
	}
	sent, err := login("another", goodPassword) // whose limits nobody has taken from
	needed, ok := errors.AsType[*auth.FactorNeededError](err)
	if !ok || len(sent) != 4 {
		t.Fatalf("the first step: %v, %q", err, sent)
	}
	seen.statements = nil
	_, err = s.Logins.ProveFactor(t.Context(), needed.Pending, auth.FactorProof{
		Code: secret.Code(otp.Step(time.Now())),
	}, false, auth.Caller{Address: "another"}, auth.BrowserLogin{})
	must(t, err)
	// reserve, count, use, give back, start, settle
	if sent := seen.take(); len(sent) != 6 {
		t.Errorf("the second step: %d statements, %v", len(sent), sent)
	}
}

func keychainOf(t *testing.T) *keychain.Keychain {
	t.Helper()
	keys, err := keychain.New([][]byte{[]byte(strings.Repeat("k", 32))})
	must(t, err)
	return keys
}

// Each login and each refresh records an event. Those that send no mail must not pay for the
// outbox.
func TestAnEventWithoutMailsTouchesNothingOfTheOutbox(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	for name, test := range map[string]struct {
		mails []auth.QueuedMail
		want  int
	}{
		"without": {nil, 0},
		"with": {[]auth.QueuedMail{{
			ID: uuid.New(), Kind: auth.MailNewDevice, Sealed: make([]byte, 40), Lifetime: time.Hour, OfNobody: true,
		}}, 2},
	} {
		e := anEvent()
		e.Mails = test.mails
		var touched int
		must(t, d.inTransaction(t.Context(), "test", func(tx pgx.Tx) error {
			if err := d.queries.WithTx(tx).RecordEvent(t.Context(), recordParams(e)); err != nil {
				return err
			}
			return tx.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks
				WHERE pid = pg_backend_pid() AND relation IN ('mails'::regclass, 'river_job'::regclass)`).Scan(&touched)
		}))
		if touched != test.want {
			t.Errorf("%s: %d tables are touched, want %d", name, touched, test.want)
		}
	}
}

// A transaction that writes waits for the disk, or for a standby. Whoever types five wrong codes,
// and takes the time, must not learn who has an account, or whose address it is.
func TestAWrongCodeWritesAsMuchWhoeverHasAnAccount(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Private(t, "autovacuum=off").URL() // which writes by itself
	d, watch := open(t, Options{URL: databaseURL}), connectTo(t, databaseURL)
	s := authtest.New(t, d, authtest.Options{Email: auth.EmailOptional})
	must(t, s.Peppers.Claim(t.Context()))
	for name, account := range map[string]auth.NewAccount{
		"known":    {Email: "known@example.org", EmailVerified: true},
		"disabled": {Email: "disabled@example.org", EmailVerified: true},
		"without":  {},
	} {
		account.Username, account.Password = name, goodPassword
		_, _, err := s.Accounts.Register(t.Context(), authtest.Operator(), account)
		must(t, err)
	}
	execOn(t, watch, "UPDATE users SET disabled_at = now() WHERE username = 'disabled'")
	transactions := func() (next int64) {
		must(t, watch.QueryRow(t.Context(), "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").Scan(&next))
		return next
	}
	forgot := func(login string) uuid.UUID {
		challenge, err := s.Recovery.Forgot(t.Context(), login, "en", auth.Caller{})
		must(t, err)
		return challenge
	}
	signUp := func(name, address string) uuid.UUID {
		_, challenge, err := s.Registration.SignUp(t.Context(), auth.Stranger{
			Username: name, Password: goodPassword, Email: address,
		}, auth.Caller{})
		must(t, err)
		return challenge
	}
	reset := func(proof auth.ChallengeProof) error {
		_, err := s.Recovery.Reset(t.Context(), proof, "another good password", auth.Caller{})
		return err
	}
	verify := func(proof auth.ChallengeProof) error {
		return s.Addresses.Verify(t.Context(), proof, auth.Confirmer{Password: goodPassword}, "en", auth.Caller{})
	}
	for name, test := range map[string]struct {
		challenge uuid.UUID
		prove     func(auth.ChallengeProof) error
	}{
		"reset, known":             {forgot("known"), reset},
		"reset, known address":     {forgot("known@example.org"), reset},
		"reset, disabled":          {forgot("disabled"), reset},
		"reset, without":           {forgot("without"), reset},
		"reset, nobody":            {forgot("nobody"), reset},
		"verify, somebody's":       {signUp("mallory", "known@example.org"), verify},
		"verify, nobody's":         {signUp("bob", "bob@example.org"), verify},
		"verify, of somebody gone": {signUp("carol", "disabled@example.org"), verify},
	} {
		_, _ = s.Mails.Prepare(t.Context(), test.challenge) // as the worker does that sends it
		for n := range 7 {
			before := transactions()
			err := test.prove(auth.ChallengeProof{Challenge: test.challenge, Code: "00000000"})
			if !errors.Is(err, auth.ErrInvalidChallenge) {
				t.Errorf("%s: %v", name, err)
			}
			if wrote := transactions() - before; wrote != 2 { // the guess, and the event
				t.Errorf("%s, guess %d: %d transactions wrote, want 2", name, n+1, wrote)
			}
		}
	}
}
