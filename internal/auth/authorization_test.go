package auth_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/token"
)

const (
	redirectURI = "https://shop.example/callback"
	verifier    = "a-verifier-with-more-than-43-characters-0123456789"
)

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// app registers a client that logs users in by code.
func (f *fixture) app(id string, change func(*auth.Client)) auth.Client {
	f.Helper()
	c := auth.Client{
		ID: id, Title: "The " + id, Confidential: true,
		RedirectURIs: []string{redirectURI, redirectURI + "/2"},
		GrantTypes:   []string{auth.GrantAuthorizationCode, auth.GrantRefreshToken},
	}
	if change != nil {
		change(&c)
	}
	added, _, err := f.Clients.Add(f.Context(), authtest.Operator(), c)
	must(f, err)
	return added
}

// parameters are those of a request that is all right, with others set or, by "", left out.
func parameters(pairs ...string) map[string][]string {
	all := map[string][]string{
		"client_id": {"shop"}, "redirect_uri": {redirectURI}, "response_type": {"code"},
		"scope": {"openid profile"}, "state": {"xyz"}, "nonce": {"n-0S6"},
		"code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"},
	}
	for n := 0; n < len(pairs); n += 2 {
		all[pairs[n]] = []string{pairs[n+1]}
		if pairs[n+1] == "" {
			delete(all, pairs[n])
		}
	}
	return all
}

func (f *fixture) code(b auth.Browser, pairs ...string) string {
	f.Helper()
	request, err := f.Authorizations.Parse(f.Context(), parameters(pairs...))
	must(f, err)
	to, err := f.Authorizations.Issue(f.Context(), request, b)
	must(f, err)
	return codeIn(f, to)
}

// codeIn is the code of a URL that leads back to an app.
func codeIn(t testing.TB, to string) string {
	t.Helper()
	u, err := url.Parse(to)
	must(t, err)
	return u.Query().Get("code")
}

func (f *fixture) redeem(c auth.Client, code string) (auth.Grant, error) {
	return f.Tokens.Redeem(f.Context(), auth.CodeRedemption{
		Code: code, RedirectURI: redirectURI, Verifier: verifier,
	}, auth.Caller{Address: "192.0.2.9", Client: c})
}

// shopWithAlice is an app, and a browser in which alice is logged in.
func shopWithAlice(t *testing.T) (*clocked, auth.Client, auth.Browser) {
	t.Helper()
	c := startClocked(t)
	c.register("alice")
	shop := c.app("shop", nil)
	return c, shop, c.browser(c.inBrowser("alice", auth.BrowserLogin{}).Cookie)
}

// Who steals a code must not get tokens by it: code not bound to its client, PKCE downgrade,
// redirect URI of somebody else.
func TestACodeIsGoodForWhatItWasMadeForAndForNothingElse(t *testing.T) {
	t.Parallel()
	c, shop, alice := shopWithAlice(t)
	other := c.app("other", nil)
	loose := c.app("loose", func(c *auth.Client) { c.WithoutPKCE = true })
	right := auth.CodeRedemption{RedirectURI: redirectURI, Verifier: verifier}
	for name, test := range map[string]struct {
		by     auth.Client
		change func(*auth.CodeRedemption)
	}{
		"another client":           {by: other},
		"the first-party client":   {by: auth.Client{}},
		"no verifier":              {change: func(r *auth.CodeRedemption) { r.Verifier = "" }},
		"another verifier":         {change: func(r *auth.CodeRedemption) { r.Verifier += "x" }},
		"the challenge":            {change: func(r *auth.CodeRedemption) { r.Verifier = challengeOf(verifier) }},
		"another redirect URI":     {change: func(r *auth.CodeRedemption) { r.RedirectURI += "/" }},
		"another of its URIs":      {change: func(r *auth.CodeRedemption) { r.RedirectURI += "/2" }},
		"no redirect URI":          {change: func(r *auth.CodeRedemption) { r.RedirectURI = "" }},
		"the redirect URI's case":  {change: func(r *auth.CodeRedemption) { r.RedirectURI = strings.ToUpper(redirectURI) }},
		"another code":             {change: func(r *auth.CodeRedemption) { r.Code = r.Code[:len(r.Code)-1] }},
		"the code without prefix":  {change: func(r *auth.CodeRedemption) { r.Code = r.Code[4:] }},
		"a code with more behind":  {change: func(r *auth.CodeRedemption) { r.Code += "A" }},
		"an empty code":            {change: func(r *auth.CodeRedemption) { r.Code = "" }},
		"a verifier with NUL":      {change: func(r *auth.CodeRedemption) { r.Verifier = verifier + "\x00" }},
		"a redirect URI with NUL":  {change: func(r *auth.CodeRedemption) { r.RedirectURI += "\x00" }},
		"a verifier that is short": {change: func(r *auth.CodeRedemption) { r.Verifier = "short" }},
	} {
		redemption := right
		redemption.Code = c.code(alice)
		by := shop
		if test.change != nil {
			test.change(&redemption)
		} else {
			by = test.by
		}
		grant, err := c.Tokens.Redeem(c.Context(), redemption, auth.Caller{Client: by})
		if !errors.Is(err, auth.ErrInvalidCode) || grant.AccessToken != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A code without a challenge, for whoever may have one, is not redeemed with a verifier. The
	// app sent a challenge, and an attacker took it out.
	code := c.code(alice, "client_id", "loose", "code_challenge", "", "code_challenge_method", "")
	if _, err := c.redeem(loose, code); !errors.Is(err, auth.ErrInvalidCode) {
		t.Errorf("a verifier for a code without a challenge: %v", err)
	}
	code = c.code(alice, "client_id", "loose", "code_challenge", "", "code_challenge_method", "")
	_, err := c.Tokens.Redeem(c.Context(), auth.CodeRedemption{Code: code, RedirectURI: redirectURI},
		auth.Caller{Client: loose})
	must(t, err)
}

// code redeemed twice by a race
func TestOfAHundredWhoRedeemACodeAtOnceOneGetsTokensAndThenNobodyHasThem(t *testing.T) {
	t.Parallel()
	c, shop, alice := shopWithAlice(t)
	code := c.code(alice)
	var got atomic.Pointer[auth.Grant]
	var won, refused atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			grant, err := c.redeem(shop, code)
			switch {
			case err == nil:
				won.Add(1)
				got.Store(&grant)
			case errors.Is(err, auth.ErrInvalidCode):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || refused.Load() != 99 {
		t.Fatalf("%d got tokens, %d were refused", won.Load(), refused.Load())
	}
	c.wantMe("after the second use", *got.Load(), auth.ErrInvalidToken)
	access := c.access(*got.Load())
	if reason := c.endReason(access.SessionID); reason != "reuse" {
		t.Errorf("the session ended by %q", reason)
	}
	c.browser(c.inBrowser("alice", auth.BrowserLogin{}).Cookie) // the browser itself goes on
}

// An attacker who only has an old code must not log users out of another app.
func TestASecondUseByAnotherClientEndsNothing(t *testing.T) {
	t.Parallel()
	c, shop, alice := shopWithAlice(t)
	other := c.app("other", nil)
	code := c.code(alice)
	grant, err := c.redeem(shop, code)
	must(t, err)
	if _, err := c.redeem(other, code); !errors.Is(err, auth.ErrInvalidCode) {
		t.Error(err)
	}
	c.wantMe("after the use by another", grant, nil)
}

func TestACodeEndsWithItsMinuteItsBrowserItsUserAndItsClient(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*clocked, auth.Browser) error{
		"a minute": func(c *clocked, _ auth.Browser) error {
			_, err := c.conn.Exec(c.Context(),
				"UPDATE authorization_codes SET expires_at = expires_at - interval '61 s'")
			return err
		},
		"logout": func(c *clocked, b auth.Browser) error {
			return c.Sessions.Logout(c.Context(), b.Access)
		},
		"ban": func(c *clocked, b auth.Browser) error {
			_, err := c.Accounts.Disable(c.Context(), authtest.Operator(), auth.ByID(b.User.ID), nil)
			return err
		},
		"another password": func(c *clocked, b auth.Browser) error {
			_, err := c.Logins.ChangePasswordInBrowser(c.Context(), b.Access, goodPassword,
				"another correct horse")
			return err
		},
		"disabled client": func(c *clocked, _ auth.Browser) error {
			return c.Clients.Disable(c.Context(), authtest.Operator(), "shop", nil)
		},
	} {
		c, shop, alice := shopWithAlice(t)
		code := c.code(alice)
		must(t, end(c, alice))
		if _, err := c.redeem(shop, code); !errors.Is(err, auth.ErrInvalidCode) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Ending the browser's session while a code of it is redeemed must not leave the app with a
// session.
func TestWhatACodeStartsEndsWithABrowserThatEndsAtTheSameMoment(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	shop := c.app("shop", nil)
	for range 20 {
		alice := c.browser(c.inBrowser("alice", auth.BrowserLogin{}).Cookie)
		code := c.code(alice)
		var grant auth.Grant
		var redeemed error
		var wg sync.WaitGroup
		wg.Go(func() { grant, redeemed = c.redeem(shop, code) })
		wg.Go(func() { must(t, c.Sessions.Logout(c.Context(), alice.Access)) })
		wg.Wait()
		if redeemed == nil {
			c.wantMe("after the browser's end", grant, auth.ErrInvalidToken)
		} else if !errors.Is(redeemed, auth.ErrInvalidCode) {
			t.Error(redeemed)
		}
	}
}

func TestAnIDTokenSaysWhoLoggedInAndWhen(t *testing.T) {
	t.Parallel()
	c, shop, alice := shopWithAlice(t)
	grant, err := c.redeem(shop, c.code(alice, "scope", "openid profile groups"))
	must(t, err)
	got, err := c.IDTokens.VerifyHint(grant.IDToken)
	must(t, err)
	access := c.access(grant)
	if got.Subject != alice.User.ID || got.Audience != "shop" || got.Nonce != "n-0S6" ||
		got.SessionID != access.SessionID || got.AuthTime.Unix() != alice.AuthTime.Unix() ||
		!slices.Equal(got.AMR, []string{"pwd"}) || got.ACR != "aal1" ||
		got.PreferredUsername != "alice" {
		t.Errorf("%+v", got)
	}
	again := c.mustRefreshBy(shop, grant)
	got, err = c.IDTokens.VerifyHint(again.IDToken)
	must(t, err)
	if got.Nonce != "" || got.AuthTime.Unix() != alice.AuthTime.Unix() ||
		got.SessionID != access.SessionID {
		t.Errorf("of a refresh: %+v", got)
	}
	plain, err := c.redeem(shop, c.code(alice, "scope", ""))
	must(t, err)
	if plain.IDToken != "" {
		t.Error("an app that did not ask for openid got an ID token")
	}
	if _, err := c.Access.UserInfo(c.Context(), c.access(plain)); !errors.Is(err, auth.ErrForbidden) {
		t.Errorf("userinfo without openid: %v", err)
	}
}

func (c *clocked) mustRefreshBy(client auth.Client, g auth.Grant) auth.Grant {
	c.Helper()
	grant, err := c.Tokens.Refresh(c.Context(), g.RefreshToken, auth.Caller{Client: client})
	must(c, err)
	return grant
}

func TestAnAppLivesNoLongerThanItsBrowserUnlessItIsOffline(t *testing.T) {
	t.Parallel()
	c, shop, alice := shopWithAlice(t)
	bound, err := c.redeem(shop, c.code(alice))
	must(t, err)
	offline, err := c.redeem(shop, c.code(alice, "scope", "openid offline_access"))
	must(t, err)
	c.age(12 * time.Hour)
	by := auth.Caller{Client: shop}
	if _, err := c.Tokens.Refresh(c.Context(), bound.RefreshToken, by); !errors.Is(err, auth.ErrSessionOver) {
		t.Errorf("after the browser's session: %v", err)
	}
	_, err = c.Tokens.Refresh(c.Context(), offline.RefreshToken, by)
	must(t, err)
}

// An app in a loop would fill the table of sessions, or push the browsers out.
func TestAnAppHasTwentySessionsThroughABrowserAndThoseDoNotCount(t *testing.T) {
	t.Parallel()
	c, shop, alice := shopWithAlice(t)
	var first auth.Grant
	for n := range 21 {
		grant, err := c.redeem(shop, c.code(alice))
		must(t, err)
		if n == 0 {
			first = grant
		}
	}
	if got := c.endReason(c.access(first).SessionID); got != "evicted" {
		t.Errorf("the first ended by %q", got)
	}
	var live int
	must(t, c.conn.QueryRow(c.Context(), `
		SELECT count(*) FROM sessions WHERE ended_at IS NULL AND parent_id = $1`, alice.Access.SessionID,
	).Scan(&live))
	if live != 20 {
		t.Errorf("%d live", live)
	}
}

func TestAnAuthorizationRequestIsRefusedByTheErrorOfItsFault(t *testing.T) {
	t.Parallel()
	c, _, alice := shopWithAlice(t)
	c.app("off", nil)
	must(t, c.Clients.Disable(c.Context(), authtest.Operator(), "off", nil))
	c.app("worker", func(c *auth.Client) {
		c.RedirectURIs, c.GrantTypes = nil, []string{auth.GrantClientCredentials}
	})
	grant, err := c.redeem(c.client("shop"), c.code(alice))
	must(t, err)
	for name, test := range map[string]struct {
		change []string
		want   error
		told   bool // to the client
	}{
		"no client":               {[]string{"client_id", ""}, auth.ErrUnknownApp, false},
		"unknown client":          {[]string{"client_id", "nobody"}, auth.ErrUnknownApp, false},
		"the built-in client":     {[]string{"client_id", token.FirstParty}, auth.ErrUnknownApp, false},
		"disabled client":         {[]string{"client_id", "off"}, auth.ErrUnknownApp, false},
		"client without the flow": {[]string{"client_id", "worker"}, auth.ErrUnknownApp, false},
		"client with NUL":         {[]string{"client_id", "shop\x00"}, auth.ErrUnknownApp, false},
		"no redirect URI":         {[]string{"redirect_uri", ""}, auth.ErrRedirectURI, false},
		"another redirect URI":    {[]string{"redirect_uri", "https://evil.example/"}, auth.ErrRedirectURI, false},
		"no response type":        {[]string{"response_type", ""}, auth.ErrAuthorizationRequest, true},
		"implicit":                {[]string{"response_type", "token"}, auth.ErrResponseType, true},
		"hybrid":                  {[]string{"response_type", "code id_token"}, auth.ErrResponseType, true},
		"fragment":                {[]string{"response_mode", "fragment"}, auth.ErrAuthorizationRequest, true},
		"no challenge":            {[]string{"code_challenge", ""}, auth.ErrAuthorizationRequest, true},
		"neither challenge nor method": {
			[]string{"code_challenge", "", "code_challenge_method", ""},
			auth.ErrAuthorizationRequest, true,
		},
		"plain":            {[]string{"code_challenge_method", "plain"}, auth.ErrAuthorizationRequest, true},
		"no method":        {[]string{"code_challenge_method", ""}, auth.ErrAuthorizationRequest, true},
		"short challenge":  {[]string{"code_challenge", "short"}, auth.ErrAuthorizationRequest, true},
		"request":          {[]string{"request", "x.y.z"}, auth.ErrRequestObject, true},
		"request_uri":      {[]string{"request_uri", "https://shop.example/r"}, auth.ErrRequestURI, true},
		"registration":     {[]string{"registration", "{}"}, auth.ErrRegistrationObject, true},
		"bad scope":        {[]string{"scope", "openid Ä"}, auth.ErrInvalidScope, true},
		"bad prompt":       {[]string{"prompt", "maybe"}, auth.ErrAuthorizationRequest, true},
		"none and login":   {[]string{"prompt", "none login"}, auth.ErrAuthorizationRequest, true},
		"bad max_age":      {[]string{"max_age", "-1"}, auth.ErrAuthorizationRequest, true},
		"bad claims":       {[]string{"claims", "{"}, auth.ErrAuthorizationRequest, true},
		"forged hint":      {[]string{"id_token_hint", "x.y.z"}, auth.ErrAuthorizationRequest, true},
		"access for hint":  {[]string{"id_token_hint", grant.AccessToken}, auth.ErrAuthorizationRequest, true},
		"foreign resource": {[]string{"resource", "https://other.example/"}, auth.ErrInvalidTarget, true},
		"essential acr": {
			[]string{"claims", `{"id_token":{"acr":{"essential":true,"values":["2"]}}}`},
			auth.ErrUnmetRequirements, true,
		},
		"long nonce":     {[]string{"nonce", strings.Repeat("n", 1025)}, auth.ErrAuthorizationRequest, true},
		"nonce with NUL": {[]string{"nonce", "n\x00"}, auth.ErrAuthorizationRequest, true},
		"nonce no text":  {[]string{"nonce", "n\xff"}, auth.ErrAuthorizationRequest, true},
		"long state":     {[]string{"state", strings.Repeat("s", 4097)}, auth.ErrAuthorizationRequest, true},
	} {
		request, err := c.Authorizations.Parse(c.Context(), parameters(test.change...))
		if !errors.Is(err, test.want) || (request.RedirectURI != "") != test.told {
			t.Errorf("%s: %v, redirect URI %q", name, err, request.RedirectURI)
		}
	}
	for _, same := range []string{"client_id", "redirect_uri"} {
		p := parameters()
		p[same] = append(p[same], p[same]...) // RFC 6749 §3.1
		want := map[string]error{"client_id": auth.ErrUnknownApp, "redirect_uri": auth.ErrRedirectURI}[same]
		request, err := c.Authorizations.Parse(c.Context(), p)
		if !errors.Is(err, want) || request.RedirectURI != "" {
			t.Errorf("the same %s twice: %v, redirect URI %q", same, err, request.RedirectURI)
		}
	}
	for _, twice := range []string{"state", "scope", "prompt", "nonce", "code_challenge"} {
		p := parameters()
		p[twice] = []string{"a", "b"}
		if _, err := c.Authorizations.Parse(c.Context(), p); !errors.Is(err, auth.ErrAuthorizationRequest) {
			t.Errorf("%s twice: %v", twice, err)
		}
	}
	fine := parameters("foo", "bar", "display", "popup", "acr_values", "9", "ui_locales", "de",
		"prompt", "login consent", "max_age", "0", "id_token_hint", grant.IDToken)
	fine["unknown"] = []string{"a", "b"}
	if _, err := c.Authorizations.Parse(c.Context(), fine); err != nil {
		t.Errorf("a request that is fine: %v", err)
	}
}

func (f *fixture) client(id string) auth.Client {
	f.Helper()
	found, err := f.Clients.Find(f.Context(), id)
	must(f, err)
	return found
}

// Every case is an app that would get a code for somebody whom it did not mean.
func TestTheNextStepOfARequestIsWhatTheAppDemands(t *testing.T) {
	t.Parallel()
	now := time.Now()
	alice := auth.Browser{
		User: auth.User{ID: uuid.New(), Roles: []string{"clerk"}}, Now: now,
		AuthTime: now.Add(-time.Hour),
	}
	second, hour, day := time.Second, time.Hour, 24*time.Hour
	for name, test := range map[string]struct {
		request auth.AuthorizationRequest
		session *auth.Browser
		allowed []string
		want    auth.AuthorizationStep
		err     error
	}{
		"not logged in": {want: auth.StepLogin},
		"logged in":     {session: &alice, want: auth.StepCode},
		"quietly not logged in": {
			request: auth.AuthorizationRequest{Prompt: []string{auth.PromptNone}},
			err:     auth.ErrLoginRequired,
		},
		"quietly logged in": {
			request: auth.AuthorizationRequest{Prompt: []string{auth.PromptNone}},
			session: &alice, want: auth.StepCode,
		},
		"login demanded": {
			request: auth.AuthorizationRequest{Prompt: []string{auth.PromptLogin}},
			session: &alice, want: auth.StepLogin,
		},
		"choice demanded": {
			request: auth.AuthorizationRequest{Prompt: []string{auth.PromptSelectAccount}},
			session: &alice, want: auth.StepChoose,
		},
		"too old":     {request: auth.AuthorizationRequest{MaxAge: &second}, session: &alice, want: auth.StepLogin},
		"just so old": {request: auth.AuthorizationRequest{MaxAge: &hour}, session: &alice, want: auth.StepCode},
		"young":       {request: auth.AuthorizationRequest{MaxAge: &day}, session: &alice, want: auth.StepCode},
		"quietly too old": {
			request: auth.AuthorizationRequest{MaxAge: &second, Prompt: []string{auth.PromptNone}},
			session: &alice, err: auth.ErrLoginRequired,
		},
		"another user meant": {
			request: auth.AuthorizationRequest{Hint: token.IDToken{Subject: uuid.New()}},
			session: &alice, want: auth.StepLogin,
		},
		"this user meant": {
			request: auth.AuthorizationRequest{Hint: token.IDToken{Subject: alice.User.ID}},
			session: &alice, want: auth.StepCode,
		},
		"another user meant by claims": {
			request: auth.AuthorizationRequest{
				Claims: auth.ClaimRequest{Subjects: []uuid.UUID{uuid.New(), uuid.New()}},
			},
			session: &alice, want: auth.StepLogin,
		},
		"another user meant by claims, and logged in for it": {
			request: auth.AuthorizationRequest{
				Claims:     auth.ClaimRequest{Subjects: []uuid.UUID{uuid.New()}},
				LoginAfter: now.Add(-2 * time.Hour),
			},
			session: &alice, want: auth.StepLogin,
		},
		"another user meant by claims, quietly": {
			request: auth.AuthorizationRequest{
				Claims: auth.ClaimRequest{Subjects: []uuid.UUID{uuid.New()}},
				Prompt: []string{auth.PromptNone},
			},
			session: &alice, err: auth.ErrLoginRequired,
		},
		"this user meant by claims": {
			request: auth.AuthorizationRequest{
				Claims: auth.ClaimRequest{Subjects: []uuid.UUID{uuid.New(), alice.User.ID}},
			},
			session: &alice, want: auth.StepCode,
		},
		"lacks the role": {
			request: auth.AuthorizationRequest{Client: auth.Client{RequiredRole: "admin"}},
			session: &alice, err: auth.ErrAccessDenied,
		},
		"has the role": {
			request: auth.AuthorizationRequest{Client: auth.Client{RequiredRole: "clerk"}},
			session: &alice, want: auth.StepCode,
		},
		"asked": {
			request: auth.AuthorizationRequest{Client: auth.Client{Ask: true}},
			session: &alice, want: auth.StepConsent,
		},
		"asked before": {
			request: auth.AuthorizationRequest{Client: auth.Client{Ask: true}, OpenID: []string{"openid"}},
			session: &alice, allowed: []string{"openid", auth.AskAll}, want: auth.StepCode,
		},
		"asked before, but not for all rights": {
			request: auth.AuthorizationRequest{Client: auth.Client{Ask: true}, OpenID: []string{"openid"}},
			session: &alice, allowed: []string{"openid"}, want: auth.StepConsent,
		},
		"asks for more": {
			request: auth.AuthorizationRequest{
				Client: auth.Client{Ask: true}, OpenID: []string{"openid"}, Scope: "files:read",
			},
			session: &alice, allowed: []string{"openid"}, want: auth.StepConsent,
		},
		"consent demanded": {
			request: auth.AuthorizationRequest{Prompt: []string{auth.PromptConsent}},
			session: &alice, allowed: []string{}, want: auth.StepConsent,
		},
		"quietly to be asked": {
			request: auth.AuthorizationRequest{
				Client: auth.Client{Ask: true}, Prompt: []string{auth.PromptNone},
			},
			session: &alice, err: auth.ErrConsentRequired,
		},
	} {
		got, err := test.request.Next(test.session, test.allowed)
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}

// A demand that somebody got elsewhere, before the last login, must not pass for a login that
// followed another request.
func TestADemandForALoginIsGoodForItsRequestAlone(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	c.app("shop", nil)
	demand := c.Authorizations.DemandLogin(c.request("prompt", "login"), nil)
	alice := c.browser(c.inBrowser("alice", auth.BrowserLogin{}).Cookie)
	c.wantStep("its own request", alice, auth.StepCode, "prompt", "login",
		auth.DemandParameter, demand)
	for name, pair := range map[string][]string{
		"another state":        {"state", "other"},
		"another nonce":        {"nonce", "other"},
		"another challenge":    {"code_challenge", challengeOf(verifier + "x")},
		"another redirect URI": {"redirect_uri", redirectURI + "/2"},
	} {
		c.wantStep(name, alice, auth.StepLogin, append(pair, "prompt", "login",
			auth.DemandParameter, demand)...)
	}
}

// Two who lock the same rows in another order each wait for the other, until the database gives up
// on one of them.
func TestRedeemingACodeStandsInNobodysWay(t *testing.T) {
	t.Parallel()
	c, shop, alice := shopWithAlice(t)
	code := c.code(alice)
	tx, err := c.conn.Begin(t.Context())
	must(t, err)
	// as a change of the password does
	_, err = tx.Exec(t.Context(), "UPDATE users SET updated_at = now() WHERE id = $1", alice.User.ID)
	must(t, err)
	redeemed := c.sendOff(0, func() error { _, err := c.redeem(shop, code); return err })
	_, err = tx.Exec(t.Context(), "SET LOCAL lock_timeout = '500 ms'")
	must(t, err)
	_, err = tx.Exec(t.Context(), "UPDATE sessions SET last_used_at = now() WHERE id = $1",
		alice.Access.SessionID)
	must(t, errors.Join(err, tx.Commit(t.Context()), <-redeemed))
}
