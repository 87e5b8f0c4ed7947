package pgdev

import (
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	tempPrefix = "gatehouse-test-"
	memory     = "/dev/shm" // where Linux has a file system in memory
	roomy      = 2 << 30    // bytes; containers often have just 64 MiB there
)

// TempDir makes a folder for a server of tests, to be removed by the caller. It is in memory where there is room, for
// databases are made ten times as fast there, and in TMPDIR if that is set. It also removes the folders that killed
// test processes have left.
func TempDir() (string, error) {
	parent := os.TempDir()
	var system syscall.Statfs_t
	if os.Getenv("TMPDIR") == "" && syscall.Statfs(memory, &system) == nil &&
		uint64(system.Bavail)*uint64(system.Bsize) > roomy {
		parent = memory
	}
	removeLeftovers(parent)
	return os.MkdirTemp(parent, tempPrefix)
}

// removeLeftovers removes the temporary folders that no process holds. One that is not held yet, because it was just
// made, is told from them by its age.
func removeLeftovers(parent string) {
	dirs, _ := filepath.Glob(filepath.Join(parent, tempPrefix+"*")) // the only error is a malformed pattern
	for _, dir := range dirs {
		info, err := os.Lstat(filepath.Join(dir, lockName))
		if err != nil || time.Since(info.ModTime()) < time.Hour {
			continue
		}
		lock, err := takeFolder(dir)
		if err != nil {
			continue
		}
		_ = os.RemoveAll(dir) // what can't be removed is tried again by the next run
		lock.Close()
	}
}
