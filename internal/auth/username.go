package auth

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"

	"gatehouse.example/internal/confusable"
	"gatehouse.example/internal/email"
)

// MaxUsernameLength is in characters, both for the name as given and for its key. A name with an @
// may be an address. It may have MaxAddressLength bytes (RFC 5321 §4.5.3.1.3, RFC 6531 §3.4). That
// is about as many as other names may have. Names are in tokens, whose size is bounded.
const (
	MaxUsernameLength = 64
	MaxAddressLength  = 254
)

// Username is a name as its owner wrote it, and the key by which it is found. Two names with the
// same key are the same account.
type Username struct {
	Given string
	Key   string
	// Address is the key that the name would have as an e-mail address, if that is another one. It
	// is set only for names that are to be registered.
	Address string
	// Skeleton is the same for names that look alike. It is set only for names that must not look
	// like any other: those that strangers register.
	Skeleton string
}

// A NameError says why a name is refused, in words for its user. It is within the [InputError] of
// the name.
type NameError string

func (e NameError) Error() string { return string(e) }

// Reasons to refuse a name.
const (
	ErrNameEmpty      NameError = "must not be empty"
	ErrNameLong       NameError = "must have at most 64 characters, or 254 bytes with an @"
	ErrNameCharacters NameError = "may have letters, digits and punctuation, but no spaces, symbols or control characters"
	ErrNameMixed      NameError = "must not mix letters of different scripts, which can be mistaken for each other"
	ErrNameLookalike  NameError = "must not look like a name in Latin letters"
	ErrNameSigns      NameError = "may have letters, digits and the signs . _ - + ', and must begin with a letter, a digit or _"
	ErrNameSignsAt    NameError = "may have letters, digits and the signs . _ - + ' @, and must begin with a letter, a digit or _" // where a name may be an address
	ErrNameReserved   NameError = "is reserved, or looks like a reserved name"
	ErrNameAddress    NameError = "must not be an e-mail address, which goes into its own field"
)

// parseUsername finds the key of a name with the profile UsernameCaseMapped of PRECIS (RFC 8265
// §3.3). The profile folds width and case, so that "Alice" and "ａｌｉｃｅ" are "alice". Spaces around
// the name are cut, since keyboards of phones add one after a word.
func parseUsername(given string) (Username, error) {
	given = strings.TrimSpace(given)
	if given == "" {
		return Username{}, ErrNameEmpty
	}
	// The bytes come first. A stranger could make us count the characters of a megabyte.
	if len(given) > utf8.UTFMax*MaxUsernameLength || isTooLong(given) {
		return Username{}, ErrNameLong
	}
	key, err := usernameKey(given)
	if err != nil {
		return Username{}, ErrNameCharacters
	}
	// The profile is not idempotent for every string (RFC 8264 §7). A key that has another key
	// would be two accounts.
	if again, err := usernameKey(key); err != nil || again != key {
		return Username{}, ErrNameCharacters
	}
	if isTooLong(key) {
		return Username{}, ErrNameLong
	}
	return Username{Given: given, Key: key}, nil
}

func isTooLong(name string) bool {
	isAddress := strings.ContainsAny(name, "@＠") // the profile folds the wide one
	return utf8.RuneCountInString(name) > MaxUsernameLength &&
		!(isAddress && len(name) <= MaxAddressLength)
}

// usernameKey applies the profile. An address may have a local part that is written from right to
// left, before a domain that is not. The profile forbids such a mixture (RFC 5893 §2). For an
// address it is applied to each of the two parts.
func usernameKey(given string) (string, error) {
	key, err := precis.UsernameCaseMapped.String(given)
	if err == nil {
		return key, nil
	}
	local, domain, found := cutAddress(given)
	if !found || !email.IsASCII(domain) {
		return "", err
	}
	if local, err = precis.UsernameCaseMapped.String(local); err != nil {
		return "", err
	}
	domain, err = precis.UsernameCaseMapped.String(domain)
	return local + "@" + domain, err
}

// cutAddress cuts at the last @.
func cutAddress(name string) (local, domain string, found bool) {
	at := strings.LastIndexByte(name, '@')
	if at < 0 {
		return name, "", false
	}
	return name[:at], name[at+1:], true
}

// newUsername is parseUsername for a name that is to be registered. The name must not pass for
// another one. Spaces around it are refused and not cut, so that nobody gets another name than the
// one they asked for.
func newUsername(given string) (Username, error) {
	name, err := parseUsername(given)
	if err != nil {
		return Username{}, err
	}
	if name.Given != given {
		return Username{}, ErrNameCharacters
	}
	if name.Address = addressKey(given); name.Address == name.Key {
		name.Address = ""
	}
	local, domain, _ := cutAddress(name.Key)
	return name, cmp.Or(checkConfusable(local), checkConfusable(domain))
}

// strangerUsername is newUsername for a stranger, whose intentions nobody knows. It has further
// rules, to which operators and older names are not held. The name must not look like that of
// another account, nor like a name in Latin letters, even if nobody has that name. Web pages and
// spreadsheets must not take the name for anything but a name.
func (r ReservedNames) strangerUsername(given string) (Username, error) {
	name, err := newUsername(given)
	if err != nil {
		return Username{}, err
	}
	switch first, _ := utf8.DecodeRuneInString(name.Key); {
	case strings.ContainsFunc(name.Key, isSign), first != '_' && !unicode.IsLetter(first) &&
		!unicode.IsNumber(first):
		return Username{}, ErrNameSignsAt
	case looksLatin(given), looksLatin(name.Key):
		return Username{}, ErrNameLookalike
	case r.holds(given), r.holds(name.Key):
		return Username{}, ErrNameReserved
	}
	name.Skeleton = SkeletonOf(name.Key)
	return name, nil
}

// SkeletonOf returns the skeleton of the name with a key.
func SkeletonOf(key string) string { return confusable.Skeleton(key) }

// isSign is true for ASCII punctuation that neither names nor most people's addresses have. The
// profile allows no other punctuation.
func isSign(r rune) bool {
	return r < utf8.RuneSelf &&
		!('a' <= r && r <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("._-+'@", r))
}

// looksLatin is true if a part of a name has letters of another script than Latin, and all of those
// look Latin.
func looksLatin(name string) bool {
	local, domain, _ := cutAddress(name)
	return slices.ContainsFunc([]string{local, domain}, func(part string) bool {
		others, latin := 0, 0
		for _, r := range part {
			script := scriptOf(r)
			if script == "" || script == "Latin" {
				continue
			}
			if script == "Cherokee" { // its small letters are small capitals
				r = unicode.ToUpper(r)
			}
			switch looks := confusable.Prototype(r); {
			case isLatinShaped(r), isLatinText(looks):
				latin++
			// else it looks like a sign, as some letters of Lisu do
			case strings.ContainsFunc(looks, unicode.IsLetter):
				others++
			}
		}
		return latin > 0 && others == 0
	})
}

// smallCapitals are letters for phonetic transcription that are drawn as capitals. Small letters of
// other scripts look like them.
const smallCapitals = "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ"

// isLatinText is true of letters on a usual keyboard. Others, such as a reversed N, do not suggest
// a Latin name: the Cyrillic Ivan has one.
func isLatinText(looks string) bool {
	letters := 0
	for _, r := range looks {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', strings.ContainsRune(smallCapitals, r):
			letters++
		case unicode.IsLetter(r):
			return false
		}
	}
	return letters > 0
}

// ReservedNames are names that strangers may not register. Nor may they register a name that looks
// like one of them. Operators may.
type ReservedNames struct{ shapes map[string]bool }

// NewReservedNames reserves names.
func NewReservedNames(names []string) ReservedNames {
	r := ReservedNames{make(map[string]bool)}
	for _, name := range names {
		r.shapes[shape(name)] = true
	}
	delete(r.shapes, "")
	return r
}

func (r ReservedNames) holds(name string) bool { return r.shapes[shape(name)] }

// shape is the skeleton of a name, where more characters count as alike. They are the pairs of
// ASCII characters that UTS #39 knows, and also capital i and small L. Accents, and the signs
// between words, are left out. This would be too strict for names in general, where modem and
// modern are two.
func shape(name string) string {
	bare := strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Mn, r), strings.ContainsRune("._-'", r):
			return -1
		case r == '0':
			return 'o'
		case r == '1', r == '|', r == 'l':
			return 'i'
		}
		return r
	}, norm.NFD.String(confusable.Skeleton(strings.ToLower(name))))
	return strings.NewReplacer("rn", "m", "vv", "w").Replace(bare)
}

// checkConfusable refuses names by which one account could pose as another. These are names that
// mix scripts beyond what UTS #39 §5.2 calls highly restrictive, names written only in letters of
// another script that look Latin (§4), and names with letters for phonetic transcription that look
// Latin.
func checkConfusable(part string) error {
	scripts, latinShaped := map[string]bool{}, true
	for _, r := range part {
		if unicode.Is(phonetic(), r) {
			return ErrNameLookalike
		}
		script := scriptOf(r)
		if script == "" {
			continue
		}
		scripts[script] = true
		latinShaped = latinShaped && isLatinShaped(r)
	}
	if !mayMix(scripts) {
		return ErrNameMixed
	}
	if len(scripts) > 0 && latinShaped {
		return ErrNameLookalike
	}
	return nil
}

// scriptOf is empty for characters that belong to no single script, such as digits and punctuation.
func scriptOf(r rune) string {
	if unicode.In(r, unicode.Common, unicode.Inherited) {
		return ""
	}
	for _, common := range []string{
		"Latin", "Cyrillic", "Greek", "Han", "Hiragana", "Katakana", "Hangul", "Arabic",
	} {
		if unicode.Is(unicode.Scripts[common], r) {
			return common
		}
	}
	for name, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			return name
		}
	}
	return "" // not reached: PRECIS refuses unassigned characters
}

// mayMix allows one script alone, or one of the sets in which Chinese, Japanese and Korean are
// written beside Latin.
func mayMix(scripts map[string]bool) bool {
	if len(scripts) <= 1 {
		return true
	}
	for _, set := range [][]string{
		{"Latin", "Han", "Hiragana", "Katakana"},
		{"Latin", "Han", "Bopomofo"},
		{"Latin", "Han", "Hangul"},
	} {
		found := 0
		for _, s := range set {
			if scripts[s] {
				found++
			}
		}
		if found == len(scripts) {
			return true
		}
	}
	return false
}

// isLatinShaped is true for lower-case Cyrillic, Greek and Armenian letters that most typefaces
// draw like Latin ones.
func isLatinShaped(r rune) bool {
	switch r {
	case 'а', 'в', 'е', 'ѕ', 'і', 'ј', 'к', 'м', 'н', 'о', 'р', 'с', 'т', 'у', 'х', 'ү', 'һ', 'ӏ',
		'ԁ', 'ԛ', 'ԝ', 'ѵ', 'ь', 'п', 'г',
		'α', 'γ', 'ι', 'κ', 'ν', 'ο', 'ρ', 'σ', 'τ', 'υ', 'χ', 'ω', 'η', 'ϲ', 'ϳ',
		'ո', 'ս', 'օ', 'հ', 'ց', 'զ':
		return true
	}
	return false
}

// phonetic is the Unicode blocks of letters for phonetic transcription. No name is written in them.
func phonetic() *unicode.RangeTable {
	return &unicode.RangeTable{R16: []unicode.Range16{
		{Lo: 0x0250, Hi: 0x02AF, Stride: 1}, {Lo: 0x1D00, Hi: 0x1DBF, Stride: 1},
	}}
}
