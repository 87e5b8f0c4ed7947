package dbtest

import (
	"bufio"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// go test kills a test process that takes too long, and people kill one with Ctrl-C. No deferred
// call runs then.
func TestServerEndsWithAKilledTestProcess(t *testing.T) {
	t.Parallel()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	temporary, err := os.MkdirTemp("", "dbtest-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(temporary) })
	if err := os.Chmod(temporary, 0o755); err != nil { // for the user who runs PostgreSQL
		t.Fatal(err)
	}
	helper := exec.Command(executable)
	helper.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "TEST_DATABASE_URL=")
	})
	helper.Env = append(helper.Env, helperMark+"=1", "TMPDIR="+temporary)
	helper.Stderr = os.Stderr
	output, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, strings.TrimSpace(line))
	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = helper.Wait() // the error says that it was killed

	if _, err := conn.WaitForNotification(t.Context()); err == nil || t.Context().Err() != nil {
		t.Errorf("the server goes on: %v", err)
	}
	for {
		conn, err := pgx.Connect(t.Context(), strings.TrimSpace(line))
		if err != nil {
			break
		}
		conn.Close(t.Context())
	}
}
