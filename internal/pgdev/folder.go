package pgdev

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// account is the user who runs PostgreSQL's programs.
type account struct {
	credential *syscall.Credential // nil is the user of this process
}

// unprivileged returns the user of this process. PostgreSQL refuses to run as root, so it returns
// another user instead of root: postgres where there is one, else nobody.
func unprivileged() (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	other, err := user.Lookup("postgres")
	if err != nil {
		other, err = user.Lookup("nobody")
	}
	if err != nil {
		return account{},
			errors.New("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")
	}
	uid, uidErr := strconv.ParseUint(other.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(other.Gid, 10, 32)
	return account{&syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}},
		errors.Join(uidErr, gidErr)
}

// command prepares a program to run as the account. It gets a process group of its own, because a
// Ctrl-C at the terminal must not reach the server while its clients still finish their work.
func (a account) command(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: a.credential}
	// The caller's PGHOST, PGDATA and so on are not about this server. An unknown locale would keep
	// it from starting.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "PG") || strings.HasPrefix(variable, "LC_")
	})
	cmd.Env = append(cmd.Env, "LC_ALL=C", "TZ=UTC")
	return cmd
}

// own gives a file to the account.
func (a account) own(path string) error {
	if a.credential == nil {
		return nil
	}
	return os.Chown(path, int(a.credential.Uid), int(a.credential.Gid))
}

// folder makes the folder for the account alone, and returns its full path. If the account can't
// reach it, as in /root, the path is that of another folder, which stands in for it.
func (a account) folder(asked string, log io.Writer) (string, error) {
	dir, err := filepath.Abs(asked)
	if err := errors.Join(err, a.makeFolder(dir)); err != nil {
		return "", err
	}
	if a.credential == nil ||
		a.command(context.Background(), dir, "/bin/sh", "-c", ":").Run() == nil {
		return dir, nil
	}
	_ = os.Remove(dir) // this leaves a folder with something in it
	// Only root can make anything there, and only root comes here. So it can't be somebody else's.
	standIn := fmt.Sprintf("/var/lib/gatehouse-%x", sha256.Sum256([]byte(dir)))
	fmt.Fprintf(log,
		"PostgreSQL can't run as root, and its user can't reach %s; the database is in %s\n", dir,
		standIn)
	return standIn, a.makeFolder(standIn)
}

func (a account) makeFolder(dir string) error {
	return errors.Join(os.MkdirAll(dir, 0o755), a.own(dir), os.Chmod(dir, 0o700))
}

// takeFolder keeps two processes from running a server in one folder. The lock ends with the
// process, for whatever reason.
func takeFolder(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("%s is in use by another process", dir)
	}
	return file, nil
}

const (
	tempPrefix = "gatehouse-test-db-" // the id of the process that makes the folder follows
	memory     = "/dev/shm"           // Linux's file system in memory
	roomy      = 2 << 30              // bytes; containers often have just 64 MiB there
)

// temporaryFolder makes a folder for a test server. It is in TMPDIR if that is set. Otherwise it is
// in memory where there is room, because databases are made ten times as fast there.
func temporaryFolder() (string, error) {
	parent := os.TempDir()
	var system syscall.Statfs_t
	if os.Getenv("TMPDIR") == "" && syscall.Statfs(memory, &system) == nil &&
		uint64(system.Bavail)*uint64(system.Bsize) > roomy {
		parent = memory
	}
	removeLeftovers(parent)
	return os.MkdirTemp(parent, fmt.Sprintf("%s%d-", tempPrefix, os.Getpid()))
}

// removeLeftovers removes the temporary folders of processes that are gone. A killed process could
// not do it.
func removeLeftovers(parent string) {
	// the only error is a malformed pattern
	dirs, _ := filepath.Glob(filepath.Join(parent, tempPrefix+"*"))
	for _, dir := range dirs {
		var pid int
		_, err := fmt.Sscanf(filepath.Base(dir), tempPrefix+"%d-", &pid)
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(dir) // the next run tries again what can't be removed
		}
	}
}
