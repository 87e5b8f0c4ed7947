package db

import (
	"context"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/passkey"
)

// meanwhile does something in a transaction that stays open until another call waits for it.
func meanwhile(
	t *testing.T, d *DB, first func(*sqlcgen.Queries) error, then func(context.Context) error,
) {
	t.Helper()
	databaseURL := d.pool.Config().ConnString()
	other, watch := connectTo(t, databaseURL), connectTo(t, databaseURL)
	tx, err := other.Begin(t.Context())
	must(t, err)
	must(t, first(d.queries.WithTx(tx)))
	outcome := make(chan error, 1)
	go func() { outcome <- then(t.Context()) }()
	asynctest.Await(t, "the other to wait", func() (waits bool) {
		must(t, watch.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE wait_event_type = 'Lock' AND datname = current_database())`).Scan(&waits))
		return waits
	})
	must(t, tx.Commit(t.Context()))
	must(t, <-outcome)
}

func rowsOf(t *testing.T, d *DB, table string, user uuid.UUID) (n int) {
	t.Helper()
	must(t, d.pool.QueryRow(t.Context(),
		"SELECT count(*) FROM "+pgx.Identifier{table}.Sanitize()+" WHERE user_id = $1", user).Scan(&n))
	return n
}

// changesFactors is what ChangeFactors does in its transaction.
func changesFactors(ctx context.Context, edit auth.FactorEdit) func(*sqlcgen.Queries) error {
	return func(q *sqlcgen.Queries) error {
		_, err := changeFactors(ctx, q, anEvent(), edit)
		return err
	}
}

// A thief who sets up a factor of their own at the same time would keep it, and the owner would be
// asked for it.
func TestNoFactorThatComesMeanwhileOutlivesAReset(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	_, err := d.ClaimPasskeyRP(t.Context(), "id.test")
	must(t, err)
	code := sha256.Sum256([]byte("code"))
	for name, edit := range map[string]auth.FactorEdit{
		"totp": {AddTOTP: &auth.StoredTOTP{Sealed: make([]byte, 48), Step: 1}, Codes: [][]byte{code[:]}},
		"passkey": {AddPasskey: &auth.NewPasskey{
			ID: uuid.New(), Name: "Key", Challenge: code[:], Lifetime: time.Hour, RPID: "id.test",
			Credential: passkey.Credential{ID: code[:], PublicKey: code[:]},
		}, Codes: [][]byte{code[:]}},
	} {
		u := d.mustInsert(t, name)
		edit.Before = u
		meanwhile(t, d, changesFactors(t.Context(), edit), func(ctx context.Context) error {
			after, err := d.ResetFactors(ctx, anEvent(), auth.Freely(), u.Username.Key)
			if after.Factors != (auth.FactorCount{}) {
				t.Errorf("%s: the reset has left %+v", name, after.Factors)
			}
			return err
		})
		for _, table := range []string{"totp_secrets", "passkeys", "recovery_codes"} {
			if n := rowsOf(t, d, table, u.ID); n != 0 {
				t.Errorf("%s: %d rows of %s are left", name, n, table)
			}
		}
	}
}

// A device that is trusted while the factors change was trusted for those of before.
func TestNoTrustThatComesMeanwhileOutlivesAnotherFactor(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	code := sha256.Sum256([]byte("code"))
	for name, edit := range map[string]auth.FactorEdit{
		"new codes": {Codes: [][]byte{code[:]}},
		"a factor more, and nobody is logged out": {AddTOTP: &auth.StoredTOTP{Sealed: make([]byte, 48), Step: 1}},
		"a factor more, and all others are":       {AddTOTP: &auth.StoredTOTP{Sealed: make([]byte, 48), Step: 1}, EndOthers: true},
		"a factor less":                           {RemoveTOTP: true, EndOthers: true, ForgetDevices: true},
	} {
		u := d.mustInsert(t, "u"+uuid.NewString())
		edit.Before = u
		trust := func(q *sqlcgen.Queries) error {
			return (&DB{pool: d.pool, queries: q}).TrustDevice(t.Context(), anEvent(), auth.NewTrustedDevice{
				User: u, Device: uuid.New(), Lifetime: time.Hour, Most: 20,
			})
		}
		meanwhile(t, d, trust, func(ctx context.Context) error {
			_, err := d.ChangeFactors(ctx, anEvent(), edit)
			return err
		})
		if n := rowsOf(t, d, "trusted_devices", u.ID); n != 0 {
			t.Errorf("%s: %d devices are trusted still", name, n)
		}
	}
}
