package auth

import (
	"encoding/hex"
	"testing"
	"time"

	"gatehouse.example/internal/keychain"
)

// A version that counted under another key would forget all failed logins when it is rolled out.
// Its replicas would count apart from those of the version before. The value was computed by
// another program, with HMAC alone (RFC 5869).
func TestTheFailuresThatTheVersionBeforeCountedStillCount(t *testing.T) {
	t.Parallel()
	secrets := [][]byte{[]byte("a fixed secret of the tests, of 32 bytes or more")}
	keys, err := keychain.New(secrets)
	if err != nil {
		t.Fatal(err)
	}
	key := NewLimits(RateLimits{}, nil, nil, keys, time.Now).keyOf("account", "alice")
	if got := hex.EncodeToString(key[:]); got != "759721d6b1370910e7510734cd280122cfab56430aee35c3a869c3d7e9443c28" {
		t.Error(got)
	}
}
