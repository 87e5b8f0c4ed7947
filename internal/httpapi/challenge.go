package httpapi

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
)

// passkeyNeeded is an [auth.FactorNeededError] of a user who has passkeys.
type passkeyNeeded struct {
	error
	options []byte // for the authenticator
}

func (e *passkeyNeeded) Unwrap() error { return e.error }

// postAuthorizeChallenge is the authorization challenge endpoint
// (draft-ietf-oauth-first-party-apps §5).
func (s *API) postAuthorizeChallenge(c *gin.Context) error {
	ctx, client, form := c.Request.Context(), oauthClientOf(c), formOf(c)
	// Nobody has registered a program that may see passwords.
	if client.ID == "" && !s.passwordGrantOn {
		return s.refusePassword(c, auth.ActionLogin)
	}
	if err := s.Clients.CheckFirstParty(ctx, client); err != nil {
		return err
	}
	grant, err := s.Logins.LoginForCode(ctx, auth.CodeLogin{
		Username: form["username"], Password: form["password"], Session: form["auth_session"],
		Factor:  auth.FactorProof{Code: form["otp"], Passkey: []byte(form["passkey"])},
		Request: form,
	}, loginCallerOf(c))
	s.edge.CountLogin(err)
	if err != nil {
		return s.challenged(c, err)
	}
	edge.NoteOf(c).UserID = grant.User.ID.String()
	if grant.Device != "" { // it goes to a program, which keeps no cookies
		c.Header(deviceHeader, grant.Device)
	}
	writeJSON(c, http.StatusOK, "application/json", struct {
		Code string `json:"authorization_code"`
	}{grant.Code})
	return nil
}

// challenged gives an error the name and the status that it has at this endpoint (§5.2.2).
func (s *API) challenged(c *gin.Context, err error) error {
	for _, onPages := range []error{
		auth.ErrFactorEnrol, auth.ErrMustChangePassword, auth.ErrAddressUnverified,
		auth.ErrPasswordNeeded,
	} {
		if errors.Is(err, onPages) {
			return edge.As(err, edge.Answer{Status: http.StatusForbidden, OAuth: "redirect_to_web",
				Detail: "Log in in a browser: " + s.edge.Issuer() + "/login"})
		}
	}
	if errors.Is(err, auth.ErrBadCredentials) {
		return edge.As(err, edge.Answer{Status: http.StatusBadRequest, OAuth: "invalid_grant",
			Detail: "Incorrect username or password"})
	}
	needed, ok := errors.AsType[*auth.FactorNeededError](err)
	if !ok {
		return err
	}
	err = edge.As(err, edge.Answer{Status: http.StatusForbidden, OAuth: "insufficient_authorization",
		Detail: "The second factor must be proved as well"})
	if needed.Factors.Passkeys == 0 {
		return err
	}
	options, asked := s.Logins.PasskeyOptionsForCode(c.Request.Context(), needed.Pending,
		oauthClientOf(c))
	switch {
	case errors.Is(asked, auth.ErrPasskeyNotFound): // another factor may do
		return err
	case asked != nil:
		return asked
	}
	return &passkeyNeeded{err, options}
}
