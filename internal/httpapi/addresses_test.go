package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
)

// post sends an object as JSON.
func (f *fixture) postJSON(path string, body map[string]string, header ...string) answered {
	f.Helper()
	sent, err := json.Marshal(body)
	must(f, err)
	return f.do(f.request("POST", path, string(sent), append(header, "Content-Type", jsonType)...))
}

func (f *fixture) signUp(username, address string) answered {
	f.Helper()
	return f.postJSON("/users", map[string]string{
		"username": username, "password": goodPassword, "email": address,
	})
}

// mailFor is the mail that an answer with a challenge has led to, as the worker gets it.
func (f *fixture) mailFor(a answered, status int) auth.Letter {
	f.Helper()
	f.want("a mail", a, status)
	challenge, _ := a.json(f, "challenge").(string)
	letter, err := f.rules.Mails.Prepare(f.Context(), uuid.MustParse(challenge))
	must(f, err)
	return letter
}

// changing lets alice, who has an address, have the mail for another one.
func (a *audited) changing() {
	a.Helper()
	a.addressed()
	a.letter = a.mailFor(a.as(a.alice, "PUT", "/users/me/email",
		`{"email":"alice@example.net","current_password":"`+goodPassword+`"}`), 202)
}

// undoable lets alice have the mail that undoes the removal of her address.
func (a *audited) undoable() {
	a.Helper()
	a.addressed()
	a.want("remove", a.as(a.alice, "DELETE", "/users/me/email",
		`{"current_password":"`+goodPassword+`"}`), 204)
	var id uuid.UUID
	must(a, a.owner.QueryRow(a.Context(),
		"SELECT id FROM mails WHERE kind = 'address_changed'").Scan(&id))
	var err error
	a.letter, err = a.rules.Mails.Prepare(a.Context(), id)
	must(a, err)
}

func (a *audited) verifyBy(body map[string]string, header ...string) answered {
	a.Helper()
	return a.postJSON("/email/verify", body, header...)
}

func TestAnAddressIsVerifiedThroughTheAPIByItsMailAndTheAccount(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{email: auth.EmailOptional})
	registered := a.signUp("bob", "Bob@example.org")
	if !strings.Contains(registered.body, `"email":"Bob@example.org","email_verified":false`) {
		t.Errorf("%s", registered.body)
	}
	letter := a.mailFor(registered, 201)
	byCode := map[string]string{"challenge": letter.ID.String(), "code": letter.Code}
	byLink := map[string]string{"token": tokenIn(letter)}
	a.want("the mailbox alone", a.verifyBy(byLink), 403)
	a.want("another's session", a.verifyBy(byLink, "Authorization", "Bearer "+a.alice.access), 403)
	a.want("no token at all", a.verifyBy(byLink, "Authorization", "Bearer x"), 401)
	byCode["password"] = "another password"
	a.want("another password", a.verifyBy(byCode), 422)
	byCode["password"] = goodPassword
	done := a.verifyBy(byCode)
	a.want("the password", done, 204)
	if len(done.header["Set-Cookie"]) != 0 || done.body != "" {
		t.Errorf("it logs in: %v %s", done.header, done.body)
	}
	a.want("again", a.verifyBy(byCode), 400)
	bob := a.tokensOf(a.login("bob@example.org", goodPassword))
	a.exec("DELETE FROM rate_limits")
	letter = a.mailFor(a.as(bob, "PUT", "/users/me/email",
		`{"email":"bob@example.net","current_password":"`+goodPassword+`"}`), 202)
	a.want("a change", a.verifyBy(map[string]string{"token": tokenIn(letter)},
		"Authorization", "Bearer "+bob.access), 204)
	a.want("the old one", a.login("bob@example.org", goodPassword), 401)
	bob = a.tokensOf(a.login("bob@example.net", goodPassword))
	a.want("remove", a.as(bob, "DELETE", "/users/me/email", `{"current_password":"`+goodPassword+`"}`), 204)
	a.want("the removed one", a.login("bob@example.net", goodPassword), 401)
}

// A stranger could otherwise ask for each address whether it has an account.
func TestNobodyLearnsFromARegistrationWhoseAddressItIs(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{email: auth.EmailOptional})
	a.addressed()
	answers := map[string][]string{}
	for n, address := range []string{"alice@example.org", "ALICE@EXAMPLE.ORG", "carol@example.org"} {
		name := fmt.Sprint("user", n)
		answer := a.signUp(name, address)
		user, _ := answer.json(t, "user").(map[string]any)
		challenge, _ := answer.json(t, "challenge").(string)
		for _, own := range []string{challenge, fmt.Sprint(user["id"]), name, address, fmt.Sprint(user["created_at"])} {
			if own == "" || !strings.Contains(answer.body, own) {
				t.Errorf("%q is not in %s", own, answer.body)
			}
			answer.body = strings.Replace(answer.body, own, "", 1)
		}
		for _, h := range []string{"Date", "X-Request-Id", "Content-Length"} {
			answer.header.Del(h)
		}
		same := fmt.Sprint(answer.status, answer.header, answer.body)
		answers[same] = append(answers[same], address)
	}
	if len(answers) != 1 {
		t.Errorf("%v", answers)
	}
}

func TestAChangeOfTheAddressIsUndoneThroughTheAPI(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{email: auth.EmailOptional})
	a.undoable()
	a.want("a forged token", a.postJSON("/email/undo", map[string]string{"token": "x"}), 400)
	a.want("undo", a.postJSON("/email/undo", map[string]string{"token": tokenIn(a.letter)}), 204)
	a.want("again", a.postJSON("/email/undo", map[string]string{"token": tokenIn(a.letter)}), 400)
	a.want("the password", a.login("alice", goodPassword), 401)
	a.exec("DELETE FROM rate_limits")
	a.want("a mail", a.resetBy(map[string]string{"token": tokenIn(a.letterOf(a.forgot("alice@example.org")))}), 204)
	a.tokensOf(a.login("alice@example.org", otherPassword))
}

func TestWithoutMailsNobodyVerifiesAnAddress(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{email: auth.EmailOptional, mailOff: true})
	for _, path := range []string{"/email/verify", "/email/resend", "/email/undo"} {
		a.want(path, a.postJSON(path, map[string]string{"token": "x"}), 404)
	}
	a.want("change", a.as(a.alice, "PUT", "/users/me/email",
		`{"email":"alice@example.net","current_password":"x"}`), 404)
	a.want("remove", a.as(a.alice, "DELETE", "/users/me/email", `{"current_password":"x"}`), 404)
	a.want("registration", a.signUp("bob", "bob@example.org"), 422)
}

// Where an address is needed, the account is named by its id, and is shut until it is proved.
func TestAStrangerRegistersWithAnAddressAlone(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{email: auth.EmailRequired})
	a.want("no address", a.register("bob", goodPassword), 422)
	registered := a.postJSON("/users", map[string]string{
		"password": goodPassword, "email": "bob@example.org",
	})
	letter := a.mailFor(registered, 201)
	user, _ := registered.json(t, "user").(map[string]any)
	if user["username"] != user["id"] {
		t.Errorf("%v", user)
	}
	name, _ := user["id"].(string)
	a.want("too early", a.login(name, goodPassword), 400)
	a.want("verify", a.verifyBy(map[string]string{
		"token": tokenIn(letter), "password": goodPassword,
	}), 204)
	a.tokensOf(a.login("bob@example.org", goodPassword))
}

// A program that has lost the challenge of a registration knows no username either.
func TestALoginByAnAddressThatIsNotVerifiedAnswersWithAChallenge(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{email: auth.EmailRequired})
	letter := a.mailFor(a.postJSON("/users", map[string]string{
		"password": goodPassword, "email": "bob@example.org",
	}), 201)
	if wrong := a.login("bob@example.org", "guess"); strings.Contains(wrong.body, "challenge") {
		t.Errorf("a guess: %s", wrong.body)
	}
	refused := a.login("bob@example.org", goodPassword)
	a.want("too early", refused, 400)
	challenge, _ := refused.json(t, "challenge").(string)
	if refused.json(t, "error") != "address_unverified" || challenge == "" {
		t.Fatalf("%s", refused.body)
	}
	a.want("the code of the only mail", a.verifyBy(map[string]string{
		"challenge": challenge, "code": letter.Code, "password": goodPassword,
	}), 204)
	a.tokensOf(a.login("bob@example.org", goodPassword))
	off := startAudited(t, settings{email: auth.EmailRequired, mailOff: true})
	off.exec(`UPDATE users SET email = 'alice@example.org', email_key = 'alice@example.org',
		verify_until = now() + interval '1 hour' WHERE username = 'alice'`)
	if refused := off.login("alice@example.org", goodPassword); refused.status != 400 ||
		strings.Contains(refused.body, "challenge") {
		t.Errorf("without mails: %d %s", refused.status, refused.body)
	}
}

// An admin who may not become another could: by vouching for an address of theirs, they would get
// the mails that reset the password (Zitadel CVE-2026-27946).
func TestNoAdminVouchesForAnAddressOfTheirsOrOfOthers(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{email: auth.EmailOptional})
	helper := a.with("helper", auth.ReadUsers, auth.WriteUsers)
	a.exec(`UPDATE users SET email = username || '@example.org', email_key = username || '@example.org'
		WHERE username IN ('helper', 'alice')`)
	for who, by := range map[string]tokens{"helper": helper, "root": a.root} {
		for _, body := range []string{
			`{"email_verified":true}`, `{"disabled":false,"email_verified":true}`,
			`{"must_change_password":true,"email_verified":true}`, `{"email":"x@example.net"}`,
			`{"disabled":false,"email":"x@example.net","email_verified":true}`,
		} {
			for _, of := range []string{"helper", "alice"} {
				a.want(who+" of "+of+": "+body, a.as(by, "PATCH", a.path(of, ""), body), 422)
			}
		}
		a.want(who+" of a new account", a.as(by, "POST", "/users", `{"username":"dave","initial_secret":true,`+
			`"email":"dave@example.org","email_verified":true}`), 422)
		a.want(who+" of an own one", a.as(by, "PUT", "/users/me/email", `{"email":"x@example.net",`+
			`"email_verified":true,"current_password":"`+goodPassword+`"}`), 422)
	}
	a.want("a new account", a.as(helper, "POST", "/users",
		`{"username":"dave","initial_secret":true,"email":"dave@example.org"}`), 201)
	var with, verified int
	must(t, a.owner.QueryRow(t.Context(), "SELECT count(email), count(email_verified_at) FROM users").
		Scan(&with, &verified))
	if with != 3 || verified != 0 {
		t.Errorf("of %d addresses, %d are verified", with, verified)
	}
}
