package password

import "golang.org/x/sys/unix"

// lowerPriority makes the calling thread the last to get a core (nice 19). Linux keeps the niceness
// of each thread, unlike POSIX (setpriority(2), "C library/kernel differences"). So the rest of the
// process keeps its own.
func lowerPriority() error {
	return unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 19)
}
