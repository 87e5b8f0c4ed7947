package passkey

import (
	"encoding/base64"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
)

// minChallenge is in bytes (WebAuthn §13.4.3). An empty challenge would be the right one for every
// answer without one.
const minChallenge = 16

// Creation is one registration of a passkey. Its options and its answer belong together by it.
type Creation struct {
	Challenge    []byte
	Verification UserVerification
	// Conditional is for a passkey that the browser makes of its own accord after a login with a
	// password (mediation "conditional"). The user may not have been asked.
	Conditional bool
}

func (c Creation) isComplete() bool { return isComplete(c.Challenge, c.Verification) }

// Request is one proof of a passkey. Its options and its answer belong together by it.
type Request struct {
	Challenge    []byte
	Verification UserVerification
	// Discoverable is for a login without a username: the answer has to say whose passkey it is.
	Discoverable bool
}

func (r Request) isComplete() bool { return isComplete(r.Challenge, r.Verification) }

func isComplete(challenge []byte, v UserVerification) bool {
	return len(challenge) >= minChallenge && (v == Preferred || v == Required)
}

// The members of PublicKeyCredentialCreationOptionsJSON and PublicKeyCredentialRequestOptionsJSON
// (WebAuthn §5.1.8, §5.1.9).
type (
	creationOptions struct {
		RP                     entity       `json:"rp"`
		User                   userEntity   `json:"user"`
		Challenge              base64URL    `json:"challenge"`
		PubKeyCredParams       []parameter  `json:"pubKeyCredParams"`
		Timeout                int64        `json:"timeout"`
		ExcludeCredentials     []descriptor `json:"excludeCredentials"`
		AuthenticatorSelection selection    `json:"authenticatorSelection"`
		Attestation            string       `json:"attestation"`
	}
	requestOptions struct {
		Challenge        base64URL    `json:"challenge"`
		Timeout          int64        `json:"timeout"`
		RPID             string       `json:"rpId"`
		AllowCredentials []descriptor `json:"allowCredentials"`
		UserVerification string       `json:"userVerification"`
	}
	entity struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	userEntity struct {
		ID          base64URL `json:"id"`
		Name        string    `json:"name"`
		DisplayName string    `json:"displayName"`
	}
	parameter struct {
		Type string `json:"type"`
		Alg  int64  `json:"alg"`
	}
	descriptor struct {
		Type       string    `json:"type"`
		ID         base64URL `json:"id"`
		Transports []string  `json:"transports,omitempty"`
	}
	selection struct {
		ResidentKey        string `json:"residentKey"`
		RequireResidentKey bool   `json:"requireResidentKey"`
		UserVerification   string `json:"userVerification"`
	}
)

// CreationOptions is what navigator.credentials.create() wants, for parseCreationOptionsFromJSON.
// An authenticator that has one of the excluded passkeys makes no other.
//
// A passkey that may be the only factor must be found without a username. A key without a PIN
// cannot keep such a passkey, and is good as second factor.
func (rp *RelyingParty) CreationOptions(c Creation, u User, exclude []Credential) ([]byte, error) {
	if !c.isComplete() || u.Handle == uuid.Nil {
		return nil, errIncomplete
	}
	discoverable := c.Verification == Required || c.Conditional
	residentKey := "preferred"
	if discoverable {
		residentKey = "required"
	}
	var parameters []parameter
	for _, algorithm := range algorithms() {
		parameters = append(parameters, parameter{publicKey, algorithm})
	}
	return json.Marshal(creationOptions{
		RP:                     entity{rp.id, rp.name},
		User:                   userEntity{u.Handle[:], u.Name, u.Name},
		Challenge:              c.Challenge,
		PubKeyCredParams:       parameters,
		Timeout:                Timeout.Milliseconds(),
		ExcludeCredentials:     descriptors(exclude),
		AuthenticatorSelection: selection{residentKey, discoverable, c.Verification.String()},
		Attestation:            "none",
	})
}

// RequestOptions is what navigator.credentials.get() wants, for parseRequestOptionsFromJSON. A
// discoverable request allows no passkeys by id, since it knows of no user.
func (rp *RelyingParty) RequestOptions(r Request, allow []Credential) ([]byte, error) {
	if !r.isComplete() || r.Discoverable != (len(allow) == 0) {
		return nil, errIncomplete
	}
	return json.Marshal(requestOptions{
		Challenge:        r.Challenge,
		Timeout:          Timeout.Milliseconds(),
		RPID:             rp.id,
		AllowCredentials: descriptors(allow),
		UserVerification: r.Verification.String(),
	})
}

func descriptors(credentials []Credential) []descriptor {
	list := make([]descriptor, 0, len(credentials))
	for _, c := range credentials {
		list = append(list, descriptor{publicKey, c.ID, c.Transports})
	}
	return list
}

// base64URL is written in JSON without padding (RFC 4648 §5), in the one way that there
// is for each value.
type base64URL []byte

// MarshalText is for JSON.
func (b base64URL) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText is for JSON. Errors: [ErrMalformed].
func (b *base64URL) UnmarshalText(text []byte) (err error) {
	if *b, err = base64.RawURLEncoding.Strict().AppendDecode(nil, text); err != nil || base64.RawURLEncoding.EncodedLen(len(*b)) != len(text) {
		return ErrMalformed // the decoder skips line breaks
	}
	return nil
}
