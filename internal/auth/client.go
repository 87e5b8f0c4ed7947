package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// Client is a program that gets tokens, for users or for itself, or asks about tokens (RFC 6749
// §1.1). The zero Client is the first-party client. It is public, and its tokens may do what their
// users may.
type Client struct {
	ID           string
	Title        string
	Confidential bool     // it authenticates with a secret (RFC 6749 §2.1)
	GrantTypes   []string // with which it may get tokens
	// Scope is the most that its tokens may permit; "": all that their users may.
	Scope string
	// FirstParty is true if its tokens manage their users' accounts. The built-in client is
	// first-party even if this is false.
	FirstParty bool
	// RedirectURIs are where the authorization endpoint may send a browser back to. A client has
	// some if it may use GrantAuthorizationCode, and else none.
	RedirectURIs           []string
	PostLogoutRedirectURIs []string // where the end of a session may lead a browser
	BackchannelLogoutURI   string   // what is told that a session has ended; "": nobody
	// WithoutPKCE is true if the client may leave out the challenge of RFC 7636. Only a
	// confidential client may.
	WithoutPKCE bool
	Ask         bool // users are asked whether they let the client in
	// RequiredRole is the role that its users must have; "": none. It is no role of the client's.
	RequiredRole string
	Audiences    []string // resources that its tokens may be for (RFC 8707)
	// IDTokenAlgorithm signs its ID tokens. "" is RS256.
	IDTokenAlgorithm token.Algorithm

	TokenVersion int64        // its own tokens with another version are revoked
	Roles        []string     // its own, by name
	Permissions  []Permission // those of all the roles, each once
	CreatedAt    time.Time
	DisabledAt   *time.Time // nil while it is enabled
	OldSecret    bool       // the secret before the current one still works
}

// Grants that a client may be allowed (RFC 7591 §2).
const (
	GrantPassword          = "password"
	GrantRefreshToken      = "refresh_token"
	GrantClientCredentials = "client_credentials" // for confidential clients (RFC 6749 §4.4)
	GrantAuthorizationCode = "authorization_code" // for clients with a redirect URI (RFC 6749 §4.1)
)

func grantTypes() []string {
	return []string{
		GrantPassword, GrantRefreshToken, GrantClientCredentials, GrantAuthorizationCode,
	}
}

// PublicID returns the client_id. The first-party client has one too.
func (c Client) PublicID() string { return cmp.Or(c.ID, token.FirstParty) }

// IsFirstParty reports whether the client's tokens manage their users' accounts.
func (c Client) IsFirstParty() bool { return c.ID == "" || c.FirstParty }

// MayUse reports whether the client may get tokens with a grant.
func (c Client) MayUse(grantType string) bool {
	if c.ID == "" {
		return grantType != GrantClientCredentials
	}
	return slices.Contains(c.GrantTypes, grantType)
}

// idTokenAlgorithm signs the client's ID tokens.
func (c Client) idTokenAlgorithm() token.Algorithm { return cmp.Or(c.IDTokenAlgorithm, token.RS256) }

// Subject is the id that stands for the client where a user's id would be.
func (c Client) Subject() uuid.UUID { return token.ClientSubject(c.ID) }

// As returns the client as an actor, with its own rights.
func (c Client) As() Actor {
	return Actor{
		Kind: ActorClient, ID: c.Subject(), Version: c.TokenVersion, Roles: c.Roles,
		Permissions: c.Permissions,
	}
}

// Admits reports whether a user may log in at the client.
func (c Client) Admits(user User) bool {
	return c.RequiredRole == "" || slices.Contains(user.Roles, c.RequiredRole)
}

// narrowed returns the part of a user's scope that the client may have. A client without a scope of
// its own gets Gatehouse's permissions only if it is first-party: an app in which an administrator
// logs in must not become one.
func (c Client) narrowed(scope string) string {
	if c.Scope == "" && !c.IsFirstParty() {
		return withoutOwn(scope)
	}
	return c.bounded(scope)
}

// bounded returns the part of a scope that is within the client's. If one side has resource:*, the
// result has whatever the other side names of that resource. It is all that bounds what the client
// has by its own roles: whoever gave it these roles has named each permission.
func (c Client) bounded(scope string) string {
	if c.Scope == "" {
		return scope
	}
	var both []string
	for word := range strings.FieldsSeq(scope) {
		if token.ScopeHas(c.Scope, word) {
			both = append(both, word)
		}
	}
	for word := range strings.FieldsSeq(c.Scope) {
		if token.ScopeHas(scope, word) {
			both = append(both, word)
		}
	}
	slices.Sort(both)
	return strings.Join(slices.Compact(both), " ")
}

// withoutOwn returns a scope without Gatehouse's own permissions.
func withoutOwn(scope string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(scope), isOwn), " ")
}

// roles returns the roles of a token for a user. It returns none if the token was asked for with a
// scope, or if the client's scope is bounded. Services let in whoever has a role, and a role may
// allow more than the scope does.
func (c Client) roles(held []string, requested string) string {
	if requested != "" || c.Scope != "" {
		return ""
	}
	return strings.Join(held, ",")
}

// SecretDigest is what is stored of a client's secret. The zero digest is that of no secret.
type SecretDigest [sha256.Size]byte

// StoredClient is a client and what is stored of its secrets.
type StoredClient struct {
	Client
	Secret, OldSecret SecretDigest
}

// clientSecretPrefix lets scanners for leaked secrets recognise those of clients.
const clientSecretPrefix = "ghc_"

// newClientSecret makes a secret of 256 random bits. Nobody can guess that many, so a fast hash is
// enough to store it.
func newClientSecret() (secret string, digest SecretDigest) {
	raw := make([]byte, 32)
	rand.Read(raw) // never fails
	secret = clientSecretPrefix + base64.RawURLEncoding.EncodeToString(raw)
	return secret, sha256.Sum256([]byte(secret))
}

// provedBy reports whether the secret is right. It does the same work for every client, and for one
// that does not exist.
func (c StoredClient) provedBy(secret string) bool {
	digest := sha256.Sum256([]byte(secret))
	isCurrent := subtle.ConstantTimeCompare(digest[:], c.Secret[:])
	isOld := subtle.ConstantTimeCompare(digest[:], c.OldSecret[:])
	if !c.Confidential {
		return c.ID != "" && secret == ""
	}
	return isCurrent|isOld == 1
}

// ClientStore stores the OAuth clients. Changes that take a Rule are made one after the other (see
// [Rule]). The Rule sees the client, and the role that the change names.
type ClientStore interface {
	// InsertClient stores a new, enabled client, and returns when. The Rule sees the role that the
	// client requires. Errors: [ErrClientIDTaken], [ErrTooManyClients] if there are already most.
	InsertClient(
		ctx context.Context, e Event, rule Rule, client StoredClient, most int,
	) (time.Time, error)
	// ClientByID reads what is committed now, never a cache. Errors: [ErrClientNotFound].
	ClientByID(ctx context.Context, id string) (StoredClient, error)
	// ListClients returns at most limit clients by id, from the first one after an id.
	ListClients(ctx context.Context, after string, limit int) ([]Client, error)
	// SetClient stores what to makes of a client: what it is registered with, and nothing else. The
	// function to must be pure, and its error becomes the error of the change. If the client's scope
	// or grants are others, its token version is raised. If it then [Client.AsksAnew], its sessions
	// and codes end. The Rule sees the given role. Errors: [ErrClientNotFound].
	SetClient(
		ctx context.Context, e Event, rule Rule, id, role string, to func(Client) (Client, error),
	) (Client, error)
	// DisableClient disables a client, raises its token version and ends its sessions. Errors:
	// [ErrClientNotFound].
	DisableClient(ctx context.Context, e Event, rule Rule, id string) error
	// EnableClient undoes DisableClient. Sessions stay ended. Errors: [ErrClientNotFound].
	EnableClient(ctx context.Context, e Event, rule Rule, id string) error
	// RotateClientSecret gives a confidential client a new secret. The current secret stays good
	// beside it, and an older one ends. Errors: [ErrClientNotFound].
	RotateClientSecret(
		ctx context.Context, e Event, rule Rule, id string, digest SecretDigest,
	) error
	// RetireClientSecret ends the older of a confidential client's secrets, if it has two. Errors:
	// [ErrClientNotFound].
	RetireClientSecret(ctx context.Context, e Event, rule Rule, id string) error
	// GrantClientRole gives a client a role and raises its token version. It changes nothing if the
	// client has the role already. Errors: [ErrClientNotFound], [ErrRoleNotFound],
	// [ErrTooManyRights].
	GrantClientRole(ctx context.Context, e Event, rule Rule, id, role string) error
	// RevokeClientRole takes a role from a client and raises its token version. It changes nothing
	// if the client does not have the role. Errors: [ErrClientNotFound].
	RevokeClientRole(ctx context.Context, e Event, rule Rule, id, role string) error
}

// Clients manages and authenticates the OAuth clients. The file clientrights.go has the rules of
// who may change which.
type Clients struct {
	store ClientStore
	audit *Audit
}

// NewClients makes Clients.
func NewClients(store ClientStore, audit *Audit) *Clients { return &Clients{store, audit} }

// Authenticate finds the client that sends a request, the first-party client if there is no id. A
// confidential client authenticates with its secret. A public client has none. Errors:
// [ErrInvalidClient].
func (c *Clients) Authenticate(ctx context.Context, id, secret string) (client Client, err error) {
	e := newEvent(ctx, Actor{}, ActionProveClient, uuid.Nil, "")
	defer c.audit.told(ctx, &e, &err)
	if id == "" || id == token.FirstParty {
		if secret != "" {
			return Client{}, fmt.Errorf("%w: %s has no secret", ErrInvalidClient, token.FirstParty)
		}
		return Client{}, nil
	}
	if !clientIDs.MatchString(id) { // it may not even be text
		return Client{}, fmt.Errorf("%w: malformed id", ErrInvalidClient)
	}
	found, err := c.store.ClientByID(ctx, id)
	if err != nil && !errors.Is(err, ErrClientNotFound) {
		return Client{}, err
	}
	e.Target = found.ID // only of a client that exists: anything else may be a secret
	switch {
	case !found.provedBy(secret):
		return Client{}, fmt.Errorf("%w: unknown, or another secret", ErrInvalidClient)
	case found.DisabledAt != nil:
		return Client{}, fmt.Errorf("%w: disabled", ErrInvalidClient)
	}
	return found.Client, nil
}

// AuthenticateConfidential is Authenticate for confidential clients alone. Errors:
// [ErrInvalidClient].
func (c *Clients) AuthenticateConfidential(ctx context.Context, id, secret string) (Client, error) {
	client, err := c.Authenticate(ctx, id, secret)
	if err == nil && !client.Confidential {
		err = c.Refuse(ctx, client, fmt.Errorf("%w: not a confidential one", ErrInvalidClient))
	}
	return client, err
}

// Refuse records the error with which a client is refused, and returns it. Pass the zero Client if
// it is not known.
func (c *Clients) Refuse(ctx context.Context, client Client, err error) error {
	e := newEvent(ctx, Actor{}, ActionProveClient, uuid.Nil, client.ID)
	c.audit.told(ctx, &e, &err)
	return err
}

// CheckGrant refuses a client that may not get tokens with a grant. Errors:
// [ErrUnauthorizedClient].
func (c *Clients) CheckGrant(ctx context.Context, client Client, grantType string) error {
	if client.MayUse(grantType) {
		return nil
	}
	return c.refuseGrant(ctx, client, ActionIssueToken, ErrUnauthorizedClient)
}

// CheckFirstParty refuses a client that may not log users in without a browser: it would see their
// passwords. Errors: [ErrUnauthorizedClient].
func (c *Clients) CheckFirstParty(ctx context.Context, client Client) error {
	if client.IsFirstParty() && client.MayUse(GrantAuthorizationCode) {
		return nil
	}
	return c.refuseGrant(ctx, client, ActionIssueCode, ErrUnauthorizedClient)
}

// RefusePassword refuses a client that sends a user's password while no passwords are exchanged for
// tokens. The action is what the password was sent for. The user's name is not recorded: nobody has
// proved to be that user. Errors: [ErrPasswordGrantOff].
func (c *Clients) RefusePassword(ctx context.Context, client Client, action Action) error {
	return c.refuseGrant(ctx, client, action, ErrPasswordGrantOff)
}

func (c *Clients) refuseGrant(
	ctx context.Context, client Client, action Action, err error,
) error {
	e := newEvent(ctx, Actor{}, action, uuid.Nil, client.PublicID())
	if client.Confidential {
		e = e.byClient(client.Subject())
	}
	c.audit.told(ctx, &e, &err)
	return err
}

// mostClients bounds how many clients there may be. People register clients by hand.
const mostClients = 1000

// Add stores a client. The secret of a confidential client is returned here and nowhere else.
// Errors: [InputError], [ErrClientIDTaken], [ErrRoleNotFound], [ErrBeyondRights],
// [ErrTooManyClients].
func (c *Clients) Add(
	ctx context.Context, by Actor, n Client,
) (added Client, secret string, err error) {
	if n, err = checkClient(n); err != nil {
		return Client{}, "", err
	}
	e := newEvent(ctx, by, ActionAddClient, uuid.Nil, n.ID)
	defer c.audit.told(ctx, &e, &err)
	stored := StoredClient{Client: n}
	if n.Confidential {
		secret, stored.Secret = newClientSecret()
	}
	n.CreatedAt, err = c.store.InsertClient(ctx, e, mayAddClient(by, n), stored, mostClients)
	if err != nil {
		return Client{}, "", err
	}
	return n, secret, nil
}

// List returns at most limit clients by id, from the first one after an id.
func (c *Clients) List(ctx context.Context, after string, limit int) ([]Client, error) {
	return c.store.ListClients(ctx, after, limit)
}

// All returns all clients by id.
func (c *Clients) All(ctx context.Context) (all []Client, err error) {
	for after := ""; ; {
		page, err := ReadPage(mostClients, func(limit int) ([]Client, error) {
			return c.List(ctx, after, limit)
		})
		if err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		last := page.Last()
		if last == nil {
			return all, nil
		}
		after = last.ID
	}
}

// Find finds a client. Errors: [ErrClientNotFound].
func (c *Clients) Find(ctx context.Context, id string) (Client, error) {
	if !clientIDs.MatchString(id) { // it may not even be text
		return Client{}, ErrClientNotFound
	}
	found, err := c.store.ClientByID(ctx, id)
	return found.Client, err
}

// Set changes what a client is registered with. It does so only if asSeen, when given, returns
// true: then the client is still as the caller saw it. Tokens that its users have keep their scope
// until they expire. If the scope or the grants change, the client's own tokens are revoked.
// Errors: [InputError], [ErrClientNotFound], [ErrRoleNotFound], [ErrChanged], [ErrBeyondRights].
func (c *Clients) Set(
	ctx context.Context, by Actor, id string, change ClientChange, asSeen func(Client) bool,
) (changed Client, err error) {
	if change == (ClientChange{}) {
		return Client{}, InputError{{"name", "is required, or something else that is to change"}}
	}
	if wrong := checkRequiredRole(change.role()); wrong != nil { // it may not even be text
		return Client{}, InputError(wrong)
	}
	err = c.change(ctx, by, ActionSetClient, id, func(e Event) error {
		changed, err = c.store.SetClient(
			ctx, e, maySetClient(by, change, asSeen), id, change.role(),
			func(before Client) (Client, error) { return change.to(by, before) },
		)
		return err
	})
	return changed, err
}

// Disable keeps a client from getting tokens, revokes its own tokens and ends its sessions. For
// asSeen see [Clients.Set]. Errors: [ErrClientNotFound], [ErrChanged], [ErrBeyondRights].
func (c *Clients) Disable(
	ctx context.Context, by Actor, id string, asSeen func(Client) bool,
) error {
	return c.change(ctx, by, ActionDisableClient, id, func(e Event) error {
		return c.store.DisableClient(ctx, e, mayChangeClient(by, asSeen), id)
	})
}

// Enable undoes Disable. Sessions stay ended. Errors: [ErrClientNotFound], [ErrChanged],
// [ErrBeyondRights].
func (c *Clients) Enable(
	ctx context.Context, by Actor, id string, asSeen func(Client) bool,
) error {
	return c.change(ctx, by, ActionEnableClient, id, func(e Event) error {
		return c.store.EnableClient(ctx, e, mayChangeClient(by, asSeen), id)
	})
}

// RotateSecret gives a client a new secret, which is returned here and nowhere else. The secret
// before stays good until the next rotation, or until [Clients.RetireSecret]. Errors:
// [ErrClientNotFound], [ErrClientPublic], [ErrBeyondRights].
func (c *Clients) RotateSecret(
	ctx context.Context, by Actor, id string,
) (secret string, err error) {
	secret, digest := newClientSecret()
	err = c.change(ctx, by, ActionRotateSecret, id, func(e Event) error {
		return c.confidential(
			ctx, id, c.store.RotateClientSecret(ctx, e, mayChangeClient(by, nil), id, digest),
		)
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// RetireSecret ends the secret before the current one. Errors: [ErrClientNotFound],
// [ErrClientPublic], [ErrBeyondRights].
func (c *Clients) RetireSecret(ctx context.Context, by Actor, id string) error {
	return c.change(ctx, by, ActionRetireSecret, id, func(e Event) error {
		return c.confidential(
			ctx, id, c.store.RetireClientSecret(ctx, e, mayChangeClient(by, nil), id),
		)
	})
}

// GrantRole gives a client a role of its own, and revokes the tokens that it has for itself. To
// grant a role again is no error. Errors: [ErrClientNotFound], [ErrRoleNotFound],
// [ErrBeyondRights], [ErrTooManyRights].
func (c *Clients) GrantRole(ctx context.Context, by Actor, id, role string) error {
	return c.changeRole(ctx, by, ActionGrantToClient, id, role, c.store.GrantClientRole)
}

// RevokeRole undoes GrantRole. Errors: [ErrClientNotFound], [ErrRoleNotFound], [ErrBeyondRights].
func (c *Clients) RevokeRole(ctx context.Context, by Actor, id, role string) error {
	return c.changeRole(ctx, by, ActionRevokeOfClient, id, role, c.store.RevokeClientRole)
}

func (c *Clients) changeRole(
	ctx context.Context, by Actor, action Action, id, role string,
	change func(context.Context, Event, Rule, string, string) error,
) error {
	return c.change(ctx, by, action, id, func(e Event) error {
		if !roleNames.MatchString(role) { // it may not even be text
			return ErrRoleNotFound
		}
		e.Target += " " + role
		return change(ctx, e, mayGiveRoleToClient(by), id, role)
	})
}

// change does an action on a client, and records a refusal.
func (c *Clients) change(
	ctx context.Context, by Actor, action Action, id string, do func(Event) error,
) (err error) {
	e := newEvent(ctx, by, action, uuid.Nil, id)
	defer c.audit.told(ctx, &e, &err)
	err = ErrClientNotFound
	if clientIDs.MatchString(id) {
		err = do(e)
	}
	if errors.Is(err, ErrClientNotFound) {
		e.Target = "" // somebody may have put a secret there
	}
	return err
}

// confidential turns [ErrClientNotFound] into [ErrClientPublic] if the client exists.
func (c *Clients) confidential(ctx context.Context, id string, err error) error {
	if !errors.Is(err, ErrClientNotFound) {
		return err
	}
	if _, gone := c.store.ClientByID(ctx, id); gone == nil {
		return ErrClientPublic
	}
	return err
}
