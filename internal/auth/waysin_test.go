package auth_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

// wayIn is a way to a session or a code of a user.
type wayIn struct {
	// begin does what comes before, when the account is still fine, and returns what goes on. It
	// returns nil where the way is none: there is no factor to be proved.
	begin func(s *second, u *holding) func() error
	want  func(c caseOf) error
	// proves is true if a grant of the way has proved a factor, where there is one.
	proves bool
}

// holding is a user with what the user knows and has.
type holding struct {
	auth.User
	app *app
	key *holder
}

// caseOf is one case of the table.
type caseOf struct {
	state  string
	demand auth.FactorDemand
	// required is true if the account must have a factor, which it may have.
	required bool
}

// Account states.
const (
	isFine       = "fine"
	isDisabled   = "disabled"
	isLocked     = "locked"
	mustChange   = "must change"
	isUnverified = "unverified"
	isExpired    = "expired"
)

func accountStates() map[string]func(*second, auth.User) {
	set := func(sql string) func(*second, auth.User) {
		return func(s *second, u auth.User) { s.exec("UPDATE users SET "+sql+" WHERE id = $1", u.ID) }
	}
	return map[string]func(*second, auth.User){
		isFine:       func(*second, auth.User) {},
		isDisabled:   set("disabled_at = now()"),
		mustChange:   set("must_change_password = true"),
		isUnverified: set("email_verified_at = NULL, verify_until = now() + interval '1 day'"),
		isExpired:    set("must_change_password = true, password_expires_at = now() - interval '1 minute'"),
		isLocked: func(s *second, u auth.User) {
			for range 4 {
				_, err := s.Logins.Login(s.Context(), u.Username.Given, "guess", auth.Caller{Address: "198.51.100.9"})
				if err == nil {
					s.Error("a guess was right")
				}
			}
		},
	}
}

// afterPassword is what a login with the password says.
func afterPassword(c caseOf) error {
	switch c.state {
	case isDisabled:
		return auth.ErrDisabled
	case isLocked:
		return auth.ErrLimited
	case isUnverified:
		return auth.ErrAddressUnverified
	case isExpired:
		return auth.ErrPasswordExpired
	}
	switch {
	case c.demand == auth.DemandFactor:
		return auth.ErrFactorNeeded
	case c.demand == auth.DemandEnrol:
		return auth.ErrFactorEnrol
	case c.state == mustChange:
		return auth.ErrMustChangePassword
	}
	return nil
}

// afterChange is afterPassword for whoever sets another password by the way.
func afterChange(c caseOf) error {
	if err := afterPassword(c); !errors.Is(err, auth.ErrMustChangePassword) {
		return err
	}
	return nil
}

// afterFactor is what a second step says that began while the account was fine.
func afterFactor(c caseOf) error {
	switch c.state {
	case isDisabled:
		return auth.ErrPendingLogin
	case isLocked:
		return auth.ErrLimited
	}
	return behindFactor(c)
}

// afterEnrolment is what the setting up of a factor says that began while the account was fine.
func afterEnrolment(c caseOf) error {
	if c.state == isDisabled {
		return auth.ErrPendingLogin
	}
	return behindFactor(c)
}

func behindFactor(c caseOf) error {
	switch c.state {
	case isUnverified:
		return auth.ErrAddressUnverified
	case mustChange, isExpired:
		return auth.ErrMustChangePassword
	}
	return nil
}

// bySession is what a session of before gives.
func bySession(over error) func(caseOf) error {
	return func(c caseOf) error {
		if c.state == isDisabled {
			return over
		}
		if c.required {
			return over
		}
		return nil
	}
}

func always(err error) func(caseOf) error { return func(caseOf) error { return err } }

// waysIn has every way by which a user gets tokens, a cookie, or what becomes one of them. A method
// that gives any of these and is not here fails TestEveryWayInHasARow.
func waysIn() map[string]wayIn {
	in := auth.BrowserLogin{MayTrust: true}
	none := func(_ any, err error) error { return err }
	now := func(do func(s *second, u *holding) error) func(*second, *holding) func() error {
		return func(s *second, u *holding) func() error { return func() error { return do(s, u) } }
	}
	return map[string]wayIn{
		"Logins.Login": {now(func(s *second, u *holding) error {
			return none(s.Logins.Login(s.Context(), u.Username.Given, goodPassword, client))
		}), afterPassword, false},
		"Logins.LoginInBrowser": {now(func(s *second, u *holding) error {
			return none(s.Logins.LoginInBrowser(s.Context(), u.Username.Given, goodPassword, client, in))
		}), afterPassword, false},
		"Logins.LoginForCode": {now(func(s *second, u *holding) error {
			return none(s.Logins.LoginForCode(s.Context(), forCode(u.Username.Given), client))
		}), afterPassword, false},
		"Logins.ReplacePassword": {now(func(s *second, u *holding) error {
			return none(s.Logins.ReplacePassword(s.Context(), u.Username.Given, goodPassword, nextPassword, client))
		}), afterChange, false},
		"Logins.ReplacePasswordInBrowser": {now(func(s *second, u *holding) error {
			return none(s.Logins.ReplacePasswordInBrowser(s.Context(), u.Username.Given, goodPassword, nextPassword, client, in))
		}), afterChange, false},
		"Logins.ProveFactor": {func(s *second, u *holding) func() error {
			if u.app == nil {
				return nil
			}
			pending := s.begin(u.Username.Given)
			return func() error { return none(s.prove(pending, s.code(*u.app))) }
		}, afterFactor, true},
		"Logins.LoginForCode (second step)": {func(s *second, u *holding) func() error {
			if u.app == nil {
				return nil
			}
			pending := s.beginForCode(forCode(u.Username.Given), client)
			return func() error {
				return none(s.Logins.LoginForCode(s.Context(), goesOn(pending, typed(s.code(*u.app))), client))
			}
		}, afterFactor, true},
		"Logins.LoginForCode (in one step)": {func(s *second, u *holding) func() error {
			if u.app == nil {
				return nil
			}
			return func() error {
				in := forCode(u.Username.Given)
				in.Factor = typed(s.code(*u.app))
				return none(s.Logins.LoginForCode(s.Context(), in, client))
			}
		}, func(c caseOf) error {
			if err := afterPassword(c); !errors.Is(err, auth.ErrFactorNeeded) {
				return err
			}
			return behindFactor(c)
		}, true},
		"Logins.LoginByPasskey": {func(s *second, u *holding) func() error {
			if u.key == nil {
				return nil
			}
			return func() error {
				options, err := s.Logins.PasskeyOptions("cookie")
				must(s, err)
				return none(s.Logins.LoginByPasskey(s.Context(), "cookie", u.key.answers(s, options), client, in))
			}
		}, func(c caseOf) error {
			if c.state == isDisabled {
				return auth.ErrDisabled
			}
			return behindFactor(c)
		}, true},
		"Logins.EnrolTOTP": {func(s *second, u *holding) func() error {
			if u.app != nil || !s.mustEnrol(u) {
				return nil
			}
			pending := s.begin(u.Username.Given)
			offer := s.Factors.NewTOTP(u.User)
			secret, err := parseSecret(offer.Secret)
			must(s, err)
			return func() error {
				_, _, err := s.Logins.EnrolTOTP(s.Context(), s.Factors, pending, offer.Sealed, s.code(secret), client, in)
				return err
			}
		}, afterEnrolment, true},
		"Logins.EnrolPasskey": {func(s *second, u *holding) func() error {
			if u.app != nil || !s.mustEnrol(u) {
				return nil
			}
			pending := s.begin(u.Username.Given)
			options, err := s.Logins.EnrolOptions(s.Context(), s.Factors, pending)
			must(s, err)
			response := newHolder(u.User, true).makes(s, options)
			return func() error {
				_, _, err := s.Logins.EnrolPasskey(s.Context(), s.Factors, pending, "Key", response, client, in)
				return err
			}
		}, afterEnrolment, true},
		"Tokens.Refresh": {func(s *second, u *holding) func() error {
			token := u.refresh(s)
			return func() error { return none(s.Tokens.Refresh(s.Context(), token, client)) }
		}, func(c caseOf) error {
			if c.state == mustChange || c.state == isExpired {
				return auth.ErrInvalidGrant
			}
			return bySession(auth.ErrInvalidGrant)(c)
		}, false},
		"Browsers.Open": {func(s *second, u *holding) func() error {
			cookie := u.cookie(s)
			return func() error { return none(s.Browsers.Open(s.Context(), cookie)) }
		}, bySession(auth.ErrInvalidToken), false},
		"Browsers.Check": {func(s *second, u *holding) func() error {
			cookie := u.cookie(s)
			return func() error { return none(s.Browsers.Check(s.Context(), cookie)) }
		}, bySession(auth.ErrInvalidToken), false},
		// These two set a password, and log nobody in.
		"Recovery.Reset": {func(s *second, u *holding) func() error {
			reset := s.resetByMail(u.Username.Given)
			return func() error { return reset(nextPassword) }
		}, func(c caseOf) error {
			if c.state == isDisabled || c.state == isUnverified {
				return auth.ErrInvalidChallenge
			}
			return nil
		}, false},
		"Invitations.Accept": {func(s *second, u *holding) func() error {
			address := u.Username.Given + "@invited.example"
			_, challenge, err := s.Invitations.Invite(s.Context(), authtest.Operator(), auth.NewInvitation{Email: address})
			must(s, err)
			letter, err := s.Mails.Prepare(s.Context(), challenge)
			must(s, err)
			return func() error {
				return none(s.Invitations.Accept(s.Context(), byLink(letter), "invited-"+u.Username.Given, nextPassword, client))
			}
		}, always(nil), false},
	}
}

// elsewhere are ways that need a session which is in already, or that are none of a user.
func elsewhere() []string {
	return []string{
		"Logins.ChangePassword", "Logins.ChangePasswordInBrowser", // by a session
		"Tokens.Redeem",    // of a code that a session has got
		"Tokens.ForClient", // a client's own
	}
}

// before is a replica that demands no factor of whoever has none.
func (s *second) before() *second {
	return s.beside(func(o *authtest.Options) { o.Factors = auth.FactorsOptional })
}

// mustEnrol reports whether the password leads to a factor that must be set up first.
func (s *second) mustEnrol(u *holding) bool {
	_, err := s.Logins.LoginInBrowser(s.Context(), u.Username.Given, goodPassword, client, auth.BrowserLogin{})
	return errors.Is(err, auth.ErrFactorEnrol)
}

// refresh is the refresh token of a session by the password alone, from before there was a factor.
func (u *holding) refresh(s *second) string {
	return s.weakly(u, func(s *second) string {
		grant, err := s.Logins.Login(s.Context(), u.Username.Given, goodPassword, client)
		must(s, err)
		grant, err = s.Tokens.Refresh(s.Context(), grant.RefreshToken, client)
		must(s, err)
		return grant.RefreshToken
	})
}

// cookie is refresh for a browser.
func (u *holding) cookie(s *second) string {
	return s.weakly(u, func(s *second) string {
		return s.inBrowser(u.Username.Given, auth.BrowserLogin{}).Cookie
	})
}

// weakly does something as if nothing of the account demanded a factor.
func (s *second) weakly(u *holding, do func(*second) string) string {
	s.exec("CREATE TEMPORARY TABLE kept AS SELECT * FROM totp_secrets WHERE user_id = '" + u.ID.String() + "'")
	s.exec("CREATE TEMPORARY TABLE keys AS SELECT * FROM passkeys WHERE user_id = '" + u.ID.String() + "'")
	s.exec("DELETE FROM totp_secrets WHERE user_id = $1", u.ID)
	s.exec("DELETE FROM passkeys WHERE user_id = $1", u.ID)
	s.exec("UPDATE roles SET factor = false")
	got := do(s.before())
	s.exec("UPDATE roles SET factor = name = 'staff'")
	s.exec("INSERT INTO totp_secrets SELECT * FROM kept")
	s.exec("INSERT INTO passkeys SELECT * FROM keys")
	s.exec("DROP TABLE kept, keys")
	return got
}

// A way in that nobody has thought of is a way around the factor.
func TestEveryWayInHasARow(t *testing.T) {
	t.Parallel()
	known := waysIn()
	gives := []reflect.Type{
		reflect.TypeFor[auth.Grant](), reflect.TypeFor[auth.BrowserGrant](), reflect.TypeFor[auth.CodeGrant](),
		reflect.TypeFor[auth.Proof](),
	}
	found := 0
	rules := reflect.TypeFor[authtest.Rules]()
	for n := range rules.NumField() {
		of := rules.Field(n).Type
		if of.Kind() != reflect.Pointer {
			continue
		}
		for m := range of.NumMethod() {
			method := of.Method(m)
			for out := range method.Type.NumOut() {
				name := of.Elem().Name() + "." + method.Name
				if !slices.Contains(gives, method.Type.Out(out)) || slices.Contains(elsewhere(), name) {
					continue
				}
				found++
				if _, ok := known[name]; !ok {
					t.Errorf("%s has no row", name)
				}
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d ways were found", found)
	}
}

// No way in skips what the account demands: by the setting or by a role, with a factor or without,
// in whatever state the account is.
func TestNoWayInSkipsAFactorWhateverTheStateOfTheAccount(t *testing.T) {
	t.Parallel()
	for _, policy := range []struct {
		name string
		mode auth.FactorMode
		role bool
	}{
		{"none", auth.FactorsNone, false}, {"optional", auth.FactorsOptional, false},
		{"required", auth.FactorsRequired, false}, {"demanded by a role", auth.FactorsNone, true},
	} {
		t.Run(policy.name, func(t *testing.T) {
			t.Parallel()
			s := startSecond(t, authtest.Options{
				Factors: policy.mode, Email: auth.EmailRequired, Rates: auth.RateLimits{Account: perHour(4)},
			})
			must(t, s.Factors.ClaimRP(t.Context()))
			s.exec("INSERT INTO roles (name, factor) VALUES ('staff', true)")
			users := 0
			for name, way := range waysIn() {
				for _, has := range []bool{false, true} {
					for state, set := range accountStates() {
						users++
						u := s.holding(fmt.Sprint("user", users), has, policy.role)
						c := caseOf{state: state, required: policy.role || policy.mode == auth.FactorsRequired}
						switch {
						case has:
							c.demand = auth.DemandFactor
						case c.required:
							c.demand = auth.DemandEnrol
						default:
							c.demand = auth.DemandNothing
						}
						s.tryWay(fmt.Sprintf("%s, %s, with a factor: %t", name, state, has), way, u, c, set)
					}
				}
			}
		})
	}
}

// holding registers a user with an address and perhaps with factors.
func (s *second) holding(username string, factors, role bool) *holding {
	s.Helper()
	u := &holding{User: s.register(username)}
	s.exec("UPDATE users SET email = $2, email_key = $2, email_verified_at = now() WHERE id = $1", u.ID, username+"@example.org")
	if role {
		s.exec("INSERT INTO user_roles (user_id, role_name) VALUES ($1, 'staff')", u.ID)
	}
	if factors {
		app := s.withApp(u.User)
		u.app, u.key = &app, s.withPasskey(u.User, true)
	}
	return u
}

func (s *second) tryWay(
	what string, way wayIn, u *holding, c caseOf, set func(*second, auth.User),
) {
	s.Helper()
	do := way.begin(s, u)
	if do == nil {
		return
	}
	set(s, u.User)
	before := s.count("SELECT count(*) FROM sessions")
	err := do()
	if want := way.want(c); !errors.Is(err, want) {
		s.Errorf("%s: %v, want %v", what, err, want)
	}
	started := s.count("SELECT count(*) FROM sessions") - before
	if err != nil && started != 0 {
		s.Errorf("%s: it is refused, and starts a session", what)
	}
	weak := s.count("SELECT count(*) FROM sessions WHERE user_id = $1 AND NOT 'mfa' = ANY (amr) AND ended_at IS NULL", u.ID)
	if started > 0 && c.demand != auth.DemandNothing && weak > 0 || started > 0 && way.proves && weak > 0 {
		s.Errorf("%s: a session without the factor", what)
	}
	if started > 0 && (strings.HasPrefix(what, "Recovery") || strings.HasPrefix(what, "Invitations")) {
		s.Errorf("%s: it starts a session", what)
	}
}
