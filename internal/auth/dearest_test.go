package auth_test

import (
	"errors"
	"strings"
	"testing"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/password"
)

// A refused login waits so that its time reveals nothing. Meanwhile it must not hold what others
// wait for. Otherwise a handful of wrong logins would have the effect of a flood.
func TestARefusalWaitsForTheDearestHashAndHoldsNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.imported("dear", "$2b$16$"+strings.Repeat("x", 53))
	must(t, f.store.RaisePasswordCosts(t.Context(), password.Costs{Bcrypt: 16}))
	must(t, f.Passwords.LoadCosts(t.Context(), f.store))
	f.register("alice")
	f.wantLogin("alice", goodPassword, nil) // a right login need not wait, and lets the pace be measured
	for username, want := range map[string]error{
		"alice": auth.ErrWrongPassword, "nobody": auth.ErrUnknownUser,
	} {
		before := f.hasher.Work()
		refused := make(chan error, 1)
		go func() {
			_, err := f.Logins.Login(f.Context(), username, "not the password", client)
			refused <- err
		}()
		held := true
		asynctest.Await(t, "the hash", func() bool {
			held = f.lane.Stats().Busy > 0 || f.store.Stat().AcquiredConns() > 0
			return len(refused) == 1 || f.hasher.Work() > before && !held
		})
		if len(refused) == 1 {
			t.Errorf("%s is refused as soon as the hash is made", username)
		}
		if err := <-refused; !errors.Is(err, want) {
			t.Errorf("%s: %v", username, err)
		}
	}
}

// A replica that knew only its own setting would reveal by time which accounts were imported, and
// which have not logged in since the setting was lowered.
func TestTheDearestHashOnRecordIsThatOfAnySettingAndImport(t *testing.T) {
	t.Parallel()
	store := open(t, dbtest.New(t))
	costs := func() password.Costs {
		t.Helper()
		c, err := store.PasswordCosts(t.Context())
		must(t, err)
		return c
	}
	must(t, on(t, store, 8).Passwords.LoadCosts(t.Context(), store))
	must(t, on(t, store, cost).Passwords.LoadCosts(t.Context(), store))
	if got := costs(); got != (password.Costs{Bcrypt: 8}) {
		t.Errorf("after the setting was lowered: %+v", got)
	}
	f := on(t, store, cost)
	const argon2id = "$argon2id$v=19$m=65536,t=3,p=4$wagCPXjifgvUFBzq4hqe3w$CYaIb8sB+wtD+Vu/P4uod1+Qof8h+1g7bbDlBID48Rc"
	lines := []auth.UserRecord{
		{Username: "one", PasswordHash: "$2b$11$" + strings.Repeat("x", 53)},
		{Username: "two", PasswordHash: "$2b$04$" + strings.Repeat("x", 53)},
		{Username: "three", PasswordHash: argon2id},
		{Username: "four", PasswordHash: "$2b$15$" + strings.Repeat("x", 53)},
	}
	count, err := f.Transfer.Import(t.Context(), authtest.Operator(),
		func(yield func(auth.ImportLine, error) bool) {
			for n, line := range lines {
				if !yield(auth.ImportLine{Number: n + 1, UserRecord: line}, nil) {
					return
				}
			}
		}, auth.ImportOptions{Report: func(bad auth.BadLine) { t.Errorf("%+v", bad) }})
	must(t, err)
	if count.Imported != 4 || count.Dear != 1 {
		t.Errorf("%+v", count)
	}
	if got := costs(); got != (password.Costs{Bcrypt: 15, Argon2id: 65536 * 3}) {
		t.Errorf("after the import: %+v", got)
	}
}
