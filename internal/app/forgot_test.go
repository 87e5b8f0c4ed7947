package app_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/mail/mailtest"
)

const nextPassword = "another good password"

// withMail is a service that sends mails, with alice, who has a verified address.
type withMail struct {
	*replica
	relay    *mailtest.Server
	conn     *pgx.Conn
	database string // its URL
}

func bootWithMail(t *testing.T, flags ...string) withMail {
	t.Helper()
	relay, databaseURL := mailtest.New(t, mailtest.Options{}), dbtest.New(t)
	r := bootAtIssuer(t, databaseURL, append([]string{
		"--smtp-url=" + relay.URL(), "--mail-from=login@example.org", "--email=optional",
	}, flags...)...)
	r.want(http.StatusCreated, r.do(r.registerRequest("alice", goodPassword)))
	m := withMail{r, relay, connect(t, databaseURL), databaseURL}
	m.exec(`UPDATE users SET email = 'Alice@example.org', email_key = 'alice@example.org',
		email_verified_at = now()`)
	return m
}

func (m withMail) exec(statement string, args ...any) {
	m.Helper()
	_, err := m.conn.Exec(m.Context(), statement, args...)
	must(m, err)
}

func (m withMail) asJSON(path string, body map[string]string, header ...string) *http.Request {
	m.Helper()
	encoded, err := json.Marshal(body)
	must(m, err)
	return m.request("POST", path, string(encoded),
		append(header, "Content-Type", "application/json")...)
}

// forgot asks for a mail, and returns the challenge.
func (m withMail) forgot(login string) (challenge string) {
	m.Helper()
	a := m.do(m.asJSON("/password/forgot", map[string]string{"login": login}))
	m.want(http.StatusAccepted, a)
	var body struct{ Challenge string }
	must(m, json.Unmarshal([]byte(a.body), &body))
	return body.Challenge
}

func (m withMail) reset(proof map[string]string) answer {
	m.Helper()
	proof["new_password"] = nextPassword
	return m.do(m.asJSON("/password/reset", proof))
}

func tokenOf(mail mailtest.Received) string {
	return mail.Link()[strings.LastIndexByte(mail.Link(), '/')+1:]
}

func TestWhoeverForgetsThePasswordGetsInAgainByTheMail(t *testing.T) {
	t.Parallel()
	for name, prove := range map[string]func(mailtest.Received, string) map[string]string{
		"link": func(mail mailtest.Received, _ string) map[string]string {
			return map[string]string{"token": tokenOf(mail)}
		},
		"code": func(mail mailtest.Received, challenge string) map[string]string {
			return map[string]string{"challenge": challenge, "code": mail.Code()}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := bootWithMail(t)
			before := m.login("alice", goodPassword)
			challenge := m.forgot("alice")
			mail := m.relay.Next(t)
			if mail.To != "Alice@example.org" ||
				!strings.HasPrefix(mail.Link(), m.public+"/password/reset/") || mail.Code() == "" {
				t.Fatalf("to %s:\n%s", mail.To, mail.Text)
			}
			m.want(http.StatusNoContent, m.reset(prove(mail, challenge)))
			m.want(http.StatusUnauthorized, m.do(m.meRequest(before)))
			m.want(http.StatusUnauthorized, m.do(m.loginRequest("alice", goodPassword)))
			m.login("alice", nextPassword)
			m.want(http.StatusBadRequest, m.reset(map[string]string{"token": tokenOf(mail)}))
			m.want(http.StatusBadRequest,
				m.reset(map[string]string{"challenge": challenge, "code": mail.Code()}))
			if log := m.log.String(); strings.Contains(log, tokenOf(mail)) ||
				strings.Contains(log, mail.Code()) || strings.Contains(strings.ToLower(log), "alice@") {
				t.Errorf("the log has what only the mail has:\n%s", log)
			}
		})
	}
}

// Whoever asks for the mail of another could otherwise have its link lead to a site of their own,
// which gets the token.
func TestTheLinkOfAMailLeadsToTheIssuerWhateverTheRequestSays(t *testing.T) {
	t.Parallel()
	m := bootWithMail(t, "--issuer=https://id.example/auth", "--trusted-proxies=127.0.0.0/8")
	for name, forge := range map[string]func(*http.Request){
		"Host":             func(r *http.Request) { r.Host = "evil.example" },
		"X-Forwarded-Host": func(r *http.Request) { r.Header.Set("X-Forwarded-Host", "evil.example") },
		"X-Host":           func(r *http.Request) { r.Header.Set("X-Host", "evil.example") },
		"Forwarded":        func(r *http.Request) { r.Header.Set("Forwarded", "for=192.0.2.1;host=evil.example;proto=http") },
		"the others": func(r *http.Request) {
			r.Header.Set("X-Forwarded-Proto", "http")
			r.Header.Set("X-Forwarded-Prefix", "/evil")
			r.Header.Set("X-Original-URL", "/evil")
			r.Header.Set("Origin", "https://evil.example")
			r.Header.Set("Referer", "https://evil.example/")
		},
		"target": func(r *http.Request) { r.URL.Opaque = "http://evil.example/password/forgot" },
	} {
		user := "user " + strings.ToLower(name) // since one account gets one mail in a minute
		user = strings.ReplaceAll(user, " ", "-")
		m.exec(`INSERT INTO users (id, username, username_key, password_hash, email, email_key, email_verified_at)
			VALUES (gen_random_uuid(), $1, $1, '$2b$10$' || repeat('h', 53), $1 || '@example.org', $1 || '@example.org', now())`, user)
		request := m.asJSON("/password/forgot", map[string]string{"login": user})
		forge(request)
		a, err := send(m.plain, request)
		must(t, err)
		m.want(http.StatusAccepted, a)
		mail := m.relay.Next(t)
		if !strings.HasPrefix(mail.Link(), "https://id.example/auth/password/reset/") ||
			strings.Contains(string(mail.Source), "evil") {
			t.Errorf("%s:\n%s", name, mail.Source)
		}
	}
}

// from is a client with another address of this machine.
func (m withMail) from(address string) *http.Client {
	transport := &http.Transport{DialContext: (&net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)},
	}).DialContext}
	m.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

var hrefs = regexp.MustCompile(`href="([^"]+)"`)

// linksIn are all links of a mail, of both its parts.
func linksIn(mail mailtest.Received) []string {
	links := []string{mail.Link()}
	for _, match := range hrefs.FindAllStringSubmatch(mail.HTML, -1) {
		links = append(links, strings.ReplaceAll(match[1], "&amp;", "&"))
	}
	return links
}

// Many mail servers open every link before the person sees the mail. A link that is used up by that
// would be good for nobody.
func TestRobotsThatOpenEveryLinkUseNothingUp(t *testing.T) {
	t.Parallel()
	m := bootWithMail(t)
	m.forgot("alice")
	mail := m.relay.Next(t)
	opened := 0
	for _, address := range []string{"127.0.0.2", "127.0.0.3"} {
		robot := m.from(address)
		for _, link := range linksIn(mail) {
			for _, method := range []string{"HEAD", "GET", "GET", "HEAD"} {
				request, err := http.NewRequestWithContext(t.Context(), method, link, nil)
				must(t, err)
				request.Header.Set("User-Agent", "Scanner/1.0")
				a, err := send(robot, request)
				must(t, err)
				if a.status != http.StatusOK || strings.Contains(a.body, "alice") ||
					len(a.header["Set-Cookie"]) != 0 {
					t.Errorf("%s %s: %d %v %s", method, link, a.status, a.header, a.body)
				}
				opened++
			}
		}
	}
	if opened < 8 {
		t.Errorf("only %d requests", opened)
	}
	person := m.person()
	form := person.opens(mail.Link())
	if form.status != http.StatusOK || !strings.Contains(form.body, "new_password") {
		t.Fatalf("%d %s", form.status, form.body)
	}
	done := person.sendsForm(form, "new_password", nextPassword)
	if done.at.Path != "/login" || !strings.Contains(done.body, "Your password is changed") {
		t.Errorf("at %s: %s", done.at, done.body)
	}
	in := person.sendsForm(done, "username", "alice", "password", nextPassword)
	if in.at.Path != "/" || !strings.Contains(in.body, "alice") {
		t.Errorf("at %s: %s", in.at, in.body)
	}
	for _, again := range []shown{
		person.opens(mail.Link()),
		person.sendsForm(form, "new_password", "a third good password"),
	} {
		if again.status != http.StatusBadRequest || !strings.Contains(again.body, "not good any more") {
			t.Errorf("again: %d %s", again.status, again.body)
		}
	}
	m.want(http.StatusBadRequest, m.reset(map[string]string{"token": tokenOf(mail)}))
}

func TestNoMailComesToWhoHasNoVerifiedAddress(t *testing.T) {
	t.Parallel()
	m := bootWithMail(t)
	m.exec(`INSERT INTO users (id, username, username_key, password_hash, email, email_key, email_verified_at, disabled_at) VALUES
		(gen_random_uuid(), 'without', 'without', '$2b$10$' || repeat('h', 53), NULL, NULL, NULL, NULL),
		(gen_random_uuid(), 'unverified', 'unverified', '$2b$10$' || repeat('h', 53), 'bob@example.org', 'bob@example.org', NULL, NULL),
		(gen_random_uuid(), 'disabled', 'disabled', '$2b$10$' || repeat('h', 53), 'd@example.org', 'd@example.org', now(), now())`)
	for _, login := range []string{"without", "unverified", "disabled", "nobody", "bob@example.org", ""} {
		m.forgot(login)
	}
	asynctest.Await(t, "all mails to be decided", func() bool {
		var open int
		must(t, m.conn.QueryRow(t.Context(), "SELECT count(*) FROM mails WHERE done_at IS NULL").Scan(&open))
		return open == 0
	})
	m.relay.Nothing(t)
	var void int
	must(t, m.conn.QueryRow(t.Context(), "SELECT count(*) FROM mails WHERE outcome = 'void'").Scan(&void))
	if void != 6 {
		t.Errorf("%d mails are void", void)
	}
}

// Whoever must set a password, and has no good one any more, needs this most.
func TestAnExpiredSecretAndADemandedPasswordAreReplacedByTheMail(t *testing.T) {
	t.Parallel()
	m := bootWithMail(t)
	m.exec("UPDATE users SET must_change_password = true, password_expires_at = now() - interval '1 hour'")
	m.want(http.StatusUnauthorized, m.do(m.loginRequest("alice", goodPassword)))
	m.forgot("alice")
	m.want(http.StatusNoContent, m.reset(map[string]string{"token": tokenOf(m.relay.Next(t))}))
	m.login("alice", nextPassword)
}

// Each stranger would be told to give an address, and then that there is none.
func TestAServiceDoesNotStartWhereNobodyCouldProveTheAddressThatAllNeed(t *testing.T) {
	t.Parallel()
	r := launch(t, dbtest.New(t), "--email=required")
	<-r.ended
	if wrong, ok := errors.AsType[*config.Error](r.err); !ok || wrong.Setting != "EMAIL" {
		t.Error(r.err)
	}
}

// A person who reads that a mail is on its way waits for it.
func TestWithoutARelayOrAddressesNoPageOffersAMail(t *testing.T) {
	t.Parallel()
	relay := mailtest.New(t, mailtest.Options{})
	for name, flags := range map[string][]string{
		"no relay":     {"--email=optional"},
		"none to join": {"--email=required", "--registration=closed"},
		"no addresses": {"--email=off", "--smtp-url=" + relay.URL(), "--mail-from=login@example.org"},
	} {
		r := boot(t, dbtest.New(t), flags...)
		r.want(http.StatusNotFound, r.do(r.request("POST", "/password/forgot", `{"login":"alice"}`,
			"Content-Type", "application/json")))
		if page := r.do(r.request("GET", "/login", "")); page.status != http.StatusOK ||
			strings.Contains(page.body, "/password/") {
			t.Errorf("%s: the login offers one: %s", name, page.body)
		}
	}
}
