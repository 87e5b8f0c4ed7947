package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse/db/internal/sqlcgen"
	"gatehouse/internal/auth"
)

// InsertClient implements auth.Store.
func (d *DB) InsertClient(ctx context.Context, e auth.Event, c auth.StoredClient) (time.Time, error) {
	row, err := d.queries.InsertClient(ctx, sqlcgen.InsertClientParams{
		ClientID: c.ID, Subject: c.Subject(), Name: c.Title, SecretDigest: digestOrNull(c.Secret), GrantTypes: append([]string{}, c.GrantTypes...),
		Scope: orNull(c.Scope), Event: eventJSON(e),
	})
	return row.CreatedAt, translate("insert client", err)
}

// ClientByID implements auth.Store.
func (d *DB) ClientByID(ctx context.Context, id string) (auth.StoredClient, error) {
	row, err := d.queries.ClientByID(ctx, id)
	return client(row), translateClient("client by id", err)
}

// ListClients implements auth.Store.
func (d *DB) ListClients(ctx context.Context) ([]auth.OAuthClient, error) {
	rows, err := d.queries.ListClients(ctx)
	clients := make([]auth.OAuthClient, len(rows))
	for n, row := range rows {
		clients[n] = client(sqlcgen.ClientByIDRow(row)).OAuthClient
	}
	return clients, translate("list clients", err)
}

// DisableClient implements auth.Store.
func (d *DB) DisableClient(ctx context.Context, e auth.Event, id string) error {
	return d.withClient(ctx, "disable client", id, func(q *sqlcgen.Queries) error {
		return q.DisableClient(ctx, sqlcgen.DisableClientParams{ClientID: id, Event: eventJSON(e)})
	})
}

// GrantClientRole implements auth.Store.
func (d *DB) GrantClientRole(ctx context.Context, e auth.Event, id, role string) error {
	return d.withClient(ctx, "grant client role", id, func(q *sqlcgen.Queries) error {
		return q.GrantClientRole(ctx, sqlcgen.GrantClientRoleParams{ClientID: id, RoleName: role, Event: eventJSON(e)})
	})
}

// RevokeClientRole implements auth.Store.
func (d *DB) RevokeClientRole(ctx context.Context, e auth.Event, id, role string) error {
	return d.withClient(ctx, "revoke client role", id, func(q *sqlcgen.Queries) error {
		return q.RevokeClientRole(ctx, sqlcgen.RevokeClientRoleParams{ClientID: id, RoleName: role, Event: eventJSON(e)})
	})
}

// withClient is inTurn for a change of what a client may do, which is locked before.
func (d *DB) withClient(ctx context.Context, op, id string, change func(*sqlcgen.Queries) error) error {
	return d.inTurn(ctx, op, func(q *sqlcgen.Queries) error {
		if _, err := q.LockClient(ctx, id); err != nil {
			return translateClient("lock client", err)
		}
		return translate(op, change(q))
	})
}

// EnableClient implements auth.Store.
func (d *DB) EnableClient(ctx context.Context, e auth.Event, id string) error {
	changed, err := d.queries.EnableClient(ctx, sqlcgen.EnableClientParams{ClientID: id, Event: eventJSON(e)})
	return oneClient("enable client", changed, err)
}

// RotateClientSecret implements auth.Store.
func (d *DB) RotateClientSecret(ctx context.Context, e auth.Event, id string, digest auth.SecretDigest) error {
	changed, err := d.queries.RotateClientSecret(ctx, sqlcgen.RotateClientSecretParams{ClientID: id, SecretDigest: digest[:], Event: eventJSON(e)})
	return oneClient("rotate client secret", changed, err)
}

// RetireClientSecret implements auth.Store.
func (d *DB) RetireClientSecret(ctx context.Context, e auth.Event, id string) error {
	changed, err := d.queries.RetireClientSecret(ctx, sqlcgen.RetireClientSecretParams{ClientID: id, Event: eventJSON(e)})
	return oneClient("retire client secret", changed, err)
}

// oneClient is the error of a statement that changes a client.
func oneClient(op string, changed int64, err error) error {
	if err == nil && changed == 0 {
		return fmt.Errorf("db: %s: %w", op, auth.ErrClientNotFound)
	}
	return translate(op, err)
}

// translateClient is translate where no row means no client.
func translateClient(op string, err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("db: %s: %w", op, auth.ErrClientNotFound)
	}
	return translate(op, err)
}

func client(row sqlcgen.ClientByIDRow) auth.StoredClient {
	stored := auth.StoredClient{OAuthClient: auth.OAuthClient{
		ID: row.ClientID, Title: row.Name, Confidential: row.SecretDigest != nil, GrantTypes: row.GrantTypes, Scope: orZero(row.Scope),
		TokenVersion: row.TokenVersion, Roles: row.Roles, Permissions: permissions(row.Permissions),
		CreatedAt: row.CreatedAt, DisabledAt: row.DisabledAt, OldSecret: row.OldSecretDigest != nil,
	}}
	copy(stored.Secret[:], row.SecretDigest)
	copy(stored.OldSecret[:], row.OldSecretDigest)
	return stored
}

func digestOrNull(d auth.SecretDigest) []byte {
	if d == (auth.SecretDigest{}) {
		return nil
	}
	return d[:]
}
