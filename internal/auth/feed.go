package auth

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"gatehouse.example/internal/revocation"
	"gatehouse.example/internal/token"
)

// Feed reports revoked tokens to other services.
type Feed struct {
	revoked  *Checker
	signer   *Signer
	services *token.ServiceKeys
	clock    func() time.Time
	latest   signedFeed
}

// NewFeed makes a Feed for services that authenticate with tokens of these keys.
func NewFeed(
	revoked *Checker, signer *Signer, services *token.ServiceKeys, clock func() time.Time,
) *Feed {
	return &Feed{revoked: revoked, signer: signer, services: services, clock: clock}
}

// For returns what is known to be revoked, for a service that checks tokens itself, and the name of
// the service. The service shows its own token, raw. Errors: [ErrInvalidToken]; [ErrUnavailable]
// while this replica may be behind, since the service would take the answer for complete.
func (f *Feed) For(raw string) (set *revocation.Set, service string, err error) {
	if service, err = f.services.Verify(f.clock(), raw); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrInvalidToken, err)
	}
	set, err = f.revoked.Revocations()
	return set, service, err
}

// Signed returns what is known to be revoked, signed for whoever has the public keys. Errors:
// [ErrNoFeed] while the signing key is a secret; [ErrUnavailable] while this replica may be behind
// with revocations or keys. The bytes are shared: do not change them.
func (f *Feed) Signed() ([]byte, error) {
	now := f.clock() // taken before the set is read: what is revoked later is for the next feed
	set, err := f.revoked.Revocations()
	if err != nil {
		return nil, err
	}
	if err := f.signer.MaySign(); err != nil {
		return nil, err
	}
	return f.latest.at(now, set, f.signer.tokens)
}

// signedFeed holds the latest feed of revocations. It is signed anew when a second has passed, when
// something was revoked, and when the keys have changed. It is not signed for each request, of
// which there may be thousands.
type signedFeed struct {
	mu     sync.Mutex
	second int64 // since 1970
	cursor string
	ring   *token.Ring
	raw    []byte
}

func (f *signedFeed) at(now time.Time, set *revocation.Set, tokens *token.Issuer) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.raw != nil && f.second == now.Unix() && f.cursor == set.Cursor() &&
		f.ring == tokens.Ring() {
		return f.raw, nil
	}
	ring := tokens.Ring() // taken before it signs: if the ring changes later, the feed is signed anew
	report, cursor := set.Since()
	raw, err := revocation.SignFeed(tokens, report.Feed(now))
	switch {
	case errors.Is(err, revocation.ErrNoFeed):
		return nil, ErrNoFeed
	case err != nil:
		return nil, err
	}
	f.second, f.cursor, f.ring, f.raw = now.Unix(), cursor, ring, []byte(raw)
	return f.raw, nil
}
