package auth

import (
	"time"

	"gatehouse.example/internal/email"
)

// EmailMode is what the service does with e-mail addresses: the setting EMAIL.
type EmailMode string

// Modes. The zero EmailMode is EmailOff.
const (
	// EmailOff: nobody logs in or registers by one. Those that are stored are shown, and verified
	// ones are told to apps.
	EmailOff EmailMode = "off"
	// EmailOptional: accounts may have one, and log in by it once it is verified.
	EmailOptional EmailMode = "optional"
	// EmailRequired: strangers register with one, and log in once it is verified.
	EmailRequired EmailMode = "required"
)

// IsOn reports whether people log in or register by addresses.
func (m EmailMode) IsOn() bool { return m == EmailOptional || m == EmailRequired }

// Email is the e-mail address of an account. The zero Email is none.
type Email struct {
	Given string // as its user wrote it
	Key   string // the same for all the ways to write the address
	// VerifiedAt is when the user has shown to read what is sent to the address. Until then it is
	// nil, and the address counts for nothing: it may be that of somebody else.
	VerifiedAt *time.Time
}

// Verified reports whether the address is that of the user.
func (e Email) Verified() bool { return e.VerifiedAt != nil }

// newEmail reads an address that nobody has verified. "" is none.
func newEmail(given string) (Email, error) {
	if given == "" {
		return Email{}, nil
	}
	address, err := email.Parse(given)
	if err != nil {
		return Email{}, err
	}
	return Email{Given: address.Given, Key: address.Key}, nil
}

// addressKey returns the key of text as an address, or "" if it is none.
func addressKey(text string) string {
	address, err := email.Parse(text)
	if err != nil {
		return ""
	}
	return address.Key
}
