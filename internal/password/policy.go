package password

import (
	_ "embed"
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

// A PolicyError says why a password is refused, in words for its user. Prepare and Check return the ones below, some
// wrapped with a figure.
type PolicyError string

func (e PolicyError) Error() string { return string(e) }

const (
	ErrTooShort   PolicyError = "password is too short"
	ErrTooLong    PolicyError = "password is too long"
	ErrCharacters PolicyError = "password has a character that is not allowed, such as a control character"
	ErrCommon     PolicyError = "password is one of the most common ones"
	ErrIsUsername PolicyError = "password is the same as the username"
)

const (
	// DefaultMinLength is also the lowest that Policy allows: the floor of NIST SP 800-63B-4 §3.1.1.2 where there is
	// a second factor.
	DefaultMinLength = 8

	maxCharacters = 256 // which makes 1,024 bytes at most
)

// Prepare brings a password into the form in which it is hashed and compared: the PRECIS profile OpaqueString (RFC 8265
// §4.2), under which the ways to encode the same characters are alike. Preparing twice changes nothing more.
//
// It must come before Hash and Verify, at registration and at login. Its errors are ErrTooShort for an empty password,
// ErrTooLong and ErrCharacters.
func Prepare(password string) (string, error) {
	if password == "" {
		return "", ErrTooShort
	}
	if err := checkSize(password); err != nil {
		return "", err
	}
	// The profile would turn every stray byte into U+FFFD, and so make different passwords alike.
	if !utf8.ValidString(password) {
		return "", ErrCharacters
	}
	prepared, err := precis.OpaqueString.String(password)
	if err != nil {
		return "", ErrCharacters
	}
	if err := checkSize(prepared); err != nil { // normalization can lengthen
		return "", err
	}
	return prepared, nil
}

func checkSize(password string) error {
	if utf8.RuneCountInString(password) > maxCharacters {
		return fmt.Errorf("%w: at most %d characters", ErrTooLong, maxCharacters)
	}
	return nil
}

// Policy is the rule for new passwords. It is not for logins: those who registered under an older rule must still get
// in.
type Policy struct {
	// MinLength is in characters (code points); less than DefaultMinLength counts as that. NIST SP 800-63B-4
	// §3.1.1.2 wants 15 where the password is the only factor.
	MinLength int
}

// Check returns nil for a prepared password that a user with the key (the case-mapped username) may take, or else
// ErrTooShort, ErrTooLong, ErrCommon or ErrIsUsername.
func (p Policy) Check(prepared, usernameKey string) error {
	if shortest := max(p.MinLength, DefaultMinLength); utf8.RuneCountInString(prepared) < shortest {
		return fmt.Errorf("%w: at least %d characters", ErrTooShort, shortest)
	}
	if err := checkSize(prepared); err != nil {
		return err
	}
	if isUsername(prepared, usernameKey) {
		return ErrIsUsername
	}
	if isCommon(prepared) {
		return ErrCommon
	}
	return nil
}

func isUsername(prepared, usernameKey string) bool {
	asKey, err := precis.UsernameCaseMapped.String(prepared)
	return err == nil && asKey == usernameKey
}

//go:generate go run ./gencommon

// commonList has one password a line, in lower case and byte order. It is searched as it stands, so that a process that
// never registers anybody pays nothing for it.
//
//go:embed common.txt
var commonList string

func isCommon(prepared string) bool {
	wanted := strings.ToLower(prepared)
	at := sort.Search(len(commonList), func(i int) bool { return commonLine(i) >= wanted })
	return at < len(commonList) && commonLine(at) == wanted
}

// commonLine is the line that the byte at i belongs to, its line feed included.
func commonLine(i int) string {
	start := strings.LastIndexByte(commonList[:i], '\n') + 1
	line, _, _ := strings.Cut(commonList[start:], "\n")
	return line
}
