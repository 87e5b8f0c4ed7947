package edge

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/token"
)

func TestOfTooManyDevicesTheOldestGo(t *testing.T) {
	t.Parallel()
	keys, err := keychain.New([][]byte{[]byte(strings.Repeat("k", 32))})
	if err != nil {
		t.Fatal(err)
	}
	devices := token.NewDeviceKeys(keys)
	var cookies []*http.Cookie
	for n := range MostDevices + 1 { // with the oldest in the middle
		at := time.Now().Add(-time.Duration((n+5)%(MostDevices+1)) * time.Hour)
		cookies = append(cookies,
			&http.Cookie{Name: "gatehouse_device_" + strconv.Itoa((n+5)%(MostDevices+1)),
				Value: devices.Make(at, "alice", token.Device{})})
	}
	if got := tooMany(cookies,
		"gatehouse_device_new"); !slices.Equal(got,
		[]string{"gatehouse_device_7", "gatehouse_device_8"}) {
		t.Errorf("%q", got)
	}
	if got := tooMany(cookies[:MostDevices-1], "gatehouse_device_new"); len(got) != 0 {
		t.Errorf("there was room: %q", got)
	}
	if got := tooMany(cookies[:MostDevices], cookies[0].Name); len(got) != 0 {
		t.Errorf("for one that is there already: %q", got)
	}
}
