package token

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/google/uuid"
)

// ErrInvalidRefresh is for a refresh token that was not made here.
var ErrInvalidRefresh = errors.New("token: invalid refresh token")

const (
	// refreshPrefix lets scanners for leaked secrets find refresh tokens.
	refreshPrefix = "ghr_"
	refreshLabel  = "gatehouse refresh token"
	refreshSize   = 16 + 8 + sha256.Size // session id, counter, MAC
)

// Refresh is what a refresh token says before it is verified: that it is the n-th of a session.
type Refresh struct {
	SessionID uuid.UUID
	N         int64
	mac       []byte
}

// RefreshKeys make and verify refresh tokens. They are derived from the signing keys (RFC 5869), so that neither can
// stand in for the other.
type RefreshKeys struct {
	keys [][]byte // the first one makes, all of them verify
}

// NewRefreshKeys derives the keys.
func NewRefreshKeys(secrets [][]byte) (*RefreshKeys, error) {
	keys, err := derive(secrets, refreshLabel)
	if err != nil {
		return nil, err
	}
	return &RefreshKeys{keys: keys}, nil
}

// derive makes a key of each secret for the use that the label names.
func derive(secrets [][]byte, label string) ([][]byte, error) {
	if len(secrets) == 0 {
		return nil, errors.New("token: no key for a " + label)
	}
	keys := make([][]byte, len(secrets))
	for n, secret := range secrets {
		key, err := hkdf.Key(sha256.New, secret, nil, label, sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("token: %w", err)
		}
		keys[n] = key
	}
	return keys, nil
}

// Make returns the n-th refresh token of a session: always the same one, so that it need not be stored to be given
// twice.
func (k *RefreshKeys) Make(sessionID uuid.UUID, n int64, salt []byte) string {
	raw := refreshBody(sessionID, n)
	return refreshPrefix + base64.RawURLEncoding.EncodeToString(append(raw, refreshMAC(k.keys[0], raw, salt)...))
}

// ParseRefresh takes a token apart. ErrInvalidRefresh.
func ParseRefresh(raw string) (Refresh, error) {
	encoded, ok := strings.CutPrefix(raw, refreshPrefix)
	if !ok || len(encoded) != base64.RawURLEncoding.EncodedLen(refreshSize) || strings.ContainsAny(encoded, "\r\n") {
		return Refresh{}, ErrInvalidRefresh
	}
	body, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return Refresh{}, ErrInvalidRefresh
	}
	n := binary.BigEndian.Uint64(body[16:24])
	if n > math.MaxInt64 {
		return Refresh{}, ErrInvalidRefresh
	}
	return Refresh{SessionID: uuid.UUID(body[:16]), N: int64(n), mac: body[24:]}, nil
}

// Verify tells whether a token was made by one of the keys with the salt of its session. ErrInvalidRefresh.
func (k *RefreshKeys) Verify(r Refresh, salt []byte) error {
	for _, key := range k.keys {
		if hmac.Equal(r.mac, refreshMAC(key, refreshBody(r.SessionID, r.N), salt)) {
			return nil
		}
	}
	return ErrInvalidRefresh
}

func refreshBody(sessionID uuid.UUID, n int64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte{}, sessionID[:]...), uint64(n))
}

func refreshMAC(key, body, salt []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(body)
	mac.Write(salt)
	return mac.Sum(nil)
}
