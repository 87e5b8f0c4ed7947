package web_test

import (
	"crypto/sha1"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/breached"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/password"
)

// refusing are settings with which a password is known from a leak.
func refusing(t *testing.T, leaked string) settings {
	t.Helper()
	file := filepath.Join(t.TempDir(), "leaked")
	builder, err := breached.NewBuilder(file)
	must(t, err)
	defer builder.Close()
	list := strings.NewReader(fmt.Sprintf("%X:1\n", sha1.Sum([]byte(leaked))))
	must(t, builder.Read(t.Context(), "list", list, func(int) {}))
	_, err = builder.Write(t.Context(), func(int, int) {})
	must(t, err)
	filter, err := breached.Open(file)
	must(t, err)
	return settings{options: authtest.Options{Policy: password.Policy{Breached: filter}}}
}

func TestNobodySetsAPasswordOfALeakAndThePageSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*audited) answered{
		"at the registration": func(a *audited) answered {
			return a.browser().post("/register", "username", "carol", "password", anotherPassword)
		},
		"in the account": func(a *audited) answered {
			return a.b.post("/account/password", "as", "alice", "current_password", goodPassword,
				"new_password", anotherPassword)
		},
		"at a login that demands another": func(a *audited) answered {
			secret := a.demanded("dora")
			return a.browser().post("/login/password", "username", "dora", "current_password", secret,
				"new_password", anotherPassword)
		},
		"by the link of a reset": func(a *audited) answered {
			a.mailed()
			return a.resets()
		},
		"by the code of a reset": func(a *audited) answered {
			a.mailed()
			return a.b.post("/password/code", "challenge", a.letter.ID.String(), "code", a.letter.Code,
				"new_password", anotherPassword)
		},
		"by an invitation": func(a *audited) answered {
			a.invited()
			return a.accepts()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := startAudited(t, refusing(t, anotherPassword), nil)
			before := a.tables()
			a.shows(set(a), 422, "known from a leak", "use nowhere else", `aria-invalid="true"`)
			if name == "at the registration" && a.tables() != before {
				t.Error("an account was made")
			}
		})
	}
}

// Whoever has such a password gets in. Else a new list would lock people out.
func TestAPasswordOfALeakStillLogsIn(t *testing.T) {
	t.Parallel()
	database := dbtest.New(t)
	start(t, settings{databaseURL: database}).register("alice")
	s := refusing(t, goodPassword)
	s.databaseURL = database
	f := start(t, s)
	f.sent(f.browser().login("alice", goodPassword), "/")
}
