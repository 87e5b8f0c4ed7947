package main

import (
	"fmt"
	"strings"
	"testing"

	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/pgdev"
	"gatehouse.example/migrations"
)

func migrationsOf(t *testing.T, url string) []migrationLine {
	t.Helper()
	return linesFromJSON[migrationLine](t, gatehouse(t, "", "migrate", "status", "--json", url).succeeded(t))
}

func TestMigrateGoesUpAndDown(t *testing.T) {
	t.Parallel()
	url := "--database-url=" + dbtest.Empty(t)
	for _, m := range migrationsOf(t, url) {
		if m.AppliedAt != nil {
			t.Errorf("%s is applied in an empty database", m.Name)
		}
	}

	up := gatehouse(t, "", "migrate", url).succeeded(t)
	all := migrationsOf(t, url)
	if len(all) == 0 || all[len(all)-1].Version != migrations.Latest() {
		t.Fatalf("status does not end with version %d: %+v", migrations.Latest(), all)
	}
	for _, m := range all {
		if m.AppliedAt == nil || m.AppliedAt.IsZero() || !strings.Contains(up, "up  "+m.Name+"  ") {
			t.Errorf("%s is not applied: %s", m.Name, up)
		}
	}
	if again := gatehouse(t, "", "migrate", "up", url).succeeded(t); again != "nothing to do\n" {
		t.Errorf("a second time: %s", again)
	}

	down := gatehouse(t, "", "migrate", "down-to", "0", "--yes", url).succeeded(t)
	for _, m := range migrationsOf(t, url) {
		if m.AppliedAt != nil || !strings.Contains(down, "down  "+m.Name+"  ") {
			t.Errorf("%s is not undone: %s", m.Name, down)
		}
	}
}

func TestMigrationStatusIsAligned(t *testing.T) {
	t.Parallel()
	url := "--database-url=" + dbtest.New(t)
	lines := strings.Split(strings.TrimSuffix(gatehouse(t, "", "migrate", "status", url).succeeded(t), "\n"), "\n")
	all := migrationsOf(t, url)
	if len(lines) != len(all)+1 {
		t.Fatalf("%d lines for %d migrations", len(lines), len(all))
	}
	column := strings.Index(lines[0], "NAME")
	for n, m := range all {
		if strings.Index(lines[n+1], m.Name) != column {
			t.Errorf("not aligned:\n%s", strings.Join(lines, "\n"))
		}
	}
}

// Whoever has mistyped a version would be asked whether to delete what tables hold.
func TestAVersionThatIsNoneIsRefusedBeforeAnyQuestion(t *testing.T) {
	t.Parallel()
	url := "--database-url=" + dbtest.New(t)
	unknown := fmt.Sprint(migrations.Latest() + 1)
	for version, args := range map[string][]string{unknown: {unknown}, unknown + ";": {unknown, "--yes"}, "-1": {"--", "-1"}} {
		e := gatehouse(t, "y\n", append([]string{"migrate", "down-to", url}, args...)...)
		e.failed(t, exitFailed, "there is no version "+version)
	}
}

// The statement that failed says nothing of what to do, and what was migrated by then is a
// half-done installation.
func TestAServiceRoleThatIsMissingIsNamedBeforeAnythingIsChanged(t *testing.T) {
	t.Parallel()
	url := "--database-url=" + dbtest.Empty(t)
	e := gatehouse(t, "", "migrate", "--service-role=nobody of this name", url)
	e.failed(t, exitFailed, `SERVICE_ROLE: there is no role "nobody of this name" in PostgreSQL; create it with CREATE ROLE`)
	if strings.Contains(e.err, "GRANT") || strings.Contains(e.err, "REVOKE") {
		t.Errorf("it shows a statement: %s", e.err)
	}
	for _, m := range migrationsOf(t, url) {
		if m.AppliedAt != nil {
			t.Errorf("%s is applied", m.Name)
		}
	}
}

// Programs that migrate read what was done.
func TestMigrateUpAndDownPrintJSON(t *testing.T) {
	t.Parallel()
	database := dbtest.Empty(t)
	if _, err := pgdev.AddRole(t.Context(), database, dbtest.ServiceRole); err != nil {
		t.Fatal(err)
	}
	url := "--database-url=" + database
	up := linesFromJSON[stepLine](t, gatehouse(t, "", "migrate", "--json", url).succeeded(t))
	all := migrationsOf(t, url)
	if len(up) != len(all) || up[0].Direction != "up" || up[0].Version != all[0].Version || up[0].Name != all[0].Name {
		t.Errorf("up: %+v", up)
	}
	if again := gatehouse(t, "", "migrate", "up", "--json", url).succeeded(t); again != "" {
		t.Errorf("nothing to do is told as %s", again)
	}
	granted := linesFromJSON[grantLine](t, gatehouse(t, "", "migrate", "--json", "--service-role="+dbtest.ServiceRole, url).succeeded(t))
	if len(granted) != 1 || granted[0].ServiceRole != dbtest.ServiceRole {
		t.Errorf("granted: %+v", granted)
	}
	last := all[len(all)-1]
	down := linesFromJSON[stepLine](t, gatehouse(t, "", "migrate", "down-to", fmt.Sprint(all[len(all)-2].Version), "--yes", "--json", url).succeeded(t))
	if len(down) != 1 || down[0].Direction != "down" || down[0].Name != last.Name {
		t.Errorf("down: %+v", down)
	}
}
