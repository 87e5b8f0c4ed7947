package auth_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/otp"
)

// mustEnrol logs a user in who must set a factor up first, and returns what is pending.
func (f *factored) mustEnrol(username string) string {
	f.Helper()
	_, err := f.Logins.LoginInBrowser(
		f.Context(), username, goodPassword, client, auth.BrowserLogin{Remember: true},
	)
	needed, ok := errors.AsType[*auth.FactorNeededError](err)
	if !ok || !needed.Enrol || !errors.Is(err, auth.ErrFactorEnrol) {
		f.Fatalf("the login of %s: %v", username, err)
	}
	return needed.Pending
}

// enrolTOTP sets up an app, as a login demands it.
func (f *factored) enrolTOTP(pending string) (auth.BrowserGrant, []otp.RecoveryCode, string, error) {
	f.Helper()
	p, err := f.Logins.Pending(f.Context(), pending)
	if err != nil {
		return auth.BrowserGrant{}, nil, "", err
	}
	offered := f.Factors.NewTOTP(p.User)
	code := f.secretOf(offered).Code(otp.Step(f.at))
	grant, codes, err := f.Logins.EnrolTOTP(
		f.Context(), f.Factors, pending, offered.Sealed, code, client, auth.BrowserLogin{},
	)
	return grant, codes, code, err
}

func (f *factored) enrolPasskey(pending string, k key) (auth.BrowserGrant, []otp.RecoveryCode, error) {
	f.Helper()
	options, err := f.Logins.EnrolOptions(f.Context(), f.Factors, pending)
	must(f, err)
	return f.Logins.EnrolPasskey(f.Context(), f.Factors, pending, "Key", k.answers(f, options),
		client, auth.BrowserLogin{})
}

// demanding are the reasons for which an account must have a factor. One that must have it can set
// it up even where nobody else does.
func demanding() map[string]authtest.Options {
	return map[string]authtest.Options{
		"setting":          {Factors: auth.FactorsRequired},
		"role":             {},
		"role, all others": {Factors: auth.FactorsNone},
	}
}

func startDemanding(t *testing.T, why string) *factored {
	t.Helper()
	f := startFactored(t, demanding()[why])
	for _, name := range []string{"alice", "bob"} {
		user := f.register(name)
		if name == "alice" && why != "setting" {
			f.exec("INSERT INTO roles (name, factor) VALUES ('clerk', true)")
		}
		if why != "setting" {
			f.exec("INSERT INTO user_roles (user_id, role_name) VALUES ($1, 'clerk')", user.ID)
		}
	}
	return f
}

// Whoever must have a factor would be locked out, or get in without it.
func TestALoginThatDemandsAFactorGoesOnWhenOneIsSetUpAndNotBefore(t *testing.T) {
	t.Parallel()
	for why := range demanding() {
		f := startDemanding(t, why)
		pending := f.mustEnrol("alice")
		other := f.mustEnrol("alice")
		grant, codes, code, err := f.enrolTOTP(pending)
		must(t, err)
		b := f.browser(grant.Cookie)
		f.wantCodes(why, b.User.ID, codes)
		if !slices.Equal(b.Methods, []string{"pwd", "otp", "mfa"}) || grant.MaxAge == 0 {
			t.Errorf("%s: a session by %v for %v", why, b.Methods, grant.MaxAge)
		}
		for name, used := range map[string]string{"used": pending, "of before": other} {
			if _, _, _, err := f.enrolTOTP(used); !errors.Is(err, auth.ErrPendingLogin) {
				t.Errorf("%s: a login that is %s: %v", why, name, err)
			}
		}

		_, err = f.Logins.LoginInBrowser(t.Context(), "alice", goodPassword, client, auth.BrowserLogin{})
		needed, _ := errors.AsType[*auth.FactorNeededError](err)
		if needed == nil || needed.Enrol {
			t.Fatalf("%s: the next login: %v", why, err)
		}
		_, err = f.Logins.ProveFactor(t.Context(), needed.Pending, auth.FactorProof{Code: code}, false,
			client, auth.BrowserLogin{})
		if !errors.Is(err, auth.ErrFactorReused) {
			t.Errorf("%s: the code that set the app up, at a login: %v", why, err)
		}
		if _, _, _, err := f.enrolTOTP(needed.Pending); !errors.Is(err, auth.ErrPendingLogin) {
			t.Errorf("%s: another app, by whoever has not proved the first: %v", why, err)
		}
	}
}

// Somebody else's login must not be good for a factor of this account, and none of the two for what
// the other one was asked.
func TestAFactorIsSetUpForItsOwnLoginAlone(t *testing.T) {
	t.Parallel()
	f := startDemanding(t, "setting")
	alice, again, bob := f.mustEnrol("alice"), f.mustEnrol("alice"), f.mustEnrol("bob")
	options, err := f.Logins.EnrolOptions(t.Context(), f.Factors, alice)
	must(t, err)
	response := newKey(true).answers(t, options)
	for name, pending := range map[string]string{"another of hers": again, "bob's": bob} {
		_, _, err := f.Logins.EnrolPasskey(t.Context(), f.Factors, pending, "", response, client,
			auth.BrowserLogin{})
		if !errors.Is(err, auth.ErrInvalidPasskey) {
			t.Errorf("the answer to alice's login, for %s: %v", name, err)
		}
	}
	p, err := f.Logins.Pending(t.Context(), alice)
	must(t, err)
	offered := f.Factors.NewTOTP(p.User)
	_, codes, err := f.Logins.EnrolTOTP(t.Context(), f.Factors, bob, offered.Sealed,
		f.secretOf(offered).Code(otp.Step(f.at)), client, auth.BrowserLogin{})
	if !errors.Is(err, auth.ErrEnrolmentOver) || len(codes) > 0 {
		t.Errorf("alice's secret for bob: %v", err)
	}
	for name, pending := range map[string]string{"none": "", "no login": "AAAA"} {
		if _, err := f.Logins.EnrolOptions(t.Context(), f.Factors, pending); !errors.Is(err, auth.ErrPendingLogin) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, _, err = f.Logins.EnrolPasskey(t.Context(), f.Factors, alice, "", response, client,
		auth.BrowserLogin{})
	must(t, err)
	f.at = f.at.Add(11 * time.Minute)
	if _, _, _, err := f.enrolTOTP(bob); !errors.Is(err, auth.ErrPendingLogin) {
		t.Errorf("too late: %v", err)
	}
}

func TestOfManyWhoEnrolByOneLoginAtOnceOneDoes(t *testing.T) {
	t.Parallel()
	f := startDemanding(t, "setting")
	pending := f.mustEnrol("alice")
	const many = 20
	errs := make([]error, many)
	var all sync.WaitGroup
	for n := range many {
		all.Go(func() { _, _, _, errs[n] = f.enrolTOTP(pending) })
	}
	all.Wait()
	done := 0
	for _, err := range errs {
		switch {
		case err == nil:
			done++
		case !errors.Is(err, auth.ErrPendingLogin) && !errors.Is(err, auth.ErrFactorExists):
			t.Error(err)
		}
	}
	if done != 1 {
		t.Errorf("%d did", done)
	}
}

// Sessions of before give nothing, and must not come to life with the factor of another session.
func TestWhoeverEnrolsAtALoginIsLoggedOutElsewhere(t *testing.T) {
	t.Parallel()
	f := startFactored(t, authtest.Options{})
	f.register("alice")
	b := f.held("alice")
	f.anew(f.store, authtest.Options{
		Factors: auth.FactorsRequired, Clock: func() time.Time { return f.at }, Bounds: time.Now,
	})
	_, err := f.Factors.RemovePassword(t.Context(), auth.Enroller{Browser: auth.Browser{}})
	if !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("nobody: %v", err)
	}
	f.wantCookieRefused("a session without the factor", b.own.Cookie)
	_, _, err = f.enrolPasskey(f.mustEnrol("alice"), newKey(true))
	must(t, err)
	f.wantCookieRefused("a session of before", b.own.Cookie)
	if _, err := f.Tokens.Refresh(t.Context(), b.program.RefreshToken, client); !errors.Is(err, auth.ErrInvalidGrant) {
		t.Errorf("a refresh token of before: %v", err)
	}
}

// The codes are shown once. Whoever has to do something else first would never see them.
func TestTheCodesComeAlsoIfThePasswordMustBeChangedAfterwards(t *testing.T) {
	t.Parallel()
	f := startDemanding(t, "setting")
	_, err := f.Accounts.RequirePasswordChange(t.Context(), authtest.Operator(), auth.ByName("alice"), nil)
	must(t, err)
	grant, codes, _, err := f.enrolTOTP(f.mustEnrol("alice"))
	change, ok := errors.AsType[*auth.ChangeNeededError](err)
	if !ok || grant.Cookie != "" {
		t.Fatalf("%+v, %v", grant, err)
	}
	alice, err := f.Accounts.Find(t.Context(), auth.ByName("alice"))
	must(t, err)
	f.wantCodes("must change", alice.ID, codes)
	grant, err = f.Logins.ReplacePasswordInBrowser(t.Context(), "alice", goodPassword,
		"another correct horse", client, auth.BrowserLogin{Pending: change.Pending})
	must(t, err)
	if b := f.browser(grant.Cookie); !slices.Equal(b.Methods, []string{"pwd", "otp", "mfa"}) {
		t.Errorf("a session by %v", b.Methods)
	}
}
