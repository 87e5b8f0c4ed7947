package db

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/dbtest"
)

// An operator who looks for the few disabled users among a million, or for those who have a rare
// role, must not wait until every name
// was read: they may be at its end.
func TestAPageOfUsersReadsLittleBesideWhatItShows(t *testing.T) {
	t.Parallel()
	const users, found = 5000, 10
	d := open(t, Options{URL: dbtest.Owner(t, dbtest.New(t))})
	d.fill(t, users)
	for _, statement := range []string{
		"UPDATE users SET username = 'zz' || username, username_key = 'zz' || username_key, disabled_at = now() WHERE id IN (SELECT id FROM users LIMIT 10)",
		"INSERT INTO user_roles (user_id, role_name) SELECT id, 'reader' FROM users WHERE disabled_at IS NOT NULL",
		// One that half of all have, the last half by their names.
		`INSERT INTO user_roles (user_id, role_name) SELECT id, 'writer' FROM users ORDER BY username_key COLLATE "C" DESC LIMIT 2500`,
		"VACUUM ANALYZE",
	} {
		_, err := d.pool.Exec(t.Context(), statement)
		must(t, err)
	}
	traced, seen := d.traced(t)
	yes, no := true, false
	for _, filter := range []auth.UserFilter{
		{}, {Prefix: "zz"}, {Disabled: &yes}, {Disabled: &no}, {Role: "reader"}, {Role: "writer"}, {Role: "spare"},
		{Role: "reader", Disabled: &yes}, {Role: "writer", Disabled: &yes}, {Role: "writer", Disabled: &no}, {Role: "writer", Prefix: "zz"},
	} {
		shown, err := traced.FindUsers(t.Context(), filter, "", found)
		must(t, err)
		if want := found; filter.Role != "spare" && len(shown) != want {
			t.Errorf("%+v: %d users, want %d", filter, len(shown), want)
		}
		for mode, plan := range d.explain(t, "EXPLAIN (ANALYZE, TIMING off)", seen.take()[0]) {
			if most := rowsRead(plan); most > 20*found {
				t.Errorf("%+v, %s: %.0f rows read in one step\n%s", filter, mode, most, strings.Join(plan, "\n"))
			}
		}
	}
}

var (
	rowsOut     = regexp.MustCompile(`actual rows=([0-9.]+) loops=([0-9]+)`)
	rowsRemoved = regexp.MustCompile(`Rows Removed by .*: ([0-9]+)`)
)

// rowsRead is how many rows the busiest step of a plan has read, also those that it left out.
func rowsRead(plan []string) (most float64) {
	var out, loops float64
	for _, line := range plan {
		removed := 0.0
		if m := rowsOut.FindStringSubmatch(line); m != nil {
			out, _ = strconv.ParseFloat(m[1], 64)
			loops, _ = strconv.ParseFloat(m[2], 64)
		} else if m := rowsRemoved.FindStringSubmatch(line); m != nil {
			removed, _ = strconv.ParseFloat(m[1], 64)
		}
		most = max(most, (out+removed)*loops)
	}
	return most
}
