package httpapi

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gatehouse/internal/auth"
)

type userResponse struct {
	User userBody `json:"user"`
	// InitialSecret is there once, when it is made.
	InitialSecret string `json:"initial_secret,omitzero"`
}

type userBody struct {
	ID        uuid.UUID `json:"id"`
	Username  string    `json:"username"`
	Disabled  bool      `json:"disabled"`
	Roles     []string  `json:"roles"`
	CreatedAt time.Time `json:"created_at"`
	// These two are there where there is something to tell.
	MustChangePassword bool       `json:"must_change_password,omitzero"`
	PasswordExpiresAt  *time.Time `json:"password_expires_at,omitzero"`
}

func bodyOf(u auth.User) userBody {
	body := userBody{u.ID, u.Username.Given, u.Disabled(), u.Roles, u.CreatedAt.UTC(), u.MustChangePassword, nil}
	if u.PasswordExpiresAt != nil {
		expires := u.PasswordExpiresAt.UTC()
		body.PasswordExpiresAt = &expires
	}
	return body
}

func writeUser(c *gin.Context, status int, u auth.User) { writeNewUser(c, status, u, "") }

func writeNewUser(c *gin.Context, status int, u auth.User, secret string) {
	if n := noteOf(c); n.userID == "" { // else it is another one, who asks
		n.userID = u.ID.String()
	}
	writeJSON(c, status, "application/json", userResponse{bodyOf(u), secret})
}

// postUser makes an account.
func (s *server) postUser(c *gin.Context) error {
	var in struct {
		Username *string `json:"username"`
		Password *string `json:"password"`
		// What only those may ask for who manage accounts.
		MustChangePassword *bool `json:"must_change_password"`
		InitialSecret      *bool `json:"initial_secret"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if in.MustChangePassword != nil || in.InitialSecret != nil {
		if err := managed(s, c); err != nil {
			return err
		}
	}
	if in.InitialSecret != nil && *in.InitialSecret {
		if in.Password != nil || in.MustChangePassword != nil {
			return auth.InputError{{Field: "initial_secret", Message: "goes with neither password nor must_change_password"}}
		}
		if err := required(member{"username", in.Username}); err != nil {
			return err
		}
		user, secret, err := s.service.RegisterInitial(c.Request.Context(), *in.Username)
		return writeMade(c, user, secret, err)
	}
	if err := required(member{"username", in.Username}, member{"password", in.Password}); err != nil {
		return err
	}
	user, err := s.makeUser(c, *in.Username, *in.Password, in.MustChangePassword != nil && *in.MustChangePassword)
	return writeMade(c, user, "", err)
}

func writeMade(c *gin.Context, user auth.User, secret string, err error) error {
	if err == nil {
		writeNewUser(c, http.StatusCreated, user, secret)
	}
	return err
}

// makeUser is without limits for those who were found to manage accounts.
func (s *server) makeUser(c *gin.Context, username, password string, mustChange bool) (auth.User, error) {
	_, managed := c.Get(userKey)
	switch {
	case mustChange:
		return s.service.RegisterTemporary(c.Request.Context(), username, password)
	case managed:
		return s.service.Register(c.Request.Context(), username, password)
	}
	return s.service.SignUp(c.Request.Context(), username, password, clientOf(c))
}

// managed lets those in who manage accounts. It is no guard of the table: whether it is needed stands in the body. To a
// stranger, what only they may ask for is an unknown field like any.
func managed(s *server, c *gin.Context) error {
	if c.GetHeader("Authorization") == "" {
		return errMalformed
	}
	if _, found := c.Get(userKey); found {
		return nil
	}
	return may(auth.WriteUsers)(s, c)
}

// getMe shows the user of the access token.
func (s *server) getMe(c *gin.Context) error {
	writeUser(c, http.StatusOK, userOf(c))
	return nil
}
