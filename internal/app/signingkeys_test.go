package app_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/token"
)

// keyring is the operator's view of the signing keys.
type keyring struct {
	*testing.T
	admin *app.Admin
	owner *pgx.Conn
}

func openKeyring(t *testing.T, databaseURL string) keyring {
	t.Helper()
	return keyring{t, openAdmin(t, databaseURL), connect(t, dbtest.Owner(t, databaseURL))}
}

// policy makes keys of an algorithm.
func (k keyring) policy(algorithm token.Algorithm) *auth.KeyPolicy {
	k.Helper()
	policy, err := k.admin.KeyPolicy(k.Context(), config.Secrets{SecretKey: secretKey}, algorithm)
	must(k, err)
	return policy
}

// in returns the keys of access tokens in a state.
func (k keyring) in(state auth.KeyState) (keys []auth.SigningKey) {
	k.Helper()
	return k.inRing(auth.AccessRing(), state)
}

func (k keyring) inRing(ring auth.KeyRing, state auth.KeyState) []auth.SigningKey {
	k.Helper()
	all, err := k.admin.Keys.List(k.Context())
	must(k, err)
	return slices.DeleteFunc(all, func(key auth.SigningKey) bool {
		return key.State != state || key.Ring() != ring
	})
}

// pass lets time pass for the keys.
func (k keyring) pass(d time.Duration) {
	k.Helper()
	for _, table := range []string{"signing_keys", "id_token_keys"} {
		_, err := k.owner.Exec(k.Context(), fmt.Sprintf(`ALTER TABLE %[1]s DISABLE TRIGGER %[1]s_forward;
			UPDATE %[1]s SET created_at = created_at - d, activated_at = activated_at - d, retiring_at = retiring_at - d
			FROM (SELECT make_interval(secs => %[2]g) AS d) passed WHERE ended_at IS NULL;
			ALTER TABLE %[1]s ENABLE TRIGGER %[1]s_forward`, table, d.Seconds()))
		must(k, err)
	}
}

// orReplica checks that a step is done, if not by the operator then by a replica that found it due.
func orReplica(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, auth.ErrKeyNotFound) {
		t.Fatal(err)
	}
}

// published returns the keys that a replica publishes.
func (r *replica) published() map[string]token.Key {
	r.Helper()
	a := r.do(r.request("GET", "/.well-known/jwks.json", ""))
	r.want(http.StatusOK, a)
	var set struct{ Keys []json.RawMessage }
	must(r, json.Unmarshal([]byte(a.body), &set))
	keys := map[string]token.Key{}
	for _, jwk := range set.Keys {
		key, err := token.ParsePublicKey(jwk)
		must(r, err)
		keys[key.ID()] = key
	}
	return keys
}

// headerOf returns the header of a token.
func headerOf(t testing.TB, raw string) (header struct{ Alg, Kid string }) {
	t.Helper()
	encoded, _, _ := strings.Cut(raw, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(encoded)
	must(t, err)
	must(t, json.Unmarshal(decoded, &header))
	return header
}

// traffic is people who refresh at one replica after another, and show their new tokens to all of
// them.
type traffic struct {
	requests, refused atomic.Int64
	stop              chan struct{}
	people            sync.WaitGroup
	mu                sync.Mutex
	latest            []string // access token of each
	rounds            []int    // that each has made
}

func startTraffic(t *testing.T, replicas []*replica, people []login) *traffic {
	w := &traffic{stop: make(chan struct{}), latest: make([]string, len(people)),
		rounds: make([]int, len(people))}
	for n, l := range people {
		w.people.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-w.stop:
					return
				default:
				}
				a := w.send(t, replicas[(n+round)%len(replicas)].refreshRequest(l.refresh),
					replicas[0])
				var granted struct {
					Access  string `json:"access_token"`
					Refresh string `json:"refresh_token"`
				}
				if json.Unmarshal([]byte(a.body), &granted) != nil || granted.Access == "" {
					continue
				}
				before := l.access
				l.access, l.refresh = granted.Access, granted.Refresh
				for _, r := range replicas {
					w.send(t, r.verifyRequest("GET", "/verify", l.access), r)
					w.send(t, r.verifyRequest("GET", "/verify", before), r)
				}
				w.mu.Lock()
				w.latest[n], w.rounds[n] = l.access, round
				w.mu.Unlock()
			}
		})
	}
	t.Cleanup(w.end)
	return w
}

func (w *traffic) end() {
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	w.people.Wait()
}

func (w *traffic) send(t *testing.T, request *http.Request, by *replica) answer {
	w.requests.Add(1)
	a, err := send(by.client, request)
	if err != nil || a.status/100 != 2 {
		w.refused.Add(1)
		t.Errorf("%s %s: %d, %v: %s", request.Method, request.URL, a.status, err, a.body)
	}
	return a
}

// turn returns when everybody has got new tokens twice, so that nobody has an earlier one.
func (w *traffic) turn(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	before := slices.Clone(w.rounds)
	w.mu.Unlock()
	asynctest.Await(t, "everybody to have new tokens", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for n := range before {
			if w.rounds[n] < before[n]+3 {
				return false
			}
		}
		return true
	})
}

func (w *traffic) signedBy(t *testing.T) (kids []string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, raw := range w.latest {
		kids = append(kids, headerOf(t, raw).Kid)
	}
	return kids
}

// The service goes from the secret to keys, and from key to key, under load. Nobody is refused, and
// whoever fetches the published keys has each key before it signs.
func TestKeysRotateUnderLoadAndNobodyIsRefused(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	replicas := []*replica{boot(t, databaseURL), boot(t, databaseURL), boot(t, databaseURL)}
	k, conn := openKeyring(t, databaseURL), connect(t, databaseURL)
	if first := k.in(auth.KeyActive); len(first) != 1 || first[0].Algorithm != token.HS256 {
		t.Fatalf("it begins with %+v", first)
	}
	var people []login
	for _, name := range []string{"alice", "bob"} {
		one, other := logins(t, conn, name)
		people = append(people, one, other)
	}
	w := startTraffic(t, replicas, people)
	w.turn(t)
	for _, algorithm := range []token.Algorithm{token.ES256, token.EdDSA, token.ES256} {
		must(t, k.admin.Keys.Add(t.Context(), authtest.Operator(), k.policy(algorithm), auth.AccessRing()))
		next := k.in(auth.KeyNext)[0].ID
		fetched := make([]map[string]token.Key, len(replicas))
		for n, r := range replicas {
			asynctest.Await(t, "the key to be published", func() bool {
				fetched[n] = r.published()
				_, ok := fetched[n][next]
				return ok
			})
		}
		if err := k.admin.Keys.Activate(t.Context(),
			authtest.Operator(), auth.AccessRing()); !errors.Is(err, auth.ErrTooEarly) {
			t.Errorf("a key that others may not know may sign: %v", err)
		}
		if slices.Contains(w.signedBy(t), next) {
			t.Error("it signs before it is active")
		}
		k.pass(331 * time.Second)
		orReplica(t, k.admin.Keys.Activate(t.Context(), authtest.Operator(), auth.AccessRing()))
		asynctest.Await(t, "all to sign with it", func() bool {
			w.turn(t)
			return !slices.ContainsFunc(w.signedBy(t), func(kid string) bool { return kid != next })
		})
		ring, err := token.NewVerifyingRing(fetched[0][next])
		must(t, err)
		verifier, err := token.NewIssuer(token.Settings{Ring: ring, Issuer: "http://localhost:8000",
			Audience: "gatehouse", Lifetime: time.Hour})
		must(t, err)
		w.mu.Lock()
		latest := slices.Clone(w.latest)
		w.mu.Unlock()
		for _, raw := range latest {
			if _, err := verifier.Verify(time.Now(), raw); err != nil {
				t.Errorf("the keys fetched before do not verify what is signed now: %v", err)
			}
		}
		w.turn(t) // nobody has a token of the one before any more
		before := k.in(auth.KeyRetiring)[0]
		if before.TokenLifetime < 30*time.Minute {
			t.Errorf("the replicas have not said how long their tokens live: %+v", before)
		}
		if err := k.admin.Keys.Retire(t.Context(), authtest.Operator(),
			before.ID); !errors.Is(err, auth.ErrTooEarly) {
			t.Errorf("a key whose tokens live may be retired: %v", err)
		}
		k.pass(before.TokenLifetime + time.Minute)
		orReplica(t, k.admin.Keys.Retire(t.Context(), authtest.Operator(), before.ID))
		for _, r := range replicas {
			asynctest.Await(t, "the key to be forgotten",
				func() bool { _, ok := r.published()[before.ID]; return !ok })
		}
		w.turn(t)
	}
	w.end()
	t.Logf("%d requests, %d refused", w.requests.Load(), w.refused.Load())
	if w.refused.Load() > 0 || w.requests.Load() < 100 {
		t.Errorf("%d of %d were refused", w.refused.Load(), w.requests.Load())
	}
}

// A replica's memory of verified tokens must not outlive the key.
func TestTokensOfARevokedKeyAreRefusedByEveryReplicaThatHasCachedThem(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	replicas := []*replica{boot(t, databaseURL, "--algorithm=ES256"),
		boot(t, databaseURL, "--algorithm=ES256")}
	k, conn := openKeyring(t, databaseURL), connect(t, databaseURL)
	alice, _ := logins(t, conn, "alice")
	if got := replicas[0].verified(alice); got != http.StatusUnauthorized {
		t.Errorf("a token by the secret where there is a key: %d", got)
	}
	refresh := func(r *replica) {
		a := r.do(r.refreshRequest(alice.refresh))
		r.want(http.StatusOK, a)
		var granted struct {
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
		}
		must(t, json.Unmarshal([]byte(a.body), &granted))
		alice.access, alice.refresh = granted.Access, granted.Refresh
	}
	refresh(replicas[0])
	leaked := headerOf(t, alice.access)
	if leaked.Alg != "ES256" || leaked.Kid != k.in(auth.KeyActive)[0].ID {
		t.Errorf("signed by %+v", leaked)
	}
	for _, r := range replicas {
		r.wantCached(alice)
	}
	must(t, k.admin.Keys.Revoke(t.Context(), authtest.Operator(), k.policy(token.ES256),
		leaked.Kid))
	for _, r := range replicas {
		asynctest.Await(t, "the key to be refused",
			func() bool { return r.verified(alice) == http.StatusUnauthorized })
	}
	refresh(replicas[1]) // the session goes on, by the new key
	for _, r := range replicas {
		asynctest.Await(t, "the new key to be known",
			func() bool { return r.verified(alice) == http.StatusNoContent })
	}
}

// The keys of ID tokens are published where the key of access tokens is a secret too. One that has
// leaked must leave the key set of each replica at once, and access tokens must not notice.
func TestARevokedKeyOfIDTokensLeavesTheKeySetOfEveryReplica(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	replicas := []*replica{boot(t, databaseURL), boot(t, databaseURL)}
	k, conn := openKeyring(t, databaseURL), connect(t, databaseURL)
	alice, _ := logins(t, conn, "alice")
	if secret := k.in(auth.KeyActive); len(secret) != 1 || secret[0].Algorithm != token.HS256 {
		t.Fatalf("%+v", secret)
	}
	for _, ring := range auth.RingsFor(auth.KeyForID) {
		leaked := k.inRing(ring, auth.KeyActive)[0]
		must(t, k.admin.Keys.Revoke(t.Context(), authtest.Operator(), k.policy(token.ES256),
			leaked.ID))
		successor := k.inRing(ring, auth.KeyActive)[0]
		if successor.Algorithm != leaked.Algorithm {
			t.Errorf("%s takes over from %s", successor.Algorithm, leaked.Algorithm)
		}
		for _, r := range replicas {
			asynctest.Await(t, "the key to leave, and another to come", func() bool {
				keys := r.published()
				_, still := keys[leaked.ID]
				_, now := keys[successor.ID]
				return !still && now && len(keys) == 3
			})
			r.want(http.StatusNoContent, r.do(r.verifyRequest("GET", "/verify", alice.access)))
		}
	}
}

// Whoever asks the log since when a key signs must find an answer in each case.
func TestTheLogNamesTheKeyThatTakesOverFromARevokedOne(t *testing.T) {
	t.Parallel()
	k := openKeyring(t, dbtest.New(t))
	keys, by, policy := k.admin.Keys, authtest.Operator(), k.policy(token.ES256)
	must(t, keys.Add(t.Context(), by, policy, auth.AccessRing()))
	must(t, keys.Add(t.Context(), by, policy, auth.AccessRing()))
	first, second := k.in(auth.KeyActive)[0].ID, k.in(auth.KeyNext)[0].ID
	must(t, keys.Revoke(t.Context(), by, policy, first))
	must(t, keys.Revoke(t.Context(), by, policy, second)) // while there is no next one
	third := k.in(auth.KeyActive)[0].ID
	fresh, err := k.admin.NewKeyPolicy(
		config.Secrets{SecretKey: "the next secret key has 32 bytes or more"}, token.ES256)
	must(t, err)
	must(t, keys.Reset(t.Context(), by, fresh))
	fourth := k.in(auth.KeyActive)[0].ID
	events, err := k.admin.Audit.Events(t.Context(), auth.EventFilter{}, auth.EventPosition{}, 100)
	must(t, err)
	var told []string
	for _, e := range slices.Backward(events) {
		told = append(told, string(e.Action)+" "+e.Target)
	}
	want := []string{
		"key.add " + first, "key.add " + second,
		"key.revoke " + first, "key.activate " + second,
		"key.revoke " + second, "key.add " + third,
		"key.reset " + fourth, "key.add " + fourth,
	}
	for _, ring := range auth.RingsFor(auth.KeyForID) {
		want = append(want, "key.add "+k.inRing(ring, auth.KeyActive)[0].ID)
	}
	if !slices.Equal(told, want) {
		t.Errorf("the log tells\n%q, want\n%q", told, want)
	}
}

func TestAReplicaWithAnotherSecretDoesNotStartAndOverwritesNothing(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	boot(t, databaseURL, "--algorithm=ES256").stop()
	k := openKeyring(t, databaseURL)
	before := k.in(auth.KeyActive)
	other := launch(t, databaseURL, "--algorithm=ES256",
		"--secret-key="+strings.Repeat("another-secret-", 3))
	<-other.ended
	if other.err == nil ||
		!strings.Contains(other.err.Error(), "SECRET_KEY is not the one of this installation") ||
		strings.Contains(other.err.Error(), "\n") {
		t.Errorf("%v", other.err)
	}
	if after := k.in(auth.KeyActive); len(after) != 1 || after[0].ID != before[0].ID ||
		!slices.Equal(after[0].Sealed, before[0].Sealed) {
		t.Errorf("%+v", after)
	}
}

// SECRET_KEY is replaced in three steps: add a new one in front, encrypt the keys anew, and remove
// the old one.
func TestTheSecretIsReplacedUnderLoadAndNobodyIsRefused(t *testing.T) {
	t.Parallel()
	const newSecret = "the next secret key has 32 bytes or more"
	databaseURL := dbtest.New(t)
	both := []string{"--algorithm=ES256", "--secret-key=" + newSecret + "," + secretKey}
	boot(t, databaseURL, "--algorithm=ES256").stop()
	replicas := []*replica{boot(t, databaseURL, both...), boot(t, databaseURL, both...)}
	k, conn := openKeyring(t, databaseURL), connect(t, databaseURL)
	one, other := logins(t, conn, "alice")
	for _, l := range []*login{&one, &other} { // from the secret's token to one of the key
		a := replicas[0].do(replicas[0].refreshRequest(l.refresh))
		var granted struct {
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
		}
		must(t, json.Unmarshal([]byte(a.body), &granted))
		l.access, l.refresh = granted.Access, granted.Refresh
	}
	w := startTraffic(t, replicas, []login{one, other})
	w.turn(t)
	policy, err := k.admin.KeyPolicy(k.Context(),
		config.Secrets{SecretKey: newSecret + "," + secretKey}, token.ES256)
	must(t, err)
	if n, err := k.admin.Keys.Rewrap(t.Context(), authtest.Operator(), policy, nil); n.Keys != 4 ||
		err != nil {
		t.Errorf("%+v, %v", n, err)
	}
	w.turn(t)
	w.end()
	boot(t, databaseURL, "--algorithm=ES256", "--secret-key="+newSecret).stop()
}

// One client must not decide what a document says that caches keep for others.
func TestNoHostHeaderGetsIntoADocumentThatOthersRead(t *testing.T) {
	t.Parallel()
	r := boot(t, dbtest.New(t), "--algorithm=ES256", "--issuer=https://id.example.com/base")
	for _, path := range []string{"/.well-known/oauth-authorization-server",
		"/.well-known/jwks.json"} {
		plain := r.do(r.request("GET", path, ""))
		r.want(http.StatusOK, plain)
		spoofed := r.request("GET", path, "", "X-Forwarded-Host", "evil.example",
			"X-Forwarded-Proto", "http", "Forwarded", "host=evil.example")
		spoofed.Host = "evil.example"
		if a := r.do(spoofed); a.body != plain.body ||
			a.header.Get("ETag") != plain.header.Get("ETag") {
			t.Errorf("%s: %s", path, a.body)
		}
		if got := plain.header.Get("Cache-Control"); got != "public, max-age=300" {
			t.Errorf("%s: Cache-Control: %s", path, got)
		}
		if a := r.do(r.request("GET", path, "", "If-None-Match",
			plain.header.Get("ETag"))); a.status != http.StatusNotModified || a.body != "" {
			t.Errorf("%s: %+v", path, a)
		}
	}
	var metadata map[string]any
	must(t, json.Unmarshal(
		[]byte(r.do(r.request("GET", "/.well-known/oauth-authorization-server", "")).body),
		&metadata))
	for name, want := range map[string]string{
		"issuer":                 "https://id.example.com/base",
		"token_endpoint":         "https://id.example.com/base/token",
		"jwks_uri":               "https://id.example.com/base/.well-known/jwks.json",
		"revocation_endpoint":    "https://id.example.com/base/revoke",
		"introspection_endpoint": "https://id.example.com/base/introspect",
	} {
		if metadata[name] != want {
			t.Errorf("%s: %v", name, metadata[name])
		}
	}
}

// A key that nobody looks after is still replaced, step by step, and the audit log says that a
// replica did it. Each replica looks when it starts.
func TestReplicasReplaceAnOldKeyByThemselves(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	look := func() { boot(t, databaseURL, "--algorithm=ES256", "--key-rotation-days=1") }
	look()
	k := openKeyring(t, databaseURL)
	rings := append(auth.RingsFor(auth.KeyForID), auth.AccessRing())
	first := map[auth.KeyRing]string{}
	for _, ring := range rings {
		first[ring] = k.inRing(ring, auth.KeyActive)[0].ID
	}
	for _, step := range []struct {
		passes time.Duration
		state  auth.KeyState
	}{{24 * time.Hour, auth.KeyNext}, {331 * time.Second, auth.KeyRetiring},
		{time.Hour, auth.KeyRetired}} {
		k.pass(step.passes)
		look()
		for _, ring := range rings {
			asynctest.Await(t, fmt.Sprint("a key of ", ring, " to be ", step.state),
				func() bool { return len(k.inRing(ring, step.state)) == 1 })
		}
	}
	events, err := k.admin.Audit.Events(t.Context(), auth.EventFilter{}, auth.EventPosition{}, 100)
	must(t, err)
	for _, ring := range rings {
		if retired := k.inRing(ring, auth.KeyRetired)[0].ID; retired != first[ring] {
			t.Errorf("%s: %s is retired and not %s", ring, retired, first[ring])
		}
		second := k.inRing(ring, auth.KeyActive)[0].ID
		var told []string
		for _, e := range slices.Backward(events) {
			if e.Target == first[ring] || e.Target == second {
				told = append(told, string(e.Action)+" by "+string(e.By.Kind))
			}
		}
		if want := []string{"key.add by service", "key.add by service", "key.activate by service",
			"key.retire by service"}; !slices.Equal(told, want) {
			t.Errorf("%s: %q", ring, told)
		}
	}
}

// This tries each algorithm over HTTP. A token with any changed part is refused, and so is one with
// the name of another algorithm.
func TestNoChangedTokenGetsInByAnyAlgorithm(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []token.Algorithm{token.ES256, token.EdDSA, token.RS256} {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			databaseURL := dbtest.New(t)
			r := boot(t, databaseURL, "--algorithm="+string(algorithm))
			alice, _ := logins(t, connect(t, databaseURL), "alice")
			raw := tokenIn(t, r.do(r.refreshRequest(alice.refresh)))
			if got := headerOf(t, raw).Alg; got != string(algorithm) {
				t.Fatalf("signed by %s", got)
			}
			refused := func(what, changed string) {
				t.Helper()
				for _, request := range []*http.Request{r.verifyRequest("GET", "/verify", changed),
					r.meRequest(changed)} {
					if a := r.do(request); a.status != http.StatusUnauthorized ||
						!strings.Contains(a.header.Get("WWW-Authenticate"),
							`error="invalid_token"`) {
						t.Errorf("%s at %s: %d: %s", what, request.URL.Path, a.status, changed)
					}
				}
			}
			for n := range raw {
				other := byte('A')
				if raw[n] == 'A' {
					other = 'Q' // which differs in bits that count, at the end of a part too
				}
				if raw[n] != '.' {
					refused(fmt.Sprint("changed at ", n), raw[:n]+string(other)+raw[n+1:])
				}
			}
			parts := strings.Split(raw, ".")
			for _, alg := range []string{"none", "HS256", "ES256", "EdDSA", "RS256", "ES384",
				"PS256"} {
				if alg != string(algorithm) {
					header := fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"at+jwt"}`, alg,
						headerOf(t, raw).Kid)
					refused(alg,
						base64.RawURLEncoding.EncodeToString([]byte(header))+"."+parts[1]+"."+
							parts[2])
				}
			}
			refused("no signature", parts[0]+"."+parts[1]+".")
			r.want(http.StatusNoContent, r.do(r.verifyRequest("GET", "/verify", raw)))
		})
	}
}

// Whoever has a leaked SECRET_KEY can pass for any user until the last replica that uses it has
// been restarted.
func TestALeakedSecretIsOfNoUseFromTheResetOn(t *testing.T) {
	t.Parallel()
	const newSecret = "the next secret key has 32 bytes or more"
	for _, algorithm := range []token.Algorithm{token.ES256, token.HS256} {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			databaseURL, flag := dbtest.New(t), "--algorithm="+string(algorithm)
			leaked := boot(t, databaseURL, flag)
			k := openKeyring(t, databaseURL)
			_, _, err := k.admin.Accounts.Register(t.Context(), authtest.Operator(),
				auth.NewAccount{Username: "alice", Password: alicesPassword})
			must(t, err)
			granted := leaked.do(leaked.loginRequest("alice", alicesPassword))
			leaked.want(http.StatusOK, granted)
			var before struct {
				Access  string `json:"access_token"`
				Refresh string `json:"refresh_token"`
			}
			must(t, json.Unmarshal([]byte(granted.body), &before))

			for _, kept := range []config.Secrets{{SecretKey: secretKey},
				{SecretKey: newSecret + "," + secretKey}} {
				useless, err := k.admin.NewKeyPolicy(kept, algorithm)
				must(t, err)
				if err := k.admin.Keys.Reset(t.Context(), authtest.Operator(),
					useless); !errors.Is(err, auth.ErrNotReplaced) {
					t.Errorf("a reset that keeps the leaked secret: %v", err)
				}
			}
			fresh, err := k.admin.NewKeyPolicy(config.Secrets{SecretKey: newSecret}, algorithm)
			must(t, err)
			must(t, k.admin.Keys.Reset(t.Context(), authtest.Operator(), fresh))
			asynctest.Await(t, "the replica that has the leaked secret still", func() bool {
				return leaked.do(leaked.verifyRequest("GET", "/verify",
					before.Access)).status == http.StatusUnauthorized
			})
			leaked.want(http.StatusServiceUnavailable,
				leaked.do(leaked.loginRequest("alice", alicesPassword)))
			leaked.want(http.StatusServiceUnavailable,
				leaked.do(leaked.refreshRequest(before.Refresh)))

			again := launch(t, databaseURL, flag)
			<-again.ended
			if !errors.Is(again.err, auth.ErrOtherSecret) ||
				strings.Contains(again.err.Error(), secretKey) {
				t.Errorf("a replica starts with the leaked secret: %v", again.err)
			}
			r := boot(t, databaseURL, flag, "--secret-key="+newSecret)
			r.want(http.StatusUnauthorized, r.do(r.verifyRequest("GET", "/verify", before.Access)))
			r.want(http.StatusBadRequest, r.do(r.refreshRequest(before.Refresh)))
			r.want(http.StatusNoContent,
				r.do(r.verifyRequest("GET", "/verify", r.login("alice", alicesPassword))))
		})
	}
}
