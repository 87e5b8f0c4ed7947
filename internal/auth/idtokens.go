package auth

import (
	"fmt"
	"time"

	"gatehouse.example/internal/token"
)

// IDTokens signs ID tokens and logout tokens, as long as it has the keys that all replicas share.
type IDTokens struct {
	ids   *token.IDIssuer
	clock func() time.Time
	fresh func() error
}

// NewIDTokens makes IDTokens that sign while fresh returns nil, as [KeyLoader.Fresh] does. The
// error of fresh is returned to whoever needs a signature.
func NewIDTokens(ids *token.IDIssuer, clock func() time.Time, fresh func() error) *IDTokens {
	return &IDTokens{ids, clock, fresh}
}

// Algorithms are those with which a client may have its ID tokens signed. The first is for clients
// that do not say.
func (*IDTokens) Algorithms() []token.Algorithm { return token.IDAlgorithms() }

// Sign signs an ID token that is valid for so long, but for no longer than an access token. Errors:
// [ErrUnavailable].
func (i *IDTokens) Sign(
	algorithm token.Algorithm, t token.IDToken, validity time.Duration,
) (string, error) {
	if err := i.fresh(); err != nil {
		return "", err
	}
	return i.ids.Issue(i.clock(), algorithm, t, validity)
}

// SignLogout signs a logout token, which is valid for two minutes. Errors: [ErrUnavailable].
func (i *IDTokens) SignLogout(algorithm token.Algorithm, t token.LogoutToken) (string, error) {
	if err := i.fresh(); err != nil {
		return "", err
	}
	return i.ids.IssueLogout(i.clock(), algorithm, t)
}

// VerifyHint reads an id_token_hint. It may have expired, and the session that it names may have
// ended. So it proves no login. Errors: [ErrInvalidToken].
func (i *IDTokens) VerifyHint(raw string) (token.IDToken, error) {
	hint, err := i.ids.VerifyHint(i.clock(), raw)
	if err != nil {
		return token.IDToken{}, fmt.Errorf("%w: %w", ErrInvalidToken, err)
	}
	return hint, nil
}
