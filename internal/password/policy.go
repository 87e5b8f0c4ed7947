package password

import (
	_ "embed"
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/runes"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"

	"gatehouse.example/internal/breached"
)

// A PolicyError says why a password is refused, in words for its user. [Prepare] and [Policy.Check]
// return the ones below, some of them wrapped with a figure.
type PolicyError string

func (e PolicyError) Error() string { return string(e) }

const (
	ErrTooShort   PolicyError = "password is too short"
	ErrTooLong    PolicyError = "password is too long"
	ErrCharacters PolicyError = "password has a character that is not allowed, such as a control character"
	ErrCommon     PolicyError = "password is one of the most common ones"
	ErrIsUsername PolicyError = "password is the same as the username or the address"
	ErrIsWord     PolicyError = "password is a name that everybody here knows, with digits or signs at most"
	ErrBreached   PolicyError = "password is known from a leak, perhaps of another service; choose one that is used nowhere else"
)

const (
	// DefaultMinLength is also the lowest length that [Policy] allows. It is the minimum of NIST SP
	// 800-63B-4 §3.1.1.2 where there is a second factor.
	DefaultMinLength = 8

	// MaxLength is in characters, which makes 1,024 bytes at most.
	MaxLength = 256
)

// Prepare brings a new password into the form in which it is hashed and compared. That is the
// PRECIS profile OpaqueString (RFC 8265 §4.2): different encodings of the same characters become
// one. Emoji are allowed too. The profile refuses most sequences of emoji, since it knows neither
// the characters that join them nor those of a later Unicode than its tables. But people type them.
// Preparing a password twice changes nothing more.
//
// It must come before [Hasher.Hash]. [Hasher.Verify] does it by itself. Its errors are
// [ErrTooShort] for an empty password, [ErrTooLong] and [ErrCharacters].
func Prepare(password string) (string, error) {
	if password == "" {
		return "", ErrTooShort
	}
	if err := checkSize(password); err != nil {
		return "", err
	}
	// The profile would turn every stray byte into U+FFFD, and different passwords would become
	// one.
	if !utf8.ValidString(password) {
		return "", ErrCharacters
	}
	plain := withoutStyles(password)
	if plain == "" {
		return "", ErrTooShort
	}
	if _, err := precis.OpaqueString.String(withKnownEmoji(plain)); err != nil {
		return "", ErrCharacters
	}
	prepared := norm.NFC.String(runes.Map(asciiSpace).String(plain)) // the mappings of the profile
	if err := checkSize(prepared); err != nil {                      // normalization can lengthen
		return "", err
	}
	return prepared, nil
}

func asciiSpace(r rune) rune {
	if unicode.Is(unicode.Zs, r) {
		return ' '
	}
	return r
}

func checkSize(password string) error {
	if utf8.RuneCountInString(password) > MaxLength {
		return fmt.Errorf("%w: at most %d characters", ErrTooLong, MaxLength)
	}
	return nil
}

// Policy is the rule for new passwords. It is not for logins: accounts that were made under an
// older rule must still get in.
type Policy struct {
	// MinLength is in characters (code points). Less than [DefaultMinLength] counts as that. NIST
	// SP 800-63B-4 §3.1.1.2 asks for 15 where the password is the only factor.
	MinLength int
	// Words are names that are guessed first here, such as those of the organization and of its
	// products, in small letters alone (OWASP ASVS 5.0 §6.1.2). No password is one of them with
	// digits and signs.
	Words []string
	// Breached are the passwords that are known from leaks (NIST SP 800-63B-4 §3.1.1.2). nil: none.
	Breached *breached.Filter
}

// Check returns nil for a prepared password that a user may take. The user is given by the key,
// which is the case-mapped username. [ErrTooShort], [ErrTooLong], [ErrCommon],
// [ErrIsUsername], [ErrIsWord], [ErrBreached].
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
	if slices.Contains(p.Words, Letters(prepared)) {
		return ErrIsWord
	}
	if isCommon(prepared) {
		return ErrCommon
	}
	if p.Breached != nil && p.Breached.Contains(prepared) {
		return ErrBreached
	}
	return nil
}

func isUsername(prepared, usernameKey string) bool {
	asKey, err := precis.UsernameCaseMapped.String(prepared)
	return err == nil && asKey == usernameKey
}

// Letters are those of a text, as small ones.
func Letters(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, text)
}

//go:generate go run ./gencommon

// commonList has one password on each line, in lower case and in the order of bytes. It is searched
// as it is, so that a process that registers nobody pays nothing for it.
//
//go:embed common.txt
var commonList string

func isCommon(prepared string) bool {
	wanted := strings.ToLower(prepared)
	at := sort.Search(len(commonList), func(i int) bool { return commonLine(i) >= wanted })
	return at < len(commonList) && commonLine(at) == wanted
}

// commonLine is the line with the byte at i, with its line feed.
func commonLine(i int) string {
	start := strings.LastIndexByte(commonList[:i], '\n') + 1
	line, _, _ := strings.Cut(commonList[start:], "\n")
	return line
}
