package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gatehouse/internal/auth"
)

const (
	page    = 50
	maxPage = 200
)

type usersResponse struct {
	Users []userBody `json:"users"`
	Next  *string    `json:"next"` // to be given as cursor, or null on the last page
}

// getUsers finds users, in the order of their names. What comes in between pages neither moves nor hides the others.
func (s *server) getUsers(c *gin.Context) error {
	filter, limit, err := usersQuery(c)
	if err != nil {
		return err
	}
	question := questionOf(c, "users", "q", "disabled", "role")
	after, err := s.openCursor(c, question)
	if err != nil {
		return err
	}
	found, err := s.service.FindUsers(c.Request.Context(), filter, after, limit+1)
	if err != nil {
		return err
	}
	out := usersResponse{Users: make([]userBody, min(len(found), limit))}
	for n := range out.Users {
		out.Users[n] = bodyOf(found[n])
	}
	if len(found) > limit {
		next := s.cursors.Make(s.clock(), question, found[limit-1].Username.Key)
		out.Next = &next
	}
	writeJSON(c, http.StatusOK, "application/json", out)
	return nil
}

// questionOf is what a cursor is good for: this list, by these parameters, asked for by this user.
func questionOf(c *gin.Context, list string, parameters ...string) string {
	parts := []string{list, userOf(c).ID.String()}
	for _, name := range parameters {
		parts = append(parts, c.Query(name))
	}
	return strings.Join(parts, "\x00")
}

// openCursor is the position of the request's cursor; "" if it has none.
func (s *server) openCursor(c *gin.Context, question string) (position string, err error) {
	cursor, ok := c.GetQuery("cursor")
	if !ok {
		return "", nil
	}
	if position, err = s.cursors.Open(s.clock(), question, cursor); err != nil {
		return "", errBadCursor
	}
	return position, nil
}

// pageLimit is how many entries the request wants in its page.
func pageLimit(c *gin.Context, wrong *auth.InputError) int {
	given, ok := c.GetQuery("limit")
	if !ok {
		return page
	}
	limit, err := strconv.Atoi(given)
	if err != nil || limit < 1 || limit > maxPage {
		*wrong = append(*wrong, auth.FieldError{Field: "limit", Message: "must be from 1 to " + strconv.Itoa(maxPage)})
	}
	return limit
}

// isText is true for what the database takes for text.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

func usersQuery(c *gin.Context) (filter auth.UserFilter, limit int, err error) {
	var wrong auth.InputError
	limit = pageLimit(c, &wrong)
	if given, ok := c.GetQuery("disabled"); ok {
		if given != "true" && given != "false" {
			wrong = append(wrong, auth.FieldError{Field: "disabled", Message: "must be true or false"})
		}
		disabled := given == "true"
		filter.Disabled = &disabled
	}
	filter.Prefix, filter.Role = c.Query("q"), c.Query("role")
	if !isText(filter.Role) {
		wrong = append(wrong, auth.FieldError{Field: "role", Message: "is no name of a role"})
	}
	if wrong != nil {
		return filter, 0, wrong
	}
	return filter, limit, nil
}

// userID is that of the path. What is none is nobody's.
func userID(c *gin.Context) (uuid.UUID, error) {
	raw := c.Param("id")
	id, err := uuid.Parse(raw)
	if err != nil || len(raw) != len(uuid.Nil.String()) { // one of its writings is enough
		return uuid.Nil, auth.ErrUserNotFound
	}
	return id, nil
}

func userTag(u auth.User) string { return `"` + strconv.FormatInt(u.UpdatedAt.UnixMicro(), 36) + `"` }

// ifMatch tells whether the request's If-Match names the tag (RFC 9110 §13.1.1).
func ifMatch(c *gin.Context, tag string) bool {
	for one := range strings.SplitSeq(strings.Join(c.Request.Header.Values("If-Match"), ","), ",") {
		if one = strings.TrimSpace(one); one == tag || one == "*" {
			return true
		}
	}
	return false
}

// getUser shows a user.
func (s *server) getUser(c *gin.Context) error {
	id, err := userID(c)
	if err != nil {
		return err
	}
	return s.writeTagged(c, id)
}

func (s *server) writeTagged(c *gin.Context, id uuid.UUID) error {
	user, err := s.service.UserByID(c.Request.Context(), id)
	if err != nil {
		return err
	}
	c.Header("ETag", userTag(user))
	writeUser(c, http.StatusOK, user)
	return nil
}

// patchUser disables or enables a user, or has the user change the password: one thing at a time, so that no request is done
// by half.
func (s *server) patchUser(c *gin.Context) error {
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
		return auth.InputError{{Field: "must_change_password", Message: "does not go with disabled: send two requests"}}
	case in.MustChangePassword != nil && !*in.MustChangePassword: // an initial secret would become a password for good
		return auth.InputError{{Field: "must_change_password", Message: "must be true: it ends with the user's change of the password"}}
	}
	id, err := userID(c)
	if err != nil {
		return err
	}
	var asSeen func(auth.User) bool
	if len(c.Request.Header.Values("If-Match")) > 0 {
		asSeen = func(u auth.User) bool { return ifMatch(c, userTag(u)) }
	}
	var user auth.User
	if in.MustChangePassword != nil {
		user, err = s.service.RequirePasswordChangeOf(c.Request.Context(), userOf(c), id, asSeen)
	} else {
		user, err = s.service.SetDisabled(c.Request.Context(), userOf(c), id, *in.Disabled, asSeen)
	}
	if err != nil {
		return err
	}
	c.Header("ETag", userTag(user))
	writeUser(c, http.StatusOK, user)
	return nil
}

// deleteUser removes a user for good.
func (s *server) deleteUser(c *gin.Context) error {
	id, err := userID(c)
	if err != nil {
		return err
	}
	actor := userOf(c)
	return done(c, s.service.DeleteUser(c.Request.Context(), &actor, id))
}

// postUserUnlock undoes the failed logins of a user.
func (s *server) postUserUnlock(c *gin.Context) error {
	id, err := userID(c)
	if err != nil {
		return err
	}
	return done(c, s.service.UnlockUser(c.Request.Context(), userOf(c), id))
}

// putUserRole gives a user a role.
func (s *server) putUserRole(c *gin.Context) error {
	id, err := userID(c)
	if err != nil {
		return err
	}
	actor := userOf(c)
	return done(c, s.service.GrantRole(c.Request.Context(), &actor, id, c.Param("role")))
}

// deleteUserRole takes a role from a user.
func (s *server) deleteUserRole(c *gin.Context) error {
	id, err := userID(c)
	if err != nil {
		return err
	}
	actor := userOf(c)
	return done(c, s.service.RevokeRole(c.Request.Context(), &actor, id, c.Param("role")))
}

// getUserSessions shows where a user is logged in.
func (s *server) getUserSessions(c *gin.Context) error {
	id, err := userID(c)
	if err != nil {
		return err
	}
	if _, err := s.service.UserByID(c.Request.Context(), id); err != nil {
		return err
	}
	return s.listSessions(c, id)
}

// deleteUserSessions ends all sessions of a user.
func (s *server) deleteUserSessions(c *gin.Context) error {
	id, err := userID(c)
	if err != nil {
		return err
	}
	return done(c, s.service.EndSessionsFor(c.Request.Context(), userOf(c), id))
}

func done(c *gin.Context, err error) error {
	if err == nil {
		c.Status(http.StatusNoContent)
	}
	return err
}
