package app_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"

	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/token"
)

// refreshToken makes the n-th refresh token of the session that insertUser made.
func refreshToken(t testing.TB, databaseURL string, n int64) string {
	t.Helper()
	keys, err := keychain.New([][]byte{[]byte(secretKey)})
	must(t, err)
	var session uuid.UUID
	must(t, connect(t, databaseURL).QueryRow(t.Context(), "SELECT id FROM sessions").Scan(&session))
	return token.NewRefreshKeys(keys).Make(session, n, make([]byte, 16))
}

func (r *replica) refreshFrom(address, raw string) int {
	r.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {raw}}.Encode()
	return r.do(r.request("POST", "/token", form, "Content-Type",
		"application/x-www-form-urlencoded", "X-Forwarded-For", address)).status
}

// With a setting of ten seconds, everybody whose answer was late would be taken for a thief.
func TestAGraceThatIsTooShortForARetryIsRaisedAndSaidSo(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	r := boot(t, databaseURL, "--refresh-grace-seconds=1", "--request-timeout=4m")
	if !strings.Contains(r.log.String(), "REFRESH_GRACE_SECONDS") ||
		!strings.Contains(r.log.String(), `"to":"4m5s"`) {
		t.Error("nothing is said of it")
	}
	insertUser(t, databaseURL)
	raw := refreshToken(t, databaseURL, 0)
	if got := r.refreshFrom("", raw); got != 200 {
		t.Errorf("refresh: %d", got)
	}
	_, err := connect(t, databaseURL).Exec(t.Context(),
		"UPDATE sessions SET rotated_at = rotated_at - interval '1 min'")
	must(t, err)
	if got := r.refreshFrom("", raw); got != 200 {
		t.Errorf("a minute later: %d", got)
	}
}

func TestASettingRefusesARepeatFromAnotherNetwork(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]int{"once": 200, "refuse": 400} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			databaseURL := dbtest.New(t)
			r := boot(t, databaseURL, "--refresh-repeat-from-other-network="+setting,
				"--trusted-proxies=127.0.0.0/8")
			insertUser(t, databaseURL)
			raw := refreshToken(t, databaseURL, 0)
			if got := r.refreshFrom("192.0.2.1", raw); got != 200 {
				t.Errorf("refresh: %d", got)
			}
			if got := r.refreshFrom("192.0.2.99", raw); got != 200 {
				t.Errorf("from the same network: %d", got)
			}
			if got := r.refreshFrom("198.51.100.1", raw); got != want {
				t.Errorf("from another network: %d, want %d", got, want)
			}
		})
	}
}
