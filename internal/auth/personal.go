package auth

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// PersonalStore stores what users do with their accounts as a whole.
type PersonalStore interface {
	AccessStore

	// CredentialsByKey is that of [LoginStore].
	CredentialsByKey(ctx context.Context, key string) (Credentials, error)
	// DeleteUser is that of [AccountStore].
	DeleteUser(ctx context.Context, e Event, rule Rule, id uuid.UUID) error
	// PersonalRecords reads what is stored of a user, and at most limit rows for each list, the
	// newest first. Errors: [ErrUserNotFound].
	PersonalRecords(ctx context.Context, e Event, id uuid.UUID, limit int) (PersonalRecords, error)
}

// PersonalRecords are all that is stored of a user, but for three things. Secrets and their hashes
// are left out. So is what is counted under keyed hashes: it names no user. And so are revocations:
// they hold nothing but the ids of sessions and the number of the account's tokens. Of these
// records, [PersonalData] leaves out what became of an address that the user has not proved.
type PersonalRecords struct {
	User       User
	Sessions   []PersonalSession
	Consents   []PersonalConsent
	Codes      []PersonalCode
	Mails      []PersonalMail
	Challenges []PersonalChallenge
	Events     []RecordedEvent // of the user, or by the user
	Factors    PersonalFactors
}

// PersonalFactors are what a user proves besides the password.
type PersonalFactors struct {
	PasswordRemovedAt *time.Time  // nil: there is a password
	TOTP              []time.Time // when the authenticator app was set up; at most one
	Passkeys          []PersonalPasskey
	RecoveryCodes     []PersonalRecoveryCode
	Devices           []PersonalDevice
}

// PersonalPasskey is a passkey of a user, without its key.
type PersonalPasskey struct {
	Name           string
	AAGUID         uuid.UUID // the kind of the authenticator
	BackupEligible bool      // it is copied to other devices
	BackedUp       bool
	UserVerified   bool // when it was made
	Transports     []string
	CreatedAt      time.Time
	LastUsedAt     *time.Time
}

// PersonalRecoveryCode is a recovery code of a user. What it is is not stored.
type PersonalRecoveryCode struct {
	CreatedAt time.Time
	UsedAt    *time.Time
}

// PersonalDevice is a device on which a user leaves out the second factor.
type PersonalDevice struct {
	CreatedAt time.Time
	ExpiresAt time.Time
	Caller    Caller // from where it was trusted
}

// PersonalSession is a session of a user, which may have ended.
type PersonalSession struct {
	Session
	EndedAt   *time.Time
	EndReason string
	Network   netip.Prefix // of the last refresh; zero if it is not known
	AuthTime  time.Time    // when the user proved who it is
	Methods   []string     // how (RFC 8176 §2); empty: with the password
	Scope     string       // what the login asked for; "": all permissions
	OpenID    string       // the scope values of OpenID Connect that the login asked for
	Claims    string       // the claims that it asked for, as [ClaimRequest] writes them
	Resources string       // those that it asked for, with spaces between; "": none
	Offline   bool         // it goes on after the browser's session has ended
	Trusted   bool         // the login left out the second factor, on a trusted device
}

// PersonalConsent is what a user has allowed an app.
type PersonalConsent struct {
	Client    Client // ID and Title alone
	Words     []string
	GrantedAt time.Time
}

// PersonalCode is an authorization code for a user. An app redeems it for tokens. An app without a
// browser has no SessionID and no RedirectURI.
type PersonalCode struct {
	Client      Client // ID and Title alone; zero: the built-in one
	SessionID   uuid.UUID
	RedirectURI string
	Scope       string
	OpenID      string
	Claims      string
	Resources   string
	AuthTime    time.Time
	ExpiresAt   time.Time
	RedeemedAt  *time.Time
	Started     uuid.UUID // the session that it started; Nil: none
}

// PersonalMail is a mail for a user. What it says is not stored any more when it is done.
type PersonalMail struct {
	Kind      MailKind
	QueuedAt  time.Time
	ExpiresAt time.Time   // then it is of no use any more
	Outcome   MailOutcome // "" while it waits
	DoneAt    *time.Time
}

// PersonalChallenge is what a user can prove by a mail. Its id is left out: with it a code can be
// guessed.
type PersonalChallenge struct {
	Purpose    ChallengePurpose
	Address    string // that is proved, or restored
	MadeAt     time.Time
	ExpiresAt  time.Time
	RedeemedAt *time.Time
}

// mostPersonal bounds each list of [PersonalData]. All of them together take about a megabyte.
const mostPersonal = 1000

// PersonalData is what a user gets of [PersonalRecords].
type PersonalData struct {
	At         time.Time
	User       User
	Sessions   []PersonalSession
	Consents   []PersonalConsent
	Codes      []PersonalCode
	Mails      []PersonalMail
	Challenges []PersonalChallenge
	Events     []PersonalEvent
	Factors    PersonalFactors // which are few
	Limit      int             // of each list
	Cut        []string        // the names of the lists that had more
}

// Who acts, and who is acted on, in a [PersonalEvent]. The other actors are kinds of [Actor].
const (
	PersonallySelf    = "self"
	PersonallyAnother = "another"
)

// PersonalEvent is an event of the audit log as one of the users sees it whom it is about. It says
// of other people only that there are some.
type PersonalEvent struct {
	At      time.Time
	Action  Action
	Outcome string
	Actor   string // PersonallySelf, or the kind of the actor
	About   string // PersonallySelf, PersonallyAnother, or "" for no user
	Target  string
	Count   int64
	Origin  // of nobody but the user, and of those who have not proved who they are
}

// Personal is what users do with their accounts as a whole: they take along what is stored of them,
// and they leave. Both need a token that may rule the account.
type Personal struct {
	store  PersonalStore
	logins *Logins
	pace   *Pace
	audit  *Audit
	clock  func() time.Time
}

// NewPersonal makes Personal.
func NewPersonal(
	store PersonalStore, logins *Logins, pace *Pace, audit *Audit, clock func() time.Time,
) *Personal {
	return &Personal{store, logins, pace, audit, clock}
}

// Data returns what is stored of the user of an access token. It is audited, since it takes data
// away. Errors: [ErrInvalidToken], [ErrForbidden], [ErrLimited].
func (p *Personal) Data(ctx context.Context, access token.Access) (data PersonalData, err error) {
	if access.IsClient() {
		return PersonalData{}, errNoUser
	}
	e := newEvent(ctx, Actor{}, ActionExportUser, uuid.Nil, "").by(access.UserID)
	defer p.audit.told(ctx, &e, &err)
	session, err := p.owner(ctx, access)
	if err != nil {
		return PersonalData{}, err
	}
	owner := session.User
	if err := p.pace.export(owner.ID); err != nil {
		return PersonalData{}, err
	}
	found, err := p.store.PersonalRecords(ctx, e, owner.ID, mostPersonal+1)
	if err != nil {
		return PersonalData{}, err
	}
	return personalData(found, p.clock()), nil
}

// Delete removes the account of an access token, as [Accounts.Delete] does. It needs what
// [Logins.ChangePassword] does, since whoever has stolen a session must not be able to do that.
// Errors: [InputError], [ErrInsufficientAuthentication], [ErrInvalidToken], [ErrForbidden],
// [ErrLimited], [ErrLastAdmin].
func (p *Personal) Delete(ctx context.Context, access token.Access, current string) (err error) {
	if access.IsClient() {
		return errNoUser
	}
	e := newEvent(ctx, Actor{}, ActionDeleteUser, uuid.Nil, "").by(access.UserID)
	defer p.audit.told(ctx, &e, &err)
	session, err := p.owner(ctx, access)
	if err != nil {
		return err
	}
	if err := p.logins.checkOwner(ctx, session, current); err != nil {
		return err
	}
	owner := session.User
	// The version is that of before the password was read. Whoever changes it meanwhile is asked
	// for the new one.
	e.By = owner.As()
	done := e
	done.Mails = p.logins.notices.accountDeleted(ctx, owner)
	return p.store.DeleteUser(ctx, done, ofOwner(owner.ID), owner.ID)
}

// owner returns the session of an access token that may rule the account.
func (p *Personal) owner(ctx context.Context, access token.Access) (SessionState, error) {
	session, err := liveSession(ctx, p.store, access)
	if err == nil {
		err = mayRuleAccount(session, access)
	}
	return session, err
}

// ofOwner is the rule for what users do to their own accounts. Errors: [ErrForbidden].
func ofOwner(id uuid.UUID) Rule {
	return Judged(func(seen Sight) error {
		if seen.User.ID != id {
			return fmt.Errorf("%w: the account of another", ErrForbidden)
		}
		return nil
	})
}

// personalData decides what a user gets of the records, of which each list may have one more than
// mostPersonal.
func personalData(found PersonalRecords, now time.Time) PersonalData {
	d := PersonalData{At: now, User: found.User, Factors: found.Factors, Limit: mostPersonal}
	d.Sessions = firstOf(&d, "sessions", found.Sessions)
	d.Consents = firstOf(&d, "consents", found.Consents)
	d.Codes = firstOf(&d, "codes", found.Codes)
	d.Mails = slices.DeleteFunc(firstOf(&d, "mails", found.Mails), tellsOfOthers)
	d.Challenges = slices.DeleteFunc(firstOf(&d, "challenges", found.Challenges), isOpenProof)
	for n, s := range d.Sessions {
		if s.EndedAt == nil {
			d.Sessions[n].Session = s.Blunted(now)
		}
	}
	for _, e := range firstOf(&d, "events", found.Events) {
		if !isOfProof(e) {
			d.Events = append(d.Events, personalEvent(e, found.User.ID))
		}
	}
	// The order would tell more of a refresh than its day.
	slices.SortStableFunc(d.Events, func(a, b PersonalEvent) int { return b.At.Compare(a.At) })
	return d
}

// Whoever asks to prove an address may have typed that of somebody else. The worker of mails finds
// out whether an account has it, and what it does then is another thing: it makes no challenge, and
// the mail may be suppressed by the limits of that account. Users do not see any of it, or else
// they could try out who has an account.

// tellsOfOthers is true of a mail that proves an address, or that went to its owner in place of
// that.
func tellsOfOthers(m PersonalMail) bool {
	return m.Kind == MailVerify || m.Kind == MailKnownAddress
}

// isOpenProof is true of a challenge that proves an address, until the user has proved it.
func isOpenProof(c PersonalChallenge) bool {
	return c.Purpose == ChallengeVerify && c.RedeemedAt == nil
}

// isOfProof is true of an event of the worker about a mail that proves an address.
func isOfProof(e RecordedEvent) bool {
	return (e.Action == ActionMakeChallenge || e.Action == ActionFailMail) &&
		(e.Target == string(MailVerify) || e.Target == string(MailKnownAddress))
}

func firstOf[T any](d *PersonalData, name string, list []T) []T {
	if len(list) <= mostPersonal {
		return list
	}
	d.Cut = append(d.Cut, name)
	return list[:mostPersonal]
}

// personalEvent is an event as a user sees it. A refresh shows its day alone, for the reason that
// [Session.Blunted] has.
func personalEvent(e RecordedEvent, user uuid.UUID) PersonalEvent {
	seen := PersonalEvent{
		At: e.At, Action: e.Action, Outcome: e.Outcome, Actor: string(e.By.Kind), Target: e.Target,
		Count: e.Count,
	}
	switch e.UserID {
	case user:
		seen.About = PersonallySelf
	case uuid.Nil:
	default:
		seen.About = PersonallyAnother
	}
	if own := e.By.Kind == ActorUser && e.By.ID == user; own {
		seen.Actor, seen.Origin = PersonallySelf, e.Origin
	} else if e.By.Kind == ActorAnonymous {
		seen.Origin = e.Origin
	}
	if e.Action == ActionRefresh {
		seen.At, seen.RequestID = e.At.UTC().Truncate(24*time.Hour), ""
	}
	return seen
}
