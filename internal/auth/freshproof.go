package auth

import (
	"slices"
	"time"
)

// Words for how a user has proved who it is (RFC 8176 §2).
const (
	methodPassword = "pwd"
	methodOTP      = "otp"  // an app's code, or a recovery code
	methodPasskey  = "pop"  // a key that the user holds
	methodUser     = "user" // whose authenticator knows its user
	methodMultiple = "mfa"  // by two factors, which the other words name
)

// freshFor is how long a proof is fresh.
const freshFor = 5 * time.Minute

// provedAnew reports whether the user has just proved all that the account demands. A login that
// left out the second factor, since the device is trusted, does not count.
func (s SessionState) provedAnew(now time.Time) bool {
	strong := slices.Contains(s.Methods, methodMultiple) || !s.User.Factors.Any()
	return strong && now.Sub(s.AuthTime) <= freshFor
}
