package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse.example/internal/follow"
	"gatehouse.example/internal/revocation"
	"gatehouse.example/internal/token"
)

const (
	keysPatience = 5 * time.Second // for a fetch
	keysRetry    = 5 * time.Second // from a fetch that failed to the next

	// unknownKeyEvery is the least time between two fetches for tokens that name an unknown key.
	// Anybody can make up such a name.
	unknownKeyEvery = 10 * time.Second

	// secretReturns is how long no replica may have said that the secret is revoked before it is
	// used again. A replica's keys are 30 s old at most.
	secretReturns = time.Minute

	defaultMaxAge = 5 * time.Minute // of keys whose sender says nothing of it
)

// keys are Gatehouse's public keys. They are fetched when they have expired (RFC 9111 §4.2), and
// when a token names one that is not among them. An answer that cannot be used replaces nothing.
//
// Where there is a secret too, the first fetch is for the first token that names a key. So
// Gatehouse can go from HS256 to keys, and back, without a token refused.
type keys struct {
	client *http.Client
	url    *url.URL
	bound  time.Duration // how long the last that were fetched are good for
	clock  func() time.Time
	log    *slog.Logger
	tokens *token.Issuer // gets the keys
	secret []token.Key   // none, or that of HS256
	// withdrawn is true once Gatehouse has said that it accepts no token of HS256 any more: the
	// secret has leaked, perhaps.
	withdrawn   bool
	withdrawnAt time.Time  // when it last said so
	ringMu      sync.Mutex // guards the two, and the change of rings
	// confirmed is when the keys were known to be those of Gatehouse; nil before the first fetch.
	confirmed atomic.Pointer[time.Time]

	// For the goroutine that fetches.
	etag    string
	due     time.Time // zero: there is none to renew
	fetched error     // of the last fetch

	mu     sync.Mutex
	asked  time.Time     // the last fetch for an unknown key
	flight chan struct{} // is closed when that ends; nil: there is none
	wanted follow.Hint
	ended  chan struct{}
}

// newKeys fetches them, unless there is a secret.
func newKeys(ctx context.Context, o Options, client *http.Client, base *url.URL) (*keys, error) {
	k := &keys{
		client: client, url: base.JoinPath(".well-known/jwks.json"), bound: o.KeyStaleness, clock: o.Clock, log: o.Log,
		wanted: follow.NewHint(), ended: make(chan struct{}),
	}
	ring, err := k.first(ctx, o.Keys)
	if err != nil {
		return nil, err
	}
	// The lifetime is for those who issue tokens.
	k.tokens, err = token.NewIssuer(token.Settings{Ring: ring, Issuer: o.Issuer, Audience: o.Audience, Lifetime: time.Hour})
	return k, err
}

func (k *keys) first(ctx context.Context, secrets [][]byte) (*token.Ring, error) {
	if secrets == nil {
		ring, err := k.load(ctx, loadTimeout)
		if err != nil {
			return nil, fmt.Errorf("load keys: %w", err)
		}
		return ring, nil
	}
	secret, err := token.SecretKey(secrets)
	if err != nil {
		return nil, err
	}
	k.secret = []token.Key{secret}
	return token.NewVerifyingRing(secret)
}

// follow fetches until ctx ends.
func (k *keys) follow(ctx context.Context, every time.Duration) {
	defer close(k.ended)
	follow.Loop{
		Step: k.step, Hint: k.wanted, Every: every, Log: k.log,
		Failing: "verify: keys cannot be fetched", Recovered: "verify: keys are fetched again",
	}.Run(ctx)
}

// step fetches if it is time, or if somebody wants an unknown key. Otherwise the state is still
// that of the last fetch.
func (k *keys) step(ctx context.Context, wanted bool) error {
	if wanted || !k.due.IsZero() && !k.clock().Before(k.due) {
		k.fetched = k.refresh(ctx)
	}
	if wanted {
		k.landed()
	}
	return k.fetched
}

// refresh fetches what is new.
func (k *keys) refresh(ctx context.Context) error {
	ring, err := k.load(ctx, keysPatience)
	if err == nil {
		if ring == nil {
			return nil
		}
		return k.use(ring)
	}
	if k.confirmed.Load() == nil {
		return err // there has been no need of them yet
	}
	now := k.clock()
	k.due = now.Add(keysRetry)
	if k.secret != nil && k.age(now) > k.bound {
		return errors.Join(err, k.forget())
	}
	return err
}

// forget leaves the secret alone, whose tokens are as good as ever.
func (k *keys) forget() error {
	k.etag = "" // or they would be unchanged
	none, err := token.NewVerifyingRing()
	if err != nil {
		return err
	}
	return k.use(none)
}

// use verifies by the public keys of a ring, and by the secret while Gatehouse does.
func (k *keys) use(public *token.Ring) error {
	k.ringMu.Lock()
	defer k.ringMu.Unlock()
	return k.useLocked(public)
}

func (k *keys) useLocked(public *token.Ring) error {
	secret := k.secret
	if k.withdrawn {
		secret = nil
	}
	ring, err := public.WithSecrets(secret...)
	if err == nil {
		k.tokens.SetRing(ring)
	}
	return err
}

// withdraw drops the secret when Gatehouse accepts its tokens no more. It takes it up again when no
// replica has said so for a while: one that has not heard of the revocation yet must not bring the
// secret back.
func (k *keys) withdraw(now time.Time, withdrawn bool) error {
	k.ringMu.Lock()
	defer k.ringMu.Unlock()
	if withdrawn {
		k.withdrawnAt = now
	}
	if k.withdrawn == withdrawn || !withdrawn && now.Sub(k.withdrawnAt) < secretReturns {
		return nil
	}
	k.withdrawn = withdrawn
	return k.useLocked(k.tokens.Ring())
}

// load returns nil for keys that have not changed.
func (k *keys) load(ctx context.Context, patience time.Duration) (*token.Ring, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := k.clock()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	if k.etag != "" {
		request.Header.Set("If-None-Match", k.etag)
	}
	response, err := k.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var ring *token.Ring
	switch {
	case response.StatusCode == http.StatusNotModified && k.etag != "":
	case response.StatusCode == http.StatusOK:
		if ring, err = k.read(response.Body); err != nil {
			return nil, err
		}
		k.etag = response.Header.Get("ETag")
	default:
		return nil, fmt.Errorf("GET jwks.json: %s", response.Status)
	}
	k.due = began.Add(min(freshness(response.Header), k.bound/2))
	k.confirmed.Store(&began)
	return ring, nil
}

func (k *keys) read(body io.Reader) (*token.Ring, error) {
	// One byte more than allowed, so that a longer set is refused and not cut.
	set, err := io.ReadAll(io.LimitReader(body, token.MaxJWKSLength+1))
	if err != nil {
		return nil, err
	}
	ring, err := token.ParseJWKS(set, k.secret...)
	if err == nil && !ring.HasPublicKeys() && k.tokens.Ring().HasPublicKeys() {
		return nil, errors.New("GET jwks.json: the keys are gone")
	}
	return ring, err
}

// freshness is how long an answer may be kept: what a cache on the way has left of max-age (RFC
// 9111 §4.2.1, §5.1).
func freshness(h http.Header) time.Duration {
	maxAge := defaultMaxAge
	for _, line := range h.Values("Cache-Control") {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			if seconds, err := strconv.ParseInt(value, 10, 32); strings.EqualFold(name, "max-age") && err == nil {
				maxAge = time.Duration(seconds) * time.Second
			}
		}
	}
	if age, err := strconv.ParseInt(h.Get("Age"), 10, 32); err == nil && age > 0 {
		maxAge -= time.Duration(age) * time.Second
	}
	return max(maxAge, time.Second)
}

// want waits for a fetch for the sake of an unknown key. All who want one at a time share it. None
// is made soon after another, or strangers could have this service flood Gatehouse.
func (k *keys) want(now time.Time) {
	k.mu.Lock()
	flight := k.flight
	if flight == nil {
		if since := now.Sub(k.asked); 0 <= since && since < unknownKeyEvery {
			k.mu.Unlock()
			return
		}
		flight = make(chan struct{})
		k.asked, k.flight = now, flight
		k.wanted.Give()
	}
	k.mu.Unlock()
	select {
	case <-flight:
	case <-k.ended:
	}
}

func (k *keys) landed() {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.flight)
	k.flight = nil
}

// check is [ErrUnavailable] when the keys are too old to let a token in, or to refuse one whose key
// is unknown.
func (k *keys) check(now time.Time, unknown bool) error {
	if k.secret != nil && !unknown {
		return nil // refresh has forgotten keys that are too old
	}
	if age := k.age(now); age > k.bound {
		return fmt.Errorf("%w: keys are %v old", ErrUnavailable, age)
	}
	return nil
}

// age is the longest there is before the first fetch.
func (k *keys) age(now time.Time) time.Duration {
	last := k.confirmed.Load()
	if last == nil {
		return math.MaxInt64
	}
	return revocation.Elapsed(*last, now)
}

// ask has somebody verify, and once more if it was for want of a key that there is by now.
func (k *keys) ask(now time.Time, verify func() error) error {
	err := verify()
	if !errors.Is(err, token.ErrUnknownKey) {
		return err
	}
	k.want(now)
	return verify()
}
