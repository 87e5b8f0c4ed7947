package token

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/keychain"
)

// The values here were computed by the version before, and by another program with HMAC alone.
func TestTokensOfTheVersionBeforeAreStillAccepted(t *testing.T) {
	t.Parallel()
	now, id := time.Unix(1800000000, 0), uuid.MustParse("00112233-4455-6677-8899-aabbccddeeff")
	keys := keychainOf(t, []byte("a fixed secret of the tests, of 32 bytes or more"))
	const token = "ghr_ABEiM0RVZneImaq7zN3u_wAAAAAAAAAHabEYovkfsiw8vCEF5bFrUjsgycyx7huIpyEEc99yhNg"
	if got := NewRefreshKeys(keys).Make(id, 7, bytes.Repeat([]byte{1}, 16)); got != token {
		t.Errorf("the refresh token is %s", got)
	}

	devices := NewDeviceKeys(keys)
	const made = "ghd_ABEiM0RVZneImaq7zN3u_wAAAABtKwWAAAAAAAAAACpNiwXp95852PaMJRX_GaGq3zToVVQ-nC9YlbpSSfRHpw"
	if got := devices.Make(now, "alice", Device{id, 42}); got != made {
		t.Errorf("the device token is %s", got)
	}
	const older = "ghd_ABEiM0RVZneImaq7zN3u_wAAAABtKwWAqY_71F9Iy8jevKb0F6YUBKZU6bvQzDNF60PbNqkYjdM"
	if got, err := devices.Verify(now, "alice", older); err != nil || got != (Device{ID: id}) {
		t.Errorf("the device token without a password: %v, %v", got, err)
	}
	if got := devices.Names("alice"); !slices.Equal(got, []string{"HA1-4lh2QXVgQS5kkrTT9w"}) {
		t.Errorf("the device's name is %s", got)
	}
}

func keychainOf(t testing.TB, secrets ...[]byte) *keychain.Keychain {
	t.Helper()
	keys, err := keychain.New(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}
