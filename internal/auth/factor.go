package auth

import "slices"

// FactorCount is how many factors of each kind a user has set up, besides the password.
type FactorCount struct {
	TOTP          bool // time-based codes (RFC 6238)
	Passkeys      int
	RecoveryCodes int // that were not used yet
}

// Any reports whether a login needs a second factor. Recovery codes stand in for a factor, and are
// none.
func (f FactorCount) Any() bool { return f.TOTP || f.Passkeys > 0 }

// FactorMode is what the service demands besides the password: the setting FACTORS. The zero
// FactorMode lets nobody log in.
type FactorMode string

// Modes.
const (
	// FactorsNone: nobody sets one up. Whoever has one is asked for it all the same.
	FactorsNone FactorMode = "none"
	// FactorsOptional: whoever has set one up is asked for it.
	FactorsOptional FactorMode = "optional"
	// FactorsRequired: everybody must have one.
	FactorsRequired FactorMode = "required"
)

// FactorDemand is what an account demands besides the password.
type FactorDemand int

// Demands. The zero FactorDemand is met by nobody.
const (
	DemandNothing FactorDemand = iota + 1
	DemandFactor               // a factor that is set up
	DemandEnrol                // that one is set up first
)

// DemandOf decides what a user must prove, or set up, besides the password.
func (m FactorMode) DemandOf(u User) FactorDemand {
	switch {
	case m != FactorsNone && m != FactorsOptional && m != FactorsRequired:
		return 0
	case u.Factors.Any():
		return DemandFactor
	case m.requires(u):
		return DemandEnrol
	}
	return DemandNothing
}

// requires reports whether a user must have a second factor, by the setting or by a role.
func (m FactorMode) requires(u User) bool { return m == FactorsRequired || u.FactorDemanded }

// admits reports whether a session is as strong as its user must be. One from before the factor was
// demanded is not, and neither is one whose factor was taken away when it was not demanded.
func (m FactorMode) admits(s SessionState) bool {
	return !m.requires(s.User) ||
		s.User.Factors.Any() && (s.Trusted || slices.Contains(s.Methods, methodMultiple))
}
