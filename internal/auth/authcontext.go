package auth

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"gatehouse.example/internal/token"
)

// Words for how a user has proved who it is (RFC 8176 §2).
const (
	methodPassword = "pwd"
	methodOTP      = "otp"  // an app's code, or a recovery code
	methodPasskey  = "pop"  // a key that the user holds
	methodUser     = "user" // whose authenticator knows its user
	methodMultiple = "mfa"  // by two factors, which the other words name
)

// StepUp is what an app, a proxy or a route demands of a login.
type StepUp = token.StepUp

// ACR2 is the acr of a login with two factors.
const ACR2 = token.ACR2

// StepUpOf reads the demand of a proxy from a query, which is as [StepUp.AddTo] writes it. It is
// not ok for a demand that is malformed.
func StepUpOf(query url.Values) (demand StepUp, ok bool) {
	for _, name := range []string{token.ACRParameter, token.MaxAgeParameter} {
		if query.Has(name) && !demand.Set(name, query.Get(name)) {
			return StepUp{}, false
		}
	}
	return demand, true
}

// ACRValues returns the values of acr that a login may have, the weakest first.
func ACRValues() []string { return []string{token.ACR1, ACR2} }

// weakestOf returns the weakest of those values of acr that are known, and "" for none.
func weakestOf(values []string) string {
	for _, known := range ACRValues() {
		if slices.Contains(values, known) {
			return known
		}
	}
	return ""
}

// freshFor is how long a proof counts for what only the owner of an account may do.
const freshFor = 5 * time.Minute

// provedAnew returns nil if the user of a session has just proved all that the account demands. A
// login on a trusted device skips the second factor, and so does not count. Now is the time by the
// clock of the database, which has written the session's. Errors: [ErrInsufficientAuthentication].
func (s SessionState) provedAnew(now time.Time) error {
	demand := StepUp{MaxAge: freshFor}
	if s.User.Factors.Any() {
		demand.ACR = ACR2
	}
	login := token.Subject{ACR: acrOf(s.Methods), AuthTime: s.AuthTime}
	if !login.Satisfies(demand, now) {
		return &InsufficientError{demand}
	}
	return nil
}

// ProvedAnew returns nil if the user of a browser has just proved all that the account demands, as
// changes of how to log in want it. Errors: [*InsufficientError].
func (b Browser) ProvedAnew() error {
	session := SessionState{User: b.User, Methods: b.Methods, AuthTime: b.AuthTime}
	return session.provedAnew(b.Now)
}

// MayReach reports whether a user can log in as strongly as a demand wants. Nobody can log in with
// a second factor who has none.
func (u User) MayReach(d StepUp) bool {
	return d.ACR != ACR2 || u.Factors.Any()
}

// DemandedACR is the [AuthorizationRequest.ACR] of a request by its parameters. It is "" for a
// request that is malformed, too.
func DemandedACR(parameters url.Values) string {
	one := map[string]string{
		"claims": parameters.Get("claims"), "acr_values": parameters.Get("acr_values"),
	}
	var r AuthorizationRequest
	if r.parseClaims(one) != nil || r.parseACR(one) != nil {
		return ""
	}
	return r.ACR
}

// DemandsProof reports whether a request by its parameters wants its user to prove anew who they
// are, or may do so: by max_age, or by prompt=login.
func DemandsProof(parameters url.Values) bool {
	return parameters.Has("max_age") ||
		slices.Contains(strings.Fields(parameters.Get("prompt")), PromptLogin)
}

// acrOf is the acr of a login by these methods. It is not stored: the methods say it all.
func acrOf(methods []string) string {
	if slices.Contains(methods, methodMultiple) {
		return ACR2
	}
	return token.ACR1
}
