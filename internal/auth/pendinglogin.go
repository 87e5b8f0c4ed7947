package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/ratelimit"
)

const (
	// pendingLifetime is how long somebody may take for the second step of a login.
	pendingLifetime = 10 * time.Minute

	// redeemedFor is how long a proof is remembered that was redeemed. It is longer than any is
	// good for, by the clock of any replica.
	redeemedFor = time.Hour

	// pendingName is what pending logins are sealed under. There is one kind of them.
	pendingName = "pending login"
)

// FactorNeededError is [ErrFactorNeeded] or [ErrFactorEnrol] of a user, who has shown the password.
// What is pending goes on to the second step, and is a secret of whoever has logged in.
type FactorNeededError struct {
	Pending  string // for [Logins.Pending] and [Logins.ProveFactor]
	Username Username
	Factors  FactorCount
	Enrol    bool // there is none yet, and one must be set up first
}

// Error implements error.
func (e *FactorNeededError) Error() string { return e.Unwrap().Error() }

// Unwrap returns [ErrFactorNeeded] or [ErrFactorEnrol].
func (e *FactorNeededError) Unwrap() error {
	if e.Enrol {
		return ErrFactorEnrol
	}
	return ErrFactorNeeded
}

// ChangeNeededError is [ErrMustChangePassword] of a user, who has proved a second factor. What is
// pending goes on to [Logins.ReplacePasswordInBrowser], in [BrowserLogin].
type ChangeNeededError struct {
	Pending  string
	Username Username
}

// Error implements error.
func (e *ChangeNeededError) Error() string { return ErrMustChangePassword.Error() }

// Unwrap returns [ErrMustChangePassword].
func (e *ChangeNeededError) Unwrap() error { return ErrMustChangePassword }

// ProofDigest is what is stored of something that is good once.
type ProofDigest [sha256.Size]byte

// pendingLogin is what lies between the two steps of a login. It is sealed, and nothing of it is
// stored until it is redeemed. Whoever steals one still has to prove the second factor.
type pendingLogin struct {
	ID       uuid.UUID
	UserID   uuid.UUID
	Account  string // the key of the username
	Version  int64  // of the user
	Password int64  // the mark of the password
	At       time.Time
	Methods  []string // how the user has proved who it is so far
	kindOfLogin
	Taken []takenBefore // that is given back when the second factor comes
}

// kindOfLogin is what the second step must have in common with the first.
type kindOfLogin struct {
	Browser  bool
	ClientID string // of the program that logs in
	Remember bool   // the user wants to stay logged in
	codeRequest
}

// takenBefore is a [TakenRate] as it is sealed.
type takenBefore struct {
	Key      []byte
	Interval time.Duration
	State    time.Time
}

// digest is what is stored of a pending login that was redeemed.
func (p pendingLogin) digest() ProofDigest {
	return sha256.Sum256([]byte("gatehouse pending login\x00" + p.ID.String()))
}

func (p pendingLogin) proof() PendingProof {
	return PendingProof{
		UserID: p.UserID, Version: p.Version, Digest: p.digest(), Lifetime: redeemedFor,
	}
}

// isOf reports whether a user has not changed since the login began.
func (p pendingLogin) isOf(user User) bool {
	return user.ID == p.UserID && user.TokenVersion == p.Version && !user.Disabled() &&
		user.passwordMark() == p.Password
}

// hasFactor reports whether a second factor was proved already.
func (p pendingLogin) hasFactor() bool { return slices.Contains(p.Methods, methodMultiple) }

func (p pendingLogin) taken() (all []TakenRate) {
	for _, t := range p.Taken {
		if len(t.Key) == len(ratelimit.Key{}) {
			all = append(all, TakenRate{
				Rate:  Rate{Key: ratelimit.Key(t.Key), Limit: ratelimit.Limit{Interval: t.Interval}},
				State: t.State,
			})
		}
	}
	return all
}

// pendingLogins seal what lies between the two steps of a login.
type pendingLogins struct {
	sealer keychain.Sealer
	clock  func() time.Time
}

func newPendingLogins(keys *keychain.Keychain, clock func() time.Time) pendingLogins {
	return pendingLogins{keys.Sealer(keychain.PendingLogins), clock}
}

// make seals the login of a proved user.
func (s pendingLogins) make(proof Proof, kind kindOfLogin, taken []TakenRate) string {
	p := pendingLogin{
		ID: uuid.New(), UserID: proof.ID, Account: proof.Username.Key, Version: proof.TokenVersion,
		Password: proof.passwordMark(), At: s.clock(), Methods: proof.Methods, kindOfLogin: kind,
	}
	for _, t := range taken {
		p.Taken = append(p.Taken, takenBefore{t.Key[:], t.Limit.Interval, t.State})
	}
	plain, err := json.Marshal(p)
	if err != nil {
		panic(err) // it has nothing that is no JSON
	}
	return base64.RawURLEncoding.EncodeToString(s.sealer.Seal(pendingName, plain))
}

// open reads a pending login of a browser, or of a client's program. Errors: [ErrPendingLogin].
func (s pendingLogins) open(raw string, browser bool, client Client) (p pendingLogin, err error) {
	sealed, err := base64.RawURLEncoding.DecodeString(raw)
	if err != nil {
		return pendingLogin{}, ErrPendingLogin
	}
	plain, _, err := s.sealer.Open(pendingName, sealed)
	if err != nil || json.Unmarshal(plain, &p) != nil {
		return pendingLogin{}, ErrPendingLogin
	}
	if p.Browser != browser || p.ClientID != client.ID || s.clock().Sub(p.At) >= pendingLifetime {
		return pendingLogin{}, ErrPendingLogin
	}
	return p, nil
}

// PendingLogin is a login of a browser between its two steps, as a page shows it.
type PendingLogin struct {
	User     User
	Enrol    bool // a factor must be set up first
	Change   bool // all is proved, and the password must be changed
	Remember bool // the user wants to stay logged in

	sealed pendingLogin
}

// Pending reads a login of a browser between its two steps, so that a page can show the next one. It
// changes nothing. Errors: [ErrPendingLogin].
func (l *Logins) Pending(ctx context.Context, pending string) (PendingLogin, error) {
	p, err := l.pending.open(pending, true, Client{})
	if err != nil {
		return PendingLogin{}, err
	}
	user, err := l.pendingUser(ctx, p)
	if err != nil {
		return PendingLogin{}, err
	}
	return PendingLogin{
		User: user, Enrol: !p.hasFactor() && !user.Factors.Any(), Change: p.hasFactor(),
		Remember: p.Remember, sealed: p,
	}, nil
}

// pendingUser reads the user of a pending login. Errors: [ErrPendingLogin].
func (l *Logins) pendingUser(ctx context.Context, p pendingLogin) (User, error) {
	user, redeemed, err := l.store.PendingLogin(ctx, p.UserID, p.digest())
	if errors.Is(err, ErrUserNotFound) || err == nil && (redeemed || !p.isOf(user)) {
		return User{}, ErrPendingLogin
	}
	return user, err
}

// demandFactor lets a login go on that needs no second factor. Errors: [*FactorNeededError], with
// which it goes on in a second step.
func (l *Logins) demandFactor(
	ctx context.Context, a *attempt, proof *Proof, kind kindOfLogin, mayTrust bool,
) error {
	demand := l.factors.DemandOf(proof.User)
	switch demand {
	case DemandNothing:
		return nil
	case DemandFactor, DemandEnrol:
	default:
		return fmt.Errorf("auth: FACTORS is %q", l.factors)
	}
	// Whoever changes a password that a second factor protects has to prove that factor.
	if mayTrust && demand == DemandFactor && !proof.MustChangePassword {
		trusted, err := l.isTrusted(ctx, a, *proof)
		if err != nil || trusted {
			proof.trusted = trusted
			return err
		}
	}
	if err := l.rehash(ctx, *proof); err != nil {
		return err
	}
	return &FactorNeededError{
		Pending: l.pending.make(*proof, kind, a.reserved.taken), Username: proof.Username,
		Factors: proof.Factors, Enrol: demand == DemandEnrol,
	}
}

// demandProved is demandFactor for whoever changes the password. The second factor was proved
// before, and what is pending says so. Errors: [*FactorNeededError], [ErrPendingLogin].
func (l *Logins) demandProved(
	ctx context.Context, a *attempt, proof *Proof, kind kindOfLogin, pending string,
) (redeem ProofDigest, err error) {
	if pending == "" {
		return ProofDigest{}, l.demandFactor(ctx, a, proof, kind, false)
	}
	p, err := l.pending.open(pending, kind.Browser, Client{ID: kind.ClientID})
	if err != nil {
		return ProofDigest{}, err
	}
	if !p.isOf(proof.User) || !p.hasFactor() {
		return ProofDigest{}, ErrPendingLogin
	}
	proof.Methods = p.Methods
	return p.digest(), nil
}

// redeem redeems a pending login that has proved all. Errors: [ErrPendingLogin].
func (l *Logins) redeem(ctx context.Context, digest ProofDigest) error {
	redeemed, err := l.store.RedeemProof(ctx, digest, redeemedFor)
	if err == nil && !redeemed {
		err = ErrPendingLogin
	}
	return err
}
