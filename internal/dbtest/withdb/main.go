// Command withdb runs another command, such as go test ./..., with a PostgreSQL for its tests. All
// the test processes that the command starts share one server.
//
//	go run ./internal/dbtest/withdb -- go test -race ./...
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"gatehouse.example/internal/dbtest"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// run returns the exit code: the command's own, 2 for wrong use, or 1 without a server.
func run(args []string) int {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: withdb -- COMMAND [ARGUMENT...]")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends this process at once, and its server
	server, err := dbtest.Start(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "withdb:", err)
		return 1
	}
	fmt.Fprintln(os.Stderr, "withdb:", server)
	code := execute(ctx, args, "TEST_DATABASE_URL="+server.URL())
	if err := server.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "withdb:", err)
		code = max(code, 1)
	}
	return code
}

// execute runs the command to its end, and returns its exit code. When ctx ends, the command is
// interrupted.
func execute(ctx context.Context, args []string, variable string) int {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), variable)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// The command gets a process group of its own. So a Ctrl-C reaches it once, through us, with
	// all the processes that it has started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	err := cmd.Run() // the command itself has printed why it failed
	if cmd.Process == nil {
		fmt.Fprintln(os.Stderr, "withdb:", err)
		return 127
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()) // as shells do
	}
	return cmd.ProcessState.ExitCode()
}
