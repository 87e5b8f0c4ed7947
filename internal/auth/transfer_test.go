package auth_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
)

// lines returns records as a file has them.
func lines(records ...auth.UserRecord) iter.Seq2[auth.ImportLine, error] {
	return func(yield func(auth.ImportLine, error) bool) {
		for n, r := range records {
			if !yield(auth.ImportLine{Number: n + 1, UserRecord: r}, nil) {
				return
			}
		}
	}
}

// importAll also returns the reports.
func (f *fixture) importAll(
	from iter.Seq2[auth.ImportLine, error], goOn bool,
) (auth.ImportCount, []string, error) {
	f.Helper()
	var reported []string
	count, err := f.Transfer.Import(f.Context(), authtest.Operator(), from, auth.ImportOptions{
		Continue: goOn,
		Report: func(b auth.BadLine) {
			reported = append(reported, fmt.Sprintf("%d %s", b.Line, b.Reason))
		},
	})
	return count, reported, err
}

func plainHash(t *testing.T, pw string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(pw), bcrypt.MinCost)
	must(t, err)
	return string(hash)
}

// A second account under the same name would be a way to pose as its owner.
func TestAnImportedNameIsOneAccountHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("Bob")
	hash := plainHash(t, goodPassword)
	var records []auth.UserRecord
	for _, name := range []string{"Alice", "alice", "ａｌｉｃｅ", "ALICE", "ｂｏｂ", "carol"} {
		records = append(records, auth.UserRecord{Username: name, PasswordHash: hash})
	}
	count, reported, err := f.importAll(lines(records...), true)
	must(t, err)
	want := []string{
		"2 username: is that of line 1", "3 username: is that of line 1",
		"4 username: is that of line 1", "5 username: is taken",
	}
	if !slices.Equal(reported, want) || count != (auth.ImportCount{Imported: 2, Refused: 4}) {
		t.Errorf("%+v, reported: %q", count, reported)
	}
	u, err := f.Accounts.Find(t.Context(), auth.ByName("alice"))
	must(t, err)
	if u.Username.Given != "Alice" {
		t.Errorf("%q is imported, want the first of the file", u.Username.Given)
	}
}

func TestAnImportedAccountIsAsDisabledAsItWas(t *testing.T) {
	t.Parallel()
	f := start(t)
	hash := plainHash(t, goodPassword)
	_, _, err := f.importAll(lines(
		auth.UserRecord{Username: "alice", PasswordHash: hash},
		auth.UserRecord{Username: "bob", PasswordHash: hash, Disabled: true},
	), false)
	must(t, err)
	f.wantLogin("alice", goodPassword, nil)
	f.wantLogin("alice", goodPassword+"!", auth.ErrWrongPassword)
	f.wantLogin("bob", goodPassword, auth.ErrDisabled)
}

// Times give the order of registration, and of the next export, since ids are random.
func TestImportedAccountsAreInTheOrderOfTheFile(t *testing.T) {
	t.Parallel()
	f := start(t)
	hash, names := plainHash(t, goodPassword), []string{"zoe", "alice", "mallory", "bob"}
	var records []auth.UserRecord
	for _, name := range names {
		records = append(records, auth.UserRecord{Username: name, PasswordHash: hash})
	}
	_, _, err := f.importAll(lines(records...), false)
	must(t, err)
	var exported []string
	must(t, f.Transfer.Export(t.Context(), authtest.Operator(), func(r auth.UserRecord) error {
		exported = append(exported, r.Username)
		return nil
	}))
	if !slices.Equal(exported, names) {
		t.Errorf("exported: %q", exported)
	}
}

// A file that breaks off, or that has a bad line, is imported whole or not at all.
func TestAnImportIsAllOrNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	broken := errors.New("broken")
	good := auth.UserRecord{Username: "alice", PasswordHash: plainHash(t, goodPassword)}
	for name, c := range map[string]struct {
		from iter.Seq2[auth.ImportLine, error]
		want error
	}{
		"a bad line":                   {lines(good, auth.UserRecord{}), auth.ErrBadLines},
		"a bad line, the last by name": {lines(good, good), auth.ErrBadLines},
		"an error of the file": {func(yield func(auth.ImportLine, error) bool) {
			for line := range lines(good) {
				if !yield(line, nil) {
					return
				}
			}
			yield(auth.ImportLine{}, broken)
		}, broken},
	} {
		if count, _, err := f.importAll(c.from, false); !errors.Is(err, c.want) ||
			count.Imported != 0 {
			t.Errorf("%s: %+v, %v", name, count, err)
		}
		if _, err := f.Accounts.Find(
			t.Context(), auth.ByName("alice"),
		); !errors.Is(err, auth.ErrUserNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An operator lowers BCRYPT_COST to save work, and not to lock everybody out.
func TestALoweredCostIsThatOfEveryAccountAfterItsNextLogin(t *testing.T) {
	t.Parallel()
	store := open(t, dbtest.New(t))
	before, after := on(t, store, cost+5), on(t, store, cost)
	before.register("alice")
	after.wantLogin("alice", goodPassword+"!", auth.ErrWrongPassword)
	after.wantLogin("alice", goodPassword, nil)
	if hash := after.hashOf("alice"); !strings.Contains(hash, fmt.Sprintf("$2a$%02d$", cost)) {
		t.Errorf("stored as %s", hash)
	}
	after.wantLogin("alice", goodPassword, nil)
}
