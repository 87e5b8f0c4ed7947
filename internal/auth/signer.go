package auth

import (
	"time"

	"gatehouse.example/internal/token"
)

// Signer signs access tokens, as long as it has the keys that all replicas share.
type Signer struct {
	tokens *token.Issuer
	ids    *token.IDIssuer // whose public keys are published too
	clock  func() time.Time
	fresh  func() error
}

// NewSigner makes a Signer that signs while fresh returns nil, as [KeyLoader.Fresh] does. The error
// of fresh is returned to whoever needs a signature. The Signer publishes the keys of ids together
// with its own.
func NewSigner(
	tokens *token.Issuer, ids *token.IDIssuer, clock func() time.Time, fresh func() error,
) *Signer {
	return &Signer{tokens, ids, clock, fresh}
}

// NewVerifier makes a verifier for the tokens of this replica and the others. It remembers so many
// tokens.
func (s *Signer) NewVerifier(remembered int) *token.Verifier {
	return token.NewVerifier(s.tokens, remembered)
}

// Algorithms are those with which this replica accepts access tokens.
func (s *Signer) Algorithms() []string { return s.tokens.Ring().Algorithms() }

// audience is what access tokens are for by default.
func (s *Signer) audience() string {
	_, audience := s.tokens.Names()
	return audience
}

// Lifetime is the lifetime of access tokens.
func (s *Signer) Lifetime() time.Duration { return s.tokens.Lifetime() }

// MaySign returns nil if this replica would sign now. Errors: [ErrUnavailable].
func (s *Signer) MaySign() error { return s.fresh() }

// JWKS returns the public keys with which others verify access tokens and ID tokens (RFC 7517 §5).
// Errors: [ErrUnavailable] while this replica may not know all keys.
func (s *Signer) JWKS() ([]byte, error) {
	if err := s.MaySign(); err != nil {
		return nil, err
	}
	return token.KeySet(s.tokens.Ring(), s.ids.Keys()), nil
}

// issue signs an access token with the keys that all replicas share. The methods are those by which
// its user has logged in.
func (s *Signer) issue(
	subject token.Subject, validity time.Duration, methods ...string,
) (string, error) {
	if err := s.MaySign(); err != nil {
		return "", err
	}
	return s.tokens.Issue(s.clock(), subject, validity, methods...)
}
