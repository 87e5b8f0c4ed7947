package auth

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// maxClientTitle is in characters.
const maxClientTitle = 128

var clientIDs = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// checkClient reports everything that is wrong at once. It returns the client in its canonical
// form: with a redirect URI it may use authorization codes, its scope is in order, and its ID
// tokens have an algorithm. Errors: [InputError].
func checkClient(c Client) (Client, error) {
	c = canonical(c)
	wrong := slices.Concat(
		checkClientNames(c), checkGrants(c), checkClientScope(c), checkURIs(c), checkIDTokens(c),
	)
	if wrong != nil {
		return Client{}, InputError(wrong)
	}
	return c, nil
}

func canonical(c Client) Client {
	words := strings.Fields(c.Scope)
	slices.Sort(words)
	c.Scope = strings.Join(slices.Compact(words), " ")
	c.IDTokenAlgorithm = cmp.Or(c.IDTokenAlgorithm, token.RS256)
	if len(c.RedirectURIs) > 0 && !slices.Contains(c.GrantTypes, GrantAuthorizationCode) {
		c.GrantTypes = append(slices.Clone(c.GrantTypes), GrantAuthorizationCode)
	}
	return c
}

func checkClientNames(c Client) (wrong []FieldError) {
	_, noUUID := uuid.Parse(c.ID)
	if !clientIDs.MatchString(c.ID) || strings.EqualFold(c.ID, token.FirstParty) || noUUID == nil {
		wrong = append(wrong, FieldError{
			"client_id",
			"must be 1 to 64 of A-Z, a-z, 0-9, ., _ and -, no UUID, and not " + token.FirstParty,
		})
	}
	if n := utf8.RuneCountInString(c.Title); n < 1 || n > maxClientTitle ||
		oneLine(c.Title, maxClientTitle) != c.Title {
		wrong = append(wrong, FieldError{
			"name", fmt.Sprintf("must be 1 to %d characters on one line", maxClientTitle),
		})
	}
	return append(wrong, checkRequiredRole(c.RequiredRole)...)
}

func checkRequiredRole(role string) (wrong []FieldError) {
	if role != "" && !roleNames.MatchString(role) {
		wrong = append(wrong, FieldError{"required_role", "is no name of a role"})
	}
	return wrong
}

func checkGrants(c Client) (wrong []FieldError) {
	unknown := func(grant string) bool { return !slices.Contains(grantTypes(), grant) }
	if slices.ContainsFunc(c.GrantTypes, unknown) {
		wrong = append(
			wrong, FieldError{"grant", "must be one of " + strings.Join(grantTypes(), ", ")},
		)
	}
	if !c.Confidential && slices.Contains(c.GrantTypes, GrantClientCredentials) {
		wrong = append(
			wrong, FieldError{"grant", GrantClientCredentials + " needs a confidential client"},
		)
	}
	if len(c.RedirectURIs) == 0 && slices.Contains(c.GrantTypes, GrantAuthorizationCode) {
		wrong = append(
			wrong, FieldError{"grant", GrantAuthorizationCode + " needs a redirect URI"},
		)
	}
	if !c.Confidential && c.WithoutPKCE {
		wrong = append(wrong, FieldError{"without_pkce", "needs a confidential client"})
	}
	return wrong
}

func checkClientScope(c Client) (wrong []FieldError) {
	malformed := func(word string) bool { return !isPermission(word) }
	words := strings.Fields(c.Scope)
	if len(c.Scope) > maxRights || slices.ContainsFunc(words, malformed) {
		wrong = append(wrong, FieldError{
			"scope", fmt.Sprintf("must be %s, and at most %d bytes", permissionHelp, maxRights),
		})
	}
	if c.FirstParty && len(words) > 0 {
		wrong = append(wrong, FieldError{
			"scope", "does not go with a first-party client, whose tokens rule accounts",
		})
	}
	return wrong
}

func checkURIs(c Client) (wrong []FieldError) {
	for _, list := range []struct {
		field string
		uris  []string
		isOne func(string) bool
		help  string
	}{
		{"redirect_uris", c.RedirectURIs, isRedirectURI, redirectURIHelp},
		{
			"post_logout_redirect_uris", c.PostLogoutRedirectURIs, isRedirectURI, redirectURIHelp,
		},
		{"audiences", c.Audiences, isAudience, audienceHelp},
	} {
		if len(list.uris) > maxClientURIs {
			wrong = append(
				wrong, FieldError{list.field, fmt.Sprintf("must be at most %d", maxClientURIs)},
			)
		}
		for n, uri := range list.uris {
			if !list.isOne(uri) {
				wrong = append(wrong, FieldError{fmt.Sprintf("%s/%d", list.field, n), list.help})
				break // one message is enough to explain it
			}
		}
	}
	if c.BackchannelLogoutURI != "" && !isBackchannelURI(c.BackchannelLogoutURI) {
		wrong = append(wrong, FieldError{"backchannel_logout_uri", backchannelHelp})
	}
	return wrong
}

// IDTokenAlgorithms returns the algorithms with which ID tokens may be signed. HS256 is none of
// them: it would be signed with the client's secret, which is not stored.
func IDTokenAlgorithms() []token.Algorithm {
	return []token.Algorithm{token.RS256, token.ES256, token.EdDSA}
}

func checkIDTokens(c Client) (wrong []FieldError) {
	if !slices.Contains(IDTokenAlgorithms(), c.IDTokenAlgorithm) {
		wrong = append(
			wrong,
			FieldError{"id_token_signed_response_alg", "must be one of RS256, ES256 and EdDSA"},
		)
	}
	return wrong
}
