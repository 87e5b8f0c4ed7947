package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/passkey"
)

const (
	challengeTime  = 8  // bytes, in microseconds
	challengeNonce = 16 // bytes
	challengeBody  = challengeTime + challengeNonce
)

// passkeyChallenges make what passkeys answer. A challenge says by itself when it was made, and has
// a MAC that binds it to what the answer has to come from. So nothing is stored when a page is
// shown. That it is answered once is for the store to see to, by its digest.
type passkeyChallenges struct{ macs keychain.MACs }

func newPasskeyChallenges(keys *keychain.Keychain) passkeyChallenges {
	return passkeyChallenges{keys.MACs(keychain.PasskeyChallenges)}
}

func (c passkeyChallenges) make(now time.Time, boundTo string) []byte {
	body := binary.BigEndian.AppendUint64(nil, uint64(now.UnixMicro()))
	body = append(body, make([]byte, challengeNonce)...)
	_, _ = rand.Read(body[challengeTime:]) // never fails: it ends the program first
	return append(body, c.macs.Make(body, []byte(boundTo))...)
}

// answered returns the challenge that a browser's answer says to answer, if it is one that is good
// for this. Whether the answer is right is another question.
func (c passkeyChallenges) answered(now time.Time, response []byte, boundTo string) ([]byte, bool) {
	challenge, err := passkey.ChallengeOf(response)
	if err != nil || len(challenge) <= challengeBody ||
		!c.macs.Verify(challenge[challengeBody:], challenge[:challengeBody], []byte(boundTo)) {
		return nil, false
	}
	at := time.UnixMicro(int64(binary.BigEndian.Uint64(challenge)))
	return challenge, now.Sub(at) <= passkey.Timeout
}

// digestOf is what is stored of a challenge that was answered.
func digestOf(challenge []byte) []byte {
	sum := sha256.Sum256(challenge)
	return sum[:]
}
