package verify

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// A service that demands a login must let nobody in by another one, and must tell the app which
// login would do.
func TestADemandForALoginIsToldToTheApp(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newShop(t, c, newReplica(t, c, lifetime))
	const start = `Bearer realm="gatehouse", error="insufficient_user_authentication", ` +
		`error_description="A stronger or more recent login is needed"`
	strong, fresh := RequireACR(ACR2), RequireFresh(5*time.Minute)
	for name, test := range map[string]struct {
		guard func(http.Handler) http.Handler
		acr   string
		ago   time.Duration // since the login; 0: the token does not say
		want  string        // the challenge; "": let in
	}{
		"two factors":                     {guard: strong, acr: ACR2, ago: time.Hour},
		"one factor":                      {strong, ACR1, time.Second, start + `, acr_values="aal2"`},
		"nobody knows how":                {strong, "", time.Second, start + `, acr_values="aal2"`},
		"two are more than one":           {guard: RequireACR(ACR1), acr: ACR2, ago: time.Hour},
		"an empty demand of a factor":     {RequireACR(""), ACR2, time.Second, start},
		"fresh":                           {guard: fresh, acr: ACR1, ago: 4 * time.Minute},
		"stale":                           {fresh, ACR2, 5*time.Minute + time.Second, start + `, max_age="300"`},
		"nobody knows when":               {fresh, ACR2, 0, start + `, max_age="300"`},
		"an empty demand of an age":       {RequireFresh(0), ACR2, 2 * time.Second, start + `, max_age="1"`},
		"both":                            {guard: RequireLogin(ACR2, 5*time.Minute), acr: ACR2, ago: time.Minute},
		"both, with one factor":           {RequireLogin(ACR2, 5*time.Minute), ACR1, time.Minute, start + `, acr_values="aal2", max_age="300"`},
		"both, and stale":                 {RequireLogin(ACR2, 5*time.Minute), ACR2, time.Hour, start + `, acr_values="aal2", max_age="300"`},
		"both, of which one is forgotten": {RequireLogin("", 5*time.Minute), ACR2, time.Second, start + `, max_age="300"`},
	} {
		subject := token.Subject{
			UserID: uuid.New(), SessionID: uuid.New(), Username: "alice", Version: 1, ACR: test.acr,
		}
		if test.ago > 0 {
			subject.AuthTime = c.Now().Add(-test.ago)
		}
		raw, err := s.issuer.Issue(c.Now(), subject, time.Hour)
		must(t, err)
		r := httptest.NewRequest("GET", "/", http.NoBody)
		r.Header.Set("Authorization", "Bearer "+raw)
		w := httptest.NewRecorder()
		isIn := false
		s.Middleware(test.guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			claims, _ := FromContext(r.Context())
			isIn = claims.ACR == test.acr
		}))).ServeHTTP(w, r)
		if isIn != (test.want == "") || w.Header().Get("WWW-Authenticate") != test.want {
			t.Errorf("%s: let in: %v, %s", name, isIn, w.Header().Get("WWW-Authenticate"))
		}
		var told struct{ Status int }
		if !isIn && (w.Code != 401 || json.Unmarshal(w.Body.Bytes(), &told) != nil || told.Status != 401) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}
