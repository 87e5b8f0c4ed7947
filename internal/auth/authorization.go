package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/token"
)

// codeLifetime is how long a code may be redeemed (RFC 6749 §4.1.2 allows ten minutes). A browser
// brings it to the app at once.
const codeLifetime = time.Minute

// AuthorizationStore stores authorization codes, and what users allow to apps.
type AuthorizationStore interface {
	// ClientByID is that of [AccessStore].
	ClientByID(ctx context.Context, id string) (StoredClient, error)
	// InsertCode stores a code if the browser's session lives, its user and the client have the
	// given versions, and the user still allows a client that asks what the code gives it. Errors:
	// [ErrSessionNotFound] if not.
	InsertCode(ctx context.Context, e Event, code NewCode) error
	// ConsentTo returns the words of a scope that a user has allowed a client; nil: none.
	ConsentTo(ctx context.Context, userID uuid.UUID, clientID string) ([]string, error)
	// PutConsent adds words to those that a user has allowed a client.
	PutConsent(ctx context.Context, e Event, userID uuid.UUID, clientID string, words []string) error
}

// CodeDigest is what is stored of an authorization code.
type CodeDigest [sha256.Size]byte

// NewCode is an authorization code to be stored.
type NewCode struct {
	Digest        CodeDigest
	SessionID     uuid.UUID // of the browser; Nil: without one
	UserID        uuid.UUID // without a browser
	Methods       []string  // how that user has proved who it is, without a browser
	UserVersion   int64
	ClientID      string
	ClientVersion int64
	RedirectURI   string
	Challenge     string // "": none
	Scope         string
	OpenID        string
	Claims        string
	Resources     string // with spaces between; "": none
	Nonce         string
	Asks          []string // what the user must have allowed a client that asks
	Lifetime      time.Duration
}

// Authorizations let apps log in the users of browsers.
type Authorizations struct {
	store   AuthorizationStore
	ids     *IDTokens
	demands loginDemands
	pace    *Pace
	audit   *Audit
	issuer  string
}

// AuthorizationParts are what Authorizations is made of. All are needed.
type AuthorizationParts struct {
	Store  AuthorizationStore
	IDs    *IDTokens
	Keys   *keychain.Keychain
	Pace   *Pace
	Audit  *Audit
	Issuer string // named in each answer (RFC 9207)
	Clock  func() time.Time
}

// NewAuthorizations makes Authorizations.
func NewAuthorizations(p AuthorizationParts) *Authorizations {
	demands := loginDemands{p.Keys.MACs(keychain.LoginDemands), p.Clock}
	return &Authorizations{p.Store, p.IDs, demands, p.Pace, p.Audit, p.Issuer}
}

// Destination returns the title of the app that a request is of, and where it leads to. It is not
// ok for a request that leads to no app.
func (a *Authorizations) Destination(
	ctx context.Context, parameters url.Values,
) (title, redirectURI string, ok bool) {
	client, err := a.app(ctx, parameters["client_id"])
	uri := parameters["redirect_uri"]
	if err != nil || len(uri) != 1 || !client.MatchRedirectURI(uri[0]) {
		return "", "", false
	}
	return client.Title, uri[0], true
}

// DemandLogin returns what has to come back as [DemandParameter] after the login for [StepLogin].
func (a *Authorizations) DemandLogin(r AuthorizationRequest, session *Browser) string {
	return a.demands.make(r, session)
}

// AuthorizationStep is what has to be done next for a request.
type AuthorizationStep int

// Steps. The zero value is none of them.
const (
	StepLogin   AuthorizationStep = iota + 1 // the user logs in, again if need be
	StepChoose                               // the user says who it is that goes on
	StepConsent                              // the user is asked
	StepCode                                 // the app gets its code
)

// Next decides what has to be done for a request. The session is that of the browser, or nil. The
// words are those that the user has allowed the client. Errors: [ErrLoginRequired],
// [ErrUnmetRequirements], [ErrConsentRequired], [ErrNotForUser].
func (r AuthorizationRequest) Next(session *Browser, allowed []string) (AuthorizationStep, error) {
	quiet := r.Wants(PromptNone)
	switch {
	case session == nil || r.needsLogin(*session):
		if quiet {
			return 0, ErrLoginRequired
		}
		return StepLogin, nil
	case !r.isReachedBy(*session): // the user has logged in for it, and cannot do better
		return 0, ErrUnmetRequirements
	case r.Wants(PromptSelectAccount):
		return StepChoose, nil
	case !r.Client.Admits(session.User):
		return 0, ErrNotForUser
	case r.needsConsent(allowed):
		if quiet {
			return 0, ErrConsentRequired
		}
		return StepConsent, nil
	}
	return StepCode, nil
}

// needsLogin reports whether the session is of another user than the app means, or whether the
// login was too long ago or too weak for the app. After a login that the app demanded, no other is
// asked for: it could not do better.
func (r AuthorizationRequest) needsLogin(session Browser) bool {
	if !r.means(session.User) {
		return true
	}
	if !r.LoginAfter.IsZero() && session.AuthTime.After(r.LoginAfter) {
		return false
	}
	old := r.MaxAge != nil && session.Now.Sub(session.AuthTime) > *r.MaxAge
	return old || r.Wants(PromptLogin) || !r.isReachedBy(session)
}

// isReachedBy reports whether the login of a session is as strong as the app demands.
func (r AuthorizationRequest) isReachedBy(session Browser) bool {
	return r.ACR == "" || token.ReachesACR(acrOf(session.Methods), r.ACR)
}

// means reports whether the app may mean a user. It names one by id_token_hint, or by the value of
// sub that it wants in the ID token (OpenID Connect Core §3.1.2.2).
func (r AuthorizationRequest) means(user User) bool {
	if r.Hint.Subject != uuid.Nil && r.Hint.Subject != user.ID {
		return false
	}
	return len(r.Claims.Subjects) == 0 || slices.Contains(r.Claims.Subjects, user.ID)
}

func (r AuthorizationRequest) needsConsent(allowed []string) bool {
	if r.Wants(PromptConsent) {
		return true
	}
	return r.Client.Ask && (allowed == nil || slices.ContainsFunc(r.Asks(), func(w string) bool {
		return !slices.Contains(allowed, w)
	}))
}

// Decide is [AuthorizationRequest.Next] with what the user has allowed before. An app that a user
// may not enter is recorded.
func (a *Authorizations) Decide(
	ctx context.Context, r AuthorizationRequest, session *Browser,
) (step AuthorizationStep, err error) {
	var allowed []string
	if session != nil && r.Client.Ask {
		allowed, err = a.store.ConsentTo(ctx, session.User.ID, r.Client.ID)
		if err != nil {
			return 0, err
		}
	}
	step, err = r.Next(session, allowed)
	if errors.Is(err, ErrNotForUser) {
		e := newEvent(ctx, Actor{}, ActionIssueCode, uuid.Nil, r.Client.ID).by(session.User.ID)
		a.audit.told(ctx, &e, &err)
	}
	return step, err
}

// Allow stores that a user lets a client have what it asks for.
func (a *Authorizations) Allow(
	ctx context.Context, r AuthorizationRequest, session Browser,
) (err error) {
	e := newEvent(ctx, Actor{}, ActionConsent, uuid.Nil, r.Client.ID).by(session.User.ID)
	defer a.audit.told(ctx, &e, &err)
	if err := a.pace.authorize(session.Access.SessionID, session.User.ID); err != nil {
		return err
	}
	return a.store.PutConsent(ctx, e, session.User.ID, r.Client.ID, r.Asks())
}

// Deny records that a user does not let a client in. It returns [ErrAccessDenied].
func (a *Authorizations) Deny(ctx context.Context, r AuthorizationRequest, session Browser) error {
	e := newEvent(ctx, Actor{}, ActionConsent, uuid.Nil, r.Client.ID).by(session.User.ID)
	err := ErrAccessDenied
	a.audit.told(ctx, &e, &err)
	return err
}

// Issue makes a code, and returns where to send the browser with it. [StepCode] must have been
// decided for the session. Errors: [ErrSessionNotFound] if the session has ended, or if its user,
// the client or what the user allows it has changed meanwhile; [ErrLimited].
func (a *Authorizations) Issue(
	ctx context.Context, r AuthorizationRequest, session Browser,
) (to string, err error) {
	e := newEvent(ctx, Actor{}, ActionIssueCode, uuid.Nil, r.Client.ID).by(session.User.ID)
	defer a.audit.told(ctx, &e, &err)
	if err := a.pace.authorize(session.Access.SessionID, session.User.ID); err != nil {
		return "", err
	}
	code := newCode()
	err = a.store.InsertCode(ctx, e, NewCode{
		Digest: digestOfCode(code), SessionID: session.Access.SessionID,
		UserVersion: session.User.TokenVersion, ClientID: r.Client.ID,
		ClientVersion: r.Client.TokenVersion, RedirectURI: r.RedirectURI,
		Challenge: r.Challenge, Scope: r.Scope, OpenID: strings.Join(r.OpenID, " "),
		Claims: r.Claims.String(), Resources: r.Resources, Nonce: r.Nonce, Asks: r.Asks(),
		Lifetime: codeLifetime,
	})
	if err != nil {
		return "", err
	}
	return a.Answer(r, url.Values{"code": {code}}), nil
}

// Answer returns the redirect URI of a request with an answer in its query: the code, or error and
// error_description (RFC 6749 §4.1.2). The state and the issuer are added (RFC 9207 §2).
func (a *Authorizations) Answer(r AuthorizationRequest, answer url.Values) string {
	answer.Set("iss", a.issuer)
	if r.State != "" {
		answer.Set("state", r.State)
	}
	return withQuery(r.RedirectURI, answer)
}

// withQuery adds parameters to a registered URI, which may have some, and changes nothing else of
// it.
func withQuery(uri string, more url.Values) string {
	separator := "?"
	if strings.Contains(uri, "?") {
		separator = "&"
	}
	return uri + separator + more.Encode()
}

// codePrefix lets scanners for leaked secrets find codes.
const codePrefix = "gha_"

func newCode() string {
	raw := make([]byte, 32)
	rand.Read(raw) // never fails
	return codePrefix + base64.RawURLEncoding.EncodeToString(raw)
}

// digestOfCode needs no salt: nobody can guess 256 random bits.
func digestOfCode(code string) CodeDigest { return sha256.Sum256([]byte(code)) }

// CodeRedemption is what a client brings to get tokens for a code. All of it must be what the code
// was made for.
type CodeRedemption struct {
	Code        string
	RedirectURI string // "": the code came without a browser
	Verifier    string // of RFC 7636; "" only for a code without a challenge
	// Resources are those of the code that the access token is for; nil: all of them.
	Resources []string
}

// mayBeOf reports whether a client could have got such a code. Without a browser a redirect URI
// does not say whose a code is, so the challenge has to.
func (r CodeRedemption) mayBeOf(client Client) bool {
	if r.RedirectURI == "" {
		return client.IsFirstParty() && r.Verifier != ""
	}
	return client.MatchRedirectURI(r.RedirectURI)
}

// RedeemableCode is a CodeRedemption for the store, and the session that it starts.
type RedeemableCode struct {
	Digest      CodeDigest
	RedirectURI string
	Challenge   string // that of the verifier; "": none
	// Resources must be among those of the code. A code without any is for the default one.
	Resources       []string
	DefaultResource string
	Session         NewSession
	// PerParent is how many sessions a client may have through one browser.
	PerParent int
}

// RefusedCode is what became of a code that could not be redeemed.
type RefusedCode struct {
	UserID  uuid.UUID
	Started uuid.UUID // the session that it started; Nil: none
	// HasResources is true if the code is for all the resources that were asked for.
	HasResources bool
}

// RedeemedCode is what a code was made for.
type RedeemedCode struct {
	User      User
	Scope     string
	OpenID    string
	Claims    string
	Resources string
	Nonce     string
	AuthTime  time.Time
	Methods   []string
	ExpiresAt time.Time // of the session
	Now       time.Time
}

// sessionsPerParent is how many sessions a client may have through one browser. One more ends the
// one that was used longest ago.
const sessionsPerParent = 20

var verifiers = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// challengeOf returns the challenge of a verifier (RFC 7636 §4.6).
func challengeOf(verifier string) (string, error) {
	if verifier == "" {
		return "", nil
	}
	if !verifiers.MatchString(verifier) {
		return "", fmt.Errorf("%w: malformed verifier", ErrInvalidCode)
	}
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// Redeem gives a client the tokens for an authorization code (RFC 6749 §4.1.3). A code is good
// once. If it comes again, the session that it started ends (§4.1.2): one of the two who had it has
// stolen it. Errors: [ErrInvalidCode]; [ErrInvalidTarget] for a resource that the code is not for,
// and then the code is not used.
func (t *Tokens) Redeem(
	ctx context.Context, redemption CodeRedemption, caller Caller,
) (grant Grant, err error) {
	// Of a refusal the target is the client: there is no session.
	refusal := newEvent(ctx, Actor{}, ActionRedeemCode, uuid.Nil, caller.Client.ID)
	if caller.Client.Confidential {
		refusal = refusal.byClient(caller.Client.Subject())
	}
	defer t.audit.told(ctx, &refusal, &err)
	challenge, err := challengeOf(redemption.Verifier)
	if err != nil {
		return Grant{}, err
	}
	// Whatever is not registered may not even be text.
	if !strings.HasPrefix(redemption.Code, codePrefix) || !redemption.mayBeOf(caller.Client) {
		return Grant{}, fmt.Errorf("%w: malformed, or for another redirect URI", ErrInvalidCode)
	}
	id, salt := uuid.New(), newSalt()
	e := refusal
	e.Target = id.String()
	code := RedeemableCode{
		Digest:      digestOfCode(redemption.Code),
		RedirectURI: redemption.RedirectURI, Challenge: challenge,
		Resources: redemption.Resources, DefaultResource: t.signer.audience(),
		Session: NewSession{
			ID: id, Salt: salt, Caller: caller.bounded(), Limits: t.limits,
		},
		PerParent: sessionsPerParent,
	}
	redeemed, err := t.store.RedeemCode(ctx, e, code)
	if errors.Is(err, ErrInvalidCode) {
		return Grant{}, t.refusedCode(ctx, &refusal, code, err)
	}
	if err != nil {
		return Grant{}, err
	}
	state := SessionState{
		User: redeemed.User, Client: caller.Client, Salt: salt, Scope: redeemed.Scope,
		OpenID: redeemed.OpenID, Claims: redeemed.Claims, Resources: redeemed.Resources,
		AuthTime: redeemed.AuthTime, Methods: redeemed.Methods, ExpiresAt: redeemed.ExpiresAt,
		Now: redeemed.Now,
	}
	resources, err := resourcesFor(
		caller.Client, redeemed.Resources, redemption.Resources, t.signer.audience(),
	)
	if err != nil {
		return Grant{}, err
	}
	grant, err = t.grant(state, id, redeemed.Scope, resources)
	if err != nil {
		return Grant{}, err
	}
	return t.withIDToken(grant, state, id, redeemed.Nonce)
}

// refusedCode says why a code was refused, and completes the event of that. It ends the session
// that the code has started, if it has started one for this client. The end is an event of its own.
func (t *Tokens) refusedCode(
	ctx context.Context, refusal *Event, code RedeemableCode, refused error,
) error {
	found, err := t.store.RefusedCode(ctx, code)
	switch {
	case errors.Is(err, ErrInvalidCode):
		return refused
	case err != nil:
		return err
	}
	*refusal = refusal.of(found.UserID)
	switch {
	case found.Started == uuid.Nil && !found.HasResources:
		return ErrInvalidTarget
	case found.Started == uuid.Nil:
		return refused
	}
	e := newEvent(ctx, Actor{}, ActionRedeemCode, uuid.Nil, found.Started.String()).by(found.UserID)
	e.Outcome = Outcome(ErrCodeReused)
	ended, err := t.store.EndSession(ctx, e, found.UserID, found.Started, endedByReuse)
	if err != nil {
		return err
	}
	if ended {
		*refusal = Event{}
	}
	return ErrCodeReused
}
