package auth

import (
	"context"
	"net/url"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// LogoutParameters are those of a request to end the session of a browser (OpenID Connect
// RP-Initiated Logout §2). Each may be empty.
type LogoutParameters struct {
	IDTokenHint, ClientID, PostLogoutRedirectURI, State string
}

// LogoutRequest is what an app asks for that sends a browser to be logged out.
type LogoutRequest struct {
	Client Client // the zero Client if no app asks
	// PostLogoutRedirectURI is one of the client's; "": none.
	PostLogoutRedirectURI string
	State                 string
	hint                  token.IDToken
}

// Means reports whether the request proves that the app means this user. Then nobody needs to be
// asked. An app cannot log anybody else out: only apps of the user have an ID token of the user.
func (r LogoutRequest) Means(user User) bool {
	return r.hint.Subject != uuid.Nil && r.hint.Subject == user.ID
}

// Onward returns where the browser goes on to afterwards (§3); "": nowhere.
func (r LogoutRequest) Onward() string {
	if r.PostLogoutRedirectURI == "" || r.State == "" {
		return r.PostLogoutRedirectURI
	}
	return withQuery(r.PostLogoutRedirectURI, url.Values{"state": {r.State}})
}

// Logouts let apps end the sessions of browsers.
type Logouts struct {
	store AccessStore
	ids   *IDTokens
}

// NewLogouts makes Logouts.
func NewLogouts(store AccessStore, ids *IDTokens) *Logouts { return &Logouts{store, ids} }

// Parse reads a request. Errors: [ErrUnknownApp] if the client does not exist, or is another one
// than that of the ID token; [ErrLogoutHint] if the ID token is none of this service;
// [ErrRedirectURI] if the URI is none of the client's, or no client is named.
func (l *Logouts) Parse(ctx context.Context, p LogoutParameters) (r LogoutRequest, err error) {
	id := p.ClientID
	if p.IDTokenHint != "" {
		if r.hint, err = l.ids.VerifyHint(p.IDTokenHint); err != nil {
			return LogoutRequest{}, ErrLogoutHint
		}
		if id != "" && id != r.hint.Audience {
			return LogoutRequest{}, ErrUnknownApp
		}
		id = r.hint.Audience
	}
	if id != "" {
		if r.Client, err = enabledClient(ctx, l.store, id); err != nil {
			return LogoutRequest{}, err
		}
	}
	if p.PostLogoutRedirectURI != "" && !r.Client.MatchPostLogoutRedirectURI(p.PostLogoutRedirectURI) {
		return LogoutRequest{}, ErrRedirectURI
	}
	r.PostLogoutRedirectURI, r.State = p.PostLogoutRedirectURI, p.State
	return r, nil
}
