package auth

import (
	"context"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// ChallengePurpose is what a challenge is good for. A challenge is proved by the mail that carries
// it: by its link, or by its code together with the challenge's id.
type ChallengePurpose string

// Purposes of challenges.
const (
	ChallengeReset  ChallengePurpose = "reset"  // another password
	ChallengeVerify ChallengePurpose = "verify" // the address is the user's
	ChallengeInvite ChallengePurpose = "invite" // the first password
	ChallengeUndo   ChallengePurpose = "undo"   // the address of before
)

// path is where the link of a challenge leads to. Its token comes behind that, in the path: the
// request log has the route alone.
func (p ChallengePurpose) path() string {
	switch p {
	case ChallengeReset:
		return "/password/reset/"
	case ChallengeVerify:
		return "/email/verify/"
	case ChallengeInvite:
		return "/invitation/"
	case ChallengeUndo:
		return "/email/undo/"
	}
	panic("auth: there is no challenge to " + string(p))
}

// ChallengeProof shows that somebody reads the mail of a challenge. It is the token of its link, or
// the id of the challenge and the code.
type ChallengeProof struct {
	Token     string
	Challenge uuid.UUID // that the request for the mail was answered with
	Code      string    // as it was typed
}

// ChallengedUser is whose challenge it is.
type ChallengedUser struct {
	ID          uuid.UUID
	UsernameKey string
	Email       string // the address that the mail went to
}

// ChallengeStore stores challenges. A [MailStore] makes them.
type ChallengeStore interface {
	// OpenChallenge finds the user of a challenge that could be redeemed now. Errors:
	// [ErrInvalidChallenge].
	OpenChallenge(ctx context.Context, id uuid.UUID, p ChallengePurpose) (ChallengedUser, error)
	// GuessChallenge is OpenChallenge for somebody who has typed a code, and was answered with an id
	// when asking for the mail. It returns the challenge of the last mail that was sent for that. It
	// counts the guess, also if the caller then finds the code to be right. Errors:
	// [ErrInvalidChallenge], also after 5 guesses.
	GuessChallenge(
		ctx context.Context, asked uuid.UUID, p ChallengePurpose,
	) (id uuid.UUID, owner ChallengedUser, err error)
	// TakeBackGuess gives back a guess of a code that was right.
	TakeBackGuess(ctx context.Context, id uuid.UUID) error
}

// prove finds the challenge that somebody proves, and its user, also if a guess of the code was
// wrong. Whether the challenge is still open when it is redeemed is for that to look at. Errors:
// [ErrInvalidChallenge].
func prove(
	ctx context.Context, store ChallengeStore, keys *token.ChallengeKeys, purpose ChallengePurpose,
	proof ChallengeProof,
) (id uuid.UUID, owner ChallengedUser, err error) {
	if proof.Token != "" {
		if id, err = keys.VerifyLink(proof.Token); err != nil {
			return uuid.Nil, ChallengedUser{}, ErrInvalidChallenge
		}
		owner, err = store.OpenChallenge(ctx, id, purpose)
		return id, owner, err
	}
	id, owner, err = store.GuessChallenge(ctx, proof.Challenge, purpose)
	if err == nil && keys.VerifyCode(id, proof.Code) != nil {
		err = ErrInvalidChallenge
	}
	return id, owner, err
}
