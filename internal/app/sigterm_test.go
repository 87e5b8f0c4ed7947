package app_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/httpapi/apitest"
)

// Between the signal of a container engine and Run are lines of the command that only a real
// process can test.
func TestSIGTERMFinishesRequestsAndEndsTheProcessWell(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	r := &replica{T: t, ops: "http://" + dbtest.FreeAddr(t), client: apitest.Client(t),
		plain: newClient(t), log: &logBuffer{}}
	process := startBinary(t, r, databaseURL)
	token := insertUser(t, databaseURL)

	table := lockUsers(t, databaseURL)
	request := r.meRequest(token)
	finished := make(chan answer, 1)
	go func() {
		a, err := send(r.client, request)
		if err != nil {
			t.Error(err)
		}
		finished <- a
	}()
	table.awaitWaiting(1)
	must(t, process.Process.Signal(syscall.SIGTERM))
	r.awaitClosedListener()
	table.unlock()
	r.want(200, <-finished)
	if err := process.Wait(); err != nil {
		t.Errorf("gatehouse ended with %v", err)
	}
}

// startBinary runs gatehouse serve as a process, and waits until it is ready.
func startBinary(t *testing.T, r *replica, databaseURL string) *exec.Cmd {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "gatehouse")
	buildGatehouse(t, binary)
	process := exec.Command(binary, "serve")
	process.Env = append(os.Environ(), "DATABASE_URL="+databaseURL, "SECRET_KEY="+secretKey,
		"ALGORITHM=HS256",
		"LISTEN_ADDR=127.0.0.1:0", "OPS_ADDR="+r.ops[len("http://"):],
		"REQUEST_TIMEOUT=10m", "DATABASE_STATEMENT_TIMEOUT=10m", "SHUTDOWN_DELAY=0s",
		"SHUTDOWN_GRACE=10m")
	process.Stderr = r.log
	stdout, err := process.StdoutPipe()
	must(t, err)
	must(t, process.Start())
	t.Cleanup(func() {
		_ = process.Process.Kill() // if the test has failed before its end
		_ = process.Wait()
	})
	output := bufio.NewReader(stdout)
	for r.public == "" {
		line, err := output.ReadBytes('\n')
		if err != nil {
			t.Fatalf("gatehouse is not ready: %v\n%s", err, r.log)
		}
		var fields struct{ Msg, Public string }
		must(t, json.Unmarshal(line, &fields))
		if fields.Msg == "ready" {
			r.public = "http://" + fields.Public
		}
	}
	go io.Copy(r.log, output) // ends with the process
	return process
}
