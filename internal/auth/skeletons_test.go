package auth_test

import (
	"errors"
	"sync"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/dbtest"
)

// Sixteen names of two letters that look alike, each in four places.
func lookalikes() (names []string) {
	for n := range 16 {
		name := "\u0639" // no word begins with this and either of the two
		for bit := range 4 {
			name += string([]rune{'\u06cc', '\u0649'}[n>>bit&1]) + "\u0639"
		}
		names = append(names, name)
	}
	return names
}

func TestOfManyStrangersWithOneLookOneGetsIt(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	replicas := []*fixture{on(t, open(t, url), cost), on(t, open(t, url), cost)}
	var wg sync.WaitGroup
	results := make(chan error, 16)
	for n, name := range lookalikes() {
		wg.Go(func() {
			_, _, err := replicas[n%2].Registration.SignUp(t.Context(), auth.Stranger{Username: name, Password: goodPassword}, client)
			results <- err
		})
	}
	wg.Wait()
	made := 0
	for range 16 {
		switch err := <-results; {
		case err == nil:
			made++
		case !errors.Is(err, auth.ErrUsernameTaken):
			t.Error(err)
		}
	}
	if made != 1 {
		t.Errorf("%d of the names were registered", made)
	}
}

// Accounts that an operator, an import or the version before has made are looked at later. But they
// must be looked at.
func TestNoStrangerLooksLikeAnAccountThatWasThereBefore(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	f := on(t, open(t, url), cost)
	f.register("\u0131\u015f\u0131l") // by an operator
	_, _, err := f.importAll(lines(
		auth.UserRecord{Username: "y\u0131ld\u0131z", PasswordHash: plainHash(t, goodPassword)},
	), false)
	must(t, err)
	names := lookalikes()
	f.register(names[0])
	f.register(names[1]) // operators may
	want := func(name string, want error) {
		t.Helper()
		if _, _, err := f.Registration.SignUp(
			t.Context(), auth.Stranger{Username: name, Password: goodPassword}, client,
		); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	for _, most := range []int{1, 2, 10} { // several turns
		_, err := f.store.MakeSkeletons(t.Context(), most)
		must(t, err)
	}
	if made, err := f.store.MakeSkeletons(t.Context(), 10); made != 0 || err != nil {
		t.Errorf("%d names are looked at again, %v", made, err)
	}
	want("yildiz", auth.ErrUsernameTaken)
	want("i\u015fil", auth.ErrUsernameTaken)
	want(names[2], auth.ErrUsernameTaken)
	want("alice", nil)
	for _, gone := range names[:2] {
		user, err := f.Accounts.Find(t.Context(), auth.ByName(gone))
		must(t, err)
		must(t, f.store.DeleteUser(t.Context(), anEvent(), auth.Freely(), user.ID))
	}
	want(names[2], nil)
}
