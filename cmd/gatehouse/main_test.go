package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/alecthomas/kong"

	"gatehouse.example/internal/config"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/migrations"
)

// childMark has this test binary be gatehouse, in place of tests: the environment and signals
// belong to a process.
const childMark = "TEST_OF_GATEHOUSE_RUNS_IT"

const testKey = "0123456789abcdef0123456789abcdef"

func TestMain(m *testing.M) {
	if os.Getenv(childMark) != "" {
		main()
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[config.Serve]()) { // tests have theirs as flags
		name := field.Tag.Get("env")
		os.Unsetenv(name)
		os.Unsetenv(name + "_FILE")
	}
	os.Setenv("BCRYPT_COST", "10") // of commands that hash; others do not know such a flag
	dbtest.Main(m)
}

// ending is how a run came out.
type ending struct {
	code     int
	out, err string
}

// environ takes the secrets out of arguments, where tests have them beside the rest, and gives the
// variables that they are.
func environ(args []string) (rest, variables []string) {
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		switch name {
		case "--database-url", "--database-password", "--secret-key", "--old-secret-key", "--password-pepper", "--smtp-password":
			name = strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(name, "--"), "-", "_"))
			variables = append(variables, name+"="+value)
		default:
			rest = append(rest, arg)
		}
	}
	return rest, variables
}

// runHere is run with the secrets in an environment of its own.
func runHere(ctx context.Context, args []string, t terminal) int {
	args, variables := environ(args)
	t.getenv = func(name string) (value string) {
		for _, v := range variables { // the last one counts, as of flags
			if of, is, _ := strings.Cut(v, "="); of == name {
				value = is
			}
		}
		return value
	}
	return run(ctx, args, t)
}

// gatehouse runs the program in this process, with a pipe as its standard input.
func gatehouse(t *testing.T, stdin string, args ...string) ending {
	t.Helper()
	in, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := to.WriteString(stdin); err != nil { // less than the pipe holds
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code := runHere(t.Context(), args, terminal{in: in, out: &out, err: &errs})
	return ending{code, out.String(), errs.String()}
}

// succeeded returns what was printed.
func (e ending) succeeded(t *testing.T) string {
	t.Helper()
	if e.code != exitOK || e.err != "" {
		t.Fatalf("exit code %d: %s", e.code, e.err)
	}
	return e.out
}

// failed wants one line on standard error, which says something, and nothing on standard output.
func (e ending) failed(t *testing.T, code int, says string) {
	t.Helper()
	line, more, _ := strings.Cut(e.err, "\n")
	if e.code != code || !strings.HasPrefix(line, "gatehouse: ") || !strings.Contains(line, says) || more != "" || e.out != "" {
		t.Errorf("want exit code %d and one line with %q; got %+v", code, says, e)
	}
}

// fromJSON decodes what was printed, and refuses keys that T does not have.
func fromJSON[T any](t *testing.T, printed string) (v T) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(printed))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, printed)
	}
	return v
}

// linesFromJSON reads what a command prints with --json: an object on each line, and nothing else.
func linesFromJSON[T any](t *testing.T, printed string) (all []T) {
	t.Helper()
	for line := range strings.Lines(printed) {
		if !strings.HasPrefix(line, "{") {
			t.Fatalf("no object on a line of its own: %s", printed)
		}
		all = append(all, fromJSON[T](t, line))
	}
	return all
}

// child is gatehouse in a process of its own, with an environment of just the given variables.
func child(t *testing.T, variables []string, args ...string) *exec.Cmd {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args, secrets := environ(args)
	command := exec.CommandContext(t.Context(), executable, args...)
	// Without GORACE each child of a test with -race would linger for a second.
	command.Env = append([]string{childMark + "=1", "GORACE=atexit_sleep_ms=0"}, append(variables, secrets...)...)
	return command
}

func ended(t *testing.T, command *exec.Cmd) ending {
	t.Helper()
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	if err := command.Run(); err != nil && command.ProcessState == nil {
		t.Fatal(err)
	}
	return ending{command.ProcessState.ExitCode(), out.String(), errs.String()}
}

// ps shows the arguments of every process to everybody on the machine.
func TestSecretsAreNotTakenFromTheCommandLine(t *testing.T) {
	t.Parallel()
	const canary = "canary-8d02-0123456789abcdef0123456789abcdef"
	database := "--database-url=postgres://tester@127.0.0.1:1/test"
	for setting, args := range map[string][]string{
		"SECRET_KEY":        {"key", "rewrap", database, "--secret-key=" + canary},
		"OLD_SECRET_KEY":    {"key", "rewrap", database, "--old-secret-key=" + canary},
		"PASSWORD_PEPPER":   {"user", "add", "alice", database, "--password-pepper", canary},
		"DATABASE_PASSWORD": {"user", "list", database, "--database-password=" + canary},
		"DATABASE_URL":      {"user", "list", "--database-url=postgres://tester:" + canary + "@127.0.0.1:1/test"},
		"DATABASE_URL:":     {"migrate", "--database-url", "host=127.0.0.1 port=1 password=" + canary},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), args, terminal{out: &out, err: &errs, getenv: func(string) string { return "" }})
		ending{code, out.String(), errs.String()}.failed(t, exitUsage, strings.TrimRight(setting, ": ")+": must not be on the command line")
		if strings.Contains(errs.String(), canary) {
			t.Errorf("%s is quoted: %s", setting, errs.String())
		}
	}
}

// A password of PGPASSWORD or .pgpass is on no command line, also where the URL is.
func TestADatabaseURLWithoutAPasswordMayBeAFlagWhereverThePasswordIs(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "pgpass", "*:*:*:*:canary\n")
	for _, variable := range []string{"PGPASSWORD=canary", "PGPASSFILE=" + file} {
		command := child(t, []string{variable}, "user", "list")
		command.Args = append(command.Args, "--database-url=postgres://tester@127.0.0.1:1/test") // which child would make a variable
		ended(t, command).failed(t, exitFailed, "127.0.0.1:1")
	}
}

// Scripts tell a command that they have wrong from one that has failed by the exit code.
func TestWhatCannotBeUnderstoodIsAUsageError(t *testing.T) {
	t.Parallel()
	const url = "--database-url=postgres://tester@127.0.0.1:1/test"
	for _, test := range []struct {
		says string
		args []string
	}{
		{"expected one of", nil},
		{"expected one of", []string{"user"}},
		{"frobnicate", []string{"frobnicate"}},
		{"--frobnicate", []string{"serve", "--frobnicate"}},
		{"<name>", []string{"user", "add", url}},
		{"<version>", []string{"migrate", "down-to", url}},
		{"version", []string{"migrate", "down-to", "first", url}},
		{"DATABASE_URL", []string{"migrate"}},
		{"DATABASE_URL", []string{"serve"}},
		{"DATABASE_URL", []string{"user", "list"}},
		{"SECRET_KEY", []string{"serve", url}},
		{"SECRET_KEY", []string{"serve", url, "--secret-key=short"}},
		{"BCRYPT_COST", []string{"user", "add", "alice", url, "--bcrypt-cost=31"}},
		{"PASSWORD_PEPPER", []string{"pepper", "list", url, "--password-pepper=short"}},
		{"PASSWORD_PEPPER", []string{"pepper", "list", url, "--password-pepper=" + testKey + "," + testKey}},
		{"OPS_ADDR", []string{"healthcheck", "--ops-addr=8001"}},
		{"--out", []string{"passwords", "build"}},
		{"BREACHED_PASSWORDS: open /nowhere", []string{"user", "add", "alice", url, "--breached-passwords=/nowhere"}},
	} {
		gatehouse(t, "", test.args...).failed(t, exitUsage, test.says)
	}
}

func TestHelpAndVersionSucceed(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"user", "add", "-h"}} {
		if help := gatehouse(t, "", args...).succeeded(t); !strings.HasPrefix(help, "Usage: gatehouse") {
			t.Errorf("%q: %s", args, help)
		}
	}
	shown := gatehouse(t, "", "version").succeeded(t)
	schema := fmt.Sprintf("\nschema    %d\n", migrations.Latest())
	if !strings.HasPrefix(shown, "gatehouse ") || !strings.Contains(shown, "\ncommit    ") ||
		!strings.Contains(shown, schema) || !strings.HasSuffix(shown, runtime.Version()+"\n") {
		t.Errorf("version: %q", shown)
	}
}

// Help is what people paste into tickets; kong could show what the environment has in place of the
// defaults.
func TestHelpShowsEverySettingButNoValue(t *testing.T) {
	t.Parallel()
	const canary = "canary-8d02"
	var environ []string
	fields := reflect.VisibleFields(reflect.TypeFor[config.Serve]())
	for _, field := range fields {
		environ = append(environ, field.Tag.Get("env")+"="+canary)
	}
	help := ended(t, child(t, environ, "serve", "--help")).succeeded(t)
	if strings.Contains(help, canary) {
		t.Errorf("help shows the environment:\n%s", help)
	}
	for _, field := range fields {
		name := field.Tag.Get("env")
		if name == "" {
			continue // the embedded structs
		}
		flag, value := "--"+strings.ReplaceAll(strings.ToLower(name), "_", "-")+"=", field.Tag.Get("default")
		if field.Type.Kind() == reflect.Bool {
			flag, value = strings.TrimSuffix(flag, "="), "" // it is false without the flag
		}
		_, shown, ok := strings.Cut(help, flag)
		if !ok || !strings.HasPrefix(strings.TrimPrefix(shown, `"`), value) {
			t.Errorf("%s%s is missing", flag, value)
		}
		if !strings.Contains(help, "($"+name+")") {
			t.Errorf("$%s is missing", name)
		}
	}
}

// Whoever reads the help of a command must find what it needs, and must not set what it ignores.
func TestTheHelpOfEachCommandListsTheSettingsThatItUses(t *testing.T) {
	t.Parallel()
	pepper, secret := []string{"PASSWORD_PEPPER"}, []string{"SECRET_KEY"}
	passwords := append([]string{"BCRYPT_COST", "PASSWORD_MIN_LENGTH", "BREACHED_PASSWORDS", "PASSWORD_WORDS", "INITIAL_SECRET_HOURS"}, pepper...)
	keys := append([]string{"ALGORITHM"}, secret...)
	more := map[string][]string{ // beside those of the database
		"user add": passwords, "user password": append(passwords[:len(passwords):len(passwords)], secret...), "user import": pepper, "user unlock": secret,
		"user invite": append(passwords[:len(passwords):len(passwords)], secret...), "user delete": secret, "user factors reset": secret,
		"user send-reset": secret,
		"pepper list":     pepper, "pepper retire": pepper,
		"key rotate": keys, "key revoke": keys, "key reset": keys, "key rewrap": append([]string{"OLD_SECRET_KEY"}, secret...),
		"migrate up": {"SERVICE_ROLE"},
	}
	others := map[string][]string{ // without a database
		"version": nil, "passwords build": nil, "healthcheck": {"OPS_ADDR"}, "serve": settingsOf(reflect.TypeFor[config.Serve]()),
		"doctor":    settingsOf(reflect.TypeFor[config.Serve]()),
		"mail test": append(settingsOf(reflect.TypeFor[config.Mail]()), "APP_NAME"),
	}
	parser, err := kong.New(&commandLine{})
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range parser.Model.Leaves(false) {
		name := strings.TrimSpace(strings.TrimPrefix(command.Path(), "gatehouse"))
		want, alone := others[name]
		if !alone {
			want = append(settingsOf(reflect.TypeFor[config.Database]()), more[name]...)
		}
		var got []string
		for _, group := range command.AllFlags(true) {
			for _, flag := range group {
				got = append(got, flag.Envs...)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// settingsOf returns the variables of settings.
func settingsOf(settings reflect.Type) (names []string) {
	for _, field := range reflect.VisibleFields(settings) {
		if name := field.Tag.Get("env"); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// A supervisor that restarts what has failed would restart forever what cannot start: it must see
// another exit code.
func TestBadEnvironmentIsAUsageError(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ variable, says string }{
		{"BCRYPT_COST=many", "BCRYPT_COST"},
		{"REGISTRATION=ajar", "REGISTRATION"},
		{"SECRET_KEYS=" + testKey, "SECRET_KEYS"},
		{"SECRET_KEY_FILE=/nonexistent", "SECRET_KEY_FILE"},
	} {
		environ := []string{"DATABASE_URL=postgres://tester@127.0.0.1:1/test", test.variable}
		ended(t, child(t, environ, "serve")).failed(t, exitUsage, test.says)
	}
}

// pgx lists every address that it tried on a line of its own.
func TestUnreachableDatabaseIsOneLineWithoutThePassword(t *testing.T) {
	t.Parallel()
	const canary = "canary-77aa"
	url := "--database-url=postgres://tester:" + canary + "@" + dbtest.FreeAddr(t) + "/test?connect_timeout=5"
	for _, args := range [][]string{
		{"migrate"}, {"migrate", "status"}, {"user", "list"}, {"user", "show", "alice"}, {"pepper", "list"},
	} {
		e := gatehouse(t, "", append(args, url)...)
		e.failed(t, exitFailed, `the database "test" cannot be reached as user "tester"; look at DATABASE_URL`)
		if strings.Contains(e.err, canary) {
			t.Errorf("%q shows the password: %s", args, e.err)
		}
		if strings.Count(e.err, "refused") != 1 {
			t.Errorf("%q says the reason once for each way that was tried: %s", args, e.err)
		}
	}
}

// "relation users does not exist" says nothing of what to do.
func TestADatabaseWithoutTheSchemaIsOneLineWithWhatToDo(t *testing.T) {
	t.Parallel()
	url := "--database-url=" + dbtest.Empty(t)
	for _, args := range [][]string{
		{"user", "list"}, {"user", "show", "alice"}, {"role", "list"}, {"client", "list"}, {"key", "list"}, {"audit"}, {"pepper", "list"},
		{"user", "export", "-"},
	} {
		gatehouse(t, "", append(args, url)...).failed(t, exitFailed, "run `gatehouse migrate`")
	}
}

func TestErrorOfSeveralLinesIsPrintedOnOne(t *testing.T) {
	t.Parallel()
	e := gatehouse(t, "", "no\x1b[2Jsuch\ncommand\r")
	e.failed(t, exitUsage, "no [2Jsuch command")
}

func TestHealthcheckAsksTheServiceOfThisMachine(t *testing.T) {
	t.Parallel()
	ready := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/readyz":
			http.NotFound(w, r)
		case !ready:
			http.Error(w, "starting\nor draining", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"", "0.0.0.0", "127.0.0.1", "localhost"} {
		if out := gatehouse(t, "", "healthcheck", "--ops-addr="+host+":"+port).succeeded(t); out != "" {
			t.Errorf("a healthy service is told of: %s", out)
		}
	}
	ready = false
	gatehouse(t, "", "healthcheck", "--ops-addr=:"+port).failed(t, exitFailed, "not ready: starting or draining")
	server.Close()
	gatehouse(t, "", "healthcheck", "--ops-addr=:"+port).failed(t, exitFailed, "refused")
}

func TestServeIsReadyAndEndsCleanlyOnSIGTERM(t *testing.T) {
	t.Parallel()
	command := child(t, []string{
		"DATABASE_URL=" + dbtest.New(t), "SECRET_KEY=" + testKey,
		"LISTEN_ADDR=127.0.0.1:0", "OPS_ADDR=127.0.0.1:0", "SHUTDOWN_DELAY=0s",
	}, "serve")
	var errs bytes.Buffer
	command.Stderr = &errs
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := json.NewDecoder(out)
	var line struct{ Msg, Public, Ops string }
	for line.Msg != "ready" {
		if err := lines.Decode(&line); err != nil {
			t.Fatalf("%v: %s", err, errs.String())
		}
	}
	gatehouse(t, "", "healthcheck", "--ops-addr="+line.Ops).succeeded(t)

	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for lines.Decode(&line) == nil { // up to the end; Wait would cut it off
	}
	if err := command.Wait(); err != nil || errs.Len() > 0 {
		t.Errorf("%v: %s", err, errs.String())
	}
}

func TestServeOnATakenPortFails(t *testing.T) {
	t.Parallel()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	e := ended(t, child(t, nil, "serve", "--database-url="+dbtest.New(t), "--secret-key="+testKey,
		"--listen-addr=127.0.0.1:0", "--ops-addr="+socket.Addr().String()))
	e.out = "" // its log
	e.failed(t, exitFailed, socket.Addr().String())
}

// A supervisor stops a service that still waits for its database like any other.
func TestServeThatIsNotReadyYetEndsCleanly(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var errs bytes.Buffer
	code := runHere(ctx, []string{"serve", "--database-url=" + dbtest.Empty(t), "--secret-key=" + testKey,
		"--listen-addr=127.0.0.1:0", "--ops-addr=127.0.0.1:0"}, terminal{out: cancelOn{"waiting", cancel}, err: &errs})
	if code != exitOK || errs.Len() > 0 {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}

// cancelOn is a log that cancels at a word.
type cancelOn struct {
	word   string
	cancel context.CancelFunc
}

func (c cancelOn) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(c.word)) {
		c.cancel()
	}
	return len(line), nil
}
