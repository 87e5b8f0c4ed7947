package token

import (
	"encoding/base64"
	"encoding/binary"
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
	return NewDeviceKeys(keychainOf(t, all...))
}

func TestADeviceIsKnownToItsAccountAloneUntilItExpires(t *testing.T) {
	t.Parallel()
	k, device, now := deviceKeys(t, "a"), Device{uuid.New(), 1234567890123456}, time.Now()
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
	raw := k.Make(now, "alice", Device{ID: uuid.New()})
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
	raw := deviceKeys(t, "a").Make(now, "alice", Device{ID: uuid.New()})
	if _, err := deviceKeys(t, "b", "a").Verify(now, "alice", raw); err != nil {
		t.Error(err)
	}
	if _, err := deviceKeys(t, "b").Verify(now, "alice", raw); err == nil {
		t.Error("accepted without its key")
	}
}

func FuzzNoTextIsADevice(f *testing.F) {
	k := deviceKeys(f, "a")
	made := k.Make(time.Unix(1<<40, 0), "alice", Device{uuid.UUID{1}, 1})
	f.Add(made)
	f.Add(devicePrefix + strings.Repeat("A", 75))
	f.Add(devicePrefix + strings.Repeat("A", 86))
	f.Fuzz(func(t *testing.T, raw string) {
		if _, err := k.Verify(time.Unix(0, 0), "alice", raw); err == nil && raw != made {
			t.Errorf("%q", raw)
		}
	})
}

// oldDevice is a token as the version before has made it.
func oldDevice(k *DeviceKeys, now time.Time, account string, id uuid.UUID) string {
	body := binary.BigEndian.AppendUint64(append([]byte{}, id[:]...), uint64(now.Add(DeviceLifetime).Unix()))
	return devicePrefix + base64.RawURLEncoding.EncodeToString(append(body, k.oldMACs.Make(body, []byte(account))...))
}

// An upgrade in the middle of an attack must not lock out the owners.
func TestADeviceOfTheVersionBeforeIsKnownByAPasswordThatNeverChanged(t *testing.T) {
	t.Parallel()
	k, id, now := deviceKeys(t, "a"), uuid.New(), time.Now()
	raw := oldDevice(k, now, "alice", id)
	if got, err := k.Verify(now, "alice", raw); err != nil || got != (Device{ID: id}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := k.Verify(now.Add(DeviceLifetime), "alice", raw); err == nil {
		t.Error("it has expired")
	}
}

// Names are chosen by their owners: one that begins with a password's mark must not become that of
// another account.
func TestADeviceOfTheVersionBeforeIsNoOtherAccountsOfToday(t *testing.T) {
	t.Parallel()
	k, now := deviceKeys(t, "a"), time.Now()
	old, err := base64.RawURLEncoding.DecodeString(oldDevice(k, now, "12345678alice", uuid.New())[4:])
	if err != nil {
		t.Fatal(err)
	}
	forged := append(append(append([]byte{}, old[:24]...), "12345678"...), old[24:]...)
	if _, err := k.Verify(now, "alice", devicePrefix+base64.RawURLEncoding.EncodeToString(forged)); err == nil {
		t.Error("it is taken for alice's")
	}
}

func TestTheNameOfAnAccountsDeviceTellsNothingAndOutlivesARotationOfTheSecret(t *testing.T) {
	t.Parallel()
	before, after := deviceKeys(t, "a").Names("alice"), deviceKeys(t, "b", "a").Names("alice")
	if len(before) != 1 || len(after) != 2 || after[1] != before[0] || after[0] == before[0] {
		t.Errorf("%q, then %q", before, after)
	}
	if other := deviceKeys(t, "a").Names("alice2"); other[0] == before[0] || len(before[0]) != 22 {
		t.Errorf("%q and %q", before, other)
	}
}

func TestADeviceTokenTellsWhenItExpires(t *testing.T) {
	t.Parallel()
	k, now := deviceKeys(t, "a"), time.Unix(1_800_000_000, 0)
	for raw, want := range map[string]time.Time{
		k.Make(now, "alice", Device{}):            now.Add(DeviceLifetime),
		oldDevice(k, now, "alice", uuid.UUID{}):   now.Add(DeviceLifetime),
		"":                                        {},
		"ghd_" + strings.Repeat("A", 20):          {},
		k.Make(now, "alice", Device{})[:60]:       {},
		"x" + k.Make(now, "alice", Device{})[1:]:  {},
		devicePrefix + strings.Repeat("\r\n", 43): {},
	} {
		if got := DeviceExpiry(raw); !got.Equal(want) {
			t.Errorf("%q: %v, want %v", raw, got, want)
		}
	}
}
