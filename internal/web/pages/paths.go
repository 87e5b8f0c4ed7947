package pages

// Where the links and the forms of the pages go, below [Options].Base.
const (
	HomePath           = "/"
	LoginPath          = "/login"
	LoginPasswordPath  = "/login/password"
	RegisterPath       = "/register"
	ForgotPath         = "/password/forgot"
	ForgotMailPath     = "/password/mail"   // sends the mail that resets a password
	ResetCodePath      = "/password/code"   // a GET has the challenge behind it
	ResetLinkPath      = "/password/reset/" // the token of the link comes behind it
	VerifyCodePath     = "/email/code"      // a GET has the challenge behind it
	VerifyMailPath     = "/email/mail"      // sends another mail that verifies an address
	VerifyLinkPath     = "/email/verify/"   // the token of the link comes behind it
	UndoLinkPath       = "/email/undo/"     // as behind VerifyLinkPath
	InvitationPath     = "/invitation/"     // the token of the link comes behind it
	ConsentPath        = "/consent"
	EndSessionPath     = "/end-session"
	ForgetPath         = "/forget" // makes the browser forget the pages that it has kept
	AccountPath        = "/account"
	AccountSessionPath = "/account/sessions" // ends one session, or all others
	AccountDataPath    = "/account/data"     // a GET, whose answer is a file
	ChangePasswordPath = "/account/password"
	AccountEmailPath   = "/account/email"      // changes the address, or removes it
	AccountMailPath    = "/account/email/mail" // sends another mail that verifies it
	DeleteAccountPath  = "/account/delete"
)

// The fields of the forms.
const (
	UsernameField = "username"
	PasswordField = "password"
	AddressField  = "email"
	CurrentField  = "current_password"
	NewField      = "new_password"
	LoginField    = "login" // a username, or an address
	CodeField     = "code"  // of a mail
	// ChallengeField is the challenge that the code of a mail belongs to.
	ChallengeField = "challenge"
	RememberField  = "remember" // a checkbox, with the value "yes"
	// NextField brings back the Next of a page: at /login and /register also in the query of a link.
	NextField = "next"
	// AsField is the name of the one who was logged in when a page was shown. Each form that acts on
	// the account of a session has it. In another tab, somebody else may have logged in since.
	AsField = "as"
	// ChoiceField is the button that was pressed, where there are several.
	ChoiceField = "choice"
	// SessionField names the session to be ended, at [AccountSessionPath].
	SessionField = "session"
	// AfterField is in the query of [AccountPath]: the [Account].Older of the page before.
	AfterField = "after"
)

// The values of [ChoiceField].
const (
	ChoiceCurrent = "current" // at /login: go on as the one who is logged in
	ChoiceAllow   = "allow"   // at /consent
	ChoiceDeny    = "deny"    // at /consent
	ChoiceLogOut  = "log_out" // at /end-session
	ChoiceRemove  = "remove"  // at /account/email: no address, instead of another one
	ChoiceOthers  = "others"  // at /account/sessions: all but this one
)
