package pages

// Where the links and the forms of the pages go, below [Options].Base.
const (
	HomePath           = "/"
	LoginPath          = "/login"
	LoginPasswordPath  = "/login/password"
	LoginPasskeyPath   = "/login/passkey"        // a GET has options for the script, also in those below
	FactorPath         = "/login/factor"         // the second step of a login
	FactorPasskeyPath  = "/login/factor/passkey" // a GET alone
	EnrolPath          = "/login/enrol"          // sets up what the second step needs
	EnrolPasskeyPath   = "/login/enrol/passkey"  // a GET alone
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
	AccountAppsPath    = "/account/apps"     // takes back what an app was allowed
	AccountDataPath    = "/account/data"     // a GET, whose answer is a file
	ChangePasswordPath = "/account/password"
	AccountEmailPath   = "/account/email"      // changes the address, or removes it
	AccountMailPath    = "/account/email/mail" // sends another mail that verifies it
	DeleteAccountPath  = "/account/delete"
	SecurityPath       = "/account/security"
	AppPath            = "/account/security/app"      // sets up an authenticator app, or removes it
	AddPasskeyPath     = "/account/security/passkey"  // makes a passkey
	NewPasskeyPath     = "/account/security/options"  // a GET alone, for AddPasskeyPath
	PasskeyPath        = "/account/security/passkey/" // the id comes behind it; renames and removes it
	OfferedPasskeyPath = "/account/security/offered"  // a passkey that the browser makes of its own accord
	RecoveryCodesPath  = "/account/security/codes"    // makes new ones
	DevicesPath        = "/account/security/devices"  // forgets trusted devices
	NoPasswordPath     = "/account/security/password" // removes the password
	LaterPath          = "/account/security/later"    // puts the offer of a second factor off
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
	RememberField  = "remember" // a checkbox, with the value "yes", as the two below
	TrustField     = "trust"    // this device needs no second step for a while
	OthersField    = "others"   // all other devices are logged out
	// FactorField is a code of an authenticator app, or a recovery code.
	FactorField = "factor"
	// SealedField brings back the secret of an authenticator app that is to be set up.
	SealedField = "sealed"
	// PasskeyField is the answer of the browser to the options that it has asked for.
	PasskeyField     = "passkey"
	PasskeyNameField = "name"
	// DeviceField names the trusted device to be forgotten, at [DevicesPath].
	DeviceField = "device"
	// NextField brings back the Next of a page: at /login and /register also in the query of a link.
	NextField = "next"
	// AsField is the name of the one who was logged in when a page was shown. Each form that acts on
	// the account of a session has it. In another tab, somebody else may have logged in since.
	AsField = "as"
	// ChoiceField is the button that was pressed, where there are several.
	ChoiceField = "choice"
	// SessionField names the session to be ended, at [AccountSessionPath].
	SessionField = "session"
	// ClientField names the app that is allowed nothing any more, at [AccountAppsPath].
	ClientField = "client"
	// AfterField is in the query of [AccountPath]: the [Account].Older of the page before.
	AfterField = "after"
)

// The values of [ChoiceField].
const (
	ChoiceCurrent = "current" // at /login: go on as the one who is logged in
	ChoiceAllow   = "allow"   // at /consent
	ChoiceDeny    = "deny"    // at /consent
	ChoiceLogOut  = "log_out" // at /end-session
	ChoiceRemove  = "remove"  // at /account/email: no address, instead of another one. So for factors
	ChoiceAll     = "all"     // at /account/security/devices
	ChoiceOthers  = "others"  // at /account/sessions: all but this one
)
