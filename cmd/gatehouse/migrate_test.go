package main

import (
	"strings"
	"testing"

	"gatehouse/internal/dbtest"
	"gatehouse/migrations"
)

func migrationsOf(t *testing.T, url string) []migrationLine {
	t.Helper()
	return fromJSON[[]migrationLine](t, gatehouse(t, "", "migrate", "status", "--json", url).succeeded(t))
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

	down := gatehouse(t, "", "migrate", "down-to", "0", url).succeeded(t)
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
