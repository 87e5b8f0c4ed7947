package httpapi

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/wire"
)

type invitationResponse struct {
	User wire.User `json:"user"`
	// Challenge is for whoever types the code of the mail.
	Challenge uuid.UUID `json:"challenge"`
}

// postUserInvitation makes an account for somebody at an address, who gets a mail.
func (s *API) postUserInvitation(c *gin.Context) error {
	var in struct {
		Email    *string  `json:"email"`
		Username *string  `json:"username"`
		Roles    []string `json:"roles"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if err := required(member{"email", in.Email}); err != nil {
		return err
	}
	n := auth.NewInvitation{Email: *in.Email, Roles: in.Roles}
	if in.Username != nil {
		if n.Username = *in.Username; n.Username == "" {
			return auth.InputError{{Field: "username", Message: "must not be empty"}}
		}
	}
	user, challenge, err := s.Invitations.Invite(c.Request.Context(), actorOf(c), n)
	if err != nil {
		return err
	}
	writeJSON(c, http.StatusAccepted, "application/json",
		invitationResponse{wire.UserOf(user), challenge})
	return nil
}

// postInvitationAccept sets the password of somebody who was invited, and has the link or the code
// of the mail.
func (s *API) postInvitationAccept(c *gin.Context) error {
	var in struct {
		proofMembers
		Username *string `json:"username"`
		New      *string `json:"new_password"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if err := required(member{"new_password", in.New}); err != nil {
		return err
	}
	proof, err := in.proof()
	if err != nil {
		return err
	}
	username := ""
	if in.Username != nil {
		username = *in.Username
	}
	user, err := s.Invitations.Accept(c.Request.Context(), proof, username, *in.New, callerOf(c))
	if err == nil {
		edge.NoteOf(c).UserID = user.ID.String()
	}
	return done(c, err)
}
