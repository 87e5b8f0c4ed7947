package passkey

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"regexp"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/google/uuid"
)

// Most bytes of an answer. The biggest honest ones carry certificates of attestation.
const maxAnswer = 16 << 10

const (
	publicKey  = "public-key"
	typeCreate = "webauthn.create"
	typeGet    = "webauthn.get"
)

// answer is a RegistrationResponseJSON or AuthenticationResponseJSON (WebAuthn §5.1). Members that
// are not here are ignored: extensions, and copies of what is in the signed parts.
type answer struct {
	ID       base64URL `json:"id"`
	RawID    base64URL `json:"rawId"`
	Type     string    `json:"type"`
	Response struct {
		ClientDataJSON    base64URL `json:"clientDataJSON"`
		AttestationObject base64URL `json:"attestationObject"`
		Transports        []string  `json:"transports"`
		AuthenticatorData base64URL `json:"authenticatorData"`
		Signature         base64URL `json:"signature"`
		UserHandle        base64URL `json:"userHandle"`
	} `json:"response"`
}

// parseAnswer is strict: a member that came twice would mean one thing here and another elsewhere.
func parseAnswer(raw []byte) (answer, error) {
	var a answer
	if len(raw) > maxAnswer || json.Unmarshal(raw, &a) != nil {
		return answer{}, ErrMalformed
	}
	if a.Type != publicKey || len(a.ID) == 0 || len(a.ID) > maxID || !bytes.Equal(a.ID, a.RawID) {
		return answer{}, ErrMalformed
	}
	return a, nil
}

// checkClientData checks what the browser says of the ceremony. The authenticator signs it.
func (rp *RelyingParty) checkClientData(raw []byte, ceremony string, challenge []byte) error {
	var data struct {
		Type        string  `json:"type"`
		Challenge   string  `json:"challenge"`
		Origin      string  `json:"origin"`
		CrossOrigin bool    `json:"crossOrigin"`
		TopOrigin   *string `json:"topOrigin"`
	}
	if json.Unmarshal(raw, &data) != nil {
		return ErrMalformed
	}
	want := base64.RawURLEncoding.EncodeToString(challenge)
	switch {
	case data.Type != ceremony:
		return ErrType
	case subtle.ConstantTimeCompare([]byte(data.Challenge), []byte(want)) != 1:
		return ErrChallenge
	case !slices.Contains(rp.origins, data.Origin):
		return ErrOrigin
	case data.CrossOrigin || data.TopOrigin != nil: // our page within another's
		return ErrCrossOrigin
	}
	return nil
}

// checkAuthenticatorData checks what the authenticator says of itself and its user.
func (rp *RelyingParty) checkAuthenticatorData(d authenticatorData, v UserVerification, presence bool) error {
	switch {
	case !bytes.Equal(d.rpIDHash, rp.hash[:]):
		return ErrRPID
	case presence && !d.has(userPresent):
		return ErrUserNotPresent
	case v != Preferred && !d.has(userVerified):
		return ErrUserNotVerified
	case d.has(backedUp) && !d.has(backupEligible):
		return ErrMalformed
	}
	return nil
}

// Register checks the answer to a [Creation] and returns the new passkey. Whether another account
// has one of the same ID is for the caller to see, and to refuse. Errors: [Error].
//
// A statement of attestation is not looked at. None was asked for; a browser that sends one says
// nothing that anybody here would act on (WebAuthn §5.4.7).
func (rp *RelyingParty) Register(c Creation, response []byte) (Credential, error) {
	if !c.isComplete() {
		return Credential{}, errIncomplete
	}
	a, err := parseAnswer(response)
	if err != nil {
		return Credential{}, err
	}
	if err := rp.checkClientData(a.Response.ClientDataJSON, typeCreate, c.Challenge); err != nil {
		return Credential{}, err
	}
	var object struct {
		AuthData []byte `cbor:"authData"`
	}
	if webauthncbor.Unmarshal(a.Response.AttestationObject, &object) != nil {
		return Credential{}, ErrMalformed
	}
	d, err := parseAuthenticatorData(object.AuthData)
	if err != nil {
		return Credential{}, err
	}
	if err := rp.checkAuthenticatorData(d, c.Verification, !c.Conditional); err != nil {
		return Credential{}, err
	}
	if !bytes.Equal(d.id, a.ID) {
		return Credential{}, ErrCredential
	}
	if _, err := parseKey(d.key); err != nil {
		return Credential{}, err
	}
	return Credential{
		ID:             d.id,
		PublicKey:      d.key,
		SignCount:      d.count,
		AAGUID:         d.aaguid,
		BackupEligible: d.has(backupEligible),
		BackedUp:       d.has(backedUp),
		UserVerified:   d.has(userVerified),
		Transports:     transports(a.Response.Transports),
	}, nil
}

// transports keeps what has the form of a transport, in order and once (WebAuthn §5.2.1.1). New
// ones may come up, so there is no list of them.
func transports(given []string) []string {
	form := regexp.MustCompile(`^[a-z-]{1,20}$`)
	kept := slices.DeleteFunc(given, func(t string) bool { return !form.MatchString(t) })
	slices.Sort(kept)
	kept = slices.Compact(kept)
	return kept[:min(len(kept), 8)]
}

// Assertion is the answer to a [Request], read and not yet believed.
type Assertion struct {
	ID     []byte        // of the credential, by which the caller finds what is stored
	Handle uuid.NullUUID // of the user. Authenticators may leave it out when they were told the credential

	clientData, authenticatorData, signature []byte
}

// ParseAssertion reads an answer of at most 16 KiB. Errors: [ErrMalformed], [ErrHandle].
func ParseAssertion(response []byte) (Assertion, error) {
	a, err := parseAnswer(response)
	if err != nil {
		return Assertion{}, err
	}
	r := a.Response
	parsed := Assertion{ID: a.ID, clientData: r.ClientDataJSON, authenticatorData: r.AuthenticatorData, signature: r.Signature}
	if len(r.UserHandle) > 0 {
		handle, err := uuid.FromBytes(r.UserHandle)
		if err != nil || handle == uuid.Nil {
			return Assertion{}, ErrHandle
		}
		parsed.Handle = uuid.NullUUID{UUID: handle, Valid: true}
	}
	return parsed, nil
}

// Use is what a good assertion changes in the stored credential.
type Use struct {
	SignCount              uint32
	BackedUp, UserVerified bool
	// Regressed is true if the counter of a passkey on several devices did not grow. That is no
	// reason to refuse it, since devices may count on their own. The caller audits it.
	Regressed bool
}

// Verify checks the answer to a [Request] against the stored credential of an account, whose handle
// is owner. The caller stores the counter by comparing it with stored.SignCount, or else two clones
// at once are both good. Errors: [Error].
func (rp *RelyingParty) Verify(r Request, owner uuid.UUID, stored Credential, a Assertion) (Use, error) {
	switch {
	case !r.isComplete() || owner == uuid.Nil:
		return Use{}, errIncomplete
	case len(stored.ID) == 0 || !bytes.Equal(a.ID, stored.ID):
		return Use{}, ErrCredential
	case a.Handle.UUID != owner && (a.Handle.Valid || r.Discoverable):
		return Use{}, ErrHandle
	}
	if err := rp.checkClientData(a.clientData, typeGet, r.Challenge); err != nil {
		return Use{}, err
	}
	d, err := parseAuthenticatorData(a.authenticatorData)
	if err != nil {
		return Use{}, err
	}
	if err := rp.checkAuthenticatorData(d, r.Verification, true); err != nil {
		return Use{}, err
	}
	key, err := parseKey(stored.PublicKey)
	if err != nil {
		return Use{}, err
	}
	digest := sha256.Sum256(a.clientData)
	if !key.verifies(slices.Concat(a.authenticatorData, digest[:]), a.signature) {
		return Use{}, ErrSignature
	}
	// Strangers cannot cause what follows. It may be audited as a sign of a clone.
	if d.has(backupEligible) != stored.BackupEligible {
		return Use{}, ErrBackup
	}
	count, regressed := nextCount(stored.SignCount, d.count)
	if regressed && !stored.BackupEligible {
		return Use{}, ErrCounter
	}
	return Use{SignCount: count, BackedUp: d.has(backedUp), UserVerified: d.has(userVerified), Regressed: regressed}, nil
}

// nextCount compares the counter with the one before (WebAuthn §6.1.1). An authenticator that does
// not count says 0 always. The higher one stays, so that a clone cannot take the counter back.
func nextCount(stored, given uint32) (next uint32, regressed bool) {
	if stored == 0 && given == 0 {
		return 0, false
	}
	return max(stored, given), given <= stored
}

// ChallengeOf returns the challenge that an answer says to answer. It is for a caller who keeps none
// and knows its own, who gives it back in a [Creation] or a [Request]. Errors: [ErrMalformed].
func ChallengeOf(response []byte) ([]byte, error) {
	a, err := parseAnswer(response)
	if err != nil {
		return nil, err
	}
	var data struct {
		Challenge base64URL `json:"challenge"`
	}
	if json.Unmarshal(a.Response.ClientDataJSON, &data) != nil {
		return nil, ErrMalformed
	}
	return data.Challenge, nil
}
