// Package config owns the settings: their names, defaults, bounds and how they are read. A setting is a flag or
// else an environment variable, which counts as not set if it is empty; a secret may also come from a file, named by
// the variable with _FILE behind it. Every error names its setting, and none quotes a secret.
package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/bcrypt"
)

// Database is how PostgreSQL is reached.
type Database struct {
	DatabaseURL              string        `env:"DATABASE_URL" secret:"" placeholder:"URL" help:"PostgreSQL connection string: postgres://user:password@host:5432/name. Required."`
	DatabasePassword         string        `env:"DATABASE_PASSWORD" secret:"" placeholder:"PASSWORD" help:"Password, if it is to be kept out of the URL."`
	DatabaseMaxConns         int32         `env:"DATABASE_MAX_CONNS" default:"0" help:"Most connections of a replica; 0: four for each processor, at least ten."`
	DatabaseStatementTimeout time.Duration `env:"DATABASE_STATEMENT_TIMEOUT" default:"5s" help:"Longest that one statement may take."`
}

// Passwords is how passwords are judged and hashed.
type Passwords struct {
	BcryptCost         int    `env:"BCRYPT_COST" default:"12" help:"Cost of new password hashes, 10 to 16; older ones are brought to it at the next login."`
	PasswordPepper     string `env:"PASSWORD_PEPPER" secret:"" placeholder:"KEY,…" help:"Keys of at least 32 bytes under which passwords are hashed, separated by commas: the first hashes, all verify."`
	PasswordMinLength  int    `env:"PASSWORD_MIN_LENGTH" default:"8" help:"Fewest characters of a new password, 8 to 64. NIST SP 800-63B-4 asks for 15 where it is the only factor."`
	InitialSecretHours int    `env:"INITIAL_SECRET_HOURS" default:"72" help:"Lifetime of an initial secret, with which the user of a new account sets a password: 1 to 720 hours."`
}

// Limits are how often what may happen before it is answered with 429.
type Limits struct {
	AccountFailures             int `env:"ACCOUNT_FAILURES" default:"10" help:"Failed logins of an account at once before more get 429; a device on which it has logged in before has as many for itself. 0: no limit."`
	AccountFailuresPerMinute    int `env:"ACCOUNT_FAILURES_PER_MINUTE" default:"1" help:"And how many a minute after that; 0: no limit."`
	AccountFailuresPerDay       int `env:"ACCOUNT_FAILURES_PER_DAY" default:"100" help:"Failed logins of an account in any 24 hours, of which half may come at once; 0: no limit."`
	AddressFailures             int `env:"ADDRESS_FAILURES" default:"100" help:"Failed logins from an IPv4 address or an IPv6 /64 at once; 0: no limit."`
	AddressFailuresPerMinute    int `env:"ADDRESS_FAILURES_PER_MINUTE" default:"10" help:"And how many a minute after that; 0: no limit."`
	AddressRegistrations        int `env:"ADDRESS_REGISTRATIONS" default:"20" help:"Registrations from an IPv4 address or an IPv6 /64 at once; 0: no limit."`
	AddressRegistrationsPerHour int `env:"ADDRESS_REGISTRATIONS_PER_HOUR" default:"20" help:"And how many an hour after that; 0: no limit."`
}

// Secrets are the keys of tokens, and of what is derived from them.
type Secrets struct {
	SecretKey string `env:"SECRET_KEY" secret:"" placeholder:"KEY,…" help:"Keys of at least 32 bytes, separated by commas, for refresh tokens, the private signing keys and HS256: the first signs, all verify. Required."`
}

// Validate checks the bounds.
func (l Limits) Validate() error {
	for setting, value := range map[string]int{
		"ACCOUNT_FAILURES": l.AccountFailures, "ACCOUNT_FAILURES_PER_MINUTE": l.AccountFailuresPerMinute,
		"ACCOUNT_FAILURES_PER_DAY": l.AccountFailuresPerDay, "ADDRESS_FAILURES": l.AddressFailures,
		"ADDRESS_FAILURES_PER_MINUTE": l.AddressFailuresPerMinute, "ADDRESS_REGISTRATIONS": l.AddressRegistrations,
		"ADDRESS_REGISTRATIONS_PER_HOUR": l.AddressRegistrationsPerHour,
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

	PasswordQueue int `env:"PASSWORD_QUEUE" default:"0" help:"Most passwords that wait to be hashed, before more are refused with 503; 0: sixteen for each processor."`

	Secrets `embed:""`

	Algorithm                string        `env:"ALGORITHM" default:"ES256" enum:"HS256,ES256,EdDSA,RS256" help:"How new signing keys sign access tokens: ES256, EdDSA or RS256, with keys of which others fetch the public half, or HS256, with SECRET_KEY, as services do that came out of FastAPI's tutorial. The key in use stays until it is rotated."`
	KeyRotationDays          int           `env:"KEY_ROTATION_DAYS" default:"90" help:"Age at which a signing key is replaced, 1 to 3650 days; 0: never by itself, as that of HS256."`
	AccessTokenExpireMinutes int           `env:"ACCESS_TOKEN_EXPIRE_MINUTES" default:"30" help:"Lifetime of an access token, 1 to 1440 minutes."`
	RefreshTokenExpireDays   int           `env:"REFRESH_TOKEN_EXPIRE_DAYS" default:"30" help:"Lifetime of a session from its login, 1 to 3650 days."`
	RefreshTokenIdleDays     int           `env:"REFRESH_TOKEN_IDLE_DAYS" default:"14" help:"Lifetime of a session from its last refresh, 1 to 3650 days."`
	RefreshGraceSeconds      int           `env:"REFRESH_GRACE_SECONDS" default:"10" help:"How long the refresh token before the current one may be used again, 0 to 300 seconds."`
	MaxSessions              int           `env:"MAX_SESSIONS" default:"100" help:"Most sessions of a user, 1 to 10000: a further login ends the one that was used longest ago."`
	TokenCacheSize           int           `env:"TOKEN_CACHE_SIZE" default:"100000" help:"Most verified access tokens that a replica remembers, 0 to 10000000; under 128: none. About 250 bytes each, and the roles and permissions in it."`
	RevocationMaxStaleness   time.Duration `env:"REVOCATION_MAX_STALENESS" default:"2s" help:"How long a replica that cannot follow the database trusts what it knows of revoked tokens, 1s to 1m; after that it asks the database about each."`
	Issuer                   string        `env:"ISSUER" default:"http://localhost:8000" help:"URL of this service as its clients know it: the iss of its tokens."`
	Audience                 string        `env:"AUDIENCE" default:"gatehouse" help:"The aud of its tokens."`

	ListenAddr      string         `env:"LISTEN_ADDR" default:":8000" help:"Address of the public port."`
	OpsAddr         string         `env:"OPS_ADDR" default:":8001" help:"Address of the port for /livez, /readyz and /metrics; not for the public."`
	TrustedProxies  []netip.Prefix `env:"TRUSTED_PROXIES" placeholder:"CIDR" help:"Networks of the proxies whose FORWARDED_HEADER, X-Forwarded-Proto and X-Request-Id are believed; none by default."`
	ForwardedHeader string         `env:"FORWARDED_HEADER" default:"X-Forwarded-For" enum:"X-Forwarded-For,Forwarded" help:"Header in which the TRUSTED_PROXIES name the client: X-Forwarded-For or Forwarded (RFC 7239). The other one is ignored, since proxies pass it on from clients."`
	ProxyProtocol   bool           `env:"PROXY_PROTOCOL" default:"false" help:"Whether the TRUSTED_PROXIES begin each connection with the PROXY protocol (version 1 or 2), as proxies do that pass on TCP: true or false."`
	Registration    string         `env:"REGISTRATION" default:"open" enum:"open,closed" help:"Whether strangers may make accounts: open or closed."`
	RequestTimeout  time.Duration  `env:"REQUEST_TIMEOUT" default:"10s" help:"Longest that a request may take before it is answered with 503."`

	ShutdownDelay time.Duration `env:"SHUTDOWN_DELAY" default:"3s" help:"After SIGTERM: how long requests are still accepted while /readyz says no, so that load balancers notice."`
	ShutdownGrace time.Duration `env:"SHUTDOWN_GRACE" default:"15s" help:"After that: how long requests under way may take to end."`
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
	if _, err := pgx.ParseConfig(d.DatabaseURL); err != nil { // which may quote the password
		return "", &Error{"DATABASE_URL", "is no PostgreSQL connection string, or names a file that cannot be read"}
	}
	if d.DatabasePassword == "" {
		return d.DatabaseURL, nil
	}
	u, err := url.Parse(d.DatabaseURL)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", &Error{"DATABASE_URL", "must be a postgres:// URL where DATABASE_PASSWORD is set"}
	}
	u.User = url.UserPassword(u.User.Username(), d.DatabasePassword)
	return u.String(), nil
}

// Peppers are the keys of PASSWORD_PEPPER; none if it is not set.
func (p Passwords) Peppers() ([][]byte, error) {
	if p.PasswordPepper == "" {
		return nil, nil
	}
	return keys("PASSWORD_PEPPER", p.PasswordPepper)
}

// InitialSecretLifetime is that of InitialSecretHours.
func (p Passwords) InitialSecretLifetime() time.Duration {
	return time.Duration(p.InitialSecretHours) * time.Hour
}

// Validate checks the bounds.
func (p Passwords) Validate() error {
	if p.BcryptCost < bcrypt.DefaultCost || p.BcryptCost > 16 {
		return &Error{"BCRYPT_COST", "must be from 10 to 16"}
	}
	if p.PasswordMinLength < 8 || p.PasswordMinLength > 64 {
		return &Error{"PASSWORD_MIN_LENGTH", "must be from 8 to 64"}
	}
	if p.InitialSecretHours < 1 || p.InitialSecretHours > 720 {
		return &Error{"INITIAL_SECRET_HOURS", "must be from 1 to 720"}
	}
	_, err := p.Peppers()
	return err
}

// Keys are those of SECRET_KEY.
func (s Secrets) Keys() ([][]byte, error) {
	if s.SecretKey == "" {
		return nil, &Error{"SECRET_KEY", "must be set; `openssl rand -hex 32` makes one"}
	}
	for _, published := range publishedKeys() {
		if strings.Contains(s.SecretKey, published) {
			return nil, &Error{"SECRET_KEY", "is a published example: whoever has read it can forge tokens"}
		}
	}
	return keys("SECRET_KEY", s.SecretKey)
}

// publishedKeys are the beginnings of keys that stand in tutorials of the OAuth2 password flow, from where they
// are copied with the code.
func publishedKeys() []string {
	return []string{
		"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4c",
		"83daa0256a2289b0fb23693bf1f6034d4439667574924472",
	}
}

// AccessTokenLifetime is that of AccessTokenExpireMinutes.
func (s Serve) AccessTokenLifetime() time.Duration {
	return time.Duration(s.AccessTokenExpireMinutes) * time.Minute
}

// KeyRotation is that of KeyRotationDays.
func (s Serve) KeyRotation() time.Duration {
	return time.Duration(s.KeyRotationDays) * 24 * time.Hour
}

// Validate checks the bounds.
func (s Serve) Validate() error {
	if _, err := s.URL(); err != nil {
		return err
	}
	if _, err := s.Keys(); err != nil {
		return err
	}
	if err := s.Passwords.Validate(); err != nil {
		return err
	}
	if err := s.Limits.Validate(); err != nil {
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
	for _, rule := range []struct {
		setting string
		ok      bool
		problem string
	}{
		{"AUDIENCE", s.Audience != "", "must not be empty"},
		{"ACCESS_TOKEN_EXPIRE_MINUTES", 1 <= s.AccessTokenExpireMinutes && s.AccessTokenExpireMinutes <= 1440, "must be from 1 to 1440"},
		{"KEY_ROTATION_DAYS", 0 <= s.KeyRotationDays && s.KeyRotationDays <= 3650, "must be from 0 to 3650"},
		{"TOKEN_CACHE_SIZE", 0 <= s.TokenCacheSize && s.TokenCacheSize <= 10_000_000, "must be from 0 to 10000000"},
		{"REVOCATION_MAX_STALENESS", time.Second <= s.RevocationMaxStaleness && s.RevocationMaxStaleness <= time.Minute, "must be from 1s to 1m"},
		{"REFRESH_TOKEN_EXPIRE_DAYS", 1 <= s.RefreshTokenExpireDays && s.RefreshTokenExpireDays <= 3650, "must be from 1 to 3650"},
		{"REFRESH_TOKEN_IDLE_DAYS", 1 <= s.RefreshTokenIdleDays && s.RefreshTokenIdleDays <= 3650, "must be from 1 to 3650"},
		{"REFRESH_GRACE_SECONDS", 0 <= s.RefreshGraceSeconds && s.RefreshGraceSeconds <= 300, "must be from 0 to 300"},
		{"MAX_SESSIONS", 1 <= s.MaxSessions && s.MaxSessions <= 10000, "must be from 1 to 10000"},
		{"PASSWORD_QUEUE", 0 <= s.PasswordQueue && s.PasswordQueue <= 10000, "must be from 0 to 10000"},
		{"LISTEN_ADDR", isAddress(s.ListenAddr), "must be host:port or :port"},
		{"OPS_ADDR", isAddress(s.OpsAddr), "must be host:port or :port"},
		{"REQUEST_TIMEOUT", s.RequestTimeout >= 100*time.Millisecond, "must be at least 100ms"},
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

// Load reads the settings of the service from flags and the environment. They are valid: kong calls Validate.
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
