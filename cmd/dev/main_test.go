package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"gatehouse.example/internal/pgdev"
)

func TestMain(m *testing.M) {
	// A developer's own database must not get the accounts of tests.
	for _, variable := range []string{"DATABASE_URL", "DATABASE_URL_FILE", "SECRET_KEY",
		"SECRET_KEY_FILE"} {
		os.Unsetenv(variable)
	}
	if pgdev.Find() == "" && os.Getenv("CI") == "" { // as in pgdev's own tests
		fmt.Fprintln(os.Stderr, "dev: not tested, since this machine has no PostgreSQL programs")
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// folder returns a new folder that the user who runs PostgreSQL can reach. Others cannot reach
// t.TempDir.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dev-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// session is one `make run`.
type session struct {
	address string // the address of the public port
	admin   string // the command that bans the account, as it was printed
	stop    func() error
}

var welcomed = regexp.MustCompile(`(?s)Gatehouse is at (http://localhost:[0-9]+): open.*Ban the account: +([^\n]+)\n`)

// begin runs the program, and returns when it has printed how to use it.
func begin(t *testing.T, dir string) session {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, dir,
			[]string{"--listen-addr=127.0.0.1:0", "--ops-addr=127.0.0.1:0", "--bcrypt-cost=10",
				// a busy machine takes long to hash at low priority
				"--request-timeout=10m"}, writer)
		writer.CloseWithError(io.EOF)
		ended <- err
	}()
	said := ""
	lines := bufio.NewScanner(reader)
	for !welcomed.MatchString(said) && lines.Scan() {
		said += lines.Text() + "\n"
	}
	go io.Copy(io.Discard, reader) // ends with the run
	stopped := false
	s := session{stop: func() error {
		stopped = true
		cancel()
		return <-ended
	}}
	t.Cleanup(func() {
		if !stopped {
			s.stop()
		}
	})
	match := welcomed.FindStringSubmatch(said)
	if match == nil {
		t.Fatalf("no welcome: %v\n%s", s.stop(), said)
	}
	s.address, s.admin = match[1], match[2]
	return s
}

// login returns the access token for the account, or the answer's status if there is none.
func (s session) login(t *testing.T) (token string, status int) {
	t.Helper()
	response, err := http.PostForm(s.address+"/token", url.Values{
		"username": {"alice"}, "password": {"correct horse battery"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer.Token, response.StatusCode
}

func (s session) me(t *testing.T, token string) (status int) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.address+"/users/me",
		nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// What the first run made must be there in the second: the accounts, the key of their tokens and
// the database.
func TestAccountsAndTokensOutliveARun(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	first := begin(t, dir)
	response, err := http.Post(first.address+"/users", "application/json",
		strings.NewReader(`{"username": "alice", "password": "correct horse battery"}`))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		t.Fatalf("register: %s", response.Status)
	}
	token, status := first.login(t)
	if status != http.StatusOK || first.me(t, token) != http.StatusOK {
		t.Fatalf("log in: %d", status)
	}
	databaseURL, err := os.ReadFile(filepath.Join(dir, "database_url"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "DATABASE_URL_FILE=" + filepath.Join(dir, "database_url") +
		" "; !strings.HasPrefix(first.admin, want) {
		t.Errorf("the command %q does not name the file of the database's URL", first.admin)
	}
	conn, err := pgx.Connect(t.Context(), string(databaseURL))
	if err != nil {
		t.Fatalf("the URL that is left for commands: %v", err)
	}
	conn.Close(t.Context())
	if err := first.stop(); err != nil {
		t.Errorf("end of the first run: %v", err)
	}
	if _, err := pgx.Connect(t.Context(), string(databaseURL)); err == nil {
		t.Error("the database outlived the run")
	}

	second := begin(t, dir)
	if status := second.me(t, token); status != http.StatusOK {
		t.Errorf("the token of the first run: %d", status)
	}
	if _, status := second.login(t); status != http.StatusOK {
		t.Errorf("the account of the first run: %d", status)
	}
	if err := second.stop(); err != nil {
		t.Errorf("end of the second run: %v", err)
	}
	for _, name := range []string{"secret_key", "database_url"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

func TestWrongSettingStopsTheDatabaseToo(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	err := run(t.Context(), dir, []string{"--bcrypt-cost=1"}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "BCRYPT_COST") {
		t.Errorf("error %v does not name the setting", err)
	}
	databaseURL, err := os.ReadFile(filepath.Join(dir, "database_url"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pgx.Connect(t.Context(), string(databaseURL)); err == nil {
		t.Error("the database outlived the run")
	}
}
