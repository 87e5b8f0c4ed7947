package pgdev

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// account is the user that PostgreSQL's programs run as.
type account struct {
	name       string
	credential *syscall.Credential // nil: the user of this process
}

// unprivileged returns the user of this process or, since PostgreSQL refuses to run as root, somebody else instead of
// root: postgres where there is one, else nobody.
func unprivileged() (account, error) {
	if os.Geteuid() != 0 {
		return account{name: "uid " + strconv.Itoa(os.Geteuid())}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(found.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(found.Gid, 10, 32)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return account{}, fmt.Errorf("user %s: %w", name, err)
		}
		return account{name: name, credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
	}
	return account{}, errors.New("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")
}

// command prepares a program to run as the account, in a process group of its own: a Ctrl-C at the terminal must not
// reach the server while its clients still finish their work.
func (a account) command(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: a.credential}
	// The caller's PGHOST, PGDATA and so on are not about this server, and an unknown locale keeps it from starting.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "PG") || strings.HasPrefix(variable, "LC_")
	})
	cmd.Env = append(cmd.Env, "LC_ALL=C", "TZ=UTC")
	return cmd
}

// folder makes the folder that was asked for and gives it to the account; if that can't reach it, another one in its
// place.
func (a account) folder(asked string) (dir string, moved bool, err error) {
	if dir, err = filepath.Abs(asked); err != nil {
		return "", false, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", false, err
	}
	if a.reaches(filepath.Dir(dir)) {
		return dir, false, a.own(dir)
	}
	_ = os.Remove(dir) // if it was just made: a folder with something in it stays
	dir, err = a.standIn(dir)
	return dir, true, err
}

// reaches tells whether the account can work in dir: not if a folder above it is closed, as /root is.
func (a account) reaches(dir string) bool {
	return a.command(context.Background(), dir, "/bin/sh", "-c", ":").Run() == nil
}

func (a account) own(dir string) error {
	if a.credential != nil {
		if err := os.Lchown(dir, int(a.credential.Uid), int(a.credential.Gid)); err != nil {
			return err
		}
	}
	return os.Chmod(dir, 0o700)
}

// standIn returns the folder that is used in place of dir, the same one each time.
func (a account) standIn(dir string) (string, error) {
	if a.credential == nil {
		return "", fmt.Errorf("%s can't be entered", dir)
	}
	sum := sha256.Sum256([]byte(dir))
	other := filepath.Join("/var/tmp", fmt.Sprintf("gatehouse-%d-%s", os.Geteuid(), hex.EncodeToString(sum[:8])))
	err := os.Mkdir(other, 0o700)
	if err == nil {
		return other, a.own(other)
	}
	if !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	// Anybody can make things in /var/tmp: what is there must be the folder that an earlier run has made.
	info, err := os.Lstat(other)
	if err != nil {
		return "", err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || stat.Uid != a.credential.Uid || info.Mode().Perm() != 0o700 {
		return "", fmt.Errorf("%s is not a private folder of %s: remove it", other, a.name)
	}
	return other, nil
}
