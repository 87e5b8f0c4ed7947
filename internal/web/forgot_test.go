package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

// verify gives a user an address of example.org, which was verified at a time of SQL.
func (a *audited) verify(name, at string) {
	a.Helper()
	a.exec("UPDATE users SET email = '" + name + "@example.org', email_key = '" + name +
		"@example.org', email_verified_at = " + at + " WHERE username = '" + name + "'")
}

// forgot asks for a mail, and returns where that leads to, and the mail as the worker gets it.
// There is none if it is for nobody.
func (a *audited) forgot(b *browser, login string) (location string, letter auth.Letter) {
	a.Helper()
	location = b.post("/password/mail", "login", login).location()
	path, _, _ := strings.Cut(location, "?")
	challenge, err := uuid.Parse(strings.TrimPrefix(path, "/password/code/"))
	must(a, err)
	letter, _ = a.rules.Mails.Prepare(a.Context(), challenge)
	return location, letter
}

// mailed lets alice, who is logged in nowhere, have the mail that resets her password.
func (a *audited) mailed() {
	a.Helper()
	a.verify("alice", "now()")
	a.b = a.browser()
	_, a.letter = a.forgot(a.b, "alice")
}

// link is the path of the mail's link.
func (a *audited) link() string { return strings.TrimPrefix(a.letter.Link, "https://id.test") }

// resets sends the form behind the mail's link.
func (a *audited) resets() answered {
	a.Helper()
	return a.b.post(a.link(), "new_password", anotherPassword)
}

const afterReset = "/login?notice=password_reset&username=alice"

func TestWhoeverForgetsThePasswordIsLedToTheLogin(t *testing.T) {
	t.Parallel()
	for name, reset := range map[string]func(*audited, *browser, string) answered{
		"by the link, elsewhere": func(a *audited, _ *browser, _ string) answered {
			a.b = a.browser()
			a.b.site = "cross-site" // from a webmail
			a.shows(a.b.get(a.link()), 200, "Set a new password", `autocomplete="new-password"`)
			a.b.site = "same-origin"
			return a.resets()
		},
		"by the code": func(a *audited, b *browser, location string) answered {
			a.shows(b.get(location), 200, "Look into your mail", `autocomplete="one-time-code"`,
				`name="challenge" value="`+a.letter.ID.String()+`"`)
			return b.post("/password/code", "challenge", a.letter.ID.String(),
				"code", strings.ToLower(a.letter.Code), "new_password", anotherPassword)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := startAudited(t, settings{}, nil)
			a.verify("alice", "now()")
			thief, b := a.b, a.browser()
			b.header.Set("Accept-Language", "de")
			a.shows(b.get("/login"), 200, `href="/password/forgot"`)
			a.shows(b.get("/password/forgot"), 200, `autocomplete="username"`)
			var location string
			location, a.letter = a.forgot(b, "Alice")
			if a.letter.Language != "de" || a.letter.To != "alice@example.org" {
				t.Errorf("%+v", a.letter)
			}
			b.header = http.Header{}
			done := reset(a, b, location)
			a.sent(done, afterReset)
			if len(done.cookies) != 0 {
				t.Errorf("a reset logs in: %v", done.cookies)
			}
			a.shows(a.b.get(afterReset), 200, "Your password is changed. Log in with it.",
				`value="alice"`)
			if who := thief.who(); who == "alice" {
				t.Error("a session from before goes on")
			}
			a.shows(b.login("alice", goodPassword), 401)
			a.sent(b.login("alice", anotherPassword), "/")
		})
	}
}

// Whoever presses the button twice has one mail, and the page in front of them takes its code.
func TestWhoeverAsksForAnotherMailTooSoonStaysOnThePageThatTakesTheCode(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	a.verify("alice", "now()")
	b := a.browser()
	page, letter := a.forgot(b, "alice")
	id := letter.ID.String()
	for range 2 {
		a.shows(b.get(page), 200, `action="/password/mail"`, `name="challenge" value="`+id+`"`)
		again := b.post("/password/mail", "challenge", id, "next", request())
		page = again.location()
		a.shows(b.get(page), 200, "that one stays good", `name="next"`)
	}
	a.shows(b.post("/password/mail", "challenge", "x"), 400)
	if !strings.HasPrefix(page, "/password/code/"+id+"?") {
		t.Errorf("the page is %s", page)
	}
	a.sent(b.post("/password/code", "challenge", id, "code", letter.Code, "new_password",
		anotherPassword), afterReset)
}

// Whoever sends the form once more, on the way back or in another tab, has one mail. The page that
// they are led to takes its code. Whoever types something else begins anew.
func TestWhoeverSendsTheFormAgainInTheSameBrowserStaysOnThePageThatTakesTheCode(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	a.verify("alice", "now()")
	for _, login := range []string{"alice", "nobody"} { // and nobody learns by it who has an account
		b := a.browser()
		first, letter := a.forgot(b, login)
		again := b.post("/password/mail", "login", strings.ToUpper(login)+" ", "next", request())
		if len(again.cookies) != 1 || again.cookies[0].MaxAge != 600 || !again.cookies[0].HttpOnly {
			t.Errorf("%s: %v", login, again.cookies)
		}
		page := again.location()
		if path, _, _ := strings.Cut(page, "?"); path != first {
			t.Errorf("%s: the form leads to %s, and led to %s", login, page, first)
		}
		a.shows(b.get(page), 200, "that one stays good", `name="next"`)
		for what, other := range map[string]string{
			"another login":   b.post("/password/mail", "login", login+"a").location(),
			"another browser": a.browser().post("/password/mail", "login", login).location(),
		} {
			if strings.HasPrefix(other, first) || strings.Contains(other, "?") {
				t.Errorf("%s, %s: %s", login, what, other)
			}
		}
		if login == "alice" {
			a.sent(b.post("/password/code", "challenge", letter.ID.String(), "code", letter.Code,
				"new_password", anotherPassword), afterReset)
		}
	}
}

// A stranger could otherwise list who has an account here.
func TestThePageAfterAMailIsTheSameForEverybody(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	a.verify("alice", "now()")
	for _, name := range []string{"unverified", "disabled"} {
		a.register(name)
	}
	a.verify("unverified", "NULL")
	a.verify("disabled", "now()")
	_, err := a.rules.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("disabled"), nil)
	must(t, err)
	pages := map[string][]string{}
	for _, login := range []string{"alice", "unverified", "disabled", "bob", "nobody", "no body", "",
		"nobody@example.org", strings.Repeat("x", 5000)} {
		b := a.browser()
		location, letter := a.forgot(b, login)
		shown := b.get(location)
		if shown.status != 200 || (letter.Code != "") != (login == "alice") {
			t.Errorf("%.20q: %d, %+v", login, shown.status, letter)
		}
		page := strings.ReplaceAll(shown.body, strings.TrimPrefix(location, "/password/code/"), "")
		pages[page] = append(pages[page], login)
	}
	if len(pages) != 1 {
		t.Errorf("the pages differ: %v", pages)
	}
}

// What opens links on their way must neither use them up nor learn whose they are.
func TestALinkSaysNothingOfItsAccountHoweverOftenItIsOpened(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	a.mailed()
	before := a.tables()
	for range 3 {
		for _, method := range []string{"GET", "HEAD"} {
			shown := a.browser().do(method, a.link(), "")
			if shown.status != 200 || len(shown.cookies) != 0 || strings.Contains(shown.body, "alice") ||
				shown.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d, cookies %v, %v: %s", method, shown.status, shown.cookies,
					shown.header, shown.body)
			}
		}
	}
	if a.tables() != before {
		t.Error("a look has changed something")
	}
	a.sent(a.resets(), afterReset)
	if strings.Contains(a.log.String(), a.link()) {
		t.Error("the link is in the log")
	}
}

// A person whose password is too short would have to wait for another mail.
func TestAPasswordThatIsRefusedKeepsTheLinkAndTheCode(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	a.mailed()
	byCode := func(code, pw string) answered {
		return a.b.post("/password/code", "challenge", a.letter.ID.String(), "code", code,
			"new_password", pw)
	}
	for pw, says := range map[string]string{
		"": "Enter a password", "short": "too short", "password": "most common",
	} {
		a.shows(a.b.post(a.link(), "new_password", pw), 422, says, `action="`+a.link()+`"`)
		a.shows(byCode(a.letter.Code, pw), 422, says, `value="`+a.letter.Code+`"`,
			a.letter.ID.String())
	}
	for range 3 {
		wrong := byCode("0000-0000", anotherPassword)
		a.shows(wrong, 400, "The code is not right", a.letter.ID.String())
		if strings.Contains(wrong.body, "0000-0000") {
			t.Error("a wrong code comes back")
		}
	}
	a.sent(byCode(a.letter.Code, anotherPassword), afterReset)
	a.shows(byCode(a.letter.Code, anotherPassword), 400, "The code is not right")
}

func TestALinkThatIsNotGoodSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*audited){
		"used":     func(a *audited) { a.sent(a.resets(), afterReset) },
		"expired":  func(a *audited) { a.exec("UPDATE challenges SET expires_at = now()") },
		"forged":   func(a *audited) { a.letter.Link += "A" },
		"no token": func(a *audited) { a.letter.Link = "https://id.test/password/reset/x" },
		"disabled": func(a *audited) { a.exec("UPDATE users SET disabled_at = now() WHERE username = 'alice'") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := startAudited(t, settings{}, nil)
			a.mailed()
			spoil(a)
			for method, shown := range map[string]answered{"GET": a.b.get(a.link()), "POST": a.resets()} {
				a.shows(shown, 400, "This link is not good any more", `href="/password/forgot"`)
				if strings.Contains(shown.body, "alice") {
					t.Errorf("%s: the page says whose link it is: %s", method, shown.body)
				}
			}
		})
	}
	a := startAudited(t, settings{}, nil)
	a.shows(a.b.get("/password/code/x"), 404)
	a.shows(a.b.post("/password/code", "challenge", "x", "new_password", anotherPassword), 400)
}

// Whoever was on the way to an app would have to find it again.
func TestWhoeverForgetsThePasswordOnTheWayToAnAppGoesOnToIt(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	a.verify("alice", "now()")
	b, next := a.browser(), request()
	q := "?next=" + url.QueryEscape(next)
	login := b.get("/login" + q)
	a.shows(login, 200, `href="/password/forgot?next=`)
	a.shows(b.get("/password/forgot"+q), 200, `name="next"`)
	sent := b.post("/password/mail", "login", "alice", "next", next)
	challenge, query, _ := strings.Cut(strings.TrimPrefix(sent.location(), "/password/code/"), "?")
	if got, err := url.ParseQuery(query); err != nil || got.Get("next") != next {
		t.Errorf("to %q", sent.location())
	}
	letter, err := a.rules.Mails.Prepare(t.Context(), uuid.MustParse(challenge))
	must(t, err)
	done := b.post("/password/code", "challenge", challenge, "code", letter.Code, "new_password",
		anotherPassword, "next", next)
	to, err := url.Parse(done.location())
	must(t, err)
	if done.status != 303 || to.Path != "/login" || to.Query().Get("next") != next {
		t.Errorf("%d to %q", done.status, done.location())
	}
	evil := b.post("/password/mail", "login", "alice", "next", "https://evil.example/")
	if strings.Contains(evil.location(), "evil") {
		t.Errorf("to %q", evil.location())
	}
}

// Whoever waits for a mail that nothing sends would wait for ever.
func TestWithoutMailNoPageOffersOne(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{mailOff: true}, nil)
	if shown := a.browser().get("/login"); strings.Contains(shown.body, "/password/") {
		t.Errorf("the login offers a mail: %s", shown.body)
	}
	b := a.browser()
	for name, shown := range map[string]answered{
		"forgot": b.get("/password/forgot"), "mail": b.post("/password/mail", "login", "alice"),
		"code": b.get("/password/code/" + uuid.NewString()), "link": b.get("/password/reset/x"),
		"by code": b.post("/password/code", "new_password", anotherPassword),
		"by link": b.post("/password/reset/x", "new_password", anotherPassword),
	} {
		if shown.status != 404 || !strings.Contains(shown.body, "Ask an administrator") {
			t.Errorf("%s: %d %s", name, shown.status, shown.body)
		}
	}
}
