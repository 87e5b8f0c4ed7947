package verify

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/revocation"
	"gatehouse.example/internal/token"
)

func newKey(t testing.TB, a token.Algorithm) token.Key {
	t.Helper()
	key, err := token.GenerateKey(a)
	must(t, err)
	return key
}

func issuerOf(t testing.TB, name string, signing token.Key, others ...token.Key) *token.Issuer {
	t.Helper()
	ring, err := token.NewRing(signing, others...)
	must(t, err)
	issuer, err := token.NewIssuer(token.Settings{Ring: ring, Issuer: name, Audience: audience, Lifetime: time.Hour})
	must(t, err)
	return issuer
}

// newKeyReplica is newReplica where tokens are signed by a key.
func newKeyReplica(t testing.TB, c *clock, issuer *token.Issuer) *replica {
	t.Helper()
	set := revocation.NewSet(c.Now(), lifetime)
	set.Confirm(c.Now())
	handler := served(t, rulesOf(t, c, set, issuer))
	return &replica{handler, set}
}

// split sends requests for keys and for the feed to one handler each, and counts them.
type split struct {
	mu         sync.Mutex
	keys, feed http.Handler
	asked      map[string]int
	withToken  bool // that of a service may be sent
}

// ServeHTTP implements http.Handler.
func (s *split) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked[r.URL.Path]++
	next := s.feed
	if r.URL.Path == jwksPath {
		next = s.keys
	}
	s.mu.Unlock()
	if r.Header.Get("Authorization") != "" && !s.withToken {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	next.ServeHTTP(w, r)
}

const (
	jwksPath = "/.well-known/jwks.json"
	feedPath = "/revocations.jwt"
)

func (s *split) set(keys, feed http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.feed = keys, feed
}

func (s *split) count(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[path]
}

// keyShop is a service without a secret, whose polls the test makes.
type keyShop struct {
	shop
	*split
	replica *replica
}

func newKeyShop(t testing.TB, c *clock, issuer *token.Issuer, change ...func(*Options)) *keyShop {
	t.Helper()
	r := newKeyReplica(t, c, issuer)
	s := &keyShop{shop{TB: t, clock: c, issuer: issuer, log: &bytes.Buffer{}}, &split{keys: r, feed: r, asked: map[string]int{}}, r}
	server := httptest.NewServer(s.split)
	t.Cleanup(server.Close)
	o := options(t, c, server.URL)
	o.Keys, o.Service, o.Poll = nil, "", time.Hour
	for _, change := range change {
		change(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	var err error
	s.Verifier, err = New(ctx, o)
	must(t, err)
	return s
}

// pollFeed makes one, at a replica that is up to date.
func (s *keyShop) pollFeed() {
	s.Helper()
	s.replica.set.Confirm(s.clock.Now())
	must(s, s.follower.poll(context.Background(), time.Minute))
}

func TestAFeedBarsWhatWasRevoked(t *testing.T) {
	t.Parallel()
	for _, a := range []token.Algorithm{token.ES256, token.EdDSA, token.RS256} {
		c := newClock()
		s := newKeyShop(t, c, issuerOf(t, issuerURL, newKey(t, a)))
		session, user := uuid.New(), uuid.New()
		one, other := s.token(session), s.token(uuid.New())
		ofUser, err := s.issuer.Issue(c.Now(), token.Subject{UserID: user, SessionID: uuid.New(), Username: "bob", Version: 4}, time.Hour)
		must(t, err)
		next, err := s.issuer.Issue(c.Now(), token.Subject{UserID: user, SessionID: uuid.New(), Username: "bob", Version: 5}, time.Hour)
		must(t, err)
		s.wantVerdict("before", one, nil)
		s.wantVerdict("before", ofUser, nil)
		s.replica.revoke(c.Now(), session)
		s.replica.set.Add(c.Now(), []revocation.Entry{{Subject: user, Version: 5}})
		s.pollFeed()
		s.wantVerdict("a session that was ended", one, ErrInvalidToken)
		s.wantVerdict("a user who was banned", ofUser, ErrInvalidToken)
		s.wantVerdict("a later token of that user", next, nil)
		s.wantVerdict("another", other, nil)
		s.replica.set.Add(c.Now(), []revocation.Entry{{Version: c.Now().Unix() + 1}})
		s.pollFeed()
		s.wantVerdict("one of before a restore", other, ErrInvalidToken)
		if got := s.count("/revocations"); got != 0 {
			t.Errorf("it asks for what needs a token, %d times", got)
		}
	}
}

// A service for which apps ask for tokens (RFC 8707) must refuse those for others, since each of
// the others could use them there.
func TestAServiceWithAnAudienceOfItsOwnTakesTokensForItselfAlone(t *testing.T) {
	t.Parallel()
	const files, mail = "https://files.example/", "https://mail.example/"
	c := newClock()
	s := newKeyShop(t, c, issuerOf(t, issuerURL, newKey(t, token.ES256)),
		func(o *Options) { o.Audience = files })
	session := uuid.New()
	of := func(resources string) string {
		raw, err := s.issuer.Issue(c.Now(), token.Subject{
			UserID: uuid.New(), SessionID: session, Username: "alice", Version: 1, Resources: resources,
		}, time.Hour)
		must(t, err)
		return raw
	}
	own, both := of(files), of(mail+" "+files)
	s.wantVerdict("its own", own, nil)
	s.wantVerdict("its own and another's", both, nil)
	s.wantVerdict("another's", of(mail), ErrInvalidToken)
	s.wantVerdict("of which its own is a part", of(files+"more"), ErrInvalidToken)
	s.wantVerdict("Gatehouse's", of(""), ErrInvalidToken)
	s.replica.revoke(c.Now(), session)
	s.pollFeed()
	s.wantVerdict("after the session has ended", own, ErrInvalidToken)
	s.wantVerdict("after the session has ended", both, ErrInvalidToken)
}

// Whoever stands between may do no more than hold the truth up, and that not for longer than the
// bound.
func TestNoFalseFeedIsTakenAndTheLastGoodOneStaysUntilItsBound(t *testing.T) {
	t.Parallel()
	c := newClock()
	key := newKey(t, token.ES256)
	issuer := issuerOf(t, issuerURL, key)
	s := newKeyShop(t, c, issuer)
	good, session := s.token(uuid.New()), uuid.New()
	banned := s.token(session)
	feed := func(i *token.Issuer, at time.Time) string {
		raw, err := revocation.SignFeed(i, revocation.Report{KeepSeconds: 2405, LifetimeSeconds: 1805}.Feed(at))
		must(t, err)
		return raw
	}
	old := feed(issuer, c.Now())
	c.advance(2 * time.Second)
	s.replica.revoke(c.Now(), session)
	s.pollFeed()
	began := c.Now()
	access := s.token(uuid.New())
	c.advance(2 * time.Second)
	current := feed(issuer, c.Now())
	for name, answer := range map[string]struct {
		status int
		body   string
	}{
		"replayed":             {200, old},
		"expired":              {200, feed(issuer, c.Now().Add(-time.Minute))},
		"of the future":        {200, feed(issuer, c.Now().Add(time.Minute))},
		"from another issuer":  {200, feed(issuerOf(t, "https://other.test", key), c.Now())},
		"by an unknown key":    {200, feed(issuerOf(t, issuerURL, newKey(t, token.ES256)), c.Now())},
		"forged":               {200, current[:strings.LastIndex(current, ".")] + old[strings.LastIndex(old, "."):]},
		"cut":                  {200, current[:len(current)/2]},
		"an access token":      {200, access},
		"a page":               {200, "<html>"},
		"nothing":              {200, ""},
		"not modified":         {304, ""},
		"no content":           {204, ""},
		"partial":              {206, current},
		"a redirect":           {302, current},
		"by HS256 there is no": {404, `{"status":404}`},
		"unavailable":          {503, current},
	} {
		s.set(s.replica, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(answer.status)
			_, _ = w.Write([]byte(answer.body))
		}))
		if err := s.follower.poll(t.Context(), time.Minute); err == nil {
			t.Errorf("%s: no error", name)
		}
		if age := s.follower.set.Load().Age(c.Now()); age < c.Now().Sub(began) {
			t.Errorf("%s: it confirms the set: %v", name, age)
		}
		s.wantVerdict(name, good, nil)
		s.wantVerdict(name+", banned", banned, ErrInvalidToken)
	}
	c.advance(11 * time.Second)
	s.wantVerdict("after the bound", good, ErrUnavailable)
	s.wantVerdict("banned after the bound", banned, ErrInvalidToken)
	s.set(s.replica, s.replica)
	if err := s.follower.poll(t.Context(), time.Minute); err == nil {
		t.Error("a replica that may be behind has signed a feed")
	}
	s.wantVerdict("by a stale replica", good, ErrUnavailable)
	s.pollFeed()
	s.wantVerdict("after Gatehouse is back", good, nil)
}

// A feed from a cache is as old as it says, not as young as its arrival.
func TestAFeedConfirmsAsOfItsOwnTime(t *testing.T) {
	t.Parallel()
	c := newClock()
	issuer := issuerOf(t, issuerURL, newKey(t, token.EdDSA))
	s := newKeyShop(t, c, issuer)
	for _, behind := range []time.Duration{4 * time.Second, -2 * time.Second} {
		c.advance(20 * time.Second)
		at := c.Now().Add(-behind).Truncate(time.Second)
		raw, err := revocation.SignFeed(issuer, revocation.Report{KeepSeconds: 2405, LifetimeSeconds: 1805}.Feed(at))
		must(t, err)
		s.set(s.replica, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(raw)) }))
		must(t, s.follower.poll(t.Context(), time.Minute))
		if age, want := s.follower.set.Load().Age(c.Now()), max(c.Now().Sub(at), 0); age != want {
			t.Errorf("%v behind: the age is %v, want %v", behind, age, want)
		}
	}
}

func TestAServiceThatIsToldSoLetsTokensInWhileItCannotKnow(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newKeyShop(t, c, issuerOf(t, issuerURL, newKey(t, token.ES256)), func(o *Options) { o.StaleOpen = true })
	good, session := s.token(uuid.New()), uuid.New()
	banned := s.token(session)
	s.replica.revoke(c.Now(), session)
	s.pollFeed()
	c.advance(10 * time.Minute)
	s.wantVerdict("after the bound", good, nil)
	s.wantVerdict("banned", banned, ErrInvalidToken)
}

// Keys that strangers make up must not become requests to Gatehouse, nor hold a service up.
func TestManyTokensOfUnknownKeysAreOneFetch(t *testing.T) {
	t.Parallel()
	c := newClock()
	one, two := newKey(t, token.ES256), newKey(t, token.ES256)
	s := newKeyShop(t, c, issuerOf(t, issuerURL, one))
	s.issuer = issuerOf(t, issuerURL, two)
	raw := s.token(uuid.New())
	before := s.count(jwksPath)
	arrived, release := make(chan struct{}), make(chan struct{})
	s.set(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived) // a second fetch would panic
		<-release
		_, _ = w.Write(issuerOf(t, issuerURL, one, two).Ring().JWKS())
	}), s.replica)
	var asking sync.WaitGroup
	for range 100 {
		asking.Go(func() { s.wantVerdict("a key that was fetched for it", raw, nil) })
	}
	<-arrived
	close(release)
	asking.Wait()
	if got := s.count(jwksPath) - before; got != 1 {
		t.Errorf("%d fetches", got)
	}
	s.issuer = issuerOf(t, issuerURL, newKey(t, token.EdDSA))
	forged := s.token(uuid.New())
	for range 100 {
		s.wantVerdict("a key that nobody has", forged, ErrInvalidToken)
	}
	if got := s.count(jwksPath) - before; got != 1 {
		t.Errorf("%d fetches for made up keys", got-1)
	}
	s.set(s.replica, s.replica)
	c.advance(unknownKeyEvery)
	s.pollFeed()
	s.wantVerdict("after a while", forged, ErrInvalidToken)
	if got := s.count(jwksPath) - before; got != 2 {
		t.Errorf("%d fetches after a while", got)
	}
}

// The key set has keys of ID tokens too. An ID token is shown to an app, which must not be able to
// pass for its user elsewhere. Nor may whoever has got hold of such a key.
func TestNoKeyOfIDTokensVerifiesAnAccessToken(t *testing.T) {
	t.Parallel()
	c := newClock()
	key, idKey := newKey(t, token.ES256), newKey(t, token.ES256)
	s := newKeyShop(t, c, issuerOf(t, issuerURL, key))
	ids, err := token.NewIDKeys(idKey)
	must(t, err)
	s.set(jwksAnswer(string(token.KeySet(s.issuer.Ring(), ids))), s.replica)
	s.issuer = issuerOf(t, issuerURL, idKey)
	before := s.count(jwksPath)
	s.wantVerdict("an access token by a key of ID tokens", s.token(uuid.New()), ErrInvalidToken)
	if got := s.count(jwksPath) - before; got != 1 {
		t.Errorf("it was refused without the key set, after %d fetches", got)
	}
	s.issuer = issuerOf(t, issuerURL, key)
	s.wantVerdict("an access token beside it", s.token(uuid.New()), nil)
	for name, signing := range map[string]token.Key{"a key of ID tokens": idKey, "a key of access tokens": key} {
		keys, err := token.NewIDKeys(signing)
		must(t, err)
		issuer, err := token.NewIDIssuer(issuerURL, time.Hour)
		must(t, err)
		issuer.SetKeys(keys)
		id, err := issuer.Issue(c.Now(), token.ES256, token.IDToken{Subject: uuid.New(), SessionID: uuid.New(), Audience: audience}, time.Hour)
		must(t, err)
		logout, err := issuer.IssueLogout(c.Now(), token.ES256, token.LogoutToken{Subject: uuid.New(), SessionID: uuid.New(), Audience: audience})
		must(t, err)
		s.wantVerdict("an ID token by "+name, id, ErrInvalidToken)
		s.wantVerdict("a logout token by "+name, logout, ErrInvalidToken)
	}
}

// What anybody can fetch must not sign: the oldest mistake with JSON Web Tokens.
func TestNoSecretAndNoPublicKeyStandsForAnotherAlgorithm(t *testing.T) {
	t.Parallel()
	c := newClock()
	key := newKey(t, token.ES256)
	s := newKeyShop(t, c, issuerOf(t, issuerURL, key))
	for _, secret := range []string{secretKey, string(key.PublicJWK()), string(s.issuer.Ring().JWKS())} {
		by, _ := tokensOf(t, secret)
		raw, err := by.Issue(c.Now(), token.Subject{UserID: uuid.New(), SessionID: uuid.New(), Username: "alice", Version: 1}, time.Hour)
		must(t, err)
		s.wantVerdict("HS256", raw, ErrInvalidToken)
	}
}

func TestKeysAreFetchedWhenTheyHaveExpiredAndKeptWhileTheyCannotBe(t *testing.T) {
	t.Parallel()
	c := newClock()
	one, two := newKey(t, token.ES256), newKey(t, token.EdDSA)
	issuer := issuerOf(t, issuerURL, one)
	s := newKeyShop(t, c, issuer)
	good := s.token(uuid.New())
	if due := s.Verifier.keys.due.Sub(c.Now()); due != auth.JWKSMaxAge {
		t.Errorf("they expire after %v", due)
	}
	set := s.Verifier.keys.tokens.Ring()
	must(t, s.Verifier.keys.refresh(t.Context()))
	if s.Verifier.keys.tokens.Ring() != set {
		t.Error("keys that have not changed are replaced")
	}
	gone := issuer.Ring()
	for name, answer := range map[string]http.Handler{
		"empty":       jwksAnswer(`{"keys":[]}`),
		"malformed":   jwksAnswer(`{"keys":[{"kty":"EC"}]}`),
		"a page":      jwksAnswer(`<html>`),
		"nothing":     jwksAnswer(``),
		"cut":         jwksAnswer(string(gone.JWKS()[:50])),
		"a secret":    jwksAnswer(`{"keys":[{"kty":"oct","k":"AAAA","alg":"HS256","use":"sig","kid":"x"}]}`),
		"endless":     jwksAnswer(string(gone.JWKS()) + strings.Repeat(" ", token.MaxJWKSLength)),
		"unavailable": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }),
		"a redirect":  http.RedirectHandler("/elsewhere", http.StatusFound),
	} {
		s.set(answer, s.replica)
		if err := s.Verifier.keys.refresh(t.Context()); err == nil {
			t.Errorf("%s: no error", name)
		}
		if due := s.Verifier.keys.due.Sub(c.Now()); due != keysRetry {
			t.Errorf("%s: the next try is after %v", name, due)
		}
		s.wantVerdict(name, good, nil)
	}
	c.advance(25 * time.Minute)
	s.pollFeed()
	s.wantVerdict("while they cannot be fetched", good, nil)
	c.advance(35*time.Minute + 1)
	s.pollFeed()
	late := s.token(uuid.New())
	s.wantVerdict("after the bound", late, ErrUnavailable)
	s.set(jwksAnswer(string(issuerOf(t, issuerURL, two, one).Ring().JWKS())), s.replica)
	must(t, s.Verifier.keys.refresh(t.Context()))
	s.wantVerdict("after they could be fetched", late, nil)
	s.issuer = issuerOf(t, issuerURL, two)
	s.wantVerdict("by the new one", s.token(uuid.New()), nil)
	s.set(jwksAnswer(string(s.issuer.Ring().JWKS())), s.replica)
	must(t, s.Verifier.keys.refresh(t.Context()))
	s.wantVerdict("by one that was withdrawn, which has been remembered", late, ErrInvalidToken)
}

// A service that trusts keys for a day because a cache may keep them so long accepts a revoked one
// for a day.
func TestKeysAreFetchedWithinHalfTheirBoundHoweverLongACacheMayKeepThem(t *testing.T) {
	t.Parallel()
	c := newClock()
	issuer := issuerOf(t, issuerURL, newKey(t, token.ES256))
	s := newKeyShop(t, c, issuer, func(o *Options) { o.KeyStaleness = 10 * time.Minute })
	for _, maxAge := range []string{"max-age=86400", "max-age=301", "max-age=300", "max-age=60"} {
		s.set(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", maxAge)
			_, _ = w.Write(issuer.Ring().JWKS())
		}), s.replica)
		must(t, s.Verifier.keys.refresh(t.Context()))
		want := 5 * time.Minute
		if maxAge == "max-age=60" {
			want = time.Minute
		}
		if due := s.Verifier.keys.due.Sub(c.Now()); due != want {
			t.Errorf("%s: the next fetch is due after %v, want %v", maxAge, due, want)
		}
	}
}

// A laptop that wakes up, or a machine that was migrated, has missed what was revoked meanwhile.
func TestWhatWasFetchedBeforeTheMachineSleptIsNotFresh(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newKeyShop(t, c, issuerOf(t, issuerURL, newKey(t, token.ES256)))
	raw := s.token(uuid.New())
	s.wantVerdict("before", raw, nil)
	sleep := func(d time.Duration) {
		woken := asynctest.Suspended(t, c.Now(), d).Add(time.Millisecond)
		c.now.Store(&woken)
	}
	sleep(11 * time.Second)
	s.wantVerdict("revocations of before", raw, ErrUnavailable)
	s.pollFeed()
	s.wantVerdict("after a poll", raw, nil)
	sleep(time.Hour)
	s.pollFeed()
	late := s.token(uuid.New())
	s.wantVerdict("keys of before", late, ErrUnavailable)
	must(t, s.Verifier.keys.refresh(t.Context()))
	s.wantVerdict("after a fetch", late, nil)
}

// With a secret, keys are no need until one signs, and no loss to it when they cannot be had.
func TestAServiceWithTheSecretFetchesKeysWhenThereIsOne(t *testing.T) {
	t.Parallel()
	c := newClock()
	server := &split{keys: http.NotFoundHandler(), feed: newReplica(t, c, lifetime), asked: map[string]int{}, withToken: true}
	s := newShop(t, c, server)
	bySecret := func() string { return s.token(uuid.New()) }
	issuer := issuerOf(t, issuerURL, newKey(t, token.ES256))
	byKey := func() string {
		raw, err := issuer.Issue(c.Now(), token.Subject{UserID: uuid.New(), SessionID: uuid.New(), Username: "alice", Version: 1}, time.Hour)
		must(t, err)
		return raw
	}
	confirm := func() { s.follower.set.Load().Confirm(c.Now()) }
	s.wantVerdict("by the secret", bySecret(), nil)
	if got := server.count(jwksPath); got != 0 {
		t.Errorf("%d fetches without need", got)
	}
	s.wantVerdict("by a key that cannot be had", byKey(), ErrUnavailable)
	s.wantVerdict("by the secret meanwhile", bySecret(), nil)
	c.advance(unknownKeyEvery)
	confirm()
	server.set(jwksAnswer(`{"keys":[]}`), server.feed)
	s.wantVerdict("by a key that there is not", byKey(), ErrInvalidToken)
	c.advance(unknownKeyEvery)
	confirm()
	server.set(jwksAnswer(string(issuer.Ring().JWKS())), server.feed)
	s.wantVerdict("by a key", byKey(), nil)
	s.wantVerdict("by the secret still", bySecret(), nil)
	for _, worse := range []http.Handler{jwksAnswer(`{"keys":[]}`), http.NotFoundHandler()} {
		server.set(worse, server.feed)
		if err := s.keys.refresh(t.Context()); err == nil {
			t.Error("the keys are lost")
		}
		s.wantVerdict("by a key that was fetched before", byKey(), nil)
	}
	c.advance(time.Hour + 1)
	confirm()
	if err := s.keys.refresh(t.Context()); err == nil {
		t.Error("no error")
	}
	s.wantVerdict("by a key after the bound", byKey(), ErrUnavailable)
	s.wantVerdict("by the secret after the bound", bySecret(), nil)
	server.set(jwksAnswer(string(issuer.Ring().JWKS())), server.feed)
	must(t, s.keys.refresh(t.Context()))
	s.wantVerdict("by a key again", byKey(), nil)
}

func jwksAnswer(set string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(set)) })
}

// A cache that has had the keys for four minutes leaves one of five.
func TestKeysOfACacheExpireWithIt(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{
		"":                       defaultMaxAge,
		"public, max-age=300":    300 * time.Second,
		"max-age=300|240":        60 * time.Second,
		"MAX-AGE=7":              7 * time.Second,
		"max-age=300|400":        time.Second,
		"max-age=0":              time.Second,
		"max-age=-5":             time.Second,
		"max-age=x":              defaultMaxAge,
		"max-age=99999999999999": defaultMaxAge,
		"s-maxage=5":             defaultMaxAge,
		"max-age=300|-7":         300 * time.Second,
	} {
		control, age, _ := strings.Cut(header, "|")
		if got := freshness(http.Header{"Cache-Control": {control}, "Age": {age}}); got != want {
			t.Errorf("%s: %v, want %v", header, got, want)
		}
	}
}

func TestAServiceWithoutKeysOrFeedDoesNotStart(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := newKeyReplica(t, c, issuerOf(t, issuerURL, newKey(t, token.ES256)))
	none := http.NotFoundHandler()
	for name, test := range map[string]struct{ keys, feed http.Handler }{
		"no keys":        {none, r},
		"no feed":        {r, none},
		"keys of HS256":  {newReplica(t, c, lifetime), r},
		"feed of HS256":  {r, newReplica(t, c, lifetime)},
		"another issuer": {r, newKeyReplica(t, c, issuerOf(t, "https://other.test", newKey(t, token.ES256)))},
	} {
		server := httptest.NewServer(&split{keys: test.keys, feed: test.feed, asked: map[string]int{}})
		o := options(t, c, server.URL)
		o.Keys = nil
		if _, err := New(t.Context(), o); err == nil {
			t.Errorf("%s: started", name)
		}
		server.Close()
	}
	server := httptest.NewServer(r)
	defer server.Close()
	for _, address := range []string{"http://u:canary@host:port", "localhost:8000", server.URL + "/elsewhere"} {
		o := options(t, c, server.URL)
		o.Keys, o.FeedURL = nil, address
		if _, err := New(t.Context(), o); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("a feed at %s: %v", address, err)
		}
	}
}

// A cache that nobody trusts serves the feed, and is never asked for keys.
func TestTheFeedMayComeFromElsewhereThanTheKeys(t *testing.T) {
	t.Parallel()
	c := newClock()
	issuer := issuerOf(t, issuerURL, newKey(t, token.ES256))
	elsewhere := &split{keys: http.NotFoundHandler(), feed: newKeyReplica(t, c, issuer), asked: map[string]int{}}
	server := httptest.NewServer(elsewhere)
	t.Cleanup(server.Close)
	s := newKeyShop(t, c, issuer, func(o *Options) { o.FeedURL = server.URL + feedPath })
	s.wantVerdict("a good token", s.token(uuid.New()), nil)
	if s.count(feedPath) != 0 || elsewhere.count(feedPath) != 1 || elsewhere.count(jwksPath) != 0 {
		t.Errorf("%v, %v", s.asked, elsewhere.asked)
	}
}

// A goroutine that goes on, or a request that waits for keys that nobody fetches any more, is a
// leak.
func TestKeysAreFollowedUntilTheContextEnds(t *testing.T) {
	t.Parallel()
	c := newClock()
	issuer := issuerOf(t, issuerURL, newKey(t, token.ES256))
	server := httptest.NewServer(newKeyReplica(t, c, issuer))
	t.Cleanup(server.Close)
	o := options(t, c, server.URL)
	o.Keys = nil
	ctx, cancel := context.WithCancel(t.Context())
	v, err := New(ctx, o)
	must(t, err)
	cancel()
	<-v.keys.ended
	raw, err := issuerOf(t, issuerURL, newKey(t, token.ES256)).Issue(c.Now(),
		token.Subject{UserID: uuid.New(), SessionID: uuid.New(), Username: "alice", Version: 1}, time.Hour)
	must(t, err)
	for range 2 {
		if _, err := v.Verify(raw); !errors.Is(err, ErrInvalidToken) {
			t.Errorf("%v", err)
		}
	}
}

// cache is a proxy that keeps each answer for its max-age.
type cache struct {
	next  http.Handler
	clock *clock
	mu    sync.Mutex
	kept  map[string]*kept
	hits  map[string]int
}

type kept struct {
	*httptest.ResponseRecorder
	at time.Time
}

// ServeHTTP implements http.Handler.
func (p *cache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	one := p.kept[r.URL.Path]
	if one == nil || now.Sub(one.at) >= maxAgeOf(one.Header()) {
		one = &kept{httptest.NewRecorder(), now}
		fresh := r.Clone(r.Context())
		fresh.Header.Del("If-None-Match")
		p.next.ServeHTTP(one, fresh)
		p.kept[r.URL.Path] = one
	} else {
		p.hits[r.URL.Path]++
	}
	maps.Copy(w.Header(), one.Header())
	w.Header().Set("Age", fmt.Sprint(int(now.Sub(one.at).Seconds())))
	w.WriteHeader(one.Code)
	_, _ = w.Write(one.Body.Bytes())
}

func maxAgeOf(h http.Header) (maxAge time.Duration) {
	var seconds int
	if _, err := fmt.Sscanf(h.Get("Cache-Control"), "public, max-age=%d", &seconds); err == nil {
		maxAge = time.Duration(seconds) * time.Second
	}
	return maxAge
}

// The times of a rotation are made for caches: whoever respects them must never meet a key that
// they cannot know.
func TestACacheBetweenMakesNobodyRefusedWhileKeysRotate(t *testing.T) {
	t.Parallel()
	c := newClock()
	active := newKey(t, token.ES256)
	issuer := issuerOf(t, issuerURL, active)
	s := newKeyShop(t, c, issuer)
	proxy := &cache{next: s.replica, clock: c, kept: map[string]*kept{}, hits: map[string]int{}}
	s.set(proxy, proxy)
	steps := 0
	step := func() {
		c.advance(900 * time.Millisecond)
		if steps++; steps%170 == 0 { // another reader: the cache has keys from before this one asks
			s.split.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", jwksPath, http.NoBody))
		}
		if !c.Now().Before(s.Verifier.keys.due) {
			must(t, s.Verifier.keys.refresh(t.Context()))
		}
		s.pollFeed()
		s.wantVerdict("a token of now", s.token(uuid.New()), nil)
	}
	for _, a := range []token.Algorithm{token.EdDSA, token.ES256, token.EdDSA} {
		next := newKey(t, a)
		ring, err := token.NewRing(active, next)
		must(t, err)
		issuer.SetRing(ring)
		for stop := c.Now().Add(auth.JWKSMaxAge + 30*time.Second); c.Now().Before(stop); {
			step()
		}
		if ring, err = token.NewRing(next, active); err != nil {
			t.Fatal(err)
		}
		issuer.SetRing(ring)
		for stop := c.Now().Add(time.Minute); c.Now().Before(stop); {
			step()
		}
		active = next
	}
	if proxy.hits[feedPath] == 0 || proxy.hits[jwksPath] == 0 || s.count(jwksPath) > 30 {
		t.Errorf("%v hits of the cache, %d fetches of keys", proxy.hits, s.count(jwksPath))
	}
}

// A ban is to be in the feed at once, and thousands of readers are not to be thousands of
// signatures.
func TestAFeedIsSignedOnceForAllWhoAskAtATime(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := newKeyReplica(t, c, issuerOf(t, issuerURL, newKey(t, token.ES256)))
	get := func() string {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest("GET", feedPath, http.NoBody))
		if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "public, max-age=1" || w.Header().Get("Content-Type") != "application/jwt" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		return w.Body.String()
	}
	first := get()
	if get() != first { // a signature of ES256 is another each time
		t.Error("it is signed for each")
	}
	r.revoke(c.Now(), uuid.New())
	second := get()
	if second == first {
		t.Error("a ban waits for the next second")
	}
	c.advance(time.Second)
	r.set.Confirm(c.Now())
	if get() == second {
		t.Error("it is signed once for ever")
	}
}

// A feed of a clock a second behind, each other time, is no outage: its lines would fill a disk.
func TestAReplicaWhoseClockIsBehindIsNoOutage(t *testing.T) {
	t.Parallel()
	c := newClock()
	issuer := issuerOf(t, issuerURL, newKey(t, token.ES256))
	s := newKeyShop(t, c, issuer)
	c.advance(2 * time.Second)
	s.pollFeed()
	raw, err := revocation.SignFeed(issuer, revocation.Report{KeepSeconds: 2405, LifetimeSeconds: 1805}.Feed(c.Now().Add(-2*time.Second)))
	must(t, err)
	s.set(s.replica, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(raw)) }))
	err = s.follower.poll(t.Context(), time.Minute)
	if !errors.Is(err, errOlder) || !s.follower.isHarmless(err) {
		t.Errorf("%v", err)
	}
	c.advance(6 * time.Second)
	if s.follower.isHarmless(errOlder) {
		t.Error("an old feed, again and again, is no outage")
	}
}

func TestTheFeedNamesNobody(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newKeyShop(t, c, issuerOf(t, issuerURL, newKey(t, token.ES256)))
	s.replica.revoke(c.Now(), uuid.New())
	w := httptest.NewRecorder()
	s.replica.ServeHTTP(w, httptest.NewRequest("GET", feedPath, http.NoBody))
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(w.Body.String(), ".")[1])
	must(t, err)
	var claims map[string]any
	must(t, json.Unmarshal(payload, &claims))
	for _, name := range []string{"iss", "iat", "exp", "keep_seconds", "lifetime_seconds", "users", "sessions"} {
		if _, ok := claims[name]; !ok {
			t.Errorf("no %s", name)
		}
		delete(claims, name)
	}
	if len(claims) > 0 {
		t.Errorf("it says more than it should: %v", claims)
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, a := range []token.Algorithm{token.ES256, token.EdDSA, token.RS256} {
		c := newClock()
		s := newKeyShop(b, c, issuerOf(b, issuerURL, newKey(b, a)))
		s.replica.revoke(c.Now(), ids(10_000)...)
		s.pollFeed()
		b.Run(string(a)+"/known", func(b *testing.B) {
			raw := s.token(uuid.New())
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := s.Verify(raw); err != nil {
						b.Error(err)
					}
				}
			})
		})
		b.Run(string(a)+"/new", func(b *testing.B) {
			raws := make([]string, 25_000) // more than are remembered
			for n := range raws {
				raws[n] = s.token(uuid.New())
			}
			n := 0
			for b.Loop() {
				if _, err := s.Verify(raws[n%len(raws)]); err != nil {
					b.Error(err)
				}
				n++
			}
		})
	}
}
