package app_test

import (
	"context"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/dbtest"
)

// Whoever moves here from the tutorial's code, passlib or PHP must not have to ask every user for a
// new password.
func TestUsersOfOtherProgramsLogInAfterAnImport(t *testing.T) {
	t.Parallel()
	users := []struct{ name, password, hash string }{
		// of FastAPI's tutorial
		{"johndoe", "secret", "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW"},
		// of passlib's documentation
		{"passlib", "password", "$2a$12$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m"},
		// of PHP's
		{"php", "rasmuslerdorf", "$2y$07$BCryptRequires22Chrcte/VlQH0piJtjXl.0t1XkA8pw9dMXTpOq"},
		// as passlib's ldap_bcrypt
		{"ldap", "rasmuslerdorf",
			"{CRYPT}$2y$07$BCryptRequires22Chrcte/VlQH0piJtjXl.0t1XkA8pw9dMXTpOq"},
		{"spring", "rasmuslerdorf",
			"{bcrypt}$2y$07$BCryptRequires22Chrcte/VlQH0piJtjXl.0t1XkA8pw9dMXTpOq"},
		{"dovecot", "rasmuslerdorf",
			"{BLF-CRYPT}$2y$07$BCryptRequires22Chrcte/VlQH0piJtjXl.0t1XkA8pw9dMXTpOq"},
		// of its tutorial, since pwdlib
		{"fastapi", "secret",
			"$argon2id$v=19$m=65536,t=3,p=4$wagCPXjifgvUFBzq4hqe3w$CYaIb8sB+wtD+Vu/P4uod1+Qof8h+1g7bbDlBID48Rc"},
		{"typed", "correct\thorse\u00a0\u2764\ufe0f",
			hashOf(t, "correct\thorse\u00a0\u2764\ufe0f", 4)},
		{"mac", "p\u00e4ssword", hashOf(t, "pa\u0308ssword", 4)},
		{"dear", "secret", hashOf(t, "secret", 13)}, // more than two above the setting
	}
	databaseURL := dbtest.New(t)
	settings, err := config.Load(
		[]string{"--database-url=" + databaseURL, "--secret-key=" + secretKey, "--bcrypt-cost=10"})
	must(t, err)
	admin, err := app.OpenAdmin(context.Background(), settings.Database, settings.Passwords)
	must(t, err)
	defer admin.Close()
	count, err := admin.Transfer.Import(t.Context(), authtest.Operator(),
		func(yield func(auth.ImportLine, error) bool) {
			for n, u := range users {
				if !yield(auth.ImportLine{Number: n + 1,
					UserRecord: auth.UserRecord{Username: u.name, PasswordHash: u.hash}}, nil) {
					return
				}
			}
		}, auth.ImportOptions{Report: func(b auth.BadLine) {
			t.Errorf("line %d: %s", b.Line, b.Reason)
		}})
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

func hashOf(t *testing.T, pw string, cost int) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(pw), cost)
	must(t, err)
	return string(hash)
}
