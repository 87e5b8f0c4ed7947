package app_test

import (
	"context"
	"testing"

	"gatehouse/internal/app"
	"gatehouse/internal/auth"
	"gatehouse/internal/config"
	"gatehouse/internal/dbtest"
)

// Who moves here from the tutorial's code, passlib or PHP must not have to ask every user for a new password.
func TestUsersOfOtherProgramsLogInAfterAnImport(t *testing.T) {
	t.Parallel()
	users := []struct{ name, password, hash string }{
		{"johndoe", "secret", "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW"},            // of FastAPI's tutorial
		{"passlib", "password", "$2a$12$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m"},          // of passlib's documentation
		{"php", "rasmuslerdorf", "$2y$07$BCryptRequires22Chrcte/VlQH0piJtjXl.0t1XkA8pw9dMXTpOq"},         // of PHP's
		{"ldap", "rasmuslerdorf", "{CRYPT}$2y$07$BCryptRequires22Chrcte/VlQH0piJtjXl.0t1XkA8pw9dMXTpOq"}, // as passlib's ldap_bcrypt
	}
	databaseURL := dbtest.New(t)
	settings, err := config.Load([]string{"--database-url=" + databaseURL, "--secret-key=" + secretKey, "--bcrypt-cost=10"})
	must(t, err)
	admin, err := app.OpenAdmin(context.Background(), settings.Database, settings.Passwords)
	must(t, err)
	defer admin.Close()
	count, err := admin.Import(t.Context(), admin.Ring, func(yield func(auth.ImportLine, error) bool) {
		for n, u := range users {
			if !yield(auth.ImportLine{Number: n + 1, UserRecord: auth.UserRecord{Username: u.name, PasswordHash: u.hash}}, nil) {
				return
			}
		}
	}, auth.ImportOptions{Report: func(b auth.BadLine) { t.Errorf("line %d: %s", b.Line, b.Reason) }})
	must(t, err)
	if count.Imported != len(users) {
		t.Fatalf("%+v", count)
	}
	r := boot(t, databaseURL)
	for _, u := range users {
		r.want(200, r.do(r.loginRequest(u.name, u.password)))
		r.want(200, r.do(r.loginRequest(u.name, u.password))) // now with a hash of Gatehouse's own
		r.want(401, r.do(r.loginRequest(u.name, u.password+"!")))
	}
}
