package httpapi

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// Whatever a stranger sends is answered as the stranger's mistake. It never causes a fault, and
// nothing is stored.
func TestAbusiveBodiesAreRefusedAndStoreNothing(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	deep := strings.Repeat("[", 30000) + strings.Repeat("]", 30000)
	for _, test := range []struct {
		name, path, mediaType, body string
		status                      int
		code                        any // error of a token response
	}{
		{"no body", "/token", formType, "", 400, "invalid_request"},
		{"no password", "/token", formType, "username=alice", 400, "invalid_request"},
		{"no username", "/token", formType, "grant_type=password&password=x", 400,
			"invalid_request"},
		{"empty username", "/token", formType, "username=&password=x", 400, "invalid_request"},
		{"empty password", "/token", formType, "username=alice&password=", 400, "invalid_request"},
		{"repeated username", "/token", formType, "username=alice&username=alice&password=x", 400,
			"invalid_request"},
		{"repeated by an empty one", "/token", formType, "username=alice&password=x&password=", 400,
			"invalid_request"},
		{"repeated unknown parameter", "/token", formType, "username=alice&password=x&y=1&y=1", 400,
			"invalid_request"},
		{"other grant", "/token", formType, "grant_type=implicit", 400,
			"unsupported_grant_type"},
		{"other grant with a username", "/token", formType,
			"grant_type=implicit&username=alice&password=x", 400,
			"unsupported_grant_type"},
		{"grant type in capitals", "/token", formType,
			"grant_type=PASSWORD&username=alice&password=x", 400, "unsupported_grant_type"},
		{"bad escape", "/token", formType, "username=%zz&password=x", 400, "invalid_request"},
		{"half an escape", "/token", formType, "username=alice&password=%", 400, "invalid_request"},
		{"semicolon", "/token", formType, "username=alice;password=x", 400, "invalid_request"},
		{"invalid UTF-8", "/token", formType, "username=%ff&password=x", 400, "invalid_request"},
		{"invalid UTF-8 in a name", "/token", formType, "username=alice&password=x&%ff=1", 400,
			"invalid_request"},
		{"NUL in a username", "/token", formType, "username=al%00ice&password=x", 401,
			"invalid_grant"},
		{"NUL in a password", "/token", formType,
			"username=alice&password=" + "correct+horse+battery+staple%00", 401, "invalid_grant"},
		{"SQL in a username", "/token", formType, "username=%27+OR+1%3D1--&password=x", 401,
			"invalid_grant"},
		{"a million parameters", "/token", formType, strings.Repeat("a=&", 1000000), 413,
			"invalid_request"},
		{"as many as fit", "/token", formType, strings.Repeat("a&", 32768), 400, "invalid_request"},
		{"64 KiB and one byte", "/token", formType, "password=" + strings.Repeat("x", 64<<10-8),
			413, "invalid_request"},
		{"64 KiB of a password", "/token", formType,
			"username=a&password=" + strings.Repeat("x", 64<<10-20), 401, "invalid_grant"},
		{"JSON for a form", "/token", jsonType, `{"username":"alice","password":"x"}`, 415,
			"invalid_request"},
		{"empty multipart", "/token", "multipart/form-data; boundary=x", "--x--", 400,
			"invalid_request"},
		{"no media type", "/token", "", "username=alice&password=x", 415, "invalid_request"},
		{"malformed media type", "/token", "application/x-www-form-urlencoded; charset",
			"username=alice&password=x", 415, "invalid_request"},
		{"other charset", "/token", formType + "; charset=utf-16", "username=alice&password=x", 415,
			"invalid_request"},
		{"parameters in the URL", "/token?username=alice&password=correct+horse+battery+staple",
			formType, "", 400, "invalid_request"},

		{"no refresh token", "/token", formType, "grant_type=refresh_token", 400,
			"invalid_request"},
		{"empty refresh token", "/token", formType, "grant_type=refresh_token&refresh_token=", 400,
			"invalid_request"},
		{"repeated refresh token", "/token", formType,
			"grant_type=refresh_token&refresh_token=x&refresh_token=x", 400, "invalid_request"},
		{"NUL in a refresh token", "/token", formType,
			"grant_type=refresh_token&refresh_token=ghr_%00", 400, "invalid_grant"},
		{"no base64 in a refresh token", "/token", formType,
			"grant_type=refresh_token&refresh_token=ghr_%2B%2F%3D", 400, "invalid_grant"},
		{"64 KiB of a refresh token", "/token", formType,
			"grant_type=refresh_token&refresh_token=ghr_" + strings.Repeat("A", 64<<10-60), 400,
			"invalid_grant"},
		{"refresh token in the URL", "/token?grant_type=refresh_token&refresh_token=ghr_x",
			formType, "", 400, "invalid_request"},
		{"no token to log out", "/logout", formType, "", 401, nil},
		{"repeated token to log out", "/logout", formType, "refresh_token=x&refresh_token=x", 400,
			nil},
		{"JSON to log out", "/logout", jsonType, `{"refresh_token":"x"}`, 415, nil},
		{"half an escape to log out", "/logout", formType, "refresh_token=%", 400, nil},
		{"too much to log out", "/logout", formType, "refresh_token=" + strings.Repeat("x", 64<<10),
			413, nil},

		{"no body", "/users", jsonType, "", 400, nil},
		{"not JSON", "/users", jsonType, "username=bob", 400, nil},
		{"unfinished", "/users", jsonType, `{"username":"bob","password":"correct horse`, 400, nil},
		{"trailing data", "/users", jsonType,
			`{"username":"bob","password":"correct horse battery"} {}`, 400, nil},
		{"trailing NUL", "/users", jsonType,
			`{"username":"bob","password":"correct horse battery"}` + "\x00", 400, nil},
		{"unknown field", "/users", jsonType,
			`{"username":"bob","password":"correct horse battery","admin":true}`, 422, nil},
		{"field in capitals", "/users", jsonType,
			`{"username":"bob","Password":"correct horse battery"}`, 422, nil},
		{"duplicate key", "/users", jsonType,
			`{"username":"bob","username":"eve","password":"correct horse battery"}`, 400, nil},
		{"duplicate key by an escape", "/users", jsonType,
			`{"username":"bob","\u0075sername":"eve","password":"correct horse battery"}`, 400,
			nil},
		{"invalid UTF-8", "/users", jsonType,
			`{"username":"b` + "\xff" + `b","password":"correct horse battery"}`, 400, nil},
		{"half a surrogate pair", "/users", jsonType,
			`{"username":"b\ud800b","password":"correct horse battery"}`, 400, nil},
		{"deep nesting", "/users", jsonType, deep, 400, nil},
		{"deep nesting in a field", "/users", jsonType, `{"username":` + deep + `}`, 400, nil},
		{"array", "/users", jsonType, `[]`, 400, nil},
		{"string", "/users", jsonType, `"bob"`, 400, nil},
		{"null", "/users", jsonType, `null`, 422, nil},
		{"missing fields", "/users", jsonType, `{}`, 422, nil},
		{"null field", "/users", jsonType, `{"username":"bob","password":null}`, 422, nil},
		{"number for a string", "/users", jsonType,
			`{"username":5,"password":"correct horse battery"}`, 422, nil},
		{"object for a string", "/users", jsonType,
			`{"username":{},"password":"correct horse battery"}`, 422, nil},
		{"empty username", "/users", jsonType, `{"username":"","password":"correct horse battery"}`,
			422, nil},
		{"NUL in a username", "/users", jsonType,
			`{"username":"b\u0000b","password":"correct horse battery"}`, 422, nil},
		{"NUL in a password", "/users", jsonType,
			`{"username":"bob","password":"correct\u0000horse battery"}`, 422, nil},
		{"65 characters", "/users", jsonType,
			`{"username":"` + strings.Repeat("b", 65) + `","password":"correct horse battery"}`,
			422, nil},
		{"short password", "/users", jsonType, `{"username":"bob","password":"7 chars"}`, 422, nil},
		{"long password", "/users", jsonType,
			`{"username":"bob","password":"` + strings.Repeat("x", 257) + `"}`, 422, nil},
		{"common password", "/users", jsonType, `{"username":"bob","password":"PassWord1"}`, 422,
			nil},
		{"password is the username", "/users", jsonType,
			`{"username":"bob.builder","password":"Bob.Builder"}`, 422, nil},
		{"64 KiB and one byte", "/users", jsonType,
			`{"username":"` + strings.Repeat("b", 64<<10) + `"}`, 413, nil},
		{"form for JSON", "/users", formType, "username=bob&password=correct+horse+battery", 415,
			nil},
		{"text for JSON", "/users", "text/plain",
			`{"username":"bob","password":"correct horse battery"}`, 415, nil},
		{"no media type", "/users", "", `{"username":"bob","password":"correct horse battery"}`,
			415, nil},
	} {
		t.Run(test.path+" "+test.name, func(t *testing.T) {
			r := f.request("POST", test.path, test.body)
			if test.mediaType != "" {
				r.Header.Set("Content-Type", test.mediaType)
			}
			a := f.do(r)
			if a.status != test.status || a.json(t, "error") != test.code {
				t.Errorf("%d %s, want %d %v", a.status, a.body, test.status, test.code)
			}
			if detail, _ := a.json(t, "detail").(string); detail == "" {
				t.Errorf("no detail: %s", a.body)
			}
			if test.status == 422 && a.json(t, "errors") == nil {
				t.Errorf("no errors: %s", a.body)
			}
		})
	}
	f.wantUsers(1)
}

func TestCompressedBodiesAreRefused(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	r := f.request("POST", "/token", "x", "Content-Type", formType, "Content-Encoding", "gzip")
	if a := f.do(r); a.status != http.StatusUnsupportedMediaType {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A body without end must be refused as soon as it passes the bound.
func TestAnEndlessBodyIsRefusedWithoutReadingItAll(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	body, send := io.Pipe()
	defer send.Close()
	r, err := http.NewRequestWithContext(t.Context(), "POST", f.url+"/token", body)
	must(t, err)
	r.Header.Set("Content-Type", formType)
	go func() {
		for err := error(nil); err == nil; {
			_, err = send.Write(make([]byte, 4<<10))
		}
	}()
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	must(t, err)
	defer response.Body.Close()
	if response.StatusCode != http.StatusRequestEntityTooLarge {
		t.Error(response.Status)
	}
}

func TestInputErrorsNameEveryFieldAtOnce(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	a := f.register("no spaces", "short")
	errors, _ := a.json(t, "errors").([]any)
	if a.status != http.StatusUnprocessableEntity || len(errors) != 2 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for n, field := range []string{"username", "password"} {
		if got := errors[n].(map[string]any)["field"]; got != field {
			t.Errorf("error %d is of %v, want %s", n, got, field)
		}
	}
}
