package auth

import (
	"context"

	"gatehouse.example/internal/otp"
)

// EnrolTOTP sets up the authenticator app that a login of a browser demands, and goes on with the
// login. All other sessions end. There may be recovery codes even with an error: the factor is set
// up then, and something else is demanded. Errors: [ErrPendingLogin], those of
// [Factors.ConfirmTOTP] and of [Logins.ProveFactor].
func (l *Logins) EnrolTOTP(
	ctx context.Context, f *Factors, pending, sealed, code string, caller Caller, login BrowserLogin,
) (BrowserGrant, []otp.RecoveryCode, error) {
	return l.enrol(ctx, pending, caller, login, func(who Enroller) (FactorChange, error) {
		return f.ConfirmTOTP(ctx, who, sealed, code)
	})
}

// EnrolPasskey is EnrolTOTP for a passkey, by what a browser has answered to
// [Logins.EnrolOptions]. Errors: those of [Factors.AddPasskey] in place of the code's.
func (l *Logins) EnrolPasskey(
	ctx context.Context, f *Factors, pending, name string, response []byte, caller Caller,
	login BrowserLogin,
) (BrowserGrant, []otp.RecoveryCode, error) {
	return l.enrol(ctx, pending, caller, login, func(who Enroller) (FactorChange, error) {
		return f.AddPasskey(ctx, who, name, response)
	})
}

// EnrolOptions are [Factors.PasskeyOptions] for such a login. Errors: also [ErrPendingLogin].
func (l *Logins) EnrolOptions(ctx context.Context, f *Factors, pending string) ([]byte, error) {
	who, err := l.enroller(ctx, pending)
	if err != nil {
		return nil, err
	}
	return f.PasskeyOptions(ctx, who)
}

func (l *Logins) enrol(
	ctx context.Context, pending string, caller Caller, login BrowserLogin,
	do func(Enroller) (FactorChange, error),
) (BrowserGrant, []otp.RecoveryCode, error) {
	who, err := l.enroller(ctx, pending)
	if err != nil {
		return BrowserGrant{}, nil, err
	}
	change, err := do(who)
	if err != nil {
		return BrowserGrant{}, nil, err
	}
	grant, err := l.enrolled(ctx, pending, change, caller, login)
	return grant, change.Codes, err
}

// enroller is whoever has shown the password of an account that must have a factor and has none.
// Errors: [ErrPendingLogin].
func (l *Logins) enroller(ctx context.Context, pending string) (Enroller, error) {
	p, err := l.Pending(ctx, pending)
	if err == nil && !p.Enrol {
		err = ErrPendingLogin
	}
	if err != nil {
		return Enroller{}, err
	}
	return Enroller{pending: &pendingEnroller{
		id: p.sealed.ID, user: p.User, methods: p.sealed.Methods,
	}}, nil
}
