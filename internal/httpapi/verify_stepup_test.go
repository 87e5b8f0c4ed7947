package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse.example/internal/token"
)

// A proxy guards a path by a strong or a recent login. A misspelt demand must not let everybody in,
// and a program must learn which login would do.
func TestVerifyAsksForAStrongAndForARecentLogin(t *testing.T) {
	t.Parallel()
	const strong, young, both = `, acr_values="aal2"`, `, max_age="300"`, `, acr_values="aal2", max_age="300"`
	for query, want := range map[string]struct {
		status    int
		challenge string // behind the common part
		weak, old int    // the statuses of a weak login, and of an old one
	}{
		"acr=aal2":                       {204, strong, 401, 204},
		"acr=aal1":                       {204, "", 204, 204},
		"max_age=300":                    {204, young, 204, 401},
		"acr=aal2&max_age=300":           {204, both, 401, 401},
		"role=clerk&max_age=300":         {204, young, 204, 401},
		"role=admin&acr=aal2":            {403, "", 403, 403},
		"acr=aal2&role=admin":            {403, "", 403, 403},
		"acr=aal3":                       {400, "", 400, 400},
		"acr=":                           {400, "", 400, 400},
		"acr=AAL2":                       {400, "", 400, 400},
		"acr=aal1&acr=aal2":              {400, "", 400, 400},
		"acr=aal2&acr=aal2":              {400, "", 400, 400},
		"acr=aal1%20aal2":                {400, "", 400, 400},
		"acr_values=aal2":                {400, "", 400, 400},
		"max_age=":                       {400, "", 400, 400},
		"max_age=0":                      {400, "", 400, 400},
		"max_age=9":                      {400, "", 400, 400},
		"max_age=-300":                   {400, "", 400, 400},
		"max_age=5m":                     {400, "", 400, 400},
		"max_age=300&max_age=300":        {400, "", 400, 400},
		"max_age=99999999999999999999":   {400, "", 400, 400},
		"%61cr=aal2":                     {204, strong, 401, 204},
		"acr=aal2;max_age=300":           {400, "", 400, 400},
		"max_age=300&acr=%zz":            {400, "", 400, 400},
		"max_age=2147483647&role=clerk&": {204, "", 204, 204},
	} {
		for name, test := range map[string]struct {
			acr    string
			at     time.Time
			status int
		}{
			"a good login":              {"aal2", verifiedAt.Add(-5 * time.Minute), want.status},
			"a weak login":              {"aal1", verifiedAt.Add(-time.Minute), want.weak},
			"an old login":              {"aal2", verifiedAt.Add(-5*time.Minute - time.Second), want.old},
			"that of another release's": {"", time.Time{}, max(want.weak, want.old)},
		} {
			if name == "that of another release's" && want.status == 204 {
				test.status = 401
			}
			access := aliceAccess()
			access.Roles, access.ACR, access.AuthTime = "clerk", test.acr, test.at
			a := ask(gate(t, access, nil), "GET", "/verify?"+query, "Authorization", "Bearer good",
				"Accept", "text/html")
			if a.StatusCode != test.status || a.Header.Get("Location") != "" {
				t.Errorf("%s, %s: %d %v, want %d", query, name, a.StatusCode, a.Header, test.status)
			}
			if got := a.Header.Get("WWW-Authenticate"); test.status == 401 && want.challenge != "" &&
				got != weakLogin+want.challenge {
				t.Errorf("%s, %s: %s", query, name, got)
			}
			if test.status != 204 && a.Header.Get("Remote-User") != "" {
				t.Errorf("%s, %s: a refusal says who it is", query, name)
			}
		}
	}
}

// Somebody who is logged in, but not well enough, must not see a bare 401. The login must learn
// what is demanded, also of somebody who is not logged in yet.
func TestABrowserIsSentToTheLoginThatAProxyDemands(t *testing.T) {
	t.Parallel()
	const cookie, query = ownCookie + "=ghs_good", "acr=aal2&max_age=300"
	for name, test := range map[string]struct {
		acr    string
		ago    time.Duration
		header []string
		status int
		query  string // with which the login begins
	}{
		"good":               {"aal2", time.Minute, []string{"Cookie", cookie}, 204, ""},
		"weak":               {"aal1", time.Minute, []string{"Cookie", cookie}, 302, query},
		"old":                {"aal2", time.Hour, []string{"Cookie", cookie}, 302, query},
		"old, as 401":        {"aal2", time.Hour, []string{"Cookie", cookie, "Gatehouse-Redirect", "401"}, 401, query},
		"by the sibling":     {"aal1", time.Minute, []string{"Cookie", siblingCookie + "=ghv_good"}, 302, query},
		"not logged in":      {"aal2", time.Minute, nil, 302, query},
		"weak, and by token": {"aal1", time.Minute, []string{"Authorization", "Bearer good"}, 401, ""},
	} {
		access := aliceAccess()
		access.ACR, access.AuthTime = test.acr, verifiedAt.Add(-test.ago)
		a := ask(gate(t, access, nil), "GET", "/verify?"+query, append(test.header, "Accept", "text/html")...)
		location := ""
		if test.query != "" {
			location = loginURL + "&" + test.query
		}
		if a.StatusCode != test.status || a.Header.Get("Location") != location ||
			(a.Header.Get("WWW-Authenticate") != "") != (test.status == http.StatusUnauthorized) {
			t.Errorf("%s: %d %v", name, a.StatusCode, a.Header)
		}
		program := ask(gate(t, access, nil), "GET", "/verify?"+query, test.header...)
		if location := program.Header.Get("Location"); location != "" || program.StatusCode == 302 ||
			strings.Contains(test.acr, token.ACR1) && program.StatusCode != 401 {
			t.Errorf("%s: a program is answered %d %v", name, program.StatusCode, program.Header)
		}
	}
}
