package app_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/token"
)

// login is a session of a user, with its tokens.
type login struct {
	username        string
	session         uuid.UUID
	access, refresh string
}

// logins makes a user who is logged in twice. It avoids the cost of hashing.
func logins(t testing.TB, conn *pgx.Conn, username string) (one, other login) {
	t.Helper()
	user := uuid.Must(uuid.NewV7())
	_, err := conn.Exec(t.Context(), `INSERT INTO users (id, username, username_key, password_hash)
		VALUES ($1, $2, $2, '$2b$10$' || repeat('h', 53))`, user, username)
	must(t, err)
	return logIn(t, conn, user, username), logIn(t, conn, user, username)
}

func logIn(t testing.TB, conn *pgx.Conn, user uuid.UUID, username string) login {
	t.Helper()
	session, salt := uuid.Must(uuid.NewV7()), make([]byte, 16)
	_, err := conn.Exec(t.Context(),
		`INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent)
		VALUES ($1, $2, $3, now() + interval '1 day', now() + interval '1 day', '', '')`, session,
		user, salt)
	must(t, err)
	keys, err := keychain.New([][]byte{[]byte(secretKey)})
	must(t, err)
	return login{
		username: username, session: session,
		refresh: token.NewRefreshKeys(keys).Make(session, 0, salt),
		access: issue(t, secretKey,
			token.Subject{UserID: user, SessionID: session, Username: username, Version: 1},
			time.Now()),
	}
}

func (r *replica) as(l login, method, path, body string, header ...string) answer {
	r.Helper()
	return r.do(
		r.request(method, path, body, append(header, "Authorization", "Bearer "+l.access)...))
}

func (r *replica) verified(l login) int {
	r.Helper()
	return r.do(r.verifyRequest("GET", "/verify", l.access)).status
}

// wantCached checks that a token is valid, so that the replica remembers it.
func (r *replica) wantCached(l login) {
	r.Helper()
	for range 2 {
		if got := r.verified(l); got != http.StatusNoContent {
			r.Errorf("%s: status %d", l.username, got)
		}
	}
}

// Every replica remembers that the token is signed. It must still check each time what ends a
// session.
func TestWhateverEndsASessionIsRefusedByEveryReplicaThatHasCachedItsToken(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	replicas := []*replica{boot(t, databaseURL), boot(t, databaseURL), boot(t, databaseURL)}
	conn, admin := connect(t, databaseURL), openAdmin(t, databaseURL)
	for name, end := range map[string]func(r *replica, victim, other login){
		"disabled": func(_ *replica, victim, _ login) {
			_, err := admin.Accounts.Disable(t.Context(), authtest.Operator(),
				auth.ByName(victim.username), nil)
			must(t, err)
		},
		"enabled-again": func(_ *replica, victim, _ login) {
			_, err := admin.Accounts.Disable(t.Context(), authtest.Operator(),
				auth.ByName(victim.username), nil)
			must(t, err)
			_, err = admin.Accounts.Enable(t.Context(), authtest.Operator(),
				auth.ByName(victim.username), nil)
			must(t, err)
		},
		"new-password-by-operator": func(_ *replica, victim, _ login) {
			_, _, err := admin.Accounts.SetPassword(t.Context(), authtest.Operator(),
				auth.ByName(victim.username), auth.NewPassword{Password: goodPassword})
			must(t, err)
		},
		"logout-by-operator": func(_ *replica, victim, _ login) {
			_, err := admin.Sessions.EndAllOf(t.Context(), authtest.Operator(),
				auth.ByName(victim.username))
			must(t, err)
		},
		"logout": func(r *replica, victim,
			_ login) {
			r.want(http.StatusNoContent, r.as(victim, "POST", "/logout", ""))
		},
		"logout-by-refresh-token": func(r *replica, victim, _ login) {
			r.want(http.StatusNoContent,
				r.do(r.request("POST", "/logout", "refresh_token="+victim.refresh, "Content-Type",
					"application/x-www-form-urlencoded")))
		},
		"session-deleted": func(r *replica, victim, other login) {
			r.want(http.StatusNoContent,
				r.as(other, "DELETE", "/users/me/sessions/"+victim.session.String(), ""))
		},
		"others-deleted": func(r *replica, _, other login) {
			r.want(http.StatusNoContent, r.as(other, "DELETE", "/users/me/sessions", ""))
		},
		"all-deleted": func(r *replica, _, other login) {
			r.want(http.StatusNoContent, r.as(other, "DELETE", "/users/me/sessions?all=true", ""))
		},
		"reuse": func(r *replica, victim, _ login) {
			r.want(http.StatusOK, r.do(r.refreshRequest(victim.refresh)))
			_, err := conn.Exec(t.Context(),
				"UPDATE sessions SET rotated_at = now() - interval '1 hour' WHERE id = $1",
				victim.session)
			must(t, err)
			r.want(http.StatusBadRequest, r.do(r.refreshRequest(victim.refresh)))
		},
		"new-password": func(r *replica, _, other login) {
			for _, r := range replicas {
				r.wantCached(other)
			}
			changePassword(r, conn, other)
			for _, r := range replicas { // the session goes on, but its earlier token is refused
				asynctest.Await(t, "the new version to be known",
					func() bool { return r.verified(other) == http.StatusUnauthorized })
			}
		},
	} {
		victim, other := logins(t, conn, name)
		for _, r := range replicas {
			r.wantCached(victim)
		}
		end(replicas[0], victim, other)
		for n, r := range replicas {
			asynctest.Await(t, name+" to be known",
				func() bool { return r.verified(victim) == http.StatusUnauthorized })
			for range 3 { // it stays so
				r.want(http.StatusUnauthorized,
					r.do(r.verifyRequest("POST", "/verify/cart", victim.access)))
			}
			if a := r.do(r.refreshRequest(victim.refresh)); a.status != http.StatusBadRequest {
				t.Errorf("%s, replica %d: refreshed: %d %s", name, n, a.status, a.body)
			}
		}
	}
}

// changePassword changes a user's password, given as the hash of another account's.
func changePassword(r *replica, conn *pgx.Conn, l login) {
	r.Helper()
	r.want(http.StatusCreated, r.do(r.registerRequest("template", goodPassword)))
	_, err := conn.Exec(r.Context(), `UPDATE users SET password_hash = t.password_hash FROM users t
		WHERE users.username_key = $1 AND t.username_key = 'template'`, l.username)
	must(r, err)
	body := `{"current_password": "` + goodPassword + `", "new_password": "another good password"}`
	r.want(http.StatusOK,
		r.as(l, "PUT", "/users/me/password", body, "Content-Type", "application/json"))
}
