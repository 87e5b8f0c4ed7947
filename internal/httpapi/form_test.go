package httpapi

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"gatehouse.example/internal/auth"
)

// multipartOf returns a form of names and values, as a browser sends FormData.
func multipartOf(t *testing.T, fields ...string) (contentType, body string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for n := 0; n < len(fields); n += 2 {
		must(t, w.WriteField(fields[n], fields[n+1]))
	}
	must(t, w.Close())
	return w.FormDataContentType(), b.String()
}

// A page that sends FormData, as clients of FastAPI's form may, would get 415 for the right
// password.
func TestFormsMayBeMultipart(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("zoë")
	confidential := f.program("shop",
		auth.Client{Confidential: true,
			GrantTypes: []string{auth.GrantPassword, auth.GrantRefreshToken}})
	send := func(path string, fields ...string) answered {
		contentType, body := multipartOf(t, fields...)
		return f.do(f.request("POST", path, body, "Content-Type", contentType))
	}
	granted := send("/token", "grant_type", "password", "username", "zoë", "password", goodPassword,
		"client_id", "shop", "client_secret", confidential.secret, "x", "a=b&c\r\nd")
	f.want("login", granted, 200)
	access, refresh := granted.json(t, "access_token").(string),
		granted.json(t, "refresh_token").(string)
	asked := send("/introspect", "token", access, "client_id", "shop", "client_secret",
		confidential.secret)
	if f.want("introspect", asked, 200); asked.json(t, "active") != true {
		t.Errorf("introspect: %s", asked.body)
	}
	f.want("revoke",
		send("/revoke", "token", refresh, "client_id", "shop", "client_secret",
			confidential.secret), 200)
	firstParty := send("/token", "username", "zoë", "password", goodPassword)
	f.want("login without a client", firstParty, 200)
	f.want("logout", send("/logout", "refresh_token", firstParty.json(t, "refresh_token").(string)),
		204)
}

// Lenience here would be a second way in, past the checks of the first.
func TestMultipartFormsAreHeldToWhatOtherFormsAre(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	part := func(header,
		value string) string {
		return "--x\r\n" + header + "\r\n\r\n" + value + "\r\n"
	}
	field := func(name, value string) string {
		return part(`Content-Disposition: form-data; name="`+name+`"`, value)
	}
	login := field("username", "alice") + field("password", goodPassword)
	typed := func(contentType string) string {
		return field("username", "alice") +
			part("Content-Disposition: form-data; name=password\r\nContent-Type: "+contentType,
				goodPassword)
	}
	const end, formData = "--x--\r\n", "multipart/form-data; boundary=x"
	for name, test := range map[string]struct {
		contentType, body string
		status            int
	}{
		"plain":                       {formData, login + end, 200},
		"a boundary in quotes":        {`multipart/form-data; boundary="x"`, login + end, 200},
		"a preamble and an epilogue":  {formData, "this is\r\n" + login + end + "and more", 200},
		"a text with its type":        {formData, typed("text/plain; charset=utf-8") + end, 200},
		"US-ASCII":                    {formData, typed("text/plain; charset=US-ASCII") + end, 200},
		"a charset of the form":       {formData, field("_charset_", "UTF-8") + login + end, 200},
		"an empty password, and more": {formData, login + field("grant_type", "") + end, 200},

		"another charset": {formData, typed("text/plain; charset=iso-8859-1") + end,
			415},
		"another charset of the form": {formData, field("_charset_", "windows-1252") + login + end,
			415},
		"another charset of the body": {formData + "; charset=utf-16", login + end, 415},
		"another subtype":             {"multipart/mixed; boundary=x", login + end, 415},

		"a file": {formData,
			login + part(`Content-Disposition: form-data; name="f"; filename="a.txt"`, "x") + end,
			400},
		"a file without a name": {formData,
			login + part(`Content-Disposition: form-data; name="f"; filename=""`, "x") + end, 400},
		"a file by its encoded name": {formData,
			login + part(`Content-Disposition: form-data; name="f"; filename*=utf-8''a`, "x") + end,
			400},
		"a file for the password": {formData,
			field("username", "alice") +
				part(`Content-Disposition: form-data; name="password"; filename="p"`,
					goodPassword) + end, 400},
		"bytes":               {formData, typed("application/octet-stream") + end, 400},
		"JSON":                {formData, typed("application/json") + end, 400},
		"a type that is none": {formData, typed("text/plain; charset") + end, 400},
		"a form in the form":  {formData, typed("multipart/mixed; boundary=y") + end, 400},
		"repeated": {formData, login + field("password", goodPassword) + end,
			400},
		"repeated by an empty one": {formData, login + field("password", "") + end, 400},
		"repeated, but unknown": {formData, login + field("y", "1") + field("y", "1") + end,
			400},
		"invalid UTF-8":           {formData, login + field("y", "\xff") + end, 400},
		"invalid UTF-8 in a name": {formData, login + field("\xff", "") + end, 400},
		"no boundary":             {"multipart/form-data", login + end, 400},
		"an empty boundary":       {`multipart/form-data; boundary=""`, login + end, 400},
		"another boundary":        {"multipart/form-data; boundary=y", login + end, 400},
		"no end":                  {formData, login, 400},
		"cut in a value": {formData,
			field("username", "alice") +
				strings.TrimSuffix(field("password", goodPassword), "\r\n"), 400},
		"cut in a header": {formData,
			field("username", "alice") + "--x\r\nContent-Disposition: form-da", 400},
		"no name": {formData,
			login + part("Content-Disposition: form-data", "x") + end, 400},
		"an empty name": {formData, login + field("", "x") + end, 400},
		"no disposition": {formData,
			login + part("Content-Type: text/plain", "x") + end, 400},
		"two dispositions": {formData,
			login + part(
				"Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b",
				"x") + end, 400},
		"two names": {formData,
			login + part("Content-Disposition: form-data; name=a; name=password", "x") + end, 400},
		"another disposition": {formData,
			login + part("Content-Disposition: attachment; name=a", "x") + end, 400},
		"two types": {formData,
			login + part(
				"Content-Disposition: form-data; name=a\r\nContent-Type: text/plain\r\nContent-Type: text/html", "x") + end, 400},
		"an encoded part": {formData,
			login + part(
				"Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: quoted-printable", "=61") + end, 400},
		"nothing":  {formData, "", 400},
		"no parts": {formData, end, 400},
		"64 KiB and more of parts": {formData,
			login + field("y", strings.Repeat("y", 64<<10)) + end, 413},
		"as many parts as fit":        {formData, strings.Repeat("--x\r\n\r\n", 8000) + end, 400},
		"as many as fit, of one name": {formData, strings.Repeat(field("a", ""), 1000) + end, 400},
		"a header as long as may be": {formData,
			part("Content-Disposition: form-data; name=a; b="+strings.Repeat("b", 60<<10), "") +
				end, 400},
		"a disposition of many params": {formData,
			part("Content-Disposition: form-data; name=a"+strings.Repeat("; b", 20000), "") + end,
			400},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.do(f.request("POST", "/token", test.body, "Content-Type", test.contentType))
			if a.status != test.status {
				t.Errorf("%d %s, want %d", a.status, a.body, test.status)
			}
			if said, _ := a.json(t, "error").(string); test.status != 200 &&
				said != "invalid_request" {
				t.Errorf("%s", a.body)
			}
		})
	}
}

// A developer who is told only that something is not supported must try everything else, one by
// one.
func TestARefusedMediaTypeSaysWhatIsWanted(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	raw := f.loggedIn("alice")
	const forms = "application/x-www-form-urlencoded, multipart/form-data"
	for name, test := range map[string]struct {
		method, path   string
		header         []string
		accept, coding string
		says           string
	}{
		"JSON to log in": {"POST", "/token", []string{"Content-Type", jsonType}, forms,
			"", "must be application/x-www-form-urlencoded or multipart/form-data"},
		"nothing to log in": {"POST", "/token", nil, forms, "",
			"must be application/x-www-form-urlencoded or multipart/form-data"},
		"JSON to introspect": {"POST", "/introspect", []string{"Content-Type", jsonType},
			forms, "", "must be application/x-www-form-urlencoded or"},
		"JSON to revoke": {"POST", "/revoke", []string{"Content-Type", jsonType}, forms,
			"", "must be application/x-www-form-urlencoded or"},
		"JSON to log out": {"POST", "/logout", []string{"Content-Type", jsonType}, forms,
			"", "must be application/x-www-form-urlencoded or"},
		"a form to register": {"POST", "/users", []string{"Content-Type", formType},
			jsonType, "", "must be application/json"},
		"a form to change": {"PUT", "/users/me/password",
			[]string{"Content-Type", formType, "Authorization", "Bearer " + raw}, jsonType, "",
			"must be application/json"},
		"a form to replace": {"POST", "/token/password", []string{"Content-Type", formType},
			jsonType, "", "must be application/json"},
		"another charset": {"POST", "/token",
			[]string{"Content-Type", formType + "; charset=latin1"}, "", "", "must be in UTF-8"},
		"another charset of JSON": {"POST", "/users",
			[]string{"Content-Type", jsonType + "; charset=utf-16"}, "", "", "must be in UTF-8"},
		"compressed": {"POST", "/token",
			[]string{"Content-Type", formType, "Content-Encoding", "gzip"}, "", "identity",
			"must not be compressed"},
		"compressed to register": {"POST", "/users",
			[]string{"Content-Type", jsonType, "Content-Encoding", "br"}, "", "identity",
			"must not be compressed"},
		"of another type and coded": {"POST", "/users",
			[]string{"Content-Type", "text/plain", "Content-Encoding", "br"}, jsonType, "",
			"must be application/json"},
	} {
		a := f.do(f.request(test.method, test.path, "{}", test.header...))
		detail, _ := a.json(t, "detail").(string)
		if a.status != http.StatusUnsupportedMediaType || !strings.Contains(detail, test.says) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		if accept, coding := a.header.Get("Accept"),
			a.header.Get("Accept-Encoding"); accept != test.accept || coding != test.coding {
			t.Errorf("%s: Accept %q, Accept-Encoding %q", name, accept, coding)
		}
	}
}

// A developer who has misspelt a field would look for a missing comma.
func TestAFieldThatIsNotKnownOrOfAnotherTypeIsNamed(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	root := f.root()
	alice := f.with("alice")
	long := strings.Repeat("ä", 50)
	id := f.idOf("alice").String()
	for _, test := range []struct {
		by                 tokens
		method, path, body string
		field, message     string
	}{
		{tokens{}, "POST", "/users", `{"username":"bob","pasword":"correct horse battery"}`,
			"pasword", "is not known"},
		{tokens{}, "POST", "/users", `{"username":"bob","Password":"correct horse battery"}`,
			"Password", "is not known"},
		{tokens{}, "POST", "/users", `{"username":"bob","password":"x","a/b~c":{"d":[1]}}`, "",
			"is not known"},
		{tokens{}, "POST", "/users", `{"":1}`, "", "is not known"},
		{tokens{}, "POST", "/users", `{"` + goodPassword + `":1}`, "", "is not known"},
		{tokens{}, "POST", "/users", `{"` + strings.Repeat("x", 33) + `":1}`, "", "is not known"},
		{tokens{}, "POST", "/users", `{"1password":1}`, "", "is not known"},
		{tokens{}, "POST", "/users", `{"` + long + `":1}`, "", "is not known"},
		{tokens{}, "POST", "/users",
			`{"username":"bob","password":"correct horse battery","must_change_password":true}`,
			"must_change_password", "is not known"},
		{tokens{}, "POST", "/users", `{"username":"bob","initial_secret":true}`, "initial_secret",
			"is not known"},
		{tokens{}, "POST", "/users",
			`{"username":"bob","initial_secret":false,"password":"correct horse battery"}`,
			"initial_secret", "is not known"},
		{tokens{}, "POST", "/users",
			`{"username":"bob","password":"correct horse battery","email":"bob@example.org"}`,
			"email", "is not known"},
		{root, "POST", "/users",
			`{"username":"bob","initial_secret":true,"email":"bob@example.org","email_verified":true}`,
			"email_verified", "is not known"},
		{root, "POST", "/users", `{"username":"bob","initial_secret":true,"email":"bob@localhost"}`,
			"email", "must have the name of a domain behind the @, such as example.org"},
		{root, "POST", "/users", `{"username":"bob","initial_secret":true,"email":""}`, "email",
			"must not be empty"},
		{root, "GET", "/users?email=bob", "", "email",
			"must be an e-mail address, such as alice@example.org"},
		{tokens{}, "POST", "/users", `{"username":["bob"]}`, "username", "has the wrong type"},
		{root, "POST", "/users", `{"username":"bob","initial_secret":"true"}`, "initial_secret",
			"has the wrong type"},
		{tokens{}, "POST", "/token/password", `{"username":"alice","password":"x"}`, "password",
			"is not known"},
		{tokens{}, "POST", "/token/password", `{"username":"alice","new_password":5}`,
			"new_password", "has the wrong type"},
		{alice, "PUT", "/users/me/password", `{"old_password":"x"}`, "old_password",
			"is not known"},
		{alice, "PUT", "/users/me/password", `{"current_password":{}}`, "current_password",
			"has the wrong type"},
		{root, "PATCH", "/users/" + id, `{"enabled":true}`, "enabled", "is not known"},
		{root, "PATCH", "/users/" + id, `{"disabled":"yes"}`, "disabled", "has the wrong type"},
		{root, "PUT", "/roles/clerk", `{"permission":["a:b"]}`, "permission", "is not known"},
		{root, "PUT", "/roles/clerk", `{"permissions":["a:b",5]}`, "permissions/1",
			"has the wrong type"},
		{root, "PUT", "/roles/clerk", `{"permissions":"a:b"}`, "permissions", "has the wrong type"},
	} {
		header := []string{"Content-Type", jsonType}
		if test.by.access != "" {
			header = append(header, "Authorization", "Bearer "+test.by.access)
		}
		a := f.do(f.request(test.method, test.path, test.body, header...))
		want := fmt.Sprintf("[map[field:%s message:%s]]", test.field, test.message)
		if got := fmt.Sprint(a.json(t, "errors")); a.status != http.StatusUnprocessableEntity ||
			got != want {
			t.Errorf("%s %s %s: %d %s", test.method, test.path, test.body, a.status, a.body)
		}
	}
	if strings.Contains(f.log.String(), "pasword") {
		t.Error("the log repeats what a caller has sent")
	}
	f.wantUsers(2)
}

// Somebody who changes a password because others know it must not be told that it is done when
// nothing is.
func TestTheCurrentPasswordIsNoNewOne(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	alice := f.with("alice")
	for name, next := range map[string]string{"the same": goodPassword,
		"the same in another writing": strings.ReplaceAll(goodPassword, " ", "\u00a0")} {
		a := f.as(alice, "PUT", "/users/me/password",
			`{"current_password":"`+goodPassword+`","new_password":"`+next+`"}`)
		if want := "[map[field:new_password message:must not be the current one]]"; a.status != 422 || fmt.Sprint(a.json(t, "errors")) != want {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	f.want("the session", f.as(alice, "GET", "/users/me", ""), 200)
	f.want("another one",
		f.as(alice, "PUT", "/users/me/password",
			`{"current_password":"`+goodPassword+`","new_password":"`+otherPassword+`"}`), 200)
}
