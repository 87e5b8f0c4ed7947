package auth

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// codeRequest is what a program without a browser asks a code for.
type codeRequest struct {
	Scope     string `json:",omitempty"`
	Challenge string `json:",omitempty"` // of RFC 7636
}

// CodeLogin is what a program brings to log a user in without a browser. It is a first step with
// Username and Password, or goes on with a Session. Either may have a Factor.
type CodeLogin struct {
	Username, Password string
	Session            string // what is pending, as [FactorNeededError] has it
	Factor             FactorProof
	Scope              string
	// Challenge and Method are those of RFC 7636. With a Session that has them, they may be left
	// out.
	Challenge, Method string
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
// through. Errors: those of [Logins.Login] and [Logins.ProveFactor]; [ErrAuthorizationRequest];
// [ErrPasswordNeeded] if there is only a name; [ErrPendingLogin] also for what is pending of
// another client or for another request.
func (l *Logins) LoginForCode(
	ctx context.Context, in CodeLogin, caller Caller,
) (CodeGrant, error) {
	asked, err := in.request()
	if err != nil {
		return CodeGrant{}, err
	}
	if in.Session != "" {
		return l.goOnForCode(ctx, in.Session, in.Factor, asked, caller)
	}
	if err := in.checkFirst(); err != nil {
		return CodeGrant{}, err
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

// request reads what the code is asked for. Errors: [ErrAuthorizationRequest], [ErrInvalidScope].
func (in CodeLogin) request() (codeRequest, error) {
	var r AuthorizationRequest
	if in.Challenge != "" || in.Method != "" {
		err := r.parseChallenge(map[string]string{
			"code_challenge": in.Challenge, "code_challenge_method": in.Method,
		})
		if err != nil {
			return codeRequest{}, err
		}
	}
	words := strings.Fields(in.Scope)
	slices.Sort(words)
	scope := strings.Join(slices.Compact(words), " ")
	if len(scope) > maxRights {
		return codeRequest{}, ErrInvalidScope
	}
	return codeRequest{Scope: scope, Challenge: r.Challenge}, nil
}

// checkFirst is what a first step must have. Whoever has no password has to go to a browser,
// whether or not there is such an account.
func (in CodeLogin) checkFirst() error {
	switch {
	case in.Challenge == "":
		return malformed("code_challenge is missing")
	case in.Username == "":
		return malformed("username is missing")
	case in.Password == "":
		return ErrPasswordNeeded
	}
	return nil
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

// with returns the request of a later step, which may leave out what the first step has said, and
// may say nothing else. Errors: [ErrPendingLogin]; [ErrAuthorizationRequest] if no step has said
// it.
func (r codeRequest) with(later codeRequest) (codeRequest, error) {
	switch {
	case r.Challenge == "" && later.Challenge == "":
		return codeRequest{}, malformed("code_challenge is missing")
	case r.Challenge == "":
		return later, nil
	case later.Challenge != "" && later.Challenge != r.Challenge,
		later.Scope != "" && later.Scope != r.Scope:
		return codeRequest{}, ErrPendingLogin
	}
	return r, nil
}

// issueCode gives the code of a proved user. Errors: [ErrNotAdmitted], [ErrInvalidScope],
// [ErrBadCredentials] if the user or the client has changed.
func (l *Logins) issueCode(
	ctx context.Context, e Event, proof Proof, caller Caller, asked codeRequest,
) (CodeGrant, error) {
	client := caller.Client
	if !client.Admits(proof.User) {
		return CodeGrant{}, ErrNotAdmitted
	}
	openid, scope := SplitScope(asked.Scope)
	if client.ID == "" { // nobody is the audience of its ID tokens
		openid = nil
	}
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
		Challenge: asked.Challenge, Scope: scope, OpenID: strings.Join(withoutOffline(openid), " "),
		Lifetime: codeLifetime,
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
