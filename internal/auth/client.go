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
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"gatehouse/internal/token"
)

// OAuthClient is a program that gets tokens, for users or for itself, or asks about tokens (RFC 6749 §1.1). The zero one is the
// first-party client, which is public and may do what its users may.
type OAuthClient struct {
	ID           string
	Title        string
	Confidential bool         // it proves itself by a secret (RFC 6749 §2.1)
	GrantTypes   []string     // by which it may get tokens
	Scope        string       // the most that its tokens may permit; "" for all that their users may
	TokenVersion int64        // tokens of its own that carry another one are revoked
	Roles        []string     // of its own, by name
	Permissions  []Permission // of all the roles, each once
	CreatedAt    time.Time
	DisabledAt   *time.Time // nil while it is enabled
	OldSecret    bool       // the secret before the current one is good too
}

// Grants that a client may be allowed (RFC 7591 §2).
const (
	GrantPassword          = "password"
	GrantRefreshToken      = "refresh_token"
	GrantClientCredentials = "client_credentials" // of confidential clients (RFC 6749 §4.4)
)

func grantTypes() []string {
	return []string{GrantPassword, GrantRefreshToken, GrantClientCredentials}
}

// PublicID is the client_id, also of the first-party client.
func (c OAuthClient) PublicID() string { return cmp.Or(c.ID, token.FirstParty) }

// MayUse tells whether the client may get tokens by a grant.
func (c OAuthClient) MayUse(grantType string) bool {
	if c.ID == "" {
		return grantType == GrantPassword || grantType == GrantRefreshToken
	}
	return slices.Contains(c.GrantTypes, grantType)
}

// Subject stands for the client where a user's id would.
func (c OAuthClient) Subject() uuid.UUID { return token.ClientSubject(c.ID) }

// holder is the client as whoever holds rights of its own. It has no account.
func (c OAuthClient) holder() User {
	return User{ID: c.Subject(), DisabledAt: c.DisabledAt, TokenVersion: c.TokenVersion, Roles: c.Roles, Permissions: c.Permissions}
}

// narrowed is what of a scope the client may have: resource:* of either stands for what the other has of the resource.
func (c OAuthClient) narrowed(scope string) string {
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

// roles are those that a token for a user has. One whose scope is bounded has none, since services let in by a role alone
// whoever has it, and that may be more than the client may do.
func (c OAuthClient) roles(user User) string {
	if c.Scope != "" {
		return ""
	}
	return strings.Join(user.Roles, ",")
}

// SecretDigest is what is stored of a client's secret. The zero one is of none.
type SecretDigest [sha256.Size]byte

// StoredClient is a client with what is stored of its secrets.
type StoredClient struct {
	OAuthClient
	Secret, OldSecret SecretDigest
}

// clientSecretPrefix lets scanners for leaked secrets find those of clients.
const clientSecretPrefix = "ghc_"

// newClientSecret makes 256 random bits: too many to be guessed, so that what is stored need not be slow to compute.
func newClientSecret() (secret string, digest SecretDigest) {
	raw := make([]byte, 32)
	rand.Read(raw) // never fails
	secret = clientSecretPrefix + base64.RawURLEncoding.EncodeToString(raw)
	return secret, sha256.Sum256([]byte(secret))
}

// provedBy does the same work for every client, also for one that does not exist.
func (c StoredClient) provedBy(secret string) bool {
	digest := sha256.Sum256([]byte(secret))
	isCurrent := subtle.ConstantTimeCompare(digest[:], c.Secret[:])
	isOld := subtle.ConstantTimeCompare(digest[:], c.OldSecret[:])
	if !c.Confidential {
		return c.ID != "" && secret == ""
	}
	return isCurrent|isOld == 1
}

var clientIDs = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// AuthenticateClient finds the client that asks, the first-party one if it has no id. A confidential one proves itself by its
// secret, a public one has none. ErrInvalidClient.
func (s *Service) AuthenticateClient(ctx context.Context, id, secret string) (OAuthClient, error) {
	if id == "" || id == token.FirstParty {
		if secret != "" {
			return OAuthClient{}, fmt.Errorf("%w: %s has no secret", ErrInvalidClient, token.FirstParty)
		}
		return OAuthClient{}, nil
	}
	if !clientIDs.MatchString(id) { // perhaps it is not even text
		return OAuthClient{}, fmt.Errorf("%w: malformed id", ErrInvalidClient)
	}
	found, err := s.store.ClientByID(ctx, id)
	if err != nil && !errors.Is(err, ErrClientNotFound) {
		return OAuthClient{}, err
	}
	switch {
	case !found.provedBy(secret):
		return OAuthClient{}, fmt.Errorf("%w: unknown, or another secret", ErrInvalidClient)
	case found.DisabledAt != nil:
		return OAuthClient{}, fmt.Errorf("%w: disabled", ErrInvalidClient)
	}
	return found.OAuthClient, nil
}

// AddClient stores a client; a confidential one gets a secret, which is told once, here. InputError, ErrClientIDTaken.
func (s *Service) AddClient(ctx context.Context, c OAuthClient) (added OAuthClient, secret string, err error) {
	if c.Scope, err = checkClient(c); err != nil {
		return OAuthClient{}, "", err
	}
	e := newEvent(ctx, ActionAddClient, uuid.Nil, c.ID)
	defer s.told(ctx, &e, &err)
	stored := StoredClient{OAuthClient: c}
	if c.Confidential {
		secret, stored.Secret = newClientSecret()
	}
	if c.CreatedAt, err = s.store.InsertClient(ctx, e, stored); err != nil {
		return OAuthClient{}, "", err
	}
	return c, secret, nil
}

// maxClientTitle is in characters.
const maxClientTitle = 128

// checkClient tells all that is wrong at once, and puts the scope into its one form.
func checkClient(c OAuthClient) (scope string, err error) {
	var wrong InputError
	_, noUUID := uuid.Parse(c.ID)
	if !clientIDs.MatchString(c.ID) || strings.EqualFold(c.ID, token.FirstParty) || noUUID == nil {
		wrong = append(wrong, FieldError{"client_id", "must be 1 to 64 of A-Z, a-z, 0-9, ., _ and -, no UUID, and not " + token.FirstParty})
	}
	if n := utf8.RuneCountInString(c.Title); n < 1 || n > maxClientTitle || oneLine(c.Title, maxClientTitle) != c.Title {
		wrong = append(wrong, FieldError{"name", fmt.Sprintf("must be 1 to %d characters on one line", maxClientTitle)})
	}
	for _, g := range c.GrantTypes {
		if !slices.Contains(grantTypes(), g) {
			wrong = append(wrong, FieldError{"grant", "must be one of " + strings.Join(grantTypes(), ", ")})
			break
		}
	}
	if !c.Confidential && slices.Contains(c.GrantTypes, GrantClientCredentials) {
		wrong = append(wrong, FieldError{"grant", GrantClientCredentials + " needs a confidential client"})
	}
	words := strings.Fields(c.Scope)
	slices.Sort(words)
	scope = strings.Join(slices.Compact(words), " ")
	if len(scope) > maxRights || slices.ContainsFunc(words, func(w string) bool { return !permissions.MatchString(w) }) {
		wrong = append(wrong, FieldError{"scope", fmt.Sprintf("must be resource:action or resource:*, in small letters, and at most %d bytes", maxRights)})
	}
	if wrong != nil {
		return "", wrong
	}
	return scope, nil
}

// Clients lists all clients by id.
func (s *Service) Clients(ctx context.Context) ([]OAuthClient, error) {
	return s.store.ListClients(ctx)
}

// DisableClient bars a client from getting tokens, revokes its own and ends its sessions. ErrClientNotFound.
func (s *Service) DisableClient(ctx context.Context, id string) error {
	return s.changeClient(ctx, ActionDisableClient, id, func(e Event) error { return s.store.DisableClient(ctx, e, id) })
}

// EnableClient undoes DisableClient; sessions stay ended. ErrClientNotFound.
func (s *Service) EnableClient(ctx context.Context, id string) error {
	return s.changeClient(ctx, ActionEnableClient, id, func(e Event) error { return s.store.EnableClient(ctx, e, id) })
}

// RotateClientSecret gives a client another secret, which is told once, here. The one before stays good until the next
// rotation or RetireClientSecret. ErrClientNotFound, ErrClientPublic.
func (s *Service) RotateClientSecret(ctx context.Context, id string) (secret string, err error) {
	secret, digest := newClientSecret()
	err = s.changeClient(ctx, ActionRotateSecret, id, func(e Event) error {
		return s.confidential(ctx, id, s.store.RotateClientSecret(ctx, e, id, digest))
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// RetireClientSecret ends the secret before the current one. ErrClientNotFound, ErrClientPublic.
func (s *Service) RetireClientSecret(ctx context.Context, id string) error {
	return s.changeClient(ctx, ActionRetireSecret, id, func(e Event) error {
		return s.confidential(ctx, id, s.store.RetireClientSecret(ctx, e, id))
	})
}

// GrantClientRole gives a client a role of its own, and revokes the tokens that it has for itself. To grant it again is no
// error. ErrClientNotFound, ErrRoleNotFound, ErrTooManyRights.
func (s *Service) GrantClientRole(ctx context.Context, id, role string) error {
	return s.changeClientRole(ctx, ActionGrantToClient, id, role, s.store.GrantClientRole)
}

// RevokeClientRole undoes GrantClientRole. ErrClientNotFound, ErrRoleNotFound.
func (s *Service) RevokeClientRole(ctx context.Context, id, role string) error {
	return s.changeClientRole(ctx, ActionRevokeOfClient, id, role, s.store.RevokeClientRole)
}

func (s *Service) changeClientRole(
	ctx context.Context, action Action, id, role string, change func(context.Context, Event, string, string) error,
) error {
	return s.changeClient(ctx, action, id, func(e Event) error {
		if _, err := s.Role(ctx, role); err != nil {
			return err
		}
		e.Target += " " + role
		return change(ctx, e, id, role)
	})
}

// changeClient does an action on a client, and tells of it if it is refused.
func (s *Service) changeClient(ctx context.Context, action Action, id string, do func(Event) error) (err error) {
	e := newEvent(ctx, action, uuid.Nil, id)
	defer s.told(ctx, &e, &err)
	err = ErrClientNotFound
	if clientIDs.MatchString(id) {
		err = do(e)
	}
	if errors.Is(err, ErrClientNotFound) {
		e.Target = "" // perhaps somebody has put a secret there
	}
	return err
}

// confidential tells a client that is public from one that does not exist.
func (s *Service) confidential(ctx context.Context, id string, err error) error {
	if !errors.Is(err, ErrClientNotFound) {
		return err
	}
	if _, gone := s.store.ClientByID(ctx, id); gone == nil {
		return ErrClientPublic
	}
	return err
}

// ClientToken gives a client an access token of its own, which says what its roles permit or, if a scope is given, that of it.
// There is no session, and so no refresh token (RFC 6749 §4.4.3). ErrInvalidScope.
func (s *Service) ClientToken(ctx context.Context, client OAuthClient, scope string) (grant Grant, err error) {
	e := newEvent(ctx, ActionIssueToken, uuid.Nil, client.ID).byClient(client.Subject())
	defer s.told(ctx, &e, &err)
	holder := client.holder()
	granted := client.narrowed(scopeOf(holder.Permissions))
	if scope != "" {
		if granted, err = checkScope(granted, scope); err != nil {
			return Grant{}, err
		}
	}
	if len(granted) > maxRights {
		return Grant{}, ErrInvalidScope
	}
	// If its rights have changed since they were read, the version is an older one, and the token is refused everywhere.
	access, err := s.issue(token.Subject{
		ClientID: client.ID, Version: client.TokenVersion, Roles: client.roles(holder), Scope: granted,
	}, s.tokens.Lifetime())
	if err != nil {
		return Grant{}, err
	}
	if err := s.store.RecordEvent(ctx, e); err != nil {
		return Grant{}, err
	}
	return Grant{User: holder, AccessToken: access, ExpiresIn: s.tokens.Lifetime(), Scope: granted}, nil
}

// liveClient reads the client of a token of its own as it is now. ErrInvalidToken.
func liveClient(ctx context.Context, store Store, access token.Access) (User, error) {
	found, err := store.ClientByID(ctx, access.ClientID)
	switch {
	case errors.Is(err, ErrClientNotFound):
		return User{}, fmt.Errorf("%w: %w", ErrInvalidToken, err)
	case err != nil:
		return User{}, err
	case found.DisabledAt != nil:
		return User{}, fmt.Errorf("%w: disabled client", ErrInvalidToken)
	case found.TokenVersion != access.Version:
		return User{}, errRevoked
	}
	return found.holder(), nil
}
