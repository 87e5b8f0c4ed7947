// Package keychain derives the keys for everything that is made with SECRET_KEY. Each purpose has
// its own keys (HKDF, RFC 5869), so that what was made for one purpose is not valid for another.
package keychain

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// Purpose says what a key is for. It is the label that the key is derived with. Running
// installations hold what was made with these keys, so a label never changes.
type Purpose string

// Purposes.
const (
	RefreshTokens Purpose = "gatehouse refresh token"
	DeviceTokens  Purpose = "gatehouse device token 2"
	DeviceNames   Purpose = "gatehouse device name"
	Cursors       Purpose = "gatehouse cursor"
	SigningKeys   Purpose = "gatehouse signing keys"
	RateLimits    Purpose = "gatehouse rate limits"

	SessionCookies Purpose = "gatehouse session cookie"
	// SiblingCookies go to all hosts of a domain, and are good at /verify alone.
	SiblingCookies Purpose = "gatehouse sibling cookie"
	// LoginDemands say since when a user must have logged in.
	LoginDemands Purpose = "gatehouse login demand"
	// Challenges are proved by what is mailed: a link or a code.
	Challenges Purpose = "gatehouse challenge"
	// Mails are sealed until they are sent.
	Mails Purpose = "gatehouse mail"
	// TOTPSecrets are sealed under the id of their user.
	TOTPSecrets Purpose = "gatehouse totp secret"
	// PendingLogins are what lies between the two steps of a login.
	PendingLogins Purpose = "gatehouse pending login"
	// PasskeyChallenges are what a passkey answers.
	PasskeyChallenges Purpose = "gatehouse passkey challenge"

	// OldDeviceTokens are the device tokens of the version before. They do not say which password
	// they belong to.
	OldDeviceTokens Purpose = "gatehouse device token"

	secretIDs Purpose = "gatehouse secret id"
)

func purposes() []Purpose {
	return []Purpose{
		RefreshTokens, DeviceTokens, OldDeviceTokens, DeviceNames, Cursors, SigningKeys, RateLimits,
		SessionCookies, SiblingCookies, LoginDemands, Challenges, Mails,
		TOTPSecrets, PendingLogins, PasskeyChallenges, secretIDs,
	}
}

// Keychain holds the keys of SECRET_KEY and all that is derived from them. It never changes, and
// many goroutines may use it. It prints nothing of what it holds.
type Keychain struct {
	unprintable
	secrets keys
	derived map[Purpose]keys
}

// keys returns the keys of one purpose, the newest first. It is a function because of package fmt,
// which prints what an unexported field holds, also behind a pointer. Of a function it prints only
// the address.
type keys func() [][]byte

// New makes a Keychain of the keys of SECRET_KEY, the newest first. It fails if there is none.
func New(secrets [][]byte) (*Keychain, error) {
	if len(secrets) == 0 {
		return nil, errors.New("keychain: no secret")
	}
	held := make([][]byte, len(secrets))
	for n, secret := range secrets {
		held[n] = slices.Clone(secret)
	}
	k := &Keychain{secrets: func() [][]byte { return held }, derived: make(map[Purpose]keys)}
	for _, purpose := range purposes() {
		all := make([][]byte, len(held))
		for n, secret := range held {
			key, err := hkdf.Key(sha256.New, secret, nil, string(purpose), sha256.Size)
			if err != nil {
				return nil, fmt.Errorf("keychain: %w", err)
			}
			all[n] = key
		}
		k.derived[purpose] = func() [][]byte { return all }
	}
	return k, nil
}

// Secrets returns the keys of SECRET_KEY themselves. They are only for HS256, which signs with a
// secret as it is (RFC 7518 §3.2).
func (k *Keychain) Secrets() [][]byte {
	var secrets [][]byte
	for _, secret := range k.secrets() {
		secrets = append(secrets, slices.Clone(secret))
	}
	return secrets
}

// IDs returns names for the secrets that do not give them away: 128 derived bits of each, in
// hexadecimal digits.
func (k *Keychain) IDs() []string {
	var ids []string
	for _, key := range k.of(secretIDs)() {
		ids = append(ids, hex.EncodeToString(key[:16]))
	}
	return ids
}

// of returns the keys of a purpose. It panics if the purpose is none of the constants.
func (k *Keychain) of(p Purpose) keys {
	found, ok := k.derived[p]
	if !ok {
		panic("keychain: there is no purpose " + string(p))
	}
	return found
}
