package dbtest

import (
	"context"
	"errors"
	"os"

	"gatehouse/internal/pgdev"
)

// startLocal runs a server with the PostgreSQL programs of this machine.
func startLocal(ctx context.Context) (*Server, error) {
	bin, ok := pgdev.Find()
	if !ok {
		return nil, errors.New("no PostgreSQL programs on this machine")
	}
	private, dir, err := runLocal(ctx)
	if err != nil {
		return nil, err
	}
	stop := func() error { return errors.Join(private.Stop(), os.RemoveAll(dir)) }
	server, err := newServer(bin, private.URL(), stop)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return server, nil
}

// runLocal starts a server in a temporary folder, which it returns to be removed.
func runLocal(ctx context.Context) (server *pgdev.Server, dir string, err error) {
	dir, err = pgdev.TempDir()
	if err != nil {
		return nil, "", err
	}
	server, err = pgdev.Start(ctx, pgdev.Options{Dir: dir, Log: os.Stderr})
	if err != nil {
		return nil, "", errors.Join(err, os.RemoveAll(dir))
	}
	return server, dir, nil
}
