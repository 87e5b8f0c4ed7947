package db

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/token"
)

// aKey is one in a state, as the schema wants it.
func aKey(id string, state auth.KeyState) auth.SigningKey {
	return aKeyFor(auth.KeyForAccess, id, state)
}

func aKeyFor(use auth.KeyUse, id string, state auth.KeyState) auth.SigningKey {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	k := auth.SigningKey{ID: id, Use: use, Algorithm: token.ES256, State: state, PublicJWK: "{}", CreatedAt: at}
	switch state {
	case auth.KeyNext:
		k.Sealed = []byte("sealed")
	case auth.KeyActive:
		k.Sealed, k.ActivatedAt = []byte("sealed"), &at
	case auth.KeyRetiring:
		k.ActivatedAt, k.RetiringAt = &at, &at
	default:
		k.EndedAt = &at
	}
	return k
}

func (d *DB) putKeys(t *testing.T, keys ...auth.SigningKey) error {
	t.Helper()
	return d.ChangeSigningKeys(t.Context(), anEvent(), func(time.Time, []auth.SigningKey) (auth.KeyChange, error) {
		return auth.KeyChange{Keys: keys, Action: auth.ActionAddKey, Target: keys[0].ID}, nil
	})
}

func TestAKeyNeverGoesBackAndTwoAreNeverActive(t *testing.T) {
	t.Parallel()
	for _, use := range []auth.KeyUse{auth.KeyForAccess, auth.KeyForID} {
		t.Run(string(use), func(t *testing.T) { testThatKeysGoForward(t, use) })
	}
}

func testThatKeysGoForward(t *testing.T, use auth.KeyUse) {
	t.Parallel()
	states := []auth.KeyState{auth.KeyNext, auth.KeyActive, auth.KeyRetiring, auth.KeyRetired, auth.KeyRevoked}
	for from, was := range states {
		for to, becomes := range states {
			t.Run(string(was)+" to "+string(becomes), func(t *testing.T) {
				t.Parallel()
				d := open(t, Options{URL: dbtest.New(t)})
				must(t, d.putKeys(t, aKeyFor(use, "k", was)))
				err := d.putKeys(t, aKeyFor(use, "k", becomes))
				forward := from == to || from < to && was != auth.KeyRetired
				if (err == nil) != forward {
					t.Errorf("%v", err)
				}
			})
		}
	}
	t.Run("two at once", func(t *testing.T) {
		t.Parallel()
		d := open(t, Options{URL: dbtest.New(t)})
		for _, state := range []auth.KeyState{auth.KeyNext, auth.KeyActive} {
			must(t, d.putKeys(t, aKeyFor(use, "one-"+string(state), state)))
			if err := d.putKeys(t, aKeyFor(use, "other-"+string(state), state)); err == nil {
				t.Errorf("two are %s", state)
			}
		}
	})
}

// Of two replicas that find the same step due, the second must see what the first has done.
func TestThoseWhoChangeKeysTakeTurns(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	const replicas = 6
	decided := errors.New("somebody was first")
	errs := make(chan error)
	for range replicas {
		go func() {
			errs <- d.ChangeSigningKeys(t.Context(), anEvent(), func(now time.Time, keys []auth.SigningKey) (auth.KeyChange, error) {
				if len(keys) > 0 {
					return auth.KeyChange{}, decided
				}
				k := aKey("k", auth.KeyActive)
				k.CreatedAt, k.ActivatedAt = now, &now
				return auth.KeyChange{Keys: []auth.SigningKey{k}, Action: auth.ActionAddKey, Target: "k"}, nil
			})
		}()
	}
	done := 0
	for range replicas {
		if err := <-errs; err == nil {
			done++
		} else if !errors.Is(err, decided) {
			t.Error(err)
		}
	}
	keys, err := d.SigningKeys(t.Context(), true)
	must(t, err)
	if done != 1 || len(keys) != 1 {
		t.Errorf("%d did it: %+v", done, keys)
	}
	must(t, d.RaiseTokenLifetime(t.Context(), time.Hour))
	must(t, d.RaiseTokenLifetime(t.Context(), time.Minute))
	if keys, err = d.SigningKeys(t.Context(), false); err != nil || keys[0].TokenLifetime != time.Hour {
		t.Errorf("%+v, %v", keys, err)
	}
}

// A replica that says at this moment that its secret is in use must not bring one back that has
// leaked.
func TestAReplicaDoesNotPutASecretBackThatIsBeingReplaced(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	d, watch := open(t, Options{URL: databaseURL}), connectTo(t, databaseURL)
	leaked, fresh := strings.Repeat("1", 32), strings.Repeat("2", 32)
	known := func(recorded []string) error {
		if len(recorded) > 0 && !slices.Contains(recorded, leaked) {
			return auth.ErrOtherSecret
		}
		return nil
	}
	must(t, d.RenewSecrets(t.Context(), []string{leaked}, known))
	renewed := make(chan error, 1)
	must(t, d.ChangeSigningKeys(t.Context(), anEvent(), func(time.Time, []auth.SigningKey) (auth.KeyChange, error) {
		go func() { renewed <- d.RenewSecrets(t.Context(), []string{leaked}, known) }()
		asynctest.Await(t, "the replica to wait", func() (waits bool) {
			must(t, watch.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
				WHERE wait_event_type = 'Lock' AND datname = current_database())`).Scan(&waits))
			return waits || len(renewed) > 0
		})
		return auth.KeyChange{Keys: []auth.SigningKey{aKey("k", auth.KeyActive)}, Action: auth.ActionResetKeys, Secrets: []string{fresh}}, nil
	}))
	if err := <-renewed; !errors.Is(err, auth.ErrOtherSecret) {
		t.Errorf("%v", err)
	}
	if ids, err := d.SecretIDs(t.Context()); err != nil || !slices.Equal(ids, []string{fresh}) {
		t.Errorf("%v, %v", ids, err)
	}
}
