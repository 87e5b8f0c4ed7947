// Package clients_test logs in with clients that others make: those that the usual generators for
// Go make from the contract, and libraries that bring much along.
package clients_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	// The generated code imports these. No file of this module does.
	_ "github.com/oapi-codegen/runtime"
	_ "github.com/oapi-codegen/runtime/types"
	_ "github.com/ogen-go/ogen/http"
	_ "github.com/ogen-go/ogen/otelogen"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

const (
	contract = "../openapi.yaml"
	username = "alice"
	password = "correct horse battery staple"
)

// A generator that cannot read the contract, or makes code of it that does not compile, takes the
// contract away from all who use it. A client that compiles may still send or expect something else
// than the service does.
func TestGeneratedClientsCompileAndLogIn(t *testing.T) {
	t.Parallel()
	service, _ := serve(t)
	register(t, service)
	for program, generator := range map[string]func(dir string) []string{
		"oapicodegen": func(dir string) []string {
			return []string{"oapi-codegen", "-generate", "types,client", "-package", "api",
				"-o", filepath.Join(dir, "client.go"), contract}
		},
		"ogen": func(dir string) []string {
			return []string{"ogen", "-package", "api", "-target", dir, contract}
		},
	} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			generated := t.TempDir()
			run(t, "go", append([]string{"tool"}, generator(generated)...)...)
			client := build(t, program, generated)
			if got := run(t, client, service, username, password); got != username+"\n" {
				t.Errorf("logged in as %q", got)
			}
			if got := run(t, client, service, username, "wrong"); got != "invalid_grant\n" {
				t.Errorf("with a wrong password: %q", got)
			}
		})
	}
}

// build compiles a program of testdata with the generated package in it. An overlay puts the
// package there, so nothing is written to the repository.
func build(t *testing.T, program, generated string) (executable string) {
	t.Helper()
	folder, err := filepath.Abs(filepath.Join("testdata", program, "api"))
	must(t, err)
	var overlay struct{ Replace map[string]string }
	overlay.Replace = map[string]string{}
	must(t, fs.WalkDir(os.DirFS(generated), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			overlay.Replace[filepath.Join(folder, name)] = filepath.Join(generated, name)
		}
		return err
	}))
	list, err := json.Marshal(overlay)
	must(t, err)
	dir := t.TempDir()
	file, executable := filepath.Join(dir, "overlay.json"), filepath.Join(dir, program)
	must(t, os.WriteFile(file, list, 0o600))
	run(t, "go", "build", "-overlay", file, "-o", executable, "./testdata/"+program)
	return executable
}

// serve runs the service until the test ends, at the URL of its issuer, which it returns.
func serve(t *testing.T) (issuer, databaseURL string) {
	t.Helper()
	address, databaseURL := dbtest.FreeAddr(t), dbtest.New(t)
	issuer = "http://" + address
	settings, err := config.Load([]string{
		"--database-url=" + databaseURL, "--secret-key=a secret key of the tests with 32 bytes or more",
		"--bcrypt-cost=10", "--issuer=" + issuer, "--listen-addr=" + address, "--ops-addr=127.0.0.1:0",
		"--shutdown-delay=0s", "--request-timeout=10m",
	})
	must(t, err)
	started, ended := make(chan struct{}), make(chan struct{})
	ctx, terminate := context.WithCancel(context.Background())
	go func() {
		defer close(ended)
		err = app.Run(ctx, settings, app.Options{
			Log: slog.New(slog.DiscardHandler), Version: "test", Cores: 2,
			Started: func(_, _ net.Addr) { close(started) },
		})
	}()
	t.Cleanup(func() {
		terminate()
		<-ended
		must(t, err)
	})
	select {
	case <-started:
	case <-ended:
		t.Fatal("the service ended at its start")
	}
	return issuer, databaseURL
}

func register(t *testing.T, service string) {
	t.Helper()
	body := fmt.Sprintf(`{"username": %q, "password": %q}`, username, password)
	answer, err := http.Post(service+"/users", "application/json", strings.NewReader(body))
	must(t, err)
	defer http.DefaultClient.CloseIdleConnections()
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		t.Fatal(answer.Status)
	}
}

// run returns what a command prints, which must succeed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	var failed strings.Builder
	command.Stderr = &failed
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", command, err, out, &failed)
	}
	return string(out)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
