package auth

import (
	"context"
	"errors"
	"slices"
	"strings"

	"gatehouse.example/internal/token"
)

// codeRequest is what a program without a browser asks a code for.
type codeRequest struct {
	Challenge string `json:",omitempty"` // of RFC 7636
	Scope     string `json:",omitempty"`
	OpenID    string `json:",omitempty"`
	Claims    string `json:",omitempty"`
	Resources string `json:",omitempty"`
	Nonce     string `json:",omitempty"`
	ACR       string `json:",omitempty"`
}

// CodeLogin is what a program brings to log a user in without a browser. It is a first step with
// Username and Password, or goes on with a Session. Either may have a Factor.
type CodeLogin struct {
	Username, Password string
	Session            string // what is pending, as [FactorNeededError] has it
	Factor             FactorProof
	// Request has parameters of the authorization endpoint. With a Session, what an earlier step
	// has said may be left out.
	Request map[string]string
}

// CodeGrant is what a login without a browser gives.
type CodeGrant struct {
	User User
	Code string
	// Device is as in [Grant].
	Device, DeviceName string
}

// LoginForCode logs a user in, and gives the program a code in place of tokens
// (draft-ietf-oauth-first-party-apps). The client must be one that [Clients.CheckFirstParty] lets
// through. Errors: those of [Logins.Login], of [Logins.ProveFactor] and of [Authorizations.Parse]
// but for those of a redirect URI; [ErrPasswordNeeded] if there is only a name; [ErrPendingLogin]
// also for what is pending of another client or for another request.
func (l *Logins) LoginForCode(
	ctx context.Context, in CodeLogin, caller Caller,
) (CodeGrant, error) {
	asked, err := in.request(caller.Client)
	if err != nil {
		return CodeGrant{}, err
	}
	if in.Session != "" {
		return l.goOnForCode(ctx, in.Session, in.Factor, asked, caller)
	}
	switch {
	case in.Username == "":
		return CodeGrant{}, malformed("username is missing")
	case in.Password == "": // whether or not there is such an account
		return CodeGrant{}, ErrPasswordNeeded
	}
	kind := programOf(caller)
	kind.codeRequest = asked
	grant, err := loggedIn(ctx, l, in.Username, in.Password, caller, kind, false,
		func(e Event, proof Proof) (CodeGrant, error) {
			return l.issueCode(ctx, e, proof, caller, asked)
		})
	needed, ok := errors.AsType[*FactorNeededError](err)
	if !ok || needed.Enrol || in.Factor.isNone() {
		return grant, err
	}
	return l.goOnForCode(ctx, needed.Pending, in.Factor, asked, caller)
}

// request reads what the code is asked for. What concerns a browser means nothing here, and is left
// out (draft-ietf-oauth-first-party-apps §4.1).
func (in CodeLogin) request(client Client) (codeRequest, error) {
	parameters := map[string][]string{"response_type": {"code"}}
	for _, name := range []string{
		"response_type", "code_challenge", "code_challenge_method", "scope", "nonce", "claims",
		"acr_values", "request", "request_uri", "registration",
	} {
		if value := in.Request[name]; value != "" {
			parameters[name] = []string{value}
		}
	}
	if resources := strings.Fields(in.Request["resource"]); len(resources) > 0 {
		parameters["resource"] = resources
	}
	client.WithoutPKCE = in.Session != "" // an earlier step has the challenge
	r := AuthorizationRequest{Client: client}
	if err := r.parse(parameters, nil); err != nil {
		return codeRequest{}, err
	}
	if r.Claims.Subjects != nil {
		return codeRequest{}, malformed("claims must name no user: username does")
	}
	if client.ID == "" { // nobody is the audience of its ID tokens
		r.OpenID = nil
	}
	return codeRequest{
		Challenge: r.Challenge, Scope: r.Scope, OpenID: strings.Join(withoutOffline(r.OpenID), " "),
		Claims: r.Claims.String(), Resources: r.Resources, Nonce: r.Nonce, ACR: r.ACR,
	}, nil
}

func (p FactorProof) isNone() bool { return p.Code == "" && len(p.Passkey) == 0 }

// goOnForCode is the step that proves a second factor. Without one it says again what is needed,
// and changes nothing. What is pending of a password that was sent for tokens is not yet for any
// request.
func (l *Logins) goOnForCode(
	ctx context.Context, pending string, factor FactorProof, asked codeRequest, caller Caller,
) (CodeGrant, error) {
	p, err := l.pending.open(pending, false, caller.Client)
	if err != nil {
		return CodeGrant{}, err
	}
	if asked, err = p.codeRequest.with(asked); err != nil {
		return CodeGrant{}, err
	}
	if factor.isNone() {
		user, err := l.pendingUser(ctx, p)
		if err != nil {
			return CodeGrant{}, err
		}
		return CodeGrant{}, &FactorNeededError{
			Pending: pending, Username: user.Username, Factors: user.Factors,
			Enrol: !user.Factors.Any(),
		}
	}
	return factorProved(ctx, l, p, factor, caller,
		func(e Event, proof Proof) (CodeGrant, error) {
			return l.issueCode(ctx, e, proof, caller, asked)
		})
}

// with returns the request of a later step, which may leave out what an earlier one has said, and
// may say nothing else. Errors: [ErrPendingLogin]; [ErrAuthorizationRequest] if no step has a
// challenge.
func (r codeRequest) with(later codeRequest) (codeRequest, error) {
	switch {
	case r.Challenge == "" && later.Challenge == "":
		return codeRequest{}, malformed("code_challenge is missing")
	case r.Challenge == "":
		return later, nil
	}
	for _, said := range [][2]string{
		{r.Challenge, later.Challenge}, {r.Scope, later.Scope}, {r.OpenID, later.OpenID},
		{r.Claims, later.Claims}, {r.Resources, later.Resources}, {r.Nonce, later.Nonce},
		{r.ACR, later.ACR},
	} {
		if said[1] != "" && said[1] != said[0] {
			return codeRequest{}, ErrPendingLogin
		}
	}
	return r, nil
}

// issueCode gives the code of a proved user. Errors: [ErrNotAdmitted], [ErrUnmetRequirements],
// [ErrInvalidScope], [ErrBadCredentials] if the user or the client has changed.
func (l *Logins) issueCode(
	ctx context.Context, e Event, proof Proof, caller Caller, asked codeRequest,
) (CodeGrant, error) {
	client := caller.Client
	if !client.Admits(proof.User) {
		return CodeGrant{}, ErrNotAdmitted
	}
	if asked.ACR != "" && !token.ReachesACR(acrOf(proof.Methods), asked.ACR) {
		return CodeGrant{}, ErrUnmetRequirements
	}
	scope := asked.Scope
	if scope != "" {
		var err error
		if scope, err = checkScope(
			client.narrowed(scopeOf(proof.Permissions)), scope,
		); err != nil {
			return CodeGrant{}, err
		}
	}
	if err := l.rehash(ctx, proof); err != nil {
		return CodeGrant{}, err
	}
	issued := newEvent(ctx, Actor{}, ActionIssueCode, e.UserID, client.PublicID()).by(proof.ID)
	issued.Mails = e.Mails
	code := newCode()
	err := l.store.InsertProvedCode(ctx, issued, NewCode{
		Digest: digestOfCode(code), UserID: proof.ID, UserVersion: proof.TokenVersion,
		Methods: proof.Methods, ClientID: client.ID, ClientVersion: client.TokenVersion,
		Challenge: asked.Challenge, Scope: scope, OpenID: asked.OpenID, Claims: asked.Claims,
		Resources: asked.Resources, Nonce: asked.Nonce, Lifetime: codeLifetime,
	})
	if errors.Is(err, ErrUserNotFound) {
		return CodeGrant{}, l.superseded(ctx, proof.User)
	}
	if err != nil {
		return CodeGrant{}, err
	}
	grant := CodeGrant{User: proof.User, Code: code}
	grant.Device, grant.DeviceName = l.limits.deviceFor(proof.User, caller)
	return grant, nil
}

// withoutOffline leaves out what means nothing without a browser: no session of one ends the app's.
func withoutOffline(openid []string) []string {
	return slices.DeleteFunc(openid, func(word string) bool { return word == ScopeOfflineAccess })
}
