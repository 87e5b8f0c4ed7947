package verify_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
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
	"gatehouse.example/verify"
)

// keyring is the operator's view of the signing keys.
type keyring struct {
	*testing.T
	admin *app.Admin
	owner *pgx.Conn
}

func openKeyring(t *testing.T, databaseURL string) keyring {
	t.Helper()
	admin, err := app.OpenAdmin(t.Context(), config.Database{DatabaseURL: databaseURL, DatabaseStatementTimeout: time.Minute},
		config.Passwords{BcryptCost: 10, PasswordMinLength: 8, InitialSecretHours: 72})
	must(t, err)
	t.Cleanup(func() { _ = admin.Close() })
	owner, err := pgx.Connect(t.Context(), dbtest.Owner(t, databaseURL))
	must(t, err)
	t.Cleanup(func() { _ = owner.Close(context.Background()) })
	return keyring{t, admin, owner}
}

func (k keyring) policy(algorithm token.Algorithm) *auth.KeyPolicy {
	k.Helper()
	policy, err := k.admin.KeyPolicy(k.Context(), config.Secrets{SecretKey: secretKey}, algorithm)
	must(k, err)
	return policy
}

func (k keyring) in(state auth.KeyState) auth.SigningKey {
	k.Helper()
	all, err := k.admin.Keys.List(k.Context())
	must(k, err)
	for _, key := range all {
		if key.State == state && key.Ring() == auth.AccessRing() {
			return key
		}
	}
	return auth.SigningKey{}
}

// pass lets time pass for the keys.
func (k keyring) pass(d time.Duration) {
	k.Helper()
	_, err := k.owner.Exec(k.Context(), fmt.Sprintf(`ALTER TABLE signing_keys DISABLE TRIGGER signing_keys_forward;
		UPDATE signing_keys SET created_at = created_at - d, activated_at = activated_at - d, retiring_at = retiring_at - d
		FROM (SELECT make_interval(secs => %g) AS d) passed WHERE ended_at IS NULL;
		ALTER TABLE signing_keys ENABLE TRIGGER signing_keys_forward`, d.Seconds()))
	must(k, err)
}

// rotate has a key of an algorithm sign in the place of the one before, when everybody may know it.
func (k keyring) rotate(algorithm token.Algorithm, known func(kid string)) (kid string) {
	k.Helper()
	must(k, k.admin.Keys.Add(k.Context(), authtest.Operator(), k.policy(algorithm), auth.AccessRing()))
	kid = k.in(auth.KeyNext).ID
	known(kid)
	k.pass(331 * time.Second)
	// A replica may have found it due before.
	if err := k.admin.Keys.Activate(k.Context(), authtest.Operator(), auth.AccessRing()); err != nil && !errors.Is(err, auth.ErrKeyNotFound) {
		k.Fatal(err)
	}
	return kid
}

// cdn is a cache between, which keeps answers for a second: that is max-age of the feed, and of the
// keys in a hurry.
type cdn struct {
	to     string
	client *http.Client
	mu     sync.Mutex
	kept   map[string]*stored
	hits   atomic.Int64
	known  atomic.Pointer[string] // the keys that a reader got last
}

type stored struct {
	header http.Header
	status int
	body   string
	until  time.Time
}

// ServeHTTP implements http.Handler.
func (p *cdn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.kept[r.URL.Path]
	if one != nil && time.Now().Before(one.until) {
		p.hits.Add(1)
	} else if one = p.fetch(r); one == nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	for name, values := range one.header {
		w.Header()[name] = values
	}
	if strings.Contains(one.header.Get("Cache-Control"), "public") {
		p.kept[r.URL.Path] = one
		w.Header().Set("Cache-Control", "public, max-age=1")
	}
	w.WriteHeader(one.status)
	_, _ = io.WriteString(w, one.body)
	if strings.HasSuffix(r.URL.Path, "jwks.json") {
		p.known.Store(&one.body)
	}
}

func (p *cdn) fetch(r *http.Request) *stored {
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, p.to+r.URL.Path, http.NoBody)
	if err != nil {
		return nil
	}
	response, err := p.client.Do(request)
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil
	}
	return &stored{response.Header, response.StatusCode, string(body), time.Now().Add(time.Second)}
}

// Verifiers have caches of their own behind one that is shared: nobody may be refused for a key
// that they do not know yet.
func TestKeysRotateAndNoVerifierRefusesAnybody(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	replicas := []*gatehouse{bootOn(t, databaseURL, "--algorithm=ES256"), bootOn(t, databaseURL, "--algorithm=ES256")}
	g := replicas[0]
	k := openKeyring(t, databaseURL)
	var caches []*cdn
	var shops []*verify.Verifier
	log := &asynctest.Buffer{}
	for _, replica := range replicas {
		proxy := &cdn{to: replica.url, client: g.client, kept: map[string]*stored{}}
		server := httptest.NewServer(proxy)
		t.Cleanup(server.Close)
		o := g.publicOptions(server.URL)
		o.Log = slog.New(slog.NewTextHandler(log, nil))
		caches, shops = append(caches, proxy), append(shops, g.follow(o))
	}
	g.register("alice")
	checks := 0
	show := func(raw string) {
		t.Helper()
		for n, shop := range shops {
			checks++
			if _, err := shop.Verify(raw); err != nil {
				t.Errorf("verifier %d: %v", n, err)
			}
		}
	}
	before := g.login("alice")
	show(before)
	for _, algorithm := range []token.Algorithm{token.EdDSA, token.ES256, token.EdDSA} {
		kid := k.rotate(algorithm, func(kid string) {
			asynctest.Await(t, "all to know the key", func() bool {
				show(replicas[checks%2].login("alice"))
				for _, c := range caches {
					if known := c.known.Load(); known == nil || !strings.Contains(*known, kid) {
						return false
					}
				}
				return true
			})
		})
		asynctest.Await(t, "all to sign with it", func() bool {
			signed := true
			for _, replica := range replicas {
				raw := replica.login("alice")
				show(raw)
				signed = signed && kidOf(t, raw) == kid
			}
			return signed
		})
		show(before) // by the key before, which is retiring
		before = g.login("alice")
	}
	g.disable("alice")
	for _, shop := range shops {
		asynctest.Await(t, "the ban", func() bool { _, err := shop.Verify(before); return errors.Is(err, verify.ErrInvalidToken) })
	}
	if caches[0].hits.Load() == 0 || checks < 15 {
		t.Errorf("%d hits, %d checks", caches[0].hits.Load(), checks)
	}
	if strings.Contains(log.String(), "cannot") {
		t.Errorf("a cache is an outage:\n%s", log)
	}
}

func kidOf(t *testing.T, raw string) string {
	t.Helper()
	encoded, _, _ := strings.Cut(raw, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(encoded)
	must(t, err)
	var header struct{ Kid string }
	must(t, json.Unmarshal(decoded, &header))
	return header.Kid
}

// A service with the secret is not to be replaced at the very moment when keys take over from it.
func TestAServiceWithTheSecretGoesOnWhenAKeySigns(t *testing.T) {
	t.Parallel()
	g := boot(t)
	shop := g.follow(g.options(g.url))
	g.register("alice")
	before := g.login("alice")
	var latest string
	show := func() {
		t.Helper()
		latest = g.login("alice")
		for _, raw := range []string{before, latest} {
			if _, err := shop.Verify(raw); err != nil {
				t.Errorf("by %q: %v", kidOf(t, raw), err)
			}
		}
	}
	show()
	kid := openKeyring(t, g.databaseURL).rotate(token.ES256, func(string) { show() })
	asynctest.Await(t, "the key to sign", func() bool { show(); return kidOf(t, latest) == kid })
	show()
	g.disable("alice")
	for _, raw := range []string{before, latest} {
		asynctest.Await(t, "the ban", func() bool { _, err := shop.Verify(raw); return errors.Is(err, verify.ErrInvalidToken) })
	}
}

// A key that has leaked is of no use where its tokens were accepted before.
func TestTokensOfARevokedKeyAreRefusedByVerifiers(t *testing.T) {
	t.Parallel()
	g := boot(t, "--algorithm=ES256")
	k := openKeyring(t, g.databaseURL)
	proxy := &cdn{to: g.url, client: g.client, kept: map[string]*stored{}} // which has the keys expire in a second
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	shop := g.follow(g.publicOptions(server.URL))
	g.register("alice")
	leaked := g.login("alice")
	_, err := shop.Verify(leaked)
	must(t, err)
	must(t, k.admin.Keys.Revoke(t.Context(), authtest.Operator(), k.policy(token.ES256), kidOf(t, leaked)))
	asynctest.Await(t, "the key to be refused", func() bool { _, err := shop.Verify(leaked); return errors.Is(err, verify.ErrInvalidToken) })
	asynctest.Await(t, "the next key to be known", func() bool { _, err := shop.Verify(g.login("alice")); return err == nil })
}

// The example for other languages is run as docs/integrating.md shows it.
func TestTheExampleInPythonWorks(t *testing.T) {
	t.Parallel()
	if out, err := exec.CommandContext(t.Context(), "python3", "-c", "import jwt, jwt.algorithms; assert jwt.algorithms.has_crypto").CombinedOutput(); err != nil {
		t.Skipf("python3 with PyJWT and cryptography (Debian: python3-jwt) is not here: %v: %s", err, out)
	}
	g := boot(t, "--algorithm=ES256")
	g.register("alice")
	g.register("bob")
	raw, lost := g.login("alice"), g.login("bob")
	check := func(raw string) string {
		command := exec.CommandContext(t.Context(), "python3", "../docs/check_token.py", g.url, raw)
		out, err := command.CombinedOutput()
		if err != nil && len(out) == 0 {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	if out := check(raw); out != "alice" {
		t.Errorf("a good token: %s", out)
	}
	if out := check(raw[:len(raw)-4] + "AAAA"); !strings.HasSuffix(out, "Signature verification failed") {
		t.Errorf("a forged token: %s", out)
	}
	g.disable("alice")
	asynctest.Await(t, "the ban", func() bool { return strings.HasSuffix(check(raw), "revoked") })

	// A restored database does not know bob's session. His token is revoked by its time alone.
	if out := check(lost); out != "bob" {
		t.Errorf("a good token: %s", out)
	}
	k := openKeyring(t, g.databaseURL)
	_, err := k.owner.Exec(t.Context(), "DELETE FROM sessions")
	must(t, err)
	_, err = k.admin.Sessions.Restored(t.Context(), authtest.Operator(), time.Now().Add(time.Second))
	must(t, err)
	asynctest.Await(t, "the restore", func() bool { return strings.HasSuffix(check(lost), "revoked") })
}
