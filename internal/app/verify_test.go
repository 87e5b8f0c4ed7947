package app_test

import (
	"net/http"
	"testing"

	"gatehouse/internal/asynctest"
	"gatehouse/internal/dbtest"
)

func (r *replica) verifyRequest(method, path, token string) *http.Request {
	r.Helper()
	return r.request(method, path, "", "Authorization", "Bearer "+token)
}

// The tokens of a key that was taken out of SECRET_KEY are refused, those of one that was only moved back are not.
func TestTokensOfADeletedKeyAreRefused(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	const newKey = "a newer secret key of the tests with 32 bytes"
	token := ""
	for _, step := range []struct {
		keys string
		want int
	}{
		{secretKey, http.StatusNoContent},
		{newKey + "," + secretKey, http.StatusNoContent},
		{newKey, http.StatusUnauthorized},
	} {
		r := boot(t, databaseURL, "--secret-key="+step.keys)
		if token == "" {
			token = r.loggedIn("alice", goodPassword)
		}
		for range 2 { // the second time from the cache
			r.want(step.want, r.do(r.verifyRequest("GET", "/verify", token)))
		}
		r.stop()
	}
}

// Whoever cannot know must not let in, and must not stay shut once the database is back.
func TestAReplicaCutOffFromItsDatabaseVerifiesNothing(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	token := insertUser(t, databaseURL)
	proxy := startProxy(t, databaseURL)
	r := boot(t, proxy.url, "--revocation-max-staleness=1s")
	verify := func() int { return r.do(r.verifyRequest("GET", "/verify", token)).status }
	asynctest.Await(t, "the token to be good", func() bool { return verify() == http.StatusNoContent })
	proxy.Stop()
	asynctest.Await(t, "the bound of staleness", func() bool { return verify() == http.StatusServiceUnavailable })
	must(t, proxy.Start())
	asynctest.Await(t, "recovery", func() bool { return verify() == http.StatusNoContent })
}
