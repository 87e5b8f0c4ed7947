package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// asCommand makes this test binary be the command, and run no tests.
const asCommand = "TEST_OF_WITHDB_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(run(os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

// make and CI rely on the exit code. It must show a failure of the tests.
func TestExitCodeIsThatOfTheCommand(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		code int
	}{
		{[]string{"true"}, 0},
		{[]string{"sh", "-c", `test "$TEST_DATABASE_URL" = given && exit 7`}, 7},
		{[]string{"sh", "-c", "kill -KILL $$"}, 128 + 9},
		{[]string{"./no such command"}, 127},
	} {
		if code := execute(t.Context(), test.args, "TEST_DATABASE_URL=given"); code != test.code {
			t.Errorf("%q: exit code %d, want %d", test.args, code, test.code)
		}
	}
	for _, wrong := range [][]string{nil, {"--"}} {
		if code := run(wrong); code != 2 {
			t.Errorf("%q: exit code %d, want 2", wrong, code)
		}
	}
}

// A signal to withdb must reach the test processes too, and their output about it must appear.
func TestInterruptIsPassedOn(t *testing.T) {
	t.Parallel()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(executable, "--", "sh", "-c",
		`trap "echo interrupted; exit 9" INT
		case $TEST_DATABASE_URL in postgres://*) echo ready;; esac
		while :; do sleep 0.1; done`)
	command.Env = append(os.Environ(), asCommand+"=1")
	command.Stderr = os.Stderr
	pipe, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	output := bufio.NewReader(pipe)
	if line, err := output.ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(output)
	if err != nil || string(rest) != "interrupted\n" {
		t.Errorf("%q, %v", rest, err)
	}
	_ = command.Wait() // its error is the exit code
	if code := command.ProcessState.ExitCode(); code != 9 {
		t.Errorf("exit code %d, want the command's 9", code)
	}
}
