package httpapi

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
)

// postEmailVerify makes an address that of the account whose user proves to read its mail. The user
// shows to be that by an access token of the account, or by its password.
func (s *API) postEmailVerify(c *gin.Context) error {
	var in struct {
		proofMembers
		Password *string `json:"password"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	proof, err := in.proof()
	if err != nil {
		return err
	}
	by := auth.Confirmer{}
	if in.Password != nil {
		by.Password = *in.Password
	}
	if c.GetHeader("Authorization") != "" {
		if err := accessToken(s, c); err != nil {
			return err
		}
		access := accessOf(c)
		by.Access = &access
	}
	return done(c, s.Addresses.Verify(c.Request.Context(), proof, by, s.languageFor(c), callerOf(c)))
}

// postEmailResend has another mail sent: to the address of a registration, by its challenge, or to
// that which the user of an access token wants to have.
func (s *API) postEmailResend(c *gin.Context) error {
	var in struct {
		Challenge *string `json:"challenge"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	ctx, language, caller := c.Request.Context(), s.languageFor(c), callerOf(c)
	var challenge uuid.UUID
	if in.Challenge != nil {
		of, err := challengeOf(*in.Challenge)
		if err != nil {
			return err
		}
		challenge, err = s.Addresses.ResendOf(ctx, of, language, caller)
		if err != nil {
			return err
		}
	} else {
		err := accessToken(s, c)
		if err == nil {
			challenge, err = s.Addresses.Resend(ctx, accessOf(c), language, caller)
		}
		if err != nil {
			return err
		}
	}
	writeJSON(c, http.StatusAccepted, "application/json", challengeResponse{challenge})
	return nil
}

// postEmailUndo brings an address of before back.
func (s *API) postEmailUndo(c *gin.Context) error {
	var in struct {
		Token *string `json:"token"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if err := required(member{"token", in.Token}); err != nil {
		return err
	}
	return done(c, s.Addresses.Undo(c.Request.Context(), *in.Token, callerOf(c)))
}

// putEmail has a mail sent to the address that the user wants to have.
func (s *API) putEmail(c *gin.Context) error {
	var in struct {
		Email   *string `json:"email"`
		Current *string `json:"current_password"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	err := required(member{"email", in.Email}, member{"current_password", in.Current})
	if err != nil {
		return err
	}
	challenge, err := s.Addresses.Change(c.Request.Context(), accessOf(c), *in.Email, *in.Current,
		s.languageFor(c))
	if err != nil {
		return err
	}
	writeJSON(c, http.StatusAccepted, "application/json", challengeResponse{challenge})
	return nil
}

// deleteEmail takes the address of the user, who has to show the password.
func (s *API) deleteEmail(c *gin.Context) error {
	var in struct {
		Current *string `json:"current_password"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if err := required(member{"current_password", in.Current}); err != nil {
		return err
	}
	return done(c, s.Addresses.Remove(c.Request.Context(), accessOf(c), *in.Current, s.languageFor(c)))
}
