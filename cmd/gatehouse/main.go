// Command gatehouse is the login service and the tool of its operators. It parses, calls and
// prints; the rules are in the packages below.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5/pgconn"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/outcome"
	"gatehouse.example/migrations"
)

// version is set by the linker. A build without it shows its commit.
var version string

// Exit codes.
const (
	exitOK = iota
	exitFailed
	exitUsage // a command or setting that cannot be understood
)

// commandLine is the grammar. Kong reads it: it has nested commands, takes settings from flags and
// from the environment, and shows every setting with its default in the help.
type commandLine struct {
	Serve       serveCommand       `cmd:"" help:"Run the service."`
	Doctor      doctorCommand      `cmd:"" help:"Say what is wrong with the installation, and what to do. It takes the settings of serve, changes nothing, and may run beside it."`
	Migrate     migrateCommand     `cmd:"" help:"Bring the database schema up to date, or back."`
	User        userCommand        `cmd:"" help:"Manage accounts."`
	Role        roleCommand        `cmd:"" help:"Manage roles."`
	Client      clientCommand      `cmd:"" help:"Manage OAuth clients."`
	Audit       auditCommand       `cmd:"" help:"Show or prune the audit log."`
	Key         keyCommand         `cmd:"" help:"Manage the keys that sign access tokens."`
	Mail        mailCommand        `cmd:"" help:"Try out how mails are sent."`
	Restored    restoredCommand    `cmd:"" help:"Revoke every token and end every session, after the database was restored from a backup."`
	Passwords   passwordsCommand   `cmd:"" help:"Manage the passwords that nobody may set, since they are known from leaks."`
	Pepper      pepperCommand      `cmd:"" help:"Manage the keys of PASSWORD_PEPPER that stored passwords need."`
	Healthcheck healthcheckCommand `cmd:"" help:"Ask the service on this machine whether it is ready. This is for health checks of containers."`
	Version     versionCommand     `cmd:"" help:"Show the version."`
}

// terminal is what a command talks to.
type terminal struct {
	in       *os.File
	out, err io.Writer
	getenv   func(name string) string // of secrets
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], terminal{os.Stdin, os.Stdout, os.Stderr, os.Getenv}))
}

// run is a whole run of the program. Tests call it instead of starting a process.
func run(ctx context.Context, args []string, t terminal) (code int) {
	var grammar commandLine
	exited := false
	parser, err := kong.New(&grammar,
		kong.Name("gatehouse"),
		kong.Description("A login service on PostgreSQL."),
		config.SecretsFrom(t.getenv),
		kong.Writers(t.out, t.err),
		kong.Exit(func(c int) { exited, code = true, c }), // --help
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(auth.WithOrigin(ctx, origin()), (*context.Context)(nil)),
		kong.Bind(operator()),
		kong.Bind(t),
	)
	if err != nil {
		return fail(t, err)
	}
	command, err := parser.Parse(args)
	switch {
	case exited:
		return code
	case err != nil:
		fail(t, config.Explain(err))
		return exitUsage
	}
	if err := config.RefuseSecretFlags(command); err != nil {
		return fail(t, err)
	}
	if err := command.Run(); err != nil {
		return fail(t, err)
	}
	return exitOK
}

// printable puts a text on one line. An error of pgx has a line for each address that it tried, and
// a name may hold characters that move the cursor of a terminal.
func printable(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
	return strings.Join(words, " ")
}

// fail prints an error.
func fail(t terminal, err error) (code int) {
	fmt.Fprintln(t.err, "gatehouse:", printable(explain(err).Error()))
	if _, ok := errors.AsType[*config.Error](err); ok {
		return exitUsage
	}
	return exitFailed
}

var errInterrupted = errors.New("interrupted")

// explain returns what an operator is shown of an error: the text of a refusal, which says by
// itself what happened, and everything of a fault.
func explain(err error) error {
	if errors.Is(err, context.Canceled) {
		return errInterrupted
	}
	if unreachable, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return explainUnreachable(unreachable)
	}
	if refused, ok := outcome.Of(err); ok && !refused.IsFault() {
		return refused
	}
	return err
}

// explainUnreachable says each reason once. pgx repeats it for each address that it tried.
func explainUnreachable(err *pgconn.ConnectError) error {
	reasons := strings.Split(err.Unwrap().Error(), "\n")
	for n, reason := range reasons {
		reasons[n] = strings.TrimSpace(reason)
	}
	var told []string
	for _, reason := range reasons {
		if !strings.Contains(strings.Join(told, "; "), reason) {
			told = append(told, reason)
		}
	}
	return fmt.Errorf("the database %q cannot be reached as user %q; look at DATABASE_URL, and whether PostgreSQL runs there: %s",
		err.Config.Database, err.Config.User, strings.Join(told, "; "))
}

type serveCommand struct {
	config.Serve `embed:""`
}

// Run serves until SIGTERM or SIGINT.
func (c *serveCommand) Run(ctx context.Context, t terminal) error {
	return app.Run(ctx, c.Serve, app.Options{
		Log:     slog.New(slog.NewJSONHandler(t.out, &slog.HandlerOptions{Level: c.LogLevel})),
		Version: buildVersion(),
		Cores:   runtime.GOMAXPROCS(0),
	})
}

type healthcheckCommand struct {
	OpsAddr string `env:"OPS_ADDR" default:":8001" help:"Address of the service's port for /readyz."`
}

// Run fails unless the service is ready.
func (c *healthcheckCommand) Run(ctx context.Context) error {
	host, port, err := net.SplitHostPort(c.OpsAddr)
	if err != nil {
		return &config.Error{Setting: "OPS_ADDR", Problem: "must be host:port or :port"}
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		reason, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return fmt.Errorf("not ready: %s", reason)
	}
	return nil
}

type versionCommand struct {
	JSON bool `help:"Print JSON."`
}

// Run prints the version, the commit, and the version of the schema that the program needs.
func (c *versionCommand) Run(t terminal) error {
	built := struct {
		Version string `json:"version"`
		Commit  string `json:"commit"`
		Schema  int64  `json:"schema"`
		Go      string `json:"go"`
	}{buildVersion(), cmp.Or(commit(), "unknown"), migrations.Latest(), runtime.Version()}
	if c.JSON {
		return printJSON(t, built)
	}
	_, err := fmt.Fprintf(t.out, "gatehouse %s\ncommit    %s\nschema    %d\n%s\n",
		built.Version, built.Commit, built.Schema, built.Go)
	return err
}

func buildVersion() string { return cmp.Or(version, commit(), "devel") }

// commit is where the program was built from, or "".
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return ""
}
