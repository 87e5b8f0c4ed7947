// Package cursor owns the form of a cursor: the text by which a client asks for the next page of a
// list.
package cursor

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"gatehouse.example/internal/keychain"
)

// ErrInvalid is for a cursor that was not made here, was made for another question, or is too old.
var ErrInvalid = errors.New("invalid cursor")

const (
	lifetime  = 24 * time.Hour
	maxLength = 1 << 10 // bytes
)

// Cursors makes and opens cursors. A cursor says where a list goes on. It is sealed, since it is
// part of URLs and contains the names of users. Many goroutines may use it.
type Cursors struct{ sealer keychain.Sealer }

// New makes Cursors with the keys of a keychain.
func New(keys *keychain.Keychain) Cursors { return Cursors{keys.Sealer(keychain.Cursors)} }

// Make seals a position in the list that answers a question.
func (c Cursors) Make(now time.Time, question, position string) string {
	plain := append(binary.BigEndian.AppendUint64(nil, uint64(now.Unix())), position...)
	return base64.RawURLEncoding.EncodeToString(c.sealer.Seal(question, plain))
}

// Open returns the position of a cursor that was made for the question. Errors: [ErrInvalid].
func (c Cursors) Open(now time.Time, question, raw string) (position string, err error) {
	// the decoder would skip line breaks
	if len(raw) > maxLength || strings.ContainsAny(raw, "\r\n") {
		return "", ErrInvalid
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(raw)
	if err != nil {
		return "", ErrInvalid
	}
	plain, _, err := c.sealer.Open(question, sealed)
	if err != nil || len(plain) < 8 {
		return "", ErrInvalid
	}
	if made := time.Unix(int64(binary.BigEndian.Uint64(plain)), 0); now.Sub(made) > lifetime {
		return "", ErrInvalid
	}
	return string(plain[8:]), nil
}
