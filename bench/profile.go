package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"

	"gatehouse/internal/app"
	"gatehouse/internal/config"
)

// serveProfiled is a replica that writes a profile of its processor time when it ends. The program of the service has no
// way to make one, so this is the same service in the bench's own.
func serveProfiled(ctx context.Context, file string) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	settings, err := config.Load(nil)
	if err != nil {
		return errors.Join(err, out.Close())
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return errors.Join(err, out.Close())
	}
	err = app.Run(ctx, settings, app.Options{
		Log:     slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: settings.LogLevel})),
		Version: "profiled", Cores: runtime.GOMAXPROCS(0),
	})
	pprof.StopCPUProfile()
	return errors.Join(err, out.Close())
}

// serveCommand starts a replica: of the service's program or, when there are to be profiles, of this one.
func (s *stage) serveCommand(name string) ([]string, error) {
	if s.profiles == "" {
		return []string{s.binary(), "serve"}, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return []string{self, "-serve", filepath.Join(s.profiles, strings.ReplaceAll(name, " ", "-")+".pprof")}, nil
}

// useProfiles makes the folder for them; an empty name is none.
func (s *stage) useProfiles(dir string) (err error) {
	if dir == "" {
		return nil
	}
	if s.profiles, err = filepath.Abs(dir); err != nil {
		return err
	}
	return os.MkdirAll(s.profiles, 0o755)
}
