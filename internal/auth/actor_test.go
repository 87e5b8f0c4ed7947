package auth_test

import (
	"context"
	"errors"
	"iter"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/token"
)

// A caller who forgets to say who acts must not get anything done. The test also fails if a method
// that takes an Actor is missing here.
func TestNobodyInParticularMayDoAnything(t *testing.T) {
	t.Parallel()
	f := start(t)
	alice := f.register("alice")
	f.setRole("clerk", "files:read")
	f.grant(alice, "clerk")
	_, _, err := f.Clients.Add(
		t.Context(), authtest.Operator(),
		auth.Client{ID: "shop", Title: "Shop", Confidential: true},
	)
	must(t, err)
	keys, err := keychain.New([][]byte{make([]byte, 32)})
	must(t, err)
	policy := auth.NewKeyPolicy(token.ES256, 0, keys)
	who := auth.ByName("alice")
	no := func(yield func(auth.ImportLine, error) bool) {}
	operations := map[string]func(context.Context, auth.Actor) error{
		"Accounts.Register": func(ctx context.Context, by auth.Actor) error {
			_, _, err := f.Accounts.Register(
				ctx, by, auth.NewAccount{Username: "bob", Password: goodPassword},
			)
			return err
		},
		"Accounts.Disable": func(ctx context.Context, by auth.Actor) error {
			_, err := f.Accounts.Disable(ctx, by, who, nil)
			return err
		},
		"Accounts.Enable": func(ctx context.Context, by auth.Actor) error {
			_, err := f.Accounts.Enable(ctx, by, who, nil)
			return err
		},
		"Accounts.RequirePasswordChange": func(ctx context.Context, by auth.Actor) error {
			_, err := f.Accounts.RequirePasswordChange(ctx, by, who, nil)
			return err
		},
		"Accounts.SetPassword": func(ctx context.Context, by auth.Actor) error {
			_, _, err := f.Accounts.SetPassword(
				ctx, by, who, auth.NewPassword{Password: "another " + goodPassword},
			)
			return err
		},
		"Accounts.Delete": func(ctx context.Context, by auth.Actor) error {
			return f.Accounts.Delete(ctx, by, alice.ID)
		},
		"Accounts.ResetFactors": func(ctx context.Context, by auth.Actor) error {
			_, err := f.Accounts.ResetFactors(ctx, by, who)
			return err
		},
		"Sessions.EndAllOf": func(ctx context.Context, by auth.Actor) error {
			_, err := f.Sessions.EndAllOf(ctx, by, who)
			return err
		},
		"Sessions.Restored": func(ctx context.Context, by auth.Actor) error {
			_, err := f.Sessions.Restored(ctx, by, time.Now())
			return err
		},
		"Limits.Unlock": func(ctx context.Context, by auth.Actor) error {
			_, err := f.Limits.Unlock(ctx, by, who)
			return err
		},
		"Roles.Set": func(ctx context.Context, by auth.Actor) error {
			_, _, err := f.Roles.Set(ctx, by, "clerk", auth.RoleEdit{}, auth.Condition{})
			return err
		},
		"Roles.Delete": func(ctx context.Context, by auth.Actor) error {
			return f.Roles.Delete(ctx, by, "clerk", auth.Condition{})
		},
		"Roles.Grant": func(ctx context.Context, by auth.Actor) error {
			return f.Roles.Grant(ctx, by, alice.ID, "clerk")
		},
		"Roles.Revoke": func(ctx context.Context, by auth.Actor) error {
			return f.Roles.Revoke(ctx, by, alice.ID, "clerk")
		},
		"Clients.Add": func(ctx context.Context, by auth.Actor) error {
			_, _, err := f.Clients.Add(ctx, by, auth.Client{ID: "other", Title: "Other"})
			return err
		},
		"Clients.Set": func(ctx context.Context, by auth.Actor) error {
			_, err := f.Clients.Set(ctx, by, "shop", auth.ClientChange{Title: new("Shop")}, nil)
			return err
		},
		"Clients.Disable": func(ctx context.Context, by auth.Actor) error {
			return f.Clients.Disable(ctx, by, "shop", nil)
		},
		"Clients.Enable": func(ctx context.Context, by auth.Actor) error {
			return f.Clients.Enable(ctx, by, "shop", nil)
		},
		"Clients.RotateSecret": func(ctx context.Context, by auth.Actor) error {
			_, err := f.Clients.RotateSecret(ctx, by, "shop")
			return err
		},
		"Clients.RetireSecret": func(ctx context.Context, by auth.Actor) error {
			return f.Clients.RetireSecret(ctx, by, "shop")
		},
		"Clients.GrantRole": func(ctx context.Context, by auth.Actor) error {
			return f.Clients.GrantRole(ctx, by, "shop", "clerk")
		},
		"Clients.RevokeRole": func(ctx context.Context, by auth.Actor) error {
			return f.Clients.RevokeRole(ctx, by, "shop", "clerk")
		},
		"Keys.Add": func(ctx context.Context, by auth.Actor) error {
			return f.Keys.Add(ctx, by, policy, auth.AccessRing())
		},
		"Keys.Activate": func(ctx context.Context, by auth.Actor) error {
			return f.Keys.Activate(ctx, by, auth.AccessRing())
		},
		"Keys.Retire": func(ctx context.Context, by auth.Actor) error {
			return f.Keys.Retire(ctx, by, "x")
		},
		"Keys.Revoke": func(ctx context.Context, by auth.Actor) error {
			return f.Keys.Revoke(ctx, by, policy, "x")
		},
		"Keys.Reset": func(ctx context.Context, by auth.Actor) error {
			return f.Keys.Reset(ctx, by, policy)
		},
		"Keys.Rewrap": func(ctx context.Context, by auth.Actor) error {
			_, err := f.Keys.Rewrap(ctx, by, policy, nil)
			return err
		},
		"Keys.Rotate": func(ctx context.Context, by auth.Actor) error {
			rings := auth.RingsFor(auth.KeyForAccess)
			_, err := f.Keys.Rotate(ctx, by, policy, rings, false, func(auth.RotationStep) {
				t.Error("a key is rotated")
			})
			return err
		},
		"Peppers.Retire": func(ctx context.Context, by auth.Actor) error {
			return f.Peppers.Retire(ctx, by, "x", func() error { return nil })
		},
		"Invitations.Invite": func(ctx context.Context, by auth.Actor) error {
			_, _, err := f.Invitations.Invite(ctx, by, auth.NewInvitation{Email: uuid.NewString() + "@example.org"})
			return err
		},
		"Recovery.Send": func(ctx context.Context, by auth.Actor) error {
			_, err := f.Recovery.Send(ctx, by, who, "en")
			return err
		},
		"MailLog.Last": func(ctx context.Context, by auth.Actor) error {
			_, err := f.MailLog.Last(ctx, by, who, 1)
			return err
		},
		"Audit.Prune": func(ctx context.Context, by auth.Actor) error {
			_, err := f.Audit.Prune(ctx, by, auth.Prune{})
			return err
		},
		"Transfer.Import": func(ctx context.Context, by auth.Actor) error {
			_, err := f.Transfer.Import(
				ctx, by, iter.Seq2[auth.ImportLine, error](no), auth.ImportOptions{},
			)
			return err
		},
		"Transfer.Export": func(ctx context.Context, by auth.Actor) error {
			return f.Transfer.Export(ctx, by, func(auth.UserRecord) error {
				t.Error("an account is exported")
				return nil
			})
		},
	}
	if missing := slices.DeleteFunc(takesAnActor(), func(name string) bool {
		return operations[name] != nil
	}); len(missing) > 0 {
		t.Errorf("not tried: %q", missing)
	}
	before, err := f.Accounts.Find(t.Context(), who)
	must(t, err)
	for name, do := range operations {
		for _, by := range []auth.Actor{
			{}, auth.Replica(), {Kind: auth.ActorUser, ID: alice.ID},
		} {
			if err := do(t.Context(), by); !errors.Is(err, auth.ErrForbidden) &&
				!(by.Kind == auth.ActorUser && errors.Is(err, auth.ErrInvalidToken)) {
				t.Errorf("%s by %q: %v", name, by.Kind, err)
			}
		}
	}
	if after, err := f.Accounts.Find(t.Context(), who); err != nil ||
		!reflect.DeepEqual(after, before) {
		t.Errorf("the account was %+v and is %+v, %v", before, after, err)
	}
}

// takesAnActor returns the methods of all rules that take an Actor, by type and name.
func takesAnActor() (names []string) {
	for _, field := range reflect.VisibleFields(reflect.TypeFor[authtest.Rules]()) {
		if field.Type.Kind() != reflect.Pointer ||
			field.Type.Elem().PkgPath() != reflect.TypeFor[auth.Actor]().PkgPath() {
			continue
		}
		for n := range field.Type.NumMethod() {
			method := field.Type.Method(n)
			for p := range method.Type.NumIn() {
				if method.Type.In(p) == reflect.TypeFor[auth.Actor]() {
					names = append(names, field.Name+"."+method.Name)
				}
			}
		}
	}
	return names
}
