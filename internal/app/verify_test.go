package app_test

import (
	"net/http"
	"testing"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/token"
)

func (r *replica) verifyRequest(method, path, token string) *http.Request {
	r.Helper()
	return r.request(method, path, "", "Authorization", "Bearer "+token)
}

// Tokens of a key that was taken out of SECRET_KEY are refused. Those of a key that was only moved
// back are not.
func TestTokensOfADeletedKeyAreRefused(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	const newKey = "a newer secret key of the tests with 32 bytes"
	raw := ""
	for _, step := range []struct {
		keys string
		want int
	}{
		{secretKey, http.StatusNoContent},
		{newKey + "," + secretKey, http.StatusNoContent},
		{newKey, http.StatusUnauthorized},
	} {
		if step.keys == newKey { // the keys of ID tokens are sealed under the older one
			rewrap(t, databaseURL, newKey+","+secretKey)
		}
		r := boot(t, databaseURL, "--secret-key="+step.keys)
		if raw == "" {
			raw = r.loggedIn("alice", goodPassword)
		}
		for range 2 { // the second time from the cache
			r.want(step.want, r.do(r.verifyRequest("GET", "/verify", raw)))
		}
		r.stop()
	}
}

// rewrap seals all keys under the first of the secrets.
func rewrap(t *testing.T, databaseURL, secrets string) {
	t.Helper()
	admin := openAdmin(t, databaseURL)
	policy, err := admin.KeyPolicy(t.Context(), config.Secrets{SecretKey: secrets}, token.HS256)
	must(t, err)
	_, err = admin.Keys.Rewrap(t.Context(), authtest.Operator(), policy, nil)
	must(t, err)
}

// A verifier that cannot know must refuse, and must accept again once the database is back.
func TestAReplicaCutOffFromItsDatabaseVerifiesNothing(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	token := insertUser(t, databaseURL)
	proxy := startProxy(t, databaseURL)
	r := boot(t, proxy.url, "--revocation-max-staleness=1s")
	verify := func() int { return r.do(r.verifyRequest("GET", "/verify", token)).status }
	asynctest.Await(t, "the token to be good",
		func() bool { return verify() == http.StatusNoContent })
	proxy.Stop()
	asynctest.Await(t, "the bound of staleness",
		func() bool { return verify() == http.StatusServiceUnavailable })
	must(t, proxy.Start())
	asynctest.Await(t, "recovery", func() bool { return verify() == http.StatusNoContent })
}
