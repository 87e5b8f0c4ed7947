package token

import (
	"net/url"
	"strconv"
	"strings"
	"time"
)

// What an acr says of a login: how many factors the user has proved. The names are those of the
// assurance levels of NIST SP 800-63B.
const (
	ACR1 = "aal1" // one factor
	ACR2 = "aal2" // two factors
)

// MinMaxAge is the least age of a login that a proxy may demand. With less, whoever has just logged
// in could be sent to the login again: the clocks of two replicas may be [Leeway] apart.
const MinMaxAge = 2 * Leeway

// kept is an acr as it is remembered: the known ones take no memory of their own.
func kept(acr string) string {
	switch acr {
	case ACR1:
		return ACR1
	case ACR2:
		return ACR2
	}
	return acr
}

// ReachesACR tells whether a login with an acr is as strong as another acr demands. One that is not
// known is as strong as itself alone. A token without an acr satisfies no demand.
func ReachesACR(has, demanded string) bool {
	return has != "" && (has == demanded || has == ACR2 && demanded == ACR1)
}

// StepUp is what a service demands of the login behind a token (RFC 9470). The zero value
// demands nothing.
type StepUp struct {
	ACR    string        // that the login must reach; "": any
	MaxAge time.Duration // since the user proved who it is; 0: any
}

// Names of the parameters that say a demand.
const (
	ACRParameter    = "acr"
	MaxAgeParameter = "max_age"
)

// Set reads one parameter of a demand. It is not ok for another one, for a second value, and for a
// value that nobody could satisfy.
func (d *StepUp) Set(name, value string) (ok bool) {
	switch {
	case name == ACRParameter && d.ACR == "" && (value == ACR1 || value == ACR2):
		d.ACR = kept(value)
		return true
	case name == MaxAgeParameter && d.MaxAge == 0:
		seconds, err := strconv.ParseUint(value, 10, 31)
		d.MaxAge = time.Duration(seconds) * time.Second
		return err == nil && d.MaxAge >= MinMaxAge
	}
	return false
}

// AddTo writes the demand as parameters, which [StepUp.Set] reads.
func (d StepUp) AddTo(query url.Values) {
	if d.ACR != "" {
		query.Set(ACRParameter, d.ACR)
	}
	if d.MaxAge != 0 {
		query.Set(MaxAgeParameter, d.seconds())
	}
}

func (d StepUp) seconds() string { return strconv.FormatInt(int64(d.MaxAge/time.Second), 10) }

// Satisfies tells whether the login of a token satisfies a demand. If the token does not say how or
// when the user has logged in, it satisfies none.
func (s Subject) Satisfies(d StepUp, now time.Time) bool {
	if d.ACR != "" && !ReachesACR(s.ACR, d.ACR) {
		return false
	}
	return d.MaxAge == 0 || !s.AuthTime.IsZero() && now.Sub(s.AuthTime) <= d.MaxAge
}

// InsufficientLogin says that a demand is not satisfied, in words for people.
const InsufficientLogin = "A stronger or more recent login is needed"

// Challenge is the WWW-Authenticate for whoever does not satisfy the demand (RFC 9470 §3). An acr
// must have neither quotes nor backslashes.
func (d StepUp) Challenge() string {
	var b strings.Builder
	b.WriteString(`Bearer realm="gatehouse", error="insufficient_user_authentication", ` +
		`error_description="` + InsufficientLogin + `"`)
	if d.ACR != "" {
		b.WriteString(`, acr_values="` + d.ACR + `"`)
	}
	if d.MaxAge != 0 {
		b.WriteString(`, max_age="` + d.seconds() + `"`)
	}
	return b.String()
}
