package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
)

// ErrInvalidDevice is for a device token that was not made here, is of another account, or has expired.
var ErrInvalidDevice = errors.New("token: invalid device token")

const (
	// devicePrefix lets scanners for leaked secrets find device tokens.
	devicePrefix = "ghd_"
	deviceLabel  = "gatehouse device token"
	deviceSize   = 16 + 8 + sha256.Size // device id, expiry, MAC

	// DeviceLifetime is that of a device token from the login that gave it. Browsers keep no cookie for much longer.
	DeviceLifetime = 365 * 24 * time.Hour
)

// DeviceKeys make and verify device tokens, which show that an account has logged in on a device before. They log nobody
// in, and name no account: they are verified for one. The keys are derived from the signing keys (RFC 5869), so that
// neither can stand in for the other.
type DeviceKeys struct {
	keys [][]byte // the first one makes, all of them verify
}

// NewDeviceKeys derives the keys.
func NewDeviceKeys(secrets [][]byte) (*DeviceKeys, error) {
	keys, err := derive(secrets, deviceLabel)
	if err != nil {
		return nil, err
	}
	return &DeviceKeys{keys: keys}, nil
}

// Make returns a token of a device for an account, by a name for it that does not change.
func (k *DeviceKeys) Make(now time.Time, account string, device uuid.UUID) string {
	body := binary.BigEndian.AppendUint64(append([]byte{}, device[:]...), uint64(now.Add(DeviceLifetime).Unix()))
	return devicePrefix + base64.RawURLEncoding.EncodeToString(append(body, deviceMAC(k.keys[0], body, account)...))
}

// Verify returns the device of a token for an account. ErrInvalidDevice.
func (k *DeviceKeys) Verify(now time.Time, account, raw string) (uuid.UUID, error) {
	encoded, ok := strings.CutPrefix(raw, devicePrefix)
	if !ok || len(encoded) != base64.RawURLEncoding.EncodedLen(deviceSize) || strings.ContainsAny(encoded, "\r\n") {
		return uuid.Nil, ErrInvalidDevice
	}
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return uuid.Nil, ErrInvalidDevice
	}
	body, mac := decoded[:deviceSize-sha256.Size], decoded[deviceSize-sha256.Size:]
	if !k.made(mac, body, account) || now.Unix() >= int64(binary.BigEndian.Uint64(body[16:])) {
		return uuid.Nil, ErrInvalidDevice
	}
	return uuid.UUID(body[:16]), nil
}

func (k *DeviceKeys) made(mac, body []byte, account string) bool {
	for _, key := range k.keys {
		if hmac.Equal(mac, deviceMAC(key, body, account)) {
			return true
		}
	}
	return false
}

// deviceMAC needs no mark between the body and the account: the body has a fixed length.
func deviceMAC(key, body []byte, account string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(body)
	mac.Write([]byte(account))
	return mac.Sum(nil)
}
