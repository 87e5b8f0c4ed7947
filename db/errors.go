package db

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"gatehouse.example/internal/auth"
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

// serverError keeps of a server's error what may be logged: its details quote the row's values, and
// one of them is a password hash.
func serverError(pg *pgconn.PgError) error {
	switch pg.ConstraintName {
	case "users_username_key_unique", "username_skeletons_alone_idx":
		return auth.ErrUsernameTaken
	case "login_keys_pkey":
		return auth.ErrAddressTaken
	case "totp_secrets_pkey":
		return auth.ErrFactorExists
	case "passkeys_credential_id_unique":
		return auth.ErrPasskeyTaken
	case "redeemed_proofs_pkey":
		return auth.ErrPendingLogin
	case "clients_pkey":
		return auth.ErrClientIDTaken
	case "users_password_key_fkey":
		return auth.ErrPasswordKeyInUse
	case "user_roles_role_name_fkey", "client_roles_role_name_fkey":
		return auth.ErrRoleNotFound
	case "user_rights_size", "client_rights_size":
		return auth.ErrTooManyRights
	case "clients_required_role_fkey":
		return auth.ErrRoleDemanded
	case "roles_builtin":
		return auth.ErrRoleBuiltIn
	case "last_admin":
		return auth.ErrLastAdmin
	}
	if lacksRoom(pg) {
		return fmt.Errorf("%w: SQLSTATE %s: %s", errNoRoom, pg.Code, pg.Message)
	}
	err := &serverErr{pg.Code, pg.Message}
	if refusesParameter(err) {
		err.message += " (behind a transaction pooler, set DATABASE_EXEC_MODE=exec)"
	}
	if namesUsWrong(pg.Code) {
		err.message += " (check DATABASE_URL and DATABASE_PASSWORD)"
	}
	if unavailable(pg.Code) {
		return fmt.Errorf("%w: %w", auth.ErrUnavailable, err)
	}
	return err
}

// serverErr is what is kept of a server's error that has no sentinel.
type serverErr struct{ code, message string }

func (e *serverErr) Error() string { return "SQLSTATE " + e.code + ": " + e.message }

// SQLSTATEs.
const (
	badPassword       = "28P01"
	notAuthorized     = "28000"
	noDatabase        = "3D000"
	protocolViolation = "08P01"
	readOnly          = "25006"
	idleTooLong       = "25P03"
	notSupported      = "0A000"
	wrongState        = "55000"
	undefinedTable    = "42P01"
	unknownCompletion = "40003"
)

// unavailable is true for the SQLSTATEs of a server that cannot serve now, but may soon: connection
// exceptions, a password that is being rotated, a database that is being restored, transactions
// that got into each other's way, too few resources, an operator's intervention (among them
// statement_timeout), what another one holds, a disk that fails, and a standby.
func unavailable(code string) bool {
	for _, class := range []string{"08", "28", "40", "53", "55", "57", "58", readOnly, idleTooLong, notSupported, noDatabase} {
		if strings.HasPrefix(code, class) {
			return true
		}
	}
	return false
}

// staleServer tells of an answer that a primary does not give: this server has become a standby, or
// was one all along. The statements of this package use nothing that a server does not support, but
// for a plan that has outlived its table.
func staleServer(err *pgconn.PgError) bool {
	switch err.Code {
	case readOnly:
		return true
	case notSupported, wrongState:
		return !outdatedPlan(err)
	}
	return false
}

// outdatedPlan tells that a statement was prepared before a migration has changed what it returns.
func outdatedPlan(err *pgconn.PgError) bool {
	return err.Code == notSupported && err.Routine == "RevalidateCachedQuery" // the message may be in any language
}

// Hopeless tells whether an error is one that no waiting mends, so that it should end a start
// rather than delay it.
func Hopeless(err error) bool {
	server, ok := errors.AsType[*serverErr](err)
	if !ok {
		return !errors.Is(err, auth.ErrUnavailable)
	}
	return namesUsWrong(server.code) || !unavailable(server.code) || refusesParameter(server)
}

// namesUsWrong tells of what the server says to a wrong user, password or database.
func namesUsWrong(code string) bool {
	return code == badPassword || code == notAuthorized || code == noDatabase
}

// refusesParameter tells of what PgBouncer answers to a parameter that it does not know. It has the
// same SQLSTATE for what passes.
func refusesParameter(err *serverErr) bool {
	return err.code == protocolViolation && strings.Contains(err.message, "unsupported startup parameter")
}
