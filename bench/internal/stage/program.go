package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gatehouse.example/bench/internal/baseline"
	"gatehouse.example/bench/internal/machine"
)

// Program is a server under test.
type Program struct {
	URL  string
	Ops  string // address of the operators' port, of a replica
	Cmd  *exec.Cmd
	log  string        // file
	Took time.Duration // from its start until it was ready
}

// Replica starts a replica of the service, once for each name. The settings in env come before
// those of the stage.
func (s *Stage) Replica(ctx context.Context, name string, env ...string) (*Program, error) {
	command, err := s.serveCommand(name)
	if err != nil {
		return nil, err
	}
	return s.ReplicaOf(ctx, command, name, env...)
}

// ReplicaOf starts one by another command.
func (s *Stage) ReplicaOf(ctx context.Context, command []string, name string, env ...string) (*Program, error) {
	public, ops := FreeAddr(), FreeAddr()
	p, err := s.Start(ctx, name, public, "http://"+ops+"/readyz", append([]string{
		"DATABASE_URL=" + s.Database.URL(), "SECRET_KEY=" + SecretKey, "ALGORITHM=HS256", "LISTEN_ADDR=" + public, "OPS_ADDR=" + ops, "SHUTDOWN_DELAY=0s",
		// On a busy machine a figure gets worse, and no error comes of it.
		"REQUEST_TIMEOUT=60s", "DATABASE_STATEMENT_TIMEOUT=60s",
	}, env...), command...)
	if err == nil && p.Ops == "" {
		p.Ops = ops
	}
	return p, err
}

// Baseline starts what the service is compared with, in a process with the settings of the
// service's.
func (s *Stage) Baseline(ctx context.Context) (*Program, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr := FreeAddr()
	return s.Start(ctx, "bare", addr, "http://"+addr+"/verify", []string{"DATABASE_URL=" + s.Database.URL()}, self, "-bare", addr)
}

// Alone has a task done in the process of the bare handlers, on the service's processors and
// without HTTP, and returns how often a second it was done.
func (s *Stage) Alone(ctx context.Context, t baseline.Task) (float64, error) {
	bare, err := s.Baseline(ctx)
	if err != nil {
		return 0, err
	}
	body, err := json.Marshal(t)
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, bare.URL+"/loop", strings.NewReader(string(body)))
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var done struct {
		Rate  float64
		Error string
	}
	if err := json.NewDecoder(response.Body).Decode(&done); err != nil {
		return 0, err
	}
	if done.Error != "" {
		return 0, fmt.Errorf("%s alone: %s", t.What, done.Error)
	}
	return done.Rate, nil
}

// Start starts a program on the processors of the service and returns when it is ready.
func (s *Stage) Start(ctx context.Context, name, addr, readyURL string, env []string, command ...string) (*Program, error) {
	return s.StartOn(ctx, machine.ServicePin(), name, addr, readyURL, env, command...)
}

// StartOn starts a program on some processors and returns when it is ready.
func (s *Stage) StartOn(ctx context.Context, processors, name, addr, readyURL string, env []string, command ...string) (*Program, error) {
	if p, ok := s.Started[name]; ok {
		return p, nil
	}
	p := &Program{URL: "http://" + addr, log: filepath.Join(s.Dir, strings.ReplaceAll(name, " ", "-")+".log")}
	// A file, and appended to so that it can be cut: a pipe would make the log this process's work.
	log, err := os.OpenFile(p.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.Cmd = exec.CommandContext(ctx, "taskset", append([]string{"-c", processors}, command...)...)
	p.Cmd.Env, p.Cmd.Stdout, p.Cmd.Stderr, p.Cmd.Dir = append(os.Environ(), env...), log, log, s.Root
	p.Cmd.Cancel = func() error { return p.Cmd.Process.Signal(syscall.SIGTERM) }
	began := time.Now()
	if err := p.Cmd.Start(); err != nil {
		return nil, err
	}
	s.Started[name] = p
	if err := p.awaitReady(ctx, readyURL); err != nil {
		text, _ := os.ReadFile(p.log)
		return nil, fmt.Errorf("%s does not start: %w: %s", name, err, text)
	}
	p.Took = time.Since(began)
	return p, nil
}

func (p *Program) awaitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			response.Body.Close()
			if response.StatusCode < 300 {
				return nil
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		time.Sleep(time.Millisecond)
	}
}

// Stop ends a program; one that does not end is killed.
func (s *Stage) Stop(name string) {
	p := s.Started[name]
	delete(s.Started, name)
	if p.Cmd.Process.Signal(syscall.SIGTERM) != nil {
		return // it has ended already
	}
	kill := time.AfterFunc(20*time.Second, func() { _ = p.Cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.Cmd.Wait() // of the signal
}

// CutLogs keeps the logs small.
func (s *Stage) CutLogs() error {
	var errs []error
	for _, p := range s.Started {
		errs = append(errs, os.Truncate(p.log, 0))
	}
	return errors.Join(errs...)
}

// Resident is the memory of a program, in MB: VmRSS, or a part of that, as RssFile, which the
// program's file has behind it.
func (p *Program) Resident(part string) float64 {
	kib, _ := strconv.Atoi(strings.TrimSuffix(machine.FromFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid), part), " kB"))
	return float64(kib) * 1024 / 1e6
}

// FreeAddr is an address at which nobody listens.
func FreeAddr() string {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // a machine without a loopback interface
	}
	defer socket.Close()
	return socket.Addr().String()
}
