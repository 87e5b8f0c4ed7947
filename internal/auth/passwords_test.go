package auth_test

import (
	"errors"
	"strings"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

// A demand that comes while the password is being verified must hold for the session too.
func TestAPasswordThatMustBeChangedSinceItWasReadDoesNotLogIn(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	err := f.duringHashing("alice", func() {
		_, err := f.Accounts.RequirePasswordChange(
			t.Context(), authtest.Operator(), auth.ByName("alice"), nil,
		)
		must(t, err)
	})
	if !errors.Is(err, auth.ErrSuperseded) {
		t.Errorf("login: %v", err)
	}
	f.wantLogin("alice", goodPassword, auth.ErrMustChangePassword)
}

// A session that started a moment before the demand, and was not visible to it, must not go on.
func TestNoSessionOfAUserWhoMustChangeThePasswordIsRefreshed(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	grant, err := c.Logins.Login(t.Context(), "alice", goodPassword, client)
	must(t, err)
	_, err = c.conn.Exec(t.Context(), "UPDATE users SET must_change_password = true")
	must(t, err)
	if _, err := c.Tokens.Refresh(
		t.Context(), grant.RefreshToken, client,
	); !errors.Is(err, auth.ErrInvalidGrant) {
		t.Errorf("refresh: %v", err)
	}
}

// The new password takes so long to hash that an operator can act meanwhile, or a secret can
// expire.
func TestAPasswordIsNotReplacedIfTheUserHasChangedMeanwhile(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	for name, act := range map[string]func(name string){
		"disabled": func(name string) {
			_, err := c.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName(name), nil)
			must(t, err)
		},
		"demanded": func(name string) {
			_, err := c.Accounts.RequirePasswordChange(
				t.Context(), authtest.Operator(), auth.ByName(name), nil,
			)
			must(t, err)
		},
		"replaced": func(name string) {
			_, _, err := c.Accounts.SetPassword(
				t.Context(), authtest.Operator(), auth.ByName(name),
				auth.NewPassword{Password: "another good password"},
			)
			must(t, err)
		},
		"expired": func(name string) {
			_, err := c.conn.Exec(
				t.Context(), "UPDATE users SET password_expires_at = now() WHERE username = $1",
				name,
			)
			must(t, err)
		},
	} {
		_, _, err := c.Accounts.Register(
			t.Context(), authtest.Operator(), auth.NewAccount{Username: name, Initial: true},
		)
		must(t, err)
		before, err := c.Accounts.Find(t.Context(), auth.ByName(name))
		must(t, err)
		if before.PasswordExpiresAt == nil || !before.MustChangePassword {
			t.Fatalf("%+v", before)
		}
		act(name)
		hash := c.hashOf(name)
		if _, err := c.store.ReplacePassword(
			t.Context(), anEvent(), before, "$2b$05$"+strings.Repeat("x", 53),
		); !errors.Is(err, auth.ErrUserNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if c.hashOf(name) != hash {
			t.Errorf("%s: replaced", name)
		}
	}
}

func TestAnotherPasswordLiftsTheDemandAndTheExpiry(t *testing.T) {
	t.Parallel()
	f := start(t)
	for name, set := range map[string]func(name string) error{
		"set": func(name string) error {
			_, _, err := f.Accounts.SetPassword(
				t.Context(), authtest.Operator(), auth.ByName(name),
				auth.NewPassword{Password: "another good password"},
			)
			return err
		},
		"replaced": func(name string) error {
			_, secret, err := f.Accounts.SetPassword(
				t.Context(), authtest.Operator(), auth.ByName(name),
				auth.NewPassword{Initial: true},
			)
			must(t, err)
			_, err = f.Logins.ReplacePassword(
				t.Context(), name, secret, "another good password", client,
			)
			return err
		},
	} {
		_, _, err := f.Accounts.Register(
			t.Context(), authtest.Operator(), auth.NewAccount{Username: name, Initial: true},
		)
		must(t, err)
		must(t, set(name))
		user, err := f.Accounts.Find(t.Context(), auth.ByName(name))
		if err != nil || user.MustChangePassword || user.PasswordExpiresAt != nil {
			t.Errorf("%s: %+v, %v", name, user, err)
		}
		f.wantLogin(name, "another good password", nil)
	}
	user, _, err := f.Accounts.SetPassword(
		t.Context(), authtest.Operator(), auth.ByName("set"),
		auth.NewPassword{Password: goodPassword, MustChange: true},
	)
	if err != nil || !user.MustChangePassword || user.PasswordExpiresAt != nil {
		t.Errorf("temporary: %+v, %v", user, err)
	}
	f.wantLogin("set", goodPassword, auth.ErrMustChangePassword)
}
