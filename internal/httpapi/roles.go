package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"gatehouse/internal/auth"
)

type rolesResponse struct {
	Roles []roleBody `json:"roles"`
}

type roleResponse struct {
	Role roleBody `json:"role"`
}

type roleBody struct {
	Name        string            `json:"name"`
	Permissions []auth.Permission `json:"permissions"`
	CreatedAt   time.Time         `json:"created_at"`
	UpdatedAt   time.Time         `json:"updated_at"`
}

func bodyOfRole(r auth.Role) roleBody {
	return roleBody{r.Name, r.Permissions, r.CreatedAt.UTC(), r.UpdatedAt.UTC()}
}

// roleTag differs also for a role that was deleted and made again.
func roleTag(r auth.Role) string {
	return `"` + strconv.FormatInt(r.CreatedAt.UnixMicro(), 36) + "-" + strconv.FormatInt(r.Version, 36) + `"`
}

func writeRole(c *gin.Context, status int, r auth.Role) {
	c.Header("ETag", roleTag(r))
	writeJSON(c, status, "application/json", roleResponse{bodyOfRole(r)})
}

// getRoles shows all roles: an operator makes them by hand, so they are few.
func (s *server) getRoles(c *gin.Context) error {
	roles, err := s.service.Roles(c.Request.Context())
	if err != nil {
		return err
	}
	out := rolesResponse{make([]roleBody, len(roles))}
	for n, r := range roles {
		out.Roles[n] = bodyOfRole(r)
	}
	writeJSON(c, http.StatusOK, "application/json", out)
	return nil
}

// getRole shows a role.
func (s *server) getRole(c *gin.Context) error {
	role, err := s.service.Role(c.Request.Context(), c.Param("name"))
	if err != nil {
		return err
	}
	writeRole(c, http.StatusOK, role)
	return nil
}

// putRole makes a role, or replaces its permissions.
func (s *server) putRole(c *gin.Context) error {
	var in struct {
		Permissions *[]auth.Permission `json:"permissions"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if in.Permissions == nil {
		return auth.InputError{{Field: "permissions", Message: "is required"}}
	}
	when, err := s.roleCondition(c)
	if err != nil {
		return err
	}
	actor := userOf(c)
	role, isNew, err := s.service.SetRole(c.Request.Context(), &actor, c.Param("name"), *in.Permissions, when)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if isNew {
		status = http.StatusCreated
	}
	writeRole(c, status, role)
	return nil
}

// deleteRole removes a role, also from those who have it.
func (s *server) deleteRole(c *gin.Context) error {
	when, err := s.roleCondition(c)
	if err != nil {
		return err
	}
	actor := userOf(c)
	return done(c, s.service.DeleteRole(c.Request.Context(), &actor, c.Param("name"), when))
}

// roleCondition is what If-Match and If-None-Match: * say of the role of the path (RFC 9110 §13.1).
func (s *server) roleCondition(c *gin.Context) (auth.Condition, error) {
	if c.GetHeader("If-None-Match") == "*" {
		return auth.Condition{Absent: true}, nil
	}
	if c.GetHeader("If-Match") == "" {
		return auth.Condition{}, nil
	}
	role, err := s.service.Role(c.Request.Context(), c.Param("name"))
	if err != nil {
		return auth.Condition{}, err
	}
	if !ifMatch(c, roleTag(role)) {
		return auth.Condition{}, auth.ErrChanged
	}
	return auth.Condition{Version: role.Version}, nil
}
