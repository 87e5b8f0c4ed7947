package app_test

import (
	"net/http"
	"testing"

	"gatehouse/internal/dbtest"
)

func (r *replica) verifyRequest(method, path, token string) *http.Request {
	r.Helper()
	return r.request(method, path, "", "Authorization", "Bearer "+token)
}

// A ban that reaches only the replica it was made on is none, and neither is one that spares the tokens which a replica
// has verified before.
func TestWhateverEndsASessionIsKnownToEveryReplica(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	replicas := []*replica{boot(t, databaseURL), boot(t, databaseURL), boot(t, databaseURL)}
	admin := openAdmin(t, databaseURL)
	r := replicas[0]
	r.want(http.StatusCreated, r.do(r.registerRequest("alice", goodPassword)))
	verified := func(token string) { // and remembered
		for _, r := range replicas {
			r.want(http.StatusNoContent, r.do(r.verifyRequest("GET", "/verify", token)))
			r.want(http.StatusNoContent, r.do(r.verifyRequest("POST", "/verify/cart", token)))
		}
	}
	awaitRefused := func(what, token string) {
		for _, r := range replicas {
			await(t, what, func() bool {
				return r.do(r.verifyRequest("GET", "/verify", token)).status == http.StatusUnauthorized
			})
		}
	}
	for _, end := range []struct {
		name string
		do   func(token, other string)
	}{
		{"logout", func(token, _ string) {
			r.want(http.StatusNoContent, r.do(r.request("POST", "/logout", "", "Authorization", "Bearer "+token)))
		}},
		{"end all", func(token, _ string) {
			r.want(http.StatusNoContent, r.do(r.request("DELETE", "/users/me/sessions?all=true", "", "Authorization", "Bearer "+token)))
		}},
		{"end the others", func(_, other string) {
			r.want(http.StatusNoContent, r.do(r.request("DELETE", "/users/me/sessions", "", "Authorization", "Bearer "+other)))
		}},
		{"another password", func(_, other string) {
			a := r.do(r.request("PUT", "/users/me/password", `{"current_password":"`+goodPassword+`","new_password":"another good one"}`,
				"Authorization", "Bearer "+other, "Content-Type", "application/json"))
			r.want(http.StatusOK, a)
			awaitRefused("the token from before of the session that goes on", other)
			verified(tokenIn(r, a))
			_, err := admin.SetPassword(t.Context(), "alice", goodPassword)
			must(t, err)
		}},
		{"logout by an operator", func(_, _ string) {
			_, err := admin.EndSessionsOf(t.Context(), "alice")
			must(t, err)
		}},
		{"disable", func(_, _ string) {
			_, err := admin.Disable(t.Context(), "alice")
			must(t, err)
		}},
	} {
		token, other := r.login("alice", goodPassword), r.login("alice", goodPassword)
		verified(token)
		verified(other)
		end.do(token, other)
		awaitRefused(end.name, token)
	}
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
	proxy := startProxy(t, databaseURL)
	r := boot(t, proxy.url, "--revocation-max-staleness=1s")
	token := r.loggedIn("alice", goodPassword)
	verify := func() int { return r.do(r.verifyRequest("GET", "/verify", token)).status }
	proxy.Stop()
	await(t, "the bound of staleness", func() bool { return verify() == http.StatusServiceUnavailable })
	must(t, proxy.Start())
	await(t, "recovery", func() bool { return verify() == http.StatusNoContent })
}
