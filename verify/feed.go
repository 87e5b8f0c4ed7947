package verify

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"gatehouse.example/internal/revocation"
)

// errOlder is for a feed from before the last: somebody plays it again, or a cache is behind, or a
// replica's clock.
var errOlder = errors.New("GET /revocations.jwt: older than the last one")

// takeFeed adds what a feed has. It confirms the set as of the feed's own time, which no cache can
// forge.
func (f *follower) takeFeed(began time.Time, response *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(response.Body, revocation.MaxFeedLength+1))
	if err != nil {
		return err
	}
	feed, err := f.verifyFeed(string(body))
	if err != nil {
		return fmt.Errorf("GET /revocations.jwt: %w", err)
	}
	if feed.IssuedAt.Before(f.issued) {
		return errOlder
	}
	report := revocation.OfFeed(feed)
	set, err := f.setFor(report)
	if err != nil {
		return err
	}
	if err := set.Merge(f.Clock(), report); err != nil {
		return err
	}
	// Gatehouse's clock may be ahead.
	if confirmed := feed.IssuedAt; confirmed.Before(began) {
		began = confirmed
	}
	set.Confirm(began)
	f.set.Store(set)
	f.issued = feed.IssuedAt
	return nil
}

func (f *follower) verifyFeed(raw string) (feed revocation.Feed, err error) {
	err = f.public.ask(f.Clock(), func() error {
		feed, err = revocation.VerifyFeed(f.public.tokens, f.Clock(), raw)
		return err
	})
	return feed, err
}

// isHarmless tells whether a poll that failed is no sign of an outage: of several replicas, one has
// its clock a little behind. If that goes on, it is an outage like any other.
func (f *follower) isHarmless(err error) bool {
	return errors.Is(err, errOlder) && f.set.Load().Age(f.Clock()) <= f.MaxStaleness/2
}
