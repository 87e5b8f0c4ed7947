package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// Algorithm signs tokens (RFC 7518 §3.1, RFC 8037 §3.1).
type Algorithm string

// Algorithms.
const (
	HS256 Algorithm = "HS256" // with a secret
	ES256 Algorithm = "ES256" // ECDSA on P-256
	EdDSA Algorithm = "EdDSA" // Ed25519
	RS256 Algorithm = "RS256"
)

const (
	rsaBits    = 3072 // of new keys
	idRSABits  = 2048 // of those of ID tokens: each login signs one, in a third of the time
	minRSABits = 2048 // RFC 7518 §3.3
	maxRSABits = 8192 // each verification takes the square of it
)

func (a Algorithm) method() jwt.SigningMethod {
	switch a {
	case HS256:
		return jwt.SigningMethodHS256
	case ES256:
		return jwt.SigningMethodES256
	case EdDSA:
		return jwt.SigningMethodEdDSA
	case RS256:
		return jwt.SigningMethodRS256
	}
	return nil
}

// Key signs and verifies with one algorithm, or only verifies. The zero Key does neither. A Key
// never changes.
type Key struct {
	id        string
	algorithm Algorithm
	secrets   [][]byte      // of HS256: the first signs
	private   crypto.Signer // nil: it verifies
	public    crypto.PublicKey
	jwk       []byte
	header    string // that of an access token that it signs, in base64url
}

// SecretKey is the key of HS256. Its tokens have no kid: nobody outside needs to tell the secrets
// apart. An error means that there is no secret, or that one is shorter than [MinKeyLength].
func SecretKey(secrets [][]byte) (Key, error) {
	if len(secrets) == 0 {
		return Key{}, errors.New("token: no signing key")
	}
	k := Key{algorithm: HS256}
	for n, secret := range secrets {
		if len(secret) < MinKeyLength {
			return Key{}, fmt.Errorf("token: key %d has %d bytes, fewer than %d", n+1, len(secret), MinKeyLength)
		}
		k.secrets = append(k.secrets, bytes.Clone(secret))
	}
	k.header = k.encodedHeader()
	return k, nil
}

// GenerateKey makes a key of an algorithm that has a public half.
func GenerateKey(a Algorithm) (Key, error) { return generateKey(a, rsaBits) }

// GenerateIDKey is GenerateKey for a key of ID tokens.
func GenerateIDKey(a Algorithm) (Key, error) { return generateKey(a, idRSABits) }

func generateKey(a Algorithm, rsaBits int) (Key, error) {
	var private crypto.Signer
	var err error
	switch a {
	case ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case RS256:
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	default:
		return Key{}, fmt.Errorf("token: no key of %q can be made", a)
	}
	if err != nil {
		return Key{}, fmt.Errorf("token: %w", err)
	}
	return newKey(private, private.Public())
}

// ParsePrivateKey reads what [Key.MarshalPrivate] has written.
func ParsePrivateKey(a Algorithm, pkcs8 []byte) (Key, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		return Key{}, errors.New("token: malformed private key") // err may quote it
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return Key{}, errors.New("token: a private key that does not sign")
	}
	k, err := newKey(private, private.Public())
	if err != nil {
		return Key{}, err
	}
	if k.algorithm != a {
		return Key{}, fmt.Errorf("token: the key is one of %s, not of %q", k.algorithm, a)
	}
	return k, nil
}

// ParsePublicKey reads what [Key.PublicJWK] has written. The JWK must say what it is for (alg,
// use), have its thumbprint for a kid, and have no private member.
func ParsePublicKey(jwk []byte) (Key, error) {
	parsed, err := parseJWK(jwk)
	if err != nil {
		return Key{}, err
	}
	k, err := newKey(nil, parsed.Key)
	switch {
	case err != nil:
		return Key{}, err
	case parsed.Algorithm != string(k.algorithm) || parsed.Use != "sig" || parsed.KeyID != k.id:
		return Key{}, errors.New("token: alg, use or kid is not that of the key")
	}
	return k, nil
}

func parseJWK(jwk []byte) (jose.JSONWebKey, error) {
	var parsed jose.JSONWebKey
	if err := parsed.UnmarshalJSON(jwk); err != nil {
		return parsed, fmt.Errorf("token: malformed JWK: %w", err)
	}
	if !parsed.Valid() || !parsed.IsPublic() {
		return parsed, errors.New("token: not a public JWK")
	}
	return parsed, nil
}

// newKey takes the algorithm from the type of the key. No header of a token can choose another one
// (RFC 8725 §3.1).
func newKey(private crypto.Signer, public crypto.PublicKey) (Key, error) {
	k := Key{private: private, public: public}
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		if p.Curve != elliptic.P256() {
			return Key{}, errors.New("token: the curve is not P-256")
		}
		k.algorithm = ES256
	case ed25519.PublicKey:
		k.algorithm = EdDSA
	case *rsa.PublicKey:
		if bits := p.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return Key{}, fmt.Errorf("token: an RSA key of %d bits, not of %d to %d", bits, minRSABits, maxRSABits)
		}
		if p.E < 3 || p.E%2 == 0 {
			return Key{}, errors.New("token: an RSA key with an unusable exponent")
		}
		k.algorithm = RS256
	default:
		return Key{}, errors.New("token: a key of an unknown type")
	}
	jwk := jose.JSONWebKey{Key: public, Algorithm: string(k.algorithm), Use: "sig"}
	thumbprint, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return Key{}, fmt.Errorf("token: thumbprint: %w", err)
	}
	k.id = base64.RawURLEncoding.EncodeToString(thumbprint)
	jwk.KeyID = k.id
	if k.jwk, err = jwk.MarshalJSON(); err != nil {
		return Key{}, fmt.Errorf("token: %w", err)
	}
	k.header = k.encodedHeader()
	return k, nil
}

// encodedHeader is the header of an access token as golang-jwt writes it, with its members in
// alphabetical order.
func (k Key) encodedHeader() string {
	text, err := json.Marshal(k.headerOf(mediaType))
	if err != nil {
		panic(err) // a map of texts can be encoded
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func (k Key) headerOf(mediaType string) map[string]any {
	header := map[string]any{"alg": string(k.algorithm), "typ": mediaType}
	if k.id != "" {
		header["kid"] = k.id
	}
	return header
}

// ID is the kid: the thumbprint of the public half (RFC 7638), or empty for a secret.
func (k Key) ID() string { return k.id }

// Algorithm is the only algorithm with which the key may be used.
func (k Key) Algorithm() Algorithm { return k.algorithm }

// CanSign is true if the key has a private half, or is a secret.
func (k Key) CanSign() bool { return k.private != nil || k.secrets != nil }

// PublicJWK is the public half (RFC 7517), or nil for a secret.
func (k Key) PublicJWK() []byte { return k.jwk }

// MarshalPrivate is the private half as PKCS #8 (RFC 5958). Whoever stores it must encrypt it.
func (k Key) MarshalPrivate() ([]byte, error) {
	if k.private == nil {
		return nil, errors.New("token: there is no private key")
	}
	return x509.MarshalPKCS8PrivateKey(k.private)
}

// Format prints which key it is, and nothing more with any verb. So a key that gets into a log or
// an error by mistake gives nothing away.
func (k Key) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "key %q of %s", k.id, string(k.algorithm))
}

// signing is the key as golang-jwt wants it to sign.
func (k Key) signing() any {
	if k.algorithm == HS256 {
		return k.secrets[0]
	}
	return k.private
}

// verifies tells whether the key has made a signature of a text.
func (k Key) verifies(text string, signature []byte) bool {
	if k.algorithm != HS256 {
		return k.algorithm.method().Verify(text, signature, k.public) == nil
	}
	for _, secret := range k.secrets {
		if jwt.SigningMethodHS256.Verify(text, signature, secret) == nil {
			return true
		}
	}
	return false
}

// verification is the key as golang-jwt wants it to verify.
func (k Key) verification() any {
	if k.algorithm != HS256 {
		return k.public
	}
	var set jwt.VerificationKeySet
	for _, secret := range k.secrets {
		set.Keys = append(set.Keys, secret)
	}
	return set
}

// same tells whether two keys verify the same signatures.
func (k Key) same(other Key) bool {
	if k.algorithm != HS256 || other.algorithm != HS256 {
		return k.algorithm == other.algorithm && k.id == other.id
	}
	if len(k.secrets) != len(other.secrets) {
		return false
	}
	for n := range k.secrets {
		if string(k.secrets[n]) != string(other.secrets[n]) {
			return false
		}
	}
	return true
}
