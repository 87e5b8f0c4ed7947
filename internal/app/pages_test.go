package app_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gatehouse.example/internal/dbtest"
)

// A replica that lacks a part of the rules would answer some pages with a fault.
func TestAReplicaServesEveryPage(t *testing.T) {
	t.Parallel()
	r := boot(t, dbtest.New(t), "--app-name=Example Bakery")
	r.loggedIn("alice", goodPassword)
	login := r.do(r.request("POST", "/login", url.Values{
		"username": {"alice"}, "password": {goodPassword},
	}.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
	r.want(http.StatusSeeOther, login)
	session := ""
	for _, c := range (&http.Response{Header: login.header}).Cookies() {
		if c.Name == "gatehouse" {
			session = c.Name + "=" + c.Value
		}
	}
	for path, status := range map[string]int{
		"/": 200, "/login": 200, "/login/password": 200, "/register": 200, "/account": 200,
		"/account/data": 200, "/account/delete": 200, "/end-session": 200,
		"/authorize?client_id=x": 400, "/missing": 404,
	} {
		a := r.do(r.request("GET", path, "", "Accept", "text/html", "Cookie", session))
		if a.status != status || path != "/account/data" && !strings.Contains(a.body, "Example Bakery") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}
