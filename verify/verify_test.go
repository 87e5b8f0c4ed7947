package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/httpapi"
	"gatehouse.example/internal/revocation"
	"gatehouse.example/internal/token"
)

const (
	secretKey = "a secret key of the tests with 32 bytes or more"
	issuerURL = "http://localhost:8000"
	audience  = "gatehouse"
	lifetime  = 30 * time.Minute
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clock is set by hand.
type clock struct{ now atomic.Pointer[time.Time] }

func newClock() *clock {
	c, now := &clock{}, time.Now()
	c.now.Store(&now)
	return c
}

func (c *clock) Now() time.Time { return *c.now.Load() }

func (c *clock) advance(by time.Duration) {
	now := c.Now().Add(by)
	c.now.Store(&now)
}

// replica is the HTTP interface of Gatehouse on a set that the test fills, where a database would.
type replica struct {
	http.Handler
	set *revocation.Set
}

func newReplica(t testing.TB, c *clock, lifetime time.Duration, keys ...string) *replica {
	t.Helper()
	set := revocation.NewSet(c.Now(), lifetime)
	set.Confirm(c.Now())
	issuer, _ := tokensOf(t, keys...)
	handler := served(t, rulesOf(t, c, set, issuer, keys...))
	return &replica{handler, set}
}

// served is the public port of a replica.
func served(t testing.TB, rules httpapi.Rules) http.Handler {
	t.Helper()
	metrics := prometheus.NewRegistry()
	outermost, err := edge.New(edge.Options{
		Log: slog.New(slog.DiscardHandler), Metrics: metrics, RequestTimeout: time.Minute,
	})
	must(t, err)
	api, err := httpapi.New(httpapi.Options{
		Edge: outermost, Rules: rules, Metrics: metrics,
		LoginFor: func(*gin.Context, token.StepUp) string { return "" },
	})
	must(t, err)
	return outermost.Serve(api.Fallbacks(), api.Routes()...)
}

// rulesOf are those of a replica that has no database.
func rulesOf(t testing.TB, c *clock, set *revocation.Set, issuer *token.Issuer, keys ...string) httpapi.Rules {
	t.Helper()
	r := authtest.New(t, nil, authtest.Options{Secrets: bytesOf(keys), Issuer: issuer, Revoked: set, Staleness: 2 * time.Second, Clock: c.Now})
	return httpapi.Rules{
		Registration: r.Registration, Accounts: r.Accounts, Logins: r.Logins, Tokens: r.Tokens, Sessions: r.Sessions, Access: r.Access,
		Limits: r.Limits, Roles: r.Roles, Clients: r.Clients, Signer: r.Signer, IDTokens: r.IDTokens, Feed: r.Feed, Audit: r.Audit,
	}
}

func tokensOf(t testing.TB, keys ...string) (*token.Issuer, *token.ServiceKeys) {
	t.Helper()
	ring, err := token.SecretRing(bytesOf(keys))
	must(t, err)
	issuer, err := token.NewIssuer(token.Settings{Ring: ring, Issuer: issuerURL, Audience: audience, Lifetime: time.Hour})
	must(t, err)
	services, err := token.NewServiceKeys(bytesOf(keys), issuerURL)
	must(t, err)
	return issuer, services
}

func bytesOf(keys []string) [][]byte {
	if keys == nil {
		keys = []string{secretKey}
	}
	all := make([][]byte, len(keys))
	for n, key := range keys {
		all[n] = []byte(key)
	}
	return all
}

// revoke ends a number of sessions.
func (r *replica) revoke(now time.Time, sessions ...uuid.UUID) {
	for _, id := range sessions {
		r.set.Add(now, []revocation.Entry{{Subject: id, Version: revocation.NoVersion}})
	}
	r.set.Confirm(now)
}

func ids(n int) []uuid.UUID {
	all := make([]uuid.UUID, n)
	for n := range all {
		all[n] = uuid.New()
	}
	return all
}

// balancer sends requests to the next of several handlers each time, and keeps what they answered.
type balancer struct {
	mu      sync.Mutex
	turn    int
	behind  []http.Handler
	answers []*httptest.ResponseRecorder
	queries []*http.Request
}

// ServeHTTP implements http.Handler.
func (b *balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	answer := httptest.NewRecorder()
	b.behind[b.turn%len(b.behind)].ServeHTTP(answer, r)
	b.turn++
	b.answers, b.queries = append(b.answers, answer), append(b.queries, r)
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// put replaces what stands behind the balancer.
func (b *balancer) put(handlers ...http.Handler) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.behind, b.turn = handlers, 0
}

// last is the latest answer: its status, and how many revocations were in it.
func (b *balancer) last(t testing.TB) (status, revocations int) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	answer := b.answers[len(b.answers)-1]
	var report revocation.Report
	if answer.Code == http.StatusOK {
		must(t, json.Unmarshal(answer.Body.Bytes(), &report))
	}
	return answer.Code, len(report.Revocations)
}

// shop is another service, whose polls the test makes.
type shop struct {
	testing.TB
	*Verifier
	*balancer
	clock  *clock
	issuer *token.Issuer
	log    *bytes.Buffer
}

func options(t testing.TB, c *clock, url string) Options {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	return Options{
		URL: url, Issuer: issuerURL, Audience: audience, Keys: bytesOf(nil), Service: "shop", HTTPClient: client, Clock: c.Now,
	}
}

// newShop follows the handlers, from one to the next. Polls are as rare as no test waits.
func newShop(t testing.TB, c *clock, behind ...http.Handler) *shop {
	t.Helper()
	s := &shop{TB: t, balancer: &balancer{behind: behind}, clock: c, log: &bytes.Buffer{}}
	server := httptest.NewServer(s.balancer)
	t.Cleanup(server.Close)
	o := options(t, c, server.URL)
	o.Poll = time.Hour
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	var err error
	s.Verifier, err = New(ctx, o)
	must(t, err)
	s.issuer, _ = tokensOf(t)
	return s
}

// poll makes one, which must succeed.
func (s *shop) poll() (status, revocations int) {
	s.Helper()
	must(s, s.follower.poll(context.Background(), time.Minute))
	return s.last(s)
}

func (s *shop) token(session uuid.UUID) string {
	s.Helper()
	raw, err := s.issuer.Issue(s.clock.Now(), token.Subject{UserID: uuid.New(), SessionID: session, Username: "alice", Version: 1}, time.Hour)
	must(s, err)
	return raw
}

func (s *shop) wantVerdict(what, raw string, want error) {
	s.Helper()
	if _, err := s.Verify(raw); !errors.Is(err, want) {
		s.Errorf("%s: %v, want %v", what, err, want)
	}
}

// ask sends a request through the middleware, whose handler answers with the username.
func (s *shop) ask(authorization ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/", http.NoBody)
	r.Header["Authorization"] = authorization
	w := httptest.NewRecorder()
	s.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, ok := FromContext(r.Context())
		fmt.Fprint(w, claims.Username, ok)
	})).ServeHTTP(w, r)
	return w
}

func TestTheClaimsAreThoseOfTheToken(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newShop(t, c, newReplica(t, c, lifetime))
	session := uuid.New()
	claims, err := s.Verify(s.token(session))
	must(t, err)
	if claims.SessionID != session || claims.Username != "alice" || claims.UserID == uuid.Nil || claims.Expires.Sub(claims.IssuedAt) != time.Hour {
		t.Errorf("%+v", claims)
	}
	if w := s.ask("Bearer " + s.token(session)); w.Code != http.StatusOK || w.Body.String() != "alicetrue" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if _, ok := FromContext(context.Background()); ok {
		t.Error("claims out of nowhere")
	}
}

// Clients of a service should not be able to tell which of the two refused them.
func TestRefusalsAreThoseOfGatehouse(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := newReplica(t, c, lifetime)
	s := newShop(t, c, r)
	session := uuid.New()
	good, revoked := s.token(uuid.New()), s.token(session)
	expired, err := s.issuer.Issue(c.Now().Add(-time.Hour), token.Subject{UserID: session, SessionID: session, Username: "alice", Version: 1}, time.Minute)
	must(t, err)
	_, services := tokensOf(t)
	ofService, err := services.Issue(c.Now(), "shop")
	must(t, err)
	other, _ := tokensOf(t, "another secret key of the tests, as long as the other")
	forged, err := other.Issue(c.Now(), token.Subject{UserID: session, SessionID: uuid.New(), Username: "alice", Version: 1}, time.Hour)
	must(t, err)
	r.revoke(c.Now(), session)
	s.poll()
	for name, authorization := range map[string][]string{
		"none": nil, "empty": {""}, "basic": {"Basic eA=="}, "scheme alone": {"Bearer "}, "two": {"Bearer " + good, "Bearer " + good},
		"malformed": {"Bearer x"}, "revoked": {"Bearer " + revoked}, "expired": {"Bearer " + expired}, "forged": {"Bearer " + forged},
		"of a service": {"bearer " + ofService}, "huge": {"Bearer " + strings.Repeat("x", 1<<20)},
	} {
		request := httptest.NewRequest("GET", "/verify", http.NoBody)
		request.Header["Authorization"] = authorization
		want := httptest.NewRecorder()
		r.ServeHTTP(want, request)
		got := s.ask(authorization...)
		if got.Code != http.StatusUnauthorized || got.Code != want.Code || got.Body.String() != want.Body.String() {
			t.Errorf("%s: %d %s, Gatehouse says %d %s", name, got.Code, got.Body, want.Code, want.Body)
		}
		for _, header := range []string{"WWW-Authenticate", "Content-Type", "Cache-Control"} {
			if got, want := got.Header().Get(header), want.Header().Get(header); got != want {
				t.Errorf("%s: %s is %q, Gatehouse says %q", name, header, got, want)
			}
		}
	}
	if w := s.ask("Bearer " + good); w.Code != http.StatusOK {
		t.Errorf("a good token: %d %s", w.Code, w.Body)
	}
	r.set.Add(c.Now(), []revocation.Entry{{Version: c.Now().Unix() + 1}})
	s.poll()
	if w := s.ask("Bearer " + good); w.Code != http.StatusUnauthorized {
		t.Errorf("a token of before a restore: %d %s", w.Code, w.Body)
	}
}

func TestNobodyIsLetInWhileGatehouseIsSilentForTooLong(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := newReplica(t, c, lifetime)
	s := newShop(t, c, r)
	good, session := s.token(uuid.New()), uuid.New()
	banned := s.token(session)
	r.revoke(c.Now(), session)
	s.poll()
	down := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	s.put(down)
	c.advance(5 * time.Second)
	if err := s.follower.poll(t.Context(), time.Minute); err == nil {
		t.Error("a 502 passes for an answer")
	}
	s.wantVerdict("at the bound", good, nil)
	c.advance(1)
	s.wantVerdict("after the bound", good, ErrUnavailable)
	s.wantVerdict("a banned user after the bound", banned, ErrInvalidToken)
	w := s.ask("Bearer " + good)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || w.Header().Get("WWW-Authenticate") != "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	// A replica that is cut off from its own database is no help.
	s.put(r)
	if err := s.follower.poll(t.Context(), time.Minute); err == nil {
		t.Error("a stale replica has answered")
	}
	s.wantVerdict("by a stale replica", good, ErrUnavailable)
	r.set.Confirm(c.Now())
	if status, _ := s.poll(); status != http.StatusNotModified {
		t.Errorf("status %d", status)
	}
	if w := s.ask("Bearer " + good); w.Code != http.StatusOK {
		t.Errorf("after Gatehouse is back: %d %s", w.Code, w.Body)
	}
}

// Each poll may come to another replica. If that meant a whole set each time, no balanced service
// could be polled twice a second; if a cursor of one were taken for another's, a ban would be
// missed.
func TestPollsOfManyReplicasMissNothingAndRepeatNothing(t *testing.T) {
	t.Parallel()
	c := newClock()
	a, b := newReplica(t, c, lifetime), newReplica(t, c, lifetime)
	first := ids(1000)
	a.revoke(c.Now(), first...)
	b.revoke(c.Now(), first...)
	s := newShop(t, c, a, b)
	for n, want := range []int{1000, 0, 0, 0} { // New has asked a already
		if _, got := s.poll(); got != want {
			t.Errorf("poll %d brought %d, want %d", n, got, want)
		}
	}
	const rounds = 30
	set := s.follower.set.Load()
	told := 0
	for round := range rounds {
		session := uuid.New()
		raw := s.token(session)
		s.wantVerdict("before the ban", raw, nil)
		early, late := a, b
		if round%4 > 1 {
			early, late = b, a
		}
		early.revoke(c.Now(), session) // one replica hears of it before the other
		for range 2 {
			status, got := s.poll()
			if told += got; got == 0 && status != http.StatusNotModified {
				t.Errorf("round %d: status %d with nothing new", round, status)
			}
		}
		s.wantVerdict("after the ban", raw, ErrInvalidToken)
		late.revoke(c.Now(), session)
		if round%3 == 0 {
			_, got := s.poll()
			told += got
		}
		c.advance(time.Second)
		a.set.Confirm(c.Now())
		b.set.Confirm(c.Now())
	}
	if told > 2*rounds {
		t.Errorf("%d revocations were told %d times by two replicas", rounds, told)
	}
	if s.follower.set.Load() != set {
		t.Error("the set was made anew, and so keeps everything for longer")
	}
	for _, session := range first {
		s.wantVerdict("one of the first", s.token(session), ErrInvalidToken)
	}
}

func TestAReplicaThatHasRestartedTellsEverythingAgain(t *testing.T) {
	t.Parallel()
	c := newClock()
	before, after := newReplica(t, c, lifetime), newReplica(t, c, lifetime)
	old, missed := ids(10), ids(2)
	before.revoke(c.Now(), old...)
	s := newShop(t, c, before)
	after.revoke(c.Now(), append(old, missed...)...)
	s.put(after)
	if status, got := s.poll(); status != http.StatusOK || got != 12 {
		t.Errorf("status %d with %d revocations", status, got)
	}
	for _, session := range append(old, missed...) {
		s.wantVerdict("a ban", s.token(session), ErrInvalidToken)
	}
	if status, _ := s.poll(); status != http.StatusNotModified {
		t.Errorf("status %d", status)
	}
}

func TestARevocationIsKeptUntilItsTokensHaveExpired(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := newReplica(t, c, lifetime)
	session := uuid.New()
	s := newShop(t, c, r)
	raw, other := s.token(session), s.token(uuid.New())
	c.advance(time.Second)
	r.revoke(c.Now(), session)
	s.poll()
	for _, after := range []time.Duration{lifetime - time.Second, time.Second, 5 * time.Second, time.Second, 20 * time.Minute} {
		c.advance(after)
		r.set.Prune(c.Now())
		r.set.Confirm(c.Now())
		s.poll()
		s.follower.prune(c.Now())
		s.wantVerdict("a revoked token", raw, ErrInvalidToken)
	}
	if n := s.follower.set.Load().Len(); n != 0 {
		t.Errorf("%d are still kept", n)
	}
	// It lives longer than Gatehouse's setting says now, and by that its revocation would be
	// forgotten.
	s.wantVerdict("a token that is older than what is remembered", other, ErrInvalidToken)
}

// Who has a leaked SECRET_KEY makes tokens of anybody, for as long as a service accepts HS256.
func TestASecretThatGatehouseHasRevokedVouchesForNobody(t *testing.T) {
	t.Parallel()
	c := newClock()
	set := revocation.NewSet(c.Now(), lifetime)
	set.Confirm(c.Now())
	key := newKey(t, token.ES256)
	secret, err := token.SecretKey(bytesOf(nil))
	must(t, err)
	gatehouse := issuerOf(t, issuerURL, key, secret)
	handler := served(t, rulesOf(t, c, set, gatehouse))
	s := newShop(t, c, handler)
	forged := s.token(uuid.New())
	s.issuer = issuerOf(t, issuerURL, key)
	byKey := s.token(uuid.New())
	s.wantVerdict("by the secret, while it is good", forged, nil)
	s.wantVerdict("by the key", byKey, nil)
	withSecret := gatehouse.Ring()
	ring, err := token.NewRing(key)
	must(t, err)
	gatehouse.SetRing(ring)
	if status, _ := s.poll(); status != http.StatusNotModified {
		t.Errorf("the poll is answered with %d", status) // the rule must not wait for a revocation
	}
	s.wantVerdict("by the secret, after it was revoked", forged, ErrInvalidToken)
	s.wantVerdict("by the key meanwhile", byKey, nil)
	must(t, s.keys.refresh(t.Context()))
	s.wantVerdict("by the secret, after the keys were fetched again", forged, ErrInvalidToken)
	must(t, s.keys.forget())
	s.wantVerdict("by the secret, after the keys were forgotten", forged, ErrInvalidToken)
	must(t, s.keys.refresh(t.Context()))
	s.wantVerdict("by the key after all", byKey, nil)
	gatehouse.SetRing(withSecret)
	s.poll()
	s.wantVerdict("by the secret, at a replica that has not heard of it", forged, ErrInvalidToken)
	c.advance(secretReturns)
	set.Confirm(c.Now())
	s.poll()
	s.wantVerdict("by the secret of a Gatehouse that goes back to it", forged, nil)
	// A replica of a release that does not say by what it verifies is no reason to refuse anybody.
	s.put(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, r)
		w.Header().Set("ETag", answer.Header().Get("ETag"))
		w.WriteHeader(answer.Code)
	}))
	s.poll()
	s.wantVerdict("by the secret, told nothing", forged, nil)
}

// After an outage a replica may have more to tell than comes through in the time that a poll
// usually gets.
func TestALongReportGetsThroughAtLast(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := newReplica(t, c, lifetime)
	s := newShop(t, c, r)
	session := uuid.New()
	raw := s.token(session)
	r.revoke(c.Now(), session)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		time.Sleep(50 * time.Millisecond) // the way is slow
		r.ServeHTTP(w, request)
	}))
	t.Cleanup(server.Close)
	o := options(t, c, server.URL)
	o.Poll, o.MaxStaleness, o.Log = time.Millisecond, 10*time.Millisecond, slog.New(slog.DiscardHandler)
	client, base, err := reach(o)
	must(t, err)
	slow, err := newFollower(o, client, base, s.keys)
	must(t, err)
	slow.set.Store(s.follower.set.Load())
	s.follower = slow
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		slow.follow(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	awaitVerdict(t, s.Verifier, raw, ErrInvalidToken)
}

func awaitVerdict(t *testing.T, v *Verifier, raw string, want error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		_, err := v.Verify(raw)
		if errors.Is(err, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v, want %v", err, want)
		}
	}
}

func TestAServiceThatRunsForLongForgetsWhatHasExpired(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := newReplica(t, c, lifetime)
	r.revoke(c.Now(), ids(10)...)
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	o := options(t, c, server.URL)
	o.Poll = time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	v, err := New(ctx, o)
	must(t, err)
	if n := v.follower.set.Load().Len(); n != 10 {
		t.Errorf("%d are known", n)
	}
	c.advance(time.Hour)
	for deadline := time.Now().Add(time.Minute); v.follower.set.Load().Len() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("they are never forgotten")
		}
	}
}

// ACCESS_TOKEN_EXPIRE_MINUTES is raised, replica by replica.
func TestALongerLifetimeOfTokensIsTakenOver(t *testing.T) {
	t.Parallel()
	c := newClock()
	short, long := newReplica(t, c, time.Minute), newReplica(t, c, lifetime)
	session := uuid.New()
	s := newShop(t, c, short)
	raw, banned := s.token(uuid.New()), s.token(session)
	short.revoke(c.Now(), session)
	s.poll()
	s.put(long, short)
	s.poll() // of the one that does not know of the ban yet
	s.wantVerdict("a banned user", banned, ErrInvalidToken)
	long.revoke(c.Now(), session)
	for n := range 6 {
		status, got := s.poll()
		s.wantVerdict("a banned user", banned, ErrInvalidToken)
		if n > 1 && status != http.StatusNotModified {
			t.Errorf("poll %d: %d with %d", n, status, got)
		}
	}
	c.advance(lifetime)
	short.set.Prune(c.Now())
	short.set.Confirm(c.Now())
	long.set.Confirm(c.Now())
	s.poll()
	s.follower.prune(c.Now())
	s.wantVerdict("a token that lives", raw, nil)
	s.wantVerdict("a banned user", banned, ErrInvalidToken)
}

func TestKeysOfARotationAreAccepted(t *testing.T) {
	t.Parallel()
	const next = "the next secret key of the tests, as long as the others"
	c := newClock()
	server := httptest.NewServer(newReplica(t, c, lifetime, next, secretKey)) // this service still signs with the old one
	t.Cleanup(server.Close)
	o := options(t, c, server.URL)
	o.Keys = bytesOf([]string{secretKey, next})
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	v, err := New(ctx, o)
	must(t, err)
	for _, key := range []string{secretKey, next} {
		issuer, _ := tokensOf(t, key)
		raw, err := issuer.Issue(c.Now(), token.Subject{UserID: uuid.New(), SessionID: uuid.New(), Username: "alice", Version: 1}, time.Hour)
		must(t, err)
		if _, err := v.Verify(raw); err != nil {
			t.Error(err)
		}
	}
}

func TestAServiceThatCannotFollowDoesNotStart(t *testing.T) {
	t.Parallel()
	c := newClock()
	server := httptest.NewServer(newReplica(t, c, lifetime))
	t.Cleanup(server.Close)
	ended, end := context.WithCancel(t.Context())
	end()
	for name, test := range map[string]struct {
		ctx    context.Context
		change func(*Options)
	}{
		"no key":         {change: func(o *Options) { o.Keys = nil }},
		"a short key":    {change: func(o *Options) { o.Keys = [][]byte{[]byte("short")} }},
		"another key":    {change: func(o *Options) { o.Keys = bytesOf([]string{strings.Repeat("another", 9)}) }},
		"no issuer":      {change: func(o *Options) { o.Issuer = "" }},
		"another issuer": {change: func(o *Options) { o.Issuer = "https://other.test" }},
		"no audience":    {change: func(o *Options) { o.Audience = "" }},
		"no name":        {change: func(o *Options) { o.Service = "" }},
		"no URL":         {change: func(o *Options) { o.URL = "" }},
		"half a URL":     {change: func(o *Options) { o.URL = "localhost:8000" }},
		"a broken URL":   {change: func(o *Options) { o.URL = "http://u:canary@host:port" }},
		"nobody there":   {change: func(o *Options) { o.URL = "http://127.0.0.1:1" }},
		"another path":   {change: func(o *Options) { o.URL += "/elsewhere" }},
		"an ended ctx":   {ctx: ended, change: func(*Options) {}},
	} {
		o := options(t, c, server.URL)
		test.change(&o)
		if test.ctx == nil {
			test.ctx = t.Context()
		}
		_, err := New(test.ctx, o)
		if err == nil {
			t.Errorf("%s: started", name)
		} else if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), secretKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is not a whole answer of a replica must not pass for one that has nothing to tell.
func TestNoOddAnswerConfirmsAnything(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newShop(t, c, newReplica(t, c, lifetime))
	raw := s.token(uuid.New())
	const cursor, good = `W/"SETSETSETSETSETSETSETSETSE.1"`, `{"keep_seconds":2405,"lifetime_seconds":1805,"revocations":[]}`
	c.advance(6 * time.Second)
	for name, test := range map[string]struct {
		status     int
		etag, body string
		length     string
	}{
		"nothing":      {200, cursor, "", ""},
		"a page":       {200, cursor, "<html>", ""},
		"half":         {200, cursor, good[:40], ""},
		"cut off":      {200, cursor, good, "1000"},
		"two":          {200, cursor, good + good, ""},
		"odd entry":    {200, cursor, strings.Replace(good, "[]", "[{}]", 1), ""},
		"odd id":       {200, cursor, strings.Replace(good, "[]", `[{"session_id":"x"}]`, 1), ""},
		"no cursor":    {200, "", good, ""},
		"no content":   {204, cursor, "", ""},
		"partial":      {206, cursor, good, ""},
		"a redirect":   {302, cursor, good, ""},
		"refused":      {401, cursor, good, ""},
		"unavailable":  {503, cursor, good, ""},
		"never before": {200, cursor, `{"keep_seconds":9,"lifetime_seconds":99999,"revocations":[]}`, ""},
	} {
		s.put(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", test.etag)
			w.Header().Set("Location", "/elsewhere")
			if test.length != "" {
				w.Header().Set("Content-Length", test.length)
			}
			w.WriteHeader(test.status)
			_, _ = io.WriteString(w, test.body)
		}))
		if err := s.follower.poll(t.Context(), time.Minute); err == nil {
			t.Errorf("%s: no error", name)
		}
		s.wantVerdict(name, raw, ErrUnavailable)
	}
	s.put(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", cursor)
		_, _ = io.WriteString(w, good)
	}))
	s.poll()
	s.wantVerdict("after a good one", raw, nil)
}

// What was revoked while an answer was on its way is not in it.
func TestASlowAnswerConfirmsNothingThatIsLaterThanItsQuestion(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := newReplica(t, c, lifetime)
	s := newShop(t, c, r)
	for _, revoked := range []int{0, 1} {
		asked := c.Now()
		r.revoke(asked, ids(revoked)...)
		s.put(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			r.ServeHTTP(w, request)
			c.advance(3 * time.Second)
		}))
		s.poll()
		if age := s.follower.set.Load().Age(c.Now()); age != 3*time.Second {
			t.Errorf("with %d revocations the age is %v", revoked, age)
		}
	}
}

// A service's token opens the list of revocations for a minute to whoever it is sent to.
func TestATokenDoesNotFollowARedirect(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newShop(t, c, newReplica(t, c, lifetime))
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	t.Cleanup(elsewhere.Close)
	s.put(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	if err := s.follower.poll(t.Context(), time.Minute); err == nil {
		t.Error("no error")
	}
}

func TestAPollAsksWithTheCursorsOfAFewReplicas(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newShop(t, c, newReplica(t, c, lifetime))
	for range 20 {
		s.put(newReplica(t, c, lifetime))
		s.poll()
	}
	last := s.queries[len(s.queries)-1]
	if got := last.URL.Query()["since"]; len(got) != 8 || len(last.Header["If-None-Match"]) != 8 {
		t.Errorf("since %q, If-None-Match %q", got, last.Header["If-None-Match"])
	}
}
