package pgdev

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Standby starts a hot standby of a server with [Options.Replicated], in a temporary folder and on
// a port of its own.
func (s *Server) Standby(ctx context.Context) (*Server, error) {
	standby := &Server{options: Options{Replicated: true, Log: s.options.Log}, bin: s.bin}
	err := standby.settle()
	if err == nil {
		err = os.WriteFile(standby.path("password"), []byte(s.password), 0o600)
	}
	if err == nil {
		err = s.runProgram(ctx, "pg_basebackup", "--pgdata="+standby.path("data"),
			"--dbname="+s.URL(), "--write-recovery-conf", "--checkpoint=fast")
	}
	if err == nil {
		err = standby.Restart(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("standby: %w", errors.Join(err, standby.Remove()))
	}
	return standby, nil
}

// Promote makes a standby the primary, and returns when it is.
func (s *Server) Promote(ctx context.Context) error {
	return s.runProgram(ctx, "pg_ctl", "promote", "--pgdata="+s.path("data"), "--wait")
}

// Follow starts a stopped server as the standby of another one, which was its own standby before.
func (s *Server) Follow(ctx context.Context, primary *Server) error {
	settings := fmt.Sprintf("\nprimary_conninfo = '%s'\nrecovery_target_timeline = 'latest'\n",
		primary.URL())
	conf, err := os.OpenFile(s.path("data/postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = conf.WriteString(settings)
	signal := s.path("data/standby.signal")
	err = errors.Join(err, conf.Close(), os.WriteFile(signal, nil, 0o600), s.account.own(signal))
	if err != nil {
		return err
	}
	return s.Restart(ctx)
}
