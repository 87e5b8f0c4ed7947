package password

import (
	"errors"
	"fmt"
	"strings"
)

// These say what is wrong with a hash that Adopt refuses, in words for an operator. None quotes the
// hash.
var (
	errBroken      = errors.New("is no whole bcrypt string: it needs $2a$, $2b$ or $2y$, two digits of cost, and 53 characters")
	errOldVariant  = errors.New("is bcrypt of the variant $2$, which repeats passwords without an end: other passwords match than under later ones")
	errSignVariant = errors.New("is bcrypt of the variant $2x$, under which different passwords match")
	errPrehashed   = errors.New("is bcrypt of a digest of the password, which is not the password's bcrypt")
	errUnusable    = errors.New("stands for an account without a usable password")
	errUnknown     = errors.New("is no hash of a known kind; bcrypt and Argon2id are known")
)

// wrappings are what other programs write before a hash, in any case: passlib's ldap_bcrypt (RFC
// 2307 §5.3), Spring Security, Dovecot, OpenLDAP, and Django. passlib's bcrypt, PHP's password_hash
// and FastAPI's tutorial write nothing before it.
func wrappings() []string {
	return []string{
		"{crypt}", "{bcrypt}", "{blf-crypt}", "bcrypt$",
		"{argon2}", "{argon2@springsecurity_v5_8}", "{argon2id}", "argon2",
	}
}

// unwrapped takes off one wrapping. What is in it begins with a dollar sign.
func unwrapped(hash string) string {
	for _, w := range wrappings() {
		if len(hash) > len(w) && strings.EqualFold(hash[:len(w)], w) && hash[len(w)] == '$' {
			return hash[len(w):]
		}
	}
	return hash
}

// Adopt returns the form in which to store a hash that was made elsewhere, and the id of the key
// that it needs. There is no key for plain bcrypt and Argon2id. Otherwise the hash is one of
// Gatehouse's own, and the caller must find out whether the key is there. The error says why Verify
// could not use the hash, and does not quote it.
func (h *Hasher) Adopt(hash string) (stored, keyID string, err error) {
	inner := unwrapped(hash)
	if strings.HasPrefix(inner, argon2idPrefix) {
		a, err := parseArgon2id(inner)
		if err != nil {
			return "", "", err
		}
		return a.String(), "", nil
	}
	f, err := parse(inner)
	if err != nil || inner != hash && !f.isForeign() {
		return "", "", diagnose(inner)
	}
	if f.variant == "x" {
		return "", "", errSignVariant
	}
	if err := f.checkCost(); err != nil {
		return "", "", err
	}
	f.body = withoutSpareBits(f.body)
	return f.String(), f.keyID, nil
}

// withoutSpareBits clears the two lowest bits of the last of 31 characters, which stand for 23
// bytes. Programs that ignore these bits, as passlib does, would match where a comparison of texts
// never does.
func withoutSpareBits(body string) string {
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	last := len(body) - 1
	return body[:last] + string(alphabet[strings.IndexByte(alphabet, body[last])&^3])
}

// diagnose tells what kind of hash it is that cannot be used.
func diagnose(hash string) error {
	lower := strings.ToLower(hash)
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
	} {
		if strings.HasPrefix(lower, known.prefix) {
			return known.is
		}
	}
	for _, known := range otherKinds() {
		if strings.HasPrefix(lower, known.prefix) {
			return fmt.Errorf("%s: not known; bcrypt and Argon2id are", known.kind)
		}
	}
	return errUnknown
}

type otherKind struct{ prefix, kind string }

// otherKinds are what other programs write, by the beginning in lower case. If two of them fit, the
// first one counts.
func otherKinds() []otherKind {
	return []otherKind{
		{"$argon2i$", "argon2i"}, {"argon2$argon2i$", "argon2i"}, {"{argon2i}", "argon2i"},
		{"$argon2d$", "argon2d"}, {"argon2$argon2d$", "argon2d"},
		{"$argon2", "argon2"}, {"argon2$", "argon2"}, {"{argon2", "argon2"},
		{"$pbkdf2", "PBKDF2"}, {"pbkdf2", "PBKDF2"}, {"{pbkdf2", "PBKDF2"},
		{"$scrypt$", "scrypt"}, {"scrypt", "scrypt"}, {"$7$", "scrypt"}, {"{scrypt", "scrypt"}, {"$s0$", "scrypt"},
		{"$y$", "yescrypt"}, {"$gy$", "gost-yescrypt"},
		{"$1$", "md5-crypt"}, {"{md5-crypt}", "md5-crypt"}, {"$apr1$", "apr1"},
		{"$5$", "sha256-crypt"}, {"{sha256-crypt}", "sha256-crypt"},
		{"$6$", "sha512-crypt"}, {"{sha512-crypt}", "sha512-crypt"},
		{"$p$", "phpass"}, {"$h$", "phpass"}, {"$s$", "Drupal 7"},
		{"{ssha", "salted SHA"}, {"{sha", "SHA"}, {"{smd5", "salted MD5"}, {"{md5", "MD5"}, {"{ldap_", "LDAP digest"},
		{"sha1$", "SHA-1"}, {"md5$", "MD5"}, {"{plain", "plain text"}, {"{cleartext}", "plain text"}, {"{noop}", "plain text"},
	}
}
