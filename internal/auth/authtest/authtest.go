// Package authtest builds the types of package auth for tests, as a replica and the command line
// build them.
package authtest

import (
	"cmp"
	"context"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/passkey"
	"gatehouse.example/internal/password"
	"gatehouse.example/internal/revocation"
	"gatehouse.example/internal/token"
)

// Options are what differs between tests. Most tests need the zero values.
type Options struct {
	Secrets        [][]byte          // nil: one of 32 bytes
	Issuer         *token.Issuer     // nil: one of HS256 by the secrets, for an hour
	IDKeys         *token.IDKeys     // nil: one of each algorithm
	Peppers        *password.KeyRing // nil: none
	Hasher         *password.Hasher  // nil: one of cost 5, on two threads of its own
	Policy         password.Policy
	SecretLifetime time.Duration   // of initial secrets; 0: an hour
	Remembered     int             // verified tokens; 0: 1000
	Revoked        *revocation.Set // nil: one that was never confirmed, so that the store is asked
	Staleness      time.Duration   // that Revoked may have; 0: a second
	Rates          auth.RateLimits
	Limits         auth.SessionLimits // zero: days, and 100 sessions of a user
	Browsers       auth.BrowserLimits // zero: an hour, half a day, and Limits
	Bounds         func() time.Time   // clock of Pace and Tally; nil: Clock
	Reserved       auth.ReservedNames
	Email          auth.EmailMode   // zero: off
	Notices        []auth.MailKind  // that are told; nil: none are queued
	Factors        auth.FactorMode  // zero: optional
	PasskeysAt     string           // an origin; "": https://id.test; "none": nowhere
	Clock          func() time.Time // nil: time.Now
}

// Rules holds all types of package auth, on one store.
type Rules struct {
	Registration   *auth.Registration
	Accounts       *auth.Accounts
	Transfer       *auth.Transfer
	Passwords      *auth.Passwords
	Logins         *auth.Logins
	Browsers       *auth.Browsers
	Tokens         *auth.Tokens
	Sessions       *auth.Sessions
	Access         *auth.Access
	Limits         *auth.Limits
	Roles          *auth.Roles
	Clients        *auth.Clients
	Keys           *auth.Keys
	Signer         *auth.Signer
	IDTokens       *auth.IDTokens
	Authorizations *auth.Authorizations
	Logouts        *auth.Logouts
	Feed           *auth.Feed
	Peppers        *auth.Peppers
	Personal       *auth.Personal
	Consents       *auth.Consents
	Factors        *auth.Factors
	Addresses      *auth.Addresses
	Mails          *auth.Mails
	MailLog        *auth.MailLog
	Recovery       *auth.Recovery
	Invitations    *auth.Invitations
	Audit          *auth.Audit

	RefreshKeys *token.RefreshKeys
	Issuer      *token.Issuer
	Hasher      *password.Hasher
}

// Operator is the actor for tests in which it does not matter who acts.
func Operator() auth.Actor { return auth.Operator("test") }

// New builds the types. They do not load the keys of the store, since the issuer has its own. A
// test that does not use the store may pass nil.
func New(t testing.TB, store auth.Store, o Options) *Rules {
	t.Helper()
	o.complete(t)
	keys, err := keychain.New(o.Secrets)
	must(t, err)
	refresh := token.NewRefreshKeys(keys)
	name, _ := o.Issuer.Names()
	services, err := token.NewServiceKeys(o.Secrets, name)
	must(t, err)
	audit := auth.NewAudit(store, auth.NewTally(o.Bounds))
	limits := auth.NewLimits(o.Rates, store, audit, keys, o.Clock)
	passwords := auth.NewPasswords(o.Hasher, o.Policy, o.SecretLifetime)
	ids, err := token.NewIDIssuer(name, o.Issuer.Lifetime())
	must(t, err)
	ids.SetKeys(o.IDKeys)
	fresh := func() error { return nil }
	signer := auth.NewSigner(o.Issuer, ids, o.Clock, fresh)
	pace := auth.NewPace(o.Limits, signer.Lifetime(), o.Bounds)
	checker := auth.NewChecker(o.Revoked, store, o.Clock, o.Staleness)
	access := auth.NewAccess(store, signer.NewVerifier(o.Remembered), checker, pace, audit, o.Clock)
	idTokens := auth.NewIDTokens(ids, o.Clock, fresh)
	tokens := auth.NewTokens(auth.TokenParts{
		Store: store, Signer: signer, Refresh: refresh, Access: access, Limits: o.Limits,
		IDs: idTokens, Factors: o.Factors, Pace: pace, Audit: audit,
	})
	browsers := auth.NewBrowsers(auth.BrowserParts{
		Store: store, Cookies: token.NewCookieKeys(keys), Limits: o.Browsers,
		Factors: o.Factors, Lifetime: signer.Lifetime(), Remembered: o.Remembered, Revoked: checker, Clock: o.Clock,
	})
	roles := auth.NewRoles(store, audit)
	told, notices := o.Notices, (*auth.Notices)(nil)
	if told == nil {
		told = auth.NoticeKinds() // those that a test queues itself
	}
	mails := auth.NewMails(store, limits, keys, name, told)
	if o.Notices != nil {
		notices = auth.NewNotices(mails, o.Clock)
	}
	rp := relyingParty(t, o.PasskeysAt)
	logins := auth.NewLogins(auth.LoginParts{
		Store: store, Passwords: passwords, Limits: limits, Pace: pace, Tokens: tokens,
		Browsers: browsers, Audit: audit, Notices: notices, Email: o.Email, Clock: o.Clock,
		Factors: o.Factors, Keys: keys, RP: rp,
		TrustedFor: 30 * 24 * time.Hour,
	})
	factors := auth.NewFactors(auth.FactorParts{
		Store: store, Passwords: passwords, Browsers: browsers, Limits: limits, Pace: pace,
		Audit: audit, Notices: notices, Mode: o.Factors, Keys: keys, RP: rp, AppName: "Gatehouse", Clock: o.Clock,
	})
	registration := auth.NewRegistration(auth.RegistrationParts{
		Store: store, Passwords: passwords, Limits: limits, Audit: audit, Reserved: o.Reserved,
		Email: o.Email, Mails: mails,
	})
	return &Rules{
		Registration: registration,
		Addresses: auth.NewAddresses(auth.AddressParts{
			Store: store, Logins: logins, Limits: limits, Mails: mails, Audit: audit, Mode: o.Email,
		}),
		Invitations: auth.NewInvitations(auth.InvitationParts{
			Store: store, Passwords: passwords, Limits: limits, Mails: mails,
			Registration: registration, Audit: audit,
		}),
		Accounts:  auth.NewAccounts(store, passwords, notices, audit),
		Transfer:  auth.NewTransfer(store, o.Hasher, o.Peppers, audit),
		Passwords: passwords,
		Logins:    logins,
		Browsers:  browsers,
		Tokens:    tokens,
		Sessions:  auth.NewSessions(store, audit),
		Consents:  auth.NewConsents(store, audit),
		Access:    access,
		Limits:    limits,
		Roles:     roles,
		Clients:   auth.NewClients(store, audit),
		Keys:      auth.NewKeys(store, audit),
		Signer:    signer,
		IDTokens:  idTokens,
		Logouts:   auth.NewLogouts(store, idTokens),
		Authorizations: auth.NewAuthorizations(auth.AuthorizationParts{
			Store: store, IDs: idTokens, Keys: keys, Pace: pace, Audit: audit, Issuer: name,
			Clock: o.Clock,
		}),
		Feed:     auth.NewFeed(checker, signer, services, o.Clock),
		Peppers:  auth.NewPeppers(store, o.Peppers, audit),
		Factors:  factors,
		Personal: auth.NewPersonal(store, logins, pace, audit, o.Clock),
		Mails:    mails,
		MailLog:  auth.NewMailLog(store),
		Recovery: auth.NewRecovery(auth.RecoveryParts{
			Store: store, Passwords: passwords, Limits: limits, Mails: mails,
			Notices: notices, Audit: audit,
		}),
		Audit:       audit,
		RefreshKeys: refresh,
		Issuer:      o.Issuer,
		Hasher:      o.Hasher,
	}
}

// sharedIDKeys are made once, since a key of RS256 takes a while.
var sharedIDKeys = sync.OnceValues(func() (*token.IDKeys, error) {
	var keys []token.Key
	for _, algorithm := range token.IDAlgorithms() {
		key, err := token.GenerateIDKey(algorithm)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return token.NewIDKeys(keys...)
})

func (o *Options) complete(t testing.TB) {
	t.Helper()
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Bounds == nil {
		o.Bounds = o.Clock
	}
	if o.Secrets == nil {
		o.Secrets = [][]byte{[]byte(strings.Repeat("k", 32))}
	}
	if o.Issuer == nil {
		ring, err := token.SecretRing(o.Secrets)
		must(t, err)
		o.Issuer, err = token.NewIssuer(token.Settings{
			Ring: ring, Issuer: "https://id.test", Audience: "test", Lifetime: time.Hour,
		})
		must(t, err)
	}
	if o.Peppers == nil {
		var err error
		o.Peppers, err = password.NewKeyRing(nil)
		must(t, err)
	}
	if o.Hasher == nil {
		lane := password.NewLane(password.LaneOptions{Threads: 2, Queue: 100})
		t.Cleanup(lane.Close)
		var err error
		o.Hasher, err = password.NewHasher(lane, o.Peppers, 5)
		must(t, err)
	}
	if o.Revoked == nil {
		o.Revoked = revocation.NewSet(o.Clock(), o.Issuer.Lifetime())
	}
	if o.Limits == (auth.SessionLimits{}) {
		o.Limits = auth.SessionLimits{
			Idle: 24 * time.Hour, Absolute: 48 * time.Hour, Grace: 10 * time.Minute, PerUser: 100,
			RepeatElsewhere: true,
		}
	}
	if o.Browsers == (auth.BrowserLimits{}) {
		o.Browsers = auth.BrowserLimits{
			Idle: time.Hour, Absolute: 12 * time.Hour, Remembered: o.Limits,
		}
	}
	if o.IDKeys == nil {
		var err error
		o.IDKeys, err = sharedIDKeys()
		must(t, err)
	}
	o.PasskeysAt = cmp.Or(o.PasskeysAt, "https://id.test")
	o.Factors = cmp.Or(o.Factors, auth.FactorsOptional)
	o.SecretLifetime = cmp.Or(o.SecretLifetime, time.Hour)
	o.Remembered = cmp.Or(o.Remembered, 1000)
	o.Staleness = cmp.Or(o.Staleness, time.Second)
}

// FillLane occupies every thread of a password lane and every place in its queue, each for another
// caller, until it is released.
func FillLane(lane *password.Lane, threads, queue int) (release func()) {
	var callers sync.WaitGroup
	running, end := make(chan struct{}, threads), make(chan struct{})
	for range threads {
		callers.Go(func() {
			_ = lane.Do(context.Background(), "", func() { running <- struct{}{}; <-end })
		})
	}
	for range threads {
		<-running
	}
	for n := range queue {
		callers.Go(func() { _ = lane.Do(context.Background(), strconv.Itoa(n), func() {}) })
	}
	for lane.Stats().Queued < queue {
		runtime.Gosched() // only the lane sees a caller that waits
	}
	return sync.OnceFunc(func() { close(end); callers.Wait() })
}

// relyingParty asks for passkeys at one origin.
func relyingParty(t testing.TB, origin string) *passkey.RelyingParty {
	t.Helper()
	if origin == "none" {
		return nil
	}
	at, err := url.Parse(origin)
	must(t, err)
	rp, err := passkey.New(passkey.Config{
		RPID: at.Hostname(), RPName: "Gatehouse", Origins: []string{origin},
	})
	must(t, err)
	return rp
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
