package token

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func deviceKeys(t testing.TB, secrets ...string) *DeviceKeys {
	t.Helper()
	all := make([][]byte, len(secrets))
	for n, s := range secrets {
		all[n] = []byte(strings.Repeat(s, 32))
	}
	k, err := NewDeviceKeys(all)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestADeviceIsKnownToItsAccountAloneUntilItExpires(t *testing.T) {
	t.Parallel()
	k, device, now := deviceKeys(t, "a"), uuid.New(), time.Now()
	raw := k.Make(now, "alice", device)
	for name, test := range map[string]struct {
		now     time.Time
		account string
		raw     string
		ok      bool
	}{
		"at once":              {now, "alice", raw, true},
		"a second too early":   {now.Add(DeviceLifetime - 2*time.Second), "alice", raw, true},
		"expired":              {now.Add(DeviceLifetime), "alice", raw, false},
		"another account":      {now, "bob", raw, false},
		"account begins alike": {now, "alice2", raw, false},
		"no account":           {now, "", raw, false},
		"empty":                {now, "alice", "", false},
		"cut":                  {now, "alice", raw[:len(raw)-1], false},
		"longer":               {now, "alice", raw + "A", false},
		"another prefix":       {now, "alice", "ghr_" + raw[4:], false},
		"with a line break":    {now, "alice", raw[:20] + "\n" + raw[21:], false},
	} {
		got, err := k.Verify(test.now, test.account, test.raw)
		if test.ok != (err == nil) || test.ok && got != device || err != nil && !errors.Is(err, ErrInvalidDevice) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestADeviceTokenWithAnyCharacterChangedIsRefused(t *testing.T) {
	t.Parallel()
	k, now := deviceKeys(t, "a"), time.Now()
	raw := k.Make(now, "alice", uuid.New())
	for n := range raw {
		other := byte('A')
		if raw[n] == other {
			other = 'B'
		}
		if _, err := k.Verify(now, "alice", raw[:n]+string(other)+raw[n+1:]); err == nil {
			t.Errorf("character %d", n)
		}
	}
}

func TestDevicesOutliveARotationOfTheSecret(t *testing.T) {
	t.Parallel()
	now := time.Now()
	raw := deviceKeys(t, "a").Make(now, "alice", uuid.New())
	if _, err := deviceKeys(t, "b", "a").Verify(now, "alice", raw); err != nil {
		t.Error(err)
	}
	if _, err := deviceKeys(t, "b").Verify(now, "alice", raw); err == nil {
		t.Error("accepted without its key")
	}
	if _, err := NewDeviceKeys(nil); err == nil {
		t.Error("made without a key")
	}
}

func FuzzNoTextIsADevice(f *testing.F) {
	k := deviceKeys(f, "a")
	made := k.Make(time.Unix(1<<40, 0), "alice", uuid.UUID{1})
	f.Add(made)
	f.Add(devicePrefix + strings.Repeat("A", 75))
	f.Fuzz(func(t *testing.T, raw string) {
		if _, err := k.Verify(time.Unix(0, 0), "alice", raw); err == nil && raw != made {
			t.Errorf("%q", raw)
		}
	})
}
