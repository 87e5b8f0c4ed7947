package auth

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// ClaimRequest is what the parameter claims asks for (OpenID Connect Core §5.5): names of claims,
// by the place where they should be. Claims that are not known are left out, since all claims are
// voluntary but acr.
type ClaimRequest struct {
	IDToken, UserInfo []string
	acr               []string // one of which an essential acr must be
	// Subjects are those of whom the user must be one (§5.5.1); nil: any user.
	Subjects []uuid.UUID
}

// Claims of a user that an app may ask for, by the word of the scope that gives them (§5.4).
func claimsOfScope(word string) []string {
	switch word {
	case ScopeProfile:
		return []string{"name", "preferred_username", "updated_at"}
	case ScopeEmail:
		return []string{"email", "email_verified"}
	case ScopeGroups:
		return []string{"groups"}
	}
	return nil
}

// ClaimsSupported returns the claims that an ID token or the UserInfo endpoint may have (OpenID
// Connect Discovery §3).
func ClaimsSupported() []string {
	names := []string{
		"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "at_hash", "sid",
	}
	for _, word := range OpenIDScopes() {
		names = append(names, claimsOfScope(word)...)
	}
	return names
}

func isClaim(name string) bool {
	return slices.ContainsFunc(OpenIDScopes(), func(word string) bool {
		return slices.Contains(claimsOfScope(word), name)
	})
}

var errClaims = errors.New("the request for claims is malformed")

// parseClaimRequest reads a JSON object. Members that are not known are ignored (§5.5).
func parseClaimRequest(raw string) (ClaimRequest, error) {
	var asked struct {
		IDToken  map[string]json.RawMessage `json:"id_token"`
		UserInfo map[string]json.RawMessage `json:"userinfo"`
	}
	if json.Unmarshal([]byte(raw), &asked) != nil {
		return ClaimRequest{}, errClaims
	}
	request := ClaimRequest{IDToken: known(asked.IDToken), UserInfo: known(asked.UserInfo)}
	if len(request.String()) > mostClaim {
		return ClaimRequest{}, errClaims
	}
	var err error
	if request.acr, err = essentialACR(asked.IDToken["acr"]); err != nil {
		return ClaimRequest{}, err
	}
	request.Subjects, err = subjects(asked.IDToken["sub"])
	return request, err
}

func known(asked map[string]json.RawMessage) (names []string) {
	for name := range asked {
		if isClaim(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// essentialACR returns the values of which one must be reached (§5.5.1.1). Values that are not
// essential are a wish.
func essentialACR(raw json.RawMessage) ([]string, error) {
	var acr struct {
		Essential bool     `json:"essential"`
		Value     string   `json:"value"`
		Values    []string `json:"values"`
	}
	if raw != nil && json.Unmarshal(raw, &acr) != nil {
		return nil, errClaims
	}
	if !acr.Essential {
		return nil, nil
	}
	if acr.Value != "" {
		acr.Values = append(acr.Values, acr.Value)
	}
	return acr.Values, nil
}

// subjects returns the users of whom one must log in, as an id_token_hint names one (§3.1.2.2). It
// refuses a value that is no user's. Otherwise a person would be asked for a login again and again.
func subjects(raw json.RawMessage) (ids []uuid.UUID, err error) {
	var sub struct {
		Value  *string  `json:"value"`
		Values []string `json:"values"`
	}
	if raw != nil && json.Unmarshal(raw, &sub) != nil {
		return nil, errClaims
	}
	if sub.Value != nil {
		sub.Values = append(sub.Values, *sub.Value)
	}
	for _, value := range sub.Values {
		id, err := uuid.Parse(value)
		if err != nil || id == uuid.Nil || id.String() != value { // sub is compared as a string (§2)
			return nil, errClaims
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// asksOf reports whether the request names a claim that a word of the scope gives.
func (r ClaimRequest) asksOf(word string) bool {
	return slices.ContainsFunc(claimsOfScope(word), func(name string) bool {
		return slices.Contains(r.IDToken, name) || slices.Contains(r.UserInfo, name)
	})
}

const inIDToken, inUserInfo = "id_token:", "userinfo:"

// String writes the request in one line, as it is stored.
func (r ClaimRequest) String() string {
	var words []string
	for _, name := range r.IDToken {
		words = append(words, inIDToken+name)
	}
	for _, name := range r.UserInfo {
		words = append(words, inUserInfo+name)
	}
	return strings.Join(words, " ")
}

// Disclosure is what an app is told of its user.
type Disclosure struct {
	Name, PreferredUsername string
	UpdatedAt               time.Time
	Groups                  []string
	// Email is a verified address, or "". Apps take an account of theirs for that of a user by its
	// address, and some do not look whether it is verified. So they are not told of others.
	Email         string
	EmailVerified bool // there is an address, so that it is verified
}

// disclosed returns what an app learns at a place, by the words of its scope and by the claims that
// it asked for, as they are stored.
func disclosed(user User, openid, claims, place string) (d Disclosure) {
	var names []string
	for word := range strings.FieldsSeq(openid) {
		names = append(names, claimsOfScope(word)...)
	}
	for word := range strings.FieldsSeq(claims) {
		if name, ok := strings.CutPrefix(word, place); ok {
			names = append(names, name)
		}
	}
	for _, name := range names {
		switch name {
		case "name":
			d.Name = user.Username.Given
		case "preferred_username":
			d.PreferredUsername = user.Username.Given
		case "updated_at":
			d.UpdatedAt = user.UpdatedAt
		case "groups":
			d.Groups = user.Roles
		case "email":
			if user.Email.Verified() {
				d.Email = user.Email.Given
			}
		case "email_verified":
			d.EmailVerified = user.Email.Verified()
		}
	}
	return d
}

// about puts what an app learns into an ID token.
func (d Disclosure) about(t token.IDToken) token.IDToken {
	t.Name, t.PreferredUsername = d.Name, d.PreferredUsername
	t.UpdatedAt, t.Groups = d.UpdatedAt, d.Groups
	t.Email, t.EmailVerified = d.Email, d.EmailVerified
	return t
}
