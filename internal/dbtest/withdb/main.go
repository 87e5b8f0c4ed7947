// Command withdb runs another command, such as go test ./..., with a PostgreSQL for its tests: one server for all the
// test processes that the command starts, in place of one for each.
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

	"gatehouse/internal/dbtest"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// run returns the exit code: that of the command, 2 for wrong use, 1 if there is no server.
func run(args []string) int {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: withdb -- COMMAND [ARGUMENT...]")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends this process at once, and the server with it
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

// execute runs the command to its end and returns its exit code. When ctx ends, the command is interrupted.
func execute(ctx context.Context, args []string, variable string) int {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), variable)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// In a group of its own, so that a Ctrl-C reaches it once, through us, with all the processes that it has started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	err := cmd.Run() // what the command has to say about its failure, it has said
	if cmd.Process == nil {
		fmt.Fprintln(os.Stderr, "withdb:", err)
		return 127
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()) // as shells do
	}
	return cmd.ProcessState.ExitCode()
}
