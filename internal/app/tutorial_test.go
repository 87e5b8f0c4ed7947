package app_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/verify"
)

// inTutorial returns the users that a service of FastAPI's tutorial sees in tokens, or "" for a
// token that it refuses.
func inTutorial(t *testing.T, tokens ...string) (users []string) {
	t.Helper()
	if err := exec.CommandContext(t.Context(), debianPython, "-c", "import jwt").Run(); err != nil {
		t.Skipf("%s has no PyJWT (on Debian: apt-get install python3-jwt): %v", debianPython, err)
	}
	command := exec.CommandContext(t.Context(), debianPython,
		append([]string{"testdata/tutorial_service.py"}, tokens...)...)
	command.Env = append(os.Environ(), "SECRET_KEY="+secretKey)
	out, err := command.Output()
	if failed, ok := err.(*exec.ExitError); ok {
		t.Fatalf("%v: %s", err, failed.Stderr)
	}
	must(t, err)
	must(t, json.Unmarshal(out, &users))
	return users
}

// The tutorial's service does not compare aud, and takes sub for a username. Everything else must
// still know the user.
func TestWithTutorialTokensAServiceOfTheTutorialKnowsItsUsers(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	plain := boot(t, databaseURL)
	before := plain.loggedIn("alice", goodPassword)
	tutorial := boot(t, databaseURL, "--tutorial-tokens=on")
	granted := tutorial.do(tutorial.loginRequest("alice", goodPassword))
	raw := tokenIn(t, granted)

	admin := adminOf(t, databaseURL)
	_, secret, err := admin.Clients.Add(t.Context(), authtest.Operator(),
		auth.Client{ID: "alice", Title: "A client", Confidential: true,
			GrantTypes: []string{auth.GrantClientCredentials}})
	must(t, err)
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"alice"},
		"client_secret": {secret}}
	ofClient := tokenIn(t,
		tutorial.do(tutorial.request("POST", "/token", form.Encode(), "Content-Type",
			"application/x-www-form-urlencoded")))
	if got, want := inTutorial(t, raw, before, ofClient, raw+"x"),
		[]string{"alice", "", "", ""}; !slices.Equal(got, want) {
		t.Errorf("the tutorial knows %q, want %q", got, want)
	}

	verifier, err := verify.New(t.Context(), verify.Options{
		URL: tutorial.public, Issuer: "http://localhost:8000", Audience: "gatehouse",
		Keys: [][]byte{[]byte(secretKey)}, Service: "shop",
	})
	must(t, err)
	id := plain.do(plain.verifyRequest("GET", "/verify", before)).header.Get("Remote-User-Id")
	// as while replicas are replaced
	for name, r := range map[string]*replica{"with": tutorial, "without": plain} {
		for of, token := range map[string]string{"a tutorial token": raw, "another": before} {
			r.want(http.StatusOK, r.do(r.meRequest(token)))
			verified := r.do(r.verifyRequest("GET", "/verify", token)).header
			if verified.Get("Remote-User") != "alice" || verified.Get("Remote-User-Id") != id {
				t.Errorf("%s, %s: /verify says %v", name, of, verified)
			}
			form := url.Values{"token": {token}, "client_id": {"alice"}, "client_secret": {secret}}
			asked := r.do(r.request("POST", "/introspect", form.Encode(), "Content-Type",
				"application/x-www-form-urlencoded"))
			if !strings.Contains(asked.body, `"active":true`) ||
				!strings.Contains(asked.body, `"sub":"`+id+`"`) {
				t.Errorf("%s, %s: /introspect says %s", name, of, asked.body)
			}
			if claims, err := verifier.Verify(token); err != nil || claims.UserID.String() != id ||
				claims.Username != "alice" {
				t.Errorf("%s: package verify says %+v, %v", of, claims, err)
			}
		}
	}
	refresh := struct {
		Token string `json:"refresh_token"`
	}{}
	must(t, json.Unmarshal([]byte(granted.body), &refresh))
	if got := inTutorial(t,
		tokenIn(t, tutorial.do(tutorial.refreshRequest(refresh.Token)))); got[0] != "alice" {
		t.Errorf("after a refresh the tutorial knows %q", got)
	}

	_, err = admin.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("alice"), nil)
	must(t, err)
	asynctest.Await(t, "the ban at /verify", func() bool {
		return tutorial.do(
			tutorial.verifyRequest("GET", "/verify", raw)).status == http.StatusUnauthorized
	})
	asynctest.Await(t, "the ban in package verify",
		func() bool { _, err := verifier.Verify(raw); return err != nil })
	if got := inTutorial(t, raw); got[0] != "alice" {
		t.Error("the documents say that a service of the tutorial hears of no ban")
	}
}

func TestTutorialTokensAreOfHS256Alone(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	_, err := config.Load([]string{"--database-url=" + databaseURL, "--secret-key=" + secretKey,
		"--algorithm=ES256", "--tutorial-tokens=on"})
	if err == nil || !strings.HasPrefix(err.Error(), "TUTORIAL_TOKENS: ") {
		t.Errorf("ALGORITHM=ES256: %v", err)
	}
	// its key stays in use, whatever the setting says later
	boot(t, databaseURL, "--algorithm=ES256").stop()
	r := launchWith(t, app.Options{After: time.After}, databaseURL, "--tutorial-tokens=on")
	<-r.ended
	if r.err == nil ||
		!strings.HasPrefix(r.err.Error(),
			"TUTORIAL_TOKENS: the signing key in use is not of HS256") {
		t.Errorf("with a key of ES256 in use: %v", r.err)
	}
}
