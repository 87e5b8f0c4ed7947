package db

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/token"
)

// InsertClient implements auth.Store.
func (d *DB) InsertClient(
	ctx context.Context, e auth.Event, rule auth.Rule, c auth.StoredClient, most int,
) (created time.Time, err error) {
	err = d.inTurn(ctx, "insert client", e.By, rule, target{role: c.RequiredRole}, func(q *sqlcgen.Queries) error {
		row, err := q.InsertClient(ctx, sqlcgen.InsertClientParams{
			ClientID: c.ID, Subject: c.Subject(), Name: c.Title, SecretDigest: digestOrNull(c.Secret), GrantTypes: list(c.GrantTypes),
			Scope: orNull(c.Scope), FirstParty: c.FirstParty,
			RedirectUris: list(c.RedirectURIs), PostLogoutRedirectUris: list(c.PostLogoutRedirectURIs),
			BackchannelLogoutUri: orNull(c.BackchannelLogoutURI), WithoutPkce: c.WithoutPKCE, Asks: c.Ask,
			RequiredRole: orNull(c.RequiredRole), Audiences: list(c.Audiences),
			IDTokenAlgorithm: algorithm(c.Client), Most: int32(most), Event: eventJSON(e),
		})
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("db: insert client: %w", auth.ErrTooManyClients)
		}
		created = row.CreatedAt
		return translate("insert client", err)
	})
	return created, err
}

// ClientByID implements auth.Store.
func (d *DB) ClientByID(ctx context.Context, id string) (auth.StoredClient, error) {
	row, err := d.queries.ClientByID(ctx, id)
	return client(row), translateClient("client by id", err)
}

// ListClients implements auth.Store.
func (d *DB) ListClients(ctx context.Context, after string, limit int) ([]auth.Client, error) {
	rows, err := d.queries.ListClients(ctx, sqlcgen.ListClientsParams{After: after, MaxRows: int32(limit)})
	clients := make([]auth.Client, len(rows))
	for n, row := range rows {
		clients[n] = client(sqlcgen.ClientByIDRow(row)).Client
	}
	return clients, translate("list clients", err)
}

// SetClient implements auth.Store.
func (d *DB) SetClient(
	ctx context.Context, e auth.Event, rule auth.Rule, id, role string, to func(auth.Client) (auth.Client, error),
) (changed auth.Client, err error) {
	of := target{clientID: id, role: role}
	err = d.withClient(ctx, "set client", e.By, rule, of, func(q *sqlcgen.Queries) error {
		row, err := q.ClientByID(ctx, id)
		if err != nil {
			return translateClient("client by id", err)
		}
		before := client(row).Client
		c, err := to(before)
		if err != nil {
			return fmt.Errorf("db: set client: %w", err)
		}
		asksAnew := c.AsksAnew(before)
		if asksAnew {
			if err := q.LiftTimeout(ctx); err != nil {
				return translate("set client: prepare", err)
			}
		}
		if err := q.SetClient(ctx, sqlcgen.SetClientParams{
			ClientID: id, Name: c.Title, GrantTypes: list(c.GrantTypes), Scope: orNull(c.Scope), FirstParty: c.FirstParty,
			RedirectUris: list(c.RedirectURIs), PostLogoutRedirectUris: list(c.PostLogoutRedirectURIs),
			BackchannelLogoutUri: orNull(c.BackchannelLogoutURI), WithoutPkce: c.WithoutPKCE, Asks: c.Ask,
			RequiredRole: orNull(c.RequiredRole), Audiences: list(c.Audiences),
			IDTokenAlgorithm: algorithm(c), AsksAnew: asksAnew, Event: eventJSON(e),
		}); err != nil {
			return translate("set client", err)
		}
		row, err = q.ClientByID(ctx, id)
		changed = client(row).Client
		return translateClient("client by id", err)
	})
	return changed, err
}

// DisableClient implements auth.Store.
func (d *DB) DisableClient(ctx context.Context, e auth.Event, rule auth.Rule, id string) error {
	return d.withClient(ctx, "disable client", e.By, rule, target{clientID: id}, func(q *sqlcgen.Queries) error {
		if err := q.LiftTimeout(ctx); err != nil {
			return translate("disable client: prepare", err)
		}
		return translate("disable client", q.DisableClient(ctx, sqlcgen.DisableClientParams{ClientID: id, Event: eventJSON(e)}))
	})
}

// GrantClientRole implements auth.Store.
func (d *DB) GrantClientRole(ctx context.Context, e auth.Event, rule auth.Rule, id, role string) error {
	of := target{clientID: id, role: role}
	return d.withClient(ctx, "grant client role", e.By, rule, of, func(q *sqlcgen.Queries) error {
		return translate("grant client role", q.GrantClientRole(ctx, sqlcgen.GrantClientRoleParams{ClientID: id, RoleName: role, Event: eventJSON(e)}))
	})
}

// RevokeClientRole implements auth.Store.
func (d *DB) RevokeClientRole(ctx context.Context, e auth.Event, rule auth.Rule, id, role string) error {
	of := target{clientID: id, role: role}
	return d.withClient(ctx, "revoke client role", e.By, rule, of, func(q *sqlcgen.Queries) error {
		return translate("revoke client role", q.RevokeClientRole(ctx, sqlcgen.RevokeClientRoleParams{ClientID: id, RoleName: role, Event: eventJSON(e)}))
	})
}

// EnableClient implements auth.Store.
func (d *DB) EnableClient(ctx context.Context, e auth.Event, rule auth.Rule, id string) error {
	return d.withClient(ctx, "enable client", e.By, rule, target{clientID: id}, func(q *sqlcgen.Queries) error {
		changed, err := q.EnableClient(ctx, sqlcgen.EnableClientParams{ClientID: id, Event: eventJSON(e)})
		return oneClient("enable client", changed, err)
	})
}

// RotateClientSecret implements auth.Store.
func (d *DB) RotateClientSecret(ctx context.Context, e auth.Event, rule auth.Rule, id string, digest auth.SecretDigest) error {
	return d.withClient(ctx, "rotate client secret", e.By, rule, target{clientID: id}, func(q *sqlcgen.Queries) error {
		changed, err := q.RotateClientSecret(ctx, sqlcgen.RotateClientSecretParams{ClientID: id, SecretDigest: digest[:], Event: eventJSON(e)})
		return oneClient("rotate client secret", changed, err)
	})
}

// RetireClientSecret implements auth.Store.
func (d *DB) RetireClientSecret(ctx context.Context, e auth.Event, rule auth.Rule, id string) error {
	return d.withClient(ctx, "retire client secret", e.By, rule, target{clientID: id}, func(q *sqlcgen.Queries) error {
		changed, err := q.RetireClientSecret(ctx, sqlcgen.RetireClientSecretParams{ClientID: id, Event: eventJSON(e)})
		return oneClient("retire client secret", changed, err)
	})
}

// withClient is inTurn for a change of a client, which is locked before the change.
func (d *DB) withClient(ctx context.Context, op string, by auth.Actor, rule auth.Rule, of target, change func(*sqlcgen.Queries) error) error {
	return d.inTurn(ctx, op, by, rule, of, func(q *sqlcgen.Queries) error {
		if _, err := q.LockClient(ctx, of.clientID); err != nil {
			return translateClient("lock client", err)
		}
		return change(q)
	})
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
	c := row.Client
	stored := auth.StoredClient{Client: auth.Client{
		ID: c.ClientID, Title: c.Name, Confidential: c.SecretDigest != nil, GrantTypes: c.GrantTypes, Scope: orZero(c.Scope),
		FirstParty: c.FirstParty, RedirectURIs: c.RedirectUris, PostLogoutRedirectURIs: c.PostLogoutRedirectUris,
		BackchannelLogoutURI: orZero(c.BackchannelLogoutUri), WithoutPKCE: c.WithoutPkce, Ask: c.Asks,
		RequiredRole: orZero(c.RequiredRole), Audiences: c.Audiences, IDTokenAlgorithm: token.Algorithm(c.IDTokenAlgorithm),
		TokenVersion: c.TokenVersion, Roles: row.Roles, Permissions: permissions(row.Permissions),
		CreatedAt: c.CreatedAt, DisabledAt: c.DisabledAt, OldSecret: c.OldSecretDigest != nil,
	}}
	copy(stored.Secret[:], c.SecretDigest)
	copy(stored.OldSecret[:], c.OldSecretDigest)
	return stored
}

func algorithm(c auth.Client) string { return string(cmp.Or(c.IDTokenAlgorithm, token.RS256)) }

// list is a list that is stored as an empty one where it is nil.
func list(words []string) []string { return append([]string{}, words...) }

func digestOrNull(d auth.SecretDigest) []byte {
	if d == (auth.SecretDigest{}) {
		return nil
	}
	return d[:]
}
