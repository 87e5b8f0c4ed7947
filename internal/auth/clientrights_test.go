package auth_test

import (
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

// Whoever may register clients must not make Gatehouse send requests to other services of its
// machine. They may take what comes from there without asking who it is of.
func TestOnlyWhoMayDoAllHasGatehouseSendToItsOwnMachine(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.setRole("registrar", auth.WriteClients, "files:read")
	registrar := f.register("registrar")
	f.grant(registrar, "registrar")
	registrar, err := f.Accounts.Find(t.Context(), auth.ByID(registrar.ID))
	must(t, err)
	const here, there = "http://127.0.0.1:2375/containers/shop/kill", "https://shop.example/out"
	client := func(id, uri string) auth.Client {
		return auth.Client{
			ID: id, Title: id, GrantTypes: []string{auth.GrantPassword}, Scope: "files:read",
			BackchannelLogoutURI: uri,
		}
	}
	_, _, err = f.Clients.Add(t.Context(), registrar.As(), client("shop", here))
	f.want("another service of the machine", err, auth.ErrBeyondRights)
	_, _, err = f.Clients.Add(t.Context(), registrar.As(), client("shop", there))
	f.want("an app", err, nil)
	uri := here
	_, err = f.Clients.Set(t.Context(), registrar.As(), "shop",
		auth.ClientChange{BackchannelLogoutURI: &uri}, nil)
	f.want("the other service afterwards", err, auth.ErrBeyondRights)
	_, _, err = f.Clients.Add(t.Context(), authtest.Operator(), client("local", here))
	f.want("by the operator", err, nil)
}
