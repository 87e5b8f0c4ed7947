package app_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/token"
)

// expired is an ID token with the claims of another, as its key has signed it two days ago.
func (f *flow) expired(raw string) string {
	f.Helper()
	kid := headerOf(f, raw).Kid
	var sealed []byte
	must(f, connect(f, f.p.databaseURL).QueryRow(f.Context(),
		"SELECT sealed_private FROM id_token_keys WHERE kid = $1", kid).Scan(&sealed))
	secrets, err := keychain.New([][]byte{[]byte(secretKey)})
	must(f, err)
	pkcs8, _, err := secrets.Sealer(keychain.SigningKeys).Open(kid, sealed)
	must(f, err)
	private, err := x509.ParsePKCS8PrivateKey(pkcs8)
	must(f, err)
	claims := payloadOf(f, raw)
	claims["iat"], claims["exp"] = time.Now().Add(-48*time.Hour).Unix(), time.Now().Add(-47*time.Hour).Unix()
	old := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	old.Header["kid"] = kid
	signed, err := old.SignedString(private)
	must(f, err)
	return signed
}

// hints checks that an ID token is a good hint: quietly for its own user, for nobody else, and to
// log out without a question.
func (f *flow) hints(when, hint string, stranger *flow) {
	f.Helper()
	if got := f.again("prompt", "none", "id_token_hint", hint); got.claims["sub"] == "" {
		f.Errorf("%s: %v", when, got.claims)
	}
	own := stranger.app
	stranger.app = f.app
	stranger.refused("login_required", "prompt", "none", "id_token_hint", hint)
	stranger.app = own
	f.left(f.endSession("id_token_hint", hint, "post_logout_redirect_uri", farewell), farewell)
	f.refused("login_required", "prompt", "none", "id_token_hint", hint)
	page := f.authorize(f.request("id_token_hint", hint))
	if page.away || !strings.HasSuffix(page.at.Path, "/login") {
		f.Errorf("%s: it logs somebody in, at %s", when, page.at)
	}
	f.first()
}

func (f *flow) hintsNothing(when, hint string) {
	f.Helper()
	f.refused("invalid_request", "prompt", "none", "id_token_hint", hint)
	f.refused("invalid_request", "id_token_hint", hint)
	f.stayed(f.endSession("id_token_hint", hint, "post_logout_redirect_uri", farewell), farewell)
	if f.Failed() {
		f.Fatalf("a hint %s", when)
	}
}

// Apps keep ID tokens for days, to log out with them and to ask quietly who is there: an hour after
// the login they would do neither. But whoever has a key that was revoked or thrown away could log
// people out, and learn who is logged in.
func TestAnExpiredIDTokenIsAHintAsLongAsItsKeyIsTrusted(t *testing.T) {
	t.Parallel()
	p := startProvider(t, "")
	k := openKeyring(t, p.databaseURL)
	f, stranger := p.flow(t), p.flow(t)
	stranger.first()
	rotate := func() {
		t.Helper()
		_, err := k.admin.Keys.Rotate(t.Context(), authtest.Operator(), k.policy(token.ES256),
			auth.RingsFor(auth.KeyForID), false, func(auth.RotationStep) {})
		must(t, err)
	}
	awaitGone := func(kid string) {
		t.Helper()
		asynctest.Await(t, "the key to be gone", func() bool {
			_, is := p.published()[kid]
			return !is
		})
	}
	raw := f.first().ID
	kid, old := headerOf(t, raw).Kid, f.expired(raw)
	f.hints("that has expired", old, stranger)

	rotate()
	k.pass(330 * time.Second)
	rotate()
	asynctest.Await(t, "another key to sign", func() bool { return headerOf(t, f.again().ID).Kid != kid })
	f.hints("of a key that signs no more", old, stranger)
	k.pass(25 * time.Hour)
	rotate()
	awaitGone(kid)
	f.hintsNothing("of a key that is retired", old)

	fresh := f.again().ID
	leaked, old := headerOf(t, fresh).Kid, f.expired(fresh)
	f.hints("of the next key, that has expired", old, stranger)
	must(t, k.admin.Keys.Revoke(t.Context(), authtest.Operator(), k.policy(token.ES256), leaked))
	awaitGone(leaked)
	f.hintsNothing("of a revoked key, that has expired", old)
	f.hintsNothing("of a revoked key", fresh)
	f.hints("of its successor", f.again().ID, stranger)
}
