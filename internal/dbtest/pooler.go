package dbtest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/asynctest"
)

// Pooler puts PgBouncer, with the configuration in deploy, between a test and its database, and
// returns its URL. All connections share two sessions of PostgreSQL. That finds out whoever relies
// on a session of its own.
func Pooler(t testing.TB, databaseURL string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer" // Debian's place, which is not on everybody's PATH
	}
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatalf("dbtest: pooler: %v", err)
	}
	at := FreeAddr(t)
	dir, err := os.MkdirTemp("", "pooler") // not t.TempDir(): another user must reach it
	if err != nil {
		t.Fatalf("dbtest: pooler: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ini := poolerFile(t, u, at, dir)
	command := exec.Command(program, "--quiet", ini)
	if os.Geteuid() == 0 {
		command.Args = append(command.Args, "--user=nobody") // it refuses to run as root
	}
	log := &asynctest.Buffer{}
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		t.Fatalf("dbtest: pooler: %v (apt-get install pgbouncer)", err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM) // at once, with all connections
		_ = command.Wait()
		if t.Failed() {
			t.Logf("log of PgBouncer:\n%s", log)
		}
	})
	u.Host = at
	asynctest.Await(t, "PgBouncer to answer", func() bool {
		conn, err := pgx.Connect(context.Background(), u.String())
		if err == nil {
			_ = conn.Close(context.Background())
		}
		return err == nil
	})
	return u.String()
}

func poolerFile(t testing.TB, database *url.URL, at, dir string) (ini string) {
	t.Helper()
	sample, err := os.ReadFile(filepath.Join("..", "..", "deploy", "pgbouncer.ini"))
	if err != nil {
		sample, err = os.ReadFile(filepath.Join("..", "deploy", "pgbouncer.ini"))
	}
	if err != nil {
		t.Fatalf("dbtest: pooler: %v", err)
	}
	_, port, _ := net.SplitHostPort(at)
	name, users := strings.TrimPrefix(database.Path, "/"), filepath.Join(dir, "users")
	text := string(sample)
	for pattern, value := range map[string]string{
		`(?m)^gatehouse = host=\S+ port=\S+ dbname=\S+`: fmt.Sprintf(
			"%s = host=%s port=%s dbname=%s", name, database.Hostname(), database.Port(), name),
		`(?m)^listen_port = .*`:       "listen_port = " + port,
		`(?m)^default_pool_size = .*`: "default_pool_size = 2",
		`(?m)^auth_file = .*`:         "auth_file = " + users,
	} {
		if !regexp.MustCompile(pattern).MatchString(text) {
			t.Fatalf("dbtest: pooler: the sample has no %s", pattern)
		}
		text = regexp.MustCompile(pattern).ReplaceAllLiteralString(text, value)
	}
	ini = filepath.Join(dir, "pgbouncer.ini")
	password, _ := database.User.Password()
	for path, content := range map[string]string{ini: text,
		users: fmt.Sprintf("%q %q\n", database.User.Username(), password)} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatalf("dbtest: pooler: %v", err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatalf("dbtest: pooler: %v", err)
	}
	return ini
}
