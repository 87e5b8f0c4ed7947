package dbtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/migrations"
)

// templateLock is the advisory lock under which test processes that share a server make the template. Its number only
// has to differ from those of others.
const templateLock = 7203955811

// makeTemplate returns the name of the migrated database that this binary's migrations make, and makes it if the
// server hasn't got it yet.
func (s *Server) makeTemplate() (name string, err error) {
	ctx := context.Background() // of no test: all of them wait for the one that makes it
	name = "template_" + migrations.Digest()[:16]
	err = s.admin.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		// The lock is the session's, so all of this is on one connection.
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
	if err := s.createDatabase(ctx, draft, "template0"); err != nil {
		return err
	}
	if err := migrate(ctx, s.urlOf(draft)); err != nil {
		return errors.Join(err, s.dropDatabase(ctx, draft))
	}
	// A connection to a template, be it autovacuum's, keeps it from being copied.
	_, err := s.admin.Exec(ctx, "ALTER DATABASE "+quoted(draft)+" ALLOW_CONNECTIONS false")
	if err != nil {
		return err
	}
	_, err = s.admin.Exec(ctx, "ALTER DATABASE "+quoted(draft)+" RENAME TO "+quoted(name))
	return err
}

func migrate(ctx context.Context, databaseURL string) (err error) {
	migrator, err := migrations.Open(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, migrator.Close()) }()
	_, err = migrator.Up(ctx)
	return err
}

func (s *Server) createDatabase(ctx context.Context, name, template string) error {
	var version int
	if err := s.admin.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		return err
	}
	statement := "CREATE DATABASE " + quoted(name) + " TEMPLATE " + quoted(template)
	if version >= 15_00_00 { // the way of older servers, and the faster one for a small database that nobody logs
		statement += " STRATEGY file_copy"
	}
	if _, err := s.admin.Exec(ctx, statement); err != nil {
		return fmt.Errorf("create database: %w", err)
	}
	return nil
}

func (s *Server) dropDatabase(ctx context.Context, name string) error {
	if _, err := s.admin.Exec(ctx, "DROP DATABASE "+quoted(name)+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop database: %w", err)
	}
	return nil
}

func randomName(prefix string) string { return prefix + "_" + strings.ToLower(rand.Text()) }

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }
