package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"runtime/pprof"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/config"
)

// serveProfiled is a replica that writes a profile of its processor time when it ends. The program
// of the service has no way to make one, so this is the same service in the bench's own.
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
