// Package config owns the settings: their names, defaults and bounds, and how they are read. A
// setting is a flag or else an environment variable. An empty variable counts as not set. A secret
// may also come from a file: the variable with _FILE behind its name has the name of the file.
// Every error names its setting, and none quotes a secret.
package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/alecthomas/kong"
	"golang.org/x/crypto/bcrypt"

	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/postgres"
)

// ExecModeExec is the DATABASE_EXEC_MODE for a transaction pooler.
const ExecModeExec = "exec"

// Database is how PostgreSQL is reached.
type Database struct {
	DatabaseURL              string        `env:"DATABASE_URL" secret:"" group:"Secrets. A secret in a flag is refused, since others see flags in the list of processes. Set the variable, or set the variable with _FILE behind its name to the name of a file." placeholder:"URL" help:"PostgreSQL connection string: postgres://user:password@host:5432/name. Required."`
	DatabasePassword         string        `env:"DATABASE_PASSWORD" secret:"" group:"Secrets. A secret in a flag is refused, since others see flags in the list of processes. Set the variable, or set the variable with _FILE behind its name to the name of a file." placeholder:"PASSWORD" help:"Password of the database, to keep it out of the URL."`
	DatabaseMaxConns         int32         `env:"DATABASE_MAX_CONNS" default:"0" help:"Most connections of a replica's pool. The replica has two more connections, for /readyz and for notifications. 0 takes pool_max_conns of the URL, or else four for each processor and at least ten."`
	DatabaseStatementTimeout time.Duration `env:"DATABASE_STATEMENT_TIMEOUT" default:"5s" help:"Longest time that one statement may take."`

	DatabaseExecMode string `env:"DATABASE_EXEC_MODE" default:"prepare" enum:"prepare,exec" help:"How statements are sent. prepare keeps them prepared in their sessions. exec needs no session, for PgBouncer."`

	// DatabaseFiles are the files that the URL and the password came from, by setting. See
	// [Database.Renewed].
	DatabaseFiles map[string]string `kong:"-"`
}

// Pepper is under which keys passwords are hashed.
type Pepper struct {
	PasswordPepper string `env:"PASSWORD_PEPPER" secret:"" group:"Secrets. A secret in a flag is refused, since others see flags in the list of processes. Set the variable, or set the variable with _FILE behind its name to the name of a file." placeholder:"KEY,…" help:"Keys of at least 32 bytes under which passwords are hashed, separated by commas. The first hashes, all verify."`
}

// Passwords is how passwords are judged and hashed.
type Passwords struct {
	Pepper `embed:""`

	BcryptCost         int      `env:"BCRYPT_COST" default:"12" help:"Cost of new password hashes, 10 to 16. Hashes of another cost are made anew at the next login."`
	PasswordMinLength  int      `env:"PASSWORD_MIN_LENGTH" default:"8" help:"Fewest characters of a new password, 8 to 64. NIST SP 800-63B-4 asks for 15 where a password is the only factor."`
	PasswordWords      []string `env:"PASSWORD_WORDS" default:"gatehouse" help:"Names that are guessed first at your place, such as those of your organization and its products, separated by commas. Nobody sets a password that is one of them with digits and signs. Each has at least four letters."`
	BreachedPasswords  string   `env:"BREACHED_PASSWORDS" default:"off" placeholder:"off|FILE" help:"Passwords that are known from leaks, and that nobody may set: off, or the file that gatehouse passwords build makes. It is read at the start."`
	InitialSecretHours int      `env:"INITIAL_SECRET_HOURS" default:"72" help:"Lifetime of an initial secret, 1 to 720 hours. The owner of a new account sets a password with it."`
}

// Limits are how often something may happen before it is answered with 429.
type Limits struct {
	AccountFailures             int `env:"ACCOUNT_FAILURES" default:"10" help:"Failed logins that an account may have at once. Over that, a login gets 429. A known device has as many for itself. 0: no limit."`
	AccountFailuresPerMinute    int `env:"ACCOUNT_FAILURES_PER_MINUTE" default:"1" help:"Failed logins that an account may have each minute after that. 0: no limit."`
	AccountFailuresPerDay       int `env:"ACCOUNT_FAILURES_PER_DAY" default:"100" help:"Failed logins that an account may have in any 24 hours. Half of them may come at once. 0: no limit."`
	AddressFailures             int `env:"ADDRESS_FAILURES" default:"100" help:"Failed logins that an IPv4 address or an IPv6 /64 may have at once. An IPv6 /48 has ten times as many. 0: no limit."`
	AddressFailuresPerMinute    int `env:"ADDRESS_FAILURES_PER_MINUTE" default:"10" help:"Failed logins that an address may have each minute after that. 0: no limit."`
	AddressRegistrations        int `env:"ADDRESS_REGISTRATIONS" default:"20" help:"Accounts that an IPv4 address or an IPv6 /64 may register at once. An IPv6 /48 has ten times as many. 0: no limit."`
	AddressRegistrationsPerHour int `env:"ADDRESS_REGISTRATIONS_PER_HOUR" default:"20" help:"Accounts that an address may register each hour after that. 0: no limit."`
	AddressMails                int `env:"ADDRESS_MAILS" default:"20" help:"Mails that an IPv4 address or an IPv6 /64 may ask for at once, such as those to set another password. Over that, the answer is the same, and no mail comes. An IPv6 /48 has ten times as many. 0: no limit."`
	AddressMailsPerHour         int `env:"ADDRESS_MAILS_PER_HOUR" default:"20" help:"Mails that an address may ask for each hour after that. 0: no limit."`
	MailsPerHour                int `env:"MAILS_PER_HOUR" default:"1000" help:"Mails that all who are not logged in may cause together in any hour. Half of them may come at once. Over that, none are sent, so that the relay keeps its good name. 0: no limit."`
}

// Secrets are the keys from which tokens and much else is made.
type Secrets struct {
	SecretKey string `env:"SECRET_KEY" secret:"" group:"Secrets. A secret in a flag is refused, since others see flags in the list of processes. Set the variable, or set the variable with _FILE behind its name to the name of a file." placeholder:"KEY,…" help:"Keys of at least 32 bytes, separated by commas. Refresh tokens, the private signing keys and HS256 need them. The first signs, all verify. Required."`
}

// OldSecrets are keys that are no good any more, but for what they have sealed.
type OldSecrets struct {
	OldSecretKey string `env:"OLD_SECRET_KEY" secret:"" group:"Secrets. A secret in a flag is refused, since others see flags in the list of processes. Set the variable, or set the variable with _FILE behind its name to the name of a file." placeholder:"KEY,…" help:"Keys from before a key reset, separated by commas. They open the secrets of authenticator apps that they have sealed, and nothing else."`
}

// Teller is the SECRET_KEY of commands that work without it, and then tell nobody.
type Teller struct {
	SecretKey string `env:"SECRET_KEY" secret:"" group:"Secrets. A secret in a flag is refused, since others see flags in the list of processes. Set the variable, or set the variable with _FILE behind its name to the name of a file." placeholder:"KEY,…" help:"Keys of the service, separated by commas. With them, it tells the owner of the account by mail. Without them, nobody is told."`
}

// Validate checks the bounds.
func (l Limits) Validate() error {
	for setting, value := range map[string]int{
		"ACCOUNT_FAILURES": l.AccountFailures, "ACCOUNT_FAILURES_PER_MINUTE": l.AccountFailuresPerMinute,
		"ACCOUNT_FAILURES_PER_DAY": l.AccountFailuresPerDay, "ADDRESS_FAILURES": l.AddressFailures,
		"ADDRESS_FAILURES_PER_MINUTE": l.AddressFailuresPerMinute, "ADDRESS_REGISTRATIONS": l.AddressRegistrations,
		"ADDRESS_REGISTRATIONS_PER_HOUR": l.AddressRegistrationsPerHour,
		"ADDRESS_MAILS":                  l.AddressMails, "ADDRESS_MAILS_PER_HOUR": l.AddressMailsPerHour, "MAILS_PER_HOUR": l.MailsPerHour,
	} {
		if value < 0 || value > 1_000_000 {
			return &Error{setting, "must be from 0 to 1000000"}
		}
	}
	return nil
}

// Serve is every setting of the service.
type Serve struct {
	Database  `embed:""`
	Passwords `embed:""`
	Limits    `embed:""`

	PasswordQueue int `env:"PASSWORD_QUEUE" default:"0" help:"Most passwords that may wait to be hashed. Over that, a login gets 503. 0: sixteen for each processor."`

	Secrets `embed:""`

	Algorithm                string `env:"ALGORITHM" default:"ES256" enum:"HS256,ES256,EdDSA,RS256" help:"Algorithm of new signing keys. With ES256, EdDSA and RS256 your services fetch the public keys. With HS256 they need SECRET_KEY, as in FastAPI's tutorial. The key in use stays until it is rotated."`
	KeyRotationDays          int    `env:"KEY_ROTATION_DAYS" default:"90" help:"Age at which a signing key is replaced, 1 to 3650 days. 0: never by itself. A key of HS256 is never replaced by itself."`
	AccessTokenExpireMinutes int    `env:"ACCESS_TOKEN_EXPIRE_MINUTES" default:"30" help:"Lifetime of an access token, 1 to 1440 minutes."`
	RefreshTokenExpireDays   int    `env:"REFRESH_TOKEN_EXPIRE_DAYS" default:"30" help:"Lifetime of a session from its login, 1 to 3650 days."`
	RefreshTokenIdleDays     int    `env:"REFRESH_TOKEN_IDLE_DAYS" default:"14" help:"Lifetime of a session from its last refresh, 1 to 3650 days."`
	RefreshGraceSeconds      int    `env:"REFRESH_GRACE_SECONDS" default:"60" help:"How long the refresh token before the current one may be used again, 0 to 300 seconds. 0: not at all. A value that is less than five seconds above REQUEST_TIMEOUT is raised to that: a client that gets no answer tries again only then."`
	// RefreshRepeatFromOtherNetwork says what becomes of a repeat from another network.
	RefreshRepeatFromOtherNetwork string        `env:"REFRESH_REPEAT_FROM_OTHER_NETWORK" default:"once" enum:"once,refuse" help:"Whether the refresh token before the current one may be used again from another network (IPv4 /24, IPv6 /48). once: one time, but not at two refreshes in a row. A phone that changes networks does that. refuse: never. What is refused counts as a theft, and ends the session."`
	MaxSessions                   int           `env:"MAX_SESSIONS" default:"100" help:"Most sessions of a user, 1 to 10000. One more login ends the session that was used longest ago."`
	SessionIdleMinutes            int           `env:"SESSION_IDLE_MINUTES" default:"60" help:"Lifetime of a browser's session from its last use, 5 to 43200 minutes. One whose user asked to stay logged in has REFRESH_TOKEN_IDLE_DAYS."`
	SessionHours                  int           `env:"SESSION_HOURS" default:"12" help:"Lifetime of a browser's session from its login, 1 to 8760 hours. One whose user asked to stay logged in has REFRESH_TOKEN_EXPIRE_DAYS."`
	TokenCacheSize                int           `env:"TOKEN_CACHE_SIZE" default:"100000" help:"Most verified access tokens that a replica remembers, 0 to 10000000. Under 128: none. Each takes about 250 bytes, and what its roles and permissions take."`
	RevocationMaxStaleness        time.Duration `env:"REVOCATION_MAX_STALENESS" default:"2s" help:"How long a replica trusts what it knows of revoked tokens when it cannot follow the database, 1s to 1m. After that it asks the database about each token."`
	Issuer                        string        `env:"ISSUER" default:"http://localhost:8000" help:"URL of this service as its clients know it, with its path if it has one. It is the iss of the tokens."`
	Audience                      string        `env:"AUDIENCE" default:"gatehouse" help:"The aud of the tokens."`
	TutorialTokens                string        `env:"TUTORIAL_TOKENS" default:"off" enum:"on,off" help:"Whether users' tokens have the username as sub and no aud, as in FastAPI's tutorial: on or off. With ALGORITHM=HS256 only."`

	AppName       string   `env:"APP_NAME" default:"Gatehouse" help:"What the pages call this installation, in their titles and at their top."`
	AppLogo       string   `env:"APP_LOGO" placeholder:"FILE" help:"SVG, PNG, JPEG or WebP file of at most 256 KiB that the pages show beside APP_NAME. It is read at the start."`
	ReturnOrigins []string `env:"RETURN_ORIGINS" placeholder:"ORIGIN,…" help:"Origins of other sites to which a login may lead back, such as https://wiki.example.org, separated by commas. http is only for localhost and names below it, 127.0.0.1 and [::1]. None by default."`
	CookieDomain  string   `env:"COOKIE_DOMAIN" placeholder:"DOMAIN" help:"Domain of apps behind proxies that ask /verify, such as example.org for wiki.example.org. ISSUER is in it. Every host of the domain then gets a second cookie at a login, which is good at /verify alone. None by default: the apps are on the host of ISSUER, or take tokens."`

	Mail `embed:""`

	ListenAddr      string         `env:"LISTEN_ADDR" default:":8000" help:"Address of the public port."`
	TLSCertFile     string         `name:"tls-cert-file" env:"TLS_CERT_FILE" placeholder:"FILE" help:"Certificate of the public port in PEM, with those that it was issued by behind it. The port then speaks HTTPS alone. The file is read again when it changes. None by default: a proxy ends TLS."`
	TLSKeyFile      string         `name:"tls-key-file" env:"TLS_KEY_FILE" placeholder:"FILE" help:"Private key of TLS_CERT_FILE in PEM."`
	OpsAddr         string         `env:"OPS_ADDR" default:":8001" help:"Address of the port for /livez, /readyz and /metrics. It is not for the public."`
	CORSOrigins     []string       `env:"CORS_ORIGINS" name:"cors-origins" placeholder:"ORIGIN,…" help:"Origins of the apps in browsers that may read answers of /token, /password, /email, /invitations, /revoke, /userinfo, /users and /logout, such as https://app.example.com. Separated by commas. None by default."`
	TrustedProxies  []netip.Prefix `env:"TRUSTED_PROXIES" placeholder:"CIDR" help:"Networks or single addresses of your proxies. Their FORWARDED_HEADER, X-Forwarded-Proto and X-Request-Id are believed. None by default."`
	ForwardedHeader string         `env:"FORWARDED_HEADER" default:"X-Forwarded-For" enum:"X-Forwarded-For,Forwarded" help:"Header in which the TRUSTED_PROXIES name the client: X-Forwarded-For or Forwarded (RFC 7239). The other one is ignored, since proxies pass on what clients send in it."`
	ProxyProtocol   bool           `env:"PROXY_PROTOCOL" default:"false" help:"Whether the TRUSTED_PROXIES begin each connection with the PROXY protocol (version 1 or 2): true or false. Proxies that pass on TCP do."`
	Registration    string         `env:"REGISTRATION" default:"open" enum:"open,closed,invite" help:"Whether strangers may make accounts: open, closed, or invite, for those alone who were invited."`
	Email           string         `env:"EMAIL" default:"off" enum:"off,optional,required" help:"Whether accounts have e-mail addresses. off: nobody logs in by one. optional: who has verified an address may log in by it. required: strangers register with one, and must verify it to log in."`
	Notices         []string       `env:"NOTICES" default:"on" help:"What people are told of their accounts by mail, where EMAIL is not off: on, off, or some of new_device, password_changed, locked, account_deleted, factor_added, factor_removed and recovery_code_used, separated by commas. They go to verified addresses. A change of address is told in any case."`
	PasswordGrant   string         `env:"PASSWORD_GRANT" default:"on" enum:"on,off" help:"Whether programs may exchange a user's password for tokens at /token and /token/password: on or off. RFC 9700 (section 2.4) forbids it to OAuth clients, since each of them sees the password."`
	Factors         string         `env:"FACTORS" default:"optional" enum:"none,optional,required" help:"Whether accounts have a second factor besides the password: an authenticator app or a passkey. none: nobody sets one up, but for those who must by a role. optional: whoever has set one up is asked for it. required: everybody must have one. Whoever has one is asked for it in any case."`
	WebAuthnRPID    string         `name:"webauthn-rp-id" env:"WEBAUTHN_RP_ID" placeholder:"DOMAIN" help:"Domain that passkeys are bound to: the host of ISSUER, which is the default, or a domain that the host is in. With another one all passkeys are good for nothing, so it cannot be changed while there are any."`
	WebAuthnOrigins []string       `name:"webauthn-origins" env:"WEBAUTHN_ORIGINS" placeholder:"ORIGIN,…" help:"Origins besides that of ISSUER where passkeys may be used: https origins within WEBAUTHN_RP_ID, or those of apps for Android, which begin with android:apk-key-hash. Separated by commas. None by default."`

	TrustedDeviceLifetime time.Duration `env:"TRUSTED_DEVICE_LIFETIME" default:"720h" help:"How long a device that its user trusts may leave out the second factor, 0s to 8760h. 0s: no device may."`

	ReservedNames  []string      `name:"reserved-usernames" env:"RESERVED_USERNAMES" default:"admin,administrator,root,sysadmin,superuser,system,support,helpdesk,help,security,abuse,postmaster,hostmaster,webmaster,noreply,moderator,staff,official,gatehouse" help:"Names that strangers may not register, separated by commas. Nor may they register names that look like them. none: no name is reserved. Operators may give them to anybody."`
	RequestTimeout time.Duration `env:"REQUEST_TIMEOUT" default:"10s" help:"Longest time that a request may take. After that it gets 503."`

	ShutdownDelay time.Duration `env:"SHUTDOWN_DELAY" default:"3s" help:"How long requests are still accepted after SIGTERM while /readyz says no, so that load balancers notice."`
	ShutdownGrace time.Duration `env:"SHUTDOWN_GRACE" default:"15s" help:"How long requests under way may take to end after that."`
	LogLevel      slog.Level    `env:"LOG_LEVEL" default:"info" help:"Least level that is logged: debug, info, warn or error."`
}

// Error is a setting that is missing or not usable.
type Error struct{ Setting, Problem string }

func (e *Error) Error() string { return e.Setting + ": " + e.Problem }

// URL is the connection string with the password in it.
func (d Database) URL() (string, error) {
	if d.DatabaseURL == "" {
		return "", &Error{"DATABASE_URL", "must be set"}
	}
	if d.DatabaseStatementTimeout < 100*time.Millisecond {
		return "", &Error{"DATABASE_STATEMENT_TIMEOUT", "must be at least 100ms"}
	}
	if d.DatabaseMaxConns < 0 {
		return "", &Error{"DATABASE_MAX_CONNS", "must not be negative"}
	}
	if _, err := postgres.Parse(d.DatabaseURL); err != nil {
		return "", &Error{"DATABASE_URL", err.Error()}
	}
	return withPassword(d.DatabaseURL, d.DatabasePassword), nil
}

// withPassword puts the password into a connection string of either form. It takes the place of one
// that is there.
func withPassword(connection, password string) string {
	if password == "" {
		return connection
	}
	if !strings.HasPrefix(connection, "postgres://") && !strings.HasPrefix(connection, "postgresql://") {
		return connection + " password='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password) + "'"
	}
	// The password becomes a parameter. It cannot go into the userinfo: a URL without a user takes
	// the user from elsewhere, and Go parses no socket for a host.
	separator := "?"
	if strings.Contains(connection, "?") {
		separator = "&"
	}
	return connection + separator + "password=" + strings.ReplaceAll(url.QueryEscape(password), "+", "%20")
}

// AfterApply is called by kong. It remembers which values came from files. A value from the command
// line did not.
func (d *Database) AfterApply() error {
	d.DatabaseFiles = map[string]string{}
	for setting, value := range map[string]string{"DATABASE_URL": d.DatabaseURL, "DATABASE_PASSWORD": d.DatabasePassword} {
		file := os.Getenv(setting + "_FILE")
		if file == "" {
			continue
		}
		if read, err := readSecret(setting+"_FILE", file); err == nil && read == value {
			d.DatabaseFiles[setting] = file
		}
	}
	return nil
}

// Renewed is [Database.URL] with what the files hold now: a password may be rotated while the
// service runs.
func (d Database) Renewed() (string, error) {
	for setting, value := range map[string]*string{"DATABASE_URL": &d.DatabaseURL, "DATABASE_PASSWORD": &d.DatabasePassword} {
		if file := d.DatabaseFiles[setting]; file != "" {
			read, err := readSecret(setting+"_FILE", file)
			if err != nil {
				return "", err
			}
			*value = read
		}
	}
	return d.URL()
}

// Peppers are the keys of PASSWORD_PEPPER. There are none if it is not set.
func (p Pepper) Peppers() ([][]byte, error) {
	if p.PasswordPepper == "" {
		return nil, nil
	}
	return keys("PASSWORD_PEPPER", p.PasswordPepper)
}

// InitialSecretLifetime is InitialSecretHours as a duration.
func (p Passwords) InitialSecretLifetime() time.Duration {
	return time.Duration(p.InitialSecretHours) * time.Hour
}

func letters(text string) (count int) {
	for _, r := range text {
		if unicode.IsLetter(r) {
			count++
		}
	}
	return count
}

// Validate checks the bounds.
func (p Passwords) Validate() error {
	if p.BcryptCost < bcrypt.DefaultCost || p.BcryptCost > 16 {
		return &Error{"BCRYPT_COST", "must be from 10 to 16"}
	}
	if p.PasswordMinLength < 8 || p.PasswordMinLength > 64 {
		return &Error{"PASSWORD_MIN_LENGTH", "must be from 8 to 64"}
	}
	for _, word := range p.PasswordWords {
		if letters(word) < 4 { // fewer would refuse far too much
			return &Error{"PASSWORD_WORDS", "must have words of at least four letters"}
		}
	}
	if p.InitialSecretHours < 1 || p.InitialSecretHours > 720 {
		return &Error{"INITIAL_SECRET_HOURS", "must be from 1 to 720"}
	}
	_, err := p.Peppers()
	return err
}

// Keychain holds the keys of SECRET_KEY.
func (s Secrets) Keychain() (*keychain.Keychain, error) {
	if s.SecretKey == "" {
		return nil, &Error{"SECRET_KEY", "must be set: to what all replicas have; for a new installation `openssl rand -hex 32` makes one"}
	}
	for _, published := range publishedKeys() {
		if strings.Contains(s.SecretKey, published) {
			return nil, &Error{"SECRET_KEY", "is a published example: whoever has read it can forge tokens"}
		}
	}
	secrets, err := keys("SECRET_KEY", s.SecretKey)
	if err != nil {
		return nil, err
	}
	return keychain.New(secrets)
}

// Keychain holds the keys. Without any it is nil.
func (s OldSecrets) Keychain() (*keychain.Keychain, error) {
	if s.OldSecretKey == "" {
		return nil, nil
	}
	secrets, err := keys("OLD_SECRET_KEY", s.OldSecretKey)
	if err != nil {
		return nil, err
	}
	return keychain.New(secrets)
}

// publishedKeys are the beginnings of keys in tutorials of the OAuth2 password flow. People copy
// them together with the code.
func publishedKeys() []string {
	return []string{
		"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4c",
		"83daa0256a2289b0fb23693bf1f6034d4439667574924472",
	}
}

// AccessTokenLifetime is AccessTokenExpireMinutes as a duration.
func (s Serve) AccessTokenLifetime() time.Duration {
	return time.Duration(s.AccessTokenExpireMinutes) * time.Minute
}

// Reserved is ReservedNames. The list "none" stands for no name at all.
func (s Serve) Reserved() []string {
	if slices.Equal(s.ReservedNames, []string{"none"}) {
		return nil
	}
	return s.ReservedNames
}

// KeyRotation is KeyRotationDays as a duration.
func (s Serve) KeyRotation() time.Duration {
	return time.Duration(s.KeyRotationDays) * 24 * time.Hour
}

// RefreshGrace is RefreshGraceSeconds as a duration, and raised if it is too short. A client whose
// request takes too long is told so after RequestTimeout, and comes again after retryAfter. Within
// a shorter grace than both together it would be taken for a thief.
func (s Serve) RefreshGrace(retryAfter time.Duration) (grace time.Duration, raised bool) {
	grace = time.Duration(s.RefreshGraceSeconds) * time.Second
	least := s.RequestTimeout + retryAfter
	if grace == 0 || grace >= least {
		return grace, false
	}
	return least, true
}

// Validate checks the bounds.
func (s Serve) Validate() error {
	if _, err := s.URL(); err != nil {
		return err
	}
	if _, err := s.Keychain(); err != nil {
		return err
	}
	if err := s.Passwords.Validate(); err != nil {
		return err
	}
	if err := s.Limits.Validate(); err != nil {
		return err
	}
	if err := s.Mail.Validate(); err != nil {
		return err
	}
	if slices.ContainsFunc(s.TrustedProxies, func(p netip.Prefix) bool { return p.Bits() == 0 }) {
		return &Error{"TRUSTED_PROXIES", "must not be all addresses: then every client could name any address as its own"}
	}
	if s.ProxyProtocol && len(s.TrustedProxies) == 0 {
		return &Error{"PROXY_PROTOCOL", "needs TRUSTED_PROXIES: nobody else's word is taken"}
	}
	if u, err := url.Parse(s.Issuer); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return &Error{"ISSUER", "must be an http or https URL"}
	}
	if err := checkOrigins("CORS_ORIGINS", s.CORSOrigins); err != nil {
		return err
	}
	if err := checkOrigins("RETURN_ORIGINS", s.ReturnOrigins); err != nil {
		return err
	}
	if problem := problemOfCookieDomain(s.CookieDomain, s.Issuer); problem != "" {
		return &Error{"COOKIE_DOMAIN", problem}
	}
	for _, rule := range []struct {
		setting string
		ok      bool
		problem string
	}{
		{"APP_NAME", strings.TrimSpace(s.AppName) != "", "must not be empty"},
		{"AUDIENCE", s.Audience != "", "must not be empty"},
		{"TUTORIAL_TOKENS", s.TutorialTokens != "on" || s.Algorithm == "HS256", "needs ALGORITHM=HS256: without aud, a token by a public key is good at every service"},
		{"ACCESS_TOKEN_EXPIRE_MINUTES", 1 <= s.AccessTokenExpireMinutes && s.AccessTokenExpireMinutes <= 1440, "must be from 1 to 1440"},
		{"KEY_ROTATION_DAYS", 0 <= s.KeyRotationDays && s.KeyRotationDays <= 3650, "must be from 0 to 3650"},
		{"TOKEN_CACHE_SIZE", 0 <= s.TokenCacheSize && s.TokenCacheSize <= 10_000_000, "must be from 0 to 10000000"},
		{"REVOCATION_MAX_STALENESS", time.Second <= s.RevocationMaxStaleness && s.RevocationMaxStaleness <= time.Minute, "must be from 1s to 1m"},
		{"REFRESH_TOKEN_EXPIRE_DAYS", 1 <= s.RefreshTokenExpireDays && s.RefreshTokenExpireDays <= 3650, "must be from 1 to 3650"},
		{"REFRESH_TOKEN_IDLE_DAYS", 1 <= s.RefreshTokenIdleDays && s.RefreshTokenIdleDays <= 3650, "must be from 1 to 3650"},
		{"REFRESH_GRACE_SECONDS", 0 <= s.RefreshGraceSeconds && s.RefreshGraceSeconds <= 300, "must be from 0 to 300"},
		{"SESSION_IDLE_MINUTES", 5 <= s.SessionIdleMinutes && s.SessionIdleMinutes <= 43200, "must be from 5 to 43200"},
		{"SESSION_HOURS", 1 <= s.SessionHours && s.SessionHours <= 8760, "must be from 1 to 8760"},
		{"MAX_SESSIONS", 1 <= s.MaxSessions && s.MaxSessions <= 10000, "must be from 1 to 10000"},
		{"PASSWORD_QUEUE", 0 <= s.PasswordQueue && s.PasswordQueue <= 10000, "must be from 0 to 10000"},
		{"LISTEN_ADDR", isAddress(s.ListenAddr), "must be host:port or :port"},
		{"TLS_CERT_FILE", (s.TLSCertFile == "") == (s.TLSKeyFile == ""), "goes with TLS_KEY_FILE: set both or none"},
		{"OPS_ADDR", isAddress(s.OpsAddr), "must be host:port or :port"},
		{"REQUEST_TIMEOUT", s.RequestTimeout >= 100*time.Millisecond, "must be at least 100ms"},
		{"TRUSTED_DEVICE_LIFETIME", 0 <= s.TrustedDeviceLifetime && s.TrustedDeviceLifetime <= 8760*time.Hour, "must be from 0s to 8760h"},
		{"SHUTDOWN_DELAY", s.ShutdownDelay >= 0, "must not be negative"},
		{"SHUTDOWN_GRACE", s.ShutdownGrace >= 0, "must not be negative"},
	} {
		if !rule.ok {
			return &Error{rule.setting, rule.problem}
		}
	}
	return nil
}

func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

func keys(setting, list string) ([][]byte, error) {
	var keys [][]byte
	for n, key := range strings.Split(list, ",") {
		if len(key) < 32 {
			return nil, &Error{setting, fmt.Sprintf("key %d has %d bytes; at least 32 are needed", n+1, len(key))}
		}
		if strings.TrimSpace(key) != key { // "a, b" would make another key of b than it was by itself
			return nil, &Error{setting, fmt.Sprintf("key %d begins or ends with white space", n+1)}
		}
		keys = append(keys, []byte(key))
	}
	return keys, nil
}

// Load reads the settings of the service from flags and the environment. They are valid, since kong
// calls Validate.
func Load(args []string) (Serve, error) {
	var s Serve
	parser, err := kong.New(&s, kong.Name("gatehouse"), Environment())
	if err != nil {
		return Serve{}, err
	}
	if _, err := parser.Parse(args); err != nil {
		return Serve{}, Explain(err)
	}
	return s, nil
}

// Markdown is a table of the settings.
func Markdown() (string, error) {
	parser, err := kong.New(&Serve{})
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("| setting | default | what it is |\n|---|---|---|\n")
	for _, flag := range parser.Model.Flags {
		if len(flag.Envs) == 0 {
			continue // --help
		}
		value := ""
		if flag.Default != "" {
			value = "`" + flag.Default + "`"
		}
		name := "`" + flag.Envs[0] + "`"
		if flag.Tag.Has("secret") {
			name += " (or `" + flag.Envs[0] + "_FILE`)"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, value, flag.Help)
	}
	return b.String(), nil
}
