package httpapi

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/wire"
)

type userResponse struct {
	User wire.User `json:"user"`
	// InitialSecret is in one answer only, the one in which it is made.
	InitialSecret string `json:"initial_secret,omitzero"`
}

func writeUser(c *gin.Context, status int, u auth.User, secret string) {
	if n := edge.NoteOf(c); n.UserID == "" { // else somebody else asks, and is noted already
		n.UserID = u.ID.String()
	}
	writeJSON(c, status, "application/json", userResponse{wire.UserOf(u), secret})
}

// postUser makes an account.
func (s *API) postUser(c *gin.Context) error {
	var in struct {
		Username *string `json:"username"`
		Password *string `json:"password"`
		// Only those who manage accounts may use these two.
		MustChangePassword *bool `json:"must_change_password"`
		InitialSecret      *bool `json:"initial_secret"`
		// So may they alone, as long as nothing is mailed to verify it.
		Email *string `json:"email"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if in.MustChangePassword != nil {
		if err := managed(s, c, "must_change_password"); err != nil {
			return err
		}
	}
	if in.InitialSecret != nil {
		if err := managed(s, c, "initial_secret"); err != nil {
			return err
		}
	}
	address := ""
	if in.Email != nil {
		if err := managed(s, c, "email"); err != nil {
			return err
		}
		if address = *in.Email; address == "" {
			return auth.InputError{{Field: "email", Message: "must not be empty"}}
		}
	}
	initial := in.InitialSecret != nil && *in.InitialSecret
	if initial && (in.Password != nil || in.MustChangePassword != nil) {
		return auth.InputError{{Field: "initial_secret",
			Message: "goes with neither password nor must_change_password"}}
	}
	needed := []member{{"username", in.Username}}
	if initial {
		in.Password = new(string)
	} else {
		needed = append(needed, member{"password", in.Password})
	}
	if err := required(needed...); err != nil {
		return err
	}
	user, secret, err := s.makeUser(c, auth.NewAccount{
		Username: *in.Username, Password: *in.Password, Initial: initial,
		MustChange: in.MustChangePassword != nil && *in.MustChangePassword,
		Email:      address,
	})
	if err != nil {
		return err
	}
	writeUser(c, http.StatusCreated, user, secret)
	return nil
}

// makeUser sets no limits for callers who were found to manage accounts.
func (s *API) makeUser(
	c *gin.Context, a auth.NewAccount,
) (u auth.User, secret string, err error) {
	if by, managed := c.Get(actorKey); managed {
		return s.Accounts.Register(c.Request.Context(), by.(auth.Actor), a)
	}
	u, _, err = s.Registration.SignUp(c.Request.Context(), auth.Stranger{
		Username: a.Username, Password: a.Password,
	}, callerOf(c))
	return u, "", err
}

// managed lets in those who may manage accounts. It is no guard of the table, because only the body
// tells whether it is needed. To a stranger, its fields are unknown ones like any other.
func managed(s *API, c *gin.Context, field string) error {
	if c.GetHeader("Authorization") == "" {
		return auth.InputError{{Field: field, Message: notKnown}}
	}
	if _, found := c.Get(actorKey); found {
		return nil
	}
	return may(auth.WriteUsers)(s, c)
}

// getMe answers with the user of the access token.
func (s *API) getMe(c *gin.Context) error {
	writeUser(c, http.StatusOK, userOf(c), "")
	return nil
}
