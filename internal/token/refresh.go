package token

import (
	"errors"

	"github.com/google/uuid"

	"gatehouse.example/internal/keychain"
)

// ErrInvalidRefresh is for a refresh token that was not made here.
var ErrInvalidRefresh = errors.New("token: invalid refresh token")

// refreshPrefix lets scanners for leaked secrets find refresh tokens.
const refreshPrefix = "ghr_"

// Refresh is what a refresh token says before it is verified: that it is the n-th of a session.
type Refresh struct {
	SessionID uuid.UUID
	N         int64
	mac       []byte
}

// RefreshKeys make and verify refresh tokens.
type RefreshKeys struct{ macs keychain.MACs }

// NewRefreshKeys takes the keys of a keychain that are for refresh tokens.
func NewRefreshKeys(keys *keychain.Keychain) *RefreshKeys {
	return &RefreshKeys{keys.MACs(keychain.RefreshTokens)}
}

// Make returns the n-th refresh token of a session. It is always the same one, so that it can be
// given twice without being stored.
func (k *RefreshKeys) Make(sessionID uuid.UUID, n int64, salt []byte) string {
	return makeNumbered(refreshPrefix, k.macs, sessionID, n, salt)
}

// ParseRefresh takes a token apart. [ErrInvalidRefresh].
func ParseRefresh(raw string) (Refresh, error) {
	n, ok := parseNumbered(refreshPrefix, raw)
	if !ok {
		return Refresh{}, ErrInvalidRefresh
	}
	return Refresh{SessionID: n.id, N: n.n, mac: n.mac}, nil
}

// Verify tells whether a token was made with one of the keys and the salt of its session.
// [ErrInvalidRefresh].
func (k *RefreshKeys) Verify(r Refresh, salt []byte) error {
	if !k.macs.Verify(r.mac, numberedBody(r.SessionID, r.N), salt) {
		return ErrInvalidRefresh
	}
	return nil
}
