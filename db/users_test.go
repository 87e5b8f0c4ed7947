package db

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/dbtest"
)

// fullUser is a user of whom each column of users differs from what a new user has.
func (d *DB) fullUser(t *testing.T) auth.User {
	t.Helper()
	u := d.mustInsert(t, "Alice")
	d.exec(t, "INSERT INTO roles (name, factor) VALUES ('clerk', true)")
	d.exec(t, "INSERT INTO role_permissions (role_name, permission) VALUES ('clerk', 'files:read')")
	must(t, d.GrantRole(t.Context(), anEvent(), auth.Freely(), u.ID, "clerk"))
	d.exec(t, "INSERT INTO totp_secrets (user_id, sealed, last_step) VALUES ($1, decode(repeat('00', 48), 'hex'), 1)", u.ID)
	d.exec(t, `UPDATE users SET disabled_at = now(), must_change_password = true, password_expires_at = now() + interval '1 day',
		password_changed_at = now() - interval '1 hour', email = 'Alice@Example.org', email_key = 'alice@example.org',
		verify_until = now() + interval '2 hours', password_removed_at = now()`)
	u, err := d.UserByID(t.Context(), u.ID)
	must(t, err)
	return u
}

// A column that one statement forgets would be its zero value for the rules that read users by it:
// a ban that a refresh does not see.
func TestNoColumnOfUsersIsLostOnItsWayToTheRules(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	rows, err := d.pool.Query(t.Context(), `
		SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = 'users'
		EXCEPT SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = 'accounts'
		ORDER BY 1`)
	must(t, err)
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	// What is left of password_removed_at is that it is there, as passwordless.
	if want := []string{"factor_failures", "password_hash", "password_key", "password_removed_at", "username_address"}; !slices.Equal(missing, want) {
		t.Errorf("the view accounts lacks %q, and should lack %q alone", missing, want)
	}

	u := d.fullUser(t)
	fields := reflect.ValueOf(u)
	for n := range fields.NumField() {
		if fields.Field(n).IsZero() {
			t.Errorf("UserByID does not fill %s", fields.Type().Field(n).Name)
		}
	}
	d.exec(t, "UPDATE users SET email_verified_at = now(), verify_until = NULL")
	u, err = d.UserByID(t.Context(), u.ID)
	must(t, err)
	if !u.Email.Verified() || u.VerifyUntil != nil {
		t.Errorf("verified: %+v", u)
	}
	d.exec(t, "UPDATE users SET disabled_at = NULL")
	session := d.startSession(t, u, 1)
	d.exec(t, "UPDATE users SET disabled_at = $1", u.DisabledAt)
	disabled := true
	for name, read := range map[string]func() (auth.User, error){
		"UserByKey":        func() (auth.User, error) { return d.UserByKey(t.Context(), "alice") },
		"CredentialsByKey": func() (auth.User, error) { c, err := d.CredentialsByKey(t.Context(), "alice"); return c.User, err },
		"SessionByID":      func() (auth.User, error) { s, err := d.SessionByID(t.Context(), session); return s.User, err },
		"FindUsers":        func() (auth.User, error) { return d.findOne(t, auth.UserFilter{}) },
		"FindUsersByState": func() (auth.User, error) { return d.findOne(t, auth.UserFilter{Disabled: &disabled}) },
		"FindUsersByEmail": func() (auth.User, error) {
			return d.findOne(t, auth.UserFilter{Email: "alice@example.org", Role: "clerk"})
		},
		"FindUsersByRole": func() (auth.User, error) { return d.findOne(t, auth.UserFilter{Role: "clerk"}) },
	} {
		got, err := read()
		must(t, err)
		if !reflect.DeepEqual(got, u) {
			t.Errorf("%s: %+v, want %+v", name, got, u)
		}
	}
}

func (d *DB) findOne(t *testing.T, filter auth.UserFilter) (auth.User, error) {
	t.Helper()
	found, err := d.FindUsers(t.Context(), filter, "", 9)
	if len(found) != 1 {
		return auth.User{}, fmt.Errorf("%d users: %w", len(found), err)
	}
	return found[0], err
}

// What a change returns becomes a token. One with the version of before would be refused at once,
// and one with the roles of before would have rights that were taken away.
func TestAChangeReturnsTheUserAsItHasLeftIt(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	u := d.fullUser(t)
	for _, change := range []struct {
		name string
		do   func() (auth.User, error)
	}{
		{"EnableUser", func() (auth.User, error) { return d.EnableUser(t.Context(), anEvent(), auth.Freely(), "alice", nil) }},
		{"ReplacePassword", func() (auth.User, error) { return d.ReplacePassword(t.Context(), anEvent(), u, otherHash) }},
		{"ChangePassword", func() (auth.User, error) {
			s, err := d.ChangePassword(t.Context(), anEvent(), changeOf(u, d.startSession(t, u, 1)))
			return s.User, err
		}},
		{"RequirePasswordChange", func() (auth.User, error) {
			return d.RequirePasswordChange(t.Context(), anEvent(), auth.Freely(), "alice", nil)
		}},
		{"SetPassword", func() (auth.User, error) { return d.SetPassword(t.Context(), anEvent(), auth.Freely(), "alice", plain) }},
		{"DisableUser", func() (auth.User, error) { return d.DisableUser(t.Context(), anEvent(), auth.Freely(), "alice", nil) }},
	} {
		changed, err := change.do()
		must(t, err)
		if reflect.DeepEqual(changed, u) {
			t.Errorf("%s returns the user as before: %+v", change.name, changed)
		}
		if u, err = d.UserByID(t.Context(), u.ID); err != nil || !reflect.DeepEqual(changed, u) {
			t.Errorf("%s returns %+v, and left %+v, %v", change.name, changed, u, err)
		}
	}
}

var otherHash = strings.Replace(plainHash, plainHash[len(plainHash)-5:], "other", 1)

// Rows of another size, or a step that is left out, would tell by their time which names exist.
func TestANameThatNobodyHasIsLookedForAsOneThatSomebodyHas(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	d.exec(t, "INSERT INTO password_keys (id, check_value) VALUES ('1', sha256('a key'))")
	d.mustInsert(t, "alice")
	d.exec(t, "UPDATE users SET password_hash = '$hmac-sha256$k=1$' || $1", plainHash[len(plainHash)-60:])
	traced, seen := d.traced(t)
	number := regexp.MustCompile(`[0-9]+(\.[0-9]+)?`)
	var sizes [2][]int
	var plans [2]string
	for n, name := range []string{"alice", "nobod"} {
		_, _ = traced.CredentialsByKey(t.Context(), name)
		s := seen.take()[0]
		sizes[n] = d.sizes(t, s)
		plan := d.explain(t, "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off)", s)["force_generic_plan"]
		for _, line := range plan {
			if strings.Contains(line, "->") {
				plans[n] += number.ReplaceAllString(strings.TrimSuffix(line, "(never executed)"), "N") + "\n"
			}
		}
	}
	if !slices.Equal(sizes[0], sizes[1]) {
		t.Errorf("columns of %v bytes for an account, of %v for a stand-in", sizes[0], sizes[1])
	}
	if plans[0] != plans[1] || strings.Count(plans[0], "user_roles") < 2 {
		t.Errorf("for an account:\n%s\nfor a stand-in:\n%s", plans[0], plans[1])
	}
}

// sizes are the bytes of each column of the row that a statement gives; -1 is NULL.
func (d *DB) sizes(t *testing.T, s statement) (sizes []int) {
	t.Helper()
	rows, err := d.pool.Query(t.Context(), s.sql, s.args...)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		for _, value := range rows.RawValues() {
			if value == nil {
				sizes = append(sizes, -1)
				continue
			}
			sizes = append(sizes, len(value))
		}
	}
	must(t, rows.Err())
	return sizes
}
