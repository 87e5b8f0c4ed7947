// Command dev runs the service on a developer's machine: make run. It makes what is missing there,
// a database and a SECRET_KEY, in the folder .dev, which survives restarts and may be removed. It
// runs the same service as gatehouse serve, with the same settings. Unless told otherwise, the
// service listens on 127.0.0.1 only, and stops without a delay.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/mail"
	"gatehouse.example/internal/pgdev"
	"gatehouse.example/migrations"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, ".dev", os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "dev:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends and the requests under way are answered. Only then does the database
// stop.
func run(ctx context.Context, dir string, args []string, out io.Writer) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	flags, err := defaults(dir)
	if err != nil {
		return err
	}
	gatehouse := "go run ./cmd/gatehouse" // as typed in another terminal
	if !inEnvironment("DATABASE_URL") {
		database, startErr := pgdev.Start(ctx,
			pgdev.Options{Dir: filepath.Join(dir, "postgres"), Log: out})
		if startErr != nil {
			return startErr
		}
		defer func() { err = errors.Join(err, database.Stop()) }()
		service, err := prepare(ctx, database.URL())
		if err != nil {
			return err
		}
		flags = append(flags, "--database-url="+service, "--database-password=")
		urlFile := filepath.Join(dir, "database_url")
		if err := os.WriteFile(urlFile, []byte(service), 0o600); err != nil {
			return err
		}
		gatehouse = "DATABASE_URL_FILE=" + urlFile + " " + gatehouse
	}
	// the last of two equal flags counts
	return serve(ctx, append(flags, args...), dir, out, gatehouse)
}

// defaults returns flags for what the environment leaves open.
func defaults(dir string) ([]string, error) {
	var flags []string
	for _, d := range []struct{ variable, flag string }{
		{"LISTEN_ADDR", "--listen-addr=127.0.0.1:8000"},
		{"OPS_ADDR", "--ops-addr=127.0.0.1:8001"},
		{"SHUTDOWN_DELAY", "--shutdown-delay=0s"}, // no load balancer needs time to notice
		{"EMAIL", "--email=optional"},
		{"MAIL_FROM", "--mail-from=login@gatehouse.example"},
	} {
		if !inEnvironment(d.variable) {
			flags = append(flags, d.flag)
		}
	}
	if inEnvironment("SECRET_KEY") {
		return flags, nil
	}
	key, err := secretKey(filepath.Join(dir, "secret_key"))
	return append(flags, "--secret-key="+key), err
}

// serve runs a replica. It first brings the schema of a database that was given up to date.
func serve(ctx context.Context, flags []string, dir string, out io.Writer, gatehouse string) error {
	settings, err := config.Load(flags)
	if err != nil {
		return err
	}
	if inEnvironment("DATABASE_URL") {
		url, err := settings.Database.URL()
		if err != nil {
			return err
		}
		if err := migrations.Apply(ctx, url, ""); err != nil {
			return err
		}
	}
	folder := filepath.Join(dir, "mail")
	if settings.SMTPURL != "" { // then a relay gets the mails
		folder = ""
	}
	return app.Run(ctx, settings, app.Options{
		Log:     slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: settings.LogLevel})),
		Version: "dev",
		Cores:   runtime.GOMAXPROCS(0),
		Relay:   relay(folder, out),
		Started: func(public, ops net.Addr) { welcome(out, public, ops, gatehouse, folder) },
	})
}

// relay returns what keeps the mails in the folder. Without one they are sent.
func relay(folder string, out io.Writer) mail.Relay {
	if folder == "" {
		return nil
	}
	return mail.NewFolder(folder, out)
}

// inEnvironment reports whether a setting is in the environment, as itself or as the name of a
// file.
func inEnvironment(variable string) bool {
	return os.Getenv(variable) != "" || os.Getenv(variable+"_FILE") != ""
}

// secretKey reads the key in a file, or makes the file.
func secretKey(path string) (string, error) {
	key, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return string(key), err
	}
	random := make([]byte, 32)
	rand.Read(random) // never fails
	made := hex.EncodeToString(random)
	return made, os.WriteFile(path, []byte(made), 0o600)
}

// serviceRole is the service's role in the database that is made here. As in production, the role
// does not own the database.
const serviceRole = "gatehouse_service"

// prepare brings the schema of a database that was made here up to date, and returns the URL for
// the service's role.
func prepare(ctx context.Context, ownerURL string) (string, error) {
	url, err := pgdev.AddRole(ctx, ownerURL, serviceRole)
	if err != nil {
		return "", err
	}
	return url, migrations.Apply(ctx, ownerURL, serviceRole)
}

// welcome tells how to try the service out.
func welcome(out io.Writer, public, ops net.Addr, gatehouse, mails string) {
	if mails != "" {
		mails = "\nNo mail is sent. Each becomes a file in " + mails + ", and its code and link are shown here."
	}
	// The same host as in ISSUER: a browser keeps a login for the host that it was made at.
	atLocalhost := func(address net.Addr) string {
		return strings.Replace(address.String(), "127.0.0.1:", "localhost:", 1)
	}
	fmt.Fprintf(out, `
Gatehouse is at http://%[1]s: open it in a browser, make an account, and log in.
Its documentation is at http://%[1]s/docs, its metrics are at http://%[2]s/metrics.%[4]s

Programs do the same by the API:

Register:         curl http://%[1]s/users -H 'Content-Type: application/json' -d '{"username": "alice", "password": "correct horse battery"}'
Log in:           curl http://%[1]s/token -d username=alice -d 'password=correct horse battery'
Who is it:        curl http://%[1]s/users/me -H 'Authorization: Bearer ACCESS_TOKEN'
Ban the account:  %[3]s user disable alice

Ctrl-C stops it.

`, atLocalhost(public), atLocalhost(ops), gatehouse, mails)
}
