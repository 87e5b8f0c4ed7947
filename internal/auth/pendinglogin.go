package auth

// FactorNeededError is [ErrFactorNeeded] or [ErrFactorEnrol] of a user, who has shown the password.
// What is pending goes on to the second step, and is a secret of whoever has logged in.
type FactorNeededError struct {
	Pending  string // for [Logins.Pending] and [Logins.ProveFactor]
	Username Username
	Factors  FactorCount
	Enrol    bool // there is none yet, and one must be set up first
}

// Error implements error.
func (e *FactorNeededError) Error() string { return e.Unwrap().Error() }

// Unwrap returns [ErrFactorNeeded] or [ErrFactorEnrol].
func (e *FactorNeededError) Unwrap() error {
	if e.Enrol {
		return ErrFactorEnrol
	}
	return ErrFactorNeeded
}
