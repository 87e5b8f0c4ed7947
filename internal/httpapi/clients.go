package httpapi

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/token"
	"gatehouse.example/internal/wire"
)

type clientsResponse struct {
	Clients []wire.Client `json:"clients"`
	Next    *string       `json:"next"` // the cursor of the next page; null on the last page
}

type clientResponse struct {
	Client wire.Client `json:"client"`
	// Secret is in one answer only, the one in which it is made.
	Secret string `json:"client_secret,omitzero"`
}

type secretResponse struct {
	Secret string `json:"client_secret"`
}

// clientTag is the same while all that is shown of a client is.
func clientTag(c auth.Client) string {
	shown, err := json.Marshal(wire.ClientOf(c))
	if err != nil {
		panic(err) // it has only fields that can be encoded
	}
	shown = strconv.AppendInt(shown, c.TokenVersion, 36)
	sum := sha256.Sum256(shown)
	return `"` + hex.EncodeToString(sum[:12]) + `"`
}

func writeClient(c *gin.Context, status int, client auth.Client, secret string) {
	c.Header("ETag", clientTag(client))
	writeJSON(c, status, "application/json", clientResponse{wire.ClientOf(client), secret})
}

// getClients lists the clients, in the order of their ids.
func (s *API) getClients(c *gin.Context) error {
	var wrong auth.InputError
	limit := pageLimit(c, &wrong)
	if wrong != nil {
		return wrong
	}
	question := questionOf(c, "clients")
	after, err := s.openCursor(c, question)
	if err != nil {
		return err
	}
	page, err := auth.ReadPage(limit, func(limit int) ([]auth.Client, error) {
		return s.Clients.List(c.Request.Context(), after, limit)
	})
	if err != nil {
		return err
	}
	out := clientsResponse{Clients: make([]wire.Client, len(page.Items))}
	for n, client := range page.Items {
		out.Clients[n] = wire.ClientOf(client)
	}
	if last := page.Last(); last != nil {
		next := s.cursors.Make(s.clock(), question, last.ID)
		out.Next = &next
	}
	writeJSON(c, http.StatusOK, "application/json", out)
	return nil
}

// getClient answers with one client.
func (s *API) getClient(c *gin.Context) error {
	client, err := s.Clients.Find(c.Request.Context(), c.Param("id"))
	if err != nil {
		return err
	}
	writeClient(c, http.StatusOK, client, "")
	return nil
}

// postClient registers a client.
func (s *API) postClient(c *gin.Context) error {
	var in struct {
		ClientID     *string `json:"client_id"`
		Confidential *bool   `json:"confidential"`
		clientSettings
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if err := required(member{"client_id", in.ClientID}, member{"name", in.Name}); err != nil {
		return err
	}
	if in.Confidential == nil { // a client is what it is for good
		return auth.InputError{{Field: "confidential", Message: "is required"}}
	}
	client := in.change().Applied(auth.Client{ID: *in.ClientID, Confidential: *in.Confidential})
	added, secret, err := s.Clients.Add(c.Request.Context(), actorOf(c), client)
	if err != nil {
		return err
	}
	writeClient(c, http.StatusCreated, added, secret)
	return nil
}

// patchClient changes what a client is registered with, or disables or enables it. A request does
// one of these, so none is done by half.
func (s *API) patchClient(c *gin.Context) error {
	var in struct {
		Disabled *bool `json:"disabled"`
		clientSettings
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	var asSeen func(auth.Client) bool
	if len(c.Request.Header.Values("If-Match")) > 0 {
		asSeen = func(client auth.Client) bool { return ifMatch(c, clientTag(client)) }
	}
	ctx, id, change := c.Request.Context(), c.Param("id"), in.change()
	if in.Disabled == nil {
		client, err := s.Clients.Set(ctx, actorOf(c), id, change, asSeen)
		if err != nil {
			return err
		}
		writeClient(c, http.StatusOK, client, "")
		return nil
	}
	if change != (auth.ClientChange{}) {
		return auth.InputError{{Field: "disabled",
			Message: "does not go with anything else: send two requests"}}
	}
	do := s.Clients.Enable
	if *in.Disabled {
		do = s.Clients.Disable
	}
	if err := do(ctx, actorOf(c), id, asSeen); err != nil {
		return err
	}
	return s.getClient(c)
}

// postClientSecret gives a client another secret.
func (s *API) postClientSecret(c *gin.Context) error {
	secret, err := s.Clients.RotateSecret(c.Request.Context(), actorOf(c), c.Param("id"))
	if err != nil {
		return err
	}
	writeJSON(c, http.StatusCreated, "application/json", secretResponse{secret})
	return nil
}

// deleteOldSecret ends the secret before the current one.
func (s *API) deleteOldSecret(c *gin.Context) error {
	return done(c, s.Clients.RetireSecret(c.Request.Context(), actorOf(c), c.Param("id")))
}

// putClientRole gives a client a role of its own.
func (s *API) putClientRole(c *gin.Context) error {
	return done(c,
		s.Clients.GrantRole(c.Request.Context(), actorOf(c), c.Param("id"), c.Param("role")))
}

// deleteClientRole takes a role of its own from a client.
func (s *API) deleteClientRole(c *gin.Context) error {
	return done(c,
		s.Clients.RevokeRole(c.Request.Context(), actorOf(c), c.Param("id"), c.Param("role")))
}

// clientSettings is what a request says of a client. What is null in an answer may be null here.
type clientSettings struct {
	Name                   *string          `json:"name"`
	FirstParty             *bool            `json:"first_party"`
	GrantTypes             *[]string        `json:"grant_types"`
	Scope                  nullable         `json:"scope"`
	RedirectURIs           *[]string        `json:"redirect_uris"`
	PostLogoutRedirectURIs *[]string        `json:"post_logout_redirect_uris"`
	BackchannelLogoutURI   nullable         `json:"backchannel_logout_uri"`
	WithoutPKCE            *bool            `json:"without_pkce"`
	Ask                    *bool            `json:"ask"`
	RequiredRole           nullable         `json:"required_role"`
	Audiences              *[]string        `json:"audiences"`
	IDTokenAlgorithm       *token.Algorithm `json:"id_token_signed_response_alg"`
}

func (r clientSettings) change() auth.ClientChange {
	return auth.ClientChange{
		Title: r.Name, FirstParty: r.FirstParty, GrantTypes: r.GrantTypes, Scope: r.Scope.text,
		RedirectURIs: r.RedirectURIs, PostLogoutRedirectURIs: r.PostLogoutRedirectURIs,
		BackchannelLogoutURI: r.BackchannelLogoutURI.text, WithoutPKCE: r.WithoutPKCE, Ask: r.Ask,
		RequiredRole: r.RequiredRole.text, Audiences: r.Audiences,
		IDTokenAlgorithm: r.IDTokenAlgorithm,
	}
}

// nullable is a member that a request may leave out, or set to null. The text is nil if it is left
// out, and empty if it is null.
type nullable struct{ text *string }

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (n *nullable) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	n.text = new(string)
	return json.UnmarshalDecode(d, n.text)
}
