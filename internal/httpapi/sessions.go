package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gatehouse/internal/auth"
)

// sessionsPage is how many sessions one answer has at most.
const sessionsPage = 50

type sessionsResponse struct {
	Sessions []sessionBody `json:"sessions"`
	Next     *uuid.UUID    `json:"next"` // to be given as before, or null on the last page
}

type sessionBody struct {
	ID            uuid.UUID `json:"id"`
	Current       bool      `json:"current"`
	CreatedAt     time.Time `json:"created_at"`
	LastUsedAt    time.Time `json:"last_used_at"`
	ExpiresAt     time.Time `json:"expires_at"` // if it is not refreshed
	ClientAddress string    `json:"client_address"`
	UserAgent     string    `json:"user_agent"`
}

// getSessions shows where the user is logged in.
func (s *server) getSessions(c *gin.Context) error { return s.listSessions(c, accessOf(c).UserID) }

func (s *server) listSessions(c *gin.Context, userID uuid.UUID) error {
	before := uuid.Max
	if given, ok := c.GetQuery("before"); ok {
		var err error
		if before, err = uuid.Parse(given); err != nil {
			return auth.InputError{{Field: "before", Message: "is not from an earlier answer"}}
		}
	}
	sessions, err := s.service.Sessions(c.Request.Context(), userID, before, sessionsPage)
	if err != nil {
		return err
	}
	out := sessionsResponse{Sessions: make([]sessionBody, len(sessions))}
	for n, session := range sessions {
		out.Sessions[n] = sessionBody{
			ID: session.ID, Current: session.ID == accessOf(c).SessionID, CreatedAt: session.CreatedAt.UTC(),
			LastUsedAt: session.LastUsedAt.UTC(), ExpiresAt: session.IdleExpiresAt.UTC(),
			ClientAddress: session.Client.Address, UserAgent: session.Client.UserAgent,
		}
	}
	if len(sessions) == sessionsPage {
		out.Next = &sessions[sessionsPage-1].ID
	}
	writeJSON(c, http.StatusOK, "application/json", out)
	return nil
}

// deleteSession ends one session. Another user's does not exist.
func (s *server) deleteSession(c *gin.Context) error {
	id, err := uuid.Parse(c.Param("id"))
	if err != nil {
		return auth.ErrSessionNotFound
	}
	if err := s.service.EndSession(c.Request.Context(), accessOf(c).UserID, id); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

// deleteSessions ends all other sessions, and with ?all=true this one too.
func (s *server) deleteSessions(c *gin.Context) error {
	keep := accessOf(c).SessionID
	if given, ok := c.GetQuery("all"); ok {
		all, err := strconv.ParseBool(given)
		if err != nil {
			return auth.InputError{{Field: "all", Message: "must be true or false"}}
		}
		if all {
			keep = uuid.Nil
		}
	}
	if err := s.service.EndSessions(c.Request.Context(), accessOf(c).UserID, keep); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

// postLogout ends the session of the access token in the header or, without one, of the refresh token in the form. To
// end what is over already is no error.
func (s *server) postLogout(c *gin.Context) error {
	if err := s.logout(c); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

func (s *server) logout(c *gin.Context) error {
	if c.GetHeader("Authorization") != "" {
		if err := accessToken(s, c); err != nil {
			return err
		}
		return s.service.Logout(c.Request.Context(), accessOf(c))
	}
	if c.GetHeader("Content-Type") == "" {
		return errNoToken
	}
	form, err := readForm(c)
	if err != nil {
		return err
	}
	if form["refresh_token"] == "" {
		return errNoToken
	}
	return s.service.LogoutByRefresh(c.Request.Context(), form["refresh_token"])
}

// putPassword replaces the user's password.
func (s *server) putPassword(c *gin.Context) error {
	c.Header("Pragma", "no-cache")
	var in struct {
		Current *string `json:"current_password"`
		New     *string `json:"new_password"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if err := required(member{"current_password", in.Current}, member{"new_password", in.New}); err != nil {
		return err
	}
	grant, err := s.service.ChangePassword(c.Request.Context(), accessOf(c), *in.Current, *in.New)
	return writeGrant(c, grant, err)
}
