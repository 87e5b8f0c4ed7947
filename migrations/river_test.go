package migrations_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"gatehouse.example/internal/dbtest"
	"gatehouse.example/migrations"
)

func riverMigrator(t *testing.T, databaseURL string) *rivermigrate.Migrator[pgx.Tx] {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	migrator, err := rivermigrate.New(riverpgxv5.New(pool),
		&rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return migrator
}

// A release of river may bring migrations of its own. The service would then run on tables that it
// does not know, and only the log would tell.
func TestTheSchemaIsTheOneThatRiverWants(t *testing.T) {
	t.Parallel()
	river := riverMigrator(t, dbtest.New(t))
	all := river.AllVersions()
	if last := all[len(all)-1].Version; last != migrations.RiverVersion {
		t.Errorf("river has %d migrations, and ours come to %d: add one", last,
			migrations.RiverVersion)
	}
	applied, err := river.Validate(t.Context(), nil)
	if err != nil || !applied.OK {
		t.Errorf("river's tables: %+v, %v", applied, err)
	}
}

// A migrator that was killed between two steps of river leaves the first of them.
func TestRiversTablesAreCompletedAfterAMigratorWasKilled(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Empty(t)
	migrator, owner := open(t, databaseURL), connect(t, databaseURL)
	mustUp(t, migrator, len(files(t)))
	whole := schema(t, owner)
	for _, left := range []int{1, 3, 5} {
		down, err := migrator.DownTo(t.Context(), lastWithoutRiver)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := riverMigrator(t, databaseURL).Migrate(t.Context(), rivermigrate.DirectionUp,
			&rivermigrate.MigrateOpts{TargetVersion: left}); err != nil {
			t.Fatal(err)
		}
		mustUp(t, migrator, len(down))
		if now := schema(t, owner); now != whole {
			t.Errorf("after %d steps of river:\n%s\nwant:\n%s", left, now, whole)
		}
	}
}

// Our jobs in the queue of another application would be worked by it, and it would lose its own on
// our way back.
func TestTheRiverOfAnotherApplicationIsLeftAlone(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Empty(t)
	if _, err := riverMigrator(t, databaseURL).Migrate(t.Context(), rivermigrate.DirectionUp,
		nil); err != nil {
		t.Fatal(err)
	}
	migrator, owner := open(t, databaseURL), connect(t, databaseURL)
	for range 2 {
		_, err := migrator.Up(t.Context())
		if err == nil || !strings.Contains(err.Error(), "another application") {
			t.Fatalf("up: %v", err)
		}
	}
	if _, err := migrator.DownTo(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	exec(t, owner, "SELECT FROM river_job")
}

// The service works the jobs, and its role owns nothing.
func TestTheServiceMayDoWithJobsWhatRiverDoes(t *testing.T) {
	t.Parallel()
	service := connect(t, dbtest.New(t))
	for _, table := range []string{"river_job", "river_leader", "river_queue",
		"river_notification"} {
		exec(t, service, "SELECT FROM "+table)
		exec(t, service, "DELETE FROM "+table)
	}
	exec(t, service,
		"INSERT INTO river_job (kind, args, max_attempts) VALUES ('a', '{}', 1)")
	exec(t, service, "INSERT INTO river_notification (payload, topic) VALUES ('', 'a')")
	for _, statement := range []string{
		"DELETE FROM river_migration", "SELECT setval('river_job_id_seq', 1)",
		"ALTER TABLE river_job ADD COLUMN more text",
	} {
		if _, err := service.Exec(t.Context(), statement); err == nil {
			t.Errorf("the service may: %s", statement)
		}
	}
}
