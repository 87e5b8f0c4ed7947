// Package pgdev owns a private PostgreSQL server, for `make run` on a machine without a database,
// and for tests.
//
// The server lives in a folder of its own, listens on 127.0.0.1 only, asks for a random password,
// and never runs as root. It runs the programs that are found on the machine. Where there are none,
// github.com/fergusstrange/embedded-postgres downloads them. Unix only.
package pgdev

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	startTimeout = time.Minute      // time to make a cluster, or to recover one after a crash
	stopTimeout  = 30 * time.Second // then the server is killed; what was committed is safe even so
	askTimeout   = 5 * time.Second  // for the answer of whoever listens on a port
	pollInterval = 20 * time.Millisecond

	cannotConnectNow = "57P03" // SQLSTATE of a server that starts or stops
	duplicateObject  = "42710"
)

// Options say where a server lives.
type Options struct {
	// Dir is the server's own folder. It is made if it is missing, and its data survive restarts.
	// If the user that runs PostgreSQL can't reach it, a folder in /var/lib stands in for it,
	// always the same one for a Dir.
	//
	// Empty makes a server for tests, in a temporary folder and with [TestSettings].
	Dir string
	// Repository is a Maven repository from which to download programs, instead of those on the
	// machine. Empty uses the machine's and, if there are none, the central repository.
	Repository string
	// Replicated makes a server for tests one that may have a [Server.Standby].
	Replicated bool
	// Settings of the server, each name=value. They override the others.
	Settings []string
	// Log receives one line for each thing that a person should know.
	Log io.Writer
}

// Server is a private PostgreSQL. Its methods must not be called at the same time.
type Server struct {
	options  Options
	account  account
	dir      string
	bin      string // the folder of PostgreSQL's programs
	port     string
	password string

	lock    *os.File // held while the server runs
	process *exec.Cmd
	end     context.CancelFunc // tells the process to shut down
	ended   context.Context    // done when the process has ended
}

// Start runs a server in o.Dir, with the data that are there or, if there are none, on a new
// cluster. It returns when the server answers. It first stops a server that a killed run has left
// in the folder.
func Start(ctx context.Context, o Options) (*Server, error) {
	s := &Server{options: o}
	err := s.settle()
	if err == nil {
		err = s.Restart(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("private PostgreSQL: %w", errors.Join(err, s.Remove()))
	}
	return s, nil
}

// settle finds a user, a port and a folder for the server.
func (s *Server) settle() (err error) {
	if s.account, err = unprivileged(); err != nil {
		return err
	}
	if s.port, err = freePort(); err != nil {
		return err
	}
	dir := s.options.Dir
	if dir == "" {
		if dir, err = temporaryFolder(); err != nil {
			return err
		}
	}
	s.dir, err = s.account.folder(dir, s.options.Log)
	return err
}

// freePort returns a TCP port of 127.0.0.1 on which nobody listened a moment ago. The port is
// outside the range that the system gives to outgoing connections. One of those could take it while
// the server is stopped. Even a connection to that very port could, and would then talk to itself.
func freePort() (port string, err error) {
	for range 100 {
		port = fmt.Sprint(20000 + mathrand.IntN(10000))
		var listener net.Listener
		if listener, err = net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			return port, listener.Close()
		}
	}
	return "", err
}

// URL returns the address of the database "postgres", with the superuser's password in it. It stays
// the same when the server is stopped and started again.
func (s *Server) URL() string { return URL("127.0.0.1:"+s.port, s.password) }

// URL returns the address of the database "postgres" on any server whose superuser has that name
// too.
func URL(hostPort, password string) string {
	address := url.URL{Scheme: "postgres", Host: hostPort, Path: "/postgres",
		RawQuery: "sslmode=disable"}
	address.User = url.UserPassword("postgres", password)
	return address.String()
}

// AddRole makes a role that may log in with the password in a database's URL, unless there is one
// of that name. It returns the URL for the role. The server gets the password in the clear, so this
// is for private servers.
func AddRole(ctx context.Context, databaseURL, role string) (string, error) {
	parsed, err := url.Parse(databaseURL)
	if err != nil {
		return "", errors.New("add role: not a URL") // err would show the password
	}
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return "", fmt.Errorf("add role: %w", err)
	}
	defer conn.Close(ctx)
	password, _ := parsed.User.Password()
	var create string
	if err := conn.QueryRow(ctx,
		"SELECT format('CREATE ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)", role,
		password).Scan(&create); err != nil {
		return "", fmt.Errorf("add role: %w", err)
	}
	_, err = conn.Exec(ctx, create)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == duplicateObject {
		err = nil
	}
	parsed.User = url.UserPassword(role, password)
	return parsed.String(), err
}

// Restart runs a stopped server again.
func (s *Server) Restart(ctx context.Context) error {
	lock, err := takeFolder(s.dir)
	if err != nil {
		return err
	}
	s.lock = lock
	if err := s.run(ctx); err != nil {
		_ = s.Stop() // stops what has started
		return err
	}
	return nil
}

// Stop ends the server as its fast shutdown does: open transactions are rolled back, and everything
// else is on disk when Stop returns. Stopping a stopped server does nothing.
func (s *Server) Stop() (err error) {
	if s.end != nil {
		s.end()
		<-s.ended.Done()
		if !s.process.ProcessState.Success() {
			err = fmt.Errorf("private PostgreSQL: it ended with %s", s.process.ProcessState)
		}
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	s.end, s.lock = nil, nil
	return err
}

// Remove stops the server, and removes its folder if that is a temporary one.
func (s *Server) Remove() error {
	err := s.Stop()
	if s.options.Dir == "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// run starts a server on the cluster in the folder. It first makes the cluster if there is none,
// and stops a server that is still running on it.
func (s *Server) run(ctx context.Context) error {
	if err := s.choosePrograms(); err != nil { // before the time-out, since it may download them
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if _, err := os.Stat(s.path("data")); errors.Is(err, fs.ErrNotExist) {
		if err := s.makeCluster(ctx); err != nil {
			return err
		}
	}
	password, err := os.ReadFile(s.path("password"))
	if err != nil {
		return err
	}
	s.password = string(password)
	if err := s.stopLeftover(ctx); err != nil {
		return err
	}
	if err := s.launch(ctx); err != nil {
		return err
	}
	return s.awaitAnswer(ctx)
}

// makeCluster makes a new cluster in the folder, and its password.
func (s *Server) makeCluster(ctx context.Context) error {
	passwordFile, draft := s.path("password"), s.path("data.new")
	err := errors.Join(
		os.RemoveAll(draft), // an interrupted run's: only the rename makes it a cluster
		os.WriteFile(passwordFile, []byte(rand.Text()), 0o600),
		s.account.own(passwordFile))
	if err != nil {
		return err
	}
	err = s.runProgram(ctx, "initdb", "-D", draft, "--username=postgres", "--pwfile="+passwordFile,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C")
	if err != nil {
		return err
	}
	return os.Rename(draft, s.path("data"))
}

// stopLeftover ends a server that an earlier run has left on the cluster. This process holds the
// folder, so the server can be nobody else's. It asks at the recorded port, with the cluster's
// password. The recorded process id may be another program's by now, and that program must not get
// our signal.
func (s *Server) stopLeftover(ctx context.Context) error {
	pidFile, err := os.ReadFile(s.path("data/postmaster.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	port := "0" // a port where nobody answers
	if lines := strings.Split(string(pidFile), "\n"); len(lines) > 3 {
		port = lines[3]
	}
	if s.answersAt(ctx, port) {
		fmt.Fprintf(s.options.Log, "stopping the PostgreSQL that the last run left in %s\n", s.dir)
		err := s.runProgram(ctx, "pg_ctl", "stop", "-D", s.path("data"), "--mode=fast", "--wait")
		if err != nil && s.answersAt(ctx, port) { // else it has ended by itself
			return err
		}
	}
	// If another process has the recorded id by now, postgres would take it for the old server, and
	// not start.
	return os.RemoveAll(s.path("data/postmaster.pid"))
}

// answersAt reports whether a server of this cluster is at the port, even one that is still
// starting or already stopping.
func (s *Server) answersAt(ctx context.Context, port string) bool {
	err := s.connect(ctx, port)
	refusal, refused := errors.AsType[*pgconn.PgError](err)
	return err == nil || refused && refusal.Code == cannotConnectNow
}

// connect returns nil if a server with the cluster's password accepts a connection.
func (s *Server) connect(ctx context.Context, port string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, URL("127.0.0.1:"+port, s.password))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// launch starts a server on the cluster.
func (s *Server) launch(ctx context.Context) error {
	log, err := os.OpenFile(s.path("postgres.log"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the server has its own copy
	// Without Unix sockets, their folder and initdb's rules for them do not matter.
	settings := []string{"listen_addresses=127.0.0.1", "port=" + s.port, "unix_socket_directories="}
	if s.options.Dir == "" {
		settings = append(settings, TestSettings()...)
	}
	if s.options.Replicated {
		settings = append(settings, "wal_level=replica", "max_wal_senders=4")
	}
	settings = append(settings, s.options.Settings...)
	args := []string{"-D", s.path("data")}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	cmd := s.account.command(life, s.dir, filepath.Join(s.bin, "postgres"), args...)
	// A file, and not a pipe, takes what is written after this process has died.
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) } // a fast shutdown
	cmd.WaitDelay = stopTimeout
	dieWithParent(cmd.SysProcAttr)
	ended, err := startOnThread(cmd)
	if err != nil {
		end()
		return err
	}
	s.process, s.end, s.ended = cmd, end, ended
	return nil
}

// startOnThread starts cmd on a thread that lives as long as cmd. Linux sends a parent's death
// signal when the thread that started the child ends. Go ends idle threads at will, so the server
// would stop for no reason.
func startOnThread(cmd *exec.Cmd) (ended context.Context, err error) {
	ended, end := context.WithCancel(context.Background())
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer end()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // its state has the result
		}
	}()
	return ended, <-started
}

// awaitAnswer returns when the server accepts a connection, or when it never will.
func (s *Server) awaitAnswer(ctx context.Context) error {
	ctx, give := context.WithCancelCause(ctx)
	defer context.AfterFunc(s.ended, func() { give(errors.New("it has ended")) })()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if s.connect(ctx, s.port) == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(s.path("postgres.log"))
			return fmt.Errorf("postgres did not answer: %w; its log:\n%s", context.Cause(ctx),
				tail(log))
		case <-tick.C:
		}
	}
}

// runProgram runs one of PostgreSQL's programs to its end. An error has what the program wrote.
func (s *Server) runProgram(ctx context.Context, name string, args ...string) error {
	output, err := s.account.command(ctx, s.dir, filepath.Join(s.bin, name),
		args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, tail(output))
	}
	return nil
}

// tail returns the last lines of a log.
func tail(log []byte) string {
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}

// TestSettings returns the settings of a server for tests: many clients, many databases, and
// nothing that must last.
func TestSettings() []string {
	return []string{"max_connections=300", "fsync=off", "synchronous_commit=off",
		"full_page_writes=off",
		"wal_level=minimal", "max_wal_senders=0", "max_wal_size=128MB", "autovacuum=off"}
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }
