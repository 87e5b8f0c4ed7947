package auth

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gatehouse.example/internal/outcome"
	"gatehouse.example/internal/token"
)

// AuthorizationRequest is what an app asks the authorization endpoint for (RFC 6749 §4.1.1, OpenID
// Connect Core §3.1.2.1).
type AuthorizationRequest struct {
	Client Client
	// RedirectURI is one of the client's. If it is empty, the client may not be told of an error:
	// nobody knows whose the URI of the request is (RFC 6749 §4.1.2.1).
	RedirectURI string
	State       string

	OpenID    []string // the words of OpenID Connect in its scope
	Scope     string   // the rest of its scope; "": all permissions
	Resources string   // for which it wants tokens, with spaces between (RFC 8707); "": for none
	Claims    ClaimRequest
	Nonce     string
	Challenge string         // S256 (RFC 7636 §4.2); "": none
	Prompt    []string       // in the order of [Prompts]
	MaxAge    *time.Duration // since the user proved who it is; nil: any
	ACR       string         // that the login must reach; "": any
	LoginHint string
	Hint      token.IDToken // of id_token_hint; zero: none
	UILocales string
	// LoginAfter is set after a login that the app demanded. A login after it is fresh enough.
	LoginAfter time.Time
}

// DemandParameter is the parameter that comes back with a request after a login which it demanded.
const DemandParameter = "gatehouse_login"

// Values of prompt (OpenID Connect Core §3.1.2.1).
const (
	PromptNone          = "none"
	PromptLogin         = "login"
	PromptSelectAccount = "select_account"
	PromptConsent       = "consent"
)

// Prompts returns all values of prompt.
func Prompts() []string {
	return []string{PromptNone, PromptLogin, PromptSelectAccount, PromptConsent}
}

// Bounds of what an app sends and gets back, or is stored. They are in bytes.
const (
	mostNonce = 1024
	mostState = 4096
	mostClaim = 512 // of all claims that are asked for
)

// Wants reports whether the app asks for a prompt.
func (r AuthorizationRequest) Wants(prompt string) bool { return slices.Contains(r.Prompt, prompt) }

// WithoutPrompt returns a value of the parameter prompt without one of its words.
func WithoutPrompt(asked, word string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(asked), func(p string) bool {
		return p == word
	}), " ")
}

// AskAll stands in [AuthorizationRequest.Asks] for all permissions and roles of the user. It is no
// permission.
const AskAll = "*"

// Asks are the words that say what the client would get and learn, as the user is asked for them.
// Of the requested scope they have what the client may have. A claim counts as the word of the
// scope that gives it.
func (r AuthorizationRequest) Asks() []string {
	var asks []string
	for _, word := range OpenIDScopes() {
		if slices.Contains(r.OpenID, word) || r.Claims.asksOf(word) {
			asks = append(asks, word)
		}
	}
	switch {
	case r.Scope != "":
		return append(asks, strings.Fields(r.Client.narrowed(r.Scope))...)
	case r.Client.Scope != "":
		return append(asks, strings.Fields(r.Client.Scope)...)
	}
	return append(asks, AskAll)
}

// Parse reads a request by its parameters. If the returned request has a redirect URI, the client
// is told of the error there. Errors: [ErrUnknownApp], [ErrRedirectURI], which must not be told to
// the client; [ErrAuthorizationRequest], [ErrResponseType], [ErrRequestObject], [ErrRequestURI],
// [ErrRegistrationObject], [ErrInvalidScope], [ErrInvalidTarget], [ErrUnmetRequirements].
//
// Parameters that are not known are ignored (RFC 6749 §3.1).
func (a *Authorizations) Parse(
	ctx context.Context, parameters map[string][]string,
) (AuthorizationRequest, error) {
	client, err := a.app(ctx, parameters["client_id"])
	if err != nil {
		return AuthorizationRequest{}, err
	}
	return a.parseOf(client, parameters)
}

// parseOf is Parse for a request of a known client.
func (a *Authorizations) parseOf(
	client Client, parameters map[string][]string,
) (AuthorizationRequest, error) {
	r := AuthorizationRequest{Client: client}
	uri := parameters["redirect_uri"]
	if len(uri) != 1 || !client.MatchRedirectURI(uri[0]) {
		return r, ErrRedirectURI
	}
	r.RedirectURI = uri[0]
	if state := parameters["state"]; len(state) == 1 && len(state[0]) <= mostState {
		r.State = state[0]
	}
	if err := r.parse(parameters, a.hint); err != nil {
		return r, err
	}
	if demand := parameters[DemandParameter]; len(demand) == 1 {
		r.LoginAfter = a.demands.read(r, demand[0])
	}
	return r, nil
}

// app finds the client of a request. Errors: [ErrUnknownApp].
func (a *Authorizations) app(ctx context.Context, id []string) (Client, error) {
	if len(id) != 1 {
		return Client{}, ErrUnknownApp
	}
	found, err := enabledClient(ctx, a.store, id[0])
	if err == nil && !found.MayUse(GrantAuthorizationCode) {
		err = ErrUnknownApp
	}
	return found, err
}

// clientFinder finds clients.
type clientFinder interface {
	ClientByID(ctx context.Context, id string) (StoredClient, error)
}

// enabledClient finds a registered client that is not disabled. Errors: [ErrUnknownApp].
func enabledClient(ctx context.Context, store clientFinder, id string) (Client, error) {
	if !clientIDs.MatchString(id) { // it may not even be text
		return Client{}, ErrUnknownApp
	}
	found, err := store.ClientByID(ctx, id)
	if errors.Is(err, ErrClientNotFound) || err == nil && found.DisabledAt != nil {
		return Client{}, ErrUnknownApp
	}
	return found.Client, err
}

// hint reads an id_token_hint.
func (a *Authorizations) hint(raw string) (token.IDToken, error) {
	hint, err := a.ids.VerifyHint(raw)
	if err != nil {
		return token.IDToken{}, malformed("id_token_hint is not an ID token of this service")
	}
	return hint, nil
}

func malformed(what string) error { return outcome.Detail(ErrAuthorizationRequest, "%s", what) }

// parse reads what the client is told of if it is wrong.
func (r *AuthorizationRequest) parse(
	parameters map[string][]string, hint func(string) (token.IDToken, error),
) error {
	one := make(map[string]string, len(parameters))
	for name, values := range parameters {
		if len(values) > 1 && name != "resource" && isParameter(name) {
			return malformed(name + " is given twice") // RFC 6749 §3.1
		}
		one[name] = values[0]
	}
	for _, check := range []func(map[string]string) error{
		checkUnsupported, r.parseResponse, r.parseChallenge, r.parseScope, r.parseNonce,
		r.parsePrompt, r.parseClaims, r.parseACR,
	} {
		if err := check(one); err != nil {
			return err
		}
	}
	if err := r.parseResources(slices.Clone(parameters["resource"])); err != nil {
		return err
	}
	if raw := one["id_token_hint"]; raw != "" {
		var err error
		if r.Hint, err = hint(raw); err != nil {
			return err
		}
		if r.Hint.Audience != r.Client.ID {
			return malformed("id_token_hint was issued to another client")
		}
		if len(r.Claims.Subjects) > 0 && !slices.Contains(r.Claims.Subjects, r.Hint.Subject) {
			return malformed("id_token_hint and claims name different users")
		}
	}
	r.LoginHint, r.UILocales = one["login_hint"], one["ui_locales"]
	return nil
}

// isParameter reports whether a parameter has a meaning here.
func isParameter(name string) bool {
	return slices.Contains([]string{
		"client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce",
		"code_challenge", "code_challenge_method", "prompt", "max_age", "login_hint",
		"id_token_hint", "ui_locales", "claims", "acr_values", "display", "request", "request_uri",
		"registration",
	}, name)
}

// checkUnsupported refuses what a client must not believe to be understood (OpenID Connect Core
// §3.1.2.6).
func checkUnsupported(one map[string]string) error {
	for name, err := range map[string]error{
		"request": ErrRequestObject, "request_uri": ErrRequestURI,
		"registration": ErrRegistrationObject,
	} {
		if one[name] != "" {
			return err
		}
	}
	return nil
}

func (r *AuthorizationRequest) parseResponse(one map[string]string) error {
	switch {
	case one["response_type"] == "":
		return malformed("response_type is missing")
	case one["response_type"] != "code":
		return ErrResponseType
	case one["response_mode"] != "" && one["response_mode"] != "query":
		return malformed("response_mode must be query")
	case r.State != one["state"]:
		return malformed("state is too long")
	}
	return nil
}

var challenges = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// parseChallenge demands PKCE, unless the client is registered to do without. Then a challenge
// still counts (RFC 9700 §2.1.1).
func (r *AuthorizationRequest) parseChallenge(one map[string]string) error {
	challenge, method := one["code_challenge"], one["code_challenge_method"]
	switch {
	case challenge == "" && method == "" && r.Client.WithoutPKCE:
		return nil
	case challenge == "":
		return malformed("code_challenge is missing")
	case method != "S256":
		return malformed("code_challenge_method must be S256")
	case !challenges.MatchString(challenge):
		return malformed("code_challenge is malformed")
	}
	r.Challenge = challenge
	return nil
}

// parseScope reads the scope. The words of OpenID Connect narrow nothing. A permission that the
// user does not have is left out of the token later, since apps ask for the same scope for all
// users.
func (r *AuthorizationRequest) parseScope(one map[string]string) error {
	openid, permissions := SplitScope(one["scope"])
	words := strings.Fields(permissions)
	if slices.ContainsFunc(words, func(w string) bool { return !isPermission(w) }) {
		return ErrInvalidScope
	}
	slices.Sort(words)
	r.OpenID, r.Scope = openid, strings.Join(slices.Compact(words), " ")
	if !r.Client.MayUse(GrantRefreshToken) { // nothing of it would go on offline
		r.OpenID = slices.DeleteFunc(openid, func(word string) bool {
			return word == ScopeOfflineAccess
		})
	}
	if len(r.Scope) > maxRights {
		return ErrInvalidScope
	}
	return nil
}

// parseNonce refuses what cannot be stored.
func (r *AuthorizationRequest) parseNonce(one map[string]string) error {
	r.Nonce = one["nonce"]
	switch {
	case len(r.Nonce) > mostNonce:
		return malformed("nonce is too long")
	case !utf8.ValidString(r.Nonce) || strings.ContainsRune(r.Nonce, 0):
		return malformed("nonce is no text")
	}
	return nil
}

func (r *AuthorizationRequest) parsePrompt(one map[string]string) error {
	asked := strings.Fields(one["prompt"])
	for _, prompt := range Prompts() {
		if slices.Contains(asked, prompt) {
			r.Prompt = append(r.Prompt, prompt)
		}
	}
	switch {
	case slices.ContainsFunc(asked, func(p string) bool { return !slices.Contains(Prompts(), p) }):
		return malformed("prompt has an unknown value")
	case r.Wants(PromptNone) && len(r.Prompt) > 1:
		return malformed("prompt has none and more")
	}
	if one["max_age"] == "" {
		return nil
	}
	seconds, err := strconv.ParseUint(one["max_age"], 10, 31)
	if err != nil {
		return malformed("max_age is no number of seconds")
	}
	age := time.Duration(seconds) * time.Second
	r.MaxAge = &age
	return nil
}

func (r *AuthorizationRequest) parseClaims(one map[string]string) (err error) {
	if one["claims"] == "" {
		return nil
	}
	if r.Claims, err = parseClaimRequest(one["claims"]); err != nil {
		return malformed("claims is malformed")
	}
	return nil
}

// parseACR reads which acr the app demands, by acr_values or by an essential claim. The app is
// content with each of the values that it lists, so the weakest one is the demand. Of acr_values,
// those that are not known are ignored.
func (r *AuthorizationRequest) parseACR(one map[string]string) error {
	r.ACR = weakestOf(strings.Fields(one["acr_values"]))
	if r.Claims.acr == nil {
		return nil
	}
	essential := weakestOf(r.Claims.acr)
	if essential == "" {
		return ErrUnmetRequirements
	}
	if !token.ReachesACR(r.ACR, essential) {
		r.ACR = essential
	}
	return nil
}
