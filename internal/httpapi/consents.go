package httpapi

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/wire"
)

type consentsResponse struct {
	Consents []wire.PersonalConsent `json:"consents"`
}

// getConsents lists what the user has allowed apps, as far as the token reaches.
func (s *API) getConsents(c *gin.Context) error {
	found, err := s.Consents.List(c.Request.Context(), reachOf(c))
	if err != nil {
		return err
	}
	out := consentsResponse{Consents: make([]wire.PersonalConsent, len(found))}
	for n, consent := range found {
		out.Consents[n] = wire.PersonalConsentOf(consent)
	}
	writeJSON(c, http.StatusOK, "application/json", out)
	return nil
}

// deleteConsent takes back what the user has allowed one app.
func (s *API) deleteConsent(c *gin.Context) error {
	return done(c, s.Consents.Withdraw(c.Request.Context(), reachOf(c), c.Param("client_id")))
}
