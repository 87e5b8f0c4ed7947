package baseline

import (
	"os"
	"strings"
	"testing"
)

// A statement that the service no longer uses would be compared with one that it does.
func TestTheBareStatementsAreThoseOfTheService(t *testing.T) {
	t.Parallel()
	const generated, written = "db/internal/sqlcgen/sessions.sql.go", "db/queries/sessions.sql"
	for name, want := range map[string]struct {
		sql, file, end string
		params         []string
	}{
		"SessionByID":   {sessionByID, generated, "`", nil},
		"RotateSession": {rotateSession, written, ";", []string{"@idle_seconds", "$3", "@id", "$1", "@counter", "$2", "@event", "$4", "sqlc.narg('network')", "$5"}},
	} {
		text, err := os.ReadFile("../../../" + want.file)
		must(t, err)
		_, rest, found := strings.Cut(string(text), "-- name: "+name+" ")
		_, query, _ := strings.Cut(rest, "\n")
		query, _, _ = strings.Cut(query, want.end)
		query = strings.TrimSpace(strings.NewReplacer(want.params...).Replace(query))
		if !found || query != strings.TrimSpace(want.sql) {
			t.Errorf("%s is now\n%s", name, query)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
