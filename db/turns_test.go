package db

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/google/uuid"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/ratelimit"
)

// callers are those who have a place or wait for one.
func (t *turns) callers() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.lines {
		n = max(n, l.callers)
	}
	return n
}

func lockWaiters(t testing.TB, conn *pgx.Conn) (n int) {
	t.Helper()
	must(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n))
	return n
}

// Sixty refreshes of one session whose row somebody else has locked would hold every connection,
// and nobody else is served.
func TestCallersForOneRowLeaveConnectionsForOthers(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	d := open(t, Options{URL: url, MaxConns: 5})
	u := d.mustInsert(t, "alice")
	session := d.startSession(t, u, 9)
	_, err := d.pool.Exec(t.Context(), "UPDATE sessions SET id = $1, counter = 1 WHERE id = $2", u.ID, session) // as calls takes it
	must(t, err)
	for _, statement := range []string{
		`INSERT INTO clients (client_id, subject, name, grant_types)
			SELECT 'client1', id, 'Client', '{password}' FROM sessions WHERE id = $1`,
		`INSERT INTO authorization_codes (digest, session_id, user_id, token_version, client_id, redirect_uri, auth_time, amr, expires_at)
			SELECT decode(repeat('00', 32), 'hex'), s.id, u.id, u.token_version, 'client1', 'https://a.example/', now(), '{pwd}', now() + interval '1 day'
			FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1`,
		"INSERT INTO consents (user_id, client_id, words) VALUES ($1, 'client1', '{}')",
	} {
		_, err := d.pool.Exec(t.Context(), statement, u.ID)
		must(t, err)
	}
	rates := []auth.Rate{
		{Key: ratelimit.Key{1}, Limit: ratelimit.Limit{Burst: 1000, Interval: time.Second}},
		{Key: ratelimit.Key{2}, Limit: ratelimit.Limit{Burst: 1000, Interval: time.Second}},
	}
	taken, _, err := d.TakeRates(t.Context(), rates, true)
	must(t, err)
	all := calls(d, u)
	all["TakeRates"] = func(ctx context.Context) error { _, _, err := d.TakeRates(ctx, rates, true); return err }
	all["SettleRates"] = func(ctx context.Context) error { return d.SettleRates(ctx, taken, true) }
	all["EndSession"] = func(ctx context.Context) error {
		_, err := d.EndSession(ctx, anEvent(), u.ID, u.ID, "logout")
		return err
	}
	all["RepeatSession"] = func(ctx context.Context) error {
		_, err := d.RepeatSession(ctx, anEvent(), u.ID, 1, false)
		return err
	}
	all["RotateSession"] = func(ctx context.Context) error {
		_, err := d.RotateSession(ctx, anEvent(), u.ID, 1, netip.Prefix{}, time.Hour)
		return err
	}
	all["EndSessions"] = func(ctx context.Context) error {
		_, err := d.EndSessions(ctx, anEvent(), auth.Freely(), auth.Reach{UserID: u.ID, AllClients: true}, [16]byte{}, "logout")
		return err
	}
	all["RedeemCode"] = func(ctx context.Context) error {
		_, err := d.RedeemCode(ctx, anEvent(), auth.RedeemableCode{
			RedirectURI: "https://a.example/", Session: auth.NewSession{
				ID: uuid.New(), Caller: auth.Caller{Client: auth.Client{ID: "client1"}},
			},
		})
		return err
	}
	all["RehashPassword"] = func(ctx context.Context) error { return d.RehashPassword(ctx, u.ID, plainHash, plainHash) }
	all["InsertUser"] = func(ctx context.Context) error {
		_, err := d.InsertUser(ctx, anEvent(), auth.Freely(), anAccount("new", "new"))
		return err
	}
	all["ChangeFactors"] = func(ctx context.Context) error {
		_, err := d.ChangeFactors(ctx, anEvent(), auth.FactorEdit{Before: u})
		return err
	}
	holder, watch := connectTo(t, url), connectTo(t, url)
	for _, name := range []string{
		"RotateSession", "RepeatSession", "EndSession", "StartSession", "EndSessions", "ChangePassword", "ReplacePassword", "RehashPassword",
		"SetPassword", "ResetFactors", "InsertUser", "DisableUser", "EnableUser", "DeleteUser", "TakeRates", "SettleRates",
		"RedeemCode", "PutConsent", "WithdrawConsent", "ChangeFactors",
	} {
		tx, err := holder.Begin(t.Context())
		must(t, err)
		for _, lock := range []string{
			"SELECT FROM users FOR UPDATE", "SELECT FROM sessions FOR UPDATE", "SELECT FROM rate_limits FOR UPDATE",
			"SELECT FROM consents FOR UPDATE",
			"INSERT INTO users (id, username, username_key, password_hash) VALUES (gen_random_uuid(), 'new', 'new', '" + plainHash + "')",
		} {
			_, err := tx.Exec(t.Context(), lock)
			must(t, err)
		}
		const many = 20
		ctx, cancel := context.WithCancel(t.Context())
		outcomes := make(chan error, many)
		for range many {
			go func() { outcomes <- all[name](ctx) }()
		}
		asynctest.Await(t, name+" to be waited for", func() bool { return d.turns.callers() == many && lockWaiters(t, watch) >= mostAtOnce })
		served := make(chan error, 1)
		go func() { _, err := d.UserByID(ctx, u.ID); served <- err }()
		asynctest.Await(t, "somebody else to be served beside "+name, func() bool {
			return len(served) == 1 || lockWaiters(t, watch) > mostAtOnce
		})
		if got := lockWaiters(t, watch); got != mostAtOnce {
			t.Errorf("%s: %d connections wait", name, got)
		} else if err := <-served; err != nil {
			t.Errorf("beside %s: %v", name, err)
		}
		cancel()
		for range many {
			if err := <-outcomes; !errors.Is(err, context.Canceled) && !errors.Is(err, auth.ErrUnavailable) {
				t.Errorf("%s, when the callers have left: %v", name, err)
			}
		}
		asynctest.Await(t, name+" to be given up in the database", func() bool { return lockWaiters(t, watch) == 0 })
		must(t, tx.Rollback(t.Context()))
		if got := d.turns.callers(); got != 0 {
			t.Errorf("%s: %d callers are remembered", name, got)
		}
	}
}

// The order is that of the rows, however they are given: else each of two callers could have what
// the other one waits for.
func TestCallersForTheSameRowsDoNotWaitForOneAnother(t *testing.T) {
	t.Parallel()
	turns := newTurns()
	a, b := row{"rate", "a"}, row{"rate", "b"}
	var leaves []func()
	for range mostAtOnce { // all places for a
		leave, err := turns.take(t.Context(), a)
		must(t, err)
		leaves = append(leaves, leave)
	}
	waiting := make(chan func())
	go func() {
		leave, err := turns.take(t.Context(), b, a, a)
		must(t, err)
		waiting <- leave
	}()
	asynctest.Await(t, "a caller in line", func() bool { return turns.callers() > mostAtOnce })
	leave, err := turns.take(t.Context(), b) // which the one in line for a does not hold
	must(t, err)
	leave()
	for _, leave := range leaves {
		leave()
	}
	(<-waiting)()
	if got := turns.callers(); got != 0 {
		t.Errorf("%d callers are remembered", got)
	}
}
