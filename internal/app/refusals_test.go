package app_test

import (
	"net/http"
	"testing"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/dbtest"
)

// If a caller is refused again and again, a replica counts most refusals in memory. A restart must
// not hide the attack.
func TestAStopTellsOfTheRefusalsThatWereOnlyCounted(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	r := boot(t, url)
	const sent = 150
	for range sent {
		request := r.request("POST", "/token", "username=alice&password=x")
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.SetBasicAuth("shop", "guess")
		r.want(http.StatusUnauthorized, r.do(request))
	}
	r.stop()
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	defer conn.Close(t.Context())
	var lines, told int
	must(t, conn.QueryRow(t.Context(),
		"SELECT count(*), sum(count) FROM audit_events WHERE action = 'client.authenticate'").Scan(
		&lines, &told))
	if told != sent || lines == sent {
		t.Errorf("%d lines tell of %d refusals, and there were %d", lines, told, sent)
	}
}
