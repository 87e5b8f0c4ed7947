package db

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"gatehouse/internal/auth"
)

// translate turns what pgx says into what auth.Store promises. op is the query, for the log.
func translate(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("db: %s: %w", op, sentinel(err))
}

func sentinel(err error) error {
	var pg *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return auth.ErrUserNotFound
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &pg):
		return serverError(pg)
	default:
		// All that is left comes from the connection: refused, reset, closed, timed out.
		return fmt.Errorf("%w: %w", auth.ErrUnavailable, err)
	}
}

// serverError keeps of a server's error what may be logged: its details quote the row's values, and one of
// them is a password hash.
func serverError(pg *pgconn.PgError) error {
	switch pg.ConstraintName {
	case "users_username_key_unique":
		return auth.ErrUsernameTaken
	case "clients_pkey":
		return auth.ErrClientIDTaken
	case "users_password_key_fkey":
		return auth.ErrPasswordKeyInUse
	case "user_roles_role_name_fkey", "client_roles_role_name_fkey":
		return auth.ErrRoleNotFound
	case "user_rights_size", "client_rights_size":
		return auth.ErrTooManyRights
	case "roles_builtin":
		return auth.ErrRoleBuiltIn
	case "last_admin":
		return auth.ErrLastAdmin
	}
	err := fmt.Errorf("SQLSTATE %s: %s", pg.Code, pg.Message)
	if unavailable(pg.Code) {
		return fmt.Errorf("%w: %w", auth.ErrUnavailable, err)
	}
	return err
}

// unavailable is true for the SQLSTATEs of a server that cannot serve now, but may soon: connection
// exceptions, too few resources, an operator's intervention (among them statement_timeout), a read-only
// standby after a fail-over, and lock_timeout.
func unavailable(code string) bool {
	for _, class := range []string{"08", "53", "57", "25006", "55P03"} {
		if strings.HasPrefix(code, class) {
			return true
		}
	}
	return false
}
