package httpapi

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/wire"
)

type userResponse struct {
	User wire.User `json:"user"`
	// InitialSecret is in one answer only, the one in which it is made.
	InitialSecret string `json:"initial_secret,omitzero"`
	// Challenge is what the code belongs to that was mailed to the address of a new account.
	Challenge uuid.UUID `json:"challenge,omitzero"`
}

func writeUser(c *gin.Context, status int, answer userResponse) {
	if n := edge.NoteOf(c); n.UserID == "" { // else somebody else asks, and is noted already
		n.UserID = answer.User.ID.String()
	}
	writeJSON(c, status, "application/json", answer)
}

// postUser makes an account.
func (s *API) postUser(c *gin.Context) error {
	var in struct {
		Username *string `json:"username"`
		Password *string `json:"password"`
		// Only those who manage accounts may use these two.
		MustChangePassword *bool   `json:"must_change_password"`
		InitialSecret      *bool   `json:"initial_secret"`
		Email              *string `json:"email"`
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
		if !s.takesAddress(c) {
			if err := managed(s, c, "email"); err != nil {
				return err
			}
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
	if in.Username == nil && s.email == auth.EmailRequired && s.takesAddress(c) {
		in.Username = new(string) // the account is named by its id
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
	made, err := s.makeUser(c, auth.NewAccount{
		Username: *in.Username, Password: *in.Password, Initial: initial,
		MustChange: in.MustChangePassword != nil && *in.MustChangePassword,
		Email:      address,
	})
	if err != nil {
		return err
	}
	writeUser(c, http.StatusCreated, made)
	return nil
}

// takesAddress reports whether a stranger may register with an address.
func (s *API) takesAddress(c *gin.Context) bool {
	return s.email.IsOn() && s.mailOn && s.registrationOpen && c.GetHeader("Authorization") == ""
}

// makeUser sets no limits for callers who were found to manage accounts.
func (s *API) makeUser(c *gin.Context, a auth.NewAccount) (userResponse, error) {
	if by, managed := c.Get(actorKey); managed {
		u, secret, err := s.Accounts.Register(c.Request.Context(), by.(auth.Actor), a)
		return userResponse{User: wire.UserOf(u), InitialSecret: secret}, err
	}
	u, challenge, err := s.Registration.SignUp(c.Request.Context(), auth.Stranger{
		Username: a.Username, Password: a.Password, Email: a.Email, Language: s.languageFor(c),
	}, callerOf(c))
	return userResponse{User: wire.WithoutFactors(u), Challenge: challenge}, err
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
	writeUser(c, http.StatusOK, userResponse{User: userOf(c)})
	return nil
}
