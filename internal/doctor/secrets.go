package doctor

import (
	"bytes"
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// leastBits is what a key should have. 32 random hexadecimal digits are above it, even where some
// of the 16 come more often than others by chance.
const leastBits = 100

// Secret judges how hard the keys of a setting are to guess.
func Secret(setting string, keys [][]byte) Finding {
	if len(keys) == 0 {
		return Good("%s is not set: passwords are hashed without a key", setting)
	}
	for n, key := range keys {
		if bits(key) < leastBits {
			return Warned(fmt.Sprintf("key %d of %s looks as if it could be guessed, since it repeats itself or is made of words",
				n+1, setting), "replace it by one of `openssl rand -hex 32`: docs/operations.md says how")
		}
	}
	return Good("%s has keys that look random: %d", setting, len(keys))
}

// bits estimates how many bits of chance a key has at most: those of its letters, without those
// that continue a pattern. Of words, whoever guesses takes them from a list.
func bits(key []byte) float64 {
	unit := unitOf(key)
	distinct := map[byte]bool{}
	for _, c := range unit {
		distinct[c] = true
	}
	each := math.Log2(float64(len(distinct)))
	if isWords(string(key)) {
		each = min(each, 2)
	}
	return each * float64(unpredicted(unit))
}

// unitOf is what a key repeats.
func unitOf(key []byte) []byte {
	for size := 1; size <= len(key)/2; size++ {
		if bytes.Equal(key[size:], key[:len(key)-size]) {
			return key[:size]
		}
	}
	return key
}

// unpredicted counts the letters that do not go on with a row such as aaa, 123 or cba.
func unpredicted(key []byte) (count int) {
	for n := range key {
		if n >= 2 {
			step := int(key[n]) - int(key[n-1])
			if step == int(key[n-1])-int(key[n-2]) && -1 <= step && step <= 1 {
				continue
			}
		}
		count++
	}
	return count
}

func isWords(key string) bool {
	words := strings.FieldsFunc(key, func(r rune) bool { return strings.ContainsRune(" -_.", r) })
	letters := strings.Join(words, "")
	return len(words) > 1 && strings.IndexFunc(letters, func(r rune) bool { return !unicode.IsLetter(r) }) < 0
}

// OpenFiles judges files with secrets, of which some can be read by everybody on the machine.
func OpenFiles(all, open []string) Finding {
	switch {
	case len(open) > 0:
		return Warned("everybody on this machine can read "+strings.Join(open, ", "),
			"chmod o-r, or keep them in a folder that is closed to others")
	case len(all) == 0:
		return Good("no secret comes from a file")
	}
	return Good("not for others to read: %s", strings.Join(all, ", "))
}

// Issuer judges the URL of the service.
func Issuer(issuer string, isLoopback func(host string) bool) Finding {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "":
		return Failed("ISSUER is no URL", "set ISSUER to the URL that clients use")
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return Failed("ISSUER has more than a scheme, a host and a path",
			"take the rest off: clients refuse it (OpenID Connect Discovery, section 3)")
	case u.Scheme != "https" && !isLoopback(u.Hostname()):
		return Warned("ISSUER is not https, so whoever is on the way reads passwords and cookies",
			"put TLS before the service, and set ISSUER to the https URL")
	case strings.HasSuffix(issuer, "/"):
		return Warned("ISSUER ends with a slash, and clients compare it letter by letter with what they were told",
			"take the slash off, in the settings of the apps too: tokens of before are refused then")
	}
	return Good("%s", issuer)
}

// Key is a signing key that is in use, or will be.
type Key struct {
	ID, Algorithm, Use string
	Since              *time.Time // since when it signs; nil: it does not
	Fixed              bool       // it is not replaced by itself
	Opens              bool       // its private half, with SECRET_KEY; true if there is none
}

// SigningKeys judges the keys that sign tokens. They are replaced by themselves after some time,
// which is 0 for never.
func SigningKeys(keys []Key, replacedAfter time.Duration, now time.Time) Finding {
	const day = 24 * time.Hour
	var sealed, overdue, signing []string
	for _, k := range keys {
		if !k.Opens {
			sealed = append(sealed, k.ID)
		}
		if k.Since == nil {
			continue
		}
		age := now.Sub(*k.Since)
		text := fmt.Sprintf("%s for %s tokens since %s", k.Algorithm, k.Use, k.Since.UTC().Format(time.DateOnly))
		signing = append(signing, text)
		if !k.Fixed && replacedAfter > 0 && age > replacedAfter+day {
			overdue = append(overdue, text)
		}
	}
	switch {
	case len(sealed) > 0:
		return Failed("SECRET_KEY does not open "+strings.Join(sealed, ", "),
			"give it the value that the replicas have; docs/keys.md says what to do where that is lost")
	case len(signing) == 0:
		return Warned("no key signs yet", "start the service, which makes the first keys")
	case len(overdue) > 0:
		return Warned("older than KEY_ROTATION_DAYS: "+strings.Join(overdue, ", "),
			"see that a replica runs, and look into its log for `upkeep failed`; `gatehouse key rotate` does it now")
	}
	return Good("%s", strings.Join(signing, ", "))
}
