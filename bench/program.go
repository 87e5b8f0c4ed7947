package main

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

	"github.com/google/uuid"
)

// program is a server under test.
type program struct {
	url  string
	ops  string // address of the operators' port, of a replica
	cmd  *exec.Cmd
	log  string        // file
	took time.Duration // from its start until it was ready
}

// replica starts a replica of the service, once for each name. The settings in env come before those of the stage.
func (s *stage) replica(ctx context.Context, name string, env ...string) (*program, error) {
	command, err := s.serveCommand(name)
	if err != nil {
		return nil, err
	}
	return s.replicaOf(ctx, command, name, env...)
}

// replicaOf starts one by another command.
func (s *stage) replicaOf(ctx context.Context, command []string, name string, env ...string) (*program, error) {
	public, ops := freeAddr(), freeAddr()
	p, err := s.start(ctx, name, public, "http://"+ops+"/readyz", append([]string{
		"DATABASE_URL=" + s.database.URL(), "SECRET_KEY=" + secretKey, "ALGORITHM=HS256", "LISTEN_ADDR=" + public, "OPS_ADDR=" + ops, "SHUTDOWN_DELAY=0s",
		// On a busy machine a figure gets worse, and no error comes of it.
		"REQUEST_TIMEOUT=60s", "DATABASE_STATEMENT_TIMEOUT=60s",
	}, env...), command...)
	if err == nil && p.ops == "" {
		p.ops = ops
	}
	return p, err
}

// bare starts what the service is compared with, in a process with the settings of the service's.
func (s *stage) bare(ctx context.Context) (*program, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr := freeAddr()
	return s.start(ctx, "bare", addr, "http://"+addr+"/verify", []string{"DATABASE_URL=" + s.database.URL()}, self, "-bare", addr)
}

// alone has a task done in the process of the bare handlers, on the service's processors and without HTTP, and returns
// how often a second it was done.
func (s *stage) alone(ctx context.Context, t task) (float64, error) {
	bare, err := s.bare(ctx)
	if err != nil {
		return 0, err
	}
	body, err := json.Marshal(t)
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, bare.url+"/loop", strings.NewReader(string(body)))
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

// task is done over and over by some clients, each with one session after the other.
type task struct {
	What     string
	Clients  int
	For      time.Duration
	Sessions []uuid.UUID
}

func (s *stage) start(ctx context.Context, name, addr, readyURL string, env []string, command ...string) (*program, error) {
	return s.startOn(ctx, servicePin(), name, addr, readyURL, env, command...)
}

// startOn starts a program on some processors and returns when it is ready.
func (s *stage) startOn(ctx context.Context, processors, name, addr, readyURL string, env []string, command ...string) (*program, error) {
	if p, ok := s.started[name]; ok {
		return p, nil
	}
	p := &program{url: "http://" + addr, log: filepath.Join(s.dir, strings.ReplaceAll(name, " ", "-")+".log")}
	// A file, and appended to so that it can be cut: a pipe would make the log this process's work.
	log, err := os.OpenFile(p.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.CommandContext(ctx, "taskset", append([]string{"-c", processors}, command...)...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = append(os.Environ(), env...), log, log, s.root
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	s.started[name] = p
	if err := p.awaitReady(ctx, readyURL); err != nil {
		text, _ := os.ReadFile(p.log)
		return nil, fmt.Errorf("%s does not start: %w: %s", name, err, text)
	}
	p.took = time.Since(began)
	return p, nil
}

func (p *program) awaitReady(ctx context.Context, url string) error {
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

// stop ends a program; one that does not end is killed.
func (s *stage) stop(name string) {
	p := s.started[name]
	delete(s.started, name)
	if p.cmd.Process.Signal(syscall.SIGTERM) != nil {
		return // it has ended already
	}
	kill := time.AfterFunc(20*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.cmd.Wait() // of the signal
}

// cutLogs keeps the logs small.
func (s *stage) cutLogs() error {
	var errs []error
	for _, p := range s.started {
		errs = append(errs, os.Truncate(p.log, 0))
	}
	return errors.Join(errs...)
}

// resident is the memory of a program, in MB: VmRSS, or a part of that, as RssFile, which the program's file has behind it.
func (p *program) resident(part string) float64 {
	kib, _ := strconv.Atoi(strings.TrimSuffix(fromFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid), part), " kB"))
	return float64(kib) * 1024 / 1e6
}

func freeAddr() string {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // a machine without a loopback interface
	}
	defer socket.Close()
	return socket.Addr().String()
}
