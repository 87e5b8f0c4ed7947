package passkey_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/descope/virtualwebauthn"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/google/uuid"

	"gatehouse.example/internal/passkey"
)

// A passkey could not be made, or not be used: with a username, without one, and with a key of each
// kind that virtual authenticators have.
func TestAPasskeyIsRegisteredAndLogsIn(t *testing.T) {
	t.Parallel()
	rp, owner := relyingParty(t), uuid.New()
	for _, kind := range []virtualwebauthn.KeyType{virtualwebauthn.KeyTypeEC2, virtualwebauthn.KeyTypeRSA} {
		d := newDevice(kind)
		d.auth.Options.UserHandle, d.auth.Options.BackupEligible, d.auth.Options.BackupState = owner[:], true, true
		creation := passkey.Creation{Challenge: challenge("1"), Verification: passkey.Required}
		made := d.creates(t, creation.Challenge, nil)
		made.Response.Transports = []string{"usb", "internal", "usb", "<script>", strings.Repeat("x", 99)}
		stored, err := rp.Register(creation, made.json(t))
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if !slices.Equal(stored.ID, d.key.ID) || stored.AAGUID != d.auth.Aaguid || !stored.BackupEligible || !stored.BackedUp || !stored.UserVerified {
			t.Errorf("%s: stored %+v", kind, stored)
		}
		if !slices.Equal(stored.Transports, []string{"internal", "usb"}) {
			t.Errorf("transports %q", stored.Transports)
		}

		for _, request := range []passkey.Request{
			{Challenge: challenge("2"), Verification: passkey.Required, Discoverable: true},
			{Challenge: challenge("3"), Verification: passkey.Preferred},
		} {
			a, err := passkey.ParseAssertion(d.proves(t, request.Challenge, nil).json(t))
			if err != nil || !slices.Equal(a.ID, d.key.ID) || a.Handle.UUID != owner || !a.Handle.Valid {
				t.Fatalf("%s: %+v, %v", kind, a, err)
			}
			use, err := rp.Verify(request, owner, stored, a)
			if err != nil || use != (passkey.Use{BackedUp: true, UserVerified: true}) {
				t.Errorf("%s: %+v, %v", kind, use, err)
			}
		}

		d.auth.Options.UserHandle = nil // a security key that was told the credential says no more
		second := passkey.Request{Challenge: challenge("4"), Verification: passkey.Preferred}
		if _, err := verify(rp, second, owner, stored, d.proves(t, second.Challenge, nil).json(t)); err != nil {
			t.Errorf("%s, without the handle: %v", kind, err)
		}
	}
}

// attempt is one answer that must be refused. Each differs from a good one in one thing.
type attempt struct {
	name   string
	device func(*device)
	change func(*signed) // before it is signed
	tamper func(*answer) // after it is signed
	stored func(*passkey.Credential)
	want   error
}

func flip(i int) func(*signed) { return func(s *signed) { s.data[i] ^= 1 } }

func clear(mask byte) func(*signed) { return func(s *signed) { s.data[flags] &^= mask } }

func set(mask byte) func(*signed) { return func(s *signed) { s.data[flags] |= mask } }

// inBoth are wrong in a registration and in a login.
func inBoth() []attempt {
	return []attempt{
		{name: "another host", change: with(map[string]any{"origin": "https://evil.example.net"}), want: passkey.ErrOrigin},
		{name: "a subdomain that is not listed", change: with(map[string]any{"origin": "https://other.example.org"}), want: passkey.ErrOrigin},
		{name: "the RP ID, which is no origin", change: with(map[string]any{"origin": "https://example.org"}), want: passkey.ErrOrigin},
		{name: "http", change: with(map[string]any{"origin": "http://login.example.org"}), want: passkey.ErrOrigin},
		{name: "a port", change: with(map[string]any{"origin": origin + ":8443"}), want: passkey.ErrOrigin},
		{name: "the usual port", change: with(map[string]any{"origin": origin + ":443"}), want: passkey.ErrOrigin},
		{name: "a path", change: with(map[string]any{"origin": origin + "/"}), want: passkey.ErrOrigin},
		{name: "a longer host", change: with(map[string]any{"origin": origin + ".example.net"}), want: passkey.ErrOrigin},
		{name: "userinfo", change: with(map[string]any{"origin": "https://login.example.org@example.net"}), want: passkey.ErrOrigin},
		{name: "capitals", change: with(map[string]any{"origin": "https://LOGIN.example.org"}), want: passkey.ErrOrigin},
		{name: "no origin", change: with(map[string]any{"origin": ""}), want: passkey.ErrOrigin},
		{name: "another RP ID", device: func(d *device) { d.rp.ID = "example.net" }, want: passkey.ErrRPID},
		{name: "a subdomain as RP ID", device: func(d *device) { d.rp.ID = "login.example.org" }, want: passkey.ErrRPID},
		{name: "another challenge", change: with(map[string]any{"challenge": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}), want: passkey.ErrChallenge},
		{name: "no challenge", change: with(map[string]any{"challenge": ""}), want: passkey.ErrChallenge},
		{name: "within another's page", change: with(map[string]any{"crossOrigin": true}), want: passkey.ErrCrossOrigin},
		{name: "a top origin", change: with(map[string]any{"topOrigin": origin}), want: passkey.ErrCrossOrigin},
		{name: "another type", change: with(map[string]any{"type": "payment.get"}), want: passkey.ErrType},
		{name: "no user", device: func(d *device) { d.auth.Options.UserNotPresent = true }, want: passkey.ErrUserNotPresent},
		{name: "an unknown user", device: func(d *device) { d.auth.Options.UserNotVerified = true }, want: passkey.ErrUserNotVerified},
		{name: "backed up, and not eligible", change: set(1 << 4), want: passkey.ErrMalformed},
		{name: "extensions that are not there", change: set(1 << 7), want: passkey.ErrMalformed},
		{name: "bytes at the end", change: func(s *signed) { s.data = append(s.data, 0xf6) }, want: passkey.ErrMalformed},
		{name: "client data that is no JSON", tamper: func(a *answer) { a.Response.ClientDataJSON = []byte("{") }, want: passkey.ErrMalformed},
		{name: "client data with an origin twice", tamper: func(a *answer) {
			a.Response.ClientDataJSON = []byte(strings.Replace(string(a.Response.ClientDataJSON), "{", `{"origin":"https://evil.example.net",`, 1))
		}, want: passkey.ErrMalformed},
		{name: "another kind of credential", tamper: func(a *answer) { a.Type = "password" }, want: passkey.ErrMalformed},
		{name: "two IDs", tamper: func(a *answer) { a.RawID = []byte("another") }, want: passkey.ErrMalformed},
		{name: "no ID", tamper: func(a *answer) { a.ID, a.RawID = nil, nil }, want: passkey.ErrMalformed},
		{name: "a long ID", tamper: func(a *answer) { a.ID = make([]byte, 1024); a.RawID = a.ID }, want: passkey.ErrMalformed},
		{name: "no answer", tamper: func(a *answer) { *a = answer{} }, want: passkey.ErrMalformed},
	}
}

func TestALoginIsRefusedForEachThingThatIsWrong(t *testing.T) {
	t.Parallel()
	rp, owner := relyingParty(t), uuid.New()
	request := passkey.Request{Challenge: challenge("login"), Verification: passkey.Required}
	attempts := slices.Concat(inBoth(), []attempt{
		{name: "the answer of a registration", change: with(map[string]any{"type": "webauthn.create"}), want: passkey.ErrType},
		{name: "another user's handle", device: func(d *device) { other := uuid.New(); d.auth.Options.UserHandle = other[:] }, want: passkey.ErrHandle},
		{name: "a handle that is none of ours", device: func(d *device) { d.auth.Options.UserHandle = []byte("alice") }, want: passkey.ErrHandle},
		{name: "the zero handle", device: func(d *device) { d.auth.Options.UserHandle = make([]byte, 16) }, want: passkey.ErrHandle},
		{name: "another passkey", tamper: func(a *answer) { a.ID = []byte("another"); a.RawID = a.ID }, want: passkey.ErrCredential},
		{name: "another's key", stored: func(c *passkey.Credential) {
			c.PublicKey = newDevice(virtualwebauthn.KeyTypeEC2).key.Key.AttestationData()
		}, want: passkey.ErrSignature},
		{name: "a stored key that is none", stored: func(c *passkey.Credential) { c.PublicKey = nil }, want: passkey.ErrAlgorithm},
		{name: "a bit of the signature", tamper: func(a *answer) { a.Response.Signature[len(a.Response.Signature)-1] ^= 1 }, want: passkey.ErrSignature},
		{name: "no signature", tamper: func(a *answer) { a.Response.Signature = nil }, want: passkey.ErrSignature},
		{name: "a bit of the counter", tamper: func(a *answer) { a.Response.AuthenticatorData[36] ^= 1 }, want: passkey.ErrSignature},
		{name: "a space in the client data", tamper: func(a *answer) { a.Response.ClientDataJSON = append(a.Response.ClientDataJSON, ' ') }, want: passkey.ErrSignature},
		{name: "eligible for a backup, and it was not", device: func(d *device) { d.auth.Options.BackupEligible = true }, want: passkey.ErrBackup},
		{name: "not eligible for a backup, and it was", stored: func(c *passkey.Credential) { c.BackupEligible = true }, want: passkey.ErrBackup},
		{name: "short authenticator data", change: func(s *signed) { s.data = s.data[:36] }, want: passkey.ErrMalformed},
		{name: "no authenticator data", change: func(s *signed) { s.data = nil }, want: passkey.ErrMalformed},
		{name: "a clone", stored: func(c *passkey.Credential) { c.SignCount = 5 }, want: passkey.ErrCounter},
	})
	for _, a := range attempts {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(virtualwebauthn.KeyTypeEC2)
			d.auth.Options.UserHandle = owner[:]
			stored := registered(t, rp, d)
			if a.device != nil {
				a.device(&d)
			}
			if a.stored != nil {
				a.stored(&stored)
			}
			response := d.proves(t, request.Challenge, a.change)
			if a.tamper != nil {
				a.tamper(&response)
			}
			use, err := verify(rp, request, owner, stored, response.json(t))
			if !errors.Is(err, a.want) || use != (passkey.Use{}) {
				t.Errorf("%+v, %v, want %v", use, err, a.want)
			}
		})
	}
}

func TestARegistrationIsRefusedForEachThingThatIsWrong(t *testing.T) {
	t.Parallel()
	rp := relyingParty(t)
	creation := passkey.Creation{Challenge: challenge("registration"), Verification: passkey.Required}
	attempts := slices.Concat(inBoth(), []attempt{
		{name: "the answer of a login", change: with(map[string]any{"type": "webauthn.get"}), want: passkey.ErrType},
		{name: "no credential", change: func(s *signed) { s.data = s.data[:37]; s.data[flags] &^= 1 << 6 }, want: passkey.ErrCredential},
		{name: "a flag without a credential", change: func(s *signed) { s.data = s.data[:37] }, want: passkey.ErrMalformed},
		{name: "a credential without its flag", change: clear(1 << 6), want: passkey.ErrMalformed},
		{name: "another ID than the browser says", change: flip(60), want: passkey.ErrCredential},
		{name: "a length beyond the end", change: func(s *signed) { s.data[53] = 0xff }, want: passkey.ErrMalformed},
		{name: "a point that is not on the curve", change: func(s *signed) { s.data[len(s.data)-1] ^= 1 }, want: passkey.ErrAlgorithm},
		{name: "no attestation object", tamper: func(a *answer) { a.Response.AttestationObject = nil }, want: passkey.ErrMalformed},
		{name: "an attestation object with bytes at the end", tamper: func(a *answer) { a.Response.AttestationObject = append(a.Response.AttestationObject, 0) }, want: passkey.ErrMalformed},
		{name: "an attestation object without data", tamper: func(a *answer) { a.Response.AttestationObject = []byte{0xa0} }, want: passkey.ErrMalformed},
	})
	for _, a := range attempts {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(virtualwebauthn.KeyTypeEC2)
			if a.device != nil {
				a.device(&d)
			}
			response := d.creates(t, creation.Challenge, a.change)
			if a.tamper != nil {
				a.tamper(&response)
			}
			credential, err := rp.Register(creation, response.json(t))
			if !errors.Is(err, a.want) || credential.ID != nil {
				t.Errorf("%+v, %v, want %v", credential, err, a.want)
			}
		})
	}
}

// A key of an algorithm that was not offered would be taken, since the library knows it. So would
// one that is weak, or that fills the database.
func TestKeysThatWereNotOfferedAreRefused(t *testing.T) {
	t.Parallel()
	rp := relyingParty(t)
	creation := passkey.Creation{Challenge: challenge("registration"), Verification: passkey.Required}
	ones := func(n int) []byte { return []byte(strings.Repeat("\xff", n)) }
	rsa := func(bytes int, exponent ...byte) map[int]any {
		return map[int]any{1: 3, 3: -257, -1: ones(bytes), -2: exponent}
	}
	long := rsa(256, 1, 0, 1)
	long[99] = make([]byte, 800)
	for name, key := range map[string]map[int]any{
		"RSA of 1024 bits":              rsa(128, 1, 0, 1),
		"RSA of 2047 bits":              {1: 3, 3: -257, -1: append([]byte{0x7f}, ones(255)...), -2: []byte{1, 0, 1}},
		"RSA of 4104 bits":              rsa(513, 1, 0, 1),
		"RSA with a small exponent":     rsa(256, 3),
		"RSA with PSS":                  {1: 3, 3: -37, -1: ones(256), -2: []byte{1, 0, 1}},
		"RSA with SHA-1":                {1: 3, 3: -65535, -1: ones(256), -2: []byte{1, 0, 1}},
		"EdDSA by its other name":       {1: 1, 3: -19, -1: 6, -2: ones(32)},
		"EdDSA on another curve":        {1: 1, 3: -8, -1: 7, -2: ones(57)},
		"EdDSA that is short":           {1: 1, 3: -8, -1: 6, -2: ones(31)},
		"EC2 that says it is EdDSA":     {1: 2, 3: -8, -1: 1, -2: ones(32), -3: ones(32)},
		"a symmetric key":               {1: 4, 3: 5, -1: ones(32)},
		"nothing":                       {},
		"a key of more than 1024 bytes": long,
	} {
		encoded, err := webauthncbor.Marshal(key)
		if err != nil {
			t.Fatal(err)
		}
		want := passkey.ErrAlgorithm
		if len(encoded) > 1024 {
			want = passkey.ErrMalformed
		}
		response := newDevice(virtualwebauthn.KeyTypeEC2).creates(t, creation.Challenge, func(s *signed) {
			s.data = append(s.data[:len(s.data)-77], encoded...)
		})
		if _, err := rp.Register(creation, response.json(t)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

// A passkey that nobody was asked about would be refused, or one that the browser makes of its own
// accord would pass as one of a user who was there.
func TestOnlyAConditionalCreationGoesWithoutAUser(t *testing.T) {
	t.Parallel()
	rp, d := relyingParty(t), newDevice(virtualwebauthn.KeyTypeEC2)
	d.auth.Options.UserNotPresent, d.auth.Options.UserNotVerified = true, true
	for _, c := range []struct {
		creation passkey.Creation
		want     error
	}{
		{passkey.Creation{Verification: passkey.Preferred, Conditional: true}, nil},
		{passkey.Creation{Verification: passkey.Preferred}, passkey.ErrUserNotPresent},
		{passkey.Creation{Verification: passkey.Required, Conditional: true}, passkey.ErrUserNotVerified},
	} {
		c.creation.Challenge = challenge("conditional")
		credential, err := rp.Register(c.creation, d.creates(t, c.creation.Challenge, nil).json(t))
		if !errors.Is(err, c.want) || credential.UserVerified {
			t.Errorf("%+v: %v, want %v", c.creation, err, c.want)
		}
	}
}

// A key without a PIN would be locked out as second factor, or be good as only one.
func TestAKeyWithoutAPINIsASecondFactorAlone(t *testing.T) {
	t.Parallel()
	rp, d, owner := relyingParty(t), newDevice(virtualwebauthn.KeyTypeEC2), uuid.New()
	stored := registered(t, rp, d)
	d.auth.Options.UserNotVerified = true
	for verification, want := range map[passkey.UserVerification]error{passkey.Preferred: nil, passkey.Required: passkey.ErrUserNotVerified} {
		request := passkey.Request{Challenge: challenge("login"), Verification: verification}
		use, err := verify(rp, request, owner, stored, d.proves(t, request.Challenge, nil).json(t))
		if !errors.Is(err, want) || use.UserVerified {
			t.Errorf("%s: %+v, %v, want %v", verification, use, err, want)
		}
	}
}

// An answer without a handle would be good for a login that did not say whose it is.
func TestALoginWithoutAUsernameNeedsAHandle(t *testing.T) {
	t.Parallel()
	rp, d := relyingParty(t), newDevice(virtualwebauthn.KeyTypeEC2)
	request := passkey.Request{Challenge: challenge("login"), Verification: passkey.Required, Discoverable: true}
	if _, err := verify(rp, request, uuid.New(), registered(t, rp, d), d.proves(t, request.Challenge, nil).json(t)); !errors.Is(err, passkey.ErrHandle) {
		t.Errorf("%v", err)
	}
}

// A clone of a device-bound passkey would log in, or a synced one whose devices count on their own
// would lock its owner out.
func TestACounterThatDoesNotGrowRefusesADeviceBoundPasskey(t *testing.T) {
	t.Parallel()
	rp, owner := relyingParty(t), uuid.New()
	for _, c := range []struct {
		stored, given, next uint32
		regressed           bool
	}{
		{0, 0, 0, false}, {0, 1, 1, false}, {1, 2, 2, false}, {1 << 31, 1<<32 - 1, 1<<32 - 1, false},
		{1, 1, 1, true}, {2, 1, 2, true}, {5, 0, 5, true}, {1<<32 - 1, 0, 1<<32 - 1, true},
	} {
		for _, synced := range []bool{false, true} {
			d := newDevice(virtualwebauthn.KeyTypeEC2)
			d.auth.Options.BackupEligible = synced
			stored := registered(t, rp, d)
			stored.SignCount, d.key.Counter = c.stored, c.given
			request := passkey.Request{Challenge: challenge("login"), Verification: passkey.Required}
			use, err := verify(rp, request, owner, stored, d.proves(t, request.Challenge, nil).json(t))
			if c.regressed && !synced {
				if !errors.Is(err, passkey.ErrCounter) || use != (passkey.Use{}) {
					t.Errorf("%d after %d, device-bound: %+v, %v", c.given, c.stored, use, err)
				}
				continue
			}
			if want := (passkey.Use{SignCount: c.next, UserVerified: true, Regressed: c.regressed}); err != nil || use != want {
				t.Errorf("%d after %d, synced %v: %+v, %v, want %+v", c.given, c.stored, synced, use, err, want)
			}
		}
	}
}

// A caller who forgot something would be told yes.
func TestAnIncompleteCeremonyAsksAndBelievesNothing(t *testing.T) {
	t.Parallel()
	rp, d, owner := relyingParty(t), newDevice(virtualwebauthn.KeyTypeEC2), uuid.New()
	stored := registered(t, rp, d)
	for _, c := range []struct {
		challenge    []byte
		verification passkey.UserVerification
	}{{nil, passkey.Preferred}, {challenge("1")[:15], passkey.Preferred}, {challenge("1"), 0}, {challenge("1"), 3}} {
		creation, request := passkey.Creation{Challenge: c.challenge, Verification: c.verification}, passkey.Request{Challenge: c.challenge, Verification: c.verification}
		var refusal passkey.Error
		for what, err := range map[string]error{
			"creation options": third(rp.CreationOptions(creation, passkey.User{Handle: owner}, nil)),
			"registration":     third(rp.Register(creation, d.creates(t, c.challenge, nil).json(t))),
			"request options":  third(rp.RequestOptions(request, []passkey.Credential{stored})),
			"login":            third(verify(rp, request, owner, stored, d.proves(t, c.challenge, nil).json(t))),
		} {
			if err == nil || errors.As(err, &refusal) {
				t.Errorf("%s of %d bytes, %s: %v", what, len(c.challenge), c.verification, err)
			}
		}
	}
	good := passkey.Request{Challenge: challenge("1"), Verification: passkey.Required}
	for what, err := range map[string]error{
		"a user without a handle": third(rp.CreationOptions(passkey.Creation{Challenge: good.Challenge, Verification: passkey.Required}, passkey.User{}, nil)),
		"nobody":                  third(verify(rp, good, uuid.Nil, stored, d.proves(t, good.Challenge, nil).json(t))),
		"no passkeys":             third(rp.RequestOptions(good, nil)),
		"passkeys of an unknown":  third(rp.RequestOptions(passkey.Request{Challenge: good.Challenge, Verification: passkey.Required, Discoverable: true}, []passkey.Credential{stored})),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if _, err := verify(rp, good, owner, passkey.Credential{}, d.proves(t, good.Challenge, nil).json(t)); !errors.Is(err, passkey.ErrCredential) {
		t.Errorf("no stored passkey: %v", err)
	}
}

func third[T any](_ T, err error) error { return err }

// A browser would be asked for what the answer is not checked for, or make a second passkey on the
// same device.
func TestOptionsSayWhatIsChecked(t *testing.T) {
	t.Parallel()
	rp, d := relyingParty(t), newDevice(virtualwebauthn.KeyTypeEC2)
	exclude := []passkey.Credential{registered(t, rp, d)}
	exclude[0].Transports = []string{"usb"}
	for range 29 {
		exclude = append(exclude, registered(t, rp, newDevice(virtualwebauthn.KeyTypeEC2)))
	}
	user := passkey.User{Handle: uuid.MustParse("00112233-4455-6677-8899-aabbccddeeff"), Name: "alice"}
	asked := challenge("1")
	encoded := base64.RawURLEncoding.EncodeToString(asked)

	for _, c := range []struct {
		creation               passkey.Creation
		residentKey, verifying string
	}{
		{passkey.Creation{Challenge: asked, Verification: passkey.Preferred}, "preferred", "preferred"},
		{passkey.Creation{Challenge: asked, Verification: passkey.Required}, "required", "required"},
		{passkey.Creation{Challenge: asked, Verification: passkey.Preferred, Conditional: true}, "required", "preferred"},
	} {
		raw, err := rp.CreationOptions(c.creation, user, exclude)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := virtualwebauthn.ParseAttestationOptions(string(raw))
		if err != nil || !slices.Equal(parsed.Challenge, asked) || parsed.UserID != string(user.Handle[:]) || parsed.UserName != "alice" {
			t.Fatalf("%+v, %v", parsed, err)
		}
		for _, e := range exclude {
			if key := (virtualwebauthn.Credential{ID: e.ID}); !key.IsExcludedForAttestation(*parsed) {
				t.Errorf("%x is not excluded", e.ID)
			}
		}
		got := members(t, raw)
		excluded := got["excludeCredentials"].([]any)
		delete(got, "excludeCredentials")
		want := members(t, []byte(`{"rp":{"id":"example.org","name":"Example"},
			"user":{"id":"ABEiM0RVZneImaq7zN3u_w","name":"alice","displayName":"alice"},"challenge":"`+encoded+`",
			"pubKeyCredParams":[{"type":"public-key","alg":-7},{"type":"public-key","alg":-8},{"type":"public-key","alg":-257}],
			"timeout":120000,"attestation":"none","authenticatorSelection":{"residentKey":"`+c.residentKey+`",
			"requireResidentKey":`+strconv.FormatBool(c.residentKey == "required")+`,"userVerification":"`+c.verifying+`"}}`))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		first := map[string]any{"type": "public-key", "id": base64.RawURLEncoding.EncodeToString(exclude[0].ID), "transports": []any{"usb"}}
		if !reflect.DeepEqual(excluded[0], first) || len(excluded) != 30 {
			t.Errorf("excluded are %v", excluded)
		}
	}

	raw, err := rp.RequestOptions(passkey.Request{Challenge: asked, Verification: passkey.Required, Discoverable: true}, nil)
	if want := `{"challenge":"` + encoded + `","timeout":120000,"rpId":"example.org","allowCredentials":[],"userVerification":"required"}`; err != nil || string(raw) != want {
		t.Errorf("%s, %v, want %s", raw, err, want)
	}
	raw, err = rp.RequestOptions(passkey.Request{Challenge: asked, Verification: passkey.Preferred}, exclude)
	if err != nil {
		t.Fatal(err)
	}
	request, err := virtualwebauthn.ParseAssertionOptions(string(raw))
	if err != nil || !d.key.IsAllowedForAssertion(*request) || len(request.AllowCredentials) != 30 || request.RelyingPartyID != "example.org" {
		t.Errorf("%+v, %v", request, err)
	}
}

func members(t *testing.T, raw []byte) (m map[string]any) {
	t.Helper()
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// An answer would mean one thing here and another to whoever reads it, or fill the memory.
func TestAnAnswerIsReadStrictly(t *testing.T) {
	t.Parallel()
	good := string(newDevice(virtualwebauthn.KeyTypeEC2).proves(t, challenge("login"), nil).json(t))
	id := parse(t, good).ID
	encoded := base64.RawURLEncoding.EncodeToString(id)
	for name, raw := range map[string]string{
		"nothing":          "",
		"null":             "null",
		"a list":           "[" + good + "]",
		"two answers":      good + good,
		"an ID twice":      strings.Replace(good, "{", `{"id":"`+encoded+`",`, 1),
		"a handle twice":   strings.Replace(good, `"response":{`, `"response":{"userHandle":"AAAA","userHandle":"AAAA",`, 1),
		"padding":          strings.ReplaceAll(good, encoded, encoded+"="),
		"a line break":     strings.ReplaceAll(good, encoded, encoded[:4]+`\n`+encoded[4:]),
		"the usual base64": strings.ReplaceAll(good, encoded, "+/+/"),
		"stray bits":       strings.ReplaceAll(good, encoded, "AB"),
		"a number":         strings.ReplaceAll(good, `"`+encoded+`"`, "1234"),
		"broken UTF-8":     strings.Replace(good, "{", "{\"x\":\"\xff\",", 1),
		"much":             strings.Replace(good, "{", `{"x":"`+strings.Repeat("x", 16<<10)+`",`, 1),
	} {
		if a, err := passkey.ParseAssertion([]byte(raw)); !errors.Is(err, passkey.ErrMalformed) || a.ID != nil {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	for name, raw := range map[string]string{
		"all that fits":    strings.Replace(good, "{", `{"x":"`+strings.Repeat("x", 16<<10-len(good)-7)+`",`, 1),
		"a handle of null": strings.Replace(good, `"response":{`, `"response":{"userHandle":null,`, 1),
		"extensions":       strings.Replace(good, "{", `{"clientExtensionResults":{"appid":true,"prf":{"enabled":true}},"authenticatorAttachment":"platform",`, 1),
	} {
		if a, err := passkey.ParseAssertion([]byte(raw)); err != nil || !slices.Equal(a.ID, id) || a.Handle.Valid {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

// A setting would be taken with which no browser has a passkey, or with which strangers have.
func TestAConfigThatNoBrowserWouldTakeIsRefused(t *testing.T) {
	t.Parallel()
	android := "android:apk-key-hash:" + strings.Repeat("A", 43)
	for _, c := range []struct {
		rpID, origin string
		good         bool
	}{
		{"example.org", "https://example.org", true},
		{"example.org", "https://login.example.org", true},
		{"login.example.org", "https://login.example.org:8443", true},
		{"localhost", "http://localhost:8000", true},
		{"app.localhost", "http://app.localhost", true},
		{"gatehouse.internal", "https://gatehouse.internal", true},
		{"gatehouse", "https://gatehouse", true},
		{"github.io", "https://github.io", true},
		{"example.org", android, true},
		{"example.org", "", false},
		{"", "https://example.org", false},
		{"EXAMPLE.org", "https://example.org", false},
		{"https://example.org", "https://example.org", false},
		{"example.org.", "https://example.org.", false},
		{"127.0.0.1", "http://127.0.0.1:8000", false},
		{"example.org", "https://127.0.0.1", false},
		{"example.org", "https://[::1]", false},
		{"login.example.org", "https://example.org", false},
		{"example.org", "https://badexample.org", false},
		{"example.org", "https://example.net", false},
		{"org", "https://example.org", false},
		{"co.uk", "https://example.co.uk", false},
		{"github.io", "https://someone.github.io", false},
		{"amazonaws.com", "https://x.eu-west-1.compute.amazonaws.com", false},
		{"example.org", "http://example.org", false},
		{"example.org", "http://login.example.org", false},
		{"localhost", "ftp://localhost", false},
		{"example.org", "https://example.org/", false},
		{"example.org", "https://example.org:443", false},
		{"localhost", "http://localhost:80", false},
		{"example.org", "https://example.org:", false},
		{"example.org", "https://Example.org", false},
		{"example.org", "https://user@example.org", false},
		{"example.org", "https://example.org?x", false},
		{"example.org", "https://example.org#x", false},
		{"example.org", "https://*.example.org", false},
		{"example.org", "example.org", false},
		{"example.org", "null", false},
		{"example.org", android + "A", false},
		{"example.org", "ios:bundle-id:x", false},
	} {
		if _, err := passkey.New(passkey.Config{RPID: c.rpID, RPName: "Example", Origins: []string{c.origin}}); (err == nil) != c.good {
			t.Errorf("%q at %q: %v", c.rpID, c.origin, err)
		}
	}
	if _, err := passkey.New(passkey.Config{RPID: "example.org", RPName: "Example"}); err == nil {
		t.Error("no origin is taken")
	}
	if _, err := passkey.New(passkey.Config{RPID: "example.org", Origins: []string{"https://example.org"}}); err == nil {
		t.Error("no name is taken")
	}
}

// vector is an example of WebAuthn Level 3 (§16). RP ID and origin are example.org in all of them.
type vector struct {
	Name           string
	Credential     string
	Registration   struct{ Challenge, ClientDataJSON, AttestationObject string }
	Authentication struct{ Challenge, ClientDataJSON, AuthenticatorData, Signature string }
}

// What other implementations sign would not be read here.
func TestTheExamplesOfTheStandard(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/webauthn-l3.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	refused := map[string]error{
		"ES256 Credential with crossOrigin: true in clientDataJSON": passkey.ErrCrossOrigin,
		"ES256 Credential with topOrigin in clientDataJSON":         passkey.ErrCrossOrigin,
		"Packed Attestation with ES384 Credential":                  passkey.ErrAlgorithm,
		"Packed Attestation with ES512 Credential":                  passkey.ErrAlgorithm,
		"Packed Attestation with Ed448 Credential":                  passkey.ErrAlgorithm,
	}
	rp, err := passkey.New(passkey.Config{RPID: "example.org", RPName: "Example", Origins: []string{"https://example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		var made answer
		made.ID, made.Type = decode(t, v.Credential), "public-key"
		made.RawID = made.ID
		made.Response.ClientDataJSON, made.Response.AttestationObject = decode(t, v.Registration.ClientDataJSON), decode(t, v.Registration.AttestationObject)
		stored, err := rp.Register(passkey.Creation{Challenge: decode(t, v.Registration.Challenge), Verification: passkey.Preferred}, made.json(t))
		if !errors.Is(err, refused[v.Name]) {
			t.Errorf("%s: %v, want %v", v.Name, err, refused[v.Name])
		}
		if err != nil {
			continue
		}
		proof := made
		proof.Response.AttestationObject = nil
		proof.Response.ClientDataJSON = decode(t, v.Authentication.ClientDataJSON)
		proof.Response.AuthenticatorData, proof.Response.Signature = decode(t, v.Authentication.AuthenticatorData), decode(t, v.Authentication.Signature)
		request := passkey.Request{Challenge: decode(t, v.Authentication.Challenge), Verification: passkey.Preferred}
		if _, err := verify(rp, request, uuid.New(), stored, proof.json(t)); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
		proof.Response.Signature[len(proof.Response.Signature)-1] ^= 1
		if _, err := verify(rp, request, uuid.New(), stored, proof.json(t)); !errors.Is(err, passkey.ErrSignature) {
			t.Errorf("%s, with another signature: %v", v.Name, err)
		}
	}
	if len(vectors) != 15 {
		t.Errorf("there are %d examples", len(vectors))
	}
}

func decode(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// An answer could crash a replica. What is read is read as it was signed.
func FuzzParseAssertion(f *testing.F) {
	rp, d, owner := relyingParty(f), newDevice(virtualwebauthn.KeyTypeEC2), uuid.New()
	d.auth.Options.UserHandle = owner[:]
	stored := registered(f, rp, d)
	request := passkey.Request{Challenge: challenge("login"), Verification: passkey.Required}
	good := d.proves(f, request.Challenge, nil).json(f)
	f.Add(good)
	f.Add([]byte(`{"id":"AA","rawId":"AA","type":"public-key","response":{"userHandle":null}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := passkey.ParseAssertion(raw)
		var refusal passkey.Error
		if err != nil {
			if !errors.As(err, &refusal) || a.ID != nil {
				t.Fatalf("%+v, %v", a, err)
			}
			return
		}
		if len(a.ID) == 0 || len(a.ID) > 1023 || len(raw) > 16<<10 || a.Handle.Valid == (a.Handle.UUID == uuid.Nil) {
			t.Fatalf("%+v", a)
		}
		if _, err := rp.Verify(request, owner, stored, a); err != nil {
			return
		}
		got, want := parse(t, string(raw)).Response, parse(t, string(good)).Response
		if !slices.Equal(got.ClientDataJSON, want.ClientDataJSON) || !slices.Equal(got.AuthenticatorData, want.AuthenticatorData) {
			t.Fatalf("%+v was never signed", got)
		}
	})
}

// A registration could crash a replica, or store what a row has no place for. A passkey that is
// stored can be read again.
func FuzzRegister(f *testing.F) {
	rp := relyingParty(f)
	creation := passkey.Creation{Challenge: challenge("registration"), Verification: passkey.Preferred}
	good := newDevice(virtualwebauthn.KeyTypeEC2).creates(f, creation.Challenge, nil)
	f.Add([]byte(good.ID), []byte(good.Response.AttestationObject), "usb")
	f.Fuzz(func(t *testing.T, id, object []byte, transport string) {
		a := good
		a.ID, a.RawID, a.Response.AttestationObject, a.Response.Transports = id, id, object, []string{transport}
		credential, err := rp.Register(creation, a.json(t))
		var refusal passkey.Error
		if err != nil {
			if !errors.As(err, &refusal) || credential.ID != nil {
				t.Fatalf("%+v, %v", credential, err)
			}
			return
		}
		if !slices.Equal(credential.ID, id) || len(id) == 0 || len(id) > 1023 || len(credential.PublicKey) > 1024 {
			t.Fatalf("%+v", credential)
		}
		request := passkey.Request{Challenge: challenge("login"), Verification: passkey.Preferred}
		d := newDevice(virtualwebauthn.KeyTypeEC2)
		d.key.ID = id
		if _, err := verify(rp, request, uuid.New(), credential, d.proves(t, request.Challenge, nil).json(t)); !errors.Is(err, passkey.ErrSignature) {
			t.Fatalf("another's signature: %v", err)
		}
	})
}
