package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

func TestATutorialClientLogsInAndSeesItself(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	created := f.register("Alice", goodPassword)
	if created.status != http.StatusCreated {
		t.Fatalf("register: %d %s", created.status, created.body)
	}
	// The tutorial's page and OAuth2PasswordRequestForm send no grant_type.
	granted := f.postToken("username=Alice&password=correct+horse+battery+staple")
	if granted.status != http.StatusOK {
		t.Fatalf("token: %d %s", granted.status, granted.body)
	}
	if kind, seconds := granted.json(t, "token_type"),
		granted.json(t, "expires_in"); kind != "bearer" || seconds != 1800.0 {
		t.Errorf("token_type %v, expires_in %v", kind, seconds)
	}
	for _, scheme := range []string{"Bearer", "bearer", "BEARER"} {
		me := f.me("Authorization", scheme+" "+granted.json(t, "access_token").(string))
		if me.status != http.StatusOK || me.body != created.body {
			t.Errorf("%s: %d %s, want the registered user %s", scheme, me.status, me.body,
				created.body)
		}
	}
}

func TestTokenRequestsAreTakenAsFormsOfRFC6749(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	for name, form := range map[string]string{
		"grant type named":        "grant_type=password&username=alice&password=correct+horse+battery+staple",
		"empty parameter ignored": "grant_type=&scope=&username=alice&password=correct+horse+battery+staple",
		"unknown parameter":       "username=alice&password=correct+horse+battery+staple&x=1",
		"what Swagger UI adds":    "grant_type=password&username=alice&password=correct%20horse%20battery%20staple&client_id=&client_secret=&scope=",
		"name in another case":    "username=ALICE&password=correct+horse+battery+staple",
		"name in full-width":      "username=%EF%BD%81%EF%BD%8C%EF%BD%89%EF%BD%83%EF%BD%85&password=correct+horse+battery+staple",
	} {
		t.Run(name, func(t *testing.T) {
			if a := f.postToken(form); a.status != http.StatusOK {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

// A caller may learn nothing from a refused login: neither whether there is such a user, nor what
// is wrong.
func TestRefusedLoginsAreAlikeToTheByte(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	f.loggedIn("disabled")
	_, err := f.rules.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("disabled"),
		nil)
	must(t, err)
	const want = `{"error":"invalid_grant","error_description":"Incorrect username or password","detail":"Incorrect username or password"}` + "\n"
	for name, a := range map[string]answered{
		"unknown user":       f.login("nobody", goodPassword),
		"impossible name":    f.login("no body\x00", goodPassword),
		"endless name":       f.login(strings.Repeat("a", 10000), goodPassword),
		"wrong password":     f.login("alice", "wrong"),
		"password with NUL":  f.login("alice", goodPassword+"\x00"),
		"endless password":   f.login("alice", strings.Repeat(goodPassword, 100)),
		"disabled":           f.login("disabled", goodPassword),
		"disabled and wrong": f.login("disabled", "wrong"),
	} {
		t.Run(name, func(t *testing.T) {
			if a.status != http.StatusUnauthorized || a.body != want {
				t.Errorf("%d %s", a.status, a.body)
			}
			if got := a.header.Get("WWW-Authenticate"); got != "Bearer" {
				t.Errorf("WWW-Authenticate: %q", got)
			}
		})
	}
}

func TestDisablingAnAccountRefusesItsLiveTokenAtOnceAndForGood(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	raw := f.loggedIn("alice")
	_, err := f.rules.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("ALICE"), nil)
	must(t, err)
	f.wantRevoked("disabled", raw)
	_, err = f.rules.Accounts.Enable(t.Context(), authtest.Operator(), auth.ByName("alice"), nil)
	must(t, err)
	f.wantRevoked("enabled again", raw)
	if a := f.login("alice", goodPassword); a.status != http.StatusOK {
		t.Errorf("login after enabling: %d %s", a.status, a.body)
	}
}

func TestAnotherPasswordRefusesTheOldOneAndItsTokens(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	raw := f.loggedIn("alice")
	_, _, err := f.rules.Accounts.SetPassword(t.Context(), authtest.Operator(),
		auth.ByName("alice"), auth.NewPassword{Password: "another good password"})
	must(t, err)
	f.wantRevoked("password changed", raw)
	if a := f.login("alice", goodPassword); a.status != http.StatusUnauthorized {
		t.Errorf("old password: %d %s", a.status, a.body)
	}
	if a := f.login("alice", "another good password"); a.status != http.StatusOK {
		t.Errorf("new password: %d %s", a.status, a.body)
	}
}

func (f *fixture) wantRevoked(when, raw string) {
	f.Helper()
	a := f.me("Authorization", "Bearer "+raw)
	if got := a.header.Get("WWW-Authenticate"); a.status != http.StatusUnauthorized ||
		got != `Bearer realm="gatehouse", error="invalid_token"` {
		f.Errorf("%s: %d %s %s", when, a.status, got, a.body)
	}
}

func TestClosedRegistrationMakesNoAccount(t *testing.T) {
	t.Parallel()
	f := start(t, settings{registrationClosed: true})
	if a := f.register("alice", goodPassword); a.status != http.StatusForbidden {
		t.Errorf("%d %s", a.status, a.body)
	}
	f.wantUsers(0)
}

func (f *fixture) wantUsers(want int) {
	f.Helper()
	users, err := f.store.FindUsers(f.Context(), auth.UserFilter{}, "", 1000)
	must(f, err)
	if len(users) != want {
		f.Errorf("%d users are stored, want %d: %v", len(users), want, users)
	}
}

func TestEveryGetAnswersHeadWithoutABody(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	for _, path := range []string{"/docs", "/openapi.json", "/openapi.yaml", "/users/me"} {
		a := f.do(f.request("HEAD", path, ""))
		if want := map[bool]int{true: 401, false: 200}[path == "/users/me"]; a.status != want ||
			a.body != "" {
			t.Errorf("HEAD %s: %d %q", path, a.status, a.body)
		}
	}
}

func TestUnknownPathsAndMethodsAreProblems(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/users//", 404}, {"GET", "/users/me//", 404},
		{"GET", "/nothing", 404},
		{"POST", "/docs/x", 405}, {"GET", "/docs/x", 404}, {"GET", "/docs/../users", 404},
		{"GET", "/token", 405}, {"PUT", "/users", 405}, {"POST", "/users/me", 405},
		{"OPTIONS", "/token", 405}, {"BREW", "/token", 405},
	} {
		a := f.do(f.request(test.method, test.path, ""))
		if a.status != test.status || a.json(t, "status") != float64(test.status) {
			t.Errorf("%s %s: %d %s, want %d", test.method, test.path, a.status, a.body, test.status)
		}
		if a.status == 405 && a.header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", test.method, test.path)
		}
	}
}
