package passkey_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"testing"

	"github.com/descope/virtualwebauthn"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/google/uuid"

	"gatehouse.example/internal/passkey"
)

const origin = "https://login.example.org"

// challenge of 32 bytes. Another seed is another challenge.
func challenge(seed string) []byte {
	digest := sha256.Sum256([]byte(seed))
	return digest[:]
}

func relyingParty(t testing.TB) *passkey.RelyingParty {
	t.Helper()
	rp, err := passkey.New(passkey.Config{RPID: "example.org", RPName: "Example", Origins: []string{origin, "https://example.org:8443"}})
	if err != nil {
		t.Fatal(err)
	}
	return rp
}

// device is a browser and an authenticator with one passkey.
type device struct {
	rp   virtualwebauthn.RelyingParty
	auth virtualwebauthn.Authenticator
	key  virtualwebauthn.Credential
}

func newDevice(kind virtualwebauthn.KeyType) device {
	key := virtualwebauthn.NewCredential(kind)
	for kind == virtualwebauthn.KeyTypeEC2 && len(key.Key.AttestationData()) != 77 {
		key = virtualwebauthn.NewCredential(kind) // it writes coordinates without leading zeros, which is wrong
	}
	return device{
		rp:   virtualwebauthn.RelyingParty{ID: "example.org", Name: "Example", Origin: origin},
		auth: virtualwebauthn.NewAuthenticator(),
		key:  key,
	}
}

// signed is what an answer says before it is signed. A test changes what it is about.
type signed struct {
	client map[string]any
	data   []byte
}

const flags = 32 // where the flags are in authenticator data

// answer is the JSON of an answer, with its bytes out of base64url.
type answer struct {
	ID       b64    `json:"id"`
	RawID    b64    `json:"rawId"`
	Type     string `json:"type"`
	Response struct {
		ClientDataJSON    b64      `json:"clientDataJSON"`
		AttestationObject b64      `json:"attestationObject,omitempty"`
		AuthenticatorData b64      `json:"authenticatorData,omitempty"`
		Signature         b64      `json:"signature,omitempty"`
		UserHandle        b64      `json:"userHandle,omitempty"`
		Transports        []string `json:"transports,omitempty"`
	} `json:"response"`
}

type b64 []byte

func (b b64) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, b), nil
}

func (b *b64) UnmarshalText(text []byte) (err error) {
	*b, err = base64.RawURLEncoding.AppendDecode(nil, text)
	return err
}

func parse(t testing.TB, raw string) (a answer) {
	t.Helper()
	if err := json.Unmarshal([]byte(raw), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a answer) json(t testing.TB) []byte {
	t.Helper()
	raw, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// creates answers a creation. The change is made before anything is signed.
func (d device) creates(t testing.TB, challenge []byte, change func(*signed)) answer {
	t.Helper()
	a := parse(t, virtualwebauthn.CreateAttestationResponse(d.rp, d.auth, d.key, virtualwebauthn.AttestationOptions{Challenge: challenge}))
	if change == nil {
		return a
	}
	var object map[string]any
	if err := webauthncbor.Unmarshal(a.Response.AttestationObject, &object); err != nil {
		t.Fatal(err)
	}
	s := signed{client: clientData(t, a), data: object["authData"].([]byte)}
	change(&s)
	var err error
	if a.Response.AttestationObject, err = webauthncbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": s.data}); err != nil {
		t.Fatal(err)
	}
	a.Response.ClientDataJSON = s.clientJSON(t)
	return a
}

// proves answers a request. The change is made before it is signed.
func (d device) proves(t testing.TB, challenge []byte, change func(*signed)) answer {
	t.Helper()
	a := parse(t, virtualwebauthn.CreateAssertionResponse(d.rp, d.auth, d.key, virtualwebauthn.AssertionOptions{Challenge: challenge}))
	if change == nil {
		return a
	}
	s := signed{client: clientData(t, a), data: a.Response.AuthenticatorData}
	change(&s)
	a.Response.ClientDataJSON, a.Response.AuthenticatorData = s.clientJSON(t), s.data
	client := sha256.Sum256(a.Response.ClientDataJSON)
	digest := sha256.Sum256(append(append([]byte(nil), s.data...), client[:]...))
	var err error
	if a.Response.Signature, err = d.key.Key.Sign(digest[:]); err != nil {
		t.Fatal(err)
	}
	return a
}

func clientData(t testing.TB, a answer) (client map[string]any) {
	t.Helper()
	if err := json.Unmarshal(a.Response.ClientDataJSON, &client); err != nil {
		t.Fatal(err)
	}
	return client
}

func (s signed) clientJSON(t testing.TB) []byte {
	t.Helper()
	raw, err := json.Marshal(s.client)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// with is a change of the client data.
func with(members map[string]any) func(*signed) {
	return func(s *signed) { maps.Copy(s.client, members) }
}

// registered is the stored passkey of a device.
func registered(t testing.TB, rp *passkey.RelyingParty, d device) passkey.Credential {
	t.Helper()
	creation := passkey.Creation{Challenge: challenge("registration"), Verification: passkey.Preferred}
	credential, err := rp.Register(creation, d.creates(t, creation.Challenge, nil).json(t))
	if err != nil {
		t.Fatal(err)
	}
	return credential
}

// verify reads an answer and verifies it.
func verify(rp *passkey.RelyingParty, r passkey.Request, owner uuid.UUID, stored passkey.Credential, response []byte) (passkey.Use, error) {
	a, err := passkey.ParseAssertion(response)
	if err != nil {
		return passkey.Use{}, err
	}
	return rp.Verify(r, owner, stored, a)
}
