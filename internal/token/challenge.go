package token

import (
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/google/uuid"

	"gatehouse.example/internal/keychain"
)

// ErrInvalidChallenge is for a link token or a code that was not made here, or is that of another
// challenge.
var ErrInvalidChallenge = errors.New("token: invalid challenge")

const (
	// challengePrefix lets scanners for leaked secrets find link tokens.
	challengePrefix  = "ghm_"
	challengeMACSize = 16 // 128 bits

	// codeAlphabet is that of Crockford's Base32: without I, L and O, which look like digits, and
	// without U.
	codeAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	codeLength   = 8 // 40 bits

	// mostTyped bounds what is read of a code that somebody has typed.
	mostTyped = 64
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
	if !ok || len(encoded) != base64.RawURLEncoding.EncodedLen(16+challengeMACSize) ||
		strings.ContainsAny(encoded, "\r\n") {
		return uuid.Nil, ErrInvalidChallenge
	}
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return uuid.Nil, ErrInvalidChallenge
	}
	id, mac := uuid.UUID(decoded[:16]), decoded[16:]
	for _, each := range k.macs.Each(id[:], []byte(forLink)) {
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

// VerifyCode tells whether somebody has typed the code of a challenge. It takes small letters,
// spaces and hyphens, O for 0, and I and L for 1. [ErrInvalidChallenge].
func (k *ChallengeKeys) VerifyCode(id uuid.UUID, typed string) error {
	code, ok := readCode(typed)
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
func ShownCode(code string) string {
	if len(code) != codeLength {
		return code
	}
	return code[:codeLength/2] + "-" + code[codeLength/2:]
}

// codeOf writes the first 40 bits of a MAC.
func codeOf(mac []byte) string {
	var bits uint64
	for _, b := range mac[:5] {
		bits = bits<<8 | uint64(b)
	}
	code := make([]byte, codeLength)
	for n := range code {
		code[n] = codeAlphabet[bits>>(5*(codeLength-1-n))&31]
	}
	return string(code)
}

// readCode returns the code that somebody has typed, and whether it is one.
func readCode(typed string) (code string, ok bool) {
	if len(typed) > mostTyped {
		return "", false
	}
	read := make([]byte, 0, codeLength)
	for _, r := range strings.ToUpper(typed) {
		switch r {
		case ' ', '-', '\t', '\u00a0', '\u2010', '\u2011', '\u2013', '\u2212':
			continue // what mail programs and keyboards put in place of a space or a hyphen
		case 'O':
			r = '0'
		case 'I', 'L':
			r = '1'
		}
		if !strings.ContainsRune(codeAlphabet, r) || len(read) == codeLength {
			return "", false
		}
		read = append(read, byte(r))
	}
	return string(read), len(read) == codeLength
}
