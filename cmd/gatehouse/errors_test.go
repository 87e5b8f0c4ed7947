package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/outcome"
)

// Operators read one line, and scripts the exit code: what only a log needs would hide what to do.
func TestEveryErrorIsPrintedOnOneLineInItsOwnWords(t *testing.T) {
	t.Parallel()
	other := errors.New("another error")
	until := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	byTheStore := func(err error) error { return fmt.Errorf("db: some query: %w", err) }
	for _, test := range []struct {
		err  error
		line string
		code int
	}{
		{other, "another error", exitFailed},
		{errors.Join(other, errors.New("and\none\x1b[2J more")), "another error and one [2J more", exitFailed},
		{byTheStore(other), "db: some query: another error", exitFailed},
		{fmt.Errorf("%w: %w", byTheStore(context.Canceled), other), "interrupted", exitFailed},
		{errInterrupted, "interrupted", exitFailed},
		{&config.Error{Setting: "OPS_ADDR", Problem: "must be host:port or :port"}, "OPS_ADDR: must be host:port or :port", exitUsage},
		{auth.InputError{{Field: "username", Message: "must not be empty"}, {Field: "password", Message: "is too short"}},
			"username: must not be empty; password: is too short", exitFailed},
		{auth.ErrUserNotFound, "no such user; `gatehouse user list` shows all", exitFailed},
		{byTheStore(auth.ErrUserNotFound), "no such user; `gatehouse user list` shows all", exitFailed},
		{byTheStore(auth.ErrUsernameTaken), "the username is taken; choose another one", exitFailed},
		{fmt.Errorf("db: insert user: %w: it looks like another one", auth.ErrUsernameTaken), "the username is taken; choose another one", exitFailed},
		{byTheStore(auth.ErrRoleNotFound), "no such role; `gatehouse role list` shows all", exitFailed},
		{byTheStore(auth.ErrRoleDemanded), "a client lets only holders of the role in; give the client another required role first", exitFailed},
		{byTheStore(auth.ErrRoleBuiltIn), "the role is built in; it keeps its permissions, and cannot be deleted", exitFailed},
		{byTheStore(auth.ErrLastAdmin), "the last enabled admin must stay; make another account an admin first", exitFailed},
		{byTheStore(auth.ErrTooManyRights), "too many roles and permissions for a token; use fewer", exitFailed},
		{byTheStore(auth.ErrClientNotFound), "no such client; `gatehouse client list` shows all", exitFailed},
		{byTheStore(auth.ErrClientIDTaken), "the client id is taken; choose another one", exitFailed},
		{auth.ErrClientPublic, "the client is public and has no secret; a confidential client has one", exitFailed},
		{fmt.Errorf("db: %w: %q", auth.ErrPasswordKeyNotFound, "ffff"), "no such password key; `gatehouse pepper list` shows all", exitFailed},
		{auth.ErrKeyNotFound, "no such signing key, or it has ended; `gatehouse key list` shows all", exitFailed},
		{auth.ErrKeyPending, "there is a next key already; let it sign or retire it first", exitFailed},
		{auth.ErrKeySigns, "the key is the active one; run `gatehouse key rotate` first", exitFailed},
		{auth.ErrKeyIsSecret, "the key of HS256 is SECRET_KEY: replace SECRET_KEY instead, as docs/keys.md says", exitFailed},
		{auth.ErrNotReplaced, "SECRET_KEY must be a new key alone: with the old key beside it, all that was made with that stays good", exitFailed},
		{&auth.TooEarlyError{At: until, Why: "tokens that it has signed live"},
			"too early: tokens that it has signed live until 2026-01-02T03:04:05Z", exitFailed},
		{badLines(auth.ImportCount{Refused: 3}), "nothing was imported: bad lines: 3", exitFailed},
		{outcome.Detail(auth.ErrPasswordKeyInUse, "new passwords are hashed with it"), "the password key is still in use: new passwords are hashed with it", exitFailed},
		{fmt.Errorf("%w: it is another", auth.ErrOtherSecret), "SECRET_KEY is not the one of this installation: it is another", exitFailed},

		{byTheStore(auth.ErrPasswordKeyInUse), "the password key is still in use", exitFailed},
		{outcome.Detail(auth.ErrClocksApart, "the database's clock is %v behind", 3*time.Second),
			"the clocks of this machine and of the database differ; set them right first: the database's clock is 3s behind", exitFailed},
		{byTheStore(auth.ErrChanged), "it has changed meanwhile; look at it again, then try again", exitFailed},

		// A fault, with all that there is to know.
		{byTheStore(fmt.Errorf("%w: %w", auth.ErrUnavailable, other)), "db: some query: the database cannot be reached, or did not answer in time: another error", exitFailed},
	} {
		var out, errs bytes.Buffer
		code := fail(terminal{out: &out, err: &errs}, test.err)
		if errs.String() != "gatehouse: "+test.line+"\n" || code != test.code || out.Len() > 0 {
			t.Errorf("%v: exit code %d, %q%q; want %d, %q", test.err, code, out.String(), errs.String(), test.code, test.line)
		}
	}
}
