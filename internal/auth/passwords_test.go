package auth_test

import (
	"errors"
	"strings"
	"testing"

	"gatehouse/internal/auth"
)

// A demand that comes while the password is looked at must not be outrun by the session.
func TestAPasswordThatMustBeChangedSinceItWasReadDoesNotLogIn(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	err := f.duringHashing("alice", func() {
		_, err := f.RequirePasswordChange(t.Context(), "alice")
		must(t, err)
	})
	if !errors.Is(err, auth.ErrSuperseded) {
		t.Errorf("login: %v", err)
	}
	f.wantLogin("alice", goodPassword, auth.ErrMustChangePassword)
}

// A session that started an instant before the demand, and that it did not see, must not go on.
func TestNoSessionOfAUserWhoMustChangeThePasswordIsRefreshed(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	grant, err := c.Login(t.Context(), "alice", goodPassword, client)
	must(t, err)
	_, err = c.conn.Exec(t.Context(), "UPDATE users SET must_change_password = true")
	must(t, err)
	if _, err := c.Refresh(t.Context(), grant.RefreshToken, client); !errors.Is(err, auth.ErrInvalidGrant) {
		t.Errorf("refresh: %v", err)
	}
}

// The new password is hashed for long enough for an operator to act, and for a secret to expire.
func TestAPasswordIsNotReplacedIfTheUserHasChangedMeanwhile(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	for name, act := range map[string]func(name string){
		"disabled": func(name string) { _, err := c.Disable(t.Context(), name); must(t, err) },
		"demanded": func(name string) { _, err := c.RequirePasswordChange(t.Context(), name); must(t, err) },
		"replaced": func(name string) { _, err := c.SetPassword(t.Context(), name, "another good password"); must(t, err) },
		"expired": func(name string) {
			_, err := c.conn.Exec(t.Context(), "UPDATE users SET password_expires_at = now() WHERE username = $1", name)
			must(t, err)
		},
	} {
		_, _, err := c.RegisterInitial(t.Context(), name)
		must(t, err)
		before, err := c.User(t.Context(), name)
		must(t, err)
		if before.PasswordExpiresAt == nil || !before.MustChangePassword {
			t.Fatalf("%+v", before)
		}
		act(name)
		hash := c.hashOf(name)
		if _, err := c.store.ReplacePassword(t.Context(), anEvent(), before, "$2b$05$"+strings.Repeat("x", 53)); !errors.Is(err, auth.ErrUserNotFound) {
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
			_, err := f.SetPassword(t.Context(), name, "another good password")
			return err
		},
		"replaced": func(name string) error {
			_, secret, err := f.SetInitialSecret(t.Context(), name)
			must(t, err)
			_, err = f.ReplacePassword(t.Context(), name, secret, "another good password", client)
			return err
		},
	} {
		_, _, err := f.RegisterInitial(t.Context(), name, auth.AdminRole)
		must(t, err)
		must(t, set(name))
		user, err := f.User(t.Context(), name)
		if err != nil || user.MustChangePassword || user.PasswordExpiresAt != nil {
			t.Errorf("%s: %+v, %v", name, user, err)
		}
		f.wantLogin(name, "another good password", nil)
	}
	user, err := f.SetTemporaryPassword(t.Context(), "set", goodPassword)
	if err != nil || !user.MustChangePassword || user.PasswordExpiresAt != nil {
		t.Errorf("temporary: %+v, %v", user, err)
	}
	f.wantLogin("set", goodPassword, auth.ErrMustChangePassword)
}
