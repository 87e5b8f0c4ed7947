// Package email owns what an e-mail address is: which ones may be used, which two are the same, and
// how one is written for SMTP. It is pure. It knows nothing of who reads the mail.
package email

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Most bytes of an address and of its local part (RFC 5321 §4.5.3.1). An address has two less than
// a path, which has angle brackets. RFC 6531 §3.4 counts bytes too.
const (
	MaxLength      = 254
	MaxLocalLength = 64
)

// Address is an e-mail address (RFC 5322 §3.4.1, RFC 6532 §3.2) in three forms. The zero Address is
// none.
type Address struct {
	// Given is the address as it was typed, without the spaces around it.
	Given string
	// Key is the same for all the ways to write the address, and for addresses that nobody tells
	// apart. The domain is in A-labels (RFC 5890 §2.3.2.1) and lower case. The local part is without
	// case and without compatibility forms (NFKC). A server may tell upper from lower case (RFC 5321
	// §2.4), but none gives the two to different people. A key is an address, and its own key.
	Key string
	// Mailbox is where mail goes to: the local part in its own case (NFC), and the domain in
	// A-labels. It holds no space, no quotes, and nothing that a header or SMTP would take for a
	// sign of its own.
	Mailbox string
}

// IsASCII reports whether a text has ASCII characters alone. Every server takes such a mailbox.
// Others need SMTPUTF8 (RFC 6531).
func IsASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf })
}

// An Error says why an address is refused, in words for whoever typed it. It does not quote the
// address.
type Error string

func (e Error) Error() string { return string(e) }

// Reasons to refuse an address.
const (
	ErrEmpty  Error = "must not be empty"
	ErrLong   Error = "must have at most 254 bytes, and at most 64 before the @"
	ErrForm   Error = "must be an e-mail address, such as alice@example.org"
	ErrLocal  Error = "must have letters, digits and usual signs before the @, and neither spaces nor quotes"
	ErrDomain Error = "must have the name of a domain behind the @, such as example.org"
)

// Parse reads an address. Some forms that RFC 5322 allows are refused, since hardly anybody has
// such an address, and programs read them differently: quoted local parts, comments, literal IP
// addresses, and domains of one label. Errors: [Error].
func Parse(given string) (Address, error) {
	given = strings.TrimSpace(given)
	switch {
	case given == "":
		return Address{}, ErrEmpty
	case len(given) > MaxLength: // before anything looks at the characters
		return Address{}, ErrLong
	case !utf8.ValidString(given):
		return Address{}, ErrForm
	}
	a, err := parse(given)
	if err != nil {
		return Address{}, err
	}
	// Unicode's foldings are not idempotent for each string. A key with another key would be two
	// accounts.
	if again, err := parse(a.Key); err != nil || again.Key != a.Key {
		return Address{}, ErrLocal
	}
	return a, nil
}

func parse(given string) (Address, error) {
	// Keyboards for Chinese and Japanese have a wide @.
	local, domain, found := cut(strings.ReplaceAll(given, "＠", "@"))
	if !found {
		return Address{}, ErrForm
	}
	local = norm.NFC.String(local)
	folded := foldLocal(local)
	if !isDotAtom(local) || !isDotAtom(folded) {
		return Address{}, ErrLocal
	}
	domain, err := asciiDomain(domain)
	if err != nil {
		return Address{}, err
	}
	a := Address{Given: given, Key: folded + "@" + domain, Mailbox: local + "@" + domain}
	if max(len(local), len(folded)) > MaxLocalLength || max(len(a.Key), len(a.Mailbox)) > MaxLength {
		return Address{}, ErrLong
	}
	return a, nil
}

// cut cuts at the only @.
func cut(given string) (local, domain string, found bool) {
	local, domain, found = strings.Cut(given, "@")
	return local, domain, found && !strings.Contains(domain, "@")
}

// foldLocal is toNFKC_Casefold (Unicode, D146), but that it removes nothing: what that would remove
// is refused.
func foldLocal(local string) string {
	return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(local)))
}

// isDotAtom is true of a Dot-string (RFC 5321 §4.1.2, RFC 6531 §3.3).
func isDotAtom(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool { return !isAtext(r) }) {
			return false
		}
	}
	return true
}

// isAtext is true of atext (RFC 5322 §3.2.3) and, beyond ASCII, of what people see. RFC 6532 would
// allow any character.
func isAtext(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' ||
			strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S) && r != utf8.RuneError &&
		!unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// asciiDomain returns a domain in A-labels and lower case, by IDNA 2008 with the mappings of UTS
// #46 that browsers use.
func asciiDomain(domain string) (string, error) {
	profile := idna.New(
		idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.CheckJoiners(true),
		idna.CheckHyphens(true), idna.StrictDomainName(true), idna.VerifyDNSLength(true),
	)
	ascii, err := profile.ToASCII(domain)
	if err != nil || !IsASCII(ascii) || !strings.Contains(ascii, ".") {
		return "", ErrDomain
	}
	labels := strings.Split(ascii, ".")
	for _, label := range labels {
		shown, err := profile.ToUnicode(label)
		isEncoded := strings.HasPrefix(label, "xn--")
		// an encoding of plain letters would be a second way to write them
		if err != nil || label == "" || isEncoded && IsASCII(shown) {
			return "", ErrDomain
		}
		if again, err := profile.ToASCII(shown); err != nil || again != label {
			return "", ErrDomain
		}
	}
	// The last label of an IP address is a number, and that of a name is not (RFC 3696 §2).
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return "", ErrDomain
	}
	return ascii, nil
}
