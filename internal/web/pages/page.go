package pages

import (
	"net/url"
	"slices"
	"time"
)

// Page is one of the pages of this package. Whatever strings it holds, the page that is rendered
// shows them as text.
type Page interface{ describe() description }

// description is what a page tells the layout.
type description struct {
	Name    string // of its template
	Title   string // the name of a text
	App     string // in the title
	Wide    bool
	Focus   bool   // the first field to be filled in gets the focus
	Forget  bool   // the browser forgets earlier pages, since their reader has logged out
	Script  bool   // for passkeys
	User    string // who is logged in, for the links at the top; "" for nobody
	Failure Failure
	Notice  Notice
	Fields  []field
}

// names are those of all templates.
func names() []string {
	return []string{
		"home", "login", "register", "password", "forgot", "code", "reset", "invitation",
		"verify", "proof", "undo", "consent", "end_session", "logged_out", "account", "email",
		"delete", "error", "factor", "enrol", "codes", "security", "app", "passkey", "passkey_new",
		"no_factor",
	}
}

// Home is at [HomePath].
type Home struct {
	Username         string // "" if nobody is logged in
	RegistrationOpen bool
	OffersPasskey    bool // the browser may make one of its own accord
	Notice           Notice
}

func (p Home) describe() description {
	title := "home.title"
	if p.Username != "" {
		title = "home.in.title"
	}
	return description{
		Name: "home", Title: title, Notice: p.Notice, Forget: p.Notice == NoticeDeleted,
		Script: p.OffersPasskey,
	}
}

// Login is at [LoginPath].
type Login struct {
	Username string
	// UsernameFixed is for somebody who must give their own password again.
	UsernameFixed bool
	ByAddress     bool   // a verified address is as good as a username
	Next          string // comes back in [NextField]
	To            string // the app that the person goes on to; "" for none
	Remember      bool
	// AlreadyAs is who is logged in. The page offers to go on as them, by [ChoiceCurrent].
	AlreadyAs        string
	RegistrationOpen bool
	ForgotOpen       bool // whoever has forgotten the password can reset it by mail
	Passkeys         bool // a passkey is good in place of name and password
	Notice           Notice
	Failure          Failure
}

func (p Login) describe() description {
	title := "login.title"
	if p.UsernameFixed {
		title = "login.again.title"
	}
	name := usernameField(p.Username, p.UsernameFixed)
	if p.ByAddress && !p.UsernameFixed {
		name.Label = "field.login"
	}
	if p.Passkeys {
		name.Autocomplete = "username webauthn" // browsers then offer passkeys at the field
	}
	return description{
		Name: "login", Title: title, Failure: p.Failure, Notice: p.Notice, Script: p.Passkeys,
		Focus: !p.OffersCurrent() || p.Failure != Failure{},
		Fields: []field{
			name,
			passwordField(PasswordField, "current-password", NoProblem),
		},
	}
}

// NoFactor is at [LoginPath], for somebody who cannot log in as strongly as an app demands: there
// is no second factor to prove.
type NoFactor struct {
	Username string
	App      string // which demands it
}

func (p NoFactor) describe() description {
	return description{Name: "no_factor", Title: "no_factor.title", App: p.App, User: p.Username}
}

// OffersCurrent is true if the person may go on without a password.
func (p Login) OffersCurrent() bool { return p.AlreadyAs != "" && !p.UsernameFixed }

// Register is at [RegisterPath].
type Register struct {
	Username  string
	Next      string // comes back in [NextField]
	To        string // the app that the person goes on to; "" for none
	MinLength int    // of a password, in characters
	// AsksAddress is true where accounts have addresses. Where NeedsAddress is true too, there are
	// no usernames: whoever registers has an address alone.
	AsksAddress, NeedsAddress bool
	// NameMayBeAddress is true where addresses are off: only there may a username have an @.
	NameMayBeAddress bool
	Address          string
	UsernameProblem  Problem
	AddressProblem   Problem
	PasswordProblem  Problem
	Failure          Failure
}

func (p Register) describe() description {
	d := description{
		Name: "register", Title: "register.title", Focus: true, Failure: p.Failure,
	}
	if !p.NeedsAddress {
		name := usernameField(p.Username, false)
		name.Hint, name.Problem = "field.username.hint", p.UsernameProblem
		if p.NameMayBeAddress {
			name.Hint = "field.username.hint.at"
		}
		d.Fields = append(d.Fields, name)
	}
	if p.AsksAddress || p.NeedsAddress {
		address := addressField(p.Address, p.AddressProblem)
		if address.Optional = !p.NeedsAddress; address.Optional {
			address.Hint = "field.email.hint"
		} else {
			address.Autocomplete = "username" // by which they log in
		}
		d.Fields = append(d.Fields, address)
	}
	d.Fields = append(d.Fields, newPasswordField(PasswordField, p.PasswordProblem, p.MinLength))
	return d
}

// DemandedPassword is at [LoginPasswordPath]. The account demands another password before it lets
// its owner in.
type DemandedPassword struct {
	Username       string
	Next           string // comes back in [NextField]
	Remember       bool   // comes back in [RememberField]
	MinLength      int    // of a password, in characters
	CurrentProblem Problem
	NewProblem     Problem
	Failure        Failure
}

func (p DemandedPassword) describe() description {
	return description{
		Name: "password", Title: "password.title", Focus: true, Failure: p.Failure,
		Fields: []field{
			usernameField(p.Username, false),
			passwordField(CurrentField, "current-password", p.CurrentProblem),
			newPasswordField(NewField, p.NewProblem, p.MinLength),
		},
	}
}

// Forgot is at [ForgotPath]. Its form goes to [ForgotMailPath].
type Forgot struct {
	Login   string // a username, or an address
	Next    string // comes back in [NextField]
	Failure Failure
}

func (p Forgot) describe() description {
	return description{
		Name: "forgot", Title: "forgot.title", Focus: true, Failure: p.Failure,
		Fields: []field{{
			Name: LoginField, Type: "text", Autocomplete: "username", Value: p.Login,
		}},
	}
}

// ResetByCode is at [ResetCodePath]. It says the same whether there is an account or not.
type ResetByCode struct {
	Challenge  string // comes back in [ChallengeField]
	Code       string // if it is not known to be wrong
	Next       string // comes back in [NextField]
	MinLength  int    // of a password, in characters
	NewProblem Problem
	Notice     Notice
	Failure    Failure
}

func (p ResetByCode) describe() description {
	return description{
		Name: "code", Title: "code.title", Focus: true, Failure: p.Failure, Notice: p.Notice,
		Fields: []field{
			{Name: CodeField, Type: "text", Autocomplete: "one-time-code", Value: p.Code},
			newPasswordField(NewField, p.NewProblem, p.MinLength),
		},
	}
}

// ResetByLink is at [ResetLinkPath]. It names no account: whatever opens links may see it.
type ResetByLink struct {
	Token      string // of the link
	MinLength  int    // of a password, in characters
	NewProblem Problem
	Failure    Failure
}

func (p ResetByLink) describe() description {
	return description{
		Name: "reset", Title: "reset.title", Focus: true, Failure: p.Failure,
		Fields: []field{newPasswordField(NewField, p.NewProblem, p.MinLength)},
	}
}

// VerifyByLink is at [VerifyLinkPath]. It names no account but to whoever is logged in to it:
// whatever opens links may see it.
type VerifyByLink struct {
	Token string // of the link
	// Username is who is logged in, and whose address it becomes. "": the password is asked for.
	Username        string
	PasswordProblem Problem
	Failure         Failure
}

func (p VerifyByLink) describe() description {
	d := description{
		Name: "verify", Title: "verify.title", Focus: true, User: p.Username, Failure: p.Failure,
	}
	if p.Username == "" {
		d.Fields = []field{passwordField(PasswordField, "current-password", p.PasswordProblem)}
	}
	return d
}

// VerifyByCode is at [VerifyCodePath]. It says the same whether the address can be verified or not.
type VerifyByCode struct {
	Challenge string // comes back in [ChallengeField]
	// Username is who is logged in, and has asked for the mail. "": the password is asked for.
	Username string
	// Login is the name with which the login begins that follows. It comes back in [UsernameField].
	Login           string
	Code            string // if it is not known to be wrong
	Next            string // comes back in [NextField]
	PasswordProblem Problem
	Notice          Notice
	Failure         Failure
}

func (p VerifyByCode) describe() description {
	d := description{
		Name: "proof", Title: "proof.title", Focus: true, User: p.Username, Failure: p.Failure,
		Notice: p.Notice,
		Fields: []field{
			{Name: CodeField, Type: "text", Autocomplete: "one-time-code", Value: p.Code},
		},
	}
	if p.Username == "" {
		d.Fields = append(d.Fields,
			passwordField(PasswordField, "current-password", p.PasswordProblem))
	}
	return d
}

// UndoByLink is at [UndoLinkPath]. It names no account, as [VerifyByLink].
type UndoByLink struct {
	Token   string // of the link
	Failure Failure
}

func (p UndoByLink) describe() description {
	return description{Name: "undo", Title: "undo.title", Failure: p.Failure}
}

// Invitation is at [InvitationPath]. It names nobody: whatever opens links may see it.
type Invitation struct {
	Token           string // of the link
	NeedsName       bool   // whoever has sent the invitation has chosen none
	Username        string
	MinLength       int // of a password, in characters
	UsernameProblem Problem
	NewProblem      Problem
	Failure         Failure
}

func (p Invitation) describe() description {
	d := description{Name: "invitation", Title: "invitation.title", Focus: true, Failure: p.Failure}
	if p.NeedsName {
		name := usernameField(p.Username, false)
		name.Hint, name.Problem = "field.username.hint", p.UsernameProblem
		d.Fields = append(d.Fields, name)
	}
	d.Fields = append(d.Fields, newPasswordField(NewField, p.NewProblem, p.MinLength))
	return d
}

// Consent asks whether an app may have what it asks for. Its form goes to [ConsentPath].
type Consent struct {
	Username string
	App      string
	// Asks are values of a scope, or "*" for all. Those of OpenID Connect are said in words, and
	// permissions as they are.
	Asks []string
	Next string // comes back in [NextField]
}

func (p Consent) describe() description {
	return description{Name: "consent", Title: "consent.title", User: p.Username}
}

// EndSession asks whether to log out. Its form goes to [EndSessionPath].
type EndSession struct {
	Username string
	App      string   // the app that asks for it; "" for none
	Hidden   []Hidden // come back as they are
}

func (p EndSession) describe() description {
	return description{Name: "end_session", Title: "end_session.title"}
}

// Hidden is a field of a form that its person does not see.
type Hidden struct{ Name, Value string }

// LoggedOut says that it is done.
type LoggedOut struct {
	App string // the app that the link leads to; "" for none
	// Onward is a URL. There is no link if its scheme is neither http nor https.
	Onward string
}

func (p LoggedOut) describe() description {
	return description{Name: "logged_out", Title: "logged_out.title", Forget: true}
}

// Link is Onward, or "" if that could be anything but a page.
func (p LoggedOut) Link() string {
	parsed, err := url.Parse(p.Onward)
	if err != nil || parsed.Host == "" || !slices.Contains([]string{"http", "https"}, parsed.Scheme) {
		return ""
	}
	return p.Onward
}

// Account is at [AccountPath].
type Account struct {
	Username string
	Now      time.Time
	Sessions []Session // a page of them, the one used last comes first
	// Older is the cursor of the next page of sessions, and "" on the last page.
	Older string
	// Later is true for every page of sessions but the first.
	Later          bool
	Apps           []AllowedApp
	MinLength      int // of a password, in characters
	Address        AccountAddress
	Factors        AccountFactors
	Passwordless   bool // no password is asked for: the login was a moment ago
	OffersPasskey  bool // as in [Home]
	OfferDays      int  // a second factor is proposed, and again after so long; 0: it is not
	CurrentProblem Problem
	NewProblem     Problem
	Notice         Notice
	Failure        Failure // of the form that was sent
}

// AccountAddress is what is shown of the address of an account.
type AccountAddress struct {
	Verified string // "": none is
	Waiting  string // an address that is to be verified; "": none
	// MayChange is true where another one can be verified, and MayRemove where an account may have
	// none.
	MayChange, MayRemove bool
}

// AccountFactors is what an account has besides its password.
type AccountFactors struct {
	Shown    bool // there is a page for it
	App      bool // an authenticator app
	Passkeys int
	Codes    int // recovery codes that are left
}

// Any is true if a login has a second step.
func (f AccountFactors) Any() bool { return f.App || f.Passkeys > 0 }

// Shown is true if there is anything to say.
func (a AccountAddress) Shown() bool { return a.MayChange || a.Verified != "" || a.Waiting != "" }

// AccountEmail is at [AccountEmailPath].
type AccountEmail struct {
	Username       string
	Address        AccountAddress
	Given          string // the address that was sent
	Passwordless   bool   // as in [Account]
	AddressProblem Problem
	CurrentProblem Problem
	Failure        Failure
}

func (p AccountEmail) describe() description {
	return description{
		Name: "email", Title: "email.title", Focus: true, User: p.Username, Failure: p.Failure,
		Fields: append([]field{addressField(p.Given, p.AddressProblem)},
			currentPassword(CurrentField, p.Passwordless, p.CurrentProblem)...),
	}
}

// Session is one row of [Account].
type Session struct {
	ID        string
	UserAgent string // said in words
	Address   string
	LastUsed  time.Time // of which only the day is shown
	Current   bool      // it is the one that the page is shown to
	App       string    // the title of the app whose session it is; "" for a browser
	Apps      []string  // the titles of the apps that a browser is logged in to
}

// AllowedApp is an app that the user of an [Account] lets in.
type AllowedApp struct {
	ID    string
	Title string
	Asks  []string // what it may have, as in [Consent]
	Since time.Time
}

func (p Account) describe() description {
	return description{
		Name: "account", Title: "account.title", Wide: true, User: p.Username,
		Failure: p.Failure, Notice: p.Notice, Script: p.OffersPasskey,
		Fields: append(currentPassword(CurrentField, p.Passwordless, p.CurrentProblem),
			newPasswordField(NewField, p.NewProblem, p.MinLength)),
	}
}

// Others is true if there is a session to end besides the one that the page is shown to.
func (p Account) Others() bool {
	return p.Later || p.Older != "" ||
		slices.ContainsFunc(p.Sessions, func(s Session) bool { return !s.Current })
}

// DeleteAccount is at [DeleteAccountPath]. It says what is lost, and asks for the password.
type DeleteAccount struct {
	Username        string
	Passwordless    bool // as in [Account]
	PasswordProblem Problem
	Failure         Failure
}

func (p DeleteAccount) describe() description {
	return description{
		Name: "delete", Title: "delete.title", Focus: true, User: p.Username, Failure: p.Failure,
		Fields: currentPassword(PasswordField, p.Passwordless, p.PasswordProblem),
	}
}

// Error takes the place of a page that cannot be shown.
type Error struct {
	Status     int
	Why        Fault
	App        string        // for [FaultNoAccess]
	RetryAfter time.Duration // for [FaultLimited]; 0 if it is not known
	// Detail is for whoever made the app. It is in English, and is shown as it is.
	Detail    string
	AskAgain  bool // there is a link to [ForgotPath]
	RequestID string
	Username  string // who is logged in; "" for nobody
}

func (p Error) describe() description {
	return description{
		Name: "error", Title: "fault." + string(p.Why) + ".title", App: p.App, User: p.Username,
	}
}
