package httpapi

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/wire"
)

// getPersonalData answers with all that is stored of the user, as a file.
func (s *API) getPersonalData(c *gin.Context) error {
	access := accessOf(c)
	data, err := s.Personal.Data(c.Request.Context(), access)
	if err != nil {
		return err
	}
	c.Header("Content-Disposition", `attachment; filename="account-data.json"`)
	writeJSON(c, http.StatusOK, "application/json", wire.PersonalDataOf(data, access.SessionID))
	return nil
}

// deleteMe deletes the account of the user, who has to show the password.
func (s *API) deleteMe(c *gin.Context) error {
	var in struct {
		Current *string `json:"current_password"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if err := required(member{"current_password", in.Current}); err != nil {
		return err
	}
	return done(c, s.Personal.Delete(c.Request.Context(), accessOf(c), *in.Current))
}
