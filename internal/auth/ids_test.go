package auth_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
)

// The feed shows everybody which users and sessions are revoked. An id that contains a time
// (UUIDv7) would show when they log in.
func TestIdsOfUsersAndSessionsTellNoTime(t *testing.T) {
	t.Parallel()
	f := start(t)
	ids := map[string]uuid.UUID{"user": f.register("alice").ID}
	ids["session"] = f.access(f.login("alice")).SessionID
	_, _, err := f.importAll(
		lines(auth.UserRecord{Username: "bob", PasswordHash: plainHash(t, goodPassword)}), false,
	)
	must(t, err)
	bob, err := f.Accounts.Find(t.Context(), auth.ByName("bob"))
	must(t, err)
	ids["imported user"] = bob.ID
	for of, id := range ids {
		if id.Version() != 4 {
			t.Errorf("the id of a %s is %s, of version %d", of, id, id.Version())
		}
	}
}

// Ids are random. If pages were in their order, sessions would appear anywhere, or twice.
func TestSessionsComeInTheOrderOfTheirLoginsOnEveryPage(t *testing.T) {
	t.Parallel()
	f := start(t)
	alice := f.register("alice")
	var want, got []uuid.UUID
	for range 12 {
		want = append(want, f.access(f.login("alice")).SessionID)
	}
	slices.Reverse(want)
	for before := uuid.Max; ; before = got[len(got)-1] {
		page, err := f.Sessions.List(t.Context(), allOf(alice.ID), before, 5)
		must(t, err)
		for _, session := range page {
			got = append(got, session.ID)
		}
		if len(page) < 5 {
			break
		}
		// A session that ends between two pages still marks where the next page begins.
		must(t, f.Sessions.End(t.Context(), allOf(alice.ID), got[len(got)-1]))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// Users who look for a stranger among their sessions must not take a bad position for the end of
// the list.
func TestAPositionThatIsNoneOfTheUsersSessionsIsNoEndOfTheList(t *testing.T) {
	t.Parallel()
	f := start(t)
	alice := f.register("alice")
	f.register("bob")
	f.login("alice")
	for name, before := range map[string]uuid.UUID{
		"unknown": uuid.New(), "another user's": f.access(f.login("bob")).SessionID,
		"nil": uuid.Nil,
	} {
		if page, err := f.Sessions.List(
			t.Context(), allOf(alice.ID), before, 5,
		); !errors.Is(err, auth.ErrSessionNotFound) {
			t.Errorf("%s: %v, %v", name, page, err)
		}
	}
}
