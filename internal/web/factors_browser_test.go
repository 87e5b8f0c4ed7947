//go:build browser

package web_test

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/otp"
)

// local is a tab at a service that has passkeys, under the name for which browsers have them
// without TLS.
type local struct {
	*audited
	tab
	at string
}

func openLocal(t *testing.T, s settings) local {
	t.Helper()
	s.passkeysHere = true
	a := startAudited(t, s, nil)
	return local{a, open(t), strings.Replace(a.url, "127.0.0.1", "localhost", 1)}
}

func (l local) Helper() { l.audited.Helper() }

// authenticator is Chromium's own. It knows its user, and answers by itself.
func (l local) authenticator() webauthn.AuthenticatorID {
	l.Helper()
	_, err := chromedp.Call(l.ctx, webauthn.Enable, webauthn.EnableParams{})
	must(l.audited, err)
	made, err := chromedp.Call(l.ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{
		Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true,
			AutomaticPresenceSimulation: true,
		},
	})
	must(l.audited, err)
	return made.AuthenticatorID
}

// knowsUser sets whether an authenticator knows its user, so that it refuses.
func (l local) knowsUser(id webauthn.AuthenticatorID, knows bool) {
	l.Helper()
	_, err := chromedp.Call(l.ctx, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{
		AuthenticatorID: id, IsUserVerified: knows,
	})
	must(l.audited, err)
}

// withoutAutofill makes the browser one that offers no passkeys at a field, as there are some. This
// one would answer there by itself, before a button is pressed.
func (l local) withoutAutofill() {
	l.Helper()
	_, err := chromedp.Call(l.ctx, page.AddScriptToEvaluateOnNewDocument,
		page.AddScriptToEvaluateOnNewDocumentParams{
			Source: "PublicKeyCredential.isConditionalMediationAvailable = async () => false",
		})
	must(l.audited, err)
}

func (l local) goTo(path string) {
	l.Helper()
	l.do(chromedp.Navigate(l.at + path))
}

func (l local) isAt(path string) {
	l.Helper()
	l.arrives(l.at + path)
}

// shown waits for an element.
func (l local) shown(selector string) {
	l.Helper()
	l.do(chromedp.WaitVisible(chromedp.CSS(selector)))
}

func (l local) text(selector string) string {
	l.Helper()
	text, err := chromedp.Run(l.ctx, chromedp.TextContent(chromedp.CSS(selector)))
	must(l.audited, err)
	return strings.TrimSpace(text)
}

func (l local) logsIn(username string) {
	l.Helper()
	l.goTo("/login")
	l.press(username, kb.Tab, goodPassword, kb.Enter)
}

func (l local) logsOut() {
	l.Helper()
	l.tabTo("header form button, main form button")
	l.press(kb.Enter)
	l.isAt("/end-session")
}

// Whoever has only a keyboard must be able to make a passkey, to log in with it in each way, and to
// be rid of it.
func TestAPasskeyIsMadeAndUsedAndRemovedByTheKeyboardInChromium(t *testing.T) {
	t.Parallel()
	l := openLocal(t, settings{})
	l.authenticator()
	l.logsIn("alice")
	l.isAt("/")
	l.goTo("/account/security")
	l.tabTo("a[href='/account/security/passkey']")
	l.press(kb.Enter)
	l.isAt("/account/security/passkey")
	l.shown("form[data-passkey] button")
	l.picture("passkey-1-new")
	l.tabTo("#name")
	l.press(kb.Enter)
	l.shown(".codes") // it is the first factor
	l.picture("passkey-2-codes")
	l.tabTo("input[required]")
	l.press(" ", kb.Tab, kb.Enter)
	l.isAt("/account/security")
	l.picture("passkey-3-security")
	l.logsOut()

	l.withoutAutofill()
	l.goTo("/login")
	l.shown("form[data-autofill] button")
	l.tabTo("form[data-autofill] button")
	l.press(kb.Enter)
	l.isAt("/")
	if who := l.text("main strong"); who != "alice" {
		t.Errorf("%q is logged in", who)
	}
	l.logsOut()

	l.logsIn("alice")
	l.isAt("/login/factor")
	l.shown("form[data-passkey] button")
	l.picture("passkey-4-second-step")
	l.tabTo("form[data-passkey] button")
	l.press(kb.Enter)
	l.isAt("/")

	l.goTo("/account/security")
	l.tabTo("td.act a")
	l.press(kb.Enter)
	l.shown("button[value=remove]")
	l.tabTo("button[value=remove]")
	l.press(kb.Enter)
	l.isAt("/account/security?notice=factor_removed")
	if has := l.user("alice").Factors; has.Any() {
		t.Errorf("there is still %+v", has)
	}
	l.hasNoComplaints()
}

// A browser offers passkeys at the field for the name, so that nobody has to look for a button.
func TestTheFieldForTheNameOffersPasskeysInChromium(t *testing.T) {
	t.Parallel()
	l := openLocal(t, settings{})
	l.authenticator()
	l.logsIn("alice")
	l.isAt("/")
	l.goTo("/account/security/passkey")
	l.shown("form[data-passkey] button")
	l.do(chromedp.Click(chromedp.CSS("form[data-passkey] button")))
	l.shown(".codes")
	l.goTo("/")
	l.logsOut()
	l.goTo("/login?next=%2Faccount")
	l.isAt("/account") // Chromium's authenticator answers what waits at the field
	l.hasNoComplaints()
}

// A page that says nothing when the browser does not do as it was asked leaves its reader with a
// dead button.
func TestAPasskeyThatIsNotUsedIsSaidInWordsInChromium(t *testing.T) {
	t.Parallel()
	l := openLocal(t, settings{})
	id := l.authenticator()
	l.knowsUser(id, false)
	said := func(want string) {
		t.Helper()
		l.shown("p[role=alert]")
		if got := l.text("p[role=alert]"); !strings.HasPrefix(got, want) {
			t.Errorf("the page says %q", got)
		}
	}
	l.goTo("/login?next=%2Faccount%2Fsecurity%2Fpasskey")
	l.shown("form[data-autofill] button")
	l.do(chromedp.Click(chromedp.CSS("form[data-autofill] button")))
	said("No passkey was used.")
	l.picture("passkey-5-cancelled")
	l.do(chromedp.Focus(chromedp.ID("username")))
	l.press("alice", kb.Tab, goodPassword, kb.Enter)
	l.isAt("/account/security/passkey")
	l.knowsUser(id, true)
	l.shown("form[data-passkey] button")
	l.do(chromedp.Click(chromedp.CSS("form[data-passkey] button")))
	l.shown(".codes")
	l.goTo("/account/security/passkey")
	l.shown("form[data-passkey] button")
	l.do(chromedp.Click(chromedp.CSS("form[data-passkey] button")))
	said("This device has a passkey")
	l.stale()
	l.do(chromedp.Click(chromedp.CSS("form[data-passkey] button")))
	asynctest.Await(t, "the page to say that it is too old", func() bool {
		return strings.HasPrefix(l.text("p[role=alert]"), "This page was open for too long.")
	})
}

// Somebody who lets no script run must be able to do all but passkeys: to set up an app, to log in
// with it, with a recovery code and on a trusted device, and where a role demands it.
func TestTheSecondStepNeedsNoScriptInChromium(t *testing.T) {
	t.Parallel()
	l := openLocal(t, settings{})
	_, err := chromedp.Call(l.ctx, emulation.SetScriptExecutionDisabled,
		emulation.SetScriptExecutionDisabledParams{Value: true})
	must(t, err)
	l.logsIn("alice")
	l.isAt("/")
	l.goTo("/account/security/passkey")
	l.shown("noscript p")
	l.goTo("/account/security")
	l.tabTo("a[href='/account/security/app']")
	l.press(kb.Enter)
	l.isAt("/account/security/app")
	l.picture("app-1-set-up")
	secret := l.typedIn("#factor")
	l.shown(".codes")
	recovery := l.text(".codes li")
	l.picture("app-2-codes")
	l.tabTo("input[required]")
	l.press(" ", kb.Tab, kb.Enter)
	l.isAt("/account/security")
	l.picture("app-3-security")
	l.logsOut()

	l.logsIn("alice")
	l.isAt("/login/factor")
	l.press("000000", kb.Enter)
	l.shown("#failure")
	l.picture("app-4-wrong-code")
	l.press(l.now(secret), kb.Enter) // the field has the focus
	l.isAt("/")
	l.logsOut()

	l.logsIn("alice")
	l.isAt("/login/factor")
	l.press(recovery, kb.Tab, " ", kb.Enter) // and the device is trusted
	l.isAt("/")
	l.logsOut()
	l.logsIn("alice")
	l.isAt("/")
	l.goTo("/account/security")
	l.picture("app-5-trusted")
	l.tabTo("button[value=all]")
	l.press(kb.Enter)
	l.leadsToSecondStep("the device is trusted by a login of before", l.now(secret))
	l.hasNoComplaints()
}

func TestARoleThatDemandsASecondStepLeadsThroughItsSetUpInChromium(t *testing.T) {
	t.Parallel()
	l := openLocal(t, settings{})
	l.demandFactor()
	l.logsIn("root")
	l.isAt("/login/enrol")
	l.picture("enrol-1")
	l.typedIn("#factor")
	l.shown(".codes")
	l.tabTo("input[required]")
	l.press(" ", kb.Tab, kb.Enter)
	l.isAt("/")
	if who := l.text("main strong"); who != "root" {
		t.Errorf("%q is logged in", who)
	}
	l.hasNoComplaints()
}

// typedIn reads the secret from the page, as people do whose app cannot scan, and types its code.
func (l local) typedIn(field string) otp.Secret {
	l.Helper()
	secret, err := otp.ParseSecret(l.text("main code"))
	must(l.audited, err)
	l.tabTo(field)
	l.press(l.now(secret), kb.Enter)
	return secret
}

// leadsToSecondStep proves anew for a page that demands it.
func (l local) leadsToSecondStep(why, code string) {
	l.Helper()
	l.shown("#username")
	l.press(goodPassword, kb.Enter) // the name is there already
	asynctest.Await(l.audited, "the second step, since "+why, func() bool {
		return strings.HasPrefix(l.location(), l.at+"/login/factor?")
	})
	l.shown("#factor")
	l.press(code, kb.Enter)
	l.isAt("/account/security")
}
