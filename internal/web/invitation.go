package web

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/web/pages"
)

// getInvitation shows a form. It changes nothing and names nobody: what opens the links of mails
// may be a scanner on their way.
func (w *Web) getInvitation(c *gin.Context) error {
	page, err := w.invitationPage(c)
	if err != nil {
		return w.badInvitation(c, err)
	}
	return w.render(c, page, destination{})
}

func (w *Web) invitationPage(c *gin.Context) (pages.Invitation, error) {
	token := c.Param("token")
	needsName, err := w.Invitations.Asked(c.Request.Context(), token)
	return pages.Invitation{
		Token: token, NeedsName: needsName, MinLength: w.minPasswordLength,
	}, err
}

// badInvitation says what to do about a link that is not good any more.
func (w *Web) badInvitation(c *gin.Context, err error) error {
	if !errors.Is(err, auth.ErrInvalidChallenge) {
		return err
	}
	page := w.errorPage(c, http.StatusBadRequest, err)
	page.Why = pages.FaultBadInvitation
	return &again{page, destination{}, err}
}

// postInvitation sets the password of whoever has the link of an invitation. They log in next, so
// that a browser with a store of passwords learns the new one by that.
func (w *Web) postInvitation(c *gin.Context) error {
	form := formOf(c)
	user, err := w.Invitations.Accept(c.Request.Context(),
		auth.ChallengeProof{Token: c.Param("token")}, form[pages.UsernameField],
		form[pages.NewField], edge.CallerOf(c))
	switch {
	case errors.Is(err, auth.ErrInvalidChallenge):
		return w.badInvitation(c, err)
	case err != nil && isTold(err):
		page, gone := w.invitationPage(c)
		if gone != nil {
			return w.badInvitation(c, gone)
		}
		page.Username, page.Failure = form[pages.UsernameField], failureOf(err)
		page.UsernameProblem = w.usernameProblem(err)
		page.NewProblem = w.newPasswordProblem(c, err, pages.NewField)
		return &again{page, destination{}, err}
	case err != nil:
		return err
	}
	edge.NoteOf(c).UserID = user.ID.String()
	return w.redirect(c, w.with(pages.LoginPath, destination{}, url.Values{
		pages.UsernameField: {user.LoginName()}, noticeField: {string(pages.NoticeRegistered)},
	}))
}

// closed says that only those may register who were invited, where that is so.
func (w *Web) closed(c *gin.Context, err error) error {
	if !w.invitedOnly || !errors.Is(err, auth.ErrRegistrationClosed) {
		return err
	}
	page := w.errorPage(c, http.StatusForbidden, err)
	page.Why = pages.FaultInvitedOnly
	return &again{page, destination{}, err}
}
