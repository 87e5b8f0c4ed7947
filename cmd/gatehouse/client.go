package main

import (
	"context"
	"fmt"
	"strings"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/token"
	"gatehouse.example/internal/wire"
)

type clientCommand struct {
	Add          clientAdd          `cmd:"" help:"Register a client, and print its secret. It is shown once."`
	Show         clientShow         `cmd:"" help:"Show what a client is registered with."`
	List         clientList         `cmd:"" help:"List the registered clients. The built-in client gatehouse is not among them."`
	Set          clientSet          `cmd:"" help:"Change what a client is registered with. What no flag names stays as it is."`
	Disable      clientDisable      `cmd:"" help:"Bar a client, and end its sessions."`
	Enable       clientEnable       `cmd:"" help:"Let a client get tokens again."`
	Grant        clientGrant        `cmd:"" help:"Give a client a role of its own, and revoke the tokens that it has for itself."`
	Revoke       clientRevoke       `cmd:"" help:"Take a role from a client, and revoke the tokens that it has for itself."`
	RotateSecret clientRotateSecret `cmd:"" help:"Give a client another secret, and print it. It is shown once. The secret before it stays good until you retire it or rotate again."`
}

func kindOf(c wire.Client) string {
	if c.Confidential {
		return "confidential"
	}
	return "public"
}

func textOr(text *string, otherwise string) string {
	if text == nil {
		return otherwise
	}
	return *text
}

// rowsOf are the settings of a client, each with its name. It leaves out lists that are empty.
func rowsOf(c wire.Client) [][]string {
	rows := [][]string{
		{"client", c.ClientID}, {"name", c.Name}, {"type", kindOf(c)},
		{"first-party", yesNo(c.FirstParty)}, {"grants", strings.Join(c.GrantTypes, " ")},
		{"scope", textOr(c.Scope, "all")},
	}
	for _, list := range []struct {
		name string
		all  []string
	}{
		{"redirect URI", c.RedirectURIs}, {"post-logout redirect URI", c.PostLogoutRedirectURIs},
		{"audience", c.Audiences},
	} {
		for _, one := range list.all {
			rows = append(rows, []string{list.name, one})
		}
	}
	if len(c.RedirectURIs) == 0 {
		return rows
	}
	return append(rows,
		[]string{"back-channel logout URI", textOr(c.BackchannelLogoutURI, "none")},
		[]string{"PKCE", map[bool]string{false: "required", true: "not required"}[c.WithoutPKCE]},
		[]string{"asks its users", yesNo(c.Ask)},
		[]string{"required role", textOr(c.RequiredRole, "none")},
		[]string{"ID tokens", c.IDTokenAlgorithm},
	)
}

// clientFlags are what a client is registered with, and what is changed later.
type clientFlags struct {
	Grant                 []string `xor:"grant" help:"Grant by which the client gets tokens: password, refresh_token or, for itself, client_credentials. May be repeated. A redirect URI implies authorization_code. A client without a grant can only ask about tokens." placeholder:"GRANT"`
	Scope                 []string `xor:"scope" help:"Permission that the client's tokens may have, if their users have it. May be repeated. Without any, they have all that their users have, but for Gatehouse's own, which are named gatehouse:." placeholder:"PERMISSION"`
	RedirectURI           []string `name:"redirect-uri" sep:"none" xor:"redirect" help:"Where users are sent back to after a login. May be repeated. https, http for 127.0.0.1, [::1] or localhost with any port, or an app's scheme such as com.example.app:/callback." placeholder:"URI"`
	PostLogoutRedirectURI []string `name:"post-logout-redirect-uri" sep:"none" xor:"post-logout" help:"Where users are sent back to after a logout. May be repeated." placeholder:"URI"`
	BackchannelLogoutURI  string   `name:"backchannel-logout-uri" xor:"backchannel" help:"What is told that a session of the client has ended." placeholder:"URI"`
	Role                  string   `xor:"role" help:"Role that users must have to log in at the client. It is not given to the client: that is client grant."`
	Audience              []string `sep:"none" xor:"audience" help:"Resource that the client's tokens may be for, as an absolute URI. May be repeated." placeholder:"URI"`
	IDTokenAlgorithm      string   `name:"id-token-algorithm" help:"Algorithm that signs the client's ID tokens: RS256, ES256 or EdDSA. RS256 unless this says otherwise." placeholder:"ALGORITHM"`
}

type clientAdd struct {
	adminSettings `embed:""`
	ID            string `arg:"" name:"client-id" help:"The client_id: 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'."`
	Name          string `required:"" help:"Name for people, such as The shop."`
	Public        bool   `help:"The client has no secret, since it runs on its users' own devices."`
	FirstParty    bool   `help:"With the client's tokens, users see and end all of their sessions, and change the password."`
	clientFlags   `embed:""`
	WithoutPKCE   bool `name:"without-pkce" help:"The client may leave out PKCE. For a confidential client that cannot do it."`
	Ask           bool `help:"Users are asked whether they let the client in."`
	JSON          bool `help:"Print JSON."`
}

func (c *clientAdd) client() auth.Client {
	return auth.Client{
		ID: c.ID, Title: c.Name, Confidential: !c.Public, FirstParty: c.FirstParty,
		GrantTypes: c.Grant, Scope: strings.Join(c.Scope, " "), RedirectURIs: c.RedirectURI,
		PostLogoutRedirectURIs: c.PostLogoutRedirectURI,
		BackchannelLogoutURI:   c.BackchannelLogoutURI, WithoutPKCE: c.WithoutPKCE, Ask: c.Ask,
		RequiredRole: c.Role, Audiences: c.Audience,
		IDTokenAlgorithm: token.Algorithm(c.IDTokenAlgorithm),
	}
}

// Run registers a client.
func (c *clientAdd) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.with(ctx, func(admin *app.Admin) error {
		client, secret, err := admin.Clients.Add(ctx, by, c.client())
		if err != nil {
			return err
		}
		l := wire.ClientOf(client)
		if c.JSON {
			return printJSON(t, struct {
				wire.Client
				Secret string `json:"client_secret,omitempty"`
			}{l, secret})
		}
		rows := rowsOf(l)
		if secret != "" {
			rows = append(rows, []string{"secret", secret})
		}
		return printTable(t, rows)
	})
}

type clientSet struct {
	oneClient               `embed:""`
	Name                    string `help:"Name for people."`
	FirstParty              *bool  `negatable:"" help:"With the client's tokens, users see and end all of their sessions, and change the password."`
	clientFlags             `embed:""`
	WithoutPKCE             *bool `name:"without-pkce" negatable:"with-pkce" help:"The client may leave out PKCE."`
	Ask                     *bool `negatable:"" help:"Users are asked whether they let the client in."`
	NoGrant                 bool  `name:"no-grant" xor:"grant" help:"The client gets no tokens."`
	NoScope                 bool  `name:"no-scope" xor:"scope" help:"The client's tokens have all that their users have, but for Gatehouse's own."`
	NoRedirectURI           bool  `name:"no-redirect-uri" xor:"redirect" help:"Nobody is sent back after a login. This takes authorization_code."`
	NoPostLogoutRedirectURI bool  `name:"no-post-logout-redirect-uri" xor:"post-logout" help:"Nobody is sent back after a logout."`
	NoBackchannelLogoutURI  bool  `name:"no-backchannel-logout-uri" xor:"backchannel" help:"The client is not told that a session has ended."`
	NoRole                  bool  `name:"no-role" xor:"role" help:"All users may log in at the client."`
	NoAudience              bool  `name:"no-audience" xor:"audience" help:"The client's tokens are for no other resource."`
}

// Run changes what a client is registered with.
func (c *clientSet) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.run(ctx, t, "client changed", func(all *auth.Clients) error {
		_, err := all.Set(ctx, by, c.ID, c.change(), nil)
		return err
	})
}

func (c *clientSet) change() auth.ClientChange {
	return auth.ClientChange{
		Title: given(c.Name, false), FirstParty: c.FirstParty, GrantTypes: givenList(c.Grant, c.NoGrant),
		RedirectURIs:           givenList(c.RedirectURI, c.NoRedirectURI),
		PostLogoutRedirectURIs: givenList(c.PostLogoutRedirectURI, c.NoPostLogoutRedirectURI),
		BackchannelLogoutURI:   given(c.BackchannelLogoutURI, c.NoBackchannelLogoutURI),
		WithoutPKCE:            c.WithoutPKCE, Ask: c.Ask, RequiredRole: given(c.Role, c.NoRole),
		Audiences:        givenList(c.Audience, c.NoAudience),
		Scope:            given(strings.Join(c.Scope, " "), c.NoScope),
		IDTokenAlgorithm: given(token.Algorithm(c.IDTokenAlgorithm), false),
	}
}

// given is what a flag says: nil if it was not given, and the empty text if it was taken back.
func given[T ~string](text T, isNone bool) *T {
	if text == "" && !isNone {
		return nil
	}
	return &text
}

func givenList(list []string, isNone bool) *[]string {
	if list == nil && !isNone {
		return nil
	}
	return &list
}

type clientList struct {
	adminSettings `embed:""`
	JSON          bool `help:"Print JSON, one line for each client."`
}

// Run lists the clients.
func (c *clientList) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		clients, err := admin.Clients.All(ctx)
		if err != nil {
			return err
		}
		head := []string{"CLIENT", "TYPE", "FIRST-PARTY", "SECRETS", "GRANTS", "SCOPE", "ROLES", "DISABLED", "NAME"}
		return printLines(t, c.JSON, head, clients, wire.ClientOf, func(l wire.Client) []string {
			return []string{
				l.ClientID, kindOf(l), yesNo(l.FirstParty), fmt.Sprint(l.Secrets), strings.Join(l.GrantTypes, " "), textOr(l.Scope, "all"),
				strings.Join(l.Roles, " "), timeOr(l.DisabledAt, "no"), l.Name,
			}
		})
	})
}

type clientShow struct {
	oneClient `embed:""`
}

// Run shows a client.
func (c *clientShow) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		client, err := admin.Clients.Find(ctx, c.ID)
		if err != nil {
			return err
		}
		l := wire.ClientOf(client)
		if c.JSON {
			return printJSON(t, l)
		}
		return printTable(t, append(rowsOf(l),
			[]string{"own roles", strings.Join(l.Roles, " ")}, []string{"secrets", fmt.Sprint(l.Secrets)},
			[]string{"created", timeOr(&l.CreatedAt, "")}, []string{"disabled", timeOr(l.DisabledAt, "no")},
		))
	})
}

// oneClient is a command on a client.
type oneClient struct {
	adminSettings `embed:""`
	ID            string `arg:"" name:"client-id" help:"The client_id."`
	JSON          bool   `help:"Print JSON."`
}

// run does something to a client, and shows the client as it is after it.
func (c oneClient) run(ctx context.Context, t terminal, done string, do func(*auth.Clients) error) error {
	return c.with(ctx, func(admin *app.Admin) error {
		if err := do(admin.Clients); err != nil {
			return err
		}
		client, err := admin.Clients.Find(ctx, c.ID)
		if err != nil {
			return err
		}
		return printDone(t, c.JSON, done, c.ID, wire.ClientOf(client))
	})
}

type clientDisable struct {
	oneClient `embed:""`
}

// Run bars a client.
func (c *clientDisable) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.run(ctx, t, "client disabled", func(all *auth.Clients) error { return all.Disable(ctx, by, c.ID, nil) })
}

type clientEnable struct {
	oneClient `embed:""`
}

// Run lets a client in again.
func (c *clientEnable) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.run(ctx, t, "client enabled", func(all *auth.Clients) error { return all.Enable(ctx, by, c.ID, nil) })
}

// clientAndRole is a command on the role of a client.
type clientAndRole struct {
	oneClient `embed:""`
	Role      string `arg:"" help:"Name of the role."`
}

type clientGrant struct {
	clientAndRole `embed:""`
}

// Run gives a client a role.
func (c *clientGrant) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.run(ctx, t, "role granted to client", func(all *auth.Clients) error { return all.GrantRole(ctx, by, c.ID, c.Role) })
}

type clientRevoke struct {
	clientAndRole `embed:""`
}

// Run takes a role from a client.
func (c *clientRevoke) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.run(ctx, t, "role taken from client", func(all *auth.Clients) error { return all.RevokeRole(ctx, by, c.ID, c.Role) })
}

type clientRotateSecret struct {
	oneClient `embed:""`
	RetireOld bool `help:"End the secret before the current one, and make no new one."`
}

// Run gives a client another secret, or takes the one before.
func (c *clientRotateSecret) Run(ctx context.Context, t terminal, by auth.Actor) error {
	if c.RetireOld {
		return c.run(ctx, t, "old secret retired", func(all *auth.Clients) error { return all.RetireSecret(ctx, by, c.ID) })
	}
	return c.with(ctx, func(admin *app.Admin) error {
		secret, err := admin.Clients.RotateSecret(ctx, by, c.ID)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(t, struct {
				ClientID string `json:"client_id"`
				Secret   string `json:"client_secret"`
			}{c.ID, secret})
		}
		_, err = fmt.Fprintln(t.out, secret)
		return err
	})
}
