package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/wire"
)

const (
	defaultPage = 50
	maxPage     = 200
)

type usersResponse struct {
	Users []wire.User `json:"users"`
	Next  *string     `json:"next"` // the cursor of the next page; null on the last page
}

// getUsers finds users, in the order of their names. An account that comes or goes between two
// pages neither hides nor repeats another one.
func (s *API) getUsers(c *gin.Context) error {
	filter, limit, err := usersQuery(c)
	if err != nil {
		return err
	}
	asked := []string{"q", "disabled", "role"}
	if filter.Email != "" { // the version before, which makes cursors too, does not know it
		asked = append(asked, "email")
	}
	question := questionOf(c, "users", asked...)
	after, err := s.openCursor(c, question)
	if err != nil {
		return err
	}
	page, err := auth.ReadPage(limit, func(limit int) ([]auth.User, error) {
		return s.Accounts.List(c.Request.Context(), filter, after, limit)
	})
	if err != nil {
		return err
	}
	out := usersResponse{Users: make([]wire.User, len(page.Items))}
	for n, user := range page.Items {
		out.Users[n] = wire.UserOf(user)
	}
	if last := page.Last(); last != nil {
		next := s.cursors.Make(s.clock(), question, last.Username.Key)
		out.Next = &next
	}
	writeJSON(c, http.StatusOK, "application/json", out)
	return nil
}

// questionOf is the question that a cursor belongs to: this list, these parameters, this user. A
// cursor opens for its own question alone.
func questionOf(c *gin.Context, list string, parameters ...string) string {
	parts := []string{list, actorOf(c).ID.String()}
	for _, name := range parameters {
		parts = append(parts, c.Query(name))
	}
	return strings.Join(parts, "\x00")
}

// openCursor returns the position in the request's cursor, or "" if there is no cursor.
func (s *API) openCursor(c *gin.Context, question string) (position string, err error) {
	cursor, ok := c.GetQuery("cursor")
	if !ok {
		return "", nil
	}
	if position, err = s.cursors.Open(s.clock(), question, cursor); err != nil {
		return "", edge.ErrBadCursor
	}
	return position, nil
}

// pageLimit returns how many entries the request wants in a page. A wrong limit is added to wrong.
func pageLimit(c *gin.Context, wrong *auth.InputError) int {
	given, ok := c.GetQuery("limit")
	if !ok {
		return defaultPage
	}
	limit, err := strconv.Atoi(given)
	if err != nil || limit < 1 || limit > maxPage {
		*wrong = append(*wrong,
			auth.FieldError{Field: "limit", Message: "must be from 1 to " + strconv.Itoa(maxPage)})
	}
	return limit
}

// isText reports whether PostgreSQL can store s as text: it is UTF-8 without NUL.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

func usersQuery(c *gin.Context) (filter auth.UserFilter, limit int, err error) {
	var wrong auth.InputError
	limit = pageLimit(c, &wrong)
	if given, ok := c.GetQuery("disabled"); ok {
		if given != "true" && given != "false" {
			wrong = append(wrong,
				auth.FieldError{Field: "disabled", Message: "must be true or false"})
		}
		disabled := given == "true"
		filter.Disabled = &disabled
	}
	filter.Prefix, filter.Role, filter.Email = c.Query("q"), c.Query("role"), c.Query("email")
	if !isText(filter.Role) {
		wrong = append(wrong, auth.FieldError{Field: "role", Message: "is no name of a role"})
	}
	if wrong != nil {
		return filter, 0, wrong
	}
	return filter, limit, nil
}

// userID returns the user's id in the path. A malformed id belongs to no user:
// [auth.ErrUserNotFound].
func userID(c *gin.Context) (uuid.UUID, error) {
	raw := c.Param("id")
	id, err := uuid.Parse(raw)
	if err != nil || len(raw) != len(uuid.Nil.String()) { // uuid.Parse takes other notations too
		return uuid.Nil, auth.ErrUserNotFound
	}
	return id, nil
}

func userTag(u auth.User) string {
	return `"` + strconv.FormatInt(u.UpdatedAt.UnixMicro(), 36) + `"`
}

// ofUser passes the user's id in the path to a handler.
func ofUser(handle func(*gin.Context, uuid.UUID) error) edge.Handler {
	return func(c *gin.Context) error {
		id, err := userID(c)
		if err != nil {
			return err
		}
		return handle(c, id)
	}
}

// ifMatch reports whether the request's If-Match names the tag (RFC 9110 §13.1.1).
func ifMatch(c *gin.Context, tag string) bool {
	for one := range strings.SplitSeq(strings.Join(c.Request.Header.Values("If-Match"), ","), ",") {
		if one = strings.TrimSpace(one); one == tag || one == "*" {
			return true
		}
	}
	return false
}

// getUser answers with one user.
func (s *API) getUser(c *gin.Context, id uuid.UUID) error {
	user, err := s.Accounts.Find(c.Request.Context(), auth.ByID(id))
	return writeTagged(c, user, err)
}

func writeTagged(c *gin.Context, user auth.User, err error) error {
	if err != nil {
		return err
	}
	c.Header("ETag", userTag(user))
	writeUser(c, http.StatusOK, userResponse{User: wire.UserOf(user)})
	return nil
}

// patchUser disables or enables a user, or requires a new password from them. A request does one of
// these, so none is done by half.
func (s *API) patchUser(c *gin.Context) error {
	var in struct {
		Disabled           *bool `json:"disabled"`
		MustChangePassword *bool `json:"must_change_password"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	switch {
	case in.Disabled == nil && in.MustChangePassword == nil:
		return auth.InputError{{Field: "disabled", Message: "is required, or must_change_password"}}
	case in.Disabled != nil && in.MustChangePassword != nil:
		return auth.InputError{{Field: "must_change_password",
			Message: "does not go with disabled: send two requests"}}
	// false would turn an initial secret into a lasting password
	case in.MustChangePassword != nil && !*in.MustChangePassword:
		return auth.InputError{{Field: "must_change_password",
			Message: "must be true: it ends with the user's change of the password"}}
	}
	id, err := userID(c)
	if err != nil {
		return err
	}
	var asSeen func(auth.User) bool
	if len(c.Request.Header.Values("If-Match")) > 0 {
		asSeen = func(u auth.User) bool { return ifMatch(c, userTag(u)) }
	}
	change := s.Accounts.Enable
	switch {
	case in.MustChangePassword != nil:
		change = s.Accounts.RequirePasswordChange
	case *in.Disabled:
		change = s.Accounts.Disable
	}
	user, err := change(c.Request.Context(), actorOf(c), auth.ByID(id), asSeen)
	return writeTagged(c, user, err)
}

// deleteUser removes a user for good.
func (s *API) deleteUser(c *gin.Context, id uuid.UUID) error {
	return done(c, s.Accounts.Delete(c.Request.Context(), actorOf(c), id))
}

// postUserUnlock forgets the failed logins of a user.
func (s *API) postUserUnlock(c *gin.Context, id uuid.UUID) error {
	_, err := s.Limits.Unlock(c.Request.Context(), actorOf(c), auth.ByID(id))
	return done(c, err)
}

// postFactorsReset takes all that a user proves besides the password.
func (s *API) postFactorsReset(c *gin.Context, id uuid.UUID) error {
	user, err := s.Accounts.ResetFactors(c.Request.Context(), actorOf(c), auth.ByID(id))
	return writeTagged(c, user, err)
}

// putUserRole gives a user a role.
func (s *API) putUserRole(c *gin.Context, id uuid.UUID) error {
	return done(c, s.Roles.Grant(c.Request.Context(), actorOf(c), id, c.Param("role")))
}

// deleteUserRole takes a role from a user.
func (s *API) deleteUserRole(c *gin.Context, id uuid.UUID) error {
	return done(c, s.Roles.Revoke(c.Request.Context(), actorOf(c), id, c.Param("role")))
}

// getUserSessions lists the sessions of a user.
func (s *API) getUserSessions(c *gin.Context, id uuid.UUID) error {
	if _, err := s.Accounts.Find(c.Request.Context(), auth.ByID(id)); err != nil {
		return err
	}
	return s.listSessions(c, auth.Reach{UserID: id, AllClients: true})
}

// deleteUserSessions ends all sessions of a user.
func (s *API) deleteUserSessions(c *gin.Context, id uuid.UUID) error {
	_, err := s.Sessions.EndAllOf(c.Request.Context(), actorOf(c), auth.ByID(id))
	return done(c, err)
}

// done answers 204, unless there is an error.
func done(c *gin.Context, err error) error {
	if err == nil {
		c.Status(http.StatusNoContent)
	}
	return err
}
