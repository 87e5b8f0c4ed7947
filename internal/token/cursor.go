package token

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrInvalidCursor is for a cursor that was not made here, or for another question, or too long ago.
var ErrInvalidCursor = errors.New("token: invalid cursor")

const (
	cursorLabel    = "gatehouse cursor"
	cursorLifetime = 24 * time.Hour
	maxCursor      = 1 << 10 // bytes
)

// CursorKeys make and open cursors: where a list went on, sealed, since it stands in URLs and names users. They are
// derived from the signing keys (RFC 5869). They are safe for use by many goroutines.
type CursorKeys struct {
	keys []cipher.AEAD // the first one seals, all of them open
}

// NewCursorKeys derives the keys.
func NewCursorKeys(secrets [][]byte) (*CursorKeys, error) {
	k := &CursorKeys{}
	for _, secret := range secrets {
		key, err := hkdf.Key(sha256.New, secret, nil, cursorLabel, 32)
		if err != nil {
			return nil, fmt.Errorf("token: %w", err)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("token: %w", err)
		}
		sealed, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("token: %w", err)
		}
		k.keys = append(k.keys, sealed)
	}
	if len(k.keys) == 0 {
		return nil, errors.New("token: no key for cursors")
	}
	return k, nil
}

// Make seals a position in the list that answers a question.
func (k *CursorKeys) Make(now time.Time, question, position string) string {
	plain := append(binary.BigEndian.AppendUint64(nil, uint64(now.Unix())), position...)
	return base64.RawURLEncoding.EncodeToString(k.keys[0].Seal(nil, nil, plain, []byte(question)))
}

// Open returns the position of a cursor that was made for the question. ErrInvalidCursor.
func (k *CursorKeys) Open(now time.Time, question, raw string) (position string, err error) {
	if len(raw) > maxCursor || strings.ContainsAny(raw, "\r\n") {
		return "", ErrInvalidCursor
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(raw)
	if err != nil {
		return "", ErrInvalidCursor
	}
	for _, key := range k.keys {
		plain, err := key.Open(nil, nil, sealed, []byte(question))
		if err != nil || len(plain) < 8 {
			continue
		}
		made := time.Unix(int64(binary.BigEndian.Uint64(plain)), 0)
		if now.Sub(made) > cursorLifetime {
			return "", ErrInvalidCursor
		}
		return string(plain[8:]), nil
	}
	return "", ErrInvalidCursor
}
