package auth_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/token"
)

// The pages and the interface for programs ask the same rules, with what each of them has.
func TestAnOwnerLeavesByATokenAndByABrowser(t *testing.T) {
	t.Parallel()
	f := start(t)
	alice, bob := f.register("alice"), f.register("bob")
	grant := f.inBrowser("bob", auth.BrowserLogin{})
	for name, access := range map[string]token.Access{
		"alice": f.access(f.login("alice")), "bob": f.browser(grant.Cookie).Access,
	} {
		data, err := f.Personal.Data(t.Context(), access)
		must(t, err)
		if data.User.Username.Given != name || len(data.Sessions) != 1 ||
			data.Sessions[0].ID != access.SessionID || data.Sessions[0].Browser != (name == "bob") {
			t.Errorf("%s: %+v", name, data)
		}
		err = f.Personal.Delete(t.Context(), access, "guess")
		f.want(name+" without the password", err, auth.ErrWrongCurrentPassword)
		f.want(name+" as a client", f.Personal.Delete(t.Context(),
			token.Access{Subject: token.Subject{ClientID: "job"}}, goodPassword), auth.ErrInvalidToken)
		must(t, f.Personal.Delete(t.Context(), access, goodPassword))
		f.want(name+" again", f.Personal.Delete(t.Context(), access, goodPassword),
			auth.ErrInvalidToken)
		_, err = f.Personal.Data(t.Context(), access)
		f.want(name+" is gone", err, auth.ErrInvalidToken)
	}
	f.wantCookieRefused("bob's", grant.Cookie)
	for _, id := range []auth.User{alice, bob} {
		events, err := f.Audit.Events(t.Context(), auth.EventFilter{
			UserID: id.ID, ActorID: id.ID, Action: auth.ActionDeleteUser, Outcome: "success",
		}, auth.EventPosition{}, 10)
		must(t, err)
		if len(events) != 1 {
			t.Errorf("%s: %+v", id.Username.Given, events)
		}
	}
}

// The answer to a theft is another password, or a ban. A deletion that is under way must not come
// after it.
func TestADeletionThatIsUnderWayDoesNotOutliveAChangeOfTheAccount(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*fixture) error{
		"ban": func(f *fixture) error {
			_, err := f.Accounts.Disable(f.Context(), authtest.Operator(), auth.ByName("alice"), nil)
			return err
		},
		"another password": func(f *fixture) error {
			_, err := f.store.SetPassword(f.Context(), anEvent(), auth.Freely(), "alice",
				auth.StoredPassword{Hash: plainHash(f.T, "another good password")})
			return err
		},
	} {
		f := start(t)
		alice := f.register("alice")
		stolen := f.access(f.login("alice"))
		err := f.duringHashingOf(func() error {
			return f.Personal.Delete(t.Context(), stolen, goodPassword)
		}, func() { must(t, change(f)) })
		f.want(name, err, auth.ErrInvalidToken)
		if _, err := f.Accounts.Find(t.Context(), auth.ByID(alice.ID)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Two admins who leave at once would both find the other one still there.
func TestTheLastAdminDoesNotLeave(t *testing.T) {
	t.Parallel()
	f := start(t)
	access := make(map[string]token.Access)
	for _, name := range []string{"one", "two"} {
		f.grant(f.register(name), auth.AdminRole)
		access[name] = f.access(f.login(name))
	}
	left := make(chan error, len(access))
	for _, held := range access {
		go func() { left <- f.Personal.Delete(t.Context(), held, goodPassword) }()
	}
	errs := []error{<-left, <-left}
	if !slices.Contains(errs, nil) ||
		!slices.ContainsFunc(errs, func(err error) bool { return errors.Is(err, auth.ErrLastAdmin) }) {
		t.Errorf("%v", errs)
	}
}

// What the log tells a user of others would be data of others.
func TestAnExportSaysNothingOfOtherPeople(t *testing.T) {
	t.Parallel()
	f := start(t)
	alice, mallory := f.register("alice"), f.register("mallory")
	f.grant(mallory, auth.AdminRole)
	from := func(who string) auth.Origin {
		return auth.Origin{RequestID: "of " + who, Address: who, UserAgent: "of " + who}
	}
	admin, err := f.Accounts.Find(t.Context(), auth.ByID(mallory.ID))
	must(t, err)
	by := auth.WithOrigin(t.Context(), from("mallory"))
	_, err = f.Accounts.Disable(by, admin.As(), auth.ByID(alice.ID), nil)
	must(t, err)
	_, err = f.Accounts.Enable(by, admin.As(), auth.ByID(alice.ID), nil)
	must(t, err)
	_, err = f.Logins.Login(auth.WithOrigin(t.Context(), from("stranger")), "alice", "x", client)
	f.want("guess", err, auth.ErrWrongPassword)
	_, err = f.Logins.Login(
		auth.WithOrigin(t.Context(), from("alice")), "alice", goodPassword, client)
	must(t, err)
	f.grant(alice, auth.AdminRole)
	admin, err = f.Accounts.Find(t.Context(), auth.ByID(alice.ID))
	must(t, err)
	must(t, f.Roles.Grant(
		auth.WithOrigin(t.Context(), from("alice")), admin.As(), mallory.ID, auth.AdminRole))
	data, err := f.Personal.Data(t.Context(), f.access(f.login("alice")))
	must(t, err)
	var told []string
	for _, e := range data.Events {
		told = append(told, fmt.Sprintf("%s %s %s>%s %s", e.Action, e.Outcome, e.Actor, e.About,
			e.Address))
		if e.Address != "" && (e.UserAgent != "of "+e.Address || e.RequestID != "of "+e.Address) {
			t.Errorf("%+v", e)
		}
	}
	want := []string{
		"login success self>self ",
		"role.grant success self>another alice",
		"role.grant success operator>self ",
		"login success self>self alice",
		"login wrong_password anonymous>self stranger",
		"user.enable success user>self ",
		"user.disable success user>self ",
		"user.create success operator>self ",
	}
	if !slices.Equal(told, want) {
		t.Errorf("%q", told)
	}
}

// Whoever has stolen a token would know from the export when to use the refresh token, which the
// list of sessions does not tell.
func TestAnExportDoesNotTellWhenARefreshTokenIsUsed(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	grant := f.login("alice")
	grant = f.mustRefresh(grant.RefreshToken)
	f.login("alice")
	data, err := f.Personal.Data(t.Context(), f.access(grant))
	must(t, err)
	for _, s := range data.Sessions {
		if s.LastUsedAt.After(s.CreatedAt) {
			t.Errorf("the session was used at %v, and began at %v", s.LastUsedAt, s.CreatedAt)
		}
	}
	last := data.Events[len(data.Events)-1]
	if last.Action != auth.ActionRefresh || last.At.Truncate(24*time.Hour) != last.At ||
		last.RequestID != "" {
		t.Errorf("%+v", data.Events)
	}
}

// Somebody who has used the account by a program for years would have a file of gigabytes, and the
// service would hold it in memory.
func TestAnExportIsBoundedAndSaysSo(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	alice := c.register("alice")
	access := c.access(c.login("alice"))
	data, err := c.Personal.Data(t.Context(), access)
	must(t, err)
	if data.Cut != nil || data.Limit < len(data.Events) {
		t.Errorf("%d, %v", data.Limit, data.Cut)
	}
	_, err = c.conn.Exec(t.Context(), `
		INSERT INTO audit_events (action, outcome, actor, actor_id, user_id, target, request_id, client_address, user_agent)
		SELECT 'login', 'success', 'user', $1, $1, n::text, '', '', '' FROM generate_series(1, 1100) n`,
		alice.ID)
	must(t, err)
	_, err = c.conn.Exec(t.Context(), `
		INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, created_at, client_address, user_agent, ended_at, end_reason)
		SELECT gen_random_uuid(), $1, decode(repeat('00', 16), 'hex'), now(), now(), now() - interval '1 d', '', '', now(), 'logout'
		FROM generate_series(1, 1100)`, alice.ID)
	must(t, err)
	data, err = c.Personal.Data(t.Context(), access)
	must(t, err)
	if len(data.Events) != data.Limit || len(data.Sessions) != data.Limit ||
		!slices.Equal(data.Cut, []string{"sessions", "events"}) {
		t.Errorf("%d events, %d sessions, %v", len(data.Events), len(data.Sessions), data.Cut)
	}
	if data.Sessions[0].ID != access.SessionID || data.Events[0].Target != "1100" {
		t.Errorf("the newest are not there: %+v", data.Events[0])
	}
}

// Sessions of apps would look like logins of a stranger.
func TestTheListSaysWhichAppASessionIsOf(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	alice := c.register("alice")
	_, _, err := c.Clients.Add(t.Context(), authtest.Operator(), auth.Client{
		ID: "shop", Title: "The shop", GrantTypes: []string{auth.GrantPassword},
	})
	must(t, err)
	browser := c.browser(c.inBrowser("alice", auth.BrowserLogin{}).Cookie).Access.SessionID
	own := c.access(c.login("alice")).SessionID
	const children = 60
	_, err = c.conn.Exec(t.Context(), `
		INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent, client_id, parent_id)
		SELECT gen_random_uuid(), $1, decode(repeat('00', 16), 'hex'), now() + interval '1 h', now() + interval '1 h', '', '', 'shop', $2
		FROM generate_series(1, $3)`, alice.ID, browser, children)
	must(t, err)
	reach := auth.Reach{UserID: alice.ID, AllClients: true}
	seen := make(map[string]int)
	for before := uuid.Max; ; {
		page, err := auth.ReadPage(7, func(limit int) ([]auth.Session, error) {
			return c.Sessions.List(t.Context(), reach, before, limit)
		})
		must(t, err)
		for _, s := range page.Items {
			kind := s.Caller.Client.ID + "/" + s.Caller.Client.Title
			switch {
			case s.ID == browser && s.Browser:
				kind = "browser"
			case s.ID == own && !s.Browser:
				kind = "own"
			}
			if s.Parent == browser {
				kind += " through the browser"
			}
			seen[kind]++
		}
		last := page.Last()
		if last == nil {
			break
		}
		before = last.ID
	}
	if fmt.Sprint(seen) != fmt.Sprint(map[string]int{
		"browser": 1, "own": 1, "shop/The shop through the browser": children,
	}) {
		t.Error(seen)
	}
}
