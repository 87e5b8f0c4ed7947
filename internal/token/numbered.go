package token

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"

	"github.com/google/uuid"

	"gatehouse.example/internal/keychain"
)

// numberedSize is that of a session id, a number and a MAC.
const numberedSize = 16 + 8 + sha256.Size

// numbered is the n-th secret of a session, before its MAC is verified.
type numbered struct {
	id  uuid.UUID
	n   int64
	mac []byte
}

// makeNumbered writes the n-th secret of a session. The salt is part of what the MAC is of.
func makeNumbered(prefix string, macs keychain.MACs, id uuid.UUID, n int64, salt []byte) string {
	body := numberedBody(id, n)
	return prefix + base64.RawURLEncoding.EncodeToString(append(body, macs.Make(body, salt)...))
}

// parseNumbered is strict: each secret can be written in one way only.
func parseNumbered(prefix, raw string) (numbered, bool) {
	encoded, ok := strings.CutPrefix(raw, prefix)
	if !ok || len(encoded) != base64.RawURLEncoding.EncodedLen(numberedSize) ||
		strings.ContainsAny(encoded, "\r\n") {
		return numbered{}, false
	}
	body, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return numbered{}, false
	}
	n := binary.BigEndian.Uint64(body[16:24])
	if n > math.MaxInt64 {
		return numbered{}, false
	}
	return numbered{uuid.UUID(body[:16]), int64(n), body[24:]}, true
}

func numberedBody(id uuid.UUID, n int64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte{}, id[:]...), uint64(n))
}
