package pages

import (
	"html/template"
	"net/url"
	"time"
)

// Factor is at [FactorPath]: the second step of a login.
type Factor struct {
	Username string
	Next     string // comes back in [NextField]
	// What the account has: an authenticator app, passkeys, recovery codes that are left.
	App, Passkeys, Codes bool
	// TrustDays is for how long the device may be trusted; 0: the login may not be shortened.
	TrustDays int
	Failure   Failure
}

func (p Factor) describe() description {
	d := description{
		Name: "factor", Title: "factor.title", Failure: p.Failure, Script: p.Passkeys,
		Focus: !p.Passkeys || p.Failure != Failure{},
	}
	switch {
	case p.App && p.Codes:
		d.Fields = []field{factorField("field.factor")}
	case p.App:
		d.Fields = []field{factorField("field.app_code")}
	case p.Codes:
		d.Fields = []field{factorField("field.recovery_code")}
	}
	return d
}

// AppOffer is an authenticator app that is to be set up. Nothing is stored of it before its code is
// confirmed.
type AppOffer struct {
	URI    string // otpauth
	Secret string // in groups
	Sealed string // comes back in [SealedField]
}

// Link opens an app on this device. It is "" for anything but an offer of an app.
func (o AppOffer) Link() template.URL {
	parsed, err := url.Parse(o.URI)
	if err != nil || parsed.Scheme != "otpauth" || parsed.Host != "totp" {
		return ""
	}
	return template.URL(parsed.String())
}

// Enrol is at [EnrolPath]: the account must have a second step, and has none yet.
type Enrol struct {
	Username    string
	Next        string // comes back in [NextField]
	App         AppOffer
	Passkeys    bool   // one can be made
	PasskeyName string // that it gets; "" leaves it to whoever reads the form
	Failure     Failure
}

func (p Enrol) describe() description {
	return description{
		Name: "enrol", Title: "enrol.title", Failure: p.Failure, Script: p.Passkeys,
		Focus:  p.Failure != Failure{},
		Fields: []field{factorField("field.app_code")},
	}
}

// RecoveryCodes shows new ones, once. Its form leads on.
type RecoveryCodes struct {
	Username string
	Codes    []string
	Next     string // where it leads to, by [LoginPath] and [ChoiceCurrent]
}

func (p RecoveryCodes) describe() description {
	return description{Name: "codes", Title: "codes.title", User: p.Username}
}

// Security is at [SecurityPath].
type Security struct {
	Username string
	Now      time.Time
	// MaySetUp is true where people can set up factors, and MakesPasskeys where they can make those.
	MaySetUp, MakesPasskeys bool
	App                     bool
	AppSince                time.Time
	Passkeys                []Passkey
	Codes                   int // recovery codes that are left
	Devices                 []TrustedDevice
	Passwordless            bool
	MayRemovePassword       bool // there are passkeys enough
	Notice                  Notice
	Failure                 Failure
}

func (p Security) describe() description {
	return description{
		Name: "security", Title: "security.title", Wide: true, User: p.Username,
		Notice: p.Notice, Failure: p.Failure,
	}
}

// Any is true if a login has a second step.
func (p Security) Any() bool { return p.App || len(p.Passkeys) > 0 }

// Few is true if new recovery codes are due.
func (p Security) Few() bool { return p.Codes <= 3 }

// Passkey is a row of [Security].
type Passkey struct {
	ID, Name       string
	Made, LastUsed time.Time // of which only the days are shown. The second is zero if there was no use
	Synced         bool      // it may be on several devices
}

// TrustedDevice is a row of [Security].
type TrustedDevice struct {
	ID        string
	UserAgent string // said in words
	Address   string
	Until     time.Time
}

// SetUpApp is at [AppPath].
type SetUpApp struct {
	Username string
	App      AppOffer
	Others   bool // all other devices are logged out
	Failure  Failure
}

func (p SetUpApp) describe() description {
	return description{
		Name: "app", Title: "app.title", User: p.Username, Failure: p.Failure,
		Focus:  p.Failure != Failure{},
		Fields: []field{factorField("field.app_code")},
	}
}

// NewPasskey is at [AddPasskeyPath].
type NewPasskey struct {
	Username string
	Name     string // proposed, or sent
	Others   bool   // all other devices are logged out
	Failure  Failure
}

func (p NewPasskey) describe() description {
	return description{
		Name: "passkey_new", Title: "passkey_new.title", User: p.Username, Failure: p.Failure,
		Script: true, Fields: []field{passkeyNameField(p.Name)},
	}
}

// ChangePasskey is at [PasskeyPath].
type ChangePasskey struct {
	Username string
	ID       string
	Name     string
	Failure  Failure
}

func (p ChangePasskey) describe() description {
	return description{
		Name: "passkey", Title: "passkey.title", User: p.Username, Failure: p.Failure,
		Fields: []field{passkeyNameField(p.Name)},
	}
}
