package auth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/email"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/ratelimit"
	"gatehouse.example/internal/token"
)

// QueuedMail is a mail that is sent if the [Event] that it comes with is recorded.
type QueuedMail struct {
	ID       uuid.UUID
	Kind     MailKind
	Sealed   []byte
	Lifetime time.Duration // in which it is of use
	// OfNobody is true of a mail that does not belong to the user of the event: the user is gone
	// when it is recorded, or the worker finds out who it is.
	OfNobody bool
}

// MailOutcome is what became of a mail. It is also what metrics and the log of mails call it.
type MailOutcome string

// Outcomes of mails. The empty MailOutcome is that of a mail that waits.
const (
	MailSent       MailOutcome = "sent"       // the relay has taken it
	MailVoid       MailOutcome = "void"       // there was nothing to be sent, or nobody to get it
	MailSuppressed MailOutcome = "suppressed" // by a limit
	MailExpired    MailOutcome = "expired"    // it would have come too late
	MailDead       MailOutcome = "dead"       // given up: the relay does not take it, or nothing could send it
)

// MailOutcomes returns all outcomes of mails that are done.
func MailOutcomes() []MailOutcome {
	return []MailOutcome{MailSent, MailVoid, MailSuppressed, MailExpired, MailDead}
}

// BegunMail is a mail that a worker has in hand.
type BegunMail struct {
	ID       uuid.UUID
	Kind     MailKind
	UserID   uuid.UUID // Nil: nobody, or not known yet
	Sealed   []byte
	QueuedAt time.Time
	Attempts int  // with this one
	Admitted bool // an earlier try has taken the limits
	Expired  bool
}

// MailEnd is how a mail ends.
type MailEnd struct {
	Outcome MailOutcome
	Problem string    // at most 200 characters; "": none
	UserID  uuid.UUID // for whom it turned out to be; Nil: for nobody
	Event   *Event    // nil: none is recorded
}

// NewChallenge is a challenge that a mail carries.
type NewChallenge struct {
	ID      uuid.UUID // of the mail
	AskedAs uuid.UUID // the mail with which whoever asks for this one has begun; Nil: this one
	Purpose ChallengePurpose
	User    User
	Email   Email
}

// RecordedMail is a line of the log of mails.
type RecordedMail struct {
	ID        uuid.UUID
	Kind      MailKind
	QueuedAt  time.Time
	ExpiresAt time.Time
	Attempts  int
	Outcome   MailOutcome // "" while it waits
	Problem   string      // of the last try, or why nothing was sent; "": none
	DoneAt    *time.Time
}

// MailStore stores the outbox. A mail gets into it with an [Event].
type MailStore interface {
	userFinder

	// BeginMail counts a try to send a mail. Errors: [ErrMailNotFound] if the mail is done.
	BeginMail(ctx context.Context, id uuid.UUID) (BegunMail, error)
	// AdmitMail stores that the limits let a mail pass, and whose it is. Errors: [ErrMailNotFound].
	AdmitMail(ctx context.Context, id, user uuid.UUID) error
	// TakeMailRates takes one from each rate for good, and stores that the limits let the mail
	// pass, or does neither: another try must not be refused by what this one has taken. If a rate
	// has nothing left, it returns refusals. Errors: [ErrMailNotFound].
	TakeMailRates(ctx context.Context, id uuid.UUID, rates []Rate) (
		taken []TakenRate, refused []RefusedRate, err error,
	)
	// PutChallenge is AdmitMail for a mail with a challenge, which it stores. An older challenge of
	// the user for the same purpose is gone. It records the event if the challenge is new. It
	// returns when the challenge expires. Errors: [ErrMailNotFound] also if the user has changed,
	// or has a newer challenge, or has redeemed this one.
	PutChallenge(ctx context.Context, e Event, c NewChallenge) (expires time.Time, err error)
	// FailMail stores what was wrong with a try, after which another one follows. Errors:
	// [ErrMailNotFound].
	FailMail(ctx context.Context, id uuid.UUID, problem string) error
	// SettleMail ends a mail, and forgets what was in it. It returns how long the mail has waited.
	// Errors: [ErrMailNotFound].
	SettleMail(ctx context.Context, id uuid.UUID, end MailEnd) (waited time.Duration, err error)
	// ExpireMails ends mails that should have been sent so long ago, and at most so many. It
	// records the event for each, with its kind as the target, and returns the kinds.
	ExpireMails(
		ctx context.Context, end MailEnd, over time.Duration, most int,
	) ([]MailKind, error)
	// MailsOfUser returns the last mails for a user, the newest first.
	MailsOfUser(ctx context.Context, user uuid.UUID, limit int) ([]RecordedMail, error)
	// UserByLogin finds the user who has a username, or a verified address, by their keys. Either
	// may be empty. Errors: [ErrUserNotFound].
	UserByLogin(ctx context.Context, username, address string) (User, error)
	// HolderOfAddress finds the user who has verified an address, by its key. Errors:
	// [ErrUserNotFound].
	HolderOfAddress(ctx context.Context, key string) (User, error)
	// AddressToProve returns the address that the user was asked to prove last; zero: none. It is
	// for nobody but the worker: there is one only if no other account has the address.
	AddressToProve(ctx context.Context, user uuid.UUID) (Email, error)
	// UserOfMail returns whom a mail of a kind is for; Nil: nobody, or there is no such mail.
	UserOfMail(ctx context.Context, id uuid.UUID, kind MailKind) (uuid.UUID, error)
}

// NoMailError says that there is nothing to send, and why.
type NoMailError struct {
	Kind    MailKind
	Outcome MailOutcome // "": the mail was done before, or its account is gone
}

func (e *NoMailError) Error() string {
	return "no mail is sent: " + cmp.Or(string(e.Outcome), "it is done, or its account is gone")
}

// sealedMail is what is in a mail until it is done.
type sealedMail struct {
	Login      string    `json:"login,omitempty"` // as it was typed; whose it is, the worker finds out
	Again      uuid.UUID `json:"again,omitzero"`  // an earlier mail, which has not come
	To         string    `json:"to,omitempty"`
	Username   string    `json:"username,omitempty"` // of a user who is gone when it is sent
	ToKey      string    `json:"to_key,omitempty"`
	NewAddress string    `json:"new_address,omitempty"`
	Language   string    `json:"language,omitempty"`
	RequestID  string    `json:"request_id,omitempty"`
	Address    string    `json:"address,omitempty"`
	UserAgent  string    `json:"user_agent,omitempty"`
}

// mostTyped bounds what is kept of what somebody has typed as a login, in characters. No username
// and no address is longer.
const mostTyped = 256

// mostLanguages bounds what is kept of Accept-Language, in characters.
const mostLanguages = 256

// mailRule is what holds for mails of one kind.
type mailRule struct {
	lifetime time.Duration    // of the mail, and of its challenge
	purpose  ChallengePurpose // "": it has no challenge
	// again is how soon the account may have another one of the kind.
	again  ratelimit.Limit
	perDay int // of the kind, for one account, and for one address if strangers cause it
	// byStrangers is true of a mail that somebody can cause who has not logged in. The limit on all
	// mails is for those alone: whoever uses it up must not silence what warns of a theft.
	byStrangers bool
}

func mailRuleOf(kind MailKind) mailRule {
	const day = 24 * time.Hour
	aMinute := ratelimit.Limit{Burst: 1, Interval: time.Minute}
	notice := mailRule{lifetime: 3 * day, perDay: 20}
	switch kind {
	case MailReset:
		return mailRule{10 * time.Minute, ChallengeReset, aMinute, 20, true}
	case MailVerify:
		return mailRule{10 * time.Minute, ChallengeVerify, aMinute, 10, true}
	case MailKnownAddress:
		return mailRule{day, "", aMinute, 4, true} // the first one has said it
	case MailInvite:
		return mailRule{3 * day, ChallengeInvite, aMinute, 10, false}
	case MailAddressChanged:
		return mailRule{7 * day, ChallengeUndo, ratelimit.Limit{}, 20, false}
	case MailLocked:
		return mailRule{day, "", ratelimit.Limit{}, 1, true}
	case MailTest:
		return mailRule{lifetime: 10 * time.Minute}
	}
	return notice
}

// Mails decides which mails are sent, and what they say. Whoever causes a mail seals what is known
// by then, and a worker calls Prepare when it is about to send it. So a request takes the same time
// whether there is such an account or not, and a mail says what is true when it is sent.
type Mails struct {
	store      MailStore
	limits     *Limits
	challenges *token.ChallengeKeys
	sealer     keychain.Sealer
	issuer     string
	notices    []MailKind // of NoticeKinds, that are told
}

// NewMails makes Mails with the keys of a keychain. Links lead to places below the URL of the
// issuer. Of the [NoticeKinds], those are told that are among notices.
func NewMails(
	store MailStore, limits *Limits, keys *keychain.Keychain, issuer string, notices []MailKind,
) *Mails {
	return &Mails{
		store: store, limits: limits, challenges: token.NewChallengeKeys(keys),
		sealer: keys.Sealer(keychain.Mails), issuer: strings.TrimSuffix(issuer, "/"),
		notices: notices,
	}
}

// tells reports whether mails of a kind are sent.
func (m *Mails) tells(kind MailKind) bool {
	return slices.Contains(m.notices, kind) || !slices.Contains(NoticeKinds(), kind)
}

// queued seals a mail. It says from where it was caused.
func (m *Mails) queued(ctx context.Context, kind MailKind, content sealedMail) QueuedMail {
	o := originOf(ctx)
	content.RequestID = oneLine(o.RequestID, mostRequestCharacters)
	content.Address = oneLine(o.Address, mostAddressCharacters)
	content.UserAgent = oneLine(o.UserAgent, maxUserAgent)
	content.Language = cmp.Or(content.Language, oneLine(o.Language, mostLanguages))
	plain, err := json.Marshal(content)
	if err != nil {
		panic(err) // texts can be encoded
	}
	id := uuid.New() // which says nothing of when it was made
	return QueuedMail{
		ID: id, Kind: kind, Sealed: m.sealer.Seal(id.String(), plain),
		Lifetime: mailRuleOf(kind).lifetime,
	}
}

// Prepare returns what a mail says, unless there is nothing to send: then it has ended the mail.
// For another try it returns the same, as long as that is still of use. Errors: [*NoMailError].
func (m *Mails) Prepare(ctx context.Context, id uuid.UUID) (Letter, error) {
	begun, err := m.store.BeginMail(ctx, id)
	if errors.Is(err, ErrMailNotFound) {
		return Letter{}, &NoMailError{}
	}
	if err != nil {
		return Letter{}, err
	}
	letter, err := m.prepare(ctx, begun)
	if errors.Is(err, ErrMailNotFound) { // the account is gone, or has changed meanwhile
		return Letter{}, m.end(ctx, begun, MailEnd{
			Outcome: MailVoid, Problem: "the account has changed, or a newer mail has taken its place",
		})
	}
	return letter, err
}

func (m *Mails) prepare(ctx context.Context, begun BegunMail) (Letter, error) {
	if begun.Expired {
		return Letter{}, m.end(ctx, begun, MailEnd{Outcome: MailExpired})
	}
	if !m.tells(begun.Kind) { // it was queued with other settings
		return Letter{}, m.end(ctx, begun, MailEnd{
			Outcome: MailVoid, Problem: "NOTICES leaves it out",
		})
	}
	plain, _, err := m.sealer.Open(begun.ID.String(), begun.Sealed)
	var content sealedMail
	if err == nil {
		err = json.Unmarshal(plain, &content)
	}
	if err != nil {
		return Letter{}, m.end(ctx, begun, dead(ctx, begun.Kind,
			"SECRET_KEY has been replaced since, and its old key is not on the list any more"))
	}
	user, to, problem, err := m.recipient(ctx, &begun, content)
	if err != nil {
		return Letter{}, err
	}
	if problem != "" {
		return Letter{}, m.end(ctx, begun, MailEnd{
			Outcome: MailVoid, Problem: problem, UserID: user.ID,
		})
	}
	return m.admit(ctx, begun, content, user, to)
}

// recipient finds out for whom a mail is. If it is for nobody, there is a problem in words for the
// log of mails. It may find out that the mail is of another kind.
func (m *Mails) recipient(
	ctx context.Context, begun *BegunMail, content sealedMail,
) (user User, to Email, problem string, err error) {
	switch begun.Kind {
	case MailLocked:
		user, to, problem, err = m.ownerOf(ctx, content)
		begun.UserID = user.ID
		return user, to, problem, err
	case MailReset:
		return m.ownerOf(ctx, content)
	case MailVerify:
		return m.toProve(ctx, begun, content)
	}
	to = Email{Given: content.To, Key: content.ToKey}
	if begun.UserID == uuid.Nil {
		return User{}, to, "", nil
	}
	user, err = m.store.UserByID(ctx, begun.UserID)
	if begun.Kind == MailInvite {
		// Whoever invites somebody once more may have typed another mailbox, whose address has the
		// same key. The account is for the first one.
		to = user.Email
		if to.Verified() {
			problem = "the invitation was accepted"
		}
	}
	return user, to, problem, goneIsNotFound(err)
}

// goneIsNotFound returns [ErrMailNotFound] for a user who is gone: the mail went too.
func goneIsNotFound(err error) error {
	if errors.Is(err, ErrUserNotFound) {
		return ErrMailNotFound
	}
	return err
}

// ownerOf finds who has typed a login, now or else for an earlier mail, and the address where only
// the owner reads. An address that is not verified may be somebody else's.
func (m *Mails) ownerOf(
	ctx context.Context, content sealedMail,
) (user User, to Email, problem string, err error) {
	if content.Login == "" && content.Again != uuid.Nil {
		user, err = m.userOf(ctx, content.Again, MailReset)
	} else {
		username, address := loginKeys(content.Login)
		user, err = m.store.UserByLogin(ctx, username, address)
	}
	switch {
	case errors.Is(err, ErrUserNotFound):
		return User{}, Email{}, "there is no such account", nil
	case err != nil:
		return User{}, Email{}, "", err
	case user.Disabled():
		return user, Email{}, "the account is disabled", nil
	case !user.Email.Verified():
		return user, Email{}, "the account has no verified address", nil
	}
	return user, user.Email, "", nil
}

// userOf finds for whom an earlier mail is. Errors: [ErrUserNotFound].
func (m *Mails) userOf(ctx context.Context, mail uuid.UUID, kind MailKind) (User, error) {
	id, err := m.store.UserOfMail(ctx, mail, kind)
	if err != nil {
		return User{}, err
	}
	return m.store.UserByID(ctx, id)
}

// admit takes the limits at the first try, makes the challenge, and returns the letter. What is
// taken is given back if the mail is void after all.
func (m *Mails) admit(
	ctx context.Context, begun BegunMail, content sealedMail, user User, to Email,
) (Letter, error) {
	var taken []TakenRate
	if !begun.Admitted {
		var err error
		taken, err = m.limits.takeForMail(ctx, m.store, begun.ID, m.limits.ofMail(mailTo{
			begun.Kind, user.ID, to.Key, askedBy(begun, content),
		}))
		if limited, ok := errors.AsType[*LimitedError](err); ok && !limited.Undecided {
			return Letter{}, m.end(ctx, begun, MailEnd{
				Outcome: MailSuppressed, Problem: "there were too many mails",
				// a mail to the owner of an address stays that of whoever has typed the address
				UserID: cmp.Or(begun.UserID, user.ID),
			})
		}
		if err != nil {
			return Letter{}, err
		}
	}
	letter, err := m.letter(ctx, begun, content, user, to)
	if errors.Is(err, ErrMailNotFound) {
		m.limits.giveBack(ctx, taken)
	}
	return letter, err
}

// askedBy is the address of a stranger who has caused a mail; "": no stranger has. Of a mail for
// another password, only a manager knows whose it is before it is sent.
func askedBy(begun BegunMail, content sealedMail) string {
	if !mailRuleOf(begun.Kind).byStrangers || begun.Kind == MailReset && begun.UserID != uuid.Nil {
		return ""
	}
	return cmp.Or(content.Address, "nowhere")
}

func (m *Mails) letter(
	ctx context.Context, begun BegunMail, content sealedMail, user User, to Email,
) (Letter, error) {
	letter := Letter{
		ID: begun.ID, Kind: begun.Kind, To: mailbox(to), Language: content.Language,
		Username: cmp.Or(shownName(user), content.Username), At: begun.QueuedAt, ClientAddress: content.Address,
		UserAgent: content.UserAgent, NewAddress: content.NewAddress,
	}
	purpose := mailRuleOf(begun.Kind).purpose
	if purpose == "" {
		letter.Link = m.linkOf(begun.Kind)
		return letter, m.store.AdmitMail(ctx, begun.ID, begun.UserID)
	}
	e := newEvent(ctx, Actor{}, ActionMakeChallenge, user.ID, string(purpose))
	e.Origin = Origin{
		RequestID: content.RequestID, Address: content.Address, UserAgent: content.UserAgent,
	}
	expires, err := m.store.PutChallenge(ctx, e, NewChallenge{
		begun.ID, content.Again, purpose, user, to,
	})
	if err != nil {
		return Letter{}, err
	}
	letter.ExpiresAt = expires
	if purpose != ChallengeUndo { // nobody was answered with its id
		letter.Code = m.challenges.Code(begun.ID)
	}
	letter.Link = m.issuer + purpose.path() + m.challenges.Link(begun.ID)
	return letter, nil
}

// linkOf is where a mail without a challenge leads to. After a notice that is another password,
// which ends all sessions.
func (m *Mails) linkOf(kind MailKind) string {
	switch kind {
	case MailKnownAddress:
		return m.issuer + "/login"
	case MailNewDevice, MailPasswordChanged, MailLocked, MailFactorAdded, MailFactorRemoved,
		MailRecoveryCodeUsed:
		return m.issuer + "/password/forgot"
	}
	return ""
}

// shownName is the name of a user for people. An id in place of a name says nothing to them.
func shownName(user User) string {
	if user.hasNoName() {
		return ""
	}
	return user.Username.Given
}

// mailbox is an address as SMTP wants it. It is not always where what was typed has its last @:
// some keyboards have another one.
func mailbox(e Email) string {
	address, err := email.Parse(e.Given)
	if err != nil || address.Key != e.Key {
		return e.Key // which is an address too
	}
	return address.Mailbox
}

// end ends a mail that is not sent. It returns a [*NoMailError], unless the store fails.
func (m *Mails) end(ctx context.Context, begun BegunMail, end MailEnd) error {
	_, err := m.store.SettleMail(ctx, begun.ID, end)
	if errors.Is(err, ErrMailNotFound) {
		return &NoMailError{Kind: begun.Kind}
	}
	if err != nil {
		return err
	}
	return &NoMailError{begun.Kind, end.Outcome}
}

// dead is the end of a mail that is given up. It is in the audit log, since somebody waits for it.
func dead(ctx context.Context, kind MailKind, problem string) MailEnd {
	e := newEvent(ctx, Replica(), ActionFailMail, uuid.Nil, string(kind))
	e.Outcome = outcomeUndeliverable
	return MailEnd{Outcome: MailDead, Problem: problem, Event: &e}
}

// Sent ends a mail that the relay has taken. It returns how long the mail has waited since it was
// queued. Errors: [ErrMailNotFound] if the account was deleted meanwhile.
func (m *Mails) Sent(ctx context.Context, l Letter) (waited time.Duration, err error) {
	return m.store.SettleMail(ctx, l.ID, MailEnd{Outcome: MailSent})
}

// Failed notes why the relay has not taken a mail, for which another try follows. Errors:
// [ErrMailNotFound].
func (m *Mails) Failed(ctx context.Context, l Letter, problem string) error {
	return m.store.FailMail(ctx, l.ID, withoutSecrets(problem, l))
}

// Dead ends a mail that the relay will never take. Errors: [ErrMailNotFound].
func (m *Mails) Dead(ctx context.Context, l Letter, problem string) error {
	_, err := m.store.SettleMail(ctx, l.ID, dead(ctx, l.Kind, withoutSecrets(problem, l)))
	return err
}

// GiveUpOverdue ends mails that should have been sent so long ago, and at most so many. Their jobs
// were lost, or no replica has a relay. It returns their kinds.
func (m *Mails) GiveUpOverdue(
	ctx context.Context, over time.Duration, most int,
) ([]MailKind, error) {
	return m.store.ExpireMails(ctx, dead(ctx, "", "nothing has sent it in time"), over, most)
}

const (
	mostProblemCharacters = 200
	blank                 = "…"
)

// withoutSecrets blanks what a relay's reply tells of a mail: addresses, which are deleted with
// their account elsewhere, and what proves them.
func withoutSecrets(problem string, l Letter) string {
	local, _, _ := cutAddress(l.To)
	words := strings.Fields(strings.ToValidUTF8(problem, "\ufffd"))
	for n, word := range words {
		lower := strings.ToLower(word)
		if strings.ContainsAny(word, "@＠") || strings.Contains(lower, "%40") ||
			len(local) > 2 && strings.Contains(lower, strings.ToLower(local)) ||
			l.Code != "" && (strings.Contains(word, l.Code) || strings.Contains(word, token.ShownCode(l.Code))) ||
			strings.Contains(word, "://") {
			words[n] = blank
		}
	}
	return cmp.Or(oneLine(strings.Join(words, " "), mostProblemCharacters), "no reason was given")
}

// MailLog answers why no mail came. It is for operators alone: it tells which mails somebody asked
// for.
type MailLog struct{ store MailStore }

// NewMailLog makes a MailLog.
func NewMailLog(store MailStore) *MailLog { return &MailLog{store} }

// Last returns the last mails for a user, the newest first. Errors: [ErrUserNotFound],
// [ErrForbidden].
func (m *MailLog) Last(
	ctx context.Context, by Actor, who UserRef, limit int,
) ([]RecordedMail, error) {
	if err := by.operates(); err != nil {
		return nil, err
	}
	user, err := who.find(ctx, m.store)
	if err != nil {
		return nil, err
	}
	return m.store.MailsOfUser(ctx, user.ID, limit)
}
