package otp

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/google/uuid"

	"gatehouse.example/internal/shortcode"
)

const (
	recoveryCodes   = 10
	recoveryBytes   = 15 // 120 bits: below 112, OWASP ASVS 5.0 §6.5.2 asks for a slow hash
	recoveryLetters = recoveryBytes * 8 / 5

	recoveryLabel = "gatehouse recovery code\x00"
)

// RecoveryCode gets somebody in who has lost their other factors. It is printed by Text alone.
type RecoveryCode struct{ letters string }

// NewRecoveryCodes makes ten codes of 120 random bits each.
func NewRecoveryCodes() []RecoveryCode {
	all := make([]RecoveryCode, recoveryCodes)
	for n := range all {
		bits := make([]byte, recoveryBytes)
		_, _ = rand.Read(bits) // never fails: it ends the program first
		all[n] = RecoveryCode{shortcode.Encode(bits)}
	}
	return all
}

// ParseRecoveryCode returns the code that somebody has typed, and whether it is one.
// [shortcode.Read] has what is forgiven.
func ParseRecoveryCode(typed string) (RecoveryCode, bool) {
	letters, ok := shortcode.Read(typed, recoveryLetters)
	if !ok {
		return RecoveryCode{}, false
	}
	return RecoveryCode{letters}, true
}

// Text is the code as people see it: six groups of four, XXXX-XXXX-….
func (r RecoveryCode) Text() string { return shortcode.Shown(r.letters) }

// Digest is what is stored of a code. A slow hash is for what people choose: nobody tries 120
// random bits one by one, however fast the hash. The account is a part of it. Otherwise each try
// would be held against the codes of all accounts, and a million of them would take 23 bits away.
func (r RecoveryCode) Digest(account uuid.UUID) []byte {
	sum := sha256.Sum256([]byte(recoveryLabel + string(account[:]) + r.letters))
	return sum[:]
}

// Format implements [fmt.Formatter].
func (RecoveryCode) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, hidden) }

// MarshalText implements [encoding.TextMarshaler].
func (RecoveryCode) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Kind is what somebody has typed into the one field for all codes.
type Kind int

// The kinds. No text is of two: a code of an app has 6 digits, a recovery code 24 letters
// and digits.
const (
	KindNeither Kind = iota
	KindTOTP
	KindRecovery
)

// KindOf tells what a text looks like. Whether it is right is another question.
func KindOf(typed string) Kind {
	if _, ok := ParseCode(typed); ok {
		return KindTOTP
	}
	if _, ok := ParseRecoveryCode(typed); ok {
		return KindRecovery
	}
	return KindNeither
}
