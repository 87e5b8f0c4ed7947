package app_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/token"
)

// logoutModules are those of the plan for RP-Initiated Logout.
func logoutModules() map[string]func(*flow) {
	return map[string]func(*flow){
		"oidcc-rp-initiated-logout":          logoutModule,
		"oidcc-rp-initiated-logout-no-state": logoutWithoutState,
		"oidcc-rp-initiated-logout-bad-post-logout-redirect-uri": func(f *flow) {
			logoutElsewhere(f, "https://rp.example/"+rand.Text())
		},
		"oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri": func(f *flow) {
			logoutElsewhere(f, farewell+"?foo=bar")
		},
		"oidcc-rp-initiated-logout-bad-id-token-hint": func(f *flow) {
			logoutByHint(f, func(claims map[string]any) string {
				forged, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(claims)).
					SignedString([]byte(f.app.secret))
				must(f, err)
				return forged
			})
		},
		"oidcc-rp-initiated-logout-modified-id-token-hint":      func(f *flow) { logoutByHint(f, unsigned) },
		"oidcc-rp-initiated-logout-no-id-token-hint":            logoutWithoutHint,
		"oidcc-rp-initiated-logout-no-params":                   func(f *flow) { logoutIsAsked(f) },
		"oidcc-rp-initiated-logout-only-state":                  func(f *flow) { logoutIsAsked(f, "state", "s") },
		"oidcc-rp-initiated-logout-no-post-logout-redirect-uri": logoutToNowhere,

		// The plan has none for these.
		"a form in place of a link":   logoutByForm,
		"the client id of another":    logoutByAnotherClient,
		"a token of another user":     logoutByAnotherUser,
		"once more, and by nobody":    logoutTwice,
		"an access token as the hint": logoutByAccessToken,
	}
}

// Nobody must be logged out by a page that has no right to it, nor be led from here to a page that
// the app did not register.
func TestTheModulesOfTheLogoutCertificationPlan(t *testing.T) {
	t.Parallel()
	p := startProvider(t, "")
	for name, run := range logoutModules() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(p.flow(t))
		})
	}
}

func (f *flow) endSession(pairs ...string) stop {
	f.Helper()
	query := url.Values{}
	for n := 0; n < len(pairs); n += 2 {
		query.Set(pairs[n], pairs[n+1])
	}
	return f.browser.open(f.p.endpoint("end_session_endpoint") + "?" + query.Encode())
}

// left checks that the browser is at a URI of the app and nobody is logged in.
func (f *flow) left(at stop, to string) {
	f.Helper()
	if !at.away || at.at.String() != to {
		f.Errorf("the browser is at %s, not at %s: %d %s", at.at, to, at.status, at.body)
	}
	f.wantOut()
}

func (f *flow) wantOut() {
	f.Helper()
	if f.isLoggedIn() {
		f.Error("the browser is still logged in")
	}
}

// stayed checks that the browser got a page, and that nothing happened.
func (f *flow) stayed(at stop, nowhere ...string) {
	f.Helper()
	f.wantPage(at, http.StatusBadRequest, nowhere...)
	if !f.isLoggedIn() {
		f.Error("the browser is logged out")
	}
}

func logoutModule(f *flow) {
	state := strings.Repeat("long-state+&=/%", 9)[:128]
	at := f.endSession("id_token_hint", f.first().ID, "post_logout_redirect_uri", farewell,
		"state", state)
	f.left(at, farewell+"?"+url.Values{"state": {state}}.Encode())
}

func logoutWithoutState(f *flow) {
	f.left(f.endSession("id_token_hint", f.first().ID, "post_logout_redirect_uri", farewell), farewell)
}

func logoutElsewhere(f *flow, to string) {
	f.stayed(f.endSession("id_token_hint", f.first().ID, "post_logout_redirect_uri", to,
		"state", "s"), to)
}

// logoutByHint has the claims of a real ID token in a token that another has made.
func logoutByHint(f *flow, forge func(claims map[string]any) string) {
	f.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(f.first().ID, ".")[1])
	must(f, err)
	var claims map[string]any
	must(f, json.Unmarshal(payload, &claims))
	f.stayed(f.endSession("id_token_hint", forge(claims), "post_logout_redirect_uri", farewell,
		"state", "s"), farewell)
}

func logoutByAccessToken(f *flow) {
	f.stayed(f.endSession("id_token_hint", f.first().Access, "post_logout_redirect_uri", farewell))
}

// logoutWithoutHint first says nothing of the client. If the client is named, its user is asked.
func logoutWithoutHint(f *flow) {
	f.first()
	f.stayed(f.endSession("post_logout_redirect_uri", farewell, "state", "s"), farewell)
	page := f.endSession("client_id", f.app.ID, "post_logout_redirect_uri", farewell, "state", "s")
	f.wantPage(page, http.StatusOK)
	if !f.isLoggedIn() {
		f.Error("the browser is logged out, though nobody was asked")
	}
	f.left(f.browser.submit(page, "choice", "log_out"), farewell+"?state=s")
}

func logoutIsAsked(f *flow, pairs ...string) {
	f.Helper()
	f.first()
	page := f.endSession(pairs...)
	f.wantPage(page, http.StatusOK)
	f.wantPage(f.browser.submit(page, "choice", "log_out"), http.StatusOK)
	f.wantOut()
}

func logoutToNowhere(f *flow) {
	f.wantPage(f.endSession("id_token_hint", f.first().ID, "state", "s"), http.StatusOK, farewell)
	f.wantOut()
}

func logoutByForm(f *flow) {
	at := f.browser.post(f.p.endpoint("end_session_endpoint"), url.Values{
		"id_token_hint": {f.first().ID}, "post_logout_redirect_uri": {farewell}, "state": {"s"},
	})
	f.left(at, farewell+"?state=s")
}

func logoutByAnotherClient(f *flow) {
	own, other := f.first(), f.register()
	f.stayed(f.endSession("id_token_hint", own.ID, "client_id", other.ID,
		"post_logout_redirect_uri", farewell), farewell)
	f.left(f.endSession("id_token_hint", own.ID, "client_id", f.app.ID, "post_logout_redirect_uri",
		farewell), farewell)
}

// logoutByAnotherUser is an attempt to log somebody out with one's own ID token of the same app.
func logoutByAnotherUser(f *flow) {
	attacker := f.p.flow(f.T)
	attacker.app = f.app
	f.first()
	page := f.endSession("id_token_hint", attacker.first().ID, "post_logout_redirect_uri", farewell)
	f.wantPage(page, http.StatusOK)
	if !f.isLoggedIn() {
		f.Error("the browser is logged out by a token of another user")
	}
}

func logoutTwice(f *flow) {
	own := f.first()
	for range 2 {
		f.left(f.endSession("id_token_hint", own.ID, "post_logout_redirect_uri", farewell), farewell)
	}
	f.wantPage(f.endSession(), http.StatusOK)
}

// logoutReceiver is where an app is told of ends.
type logoutReceiver struct {
	*httptest.Server
	got chan string
}

func receiver(f *flow) *logoutReceiver {
	f.Helper()
	r := &logoutReceiver{got: make(chan string, 100)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		err := q.ParseForm()
		if err != nil || q.Method != http.MethodPost || len(q.PostForm) != 1 || q.URL.RawQuery != "" ||
			q.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			f.Errorf("%s %s with %v: %v", q.Method, q.URL, q.Form, err)
		}
		w.Header().Set("Cache-Control", "no-store")
		r.got <- q.PostFormValue("logout_token")
	}))
	f.Cleanup(r.Close)
	return r
}

// wantToken checks the one logout token of an app as the app has to (OpenID Connect Back-Channel
// Logout §2.6), and that it is about the session of an ID token.
func (r *logoutReceiver) wantToken(f *flow, by relyingParty, about grantedTokens) {
	f.Helper()
	parsed := f.signedBy(<-r.got, string(by.IDTokenAlgorithm))
	claims := parsed.Claims.(jwt.MapClaims)
	issued, err := claims.GetIssuedAt()
	must(f, err)
	if claims["aud"] != by.ID || issued == nil || time.Since(issued.Time).Abs() > 5*time.Minute ||
		claims["jti"] == "" || claims["jti"] == nil || parsed.Header["typ"] != "logout+jwt" {
		f.Errorf("%v %v", parsed.Header, claims)
	}
	if claims["sid"] != about.claims["sid"] || claims["sub"] != about.claims["sub"] || claims["sid"] == nil {
		f.Errorf("the app is told of %v, and had %v", claims, about.claims)
	}
	const event = "http://schemas.openid.net/event/backchannel-logout"
	events, _ := claims["events"].(map[string]any)
	if empty, ok := events[event].(map[string]any); !ok || len(empty) != 0 || len(events) != 1 {
		f.Errorf("events %v", claims["events"])
	}
	if _, ok := claims["nonce"]; ok {
		f.Errorf("a nonce: %v", claims)
	}
}

// wantNoMore waits until all has been delivered.
func (r *logoutReceiver) wantNoMore(f *flow, deliveries int) {
	f.Helper()
	conn := connect(f, f.p.databaseURL)
	asynctest.Await(f, "all deliveries", func() bool {
		var done, all int
		must(f, conn.QueryRow(f.Context(),
			"SELECT count(*) FILTER (WHERE state = 'completed'), count(*) FROM river_job").Scan(&done, &all))
		return done == deliveries && all == deliveries
	})
	if len(r.got) > 0 {
		f.Errorf("%d more logout tokens", len(r.got))
	}
}

// told is an app with its back channel, and what it got at the login.
type told struct {
	app   relyingParty
	heard *logoutReceiver
	own   grantedTokens
}

// Whoever logs out, or is banned, must be out of each app, and each app must be able to tell the
// message from a forged one.
func TestTheModulesOfTheBackChannelLogoutCertificationPlan(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*flow, grantedTokens){
		"oidcc-backchannel-rp-initiated-logout": func(f *flow, own grantedTokens) {
			f.left(f.endSession("id_token_hint", own.ID, "post_logout_redirect_uri", farewell,
				"state", "s"), farewell+"?state=s")
		},
		"a ban": func(f *flow, _ grantedTokens) {
			_, err := f.p.admin.Accounts.Disable(f.Context(), authtest.Operator(),
				auth.ByName(f.username), nil)
			must(f, err)
			f.wantOut()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startProvider(t, "").flow(t)
			f.first()
			apps := []told{f.tellable("RS256"), f.tellable("ES256"), f.tellable("EdDSA")}
			end(f, apps[0].own)
			for _, one := range apps {
				one.heard.wantToken(f, one.app, one.own)
				if a := f.get(f.p.endpoint("userinfo_endpoint"), one.own.Access); a.status != 401 {
					t.Errorf("the access token of %s: %d", one.app.ID, a.status)
				}
				f.wantRefused("its refresh token", f.refresh(one.app, one.own.Refresh), 400,
					"invalid_grant")
			}
			for _, one := range apps {
				one.heard.wantNoMore(f, len(apps))
			}
		})
	}
}

// tellable is another app in the same browser, with a back channel of its own.
func (f *flow) tellable(algorithm token.Algorithm) told {
	f.Helper()
	heard := receiver(f)
	f.app = f.register(func(c *auth.Client) {
		c.IDTokenAlgorithm, c.BackchannelLogoutURI = algorithm, heard.URL
	})
	return told{f.app, heard, f.again()}
}
