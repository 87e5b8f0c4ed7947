// Package postgres owns how PostgreSQL is reached, by the service, the command line and the
// migrator: what a connection string may say, what each session is set to, and which databases are
// refused.
package postgres

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// These are the parameter, and its variable, by which an operator asks for servers of a kind.
const (
	targetAttrs    = "target_session_attrs"
	targetAttrsEnv = "PGTARGETSESSIONATTRS"
)

// Parse reads a connection string, also with the parameters of pgx's pool. Of several hosts it
// takes the one that can be written to, unless the string says otherwise. No error quotes the
// string, since there may be a password in it.
func Parse(connString string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(connString)
	switch {
	case err != nil:
		return nil, errors.New("is no PostgreSQL connection string, or names a file that cannot be read")
	case config.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol:
		// The simple protocol would put arguments into the text of the query.
		return nil, errors.New("the simple protocol is not supported")
	}
	if !strings.Contains(connString, targetAttrs) && os.Getenv(targetAttrsEnv) == "" {
		config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	return config, nil
}

// SaysMaxConns tells whether a connection string sets the size of a pool.
func SaysMaxConns(connString string) bool { return strings.Contains(connString, "pool_max_conns") }

// Session is what every session is set to, whatever ALTER ROLE and ALTER DATABASE say. The
// statements are written for these settings. A serializable transaction would fail where ours
// waits. A read-only one could store nothing. In another encoding, the same bytes would be another
// name. A pool keeps idle sessions for itself.
func Session() map[string]string {
	return map[string]string{
		"default_transaction_isolation":  "read committed",
		"default_transaction_read_only":  "off",
		"default_transaction_deferrable": "off",
		"idle_session_timeout":           "0",
		"client_encoding":                "UTF8",
		"timezone":                       "UTC",
	}
}

// SetLate moves the parameters of a session from the message that begins it into statements right
// after. PgBouncer refuses parameters in that message that it does not know. Those that it keeps
// for each of its clients stay.
func SetLate(config *pgx.ConnConfig) {
	kept, late := map[string]string{}, map[string]string{}
	for name, value := range config.RuntimeParams {
		switch strings.ToLower(name) {
		case "application_name", "client_encoding", "timezone", "datestyle", "standard_conforming_strings", "options":
			kept[name] = value
		default:
			late[name] = value
		}
	}
	config.RuntimeParams = kept
	validate := config.ValidateConnect
	config.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		for _, name := range slices.Sorted(maps.Keys(late)) {
			const set = "SELECT pg_catalog.set_config($1, $2, false)"
			if err := conn.ExecParams(ctx, set, [][]byte{[]byte(name), []byte(late[name])}, nil, nil, nil).Read().Err; err != nil {
				return err
			}
		}
		if validate == nil {
			return nil
		}
		return validate(ctx, conn)
	}
}

// Refused is a database in which the service could not work, or would only seem to.
type Refused struct{ Problem string }

func (r *Refused) Error() string { return "the database is refused: " + r.Problem }

// Check returns a *[Refused] if the database is one. The service compares names as characters, so
// the encoding must be UTF8. Functions of the schema find it by a name without quotes. ask scans
// the one row of a query.
func Check(ctx context.Context, ask func(ctx context.Context, query string, into ...any) error) error {
	var encoding string
	var schema *string
	err := ask(ctx, "SELECT pg_catalog.current_setting('server_encoding'), pg_catalog.current_schema()", &encoding, &schema)
	switch {
	case err != nil:
		return err
	case encoding != "UTF8":
		return &Refused{"its encoding is " + encoding + ", and must be UTF8 (CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0)"}
	case schema == nil:
		return &Refused{"no schema of its search_path exists (CREATE SCHEMA makes one)"}
	case needsQuotes(*schema):
		return &Refused{"its schema " + *schema + " has a name that needs quotes; lower-case letters, digits and _ do not"}
	}
	return nil
}

// needsQuotes tells whether a cast of the name to regnamespace would read another name.
func needsQuotes(schema string) bool {
	return schema != strings.ToLower(schema) || strings.ContainsAny(schema, " \t\r\n\f\v.\",")
}
