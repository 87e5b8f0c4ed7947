package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/internal/pgdev"
	"gatehouse/internal/token"
	"gatehouse/migrations"
)

const (
	secretKey = "the secret key of the bench with 32 bytes or more"
	issuerURL = "http://localhost:8000"
)

// stage is where the rows play: a PostgreSQL with the schema, the service's program, and what has been started of it.
type stage struct {
	dir      string
	database *pgdev.Server
	pool     *pgxpool.Pool
	issuer   *token.Issuer
	refresh  *token.RefreshKeys
	started  map[string]*program
}

func newStage(ctx context.Context, log io.Writer) (_ *stage, err error) {
	dir, err := os.MkdirTemp("", "gatehouse-bench-")
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir, started: map[string]*program{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.end())
		}
	}()
	build := exec.CommandContext(ctx, "go", "build", "-tags", "nomsgpack", "-o", s.binary(), "gatehouse/cmd/gatehouse")
	build.Stderr = log
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("go build: %w", err)
	}
	if s.database, err = pgdev.Start(ctx, pgdev.Options{Dir: filepath.Join(dir, "postgres"), Log: io.Discard}); err != nil {
		return nil, err
	}
	if err := migrate(ctx, s.database.URL()); err != nil {
		return nil, err
	}
	if s.pool, err = pgxpool.New(ctx, s.database.URL()); err != nil {
		return nil, err
	}
	keys := [][]byte{[]byte(secretKey)}
	if s.issuer, err = token.NewIssuer(token.Settings{Keys: keys, Issuer: issuerURL, Audience: "gatehouse", Lifetime: time.Hour}); err != nil {
		return nil, err
	}
	s.refresh, err = token.NewRefreshKeys(keys)
	return s, err
}

func migrate(ctx context.Context, databaseURL string) error {
	m, err := migrations.Open(ctx, databaseURL)
	if err != nil {
		return err
	}
	_, err = m.Up(ctx)
	return errors.Join(err, m.Close())
}

func (s *stage) binary() string { return filepath.Join(s.dir, "gatehouse") }

// end stops all that was started and removes it.
func (s *stage) end() error {
	var errs []error
	for _, p := range s.started {
		errs = append(errs, p.stop())
	}
	if s.pool != nil {
		s.pool.Close()
	}
	if s.database != nil {
		errs = append(errs, s.database.Stop(), s.database.Remove())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// machine describes what the figures were measured on.
func (s *stage) machine() string {
	model := "unknown processor"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				model = strings.Trim(name, "\t :\n")
				break
			}
		}
	}
	return fmt.Sprintf("%d × %s, %s; service pinned to processor %s, wrk to %s", runtime.NumCPU(), model, runtime.Version(), servicePin(), generatorPin())
}

// Service and generator each have half of the processors.
func servicePin() string   { return pin(0, max(1, runtime.NumCPU()/2)) }
func generatorPin() string { return pin(runtime.NumCPU()/2, runtime.NumCPU()) }

func pin(from, to int) string {
	if to-from == 1 {
		return strconv.Itoa(from)
	}
	return fmt.Sprintf("%d-%d", from, to-1)
}

// program is a server under test.
type program struct {
	url string
	cmd *exec.Cmd
	log bytes.Buffer
}

// replica starts a replica of the service, once for each name.
func (s *stage) replica(ctx context.Context, name string, env ...string) (*program, error) {
	public, ops := freeAddr(), freeAddr()
	return s.start(ctx, name, public, "http://"+ops+"/readyz", append(env,
		"DATABASE_URL="+s.database.URL(), "SECRET_KEY="+secretKey, "LISTEN_ADDR="+public, "OPS_ADDR="+ops, "SHUTDOWN_DELAY=0s",
	), s.binary(), "serve")
}

// bare starts a Gin handler that answers 204 and does nothing else, in a process with the settings of the service's.
func (s *stage) bare(ctx context.Context) (*program, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr := freeAddr()
	return s.start(ctx, "bare", addr, "http://"+addr+"/verify", nil, self, "-bare", addr)
}

func (s *stage) start(ctx context.Context, name, addr, readyURL string, env []string, command ...string) (*program, error) {
	if p, ok := s.started[name]; ok {
		return p, nil
	}
	p := &program{url: "http://" + addr, cmd: exec.CommandContext(ctx, "taskset", append([]string{"-c", servicePin()}, command...)...)}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = append(os.Environ(), env...), &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	s.started[name] = p
	for deadline := time.Now().Add(30 * time.Second); ; {
		response, err := http.Get(readyURL) //nolint:noctx // of this machine
		if err == nil {
			response.Body.Close()
			if response.StatusCode < 300 {
				return p, nil
			}
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return nil, fmt.Errorf("%s does not start: %s", name, p.log.String())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (p *program) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return nil // it has ended already
	}
	_ = p.cmd.Wait() // of the signal
	return nil
}

func serveBare(ctx context.Context, addr string) error {
	runtime.GOMAXPROCS(2 * runtime.NumCPU()) // these two as in app.Run
	debug.SetGCPercent(400)
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.GET("/verify", func(c *gin.Context) { c.Status(http.StatusNoContent) })
	server := &http.Server{ // the time-outs of the service, since each costs a timer
		Addr: addr, Handler: engine,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 25 * time.Second, IdleTimeout: 2 * time.Minute,
	}
	context.AfterFunc(ctx, func() { server.Close() })
	return server.ListenAndServe()
}

func freeAddr() string {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // a machine without a loopback interface
	}
	defer socket.Close()
	return socket.Addr().String()
}

// session is a login that nobody had to hash a password for.
type session struct {
	user, id uuid.UUID
	access   string
	refresh  string
}

// sessions makes n users with a session each.
func (s *stage) sessions(ctx context.Context, n int) ([]session, error) {
	all, batch := make([]session, n), &pgx.Batch{}
	for i := range all {
		user, id := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
		salt := id[:]
		access, err := s.issuer.Issue(time.Now(), token.Subject{UserID: user, SessionID: id, Username: user.String(), Version: 1}, time.Hour)
		if err != nil {
			return nil, err
		}
		all[i] = session{user, id, access, s.refresh.Make(id, 0, salt)}
		batch.Queue(`INSERT INTO users (id, username, username_key, password_hash) VALUES ($1, $2, $2, '$2b$10$' || repeat('h', 53))`, user, user.String())
		batch.Queue(`INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent)
			VALUES ($1, $2, $3, now() + interval '1 day', now() + interval '1 day', '127.0.0.1', 'bench')`, id, user, salt)
	}
	return all, s.pool.SendBatch(ctx, batch).Close()
}
