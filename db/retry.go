package db

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/auth"
)

// retrying sends a statement once more if the first time has changed nothing and another one may
// end better: after a fail-over the pool is full of connections that are dead, or whose server is a
// standby by now. Once, and not for what is busy: more of the same would not help there.
type retrying struct {
	pool *pgxpool.Pool
	// again comes before the arguments of the second time: the statement is prepared anew, for
	// another connection may have an outdated plan of it as well.
	again []any
}

var _ sqlcgen.DBTX = retrying{}

// Exec implements sqlcgen.DBTX.
func (r retrying) Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error) {
	tag, err := r.pool.Exec(ctx, sql, arguments...)
	if changedNothing(ctx, sql, err) {
		return r.pool.Exec(ctx, sql, r.anew(arguments)...)
	}
	return tag, err
}

// QueryRow implements sqlcgen.DBTX.
func (r retrying) QueryRow(ctx context.Context, sql string, arguments ...any) pgx.Row {
	return &retryingRow{r.pool.QueryRow(ctx, sql, arguments...), r, ctx, sql, arguments}
}

type retryingRow struct {
	pgx.Row
	retrying
	ctx       context.Context
	sql       string
	arguments []any
}

// Scan implements pgx.Row.
func (r *retryingRow) Scan(into ...any) error {
	err := r.Row.Scan(into...)
	if changedNothing(r.ctx, r.sql, err) {
		return r.pool.QueryRow(r.ctx, r.sql, r.anew(r.arguments)...).Scan(into...)
	}
	return err
}

func (r retrying) anew(arguments []any) []any { return slices.Concat(r.again, arguments) }

// Query implements sqlcgen.DBTX.
func (r retrying) Query(ctx context.Context, sql string, arguments ...any) (pgx.Rows, error) {
	again := func() (pgx.Rows, error) { return r.pool.Query(ctx, sql, r.anew(arguments)...) }
	rows, err := r.pool.Query(ctx, sql, arguments...)
	if changedNothing(ctx, sql, err) {
		return again()
	}
	return &retryingRows{Rows: rows, again: again, retry: func(err error) bool { return changedNothing(ctx, sql, err) }}, err
}

// retryingRows are asked for once more if they end in an error before the first.
type retryingRows struct {
	pgx.Rows
	again   func() (pgx.Rows, error)
	retry   func(error) bool
	decided bool // there was a row, or a retry
	err     error
}

// Next implements pgx.Rows.
func (r *retryingRows) Next() bool {
	more := r.Rows.Next()
	if more || r.decided || !r.retry(r.Rows.Err()) {
		r.decided = true
		return more
	}
	r.decided = true
	rows, err := r.again()
	if err != nil {
		r.err = err
		return false
	}
	r.Rows = rows
	return r.Rows.Next()
}

// Err implements pgx.Rows.
func (r *retryingRows) Err() error {
	if r.err != nil {
		return r.err
	}
	return r.Rows.Err()
}

// changedNothing tells whether a statement by itself that ended with the error has surely stored
// nothing, and may do better if it is sent again.
func changedNothing(ctx context.Context, sql string, err error) bool {
	if err == nil || ctx.Err() != nil || errors.Is(err, pgx.ErrNoRows) {
		return false
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return rolledBack(pg.Code) || cutOff(pg.Code) && reads(sql)
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return false // that was another attempt already
	}
	return pgconn.SafeToRetry(err) || reads(sql) // the connection is lost
}

// rolledBack tells of a server's error after which nothing is stored, and whose cause may be gone.
// Locks that are held for too long, and statements that take too long, are not among them.
func rolledBack(code string) bool {
	switch code {
	case readOnly, notSupported, wrongState:
		return true
	case unknownCompletion:
		return false
	}
	return strings.HasPrefix(code, "40")
}

// cutOff tells that the server has ended the connection: its administrator's doing, or a crash.
func cutOff(code string) bool { return code == "57P01" || code == "57P02" }

// reads tells whether a statement stores nothing, whatever becomes of its connection. It knows the
// names that sqlc puts before its statements: that one begins with SELECT says nothing about the
// functions that it calls.
func reads(sql string) bool {
	name, _, _ := strings.Cut(strings.TrimPrefix(sql, "-- name: "), " ")
	return slices.Contains(readers(), name)
}

func readers() []string {
	return []string{
		"FindEvents", "ListEndedAuditPartitions", "ClientByID", "ListClients",
		"ListPasswordKeys", "CountPasswordKeyUsers", "ListRevocations", "RoleByName", "ListRoles",
		"IsUnchanged", "FindUsers", "FindUsersByState", "FindUsersByRole", "FindUsersByEmail", "SessionByID", "ListSessions", "ListLogins",
		"ListSigningKeys", "Clock", "UserByID", "UserByKey", "CredentialsByKey", "UsernameOfLogin",
		"OpenChallenge", "PendingLogin", "PasskeysToProve", "PasskeyByCredential", "DeviceIsTrusted", "UserByLogin", "MailsOfUser",
		"HolderOfAddress", "AddressToProve", "UserOfMail",
		"PersonalConsents", "TOTPOf", "PasskeysOf", "TrustedDevicesOf", "PasskeyRP",
	}
}

// transaction does something whose errors are translated already: once more if the first time has
// surely stored nothing, and another one may end better.
func (d *DB) transaction(ctx context.Context, op string, do func(pgx.Tx) error) error {
	committing, err := d.transact(ctx, op, do)
	if err == nil || ctx.Err() != nil || !passing(committing, err) {
		return err
	}
	_, err = d.transact(ctx, op, func(tx pgx.Tx) error { return do(anewTx{tx, d.retrying()}) })
	return err
}

// transact tells whether an error is that of the COMMIT.
func (d *DB) transact(ctx context.Context, op string, do func(pgx.Tx) error) (committing bool, err error) {
	options := pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}
	var failed error
	err = pgx.BeginTxFunc(ctx, d.pool, options, func(tx pgx.Tx) error {
		failed = do(tx)
		committing = failed == nil
		return failed
	})
	if failed != nil {
		return false, failed
	}
	return committing, translate(op, err)
}

// passing tells whether a transaction that ended with the error has stored nothing and may succeed
// at another time. That a connection is lost says nothing about its COMMIT.
func passing(committing bool, err error) bool {
	if server, ok := errors.AsType[*serverErr](err); ok {
		return rolledBack(server.code) || !committing && cutOff(server.code)
	}
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	return !committing && !connecting && errors.Is(err, auth.ErrUnavailable)
}

// anewTx prepares its statements anew.
type anewTx struct {
	pgx.Tx
	r retrying
}

// Exec implements pgx.Tx.
func (t anewTx) Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error) {
	return t.Tx.Exec(ctx, sql, t.r.anew(arguments)...)
}

// Query implements pgx.Tx.
func (t anewTx) Query(ctx context.Context, sql string, arguments ...any) (pgx.Rows, error) {
	return t.Tx.Query(ctx, sql, t.r.anew(arguments)...)
}

// QueryRow implements pgx.Tx.
func (t anewTx) QueryRow(ctx context.Context, sql string, arguments ...any) pgx.Row {
	return t.Tx.QueryRow(ctx, sql, t.r.anew(arguments)...)
}
