package password

import (
	"errors"
	"fmt"
	"strings"
)

// What is wrong with a hash that Adopt refuses, in words for an operator. None quotes the hash.
var (
	errBroken       = errors.New("is no whole bcrypt string: it needs $2a$, $2b$ or $2y$, two digits of cost, and 53 characters")
	errOldVariant   = errors.New("is bcrypt of the variant $2$, which repeats passwords without an end: other passwords match than under later ones")
	errSignVariant  = errors.New("is bcrypt of the variant $2x$, under which different passwords match")
	errPrehashed    = errors.New("is bcrypt of a digest of the password, which is not the password's bcrypt")
	errUnusable     = errors.New("stands for an account without a usable password")
	errOtherProgram = errors.New("is no bcrypt hash")
)

// wrappings are what stands before a bcrypt string that is nothing but one: passlib's ldap_bcrypt (RFC 2307 §5.3) and
// django_bcrypt. passlib's bcrypt, PHP's password_hash and the tutorial's hashes have none.
func wrappings() []string { return []string{"{CRYPT}", "bcrypt$"} }

// Adopt gives the form to store of a hash that was made elsewhere, and the id of the key that it needs: empty for plain
// bcrypt, else the hash is one of Gatehouse's own. Whether that key is there is for the caller to find out. The error
// says why Verify could not do with the hash, and does not quote it.
func (h *Hasher) Adopt(hash string) (stored, keyID string, err error) {
	for _, w := range wrappings() {
		if inner, wrapped := strings.CutPrefix(hash, w); wrapped && strings.HasPrefix(inner, "$2") {
			hash = inner
			break
		}
	}
	f, err := parse(hash)
	if err != nil {
		return "", "", diagnose(hash)
	}
	if f.variant == "x" {
		return "", "", errSignVariant
	}
	if err := h.checkCost(f); err != nil {
		return "", "", err
	}
	f.body = withoutSpareBits(f.body)
	return f.String(), f.keyID, nil
}

// withoutSpareBits clears the two low bits of the last of 31 characters, which stand for 23 bytes. Programs that ignore
// them, as passlib does, would match where a comparison of strings never does.
func withoutSpareBits(body string) string {
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	last := len(body) - 1
	return body[:last] + string(alphabet[strings.IndexByte(alphabet, body[last])&^3])
}

// diagnose tells what a hash is that is no bcrypt string.
func diagnose(hash string) error {
	for _, known := range []struct {
		prefix string
		is     error
	}{
		{"$2$", errOldVariant},
		{"$2", errBroken},
		{"$hmac-sha256$", errBroken},
		{"$bcrypt-sha256$", errPrehashed}, // passlib's bcrypt_sha256
		{"bcrypt_sha256$", errPrehashed},  // Django's
		{"$wp$", errPrehashed},            // WordPress 6.8 and later
		{"!", errUnusable},
		{"*", errUnusable},
		{"$argon2", fmt.Errorf("%w but argon2", errOtherProgram)},
		{"argon2$", fmt.Errorf("%w but argon2", errOtherProgram)},
		{"$pbkdf2", fmt.Errorf("%w but PBKDF2", errOtherProgram)},
		{"pbkdf2_", fmt.Errorf("%w but PBKDF2", errOtherProgram)},
		{"$scrypt$", fmt.Errorf("%w but scrypt", errOtherProgram)},
		{"scrypt", fmt.Errorf("%w but scrypt", errOtherProgram)},
		{"$1$", fmt.Errorf("%w but md5-crypt", errOtherProgram)},
		{"$5$", fmt.Errorf("%w but sha256-crypt", errOtherProgram)},
		{"$6$", fmt.Errorf("%w but sha512-crypt", errOtherProgram)},
		{"$P$", fmt.Errorf("%w but phpass", errOtherProgram)},
		{"$H$", fmt.Errorf("%w but phpass", errOtherProgram)},
	} {
		if strings.HasPrefix(hash, known.prefix) {
			return known.is
		}
	}
	return errOtherProgram
}
