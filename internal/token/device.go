package token

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/keychain"
)

// ErrInvalidDevice is for a device token that was not made here, is of another account, or has
// expired.
var ErrInvalidDevice = errors.New("token: invalid device token")

const (
	// devicePrefix lets scanners for leaked secrets find device tokens.
	devicePrefix  = "ghd_"
	deviceSize    = 16 + 8 + 8 + sha256.Size // device id, expiry, password, MAC
	oldDeviceSize = 16 + 8 + sha256.Size     // without the password

	// DeviceLifetime is that of a device token from the login that gave it. Browsers keep no cookie
	// for much longer.
	DeviceLifetime = 365 * 24 * time.Hour
)

// Device is what a device token tells.
type Device struct {
	ID uuid.UUID
	// Password is when the account's password was last changed before the token was made, in
	// microseconds since 1970. It is 0 if the password was never changed. When the account has
	// another password, the device is not known any more.
	Password int64
}

// DeviceKeys make and verify device tokens. A device token shows that an account has logged in on a
// device before. It logs nobody in. It does not name the account: whoever verifies it says for
// which.
type DeviceKeys struct {
	macs keychain.MACs
	// oldMACs are of the tokens of the version before. They have keys of their own: under one key,
	// a MAC of the longer form could be that of the shorter one for another account, since the
	// account comes last in what the MAC is of.
	oldMACs  keychain.MACs
	nameMACs keychain.MACs
}

// NewDeviceKeys takes the keys of a keychain that are for devices.
func NewDeviceKeys(keys *keychain.Keychain) *DeviceKeys {
	return &DeviceKeys{
		macs: keys.MACs(keychain.DeviceTokens), oldMACs: keys.MACs(keychain.OldDeviceTokens),
		nameMACs: keys.MACs(keychain.DeviceNames),
	}
}

// Make returns a token of a device for an account. The account is given by a name that does not
// change.
func (k *DeviceKeys) Make(now time.Time, account string, device Device) string {
	body := binary.BigEndian.AppendUint64(append([]byte{}, device.ID[:]...), uint64(now.Add(DeviceLifetime).Unix()))
	body = binary.BigEndian.AppendUint64(body, uint64(device.Password))
	return devicePrefix + base64.RawURLEncoding.EncodeToString(append(body, k.macs.Make(body, []byte(account))...))
}

// Verify returns the device of a token for an account. Whether the account still has the password
// of the token is for the caller to look at. [ErrInvalidDevice].
func (k *DeviceKeys) Verify(now time.Time, account, raw string) (Device, error) {
	body, mac, err := decodeDevice(raw)
	if err != nil {
		return Device{}, err
	}
	device, macs := Device{ID: uuid.UUID(body[:16])}, k.oldMACs
	if len(body) > 24 {
		device.Password, macs = int64(binary.BigEndian.Uint64(body[24:])), k.macs
	}
	// The account needs no mark before it: under one key, all bodies have one length.
	if !macs.Verify(mac, body, []byte(account)) || !now.Before(deviceExpiry(body)) {
		return Device{}, ErrInvalidDevice
	}
	return device, nil
}

// Names are those under which a client may keep an account's device token. The first is for new
// ones. They are MACs, which do not tell the account.
func (k *DeviceKeys) Names(account string) []string {
	codes := k.nameMACs.Each([]byte(account))
	names := make([]string, len(codes))
	for n, code := range codes {
		names[n] = base64.RawURLEncoding.EncodeToString(code[:16])
	}
	return names
}

// DeviceExpiry is when a device token says that it expires. The token is not verified. The time is
// zero if the text has not the form of a device token.
func DeviceExpiry(raw string) time.Time {
	body, _, err := decodeDevice(raw)
	if err != nil {
		return time.Time{}
	}
	return deviceExpiry(body)
}

func deviceExpiry(body []byte) time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(body[16:24])), 0)
}

func decodeDevice(raw string) (body, mac []byte, err error) {
	encoded, ok := strings.CutPrefix(raw, devicePrefix)
	size := base64.RawURLEncoding.DecodedLen(len(encoded))
	if !ok || size != deviceSize && size != oldDeviceSize || strings.ContainsAny(encoded, "\r\n") {
		return nil, nil, ErrInvalidDevice
	}
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil, nil, ErrInvalidDevice
	}
	return decoded[:size-sha256.Size], decoded[size-sha256.Size:], nil
}
