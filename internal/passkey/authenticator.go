package passkey

import (
	"encoding/binary"
	"math/big"
	"slices"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/google/uuid"
)

const (
	maxID  = 1023 // bytes (WebAuthn §5.1)
	maxKey = 1024 // bytes. An RSA key of 4096 bits has 530
)

// flags of authenticator data (WebAuthn §6.1).
const (
	userPresent    = 1 << 0
	userVerified   = 1 << 2
	backupEligible = 1 << 3
	backedUp       = 1 << 4
	attested       = 1 << 6
	extended       = 1 << 7
)

// authenticatorData is what an authenticator signs (WebAuthn §6.1).
type authenticatorData struct {
	rpIDHash []byte
	flags    byte
	count    uint32
	// of a new credential
	aaguid  uuid.UUID
	id, key []byte
}

func (d authenticatorData) has(flag byte) bool { return d.flags&flag != 0 }

// parseAuthenticatorData reads all of it: nothing may follow. Errors: [ErrMalformed].
func parseAuthenticatorData(raw []byte) (authenticatorData, error) {
	hash, rest, ok := cut(raw, 32)
	flagsAndCount, rest, ok2 := cut(rest, 5)
	if !ok || !ok2 {
		return authenticatorData{}, ErrMalformed
	}
	d := authenticatorData{rpIDHash: hash, flags: flagsAndCount[0], count: binary.BigEndian.Uint32(flagsAndCount[1:])}
	if d.has(attested) {
		if rest, ok = d.readCredential(rest); !ok {
			return authenticatorData{}, ErrMalformed
		}
	}
	if d.has(extended) {
		if _, rest, ok = cutCBOR(rest); !ok {
			return authenticatorData{}, ErrMalformed
		}
	}
	if len(rest) > 0 {
		return authenticatorData{}, ErrMalformed
	}
	return d, nil
}

// readCredential reads the attested credential data (WebAuthn §6.5.2).
func (d *authenticatorData) readCredential(raw []byte) (rest []byte, ok bool) {
	head, rest, ok := cut(raw, 18)
	if !ok {
		return nil, false
	}
	d.aaguid = uuid.UUID(head[:16])
	if d.id, rest, ok = cut(rest, int(binary.BigEndian.Uint16(head[16:]))); !ok || len(d.id) > maxID {
		return nil, false
	}
	d.key, rest, ok = cutCBOR(rest)
	return rest, ok && len(d.key) <= maxKey
}

func cut(raw []byte, n int) (head, rest []byte, ok bool) {
	if len(raw) < n {
		return nil, nil, false
	}
	return slices.Clip(raw[:n]), raw[n:], true
}

// cutCBOR cuts behind the first item.
func cutCBOR(raw []byte) (item, rest []byte, ok bool) {
	var first webauthncbor.RawMessage
	n, err := webauthncbor.UnmarshalFirst(raw, &first)
	return first, raw[min(n, len(raw)):], err == nil
}

// algorithms are offered to authenticators, the favourite first: ES256, EdDSA and RS256. The last
// is for Windows Hello.
func algorithms() []int64 {
	return []int64{int64(webauthncose.AlgES256), int64(webauthncose.AlgEdDSA), int64(webauthncose.AlgRS256)}
}

type key struct{ cose any }

// parseKey reads a COSE key of one of the [algorithms]. The library knows more of them, and takes
// RSA keys of any size. Errors: [ErrAlgorithm].
func parseKey(raw []byte) (key, error) {
	parsed, err := webauthncose.ParsePublicKey(raw)
	if err != nil {
		return key{}, ErrAlgorithm
	}
	var algorithm int64
	switch k := parsed.(type) {
	case webauthncose.EC2PublicKeyData:
		algorithm = k.Algorithm
	case webauthncose.OKPPublicKeyData:
		algorithm = k.Algorithm
	case webauthncose.RSAPublicKeyData:
		bits := new(big.Int).SetBytes(k.Modulus).BitLen()
		if bits < 2048 || bits > 4096 || !slices.Equal(k.Exponent, []byte{1, 0, 1}) {
			return key{}, ErrAlgorithm
		}
		algorithm = k.Algorithm
	}
	if !slices.Contains(algorithms(), algorithm) {
		return key{}, ErrAlgorithm
	}
	return key{parsed}, nil
}

func (k key) verifies(data, signature []byte) bool {
	good, err := webauthncose.VerifySignature(k.cose, data, signature)
	return good && err == nil
}
