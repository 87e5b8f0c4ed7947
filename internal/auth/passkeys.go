package auth

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/otp"
	"gatehouse.example/internal/passkey"
)

// mostPasskeys is how many an account may have.
const mostPasskeys = 30

// mostPasskeyName is in characters.
const mostPasskeyName = 64

// unnamedPasskey is the name of a passkey whose user has given none.
const unnamedPasskey = "Passkey"

// Passkey is a passkey as it is stored.
type Passkey struct {
	ID         uuid.UUID
	Name       string // that its user gave it
	CreatedAt  time.Time
	LastUsedAt *time.Time // nil: never
	passkey.Credential
}

// isWayIn reports whether a login may need nothing else: the authenticator has shown that it knows
// its user.
func (p Passkey) isWayIn() bool { return p.UserVerified }

// NewPasskey is a passkey to be stored.
type NewPasskey struct {
	ID   uuid.UUID
	Name string
	passkey.Credential
	Challenge []byte // digest of what it has answered, which is good once
	// Lifetime is how long the challenge would be good.
	Lifetime time.Duration
	RPID     string // under which it was made
}

// HasPasskeys reports whether passkeys can be used here.
func (f *Factors) HasPasskeys() bool { return f.rp != nil }

// PasskeyOptions are what a browser makes a passkey by, as JSON
// (PublicKeyCredentialCreationOptions, WebAuthn §5.4). They are good for two minutes, and for one
// passkey. Errors: those of [Factors.AddPasskey].
func (f *Factors) PasskeyOptions(ctx context.Context, who Enroller) ([]byte, error) {
	return f.passkeyOptions(ctx, who, false)
}

// OfferedPasskeyOptions are PasskeyOptions for a passkey that the browser may make of its own
// accord after a login with a password (mediation "conditional").
func (f *Factors) OfferedPasskeyOptions(ctx context.Context, who Enroller) ([]byte, error) {
	return f.passkeyOptions(ctx, who, true)
}

func (f *Factors) passkeyOptions(
	ctx context.Context, who Enroller, offered bool,
) ([]byte, error) {
	by, err := f.may(ctx, who)
	if err == nil {
		err = f.mayAddPasskey(by.user)
	}
	if err != nil {
		return nil, err
	}
	there, err := f.store.PasskeysOf(ctx, by.user.ID)
	if err != nil {
		return nil, err
	}
	creation := passkey.Creation{
		Challenge:    f.challenges.make(f.clock(), by.registration(offered)),
		Verification: passkey.Preferred, Conditional: offered,
	}
	user := passkey.User{Handle: by.user.ID, Name: by.user.Username.Given}
	return f.rp.CreationOptions(creation, user, credentials(there))
}

// registration is what the challenge of a new passkey is bound to. It is good as long as the user
// does not change.
func (by enrolling) registration(offered bool) string {
	return fmt.Sprintf("register %s %d %t", by.bound, by.user.TokenVersion, offered)
}

func credentials(of []Passkey) (all []passkey.Credential) {
	for _, one := range of {
		all = append(all, one.Credential)
	}
	return all
}

func (f *Factors) mayAddPasskey(user User) error {
	switch err := f.mayAdd(user); {
	case err != nil:
		return err
	case f.rp == nil:
		return fmt.Errorf("%w: passkeys need WEBAUTHN_RP_ID", ErrFactorsOff)
	case user.Factors.Passkeys >= mostPasskeys:
		return ErrTooManyPasskeys
	}
	return nil
}

// AddPasskey adds a passkey, by what a browser has answered to [Factors.PasskeyOptions]. Errors:
// [ErrInvalidToken], [ErrForbidden], [ErrInsufficientAuthentication], [ErrLimited],
// [ErrFactorsOff], [ErrTooManyPasskeys], [ErrInvalidPasskey], [ErrPasskeyTaken],
// [ErrFactorsChanged].
func (f *Factors) AddPasskey(
	ctx context.Context, who Enroller, name string, response []byte,
) (FactorChange, error) {
	return f.addPasskey(ctx, who, name, response, false)
}

// AddPasskeyAsOffered is AddPasskey for [Factors.OfferedPasskeyOptions]. The user may not have been
// asked, and is about to look at another page. So no session ends, and the cookie stays. If it is
// the first factor, there are recovery codes, which the user has to be shown.
func (f *Factors) AddPasskeyAsOffered(
	ctx context.Context, who Enroller, name string, response []byte,
) (FactorChange, error) {
	return f.addPasskey(ctx, who, name, response, true)
}

func (f *Factors) addPasskey(
	ctx context.Context, who Enroller, name string, response []byte, offered bool,
) (FactorChange, error) {
	id := uuid.New()
	return f.change(ctx, who, ActionAddFactor, passkeyTarget(id),
		func(by enrolling) (FactorEdit, []otp.RecoveryCode, error) {
			if err := f.mayAddPasskey(by.user); err != nil {
				return FactorEdit{}, nil, err
			}
			challenge, ok := f.challenges.answered(f.clock(), response, by.registration(offered))
			if !ok {
				return FactorEdit{}, nil, fmt.Errorf("%w: the challenge", ErrInvalidPasskey)
			}
			made, err := f.rp.Register(passkey.Creation{
				Challenge: challenge, Verification: passkey.Preferred, Conditional: offered,
			}, response)
			if err != nil {
				return FactorEdit{}, nil, fmt.Errorf("%w: %w", ErrInvalidPasskey, err)
			}
			edit, codes := who.adding(by, methodPasskey)
			if offered {
				edit.NewCookie, edit.EndOthers, edit.Methods = false, false, nil
			}
			edit.AddPasskey = &NewPasskey{
				ID: id, Name: passkeyName(name), Credential: made, RPID: f.rp.ID(),
				Challenge: digestOf(challenge), Lifetime: passkey.Timeout,
			}
			return edit, codes, nil
		})
}

// passkeyTarget is the target of events about passkeys. Names are not in it: people call their
// things as they like, and the audit log outlives them.
func passkeyTarget(id uuid.UUID) string { return "passkey " + id.String() }

func passkeyName(given string) string {
	name := strings.TrimSpace(oneLine(given, mostPasskeyName))
	if name == "" {
		return unnamedPasskey
	}
	return name
}

// RenamePasskey gives a passkey another name. Errors: [ErrInvalidToken], [ErrForbidden],
// [ErrInsufficientAuthentication], [ErrLimited], [ErrPasskeyNotFound].
func (f *Factors) RenamePasskey(
	ctx context.Context, who Enroller, id uuid.UUID, name string,
) error {
	return f.note(ctx, who, ActionRenamePasskey, passkeyTarget(id),
		func(e Event, user uuid.UUID) error {
			return f.store.RenamePasskey(ctx, e, user, id, passkeyName(name))
		})
}

// RemovePasskey takes a passkey away. Errors: [ErrInvalidToken], [ErrForbidden],
// [ErrInsufficientAuthentication], [ErrLimited], [ErrPasskeyNotFound], [ErrFactorDemanded],
// [ErrLastWayIn].
func (f *Factors) RemovePasskey(
	ctx context.Context, who Enroller, id uuid.UUID,
) (FactorChange, error) {
	return f.change(ctx, who, ActionRemoveFactor, passkeyTarget(id),
		func(by enrolling) (FactorEdit, []otp.RecoveryCode, error) {
			passkeys, err := f.store.PasskeysOf(ctx, by.user.ID)
			if err != nil {
				return FactorEdit{}, nil, err
			}
			left := slices.DeleteFunc(slices.Clone(passkeys), func(p Passkey) bool {
				return p.ID == id
			})
			if len(left) == len(passkeys) {
				return FactorEdit{}, nil, ErrPasskeyNotFound
			}
			edit, err := f.removal(by.user, by.user.Factors.TOTP, left)
			edit.RemovePasskey = id
			return edit, nil, err
		})
}

// ClaimRP makes sure that the passkeys that there are can be used: they are bound to the id under
// which they were made. Call it before the first login.
func (f *Factors) ClaimRP(ctx context.Context) error {
	if f.rp == nil {
		return f.CheckRP(ctx)
	}
	return unlessOtherRP(f.store.ClaimPasskeyRP(ctx, f.rp.ID()))
}

// CheckRP is [Factors.ClaimRP] without noting the id for passkeys to come.
func (f *Factors) CheckRP(ctx context.Context) error {
	id, err := f.store.PasskeyRP(ctx)
	if f.rp != nil && id == f.rp.ID() {
		return err
	}
	return unlessOtherRP(id, err)
}

func unlessOtherRP(other string, err error) error {
	if err == nil && other != "" {
		err = fmt.Errorf("WEBAUTHN_RP_ID: there are passkeys of %q, which are good for nothing under another id: "+
			"set WEBAUTHN_RP_ID=%s, or first reset the factors of everybody who has one", other, other)
	}
	return err
}
