// Package pgdev owns a private PostgreSQL server: for `make run` on a machine without a database, and for tests.
//
// The server lives in a folder of its own, listens on 127.0.0.1 only, asks for a random password, and never runs as
// root. Its programs are those found on the machine; without any, github.com/fergusstrange/embedded-postgres downloads
// them. Unix only.
package pgdev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	superuser    = "postgres"
	startTimeout = time.Minute      // a cluster is made in it, or recovered after a crash
	stopTimeout  = 30 * time.Second // then the server is told to quit without a checkpoint
	pollInterval = 20 * time.Millisecond
	lockName     = "lock" // of a file in the folder
)

// Options say where a server lives and how it is run.
type Options struct {
	// Dir is the server's own folder, for nothing else; made if it is missing. What it holds survives restarts. If the
	// user that PostgreSQL must run as can't reach it, a folder in /var/tmp stands in for it, always the same for a Dir.
	Dir string
	// Durable servers survive a crash of the machine. Others are faster and lose everything in one: for tests.
	Durable bool
	// Embedded passes over PostgreSQL programs on the machine.
	Embedded bool
	// RepositoryURL is the Maven repository that embedded-postgres downloads from; empty for the central one.
	RepositoryURL string
	// Log receives one line for each thing that a person should know; may be nil.
	Log io.Writer
}

// Server is a private PostgreSQL. Its methods may be called from several goroutines.
type Server struct {
	options  Options
	account  account
	dir      string
	programs programs
	password string

	mu      sync.Mutex
	port    int      // 0 until it has run once
	lock    *os.File // held while the server runs
	process *process // nil while it is stopped
}

// Start runs a server in o.Dir, with the data that is there or, if there is none, a new cluster. It returns when the
// server answers. A server that a killed run has left behind in the folder is stopped first.
func Start(ctx context.Context, o Options) (*Server, error) {
	s := &Server{options: o}
	if s.options.Log == nil {
		s.options.Log = io.Discard
	}
	if err := s.start(ctx); err != nil {
		return nil, fmt.Errorf("private PostgreSQL: %w", err)
	}
	return s, nil
}

// URL returns the address of the database "postgres", with the password of the superuser in it.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.urlAt(s.port)
}

func (s *Server) urlAt(port int) string {
	return (&url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, s.password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		Path:     "/postgres",
		RawQuery: "sslmode=disable",
	}).String()
}

// Kind says where the server's programs come from: "local binaries" or "embedded-postgres".
func (s *Server) Kind() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.programs.kind
}

// Restart runs a stopped server again, on the port that it had.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		return errors.New("private PostgreSQL: it runs already")
	}
	if err := s.run(ctx); err != nil {
		return fmt.Errorf("private PostgreSQL: %w", err)
	}
	return nil
}

// Stop ends the server as its fast shutdown does: open transactions are rolled back, everything else is on disk when
// Stop returns. Stopping a stopped server does nothing.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return nil
	}
	err := s.process.stop(stopTimeout)
	s.process = nil
	return errors.Join(err, s.lock.Close())
}

func (s *Server) start(ctx context.Context) (err error) {
	if s.account, err = unprivileged(); err != nil {
		return err
	}
	var moved bool
	if s.dir, moved, err = s.account.folder(s.options.Dir); err != nil {
		return err
	}
	if moved {
		fmt.Fprintf(s.options.Log, "user %s can't reach %s; the database is in %s\n", s.account.name, s.options.Dir, s.dir)
	}
	return s.run(ctx)
}

// run takes the folder for this process, makes sure that a cluster is in it, and starts a server on it.
func (s *Server) run(ctx context.Context) (err error) {
	if s.lock, err = takeFolder(s.dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.lock.Close()
		}
	}()
	if err := s.findPrograms(); err != nil { // it may download them: no matter of a minute
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.prepare(ctx); err != nil {
		return err
	}
	return s.launch(ctx)
}

// takeFolder keeps two processes from running a server in one folder. The lock ends with the process, however it ends.
func takeFolder(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("%s is in use by another process", dir)
	}
	return file, nil
}

// launch starts a server on the cluster: on its old port if it had one, else on a free one.
func (s *Server) launch(ctx context.Context) error {
	if s.port != 0 {
		return s.launchOn(ctx, s.port)
	}
	var err error
	for range 5 { // somebody else may take the port between our look at it and the server's bind
		var port int
		if port, err = FreePort(); err != nil {
			return err
		}
		if err = s.launchOn(ctx, port); !errors.Is(err, errPortTaken) {
			return err
		}
	}
	return err
}

// FreePort returns a TCP port of 127.0.0.1 that nobody listened on a moment ago. It is none of those that the system
// gives to outgoing connections: one of them could take it while the server is stopped, even a connection to that very
// port, which would then be talking to itself.
func FreePort() (int, error) {
	const lowest, count = 20000, 10000
	for {
		port := lowest + rand.IntN(count)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return 0, err
		}
		return port, listener.Close()
	}
}

var errPortTaken = errors.New("the port is taken")

// launchOn starts a server on the cluster and waits until it answers.
func (s *Server) launchOn(ctx context.Context, port int) error {
	logPath := s.path("postgres.log")
	logFile, err := os.OpenFile(logPath, os.O_RDWR|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close() // the server has its own copy

	args := []string{"-D", s.path("data")}
	for _, setting := range s.settings(port) {
		args = append(args, "-c", setting)
	}
	cmd := s.account.command(context.WithoutCancel(ctx), s.dir, s.programs.path("postgres"), args...)
	cmd.Stdout, cmd.Stderr = logFile, logFile // a file, not a pipe: it takes what is written after this process's death
	dieWithParent(cmd.SysProcAttr)
	process, err := startProcess(cmd)
	if err != nil {
		return err
	}
	if err := s.awaitAnswer(ctx, process, port); err != nil {
		_ = process.stop(time.Second)
		written, _ := os.ReadFile(logPath)
		if strings.Contains(string(written), "could not create any TCP/IP sockets") {
			return errPortTaken
		}
		return fmt.Errorf("%w; its log:\n%s", err, tail(written))
	}
	s.process, s.port = process, port
	return nil
}

// settings returns what the server is told on its command line, over postgresql.conf.
func (s *Server) settings(port int) []string {
	settings := []string{
		"listen_addresses=127.0.0.1",
		"port=" + strconv.Itoa(port),
		"unix_socket_directories=", // initdb's rules for sockets, and their folder, need no thought then
	}
	if !s.options.Durable {
		settings = append(settings, TestSettings()...)
	}
	return settings
}

// TestSettings returns the settings of a server for tests: many clients, many databases, nothing that must last.
func TestSettings() []string {
	return []string{"max_connections=300", "fsync=off", "synchronous_commit=off", "full_page_writes=off",
		"wal_level=minimal", "max_wal_senders=0", "max_wal_size=128MB", "autovacuum=off"}
}

// awaitAnswer returns when the server takes a connection, or when it never will.
func (s *Server) awaitAnswer(ctx context.Context, process *process, port int) error {
	// Whatever has taken the port may accept connections and say nothing: the wait for it ends with our process.
	attempt, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-process.exited:
			cancel()
		case <-attempt.Done():
		}
	}()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if conn, err := pgx.Connect(attempt, s.urlAt(port)); err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-process.exited:
			return errors.New("postgres ended at its start")
		case <-ctx.Done():
			return fmt.Errorf("postgres did not answer: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// tail returns the last lines of a log.
func tail(log []byte) string {
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }
