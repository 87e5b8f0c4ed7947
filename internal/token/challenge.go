package token

import (
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/google/uuid"

	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/shortcode"
)

// ErrInvalidChallenge is for a link token or a code that was not made here, or is that of another
// challenge.
var ErrInvalidChallenge = errors.New("token: invalid challenge")

const (
	// challengePrefix lets scanners for leaked secrets find link tokens.
	challengePrefix  = "ghm_"
	challengeMACSize = 16 // 128 bits

	codeBytes  = 5 // 40 bits
	codeLength = 8 // letters
)

// ChallengeKeys make and verify what is mailed to somebody, so that they can prove that they read
// the mail: a link token, and a code for whoever types it on another device. Both are MACs of the
// challenge's id. So they can be made again for another try to send the mail, and nothing of them
// is stored.
type ChallengeKeys struct{ macs keychain.MACs }

// NewChallengeKeys takes the keys of a keychain that are for challenges.
func NewChallengeKeys(keys *keychain.Keychain) *ChallengeKeys {
	return &ChallengeKeys{keys.MACs(keychain.Challenges)}
}

// The words keep a code from being a part of the link token of the same challenge.
const (
	forLink = "link"
	forCode = "code"
	forKept = "kept"
)

// Link returns the token for the link of a challenge. It holds the id, and 128 bits that nobody can
// guess.
func (k *ChallengeKeys) Link(id uuid.UUID) string {
	mac := k.macs.Make(id[:], []byte(forLink))[:challengeMACSize]
	return challengePrefix + base64.RawURLEncoding.EncodeToString(append(id[:], mac...))
}

// VerifyLink returns the challenge of a link token. Whether the challenge is still open is for the
// caller to look at. [ErrInvalidChallenge].
func (k *ChallengeKeys) VerifyLink(raw string) (uuid.UUID, error) {
	encoded, ok := strings.CutPrefix(raw, challengePrefix)
	if !ok {
		return uuid.Nil, ErrInvalidChallenge
	}
	return k.open(encoded, []byte(forLink))
}

// Kept returns what a browser keeps of the challenge that it was answered with when somebody typed
// a login. It holds the id, and shows nothing of the login. It proves nothing.
func (k *ChallengeKeys) Kept(id uuid.UUID, login string) string {
	mac := k.macs.Make(id[:], []byte(forKept), []byte(login))[:challengeMACSize]
	return base64.RawURLEncoding.EncodeToString(append(id[:], mac...))
}

// VerifyKept returns the challenge that a browser has kept, if it was answered for this login.
// [ErrInvalidChallenge].
func (k *ChallengeKeys) VerifyKept(raw, login string) (uuid.UUID, error) {
	return k.open(raw, []byte(forKept), []byte(login))
}

// open returns an id that has its MAC behind it.
func (k *ChallengeKeys) open(encoded string, of ...[]byte) (uuid.UUID, error) {
	if len(encoded) != base64.RawURLEncoding.EncodedLen(16+challengeMACSize) ||
		strings.ContainsAny(encoded, "\r\n") {
		return uuid.Nil, ErrInvalidChallenge
	}
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return uuid.Nil, ErrInvalidChallenge
	}
	id, mac := uuid.UUID(decoded[:16]), decoded[16:]
	for _, each := range k.macs.Each(append([][]byte{id[:]}, of...)...) {
		if hmac.Equal(mac, each[:challengeMACSize]) {
			return id, nil
		}
	}
	return uuid.Nil, ErrInvalidChallenge
}

// Code returns the code of a challenge: 8 characters, without the hyphen that [ShownCode] puts
// between them. Its 40 bits are safe only as long as somebody counts the guesses.
func (k *ChallengeKeys) Code(id uuid.UUID) string {
	return codeOf(k.macs.Make(id[:], []byte(forCode)))
}

// VerifyCode tells whether somebody has typed the code of a challenge. [shortcode.Read] has what is
// forgiven. [ErrInvalidChallenge].
func (k *ChallengeKeys) VerifyCode(id uuid.UUID, typed string) error {
	code, ok := shortcode.Read(typed, codeLength)
	if !ok {
		return ErrInvalidChallenge
	}
	for _, each := range k.macs.Each(id[:], []byte(forCode)) {
		if hmac.Equal([]byte(code), []byte(codeOf(each))) {
			return nil
		}
	}
	return ErrInvalidChallenge
}

// ShownCode is a code as people see it: XXXX-XXXX.
func ShownCode(code string) string { return shortcode.Shown(code) }

func codeOf(mac []byte) string { return shortcode.Encode(mac[:codeBytes]) }
