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

// A ban that reaches only the replica it was made on is none.
func TestABanReachesEveryReplica(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	replicas := []*replica{boot(t, databaseURL), boot(t, databaseURL), boot(t, databaseURL)}
	token := replicas[0].loggedIn("alice", goodPassword)
	for _, r := range replicas {
		r.want(http.StatusNoContent, r.do(r.verifyRequest("GET", "/verify", token)))
		r.want(http.StatusNoContent, r.do(r.verifyRequest("POST", "/verify/cart", token)))
	}
	_, err := connect(t, databaseURL).Exec(t.Context(), `WITH u AS (
			UPDATE users SET disabled_at = now(), token_version = token_version + 1 RETURNING id, token_version)
		INSERT INTO revocations (user_id, version) SELECT id, token_version FROM u`)
	must(t, err)
	for _, r := range replicas {
		await(t, "the ban", func() bool {
			return r.do(r.verifyRequest("GET", "/verify", token)).status == http.StatusUnauthorized
		})
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
