package auth

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/otp"
)

// Whoever puts another key before the old one would lock out everybody who has an app. Whoever has
// lost a key must not be able to open what was sealed with it.
func TestSecretsOfAppsOpenForTheirUserUnderAnyKeyOfTheList(t *testing.T) {
	t.Parallel()
	secrets := func(keys ...string) totpSecrets {
		var all [][]byte
		for _, key := range keys {
			all = append(all, bytes.Repeat([]byte(key), 32))
		}
		chain, err := keychain.New(all)
		if err != nil {
			t.Fatal(err)
		}
		return newTOTPSecrets(chain)
	}
	user, secret, now := uuid.New(), otp.NewSecret(), time.Now()
	stored, offered := secrets("a").seal(user, secret), secrets("a").offer(user, secret, now)
	for name, test := range map[string]struct {
		secrets totpSecrets
		user    uuid.UUID
		want    bool
	}{
		"the key":              {secrets("a"), user, true},
		"another one before":   {secrets("b", "a"), user, true},
		"another one in place": {secrets("b"), user, false},
		"another user":         {secrets("a"), uuid.New(), false},
	} {
		opened, err := test.secrets.open(test.user, stored)
		if (err == nil) != test.want || test.want && !bytes.Equal(opened, secret) {
			t.Errorf("%s: stored: %v", name, err)
		}
		accepted, err := test.secrets.accept(test.user, offered, now)
		if (err == nil) != test.want || test.want && !bytes.Equal(accepted, secret) {
			t.Errorf("%s: offered: %v", name, err)
		}
	}
	// What is offered is in a form, and what is stored in a backup. Neither is good for the other.
	if _, err := secrets("a").open(user, []byte(offered)); err == nil {
		t.Error("an offer is taken for a stored secret")
	}
	if strings.Contains(string(stored), string(secret)) {
		t.Error("it is not sealed")
	}
}
