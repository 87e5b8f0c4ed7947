package app

import (
	"log/slog"
	"time"

	"gatehouse.example/db"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/breached"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/httpapi"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/password"
	"gatehouse.example/internal/revocation"
	"gatehouse.example/internal/token"
)

// rules are the parts of package auth that a replica needs.
type rules struct {
	httpapi.Rules
	authorizations *auth.Authorizations
	logouts        *auth.Logouts
	factors        *auth.Factors
	passwords      *auth.Passwords
	peppers        *auth.Peppers
	keys           *auth.KeyLoader
	mails          *auth.Mails
}

func newRules(
	s config.Serve, o Options, secrets *keychain.Keychain, store *db.DB, peppers *password.KeyRing,
	lane *password.Lane, revoked *revocation.Set,
) (*rules, error) {
	leaked, err := verifiedBreached(s.BreachedPasswords, o.Log)
	if err != nil {
		return nil, err
	}
	_, passwords, err := newPasswords(s.Passwords, leaked, peppers, lane)
	if err != nil {
		return nil, err
	}
	audit := auth.NewAudit(store, auth.NewTally(o.Clock))
	limits := auth.NewLimits(rateLimits(s.Limits), store, audit, secrets, o.Clock)
	issuer, ids, err := newIssuers(s, secrets)
	if err != nil {
		return nil, err
	}
	policy := auth.NewKeyPolicy(token.Algorithm(s.Algorithm), s.KeyRotation(), secrets)
	keys := auth.NewKeyLoader(auth.NewKeys(store, audit), policy, issuer, ids)
	signer := auth.NewSigner(issuer, ids, o.Clock, keys.Fresh)
	services, err := token.NewServiceKeys(secrets.Secrets(), s.Issuer)
	if err != nil {
		return nil, err
	}
	lives := sessionLimits(s, o)
	pace := auth.NewPace(lives, s.AccessTokenLifetime(), o.Clock)
	checker := auth.NewChecker(revoked, store, o.Clock, s.RevocationMaxStaleness)
	access := auth.NewAccess(store, signer.NewVerifier(s.TokenCacheSize), checker, pace, audit,
		o.Clock)
	idTokens := auth.NewIDTokens(ids, o.Clock, keys.Fresh)
	tokens := auth.NewTokens(auth.TokenParts{
		Store: store, Signer: signer, Refresh: token.NewRefreshKeys(secrets), Access: access,
		IDs: idTokens, Limits: lives, Factors: auth.FactorMode(s.Factors), Pace: pace, Audit: audit,
	})
	browsers := auth.NewBrowsers(auth.BrowserParts{
		Store: store, Cookies: token.NewCookieKeys(secrets), Limits: browserLimits(s, lives),
		Factors:  auth.FactorMode(s.Factors),
		Lifetime: s.AccessTokenLifetime(), Remembered: s.TokenCacheSize, Revoked: checker,
		Clock: o.Clock,
	})
	roles := auth.NewRoles(store, audit)
	if err := checkMail(s, o); err != nil {
		return nil, err
	}
	told, err := noticeKinds(s, o)
	if err != nil {
		return nil, err
	}
	mails := auth.NewMails(store, limits, secrets, s.Issuer, told)
	notices := auth.NewNotices(mails, o.Clock)
	rp, err := newRelyingParty(s, o.Log)
	if err != nil {
		return nil, err
	}
	logins := auth.NewLogins(auth.LoginParts{
		Store: store, Passwords: passwords, Limits: limits, Pace: pace, Tokens: tokens,
		Browsers: browsers, Audit: audit, Notices: notices,
		Email: auth.EmailMode(s.Email), Clock: o.Clock,
		Factors: auth.FactorMode(s.Factors), Keys: secrets, RP: rp,
		TrustedFor: s.TrustedDeviceLifetime,
	})
	factors := auth.NewFactors(auth.FactorParts{
		Store: store, Passwords: passwords, Browsers: browsers, Limits: limits, Pace: pace,
		Audit: audit, Notices: notices, Mode: auth.FactorMode(s.Factors), Keys: secrets, RP: rp, AppName: s.AppName,
		Clock: o.Clock,
	})
	registration := auth.NewRegistration(auth.RegistrationParts{
		Store: store, Passwords: passwords, Limits: limits, Audit: audit,
		Reserved: auth.NewReservedNames(s.Reserved()), Email: auth.EmailMode(s.Email),
		Mails: mails,
	})
	return &rules{
		mails:   mails,
		logouts: auth.NewLogouts(store, idTokens),
		authorizations: auth.NewAuthorizations(auth.AuthorizationParts{
			Store: store, IDs: idTokens, Keys: secrets, Pace: pace, Audit: audit, Issuer: s.Issuer,
			Clock: o.Clock,
		}),
		factors:   factors,
		passwords: passwords, peppers: auth.NewPeppers(store, peppers, audit), keys: keys,
		Rules: httpapi.Rules{
			Registration: registration,
			Addresses: auth.NewAddresses(auth.AddressParts{
				Store: store, Logins: logins, Limits: limits, Mails: mails, Audit: audit,
				Mode: auth.EmailMode(s.Email),
			}),
			Accounts: auth.NewAccounts(store, passwords, notices, audit),
			Logins:   logins,
			Personal: auth.NewPersonal(store, logins, pace, audit, o.Clock),
			Recovery: auth.NewRecovery(auth.RecoveryParts{
				Store: store, Passwords: passwords, Limits: limits, Mails: mails,
				Notices: notices, Audit: audit,
			}),
			Invitations: auth.NewInvitations(auth.InvitationParts{
				Store: store, Passwords: passwords, Limits: limits, Mails: mails,
				Registration: registration, Audit: audit,
			}),
			Browsers: browsers,
			Tokens:   tokens,
			Sessions: auth.NewSessions(store, audit),
			Consents: auth.NewConsents(store, audit),
			Access:   access,
			Limits:   limits,
			Roles:    roles,
			Clients:  auth.NewClients(store, audit),
			Signer:   signer,
			IDTokens: idTokens,
			Feed:     auth.NewFeed(checker, signer, services, o.Clock),
			Audit:    audit,
		},
	}, nil
}

// browserLimits are those of a browser's session. One whose user wants to stay logged in lives as
// long as a program's.
func browserLimits(s config.Serve, remembered auth.SessionLimits) auth.BrowserLimits {
	return auth.BrowserLimits{
		Idle:       time.Duration(s.SessionIdleMinutes) * time.Minute,
		Absolute:   time.Duration(s.SessionHours) * time.Hour,
		Remembered: remembered,
	}
}

// newPasswords makes passwords by their settings, with the hasher behind them.
func newPasswords(
	s config.Passwords, leaked *breached.Filter, peppers *password.KeyRing, lane *password.Lane,
) (*password.Hasher, *auth.Passwords, error) {
	hasher, err := password.NewHasher(lane, peppers, s.BcryptCost)
	if err != nil {
		return nil, nil, err
	}
	policy := password.Policy{MinLength: s.PasswordMinLength, Breached: leaked}
	for _, word := range s.PasswordWords {
		policy.Words = append(policy.Words, password.Letters(word))
	}
	return hasher, auth.NewPasswords(hasher, policy, s.InitialSecretLifetime()), nil
}

// openBreached opens the filter of a setting. It is nil where that is off, and for commands that
// give nobody a password.
func openBreached(setting string) (*breached.Filter, error) {
	if setting == "" || setting == "off" {
		return nil, nil
	}
	filter, err := breached.Open(setting)
	if err != nil {
		return nil, wrongBreached(err)
	}
	return filter, nil
}

// verifiedBreached reads the whole file too. A replica that starts has the time: a second for a few
// gigabytes, if the disk is as fast. A command that asks for one password does not.
func verifiedBreached(setting string, log *slog.Logger) (*breached.Filter, error) {
	filter, err := openBreached(setting)
	if filter == nil {
		return nil, err
	}
	if err := filter.Verify(); err != nil {
		return nil, wrongBreached(err)
	}
	log.Info("passwords that are known from leaks are refused", "passwords", filter.Passwords())
	return filter, nil
}

func wrongBreached(err error) error {
	return &config.Error{Setting: "BREACHED_PASSWORDS", Problem: err.Error()}
}

// newIssuers makes the issuers of access tokens and of ID tokens. Until the stored keys are read,
// the former has SECRET_KEY for its key, and the latter has none.
func newIssuers(s config.Serve, secrets *keychain.Keychain) (*token.Issuer, *token.IDIssuer, error) {
	ring, err := token.SecretRing(secrets.Secrets())
	if err != nil {
		return nil, nil, err
	}
	tokens, err := token.NewIssuer(token.Settings{
		Ring: ring, Issuer: s.Issuer, Audience: s.Audience,
		Lifetime: s.AccessTokenLifetime(), Tutorial: s.TutorialTokens == "on",
	})
	if err != nil {
		return nil, nil, err
	}
	ids, err := token.NewIDIssuer(s.Issuer, s.AccessTokenLifetime())
	return tokens, ids, err
}

func sessionLimits(s config.Serve, o Options) auth.SessionLimits {
	const day = 24 * time.Hour
	grace, raised := s.RefreshGrace(edge.RetryAfter)
	if raised {
		o.Log.Warn("REFRESH_GRACE_SECONDS is too short for a client that gets no answer and tries again: it would be taken for a thief. "+
			"It is raised", "to", grace.String())
	}
	return auth.SessionLimits{
		Idle:     time.Duration(s.RefreshTokenIdleDays) * day,
		Absolute: time.Duration(s.RefreshTokenExpireDays) * day,
		Grace:    grace, PerUser: s.MaxSessions,
		RepeatElsewhere: s.RefreshRepeatFromOtherNetwork == "once",
	}
}
