package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/pgdev"
)

// An operator at night types what the pages say, word for word. So does this test, on a new server
// of PostgreSQL: the first install, an upgrade, a backup, a restore after a ban, the rotation of
// each secret, and the answer to a leaked key.
func TestAnOperatorTypesTheDocuments(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"bash", "openssl", "psql", "pg_dump", "pg_restore"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	if pgdev.Find() == "" {
		t.Skip("no programs of PostgreSQL, whose pg_dump and server are of one version")
	}
	o := newTypist(t)
	o.page("operations.md", "## First install", "## Upgrade")
	o.shows("secret    ghi_")
	o.page("operations.md", "## Upgrade", "## Backup and restore")
	o.want(http.StatusCreated, o.register("alice"))
	o.want(http.StatusCreated, o.register("bob"))
	before := o.logIn("alice")
	o.page("operations.md", "## Backup and restore", "## Behind a proxy")

	// The time that is lost.
	o.want(http.StatusCreated, o.register("carol"))
	unknown := o.logIn("carol")
	o.types("as_service gatehouse user disable bob\n")

	o.page("restore.md", "## Steps", "6. **Do again")
	lost, err := os.ReadFile(filepath.Join(o.dir, "lost-time.jsonl"))
	if err != nil || !strings.Contains(string(lost), `"user.disable"`) || !strings.Contains(string(lost), `"user.register"`) {
		t.Errorf("the list of the lost time: %v\n%s", err, lost)
	}
	o.types("as_owner gatehouse user disable bob\n")
	o.page("restore.md", "7. **Start the replicas.**", "## A fail-over")
	for whose, token := range map[string]string{"of before the backup": before, "of the lost time": unknown} {
		if got := o.me(token); got != http.StatusUnauthorized {
			t.Errorf("a token %s: %d after the restore", whose, got)
		}
	}
	if got := o.token("bob").StatusCode; got != http.StatusUnauthorized {
		t.Errorf("bob, who was banned in the lost time: %d", got)
	}
	before = o.logIn("alice")

	// Nobody is logged out, whatever secret is rotated.
	if err := os.WriteFile(filepath.Join(o.dir, "pwned-passwords.txt"), []byte(hashOf(leakedPassword)+":3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.page("operations.md", "## Behind a proxy", "")
	o.types("! echo '" + leakedPassword + "' | as_service gatehouse user add mallory --password-stdin\n")
	o.want(http.StatusOK, o.me(before))
	accounts, err := os.ReadFile(filepath.Join(o.dir, "accounts.jsonl"))
	if err != nil || !strings.Contains(string(accounts), `"alice"`) {
		t.Errorf("the export: %v\n%s", err, accounts)
	}

	o.page("keys.md", "## What a key does", "## SECRET_KEY is replaced")
	asynctest.Await(t, "the tokens of the revoked key to be refused", func() bool { return o.me(before) == http.StatusUnauthorized })
	before = o.logIn("alice")
	o.page("keys.md", "## SECRET_KEY is replaced", "")
	o.want(http.StatusUnauthorized, o.me(before))
	o.want(http.StatusOK, o.me(o.logIn("alice")))
	o.types("stop\n")
}

const leakedPassword = "a password of a leak"

// typist is a shell at a terminal, in an empty folder.
type typist struct {
	*testing.T
	dir, url string
	in       io.Writer
	out      *bufio.Reader
	shown    string // what the last block printed
}

func newTypist(t *testing.T) *typist {
	t.Helper()
	postgres, err := pgdev.Start(t.Context(), pgdev.Options{Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := postgres.Remove(); err != nil {
			t.Error(err)
		}
	})
	server, err := url.Parse(postgres.URL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := server.User.Password()
	public, ops := freeAddress(t), freeAddress(t)
	o := &typist{T: t, dir: t.TempDir(), url: "http://" + public}

	// This binary is the program (childMark).
	programs := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\n%s=1 exec %q \"$@\"\n", childMark, self)
	if err := os.WriteFile(filepath.Join(programs, "gatehouse"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute) // for a replica that never gets ready
	t.Cleanup(cancel)
	shell := exec.CommandContext(ctx, "bash", "--norc", "-eu")
	shell.Dir = o.dir
	shell.Env = []string{
		"PATH=" + programs + ":" + os.Getenv("PATH"), "HOME=" + o.dir, "LC_ALL=C",
		"PGHOST=" + server.Hostname(), "PGPORT=" + server.Port(), "PGUSER=" + server.User.Username(), "PGPASSWORD=" + password,
		"LISTEN_ADDR=" + public, "OPS_ADDR=" + ops, "SHUTDOWN_DELAY=0s",
		"BCRYPT_COST=10", "REQUEST_TIMEOUT=1m", // hashing gives way to whatever else runs on this machine
	}
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with the replica that it starts
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	in, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, printed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	shell.Stdout, shell.Stderr = printed, printed
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	printed.Close()
	t.Cleanup(func() {
		_ = syscall.Kill(-shell.Process.Pid, syscall.SIGKILL)
		_ = shell.Wait()
		out.Close()
	})
	o.in, o.out = in, bufio.NewReader(out)
	return o
}

// freeAddress is one of this machine at which nobody listened a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

var commandBlock = regexp.MustCompile("(?s)\n( *)```sh\n(.*?)\n *```\n")

// page types the blocks of commands of a page, from one line of it to another.
func (o *typist) page(name, from, to string) {
	o.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		o.Fatal(err)
	}
	_, part, found := strings.Cut(string(text), "\n"+from)
	if to != "" {
		var ended bool
		part, _, ended = strings.Cut(part, "\n"+to)
		found = found && ended
	}
	blocks := commandBlock.FindAllStringSubmatch(part, -1)
	if !found || len(blocks) == 0 {
		o.Fatalf("%s has no commands between %q and %q", name, from, to)
	}
	for _, block := range blocks {
		o.types(strings.ReplaceAll("\n"+block[2], "\n"+block[1], "\n")[1:] + "\n")
	}
}

// types types a block into the shell, which ends with the first command that fails.
func (o *typist) types(block string) {
	o.Helper()
	file := filepath.Join(o.dir, ".block")
	if err := os.WriteFile(file, []byte(block), 0o644); err != nil {
		o.Fatal(err)
	}
	const end = "the end of the block"
	if _, err := fmt.Fprintf(o.in, ". ./.block </dev/null\nprintf '\\n%s\\n'\n", end); err != nil {
		o.Fatal(err)
	}
	var shown strings.Builder
	for {
		line, err := o.out.ReadString('\n')
		if line == end+"\n" {
			break
		}
		shown.WriteString(line)
		if err != nil {
			o.Fatalf("%s\nfailed: %s\n%s", block, &shown, o.log())
		}
	}
	o.shown = shown.String()
}

// log is what the service has logged.
func (o *typist) log() string {
	log, err := os.ReadFile(filepath.Join(o.dir, "gatehouse.log"))
	if err != nil {
		return err.Error()
	}
	return "the log of the service:\n" + string(log)
}

// shows wants something in what the last block printed.
func (o *typist) shows(want string) {
	o.Helper()
	if !strings.Contains(o.shown, want) {
		o.Errorf("there is no %q in what the last block printed:\n%s", want, o.shown)
	}
}

func (o *typist) want(status, got int) {
	o.Helper()
	if got != status {
		o.Errorf("status %d instead of %d", got, status)
	}
}

func (o *typist) send(request *http.Request, err error) *http.Response {
	o.Helper()
	if err != nil {
		o.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		o.Fatal(err)
	}
	o.Cleanup(func() { response.Body.Close() })
	return response
}

func (o *typist) register(name string) (status int) {
	o.Helper()
	body := fmt.Sprintf(`{"username": %q, "password": "correct horse battery"}`, name)
	request, err := http.NewRequestWithContext(o.Context(), http.MethodPost, o.url+"/users", strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	return o.send(request, err).StatusCode
}

func (o *typist) token(name string) *http.Response {
	o.Helper()
	form := url.Values{"username": {name}, "password": {"correct horse battery"}}
	request, err := http.NewRequestWithContext(o.Context(), http.MethodPost, o.url+"/token", strings.NewReader(form.Encode()))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return o.send(request, err)
}

func (o *typist) logIn(name string) (token string) {
	o.Helper()
	response := o.token(name)
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		o.Fatal(err)
	}
	var body struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(answer, &body); err != nil || body.Token == "" {
		o.Fatalf("%s does not log in: %d, %s\n%s", name, response.StatusCode, answer, o.log())
	}
	return body.Token
}

func (o *typist) me(token string) (status int) {
	o.Helper()
	request, err := http.NewRequestWithContext(o.Context(), http.MethodGet, o.url+"/users/me", nil)
	request.Header.Set("Authorization", "Bearer "+token)
	return o.send(request, err).StatusCode
}
