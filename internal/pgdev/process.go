package pgdev

import (
	"errors"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is a running postgres.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended
}

// startProcess starts cmd on a thread that lives as long as cmd does. Linux sends a parent's death signal when the
// thread that started the child ends, and Go ends idle threads' owners at will: the server would stop for no reason.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // how it ended is in its log
		close(p.exited)
	}()
	return p, <-started
}

// stop asks for a fast shutdown, waits for it at most patience, and then ends the process the hard way.
func (p *process) stop(patience time.Duration) error {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} {
		_ = p.cmd.Process.Signal(signal) // fails only if it has ended
		select {
		case <-p.exited:
			return nil
		case <-time.After(patience):
		}
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
	return errors.New("private PostgreSQL: it did not stop and was killed")
}
