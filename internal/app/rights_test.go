package app_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/dbtest"
)

// Somebody must be warned if the service's role could change the audit log. There must be no
// warning otherwise.
func TestTheStartWarnsOfRightsThatTheServiceShouldNotHave(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ grant, warning string }{
		"as it should be": {"SELECT", ""},
		"all may create in public": {"GRANT CREATE ON SCHEMA public TO PUBLIC",
			"may create objects in the schema"},
		"the role may make schemas": {"DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO " + dbtest.ServiceRole + "', current_database()); END $$", "may create objects in the schema"},
		"the log may be changed": {"GRANT DELETE ON audit_events TO " + dbtest.ServiceRole,
			"may change the audit log"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			databaseURL := dbtest.New(t)
			owner, err := pgx.Connect(t.Context(), dbtest.Owner(t, databaseURL))
			must(t, err)
			_, err = owner.Exec(t.Context(), test.grant)
			must(t, err)
			must(t, owner.Close(t.Context()))
			r := boot(t, databaseURL)
			warned := strings.Count(r.log.String(),
				"the service's role of PostgreSQL "+test.warning)
			if (test.warning != "") != (warned == 1) || warned > 1 {
				t.Errorf("%d warnings of %q", warned, test.warning)
			}
		})
	}
}
