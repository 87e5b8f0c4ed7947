package httpapi

import (
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/wire"
)

type rolesResponse struct {
	Roles []wire.Role `json:"roles"`
}

type roleResponse struct {
	Role wire.Role `json:"role"`
}

func roleTag(r auth.Role) string { return `"` + strconv.FormatInt(r.Version, 36) + `"` }

func writeRole(c *gin.Context, status int, r auth.Role) {
	c.Header("ETag", roleTag(r))
	writeJSON(c, status, "application/json", roleResponse{wire.RoleOf(r)})
}

// getRoles lists all roles. People make roles by hand, so they are few.
func (s *API) getRoles(c *gin.Context) error {
	roles, err := s.Roles.List(c.Request.Context())
	if err != nil {
		return err
	}
	out := rolesResponse{make([]wire.Role, len(roles))}
	for n, r := range roles {
		out.Roles[n] = wire.RoleOf(r)
	}
	writeJSON(c, http.StatusOK, "application/json", out)
	return nil
}

// getRole answers with one role.
func (s *API) getRole(c *gin.Context) error {
	role, err := s.Roles.Find(c.Request.Context(), c.Param("name"))
	if err != nil {
		return err
	}
	writeRole(c, http.StatusOK, role)
	return nil
}

// putRole makes a role, or replaces its permissions. Whether it demands a factor stays as it is
// unless the request says so: programs of the version before, which know nothing of it, must not
// take that away.
func (s *API) putRole(c *gin.Context) error {
	var in struct {
		Permissions *[]auth.Permission `json:"permissions"`
		Factor      *bool              `json:"factor"`
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
	role, isNew, err := s.Roles.Set(c.Request.Context(), actorOf(c), c.Param("name"),
		auth.RoleEdit{Permissions: *in.Permissions, Factor: in.Factor}, when)
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

// deleteRole deletes a role, and takes it from everybody who has it.
func (s *API) deleteRole(c *gin.Context) error {
	when, err := s.roleCondition(c)
	if err != nil {
		return err
	}
	return done(c, s.Roles.Delete(c.Request.Context(), actorOf(c), c.Param("name"), when))
}

// roleCondition returns what If-Match and If-None-Match: * demand of the role in the path (RFC 9110
// §13.1).
func (s *API) roleCondition(c *gin.Context) (auth.Condition, error) {
	if c.GetHeader("If-None-Match") == "*" {
		return auth.Condition{Absent: true}, nil
	}
	if c.GetHeader("If-Match") == "" {
		return auth.Condition{}, nil
	}
	role, err := s.Roles.Find(c.Request.Context(), c.Param("name"))
	if err != nil {
		return auth.Condition{}, err
	}
	if !ifMatch(c, roleTag(role)) {
		return auth.Condition{}, auth.ErrChanged
	}
	return auth.Condition{Version: role.Version}, nil
}
