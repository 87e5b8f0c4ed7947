package httpapi

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/wire"
)

// sessionsPage is how many sessions one answer has at most.
const sessionsPage = 50

type sessionsResponse struct {
	Sessions []wire.Session `json:"sessions"`
	Next     *uuid.UUID     `json:"next"` // the before of the next page; null on the last page
}

// getSessions lists the user's sessions, as far as the token reaches.
func (s *API) getSessions(c *gin.Context) error { return s.listSessions(c, reachOf(c)) }

func (s *API) listSessions(c *gin.Context, reach auth.Reach) error {
	before := uuid.Max
	if given, ok := c.GetQuery("before"); ok {
		var err error
		if before, err = uuid.Parse(given); err != nil {
			return auth.InputError{{Field: "before", Message: "is not from an earlier answer"}}
		}
	}
	page, err := auth.ReadPage(sessionsPage, func(limit int) ([]auth.Session, error) {
		return s.Sessions.List(c.Request.Context(), reach, before, limit)
	})
	if errors.Is(err, auth.ErrSessionNotFound) {
		return auth.InputError{{Field: "before", Message: "is not from an earlier answer"}}
	}
	if err != nil {
		return err
	}
	out := sessionsResponse{Sessions: make([]wire.Session, len(page.Items))}
	for n, session := range page.Items {
		session = session.Blunted(s.clock()) // the address, the program and the last use
		out.Sessions[n] = wire.SessionOf(session)
		out.Sessions[n].Current = new(session.ID == accessOf(c).SessionID)
	}
	if last := page.Last(); last != nil {
		out.Next = &last.ID
	}
	writeJSON(c, http.StatusOK, "application/json", out)
	return nil
}

// deleteSession ends one session. To the caller, a session beyond the token's reach does not exist.
func (s *API) deleteSession(c *gin.Context) error {
	id, err := uuid.Parse(c.Param("id"))
	if err != nil {
		return auth.ErrSessionNotFound
	}
	return done(c, s.Sessions.End(c.Request.Context(), reachOf(c), id))
}

// deleteSessions ends all other sessions. With ?all=true it ends this one too.
func (s *API) deleteSessions(c *gin.Context) error {
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
	return done(c, s.Sessions.EndAll(c.Request.Context(), reachOf(c), keep))
}

// postLogout ends the session of the access token in the header. Without one, it ends that of the
// refresh token in the form, if the token belongs to the client that sends it. To log out twice is
// no error.
func (s *API) postLogout(c *gin.Context) error { return done(c, s.logout(c)) }

func (s *API) logout(c *gin.Context) error {
	if header := c.GetHeader("Authorization"); header != "" && !isBasic(header) {
		if err := accessToken(s, c); err != nil {
			return err
		}
		return s.Sessions.Logout(c.Request.Context(), accessOf(c))
	}
	if c.GetHeader("Content-Type") == "" {
		return edge.ErrNoToken
	}
	if err := client(s, c); err != nil {
		return err
	}
	raw := formOf(c)["refresh_token"]
	if raw == "" {
		return edge.ErrNoToken
	}
	return s.Tokens.LogoutByRefresh(c.Request.Context(), oauthClientOf(c), raw)
}

// putPassword replaces the user's password.
func (s *API) putPassword(c *gin.Context) error {
	c.Header("Pragma", "no-cache")
	var in struct {
		Current *string `json:"current_password"`
		New     *string `json:"new_password"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if err := required(member{"current_password", in.Current},
		member{"new_password", in.New}); err != nil {
		return err
	}
	grant, err := s.Logins.ChangePassword(c.Request.Context(), accessOf(c), *in.Current, *in.New)
	s.setDevice(c, grant)
	return writeGrant(c, grant, err)
}
