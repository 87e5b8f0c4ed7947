package httpapi

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
)

// mailed lets in whom another guard lets in, if mails are sent here.
func mailed(also guard) guard {
	return func(s *API, c *gin.Context) error {
		if err := also(s, c); err != nil {
			return err
		}
		if !s.mailOn {
			return edge.ErrMailOff
		}
		return nil
	}
}

type challengeResponse struct {
	Challenge uuid.UUID `json:"challenge"`
}

// postPasswordForgot answers everybody alike, and has a mail sent to whoever owns the account.
func (s *API) postPasswordForgot(c *gin.Context) error {
	var in struct {
		Login     *string `json:"login"`
		Challenge *string `json:"challenge"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	challenge, err := s.forgotten(c, in.Login, in.Challenge)
	if err != nil {
		return err
	}
	writeJSON(c, http.StatusAccepted, "application/json", challengeResponse{challenge})
	return nil
}

// forgotten has a mail sent to whoever a login is of, or whoever an earlier mail was for.
func (s *API) forgotten(c *gin.Context, login, of *string) (challenge uuid.UUID, err error) {
	ctx, language, caller := c.Request.Context(), s.languageFor(c), callerOf(c)
	if of == nil {
		if err := required(member{"login", login}); err != nil {
			return uuid.Nil, err
		}
		return s.Recovery.Forgot(ctx, *login, language, caller)
	}
	if login != nil {
		return uuid.Nil, auth.InputError{{Field: "challenge", Message: "goes without login"}}
	}
	if challenge, err = challengeOf(*of); err != nil {
		return uuid.Nil, err
	}
	return s.Recovery.ForgotAgain(ctx, challenge, language, caller)
}

// postPasswordReset sets the password of whoever has the link or the code of a mail.
func (s *API) postPasswordReset(c *gin.Context) error {
	var in struct {
		proofMembers
		New *string `json:"new_password"`
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
	user, err := s.Recovery.Reset(c.Request.Context(), proof, *in.New, callerOf(c))
	if err == nil {
		edge.NoteOf(c).UserID = user.ID.String()
	}
	return done(c, err)
}

// proofMembers are the members of a request that prove to read a mail.
type proofMembers struct {
	Token     *string `json:"token"`
	Challenge *string `json:"challenge"`
	Code      *string `json:"code"`
}

// proof is the token of a link, or a challenge with its code. Of both together it would not be
// clear which one is meant. Errors: [auth.InputError].
func (p proofMembers) proof() (auth.ChallengeProof, error) {
	switch {
	case p.Token != nil && (p.Challenge != nil || p.Code != nil):
		return auth.ChallengeProof{}, auth.InputError{{Field: "token",
			Message: "goes with neither challenge nor code"}}
	case p.Token != nil:
		return auth.ChallengeProof{Token: *p.Token}, nil
	case p.Challenge == nil && p.Code == nil:
		return auth.ChallengeProof{}, auth.InputError{{Field: "token",
			Message: "is required, or challenge and code"}}
	}
	if err := required(member{"challenge", p.Challenge}, member{"code", p.Code}); err != nil {
		return auth.ChallengeProof{}, err
	}
	id, err := challengeOf(*p.Challenge)
	return auth.ChallengeProof{Challenge: id, Code: *p.Code}, err
}

// challengeOf reads a challenge. Errors: [auth.InputError].
func challengeOf(given string) (uuid.UUID, error) {
	id, err := uuid.Parse(given)
	if err != nil || len(given) != len(id.String()) { // uuid.Parse takes other notations too
		return uuid.Nil, auth.InputError{{Field: "challenge",
			Message: "is none that a request was answered with"}}
	}
	return id, nil
}

// postUserPasswordReset has a mail sent to a user, with which they can set another password.
func (s *API) postUserPasswordReset(c *gin.Context, id uuid.UUID) error {
	_, err := s.Recovery.Send(c.Request.Context(), actorOf(c), auth.ByID(id), s.languageFor(c))
	if err == nil {
		c.Status(http.StatusAccepted)
	}
	return err
}
