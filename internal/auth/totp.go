package auth

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/otp"
)

// totpSecrets seals the secrets of authenticator apps, each for its user.
type totpSecrets struct{ sealer keychain.Sealer }

func newTOTPSecrets(keys *keychain.Keychain) totpSecrets {
	return totpSecrets{keys.Sealer(keychain.TOTPSecrets)}
}

// seal returns what is stored of a secret.
func (t totpSecrets) seal(user uuid.UUID, secret otp.Secret) []byte {
	return t.sealer.Seal(user.String(), secret)
}

// open returns the secret of what is stored.
func (t totpSecrets) open(user uuid.UUID, sealed []byte) (otp.Secret, error) {
	plain, _, err := t.sealer.Open(user.String(), sealed)
	return plain, err
}

const (
	// enrolmentLifetime is how long somebody may take to put a secret into an app.
	enrolmentLifetime = 15 * time.Minute
	enrolmentTime     = 8 // bytes
)

// offer seals a secret that was not confirmed yet, with its time.
func (t totpSecrets) offer(user uuid.UUID, secret otp.Secret, now time.Time) string {
	plain := binary.BigEndian.AppendUint64(nil, uint64(now.UnixMicro()))
	sealed := t.sealer.Seal(offerName(user), append(plain, secret...))
	return base64.RawURLEncoding.EncodeToString(sealed)
}

// accept returns the secret of an offer to a user. Errors: [ErrEnrolmentOver].
func (t totpSecrets) accept(user uuid.UUID, offer string, now time.Time) (otp.Secret, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(offer)
	if err != nil {
		return nil, ErrEnrolmentOver
	}
	plain, _, err := t.sealer.Open(offerName(user), sealed)
	if err != nil || len(plain) <= enrolmentTime {
		return nil, ErrEnrolmentOver
	}
	at := time.UnixMicro(int64(binary.BigEndian.Uint64(plain)))
	if now.Sub(at) > enrolmentLifetime {
		return nil, ErrEnrolmentOver
	}
	return plain[enrolmentTime:], nil
}

// offerName differs from the name of what is stored: an offer must not be taken for that.
func offerName(user uuid.UUID) string { return user.String() + " enrol" }

// TOTPEnrolment is a secret that somebody puts into an authenticator app. Nothing of it is stored
// until a code has confirmed it.
type TOTPEnrolment struct {
	Secret string // for whoever types it
	URI    string // for whoever scans it
	Sealed string // goes through the form, to [Factors.ConfirmTOTP]
}

// NewTOTP makes a secret for a user.
func (f *Factors) NewTOTP(user User) TOTPEnrolment {
	secret := otp.NewSecret()
	return f.enrolment(user, secret, f.secrets.offer(user.ID, secret, f.clock()))
}

// SameTOTP is the enrolment that a form has sent back, for whoever has mistyped the code: the
// secret is in the app already. Errors: [ErrEnrolmentOver].
func (f *Factors) SameTOTP(user User, sealed string) (TOTPEnrolment, error) {
	secret, err := f.secrets.accept(user.ID, sealed, f.clock())
	if err != nil {
		return TOTPEnrolment{}, err
	}
	return f.enrolment(user, secret, sealed), nil
}

func (f *Factors) enrolment(user User, secret otp.Secret, sealed string) TOTPEnrolment {
	return TOTPEnrolment{
		Secret: secret.Text(), URI: secret.URI(f.appName, user.Username.Given), Sealed: sealed,
	}
}

// StoredTOTP is what is stored of the secret of an app.
type StoredTOTP struct {
	Sealed []byte
	Step   int64 // of the code that confirmed it, which is no good any more
}

// String keeps the secret out of logs, sealed as it is.
func (StoredTOTP) String() string { return "[sealed]" }

// factorTOTP is the target of events about authenticator apps.
const factorTOTP = "totp"

// ConfirmTOTP adds an authenticator app, whose code shows that the secret is in it. Errors:
// [ErrInvalidToken], [ErrForbidden], [ErrInsufficientAuthentication], [ErrLimited],
// [ErrFactorsOff], [ErrFactorExists], [ErrEnrolmentOver], [ErrWrongFactor], [ErrFactorsChanged].
func (f *Factors) ConfirmTOTP(
	ctx context.Context, who Enroller, sealed, code string,
) (FactorChange, error) {
	return f.change(ctx, who, ActionAddFactor, factorTOTP,
		func(by enrolling) (FactorEdit, []otp.RecoveryCode, error) {
			if err := f.mayAdd(by.user); err != nil {
				return FactorEdit{}, nil, err
			}
			if by.user.Factors.TOTP {
				return FactorEdit{}, nil, ErrFactorExists
			}
			now := f.clock()
			secret, err := f.secrets.accept(by.user.ID, sealed, now)
			if err != nil {
				return FactorEdit{}, nil, err
			}
			step, ok := secret.Match(code, now)
			if !ok {
				return FactorEdit{}, nil, fmt.Errorf("%w: not of the new secret", ErrWrongFactor)
			}
			edit, codes := who.adding(by, methodOTP)
			edit.AddTOTP = &StoredTOTP{Sealed: f.secrets.seal(by.user.ID, secret), Step: step}
			return edit, codes, nil
		})
}

// RemoveTOTP takes the authenticator app away. Errors: [ErrInvalidToken], [ErrForbidden],
// [ErrInsufficientAuthentication], [ErrLimited], [ErrFactorDemanded]; [ErrFactorsChanged] if there
// is none.
func (f *Factors) RemoveTOTP(ctx context.Context, who Enroller) (FactorChange, error) {
	return f.change(ctx, who, ActionRemoveFactor, factorTOTP,
		func(by enrolling) (FactorEdit, []otp.RecoveryCode, error) {
			if !by.user.Factors.TOTP {
				return FactorEdit{}, nil, ErrFactorsChanged
			}
			passkeys, err := f.store.PasskeysOf(ctx, by.user.ID)
			if err != nil {
				return FactorEdit{}, nil, err
			}
			edit, err := f.removal(by.user, false, passkeys)
			edit.RemoveTOTP = true
			return edit, nil, err
		})
}
