package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

func (f *fixture) forgot(login string, header ...string) answered {
	f.Helper()
	body, err := json.Marshal(map[string]string{"login": login})
	must(f, err)
	return f.do(f.request("POST", "/password/forgot", string(body),
		append(header, "Content-Type", jsonType)...))
}

// resetBy sends a proof, with another password unless it has one.
func (f *fixture) resetBy(proof map[string]string) answered {
	f.Helper()
	if _, ok := proof["new_password"]; !ok {
		proof["new_password"] = otherPassword
	}
	body, err := json.Marshal(proof)
	must(f, err)
	return f.do(f.request("POST", "/password/reset", string(body), "Content-Type", jsonType))
}

// letterOf is the mail of an answer to forgot, as the worker gets it.
func (f *fixture) letterOf(a answered) auth.Letter {
	f.Helper()
	f.want("forgot", a, 202)
	challenge, _ := a.json(f, "challenge").(string)
	letter, err := f.rules.Mails.Prepare(f.Context(), uuid.MustParse(challenge))
	must(f, err)
	return letter
}

func tokenIn(l auth.Letter) string { return l.Link[strings.LastIndexByte(l.Link, '/')+1:] }

// addressed gives alice an address that she has verified.
func (a *audited) addressed() { a.verify("alice", "now()") }

// mailed lets alice have the mail that resets her password.
func (a *audited) mailed() {
	a.Helper()
	a.addressed()
	a.letter = a.letterOf(a.forgot("alice"))
}

// verify gives a user an address of example.org, which was verified at a time of SQL.
func (a *audited) verify(name, at string) {
	a.Helper()
	a.exec(`UPDATE users SET email = $1 || '@example.org', email_key = $1 || '@example.org',
		email_verified_at = `+at+` WHERE username = $1`, name)
}

func TestAForgottenPasswordIsResetByTheLinkAndByTheCode(t *testing.T) {
	t.Parallel()
	for name, prove := range map[string]func(auth.Letter) map[string]string{
		"link": func(l auth.Letter) map[string]string {
			return map[string]string{"token": tokenIn(l)}
		},
		"code": func(l auth.Letter) map[string]string {
			return map[string]string{"challenge": l.ID.String(),
				"code": strings.ToLower(l.Code[:4]) + "-" + l.Code[4:]}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := startAudited(t, settings{})
			a.addressed()
			letter := a.letterOf(a.forgot("Alice", "Accept-Language", "de"))
			if letter.To != "alice@example.org" || letter.Language != "de" ||
				letter.ClientAddress != "127.0.0.1" {
				t.Errorf("%+v", letter)
			}
			proof := prove(letter)
			proof["new_password"] = "password"
			refused := a.resetBy(proof)
			if refused.status != 422 || !strings.Contains(refused.body, `"field":"new_password"`) {
				t.Errorf("%d %s", refused.status, refused.body)
			}
			delete(proof, "new_password")
			done := a.resetBy(proof)
			a.want("reset", done, 204)
			if len(done.header["Set-Cookie"]) != 0 || done.body != "" {
				t.Errorf("a reset logs in: %v %s", done.header, done.body)
			}
			a.want("again", a.resetBy(proof), 400)
			a.want("the old password", a.login("alice", goodPassword), 401)
			a.want("the session from before", a.as(a.alice, "GET", "/users/me", ""), 401)
			a.tokensOf(a.login("alice", otherPassword))
		})
	}
}

// A stranger could otherwise list who has an account here.
func TestNobodyLearnsFromTheAnswerWhoHasAnAccount(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{})
	a.addressed()
	for _, name := range []string{"unverified", "disabled", "without"} {
		a.want(name, a.register(name, goodPassword), 201)
	}
	a.verify("unverified", "NULL")
	a.verify("disabled", "now()")
	_, err := a.rules.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("disabled"),
		nil)
	must(t, err)
	answers := map[string][]string{}
	for _, login := range []string{"alice", "unverified", "disabled", "without", "nobody", "",
		"nobody@example.org", "no body", strings.Repeat("x", 5000)} {
		answer := a.forgot(login)
		challenge, _ := answer.json(t, "challenge").(string)
		id, err := uuid.Parse(challenge)
		must(t, err)
		for _, h := range []string{"Date", "X-Request-Id"} {
			answer.header.Del(h)
		}
		same := fmt.Sprint(answer.status, answer.header,
			strings.Replace(answer.body, challenge, "", 1), id.Version())
		answers[same] = append(answers[same], login)
		if _, err := a.rules.Mails.Prepare(t.Context(), id); (err == nil) != (login == "alice") {
			t.Errorf("%.20q: %v", login, err)
		} else if _, ok := errors.AsType[*auth.NoMailError](err); err != nil && !ok {
			t.Errorf("%.20q: %v", login, err)
		}
	}
	if len(answers) != 1 {
		t.Errorf("%v", answers)
	}
}

// Beyond the limit of a network, the answer must not tell that there was none before.
func TestBeyondTheLimitTheAnswerIsTheSameAndThereIsNoMail(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{rates: tightRates()})
	for range 4 {
		a.want("forgot", a.forgot("alice"), 202)
	}
	var mails int
	must(t, a.owner.QueryRow(t.Context(), "SELECT count(*) FROM mails").Scan(&mails))
	if mails != 2 {
		t.Errorf("%d mails", mails)
	}
}

// A program that asks again keeps what it was answered with, and its user types the code of the mail
// that has come.
func TestTheSameChallengeIsGoodWhenAMailIsAskedForAgain(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{email: auth.EmailOptional})
	a.mailed()
	id := a.letter.ID.String()
	for _, of := range []string{id, uuid.NewString()} {
		again := a.postJSON("/password/forgot", map[string]string{"challenge": of})
		a.want("again", again, 202)
		if got := again.json(t, "challenge"); got != of {
			t.Errorf("the challenge is %v, and was %s", got, of)
		}
	}
	a.want("the code of the first mail",
		a.resetBy(map[string]string{"challenge": id, "code": a.letter.Code}), 204)
	letter := a.mailFor(a.signUp("bob", "bob@example.org"), 201)
	again := a.postJSON("/email/resend", map[string]string{"challenge": letter.ID.String()})
	challenge, _ := again.json(t, "challenge").(string)
	a.want("the code of the mail to the address", a.verifyBy(map[string]string{
		"challenge": challenge, "code": letter.Code, "password": goodPassword,
	}), 204)
}

func TestBodiesThatResetNothingAreRefused(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{})
	a.mailed()
	token, id := tokenIn(a.letter), a.letter.ID.String()
	const next = `"new_password":"` + otherPassword + `"`
	for body, want := range map[string]int{
		"": 400, "{}": 422, "[]": 400, `{` + next + `}`: 422, `{"token":"` + token + `"}`: 422,
		`{"token":"` + token + `",` + next + `,"username":"alice"}`:                422,
		`{"token":"` + token + `","code":"` + a.letter.Code + `",` + next + `}`:    422,
		`{"token":"` + token + `","challenge":"` + id + `",` + next + `}`:          422,
		`{"code":"` + a.letter.Code + `",` + next + `}`:                            422,
		`{"challenge":"` + id + `",` + next + `}`:                                  422,
		`{"challenge":"x","code":"` + a.letter.Code + `",` + next + `}`:            422,
		`{"challenge":"{` + id + `}","code":"` + a.letter.Code + `",` + next + `}`: 422,
		`{"challenge":"` + uuid.NewString() + `","code":"00000000",` + next + `}`:  400,
		`{"challenge":"` + id + `","code":"",` + next + `}`:                        400,
		`{"token":"",` + next + `}`:                                                400,
		`{"token":"` + token + `A",` + next + `}`:                                  400,
		`{"token":null,` + next + `}`:                                              422,
	} {
		answer := a.do(a.request("POST", "/password/reset", body, "Content-Type", jsonType))
		a.want(body, answer, want)
		if strings.Contains(answer.body, token) || strings.Contains(answer.body, a.letter.Code) {
			t.Errorf("the answer repeats a secret: %s", answer.body)
		}
	}
	for body, want := range map[string]int{
		"": 400, "{}": 422, `{"login":1}`: 422, `{"login":"alice","email":"x"}`: 422, `{"login":null}`: 422,
		`{"challenge":"x"}`: 422, `{"login":"alice","challenge":"` + id + `"}`: 422,
	} {
		a.want(body, a.do(a.request("POST", "/password/forgot", body, "Content-Type", jsonType)), want)
	}
	a.want("what is good", a.resetBy(map[string]string{"token": token}), 204)
}

// Whoever manages accounts could otherwise take over those that have more rights.
func TestAnAdminHasAMailSentWithinTheirRightsAndSeesNothingOfIt(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{})
	clerk := a.with("manager", auth.WriteUsers)
	for _, name := range []string{"alice", "root"} {
		a.verify(name, "now()")
	}
	a.want("without", a.register("without", goodPassword), 201)
	a.want("disabled", a.register("disabled", goodPassword), 201)
	a.verify("disabled", "now()")
	_, err := a.rules.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("disabled"),
		nil)
	must(t, err)
	send := func(name string) answered { return a.as(clerk, "POST", a.path(name, "/password-reset"), "") }
	a.want("more rights", send("root"), 403)
	a.want("no address", send("without"), 409)
	a.verify("without", "NULL")
	a.want("an address of nobody", send("without"), 409)
	a.want("disabled", send("disabled"), 409)
	a.want("nobody", a.as(clerk, "POST", "/users/"+uuid.NewString()+"/password-reset", ""), 404)
	a.want("a user", a.as(a.alice, "POST", a.path("alice", "/password-reset"), ""), 403)
	sent := send("alice")
	a.want("alice", sent, 202)
	if sent.body != "" {
		t.Errorf("the answer has %s", sent.body)
	}
	if told := a.told(sent); len(told) != 1 || told[0] != "password.mail success" {
		t.Errorf("%v", told)
	}
	rows, err := a.owner.Query(t.Context(), "SELECT id FROM mails WHERE user_id = $1", a.idOf("alice"))
	must(t, err)
	var id uuid.UUID
	mails := 0
	for ; rows.Next(); mails++ {
		must(t, rows.Scan(&id))
	}
	must(t, rows.Err())
	if mails != 1 {
		t.Fatalf("%d mails", mails)
	}
	letter, err := a.rules.Mails.Prepare(t.Context(), id)
	must(t, err)
	if letter.Kind != auth.MailReset || letter.To != "alice@example.org" {
		t.Errorf("%+v", letter)
	}
	a.want("still in", a.as(a.alice, "GET", "/users/me", ""), 200)
	a.want("reset", a.resetBy(map[string]string{"token": tokenIn(letter)}), 204)
}

// Whoever waits for a mail that nothing sends would wait for ever.
func TestWithoutMailTheRoutesSayWhatToDo(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{mailOff: true})
	a.addressed()
	for name, answer := range map[string]answered{
		"forgot": a.forgot("alice"),
		"reset":  a.resetBy(map[string]string{"token": "x"}),
		"admin":  a.as(a.root, "POST", a.path("alice", "/password-reset"), ""),
	} {
		if answer.status != 404 || !strings.Contains(answer.body, "ask an administrator") {
			t.Errorf("%s: %d %s", name, answer.status, answer.body)
		}
	}
	a.want("a stranger learns no more of the admin's",
		a.do(a.request("POST", a.path("alice", "/password-reset"), "")), 401)
}
