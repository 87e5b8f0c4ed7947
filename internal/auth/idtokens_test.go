package auth_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/db"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/token"
)

// house is an installation of replicas that sign.
type house struct {
	*testing.T
	url   string
	owner *pgx.Conn
	keys  *auth.Keys
	store *db.DB
}

func newHouse(t *testing.T) *house {
	t.Helper()
	url := dbtest.New(t)
	owner, err := pgx.Connect(t.Context(), dbtest.Owner(t, url))
	must(t, err)
	t.Cleanup(func() { _ = owner.Close(context.WithoutCancel(t.Context())) })
	store := open(t, url)
	keys := authtest.New(t, store, authtest.Options{}).Keys
	return &house{t, url, owner, keys, store}
}

// signs is what of a replica signs.
type signs struct {
	*testing.T
	loader *auth.KeyLoader
	signer *auth.Signer
	ids    *auth.IDTokens
}

const (
	oldSecret = "the secret key of this installation, 1"
	newSecret = "the secret key of this installation, 2"
)

func (h *house) policy(secret string) *auth.KeyPolicy {
	h.Helper()
	keys, err := keychain.New([][]byte{[]byte(secret)})
	must(h, err)
	return auth.NewKeyPolicy(token.ES256, 0, keys)
}

// replica is one with a secret, which has not loaded anything.
func (h *house) replica(secret string) *signs {
	h.Helper()
	ring, err := token.SecretRing([][]byte{[]byte(secret)})
	must(h, err)
	tokens, err := token.NewIssuer(token.Settings{
		Ring: ring, Issuer: "https://id.test", Audience: "app", Lifetime: time.Hour,
	})
	must(h, err)
	ids, err := token.NewIDIssuer("https://id.test", time.Hour)
	must(h, err)
	loader := auth.NewKeyLoader(h.keys, h.policy(secret), tokens, ids)
	return &signs{
		h.T, loader, auth.NewSigner(tokens, ids, time.Now, loader.Fresh),
		auth.NewIDTokens(ids, time.Now, loader.Fresh),
	}
}

func (s *signs) load() {
	s.Helper()
	must(s, s.loader.Load(s.Context()))
}

func (s *signs) sign(algorithm token.Algorithm) string {
	s.Helper()
	raw, err := s.ids.Sign(
		algorithm, token.IDToken{Subject: uuid.New(), Audience: "web"}, time.Minute,
	)
	must(s, err)
	return raw
}

// published returns the keys of ID tokens in the key set, by their ids.
func (s *signs) published() map[string]token.Key {
	s.Helper()
	text, err := s.signer.JWKS()
	must(s, err)
	var set struct{ Keys []json.RawMessage }
	must(s, json.Unmarshal(text, &set))
	keys := map[string]token.Key{}
	for _, jwk := range set.Keys {
		if strings.Contains(string(jwk), `"gatehouse_use":"id"`) {
			key, err := token.ParsePublicKey(jwk)
			must(s, err)
			keys[key.ID()] = key
		}
	}
	return keys
}

// in returns the key of a ring in a state, of which there must be one.
func (h *house) in(ring auth.KeyRing, state auth.KeyState) auth.SigningKey {
	h.Helper()
	all, err := h.keys.List(h.Context())
	must(h, err)
	all = slices.DeleteFunc(all, func(k auth.SigningKey) bool {
		return k.Ring() != ring || k.State != state
	})
	if len(all) != 1 {
		h.Fatalf("%d keys of %v are %s", len(all), ring, state)
	}
	return all[0]
}

func (h *house) exec(sql string) {
	h.Helper()
	_, err := h.owner.Exec(h.Context(), sql)
	must(h, err)
}

func (h *house) count(table string) (rows int) {
	h.Helper()
	must(h, h.owner.QueryRow(h.Context(), "SELECT count(*) FROM "+table).Scan(&rows))
	return rows
}

// pass lets time pass for the keys in a table.
func (h *house) pass(table string, d time.Duration) {
	h.Helper()
	h.exec(fmt.Sprintf(`ALTER TABLE %[1]s DISABLE TRIGGER %[1]s_forward;
		UPDATE %[1]s SET created_at = created_at - d, activated_at = activated_at - d,
			retiring_at = retiring_at - d
		FROM (SELECT make_interval(secs => %[2]g) AS d) passed WHERE ended_at IS NULL;
		ALTER TABLE %[1]s ENABLE TRIGGER %[1]s_forward`, table, d.Seconds()))
}

// rotateAccessBesides begins a rotation of the keys of access tokens. Its next key is older than
// those of other rings, and must not be taken for one of them.
func (h *house) rotateAccessBesides() {
	h.Helper()
	must(h, h.keys.Add(
		h.Context(), authtest.Operator(), h.policy(oldSecret), auth.AccessRing(),
	))
	h.pass("signing_keys", time.Hour)
}

func kidOf(t *testing.T, raw string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[0])
	must(t, err)
	var header struct{ Kid string }
	must(t, json.Unmarshal(text, &header))
	return header.Kid
}

// A key that one replica makes and another does not know signs ID tokens that half of the answers
// to /.well-known/jwks.json do not verify. The version before would take access tokens by a key of
// ID tokens that it sees.
func TestReplicasThatStartAtOnceShareOneKeyOfEachRingOutOfSightOfTheVersionBefore(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var replicas []*signs
	for range 5 {
		replicas = append(replicas, h.replica(oldSecret))
	}
	var starting sync.WaitGroup
	for _, r := range replicas {
		starting.Go(func() {
			if err := r.loader.Load(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	if access, ids := h.count("signing_keys"), h.count("id_token_keys"); access != 1 || ids != 3 {
		t.Errorf("%d keys where the version before looks, and %d others", access, ids)
	}
	for _, algorithm := range replicas[0].ids.Algorithms() {
		for _, by := range replicas {
			raw := by.sign(algorithm)
			for _, r := range replicas {
				if _, err := r.ids.VerifyHint(raw); err != nil {
					t.Errorf("%s: %v", algorithm, err)
				}
			}
		}
	}
}

// An app that has just fetched the key set keeps it for five minutes.
func TestTheKeySetOfBeforeARotationVerifiesTheIDTokensOfAfterIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first, second := h.replica(oldSecret), h.replica(oldSecret)
	first.load()
	second.load()
	access := h.in(auth.AccessRing(), auth.KeyActive).ID
	h.rotateAccessBesides()
	for _, algorithm := range first.ids.Algorithms() {
		ring := auth.IDRing(algorithm)
		before := first.sign(algorithm)
		must(t, h.keys.Add(t.Context(), authtest.Operator(), h.policy(oldSecret), ring))
		next := h.in(ring, auth.KeyNext)
		if next.Algorithm != algorithm {
			t.Errorf("a key of %s takes over from one of %s", next.Algorithm, algorithm)
		}
		second.load()
		fetched := second.published()
		if err := h.keys.Activate(
			t.Context(), authtest.Operator(), ring,
		); !errors.Is(err, auth.ErrTooEarly) {
			t.Errorf("a key that others may not know may sign: %v", err)
		}
		h.pass("id_token_keys", 331*time.Second)
		must(t, h.keys.Activate(t.Context(), authtest.Operator(), ring))
		first.load()
		after := first.sign(algorithm)
		if kidOf(t, after) != next.ID {
			t.Errorf("%s: the new key does not sign", algorithm)
		}
		keys, err := token.NewIDKeys(fetched[next.ID])
		must(t, err)
		app, err := token.NewIDIssuer("https://id.test", time.Hour)
		must(t, err)
		app.SetKeys(keys)
		if _, err := app.VerifyHint(time.Now(), after); err != nil {
			t.Errorf("%s: the keys fetched before: %v", algorithm, err)
		}
		for name, raw := range map[string]string{"before": before, "after": after} {
			for _, r := range []*signs{first, second} { // the second has not read that it signs
				if _, err := r.ids.VerifyHint(raw); err != nil {
					t.Errorf("%s: %s: %v", algorithm, name, err)
				}
			}
		}
		retiring := h.in(ring, auth.KeyRetiring)
		if retiring.TokenLifetime != time.Hour {
			t.Errorf("its tokens live for %s", retiring.TokenLifetime)
		}
		if err := h.keys.Retire(
			t.Context(), authtest.Operator(), retiring.ID,
		); !errors.Is(err, auth.ErrTooEarly) {
			t.Errorf("a key whose tokens live may be retired: %v", err)
		}
		h.pass("id_token_keys", time.Hour+time.Minute)
		must(t, h.keys.Retire(t.Context(), authtest.Operator(), retiring.ID))
		first.load()
		if _, err := first.ids.VerifyHint(before); !errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("%s: a hint by a retired key: %v", algorithm, err)
		}
		if _, is := first.published()[retiring.ID]; is {
			t.Errorf("%s: a retired key is published", algorithm)
		}
	}
	if now := h.in(auth.AccessRing(), auth.KeyActive).ID; now != access {
		t.Error("the key of access tokens has been replaced too")
	}
}

// Whoever has a leaked key can log people out, and in at apps, as long as it is in the key set.
func TestARevokedKeyOfIDTokensIsNotPublishedAndItsHintsAreRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := h.replica(oldSecret)
	r.load()
	h.rotateAccessBesides()
	for _, algorithm := range r.ids.Algorithms() {
		var others []string
		for _, other := range r.ids.Algorithms() {
			if other != algorithm {
				others = append(others, h.in(auth.IDRing(other), auth.KeyActive).ID)
			}
		}
		raw := r.sign(algorithm)
		must(t, h.keys.Revoke(
			t.Context(), authtest.Operator(), h.policy(oldSecret), kidOf(t, raw),
		))
		r.load()
		if _, err := r.ids.VerifyHint(raw); !errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("%s: its hint: %v", algorithm, err)
		}
		published, successor := r.published(), kidOf(t, r.sign(algorithm))
		if _, is := published[kidOf(t, raw)]; is || successor == kidOf(t, raw) {
			t.Errorf("%s: it is published, or signs", algorithm)
		}
		for _, kid := range append(others, successor) {
			if _, is := published[kid]; !is {
				t.Errorf("%s: %s is not published any more", algorithm, kid)
			}
		}
	}
}

func TestAReplicaWithKeysThatAreNotFreshSignsNoIDToken(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := h.replica(oldSecret)
	refused := func(when string) {
		t.Helper()
		_, err := r.ids.Sign(
			token.RS256, token.IDToken{Subject: uuid.New(), Audience: "web"}, time.Minute,
		)
		if !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("%s: an ID token: %v", when, err)
		}
		_, err = r.ids.SignLogout(
			token.RS256, token.LogoutToken{Subject: uuid.New(), Audience: "web"},
		)
		if !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("%s: a logout token: %v", when, err)
		}
	}
	refused("before it has read them")
	r.load()
	raw := r.sign(token.RS256)
	_, err := r.ids.SignLogout(
		token.RS256, token.LogoutToken{Subject: uuid.New(), Audience: "web"},
	)
	must(t, err)
	// Another secret takes over.
	must(t, h.keys.Reset(t.Context(), authtest.Operator(), h.policy(newSecret)))
	if err := r.loader.Load(t.Context()); !errors.Is(err, auth.ErrOtherSecret) {
		t.Errorf("%v", err)
	}
	refused("with a secret of before")
	if _, err := r.ids.VerifyHint(raw); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("a hint by a key under the leaked secret: %v", err)
	}
}

// An upgrade finds an installation without keys of ID tokens. Made under a wrong secret, they would
// keep all other replicas from the start.
func TestNoFirstKeyOfIDTokensIsMadeUnderAnotherSecret(t *testing.T) {
	t.Parallel()
	for _, recorded := range []bool{true, false} {
		t.Run(fmt.Sprint(recorded), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			right := h.replica(oldSecret)
			right.load()
			if recorded {
				must(t, right.loader.ClaimSecrets(t.Context()))
			}
			h.exec("DELETE FROM id_token_keys")
			err := h.replica(newSecret).loader.Load(t.Context())
			if !errors.Is(err, auth.ErrOtherSecret) && !errors.Is(err, keychain.ErrUnsealed) {
				t.Errorf("%v", err)
			}
			if n := h.count("id_token_keys"); n > 0 {
				t.Errorf("it has made %d keys", n)
			}
			right.load()
			right.sign(token.RS256)
		})
	}
}

// The version before revokes its own keys alone. The keys of ID tokens stay under the lost secret,
// and nobody could get rid of them.
func TestAResetByTheVersionBeforeIsCompleted(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	lost := h.replica(oldSecret)
	lost.load()
	must(t, lost.loader.ClaimSecrets(t.Context()))
	h.exec("CREATE TABLE kept AS TABLE id_token_keys")
	reset := func() error {
		return h.keys.Reset(t.Context(), authtest.Operator(), h.policy(newSecret))
	}
	must(t, reset())
	if err := reset(); !errors.Is(err, auth.ErrNotReplaced) {
		t.Errorf("again: %v", err)
	}
	h.exec("DELETE FROM id_token_keys; INSERT INTO id_token_keys TABLE kept")
	r := h.replica(newSecret)
	if err := r.loader.Load(t.Context()); !errors.Is(err, keychain.ErrUnsealed) {
		t.Errorf("it starts with keys that it cannot open: %v", err)
	}
	must(t, reset())
	r.load()
	r.sign(token.RS256)
	if n := h.count("id_token_keys WHERE state = 'revoked'"); n != 3 {
		t.Errorf("%d are revoked", n)
	}
}
