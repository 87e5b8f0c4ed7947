package web_test

import (
	"encoding/base64"
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/otp"
)

// found is what a page has at the one place of an expression.
func (f *fixture) found(a answered, expression string) string {
	f.Helper()
	match := regexp.MustCompile(expression).FindStringSubmatch(a.body)
	if match == nil {
		f.Fatalf("%d, the page lacks %s: %s", a.status, expression, a.body)
	}
	return match[1]
}

// scanned is the secret that a page offers, and what its form sends back of it.
func (f *fixture) scanned(a answered) (secret otp.Secret, sealed string) {
	f.Helper()
	secret, err := otp.ParseSecret(f.found(a, `<p><code>([A-Z2-7 ]+)</code></p>`))
	must(f, err)
	return secret, f.found(a, `name="sealed" value="([^"]+)"`)
}

func codesIn(a answered) (codes []string) {
	for _, match := range regexp.MustCompile(`<li><code>([^<]+)</code></li>`).FindAllStringSubmatch(a.body, -1) {
		codes = append(codes, match[1])
	}
	return codes
}

// now is the code that an app shows. It is good again: a test does not wait for the next one.
func (a *audited) now(secret otp.Secret) string {
	a.Helper()
	a.exec("UPDATE totp_secrets SET last_step = 0")
	return secret.Code(otp.Step(time.Now()))
}

// setUpApp gives an account an authenticator app, by its pages.
func (a *audited) setUpApp(b *browser, username string, more ...string) (otp.Secret, answered) {
	a.Helper()
	secret, sealed := a.scanned(b.get("/account/security/app"))
	done := b.post("/account/security/app", append([]string{
		"as", username, "sealed", sealed, "factor", secret.Code(otp.Step(time.Now())),
	}, more...)...)
	return secret, done
}

// key is an authenticator with one passkey. It knows its user.
type key struct {
	rp   virtualwebauthn.RelyingParty
	auth virtualwebauthn.Authenticator
	cred virtualwebauthn.Credential
}

func newKey() key {
	cred := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	for len(cred.Key.AttestationData()) != 77 { // it leaves out zeros at the begin of a coordinate
		cred = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	}
	return key{
		virtualwebauthn.RelyingParty{ID: "id.test", Name: "Gatehouse", Origin: "https://id.test"},
		virtualwebauthn.NewAuthenticator(), cred,
	}
}

// makes answers the options for a new passkey.
func (k *key) makes(f *fixture, options answered) string {
	f.Helper()
	f.shows(options, 200)
	asked, err := virtualwebauthn.ParseAttestationOptions(`{"publicKey":` + options.body + `}`)
	must(f, err)
	id := f.found(options, `"user":\{"id":"([^"]+)"`)
	handle, err := base64.RawURLEncoding.DecodeString(id)
	must(f, err)
	k.auth.Options.UserHandle = handle
	return virtualwebauthn.CreateAttestationResponse(k.rp, k.auth, k.cred, *asked)
}

// proves answers the options for a login. The counter moves on.
func (k *key) proves(f *fixture, options answered) string {
	f.Helper()
	f.shows(options, 200)
	asked, err := virtualwebauthn.ParseAssertionOptions(`{"publicKey":` + options.body + `}`)
	must(f, err)
	k.cred.Counter++
	return virtualwebauthn.CreateAssertionResponse(k.rp, k.auth, k.cred, *asked)
}

// addKey gives an account a passkey, by its pages.
func (a *audited) addKey(b *browser, username, name string, more ...string) (*key, answered) {
	a.Helper()
	made := newKey()
	answer := made.makes(a.fixture, b.get("/account/security/options"))
	return &made, b.post("/account/security/passkey",
		append([]string{"as", username, "name", name, "passkey", answer}, more...)...)
}

// stale makes all proofs too old for what only the owner of an account may do.
func (a *audited) stale() {
	a.Helper()
	a.exec("UPDATE sessions SET auth_time = auth_time - interval '1 hour'")
}

// Whoever knows the password alone must get nothing: neither a session, nor a page of the account.
func TestAPasswordAloneGivesNothingOfAnAccountWithASecondStep(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	secret, done := a.setUpApp(a.b, "alice")
	codes := codesIn(done)
	b := a.browser()
	a.sent(b.login("alice", goodPassword, "next", "/account"), "/login/factor?next=%2Faccount")
	if b.session() != "" || b.cookies["gatehouse_login"] == "" {
		t.Fatalf("the cookies are %v", b.cookies)
	}
	a.sent(b.get("/account"), "/login?next=%2Faccount")
	page := b.get("/login/factor?next=%2Faccount")
	a.shows(page, 200, "<strong>alice</strong>", `name="factor"`, `name="next" value="/account"`)
	if strings.Contains(page.body, b.cookies["gatehouse_login"]) {
		t.Error("the page has what no script may read")
	}
	stolen := b.copied()
	a.shows(b.post("/login/factor", "factor", "000000", "next", "/account"), 400,
		`id="failure"`, "The code is not right", "<strong>alice</strong>")
	a.shows(b.post("/login/factor", "next", "/account"), 400, "The code is not right")
	if b.session() != "" {
		t.Fatal("a wrong code gives a session")
	}
	a.sent(b.post("/login/factor", "factor", a.now(secret), "next", "/account"), "/account")
	if who := b.who(); who != "alice" || b.cookies["gatehouse_login"] != "" {
		t.Errorf("%q is logged in, and the cookies are %v", who, b.cookies)
	}
	for name, again := range map[string]answered{
		"shown": stolen.get("/login/factor?next=%2Faccount"),
		"sent":  stolen.post("/login/factor", "factor", a.now(secret), "next", "/account"),
	} {
		if again.location() != "/login?next=%2Faccount&notice=login_over" {
			t.Errorf("%s again: %d to %q", name, again.status, again.location())
		}
	}
	for _, want := range []int{303, 400} {
		lost := a.browser()
		lost.login("alice", goodPassword)
		if used := lost.post("/login/factor", "factor", strings.ToLower(codes[0])); used.status != want {
			t.Errorf("a recovery code: %d, want %d", used.status, want)
		}
	}
	a.sent(a.browser().get("/login/factor"), "/login?notice=login_over")
	a.shows(a.browser().get("/login?notice=login_over"), 200, "took too long")
}

// A browser that is trusted would otherwise do for what an app or a page demands two steps.
func TestATrustedDeviceStandsInForTheSecondStepAndNotWhereItIsDemanded(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	secret, _ := a.setUpApp(a.b, "alice")
	b := a.browser()
	b.login("alice", goodPassword)
	a.shows(b.get("/login/factor"), 200, "Trust this device for 30 days")
	a.sent(b.post("/login/factor", "factor", a.now(secret), "trust", "yes"), "/")
	a.shows(b.get("/account/security"), 200, "Trusted devices", `name="device"`)
	a.sent(b.post("/end-session", "as", "alice", "choice", "log_out"), "/end-session")
	stranger := a.browser()
	a.sent(stranger.login("alice", goodPassword), "/login/factor")
	a.sent(b.login("alice", goodPassword), "/")
	login := b.get(b.get("/account/security/passkey").location())
	next := html.UnescapeString(a.found(login, `name="next" value="([^"]+)"`))
	asked := b.login("alice", goodPassword, "next", next)
	if !strings.HasPrefix(asked.location(), "/login/factor?") {
		t.Fatalf("a demand is met by a trusted device: %d to %q", asked.status, asked.location())
	}
	for _, demand := range []string{"max_age=300", "prompt=login", "prompt=consent+login"} {
		name, value, _ := strings.Cut(strings.ReplaceAll(demand, "+", " "), "=")
		by := b.copied().login("alice", goodPassword, "next", request(name, value))
		if !strings.HasPrefix(by.location(), "/login/factor?") {
			t.Errorf("%s is met by a trusted device: %d to %q", demand, by.status, by.location())
		}
	}
	if by := b.copied().login("alice", goodPassword, "next", request()); by.location() != request() {
		t.Errorf("an app that demands nothing: %d to %q", by.status, by.location())
	}
	page := b.get(asked.location())
	if page.status != 200 || strings.Contains(page.body, `name="trust"`) {
		t.Errorf("%d, trust is offered: %s", page.status, page.body)
	}
	a.sent(b.post("/login/factor", "factor", a.now(secret), "next", next), "/account/security/passkey")
	a.sent(b.post("/account/security/devices", "as", "alice", "choice", "all"),
		"/account/security?notice=device_forgotten")
	a.sent(b.post("/end-session", "as", "alice", "choice", "log_out"), "/end-session")
	a.sent(b.login("alice", goodPassword), "/login/factor")
}

// Somebody who has to set up a second step would otherwise be locked out, or get in without.
func TestWhoeverMustHaveASecondStepSetsItUpAtTheLogin(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	a.demandFactor()
	b := a.browser()
	a.sent(b.login("root", goodPassword, "next", "/account"), "/login/enrol?next=%2Faccount")
	a.sent(b.get("/login/factor?next=%2Faccount"), "/login/enrol?next=%2Faccount")
	page := b.get("/login/enrol?next=%2Faccount")
	a.shows(page, 200, "<strong>root</strong>", "<svg", `href="otpauth://totp/`, `data-passkey="create"`)
	secret, sealed := a.scanned(page)
	wrong := b.post("/login/enrol", "sealed", sealed, "factor", "000000", "next", "/account")
	a.shows(wrong, 400, "The code is not right")
	if same, _ := a.scanned(wrong); same.Text() != secret.Text() {
		t.Error("the secret is another one, and the app has the first")
	}
	if b.session() != "" {
		t.Fatal("there is a session")
	}
	done := b.post("/login/enrol", "sealed", sealed, "factor", secret.Code(otp.Step(time.Now())),
		"next", "/account")
	a.shows(done, 200, "Keep these recovery codes", `name="next" value="/account"`, "required")
	if codes := codesIn(done); len(codes) != 10 || b.who() != "root" {
		t.Errorf("codes %v for %q", codes, b.who())
	}
	a.sent(b.post("/login", "choice", "current", "as", "root", "next", "/account"), "/account")
	// Whoever leaves that page can have codes anew.
	again := b.post("/account/security/codes", "as", "root")
	if codes := codesIn(again); again.status != 200 || len(codes) != 10 || codes[0] == codesIn(done)[0] {
		t.Errorf("%d, codes %v", again.status, codes)
	}
	a.exec("DELETE FROM totp_secrets")
	byKey := a.browser()
	a.sent(byKey.login("root", goodPassword), "/login/enrol")
	made := newKey()
	answer := made.makes(a.fixture, byKey.get("/login/enrol/passkey"))
	a.shows(byKey.post("/login/enrol", "passkey", answer, "name", "Firefox, Linux"), 200, "recovery codes")
	a.shows(byKey.get("/account/security"), 200, "Firefox, Linux")
}

// A passkey must do for a login by itself, in the browser that has asked for it and once.
func TestAPasskeyLogsInWithoutANameWhereItWasAskedFor(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	made, _ := a.addKey(a.b, "alice", "My key")
	b, other := a.browser(), a.browser()
	a.shows(b.get("/login?next=%2Faccount"), 200, `autocomplete="username webauthn"`,
		`data-options="/login/passkey"`)
	other.get("/login")
	if b.cookies["gatehouse_visitor"] == "" || b.cookies["gatehouse_visitor"] == other.cookies["gatehouse_visitor"] {
		t.Fatalf("the visitors are %v and %v", b.cookies, other.cookies)
	}
	answer := made.proves(a.fixture, b.get("/login/passkey"))
	for name, refused := range map[string]answered{
		"elsewhere": other.post("/login/passkey", "passkey", answer),
		"no cookie": a.browser().post("/login/passkey", "passkey", answer),
		"nothing":   b.post("/login/passkey"),
		"nonsense":  b.post("/login/passkey", "passkey", "{}"),
	} {
		a.shows(refused, 400, `id="failure"`, "The passkey was not accepted")
		if sessionCookieOf(refused) != nil {
			t.Errorf("%s: there is a session", name)
		}
	}
	again := b.copied()
	a.sent(b.post("/login/passkey", "passkey", answer, "next", "/account", "remember", "yes"), "/account")
	if who := b.who(); who != "alice" {
		t.Errorf("%q is logged in", who)
	}
	a.shows(again.post("/login/passkey", "passkey", answer), 400, "not accepted")
	// With the password, it is the second step.
	second := a.browser()
	a.sent(second.login("alice", goodPassword), "/login/factor")
	a.shows(second.get("/login/factor"), 200, `data-options="/login/factor/passkey"`)
	answer = made.proves(a.fixture, second.get("/login/factor/passkey"))
	a.shows(second.post("/login/factor", "passkey", "{}"), 400, "The passkey was not accepted")
	a.sent(second.post("/login/factor", "passkey", answer), "/")
}

// A policy that allows scripts where none is needed would help whoever gets one into a page.
func TestOnlyPagesForPasskeysMayRunTheScript(t *testing.T) {
	t.Parallel()
	for at, has := range map[string]bool{"https://id.test": true, "none": false} {
		a := startAudited(t, settings{options: authtest.Options{PasskeysAt: at}}, nil)
		scripted := map[string]bool{"/login": has, "/account/security/passkey": has}
		for _, path := range []string{
			"/", "/login", "/login/password", "/register", "/account", "/account/security",
			"/account/security/app", "/account/security/passkey", "/missing",
		} {
			page := a.b.get(path)
			want := policy("'self'")
			if scripted[path] {
				want += script
			}
			if got := page.header.Get("Content-Security-Policy"); got != want ||
				strings.Contains(page.body, "<script") != scripted[path] {
				t.Errorf("%s at %s: %s: %s", at, path, got, page.body)
			}
		}
		if visitor := a.b.cookies["gatehouse_visitor"] != ""; visitor != has {
			t.Errorf("at %s, there is a cookie for passkeys: %v", at, visitor)
		}
	}
}

// The answer to a script is no page: a redirect of it would lead nowhere.
func TestTheScriptIsAnsweredInJSONOrRefused(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	a.addKey(a.b, "alice", "My key")
	second := a.browser()
	second.login("alice", goodPassword)
	for path, b := range map[string]*browser{
		"/login/passkey": a.browser(), "/login/factor/passkey": second,
		"/account/security/options": a.b, "/account/security/offered": a.b,
	} {
		got := b.get(path)
		if got.status != http.StatusOK || !strings.HasPrefix(got.header.Get("Content-Type"), "application/json") ||
			got.header.Get("Cache-Control") != "no-store" || !strings.Contains(got.body, `"challenge":"`) {
			t.Errorf("%s: %d %v %s", path, got.status, got.header, got.body)
		}
		if path == "/login/passkey" {
			continue
		}
		if got := a.browser().get(path); got.status < 400 {
			t.Errorf("%s for anybody: %d to %q", path, got.status, got.location())
		}
	}
	a.stale()
	if got := a.b.get("/account/security/options"); got.status != http.StatusUnauthorized {
		t.Errorf("without a fresh proof: %d %s", got.status, got.body)
	}
}

// A password that must be changed is changed last: whoever knows the old one alone could otherwise
// set another one, and would need the second factor no more than before.
func TestADemandedPasswordIsReplacedBehindTheSecondStep(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	secret, _ := a.setUpApp(a.b, "alice")
	a.demandFactor()
	for _, name := range []string{"alice", "root"} {
		_, err := a.rules.Accounts.RequirePasswordChange(t.Context(), authtest.Operator(), auth.ByName(name), nil)
		must(t, err)
	}
	replaces := func(b *browser, name string) answered {
		return b.post("/login/password", "username", name, "current_password", goodPassword,
			"new_password", anotherPassword, "next", "/account")
	}
	b := a.browser()
	a.sent(replaces(b, "alice"), "/login/factor?next=%2Faccount")
	a.sent(b.post("/login/factor", "factor", a.now(secret), "next", "/account"),
		"/login/password?next=%2Faccount&username=alice")
	if b.session() != "" {
		t.Fatal("there is a session already")
	}
	a.sent(b.get("/login/factor?next=%2Faccount"), "/login/password?next=%2Faccount&username=alice")
	a.sent(replaces(b, "alice"), "/account")
	// Whoever has to set up a factor first sees the recovery codes in between.
	b = a.browser()
	a.sent(b.login("root", goodPassword, "next", "/account"), "/login/enrol?next=%2Faccount")
	secret, sealed := a.scanned(b.get("/login/enrol"))
	done := b.post("/login/enrol", "sealed", sealed, "factor", secret.Code(otp.Step(time.Now())),
		"next", "/account")
	a.shows(done, 200, "Keep these recovery codes")
	if b.session() != "" {
		t.Fatal("there is a session already")
	}
	a.sent(b.post("/login", "choice", "current", "as", "root", "next", "/account"),
		"/login/password?next=%2Faccount&username=root")
	a.sent(replaces(b, "root"), "/account")
	// What is left of another login in the browser is not in the way.
	initial := a.demanded("carol")
	stale := a.browser()
	a.sent(stale.login("root", anotherPassword), "/login/factor")
	a.sent(stale.login("carol", initial), "/login/password?username=carol")
	a.sent(stale.post("/login/password", "username", "carol", "current_password", initial,
		"new_password", anotherPassword), "/")
}
