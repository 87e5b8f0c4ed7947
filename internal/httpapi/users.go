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
}

type userBody struct {
	ID        uuid.UUID `json:"id"`
	Username  string    `json:"username"`
	Disabled  bool      `json:"disabled"`
	Roles     []string  `json:"roles"`
	CreatedAt time.Time `json:"created_at"`
}

func bodyOf(u auth.User) userBody {
	return userBody{u.ID, u.Username.Given, u.Disabled(), u.Roles, u.CreatedAt.UTC()}
}

func writeUser(c *gin.Context, status int, u auth.User) {
	if n := noteOf(c); n.userID == "" { // else it is another one, who asks
		n.userID = u.ID.String()
	}
	writeJSON(c, status, "application/json", userResponse{bodyOf(u)})
}

// postUser makes an account.
func (s *server) postUser(c *gin.Context) error {
	var in struct {
		Username *string `json:"username"`
		Password *string `json:"password"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if err := required(member{"username", in.Username}, member{"password", in.Password}); err != nil {
		return err
	}
	user, err := s.makeUser(c, *in.Username, *in.Password)
	if err != nil {
		return err
	}
	writeUser(c, http.StatusCreated, user)
	return nil
}

// makeUser is without limits for those whom the guard has found to manage accounts.
func (s *server) makeUser(c *gin.Context, username, password string) (auth.User, error) {
	if _, managed := c.Get(userKey); managed {
		return s.service.Register(c.Request.Context(), username, password)
	}
	return s.service.SignUp(c.Request.Context(), username, password, clientOf(c))
}

// getMe shows the user of the access token.
func (s *server) getMe(c *gin.Context) error {
	writeUser(c, http.StatusOK, userOf(c))
	return nil
}
