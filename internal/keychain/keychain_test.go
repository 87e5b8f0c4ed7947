package keychain

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
)

func keychainOf(t testing.TB, secrets ...[]byte) *Keychain {
	t.Helper()
	keys, err := New(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// Running installations hold tokens, devices, counters and signing keys that were made with the
// keys of their SECRET_KEY. The values here were computed by another program, with HMAC alone (RFC
// 5869).
func TestTheKeysOfRunningInstallationsStayTheSame(t *testing.T) {
	t.Parallel()
	pinned := map[Purpose]string{
		"gatehouse refresh token":     "a82b2d3e778833c91e9f77b4928788f2606b8082905043d3d0efede810a3e925",
		"gatehouse device token 2":    "6c49f3affcdd06f982a58ffd9fd23441d2f254734778ac63521813d8e115a6f6",
		"gatehouse device token":      "d45411a80d93c6746746d55099f7c6965b103c1d9e16f8055cbc92d595b6ccde",
		"gatehouse device name":       "60665fc6e74153b1af8883600b89cd869188322754ece430926b960b9d40905a",
		"gatehouse cursor":            "0ca09ac6979d6e9241b71e8fc7595a8b83e3d8d6e38ce7e1badcb1730a9133b5",
		"gatehouse signing keys":      "757874a8c74f04fa4eb2be1d6bc4f466a7251617c7c6f31c1e0c4131b418ccab",
		"gatehouse secret id":         "033baab14d435cf06eac7f88e5ea9c6c50e45f91134cd512ecc8936323c3637f",
		"gatehouse rate limits":       "e0e85aeaf586b40b78de0ddfd83d46b17aaabe86b433d707194b5d0195baaf1b",
		"gatehouse session cookie":    "6bd56391bbc845957ece880f600aa252145540df1a445c369d997239bbb68257",
		"gatehouse sibling cookie":    "ea20900503cc3d431bfed1393da19cdc1d511681540fa55bf9d1e3a8093348ca",
		"gatehouse login demand":      "51477f2c35e25b9a6ed8851415ce9a8f21ec1d434ff3f6336a5cd48390ed52ff",
		"gatehouse challenge":         "19fe412be85e52b8e34e2df2d3e020e2a3009503230225b39775d2e1c71f8f5b",
		"gatehouse mail":              "6768428eb131875b275605ad6aae69ada9e1fe694adf91f7f6eaac7cb8b4a762",
		"gatehouse totp secret":       "3c9c9b4eb4e53b6ade7e62131ed08006013362c3f708cfafc2dee9b943cb518a",
		"gatehouse pending login":     "a75f03d3a6815db98ab0ccfa6a3592f9e96f5b9fba56abbdabac653fbf7a1c62",
		"gatehouse passkey challenge": "ac924a9b31df1555b4705388567bdca8d8d53f9d1661abb088deb4a2de73ab10",
	}
	keys := keychainOf(t, []byte("a fixed secret of the tests, of 32 bytes or more"))
	for _, purpose := range purposes() {
		all := keys.of(purpose)()
		if len(all) != 1 || hex.EncodeToString(all[0]) != pinned[purpose] {
			t.Errorf("%s: %x", purpose, all)
		}
		delete(pinned, purpose)
	}
	if len(pinned) > 0 {
		t.Errorf("there are no keys any more for %v", pinned)
	}
	if ids := keys.IDs(); !slices.Equal(ids, []string{"033baab14d435cf06eac7f88e5ea9c6c"}) {
		t.Errorf("the secret's id: %s", ids)
	}
	sealed, err := hex.DecodeString(
		"6fb25af391119cb94549012c6d144486eec3afa2af3a5cbf3c199e0b91a8689bcfb7610ac4f4dd96c7",
	)
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := keys.Sealer(SigningKeys).Open("kid", sealed); err != nil ||
		string(got) != "a private key" {
		t.Errorf("the signing key: %q, %v", got, err)
	}
}

func TestTheNewestKeyMakesAndAnyVerifies(t *testing.T) {
	t.Parallel()
	old, next := bytes.Repeat([]byte("o"), 32), bytes.Repeat([]byte("n"), 32)
	before, after := keychainOf(t, old).MACs(DeviceNames),
		keychainOf(t, next, old).MACs(DeviceNames)
	code := before.Make([]byte("a"), []byte("b"))
	if !bytes.Equal(code, before.Make([]byte("ab"))) || !after.Verify(code, []byte("ab")) {
		t.Error("a code of the key before is refused")
	}
	if made := after.Make([]byte("ab")); bytes.Equal(made, code) ||
		!after.Verify(made, []byte("ab")) || before.Verify(made, []byte("ab")) {
		t.Error("the newest key does not make the codes")
	}
	if each := after.Each([]byte("ab")); len(each) != 2 ||
		!bytes.Equal(each[0], after.Make([]byte("ab"))) || !bytes.Equal(each[1], code) {
		t.Errorf("%x", each)
	}
	if keychainOf(t, old).MACs(RefreshTokens).Verify(code, []byte("ab")) ||
		after.Verify(code, []byte("abc")) || after.Verify(nil, []byte("ab")) {
		t.Error("a code passes for another one")
	}
	if _, err := New(nil); err == nil {
		t.Error("there are keys of no secret")
	}
}

func TestTheSecretsThatAreGivenOutAreCopies(t *testing.T) {
	t.Parallel()
	given := [][]byte{bytes.Repeat([]byte("a"), 32)}
	keys := keychainOf(t, given...)
	given[0][0] = 'x'
	keys.Secrets()[0][1] = 'x'
	if got := keys.Secrets(); len(got) != 1 || string(got[0]) != strings.Repeat("a", 32) {
		t.Errorf("%q", got)
	}
}

func TestNoWayToPrintKeysShowsThem(t *testing.T) {
	t.Parallel()
	canary := []byte("a canary that no log may ever show")
	keys := keychainOf(t, canary)
	type holder struct { // package fmt calls no methods on the value of an unexported field
		byPointer *Keychain
		byValue   Keychain
		macs      MACs
		sealer    Sealer
	}
	things := []any{
		keys, *keys, keys.MACs(RefreshTokens), keys.Sealer(Cursors),
		holder{keys, *keys, keys.MACs(RefreshTokens), keys.Sealer(Cursors)}, []any{keys},
		fmt.Errorf("of %v", keys),
	}
	var secrets []string
	for _, purpose := range purposes() {
		secrets = append(secrets, writings(keys.of(purpose)()[0])...)
	}
	secrets = append(secrets, writings(canary)...)
	for _, thing := range things {
		var printed strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
			fmt.Fprintf(&printed, verb+"\n", thing)
		}
		slog.New(slog.NewTextHandler(&printed, nil)).Info("", "thing", thing)
		slog.New(slog.NewJSONHandler(&printed, nil)).Info("", "thing", thing)
		for _, marshal := range []func(any) ([]byte, error){json.Marshal, func(v any) ([]byte, error) { return jsonv2.Marshal(v) }} {
			text, err := marshal(thing)
			fmt.Fprintf(&printed, "%s %v\n", text, err)
		}
		for _, secret := range secrets {
			if strings.Contains(printed.String(), secret) {
				t.Errorf("%T shows %q", thing, secret)
			}
		}
	}
	for _, thing := range things[:4] {
		text, err := json.Marshal(thing)
		if err != nil || string(text) != `"[keys]"` || fmt.Sprint(thing) != "[keys]" {
			t.Errorf("%T is printed as %v and %s, %v", thing, thing, text, err)
		}
	}
}

// writings returns the beginnings of all forms in which a secret may be printed.
func writings(secret []byte) []string {
	begin := secret[:6]
	numbers := strings.Trim(fmt.Sprint(begin), "[]")
	return []string{
		string(begin), hex.EncodeToString(begin), strings.ToUpper(hex.EncodeToString(begin)),
		base64.StdEncoding.EncodeToString(begin),
		numbers, strings.ReplaceAll(numbers, " ", ","),
		strings.Trim(fmt.Sprintf("%#v", begin), "[]byte{}"),
	}
}
