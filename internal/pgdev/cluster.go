package pgdev

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// prepare makes the folder ready for a server: a cluster in it, nobody running on that, the password known.
func (s *Server) prepare(ctx context.Context) error {
	// The folder belongs to an unprivileged account: what that may have put there must not lead out of it.
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	major, err := s.clusterVersion()
	if err != nil {
		return err
	}
	if major == 0 {
		return s.makeCluster(ctx, root)
	}
	password, err := root.ReadFile("password")
	if err != nil {
		return err
	}
	s.password = string(password)
	return s.stopLeftover(ctx, root)
}

// clusterVersion returns the major version of PostgreSQL that the cluster in the folder is of; 0 if there is none.
func (s *Server) clusterVersion() (int, error) {
	version, err := os.ReadFile(s.path("data/PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(version)))
}

// findPrograms finds programs for the cluster in the folder, or for the one that will be made there.
func (s *Server) findPrograms() (err error) {
	major, err := s.clusterVersion()
	if err != nil {
		return err
	}
	s.programs, err = s.choosePrograms(major)
	return err
}

// choosePrograms returns programs for a cluster of the given major version; 0 stands for a cluster yet to be made.
func (s *Server) choosePrograms(major int) (programs, error) {
	if !s.options.Embedded {
		for _, p := range localPrograms(s.account) {
			if major == 0 || p.major == major {
				return p, nil
			}
		}
	}
	if major != 0 && !s.hasDownloaded() {
		return programs{}, fmt.Errorf("the data in %s are of PostgreSQL %d, which is not on this machine any more: "+
			"install it, or remove the folder", s.dir, major)
	}
	return s.download()
}

// makeCluster makes a new cluster in the folder, and its password.
func (s *Server) makeCluster(ctx context.Context, root *os.Root) error {
	s.password = rand.Text()
	// What an interrupted run has left is no cluster yet: only the rename makes it one.
	if err := errors.Join(root.RemoveAll("data.new"), root.RemoveAll("password")); err != nil {
		return err
	}
	if err := root.WriteFile("password", []byte(s.password), 0o600); err != nil {
		return err
	}
	if owner := s.account.credential; owner != nil {
		if err := root.Lchown("password", int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	args := []string{"-D", s.path("data.new"), "--username=" + superuser, "--pwfile=" + s.path("password"),
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"}
	if !s.options.Durable {
		args = append(args, "--no-sync")
	}
	if err := runProgram(s.account.command(ctx, s.dir, s.programs.path("initdb"), args...)); err != nil {
		return err
	}
	return root.Rename("data.new", "data")
}

// stopLeftover ends a server that still runs on this folder's cluster. It can only be one that an earlier run has
// left: this process holds the folder.
func (s *Server) stopLeftover(ctx context.Context, root *os.Root) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		pidFile, err := root.ReadFile("data/postmaster.pid")
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		switch s.leftover(ctx, pidFile) {
		case gone:
			// postgres would take any process that has the recorded id by now for the old server, and not start. A server
			// that does live on without an answer is still found out, by its shared memory.
			return root.Remove("data/postmaster.pid")
		case running:
			fmt.Fprintf(s.options.Log, "stopping the PostgreSQL that the last run left in %s\n", s.dir)
			return runProgram(s.account.command(ctx, s.dir, s.programs.path("pg_ctl"),
				"stop", "-D", s.path("data"), "--mode=fast", "--wait"))
		case busy:
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the last run's server is neither up nor gone: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// state is what became of the server of an earlier run.
type state int

const (
	gone state = iota
	busy       // starting or stopping
	running
)

// leftover looks for the server that wrote pidFile. It asks at the recorded port, not for the recorded process id,
// which may be another program's by now, and that one must not get our signal.
func (s *Server) leftover(ctx context.Context, pidFile []byte) state {
	lines := strings.Split(string(pidFile), "\n")
	if len(lines) < 4 { // the line of the port
		return gone
	}
	port, err := strconv.Atoi(lines[3])
	if err != nil {
		return gone
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.urlAt(port))
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok && refusal.Code == cannotConnectNow {
		return busy
	}
	if err != nil {
		return gone
	}
	defer conn.Close(ctx)
	var data string
	if err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&data); err != nil || data != s.path("data") {
		return gone
	}
	return running
}

const cannotConnectNow = "57P03" // SQLSTATE of a server that starts or stops

// runProgram runs one of PostgreSQL's programs to its end; the error has what it wrote.
func runProgram(cmd *exec.Cmd) error {
	output, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w:\n%s", filepath.Base(cmd.Path), err, tail(output))
	}
	return nil
}
