package db

import (
	"encoding/hex"
	"strings"

	"gatehouse.example/internal/ratelimit"
)

// Unlocks subscribes to rates that were reset, of which DeleteRateLimits tells. What is reset
// between two connections is not told.
func Unlocks(unlocked func([]ratelimit.Key)) Subscription {
	return Subscription{Channel: "gatehouse_unlocks", Notified: func(payload string) {
		var keys []ratelimit.Key
		for word := range strings.FieldsSeq(payload) {
			if raw, err := hex.DecodeString(word); err == nil && len(raw) == len(ratelimit.Key{}) {
				keys = append(keys, ratelimit.Key(raw))
			}
		}
		unlocked(keys)
	}}
}
