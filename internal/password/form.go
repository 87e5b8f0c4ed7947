package password

import (
	"errors"
	"fmt"
	"regexp"
)

// A form is a stored password hash that is taken apart. It is either a plain bcrypt string, as
// imported from elsewhere, or the service's own
//
//	$hmac-sha256$k=<key id>$<bcrypt string of base64(HMAC-SHA-256(key, password))>
//
// where a bcrypt string is $2<variant>$<cost>$<22 characters of salt><31 of hash>.
type form struct {
	keyID   string // empty: plain
	variant string // "a", "b", "x" or "y"
	cost    int    // 0 to 99: parsing doesn't judge
	body    string // salt and hash
}

var (
	errMalformed = errors.New("it is no bcrypt string")

	storedForm = regexp.MustCompile(
		`\A(?:\$hmac-sha256\$k=([0-9a-f]{1,16})\$)?\$2([abxy])\$([0-9])([0-9])\$([./A-Za-z0-9]{53})\z`)
)

// parse is strict. String gives back all that it takes, to the byte.
func parse(stored string) (form, error) {
	m := storedForm.FindStringSubmatch(stored)
	if m == nil {
		return form{}, errMalformed
	}
	tens, ones := int(m[3][0]-'0'), int(m[4][0]-'0')
	return form{keyID: m[1], variant: m[2], cost: 10*tens + ones, body: m[5]}, nil
}

func (f form) String() string {
	if f.keyID == "" {
		return f.bcrypt()
	}
	return fmt.Sprintf("$hmac-sha256$k=%s$%s", f.keyID, f.bcrypt())
}

func (f form) bcrypt() string {
	return fmt.Sprintf("$2%s$%02d$%s", f.variant, f.cost, f.body)
}
