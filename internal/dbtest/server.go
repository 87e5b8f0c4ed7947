package dbtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/migrations"
)

// Server is a PostgreSQL for tests.
type Server struct {
	how      string
	url      *url.URL
	remove   func() error
	admin    *pgxpool.Pool
	template func() (string, error) // name of the migrated database; made at the first call
}

// Start finds or starts a server, by the ways that the package comment lists.
func Start(ctx context.Context) (*Server, error) {
	return choose(ctx, os.Getenv("TEST_DATABASE_URL"), os.Getenv("GATEHOUSE_TEST_DB"))
}

func choose(ctx context.Context, given, way string) (*Server, error) {
	if given != "" {
		return newServer("TEST_DATABASE_URL", given, func() error { return nil })
	}
	started, err := startServer(ctx, way)
	if err != nil {
		return nil, err
	}
	server, err := newServer(started.how, started.url, started.remove)
	if err != nil {
		return nil, errors.Join(err, started.remove())
	}
	return server, nil
}

func newServer(how, address string, remove func() error) (*Server, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Scheme != "postgres" && parsed.Scheme != "postgresql" {
		return nil, errors.New(how + ": not a postgres:// URL") // err would show the password
	}
	admin, err := pgxpool.New(context.Background(), address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", how, err)
	}
	server := &Server{how: how, url: parsed, remove: remove, admin: admin}
	server.template = sync.OnceValues(server.makeTemplate)
	return server, nil
}

// String tells a person where the server comes from.
func (s *Server) String() string { return "PostgreSQL of " + s.how }

// URL returns the address of the database through which the others are made.
func (s *Server) URL() string { return s.url.String() }

// Stop ends the server, unless it is that of TEST_DATABASE_URL.
func (s *Server) Stop() error {
	s.admin.Close()
	return s.remove()
}

// templateLock is the advisory lock under which test processes that share a server make the template. Its number only
// has to differ from those of others.
const templateLock = 7203955811

// makeTemplate returns the name of the migrated database that this binary's migrations make, and makes it if the
// server hasn't got it yet.
func (s *Server) makeTemplate() (name string, err error) {
	ctx := context.Background() // of no test: all of them wait for the one that makes it
	name = "template_" + migrations.Digest()[:16]
	err = s.admin.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		// The lock is the session's, so it is taken and given back on one connection.
		if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", templateLock); err != nil {
			return err
		}
		defer conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", templateLock)
		var made bool
		query := "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"
		if err := conn.QueryRow(ctx, query, name).Scan(&made); err != nil || made {
			return err
		}
		return s.migrateNew(ctx, name)
	})
	if err != nil {
		return "", fmt.Errorf("template: %w", err)
	}
	return name, nil
}

// migrateNew makes a migrated database. It has its name only when it is whole: a process that is killed midway leaves
// nothing that another one would take for the template.
func (s *Server) migrateNew(ctx context.Context, name string) error {
	draft := randomName("draft")
	if err := s.exec(ctx, "CREATE DATABASE "+draft+" TEMPLATE template0"); err != nil {
		return err
	}
	if err := migrate(ctx, s.urlOf(draft)); err != nil {
		return errors.Join(err, s.exec(ctx, "DROP DATABASE "+draft))
	}
	return s.exec(ctx, "ALTER DATABASE "+draft+" RENAME TO "+name)
}

func migrate(ctx context.Context, databaseURL string) error {
	migrator, err := migrations.Open(ctx, databaseURL)
	if err != nil {
		return err
	}
	_, err = migrator.Up(ctx)
	return errors.Join(err, migrator.Close())
}

// exec runs a statement of the administrator. The names in it are made here, of letters that need no quotes.
func (s *Server) exec(ctx context.Context, statement string) error {
	if _, err := s.admin.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// urlOf returns the address of another database of the server.
func (s *Server) urlOf(database string) string {
	other := *s.url
	other.Path = "/" + database
	return other.String()
}

func randomName(prefix string) string { return prefix + "_" + strings.ToLower(rand.Text()) }
