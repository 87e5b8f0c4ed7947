package auth

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/token"
)

// keyModel says when each step is safe. It derives that in another way than the rules: from what
// replicas and caches may still believe.
type keyModel struct {
	now  time.Time
	keys []SigningKey
}

const modelLifetime = 30 * time.Minute

// everybodyKnows is when the last cache has a key. A replica may miss the key for 30 s, and whoever
// asks that replica then keeps the answer for five minutes.
func everybodyKnows(published time.Time) time.Time {
	return published.Add(30*time.Second + 5*time.Minute)
}

// lastTokenDies is when the last token of a key has expired. The last replica has learned by then
// that the key signs no more.
func lastTokenDies(deposed time.Time) time.Time {
	return deposed.Add(30*time.Second + modelLifetime + 5*time.Second)
}

func (m keyModel) count(state KeyState) (n int) {
	for _, k := range m.keys {
		if k.State == state {
			n++
		}
	}
	return n
}

// houses are all sets of keys that the schema allows, with up to two retiring keys. Each key is
// taken just before and just when its step is safe.
func houses() []keyModel {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ago := func(from func(time.Time) time.Time, less time.Duration) time.Time {
		return now.Add(-from(now).Sub(now)).Add(less)
	}
	variants := func(state KeyState) []SigningKey {
		var all []SigningKey
		for _, less := range []time.Duration{0, time.Nanosecond} { // safe, and not yet
			k := SigningKey{
				ID: fmt.Sprint(state, less), Algorithm: token.ES256, State: state,
				TokenLifetime: modelLifetime, Sealed: []byte("sealed"),
			}
			switch state {
			case KeyNext:
				k.CreatedAt = ago(everybodyKnows, less)
			case KeyActive:
				k.CreatedAt, k.ActivatedAt = now.Add(-time.Hour), new(now.Add(-time.Minute))
			case KeyRetiring:
				k.CreatedAt, k.ActivatedAt, k.RetiringAt, k.Sealed = now.Add(-9*time.Hour),
					new(now.Add(-8*time.Hour)), new(ago(lastTokenDies, less)), nil
			}
			all = append(all, k)
		}
		return all
	}
	with := func(sets [][]SigningKey, state KeyState) [][]SigningKey {
		all := slices.Clone(sets)
		for _, set := range sets {
			for _, k := range variants(state) {
				all = append(all, append(slices.Clone(set), k))
			}
		}
		return all
	}
	sets := with(
		with(with(with([][]SigningKey{nil}, KeyActive), KeyNext), KeyRetiring), KeyRetiring,
	)
	var all []keyModel
	for _, set := range sets {
		if slices.ContainsFunc(set, func(k SigningKey) bool {
			return k.State != KeyActive
		}) && !slices.ContainsFunc(set, func(k SigningKey) bool { return k.State == KeyActive }) {
			continue // the first key is the active one
		}
		for n := range set { // two retiring keys may be of one kind
			set[n].ID += fmt.Sprint("-", n)
		}
		all = append(all, keyModel{now, set})
	}
	return all
}

// after applies a change, as the database does.
func (m keyModel) after(c KeyChange) keyModel {
	keys := slices.Clone(m.keys)
	for _, changed := range c.Keys {
		if n := slices.IndexFunc(keys, func(k SigningKey) bool {
			return k.ID == changed.ID
		}); n >= 0 {
			keys[n] = changed
		} else {
			keys = append(keys, changed)
		}
	}
	return keyModel{m.now, keys}
}

func TestNoStepOfAKeyIsTakenBeforeItIsSafe(t *testing.T) {
	t.Parallel()
	made := func(now time.Time) SigningKey {
		return SigningKey{
			ID: "made", Algorithm: token.ES256, State: KeyNext, CreatedAt: now,
			Sealed: []byte("sealed"),
		}
	}
	steps := 0
	for _, m := range houses() {
		name := fmt.Sprint(slices.Collect(func(yield func(string) bool) {
			for _, k := range m.keys {
				if !yield(k.ID) {
					return
				}
			}
		}))
		check := func(step string, c KeyChange, err error, want error, wantStates map[string]KeyState) {
			t.Helper()
			steps++
			if want != nil || err != nil {
				if !errors.Is(err, want) || want == nil || len(c.Keys) > 0 {
					t.Errorf("%s: %s: %v and %+v, want %v", name, step, err, c, want)
				}
				if early, ok := errors.AsType[*TooEarlyError](err); ok &&
					(early.Wait <= 0 || !m.now.Add(early.Wait).Equal(early.At)) {
					t.Errorf("%s: %s: %+v", name, step, early)
				}
				return
			}
			after := m.after(c)
			if after.count(KeyActive) != 1 || after.count(KeyNext) > 1 {
				t.Errorf("%s: %s: %+v", name, step, after.keys)
			}
			got := map[string]KeyState{}
			for _, k := range c.Keys {
				got[k.ID] = k.State
				if signs := k.State == KeyNext || k.State == KeyActive; (k.Sealed != nil) != signs {
					t.Errorf("%s: %s: the private key of %s: %q", name, step, k.ID, k.Sealed)
				}
			}
			if !maps.Equal(got, wantStates) {
				t.Errorf("%s: %s: %v, want %v", name, step, got, wantStates)
			}
		}
		active, signs := find(m.keys, KeyActive)
		next, pending := find(m.keys, KeyNext)

		c, err := adding(m.now, m.keys, made(m.now))
		switch {
		case pending:
			check("add", c, err, ErrKeyPending, nil)
		case signs:
			check("add", c, err, nil, map[string]KeyState{"made": KeyNext})
		default:
			check("add", c, err, nil, map[string]KeyState{"made": KeyActive})
		}
		if !signs {
			continue
		}
		c, err = activating(m.now, m.keys)
		switch {
		case !pending:
			check("activate", c, err, ErrKeyNotFound, nil)
		case m.now.Before(everybodyKnows(next.CreatedAt)):
			check("activate", c, err, ErrTooEarly, nil)
		default:
			check(
				"activate", c, err, nil,
				map[string]KeyState{active.ID: KeyRetiring, next.ID: KeyActive},
			)
		}
		for _, k := range m.keys {
			c, err = retiring(m.now, m.keys, k.ID)
			switch {
			case k.State == KeyActive:
				check("retire "+k.ID, c, err, ErrKeySigns, nil)
			case k.State == KeyRetiring && m.now.Before(lastTokenDies(*k.RetiringAt)):
				check("retire "+k.ID, c, err, ErrTooEarly, nil)
			default:
				check("retire "+k.ID, c, err, nil, map[string]KeyState{k.ID: KeyRetired})
			}
			c, err = revoking(m.now, m.keys, k.ID, func() (SigningKey, error) {
				return made(m.now), nil
			})
			want := map[string]KeyState{k.ID: KeyRevoked}
			switch {
			case k.State == KeyActive && pending:
				want[next.ID] = KeyActive
			case k.State == KeyActive:
				want["made"] = KeyActive
			}
			check("revoke "+k.ID, c, err, nil, want)
		}
		_, err = retiring(m.now, m.keys, "nobody's")
		check("retire an unknown one", KeyChange{}, err, ErrKeyNotFound, nil)
		_, err = revoking(m.now, m.keys, "nobody's", nil)
		check("revoke an unknown one", KeyChange{}, err, ErrKeyNotFound, nil)
	}
	if steps < 200 {
		t.Errorf("only %d steps were tried", steps)
	}
}

// A replica that does by itself what is due must come from any state to one active key. It must
// never take a step that an operator would be refused.
func TestWhatIsDueIsSafeAndComesToAnEnd(t *testing.T) {
	t.Parallel()
	policy := KeyPolicy{Algorithm: token.ES256, RotateAfter: 24 * time.Hour}
	for _, m := range houses() {
		n := 0
		create := func() (SigningKey, error) {
			n++
			return SigningKey{
				ID: fmt.Sprint("made", n), Algorithm: token.ES256, State: KeyNext, CreatedAt: m.now,
				TokenLifetime: modelLifetime,
			}, nil
		}
		for step := 0; ; step++ {
			c, err := due(m.now, m.keys, policy, create)
			if err != nil || step > 20 {
				t.Fatalf("step %d: %v", step, err)
			}
			if len(c.Keys) == 0 {
				break
			}
			m = m.after(c)
		}
		m.keys = slices.DeleteFunc(m.keys, func(k SigningKey) bool { return k.EndedAt != nil })
		m.now = m.now.Add(time.Hour) // all steps are safe by then
		for range 20 {
			c, err := due(m.now, m.keys, policy, create)
			if err != nil {
				t.Fatal(err)
			}
			m = m.after(c)
			m.keys = slices.DeleteFunc(m.keys, func(k SigningKey) bool { return k.EndedAt != nil })
			if len(c.Keys) == 0 {
				m.now = m.now.Add(10 * time.Minute)
			}
		}
		if len(m.keys) != 1 || m.keys[0].State != KeyActive {
			t.Errorf("it ends with %+v", m.keys)
		}
	}
}

// The secret's tokens would be as good under the next key of HS256. To call the key revoked would
// be untrue.
func TestASecretIsNotRevokedWhileItIsStillThere(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	key := func(id string, a token.Algorithm, state KeyState) SigningKey {
		return SigningKey{
			ID: id, Algorithm: a, State: state, CreatedAt: now, ActivatedAt: &now, RetiringAt: &now,
		}
	}
	for _, test := range []struct {
		what string
		keys []SigningKey
		made token.Algorithm
		want error
	}{
		{
			"a new one would be the same", []SigningKey{key("s", token.HS256, KeyActive)},
			token.HS256, ErrKeyIsSecret,
		},
		{"a new one is another", []SigningKey{key("s", token.HS256, KeyActive)}, token.ES256, nil},
		{"the next one is the same", []SigningKey{
			key("s", token.HS256, KeyRetiring), key("a", token.ES256, KeyActive),
			key("n", token.HS256, KeyNext),
		}, token.ES256, ErrKeyIsSecret},
		{
			"it retires",
			[]SigningKey{key("s", token.HS256, KeyRetiring), key("a", token.ES256, KeyActive)},
			token.HS256, nil,
		},
	} {
		_, err := revoking(now, test.keys, "s", func() (SigningKey, error) {
			return key("made", test.made, KeyNext), nil
		})
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v", test.what, err)
		}
		if _, err := adding(
			now, test.keys[:1], key("made", token.HS256, KeyNext),
		); test.keys[0].State == KeyActive && !errors.Is(err, ErrKeyIsSecret) {
			t.Errorf("%s: the secret once more: %v", test.what, err)
		}
	}
}

func TestAKeyIsReplacedWhenItIsOldAndASecretIsNot(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	create := func() (SigningKey, error) {
		return SigningKey{ID: "made", State: KeyNext, CreatedAt: now}, nil
	}
	for _, test := range []struct {
		what              string
		algorithm, active token.Algorithm
		after, age        time.Duration
		want              bool
	}{
		{
			"not yet", token.ES256, token.ES256, 24 * time.Hour,
			24*time.Hour - 5*time.Minute - 31*time.Second, false,
		},
		{
			"so that it is known in time", token.ES256, token.ES256, 24 * time.Hour,
			24*time.Hour - 5*time.Minute - 30*time.Second, true,
		},
		{"never", token.ES256, token.ES256, 0, 9999 * time.Hour, false},
		{
			"a secret that others may verify by", token.ES256, token.HS256, 24 * time.Hour,
			9999 * time.Hour, false,
		},
		{"a secret", token.HS256, token.HS256, 24 * time.Hour, 9999 * time.Hour, false},
	} {
		keys := []SigningKey{{
			ID: "active", Algorithm: test.active, State: KeyActive,
			ActivatedAt: new(now.Add(-test.age)),
		}}
		c, err := due(
			now, keys, KeyPolicy{Algorithm: test.algorithm, RotateAfter: test.after}, create,
		)
		if err != nil || (len(c.Keys) > 0) != test.want {
			t.Errorf("%s: %+v, %v", test.what, c, err)
		}
	}
}

// A replica that is cut off would sign with a key that the others have retired, or publish a set
// without the key that signs now.
func TestAReplicaThatHasNotReadTheKeysForLongDoesNotSign(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what string
		read *time.Time
		ok   bool
	}{
		{"never", nil, false},
		{"too long ago", new(time.Now().Add(-ringStaleness - time.Second)), false},
		{
			"before the machine slept",
			new(asynctest.Suspended(t, time.Now(), -ringStaleness-time.Second)), false,
		},
		{"just now", new(time.Now()), true},
	} {
		l := NewKeyLoader(nil, nil, nil, nil)
		l.read.Store(test.read)
		if err := l.Fresh(); (err == nil) != test.ok || err != nil &&
			!errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", test.what, err)
		}
	}
}
