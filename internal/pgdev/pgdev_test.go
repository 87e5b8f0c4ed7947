package pgdev

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"
)

// helperFolder makes this test binary run a server in that folder until it is killed, and run no
// tests.
const helperFolder = "TEST_OF_PGDEV_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperFolder); dir != "" {
		runUntilKilled(dir)
	}
	// a container is enough for all other tests, so it must be for `make test`
	if Find() == "" && os.Getenv("CI") == "" {
		fmt.Fprintln(os.Stderr, "pgdev: not tested, since this machine has no PostgreSQL programs")
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func runUntilKilled(dir string) {
	server, err := Start(context.Background(), Options{Dir: dir, Log: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(server.URL())
	select {}
}

// folder returns a new folder that a server can use. Only the owner can reach t.TempDir.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgdev-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// start runs a server that is stopped when the test ends.
func start(t *testing.T, o Options) *Server {
	t.Helper()
	server, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Remove(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func stop(t *testing.T, server *Server) {
	t.Helper()
	if err := server.Stop(); err != nil {
		t.Error(err)
	}
}

func connect(t *testing.T, databaseURL string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// leave puts a mark into the database, and found looks for it.
func leave(t *testing.T, databaseURL, mark string) {
	t.Helper()
	if _, err := connect(t, databaseURL).Exec(t.Context(), "CREATE TABLE "+mark+" ()"); err != nil {
		t.Fatal(err)
	}
}

func found(t *testing.T, databaseURL, mark string) bool {
	t.Helper()
	return setting(t, databaseURL, "SELECT (to_regclass('"+mark+"') IS NOT NULL)::text") == "true"
}

func setting(t *testing.T, databaseURL, query string) (value string) {
	t.Helper()
	if err := connect(t, databaseURL).QueryRow(t.Context(), query).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

func TestDataSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	first := start(t, Options{Dir: dir, Log: t.Output()})
	leave(t, first.URL(), "mark")
	stop(t, first)

	second := start(t, Options{Dir: dir, Log: t.Output()})
	if !found(t, second.URL(), "mark") {
		t.Error("the second run has a new cluster")
	}
	before := second.URL()
	stop(t, second)
	if err := second.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if second.URL() != before {
		t.Error("the address changed over Restart")
	}
	if !found(t, second.URL(), "mark") {
		t.Error("Restart lost the data")
	}
}

// A killed `make run` must not keep the next one from starting, and must not lose what it had
// committed.
func TestKilledRunIsTakenOver(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	helper := exec.Command(executable)
	helper.Env = append(os.Environ(), helperFolder+"="+dir)
	helper.Stderr = os.Stderr
	output, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	leave(t, strings.TrimSpace(address), "mark")
	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = helper.Wait() // the error says that it was killed

	server := start(t, Options{Dir: dir, Log: t.Output()})
	if !found(t, server.URL(), "mark") {
		t.Error("what the killed run had committed is lost")
	}
}

// Where no signal tells postgres of its parent's death, it is still there at the next run.
func TestServerLeftRunningIsStopped(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	server := start(t, Options{Dir: dir, Log: t.Output()})
	leave(t, server.URL(), "mark")
	stop(t, server)
	orphan := server.account.command(t.Context(), dir, filepath.Join(server.bin, "pg_ctl"), "start",
		"--wait", "--silent",
		"-D", filepath.Join(dir, "data"), "--log="+filepath.Join(dir, "orphan.log"),
		"--options=-c unix_socket_directories= -c listen_addresses=127.0.0.1 -p "+server.port)
	if err := orphan.Run(); err != nil {
		t.Fatal(err)
	}
	connection := connect(t, server.URL())

	var log bytes.Buffer
	next := start(t, Options{Dir: dir, Log: &log})
	if !found(t, next.URL(), "mark") {
		t.Error("the next run has a new cluster")
	}
	if connection.Ping(t.Context()) == nil {
		t.Error("the server of the last run still runs")
	}
	if !strings.Contains(log.String(), "last run") {
		t.Errorf("nothing said of the last run's server: %q", &log)
	}
}

// After a crash of the machine, the recorded process id may be any program's.
func TestStalePidOfAnotherProgram(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	server := start(t, Options{Dir: dir, Log: t.Output()})
	stop(t, server)
	innocent := server.account.command(t.Context(), dir, "/bin/sh", "-c", "read line; exit 7")
	input, err := innocent.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := innocent.Start(); err != nil {
		t.Fatal(err)
	}
	free, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	pidFile := fmt.Sprintf("%d\n%s\n%d\n%s\n\n127.0.0.1\n", innocent.Process.Pid,
		server.path("data"), 1, free)
	if err := os.WriteFile(server.path("data/postmaster.pid"), []byte(pidFile), 0o644); err != nil {
		t.Fatal(err)
	}

	start(t, Options{Dir: dir, Log: t.Output()})
	if _, err := input.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	_ = innocent.Wait()
	if code := innocent.ProcessState.ExitCode(); code != 7 {
		t.Errorf("the other program ended with %v: it was signalled", innocent.ProcessState)
	}
}

func TestInterruptedInitdbIsRepeated(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	if err := os.MkdirAll(filepath.Join(dir, "data.new", "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := start(t, Options{Dir: dir, Log: t.Output()})
	leave(t, server.URL(), "mark")
}

// Two servers on one cluster would destroy it. The second run must not take the first one's server
// for a leftover.
func TestFolderInUseIsRefused(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	first := start(t, Options{Dir: dir, Log: t.Output()})
	if _, err := Start(t.Context(), Options{Dir: dir, Log: t.Output()}); err == nil ||
		!strings.Contains(err.Error(), "in use") {
		t.Errorf("second run: %v", err)
	}
	leave(t, first.URL(), "still_there")
}

func TestClusterOfAMissingVersionIsKept(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	version := filepath.Join(dir, "data", "PG_VERSION")
	if err := os.WriteFile(version, []byte("9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Options{Dir: dir, Log: t.Output()})
	if err == nil || !strings.Contains(err.Error(), "PostgreSQL 9") {
		t.Errorf("error %v does not name the version", err)
	}
	if _, err := os.Stat(version); err != nil {
		t.Error(err)
	}
}

func TestCancelledStartLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	because := errors.New("because")
	cancel(because)
	if _, err := Start(ctx, Options{Dir: dir, Log: t.Output()}); err == nil {
		t.Fatal("a cancelled start succeeded")
	}
	start(t, Options{Dir: dir, Log: t.Output()}) // this is refused if the folder is still taken
}

// Other users of the machine must not get into the database, nor at its files.
func TestOnlyItsOwnerGetsIn(t *testing.T) {
	t.Parallel()
	server := start(t, Options{Log: t.Output()})
	address, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	for name, user := range map[string]*url.Userinfo{
		"no password":    url.User("postgres"),
		"wrong password": url.UserPassword("postgres", "wrong"),
	} {
		other := *address
		other.User = user
		_, err := pgx.Connect(t.Context(), other.String())
		if refusal, ok := errors.AsType[*pgconn.PgError](err); name == "wrong password" &&
			(!ok || refusal.Code != "28P01") {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			t.Errorf("%s: let in", name)
		}
	}
	if rules := setting(t, server.URL(),
		"SELECT string_agg(DISTINCT auth_method, ' ') FROM pg_hba_file_rules"); rules != "scram-sha-256" {
		t.Errorf("pg_hba.conf allows %s", rules)
	}
	if listen := setting(t, server.URL(), "SHOW listen_addresses"); listen != "127.0.0.1" {
		t.Errorf("listens on %s", listen)
	}
	if sockets := setting(t, server.URL(), "SHOW unix_socket_directories"); sockets != "" {
		t.Errorf("has a socket in %s", sockets)
	}
	for _, name := range []string{".", "data", "password", "postgres.log"} {
		info, err := os.Stat(server.path(name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

// A Ctrl-C goes to the terminal's whole process group. If the server were in it, it would stop
// while requests still need it.
func TestServerIsOutOfOurProcessGroupAndNotRoot(t *testing.T) {
	t.Parallel()
	server := start(t, Options{Log: t.Output()})
	group, err := syscall.Getpgid(server.process.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if group == syscall.Getpgrp() {
		t.Error("the server is in this process's group")
	}
	info, err := os.Stat(server.path("data"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Sys().(*syscall.Stat_t).Uid == 0 {
		t.Error("the data are root's")
	}
}

// Nobody else can reach /root, so a checkout in it has no room for a server that must not run as
// root.
func TestFolderBelowAClosedOne(t *testing.T) {
	t.Parallel()
	closed := t.TempDir()
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(closed, "postgres")
	var log bytes.Buffer
	first := start(t, Options{Dir: dir, Log: &log})
	if os.Geteuid() == 0 {
		t.Cleanup(func() { os.RemoveAll(first.dir) })
		if first.dir == dir || !strings.Contains(log.String(), first.dir) {
			t.Errorf("data in %s; said: %q", first.dir, &log)
		}
	} else if first.dir != dir {
		t.Errorf("data in %s although their owner can use %s", first.dir, dir)
	}
	leave(t, first.URL(), "mark")
	stop(t, first)
	if second := start(t, Options{Dir: dir, Log: t.Output()}); !found(t, second.URL(), "mark") {
		t.Error("the second run did not find the first one's data")
	}
}

// Another program may have taken the port, accept connections, and say nothing.
func TestPortThatIsTakenIsNotUsed(t *testing.T) {
	t.Parallel()
	server := start(t, Options{Log: t.Output()})
	stop(t, server)
	listener, err := net.Listen("tcp", "127.0.0.1:"+server.port)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := server.Restart(t.Context()); err == nil ||
		!strings.Contains(err.Error(), "could not bind") {
		t.Errorf("restart on a taken port: %v", err)
	}
}

// A server for tests must not leave its folder behind, perhaps in memory. But it must keep the
// folder while it is only stopped.
func TestTemporaryFolderLastsUntilRemove(t *testing.T) {
	t.Parallel()
	server := start(t, Options{Log: t.Output()})
	leave(t, server.URL(), "mark")
	stop(t, server)
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !found(t, server.URL(), "mark") {
		t.Error("Restart lost the data")
	}
	if err := server.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(server.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", server.dir, err)
	}
}

// Every killed test process leaves a cluster behind, perhaps in memory. The cluster of a running
// process must stay.
func TestOnlyLeftoversAreRemoved(t *testing.T) {
	t.Parallel()
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	for _, test := range []struct {
		pid  int
		kept bool
	}{
		{ended.Process.Pid, false},
		{os.Getpid(), true},
		{1, true},
	} {
		dir := filepath.Join(parent, fmt.Sprintf("%s%d-123", tempPrefix, test.pid))
		if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
		removeLeftovers(parent)
		if _, err := os.Stat(dir); (err == nil) != test.kept {
			t.Errorf("%s: %v, want it kept: %t", dir, err, test.kept)
		}
	}
}
