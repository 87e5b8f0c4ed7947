package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"gatehouse/internal/revocation"
	"gatehouse/internal/token"
)

const (
	loadTimeout = 30 * time.Second
	maxReport   = 256 << 20 // bytes: some millions of revocations
	pruneEvery  = time.Minute
)

// follower keeps a set up to date with those of Gatehouse's replicas. Behind a load balancer each poll may come to
// another one: it keeps the cursors of all, and what any of them knows. It asks by the service's own token or, where there
// are only public keys, follows the signed feed.
type follower struct {
	Options
	set     atomic.Pointer[revocation.Set] // never nil after the first poll
	client  *http.Client
	url     *url.URL
	keys    *token.ServiceKeys // nil: it follows the feed
	cursors revocation.Cursors
	public  *keys     // of the feed
	issued  time.Time // when the last feed was
	pruned  time.Time
}

func newFollower(o Options, client *http.Client, base *url.URL) (*follower, error) {
	keys, err := token.NewServiceKeys(o.Keys, o.Issuer)
	if err != nil {
		return nil, err
	}
	return &follower{Options: o, client: client, url: base.JoinPath("revocations"), keys: keys, pruned: o.Clock()}, nil
}

func newFeedFollower(o Options, client *http.Client, base *url.URL, public *keys) (*follower, error) {
	feed := base.JoinPath("revocations.jwt")
	if o.FeedURL != "" {
		var err error
		if feed, err = parseURL(o.FeedURL); err != nil {
			return nil, err
		}
	}
	return &follower{Options: o, client: client, url: feed, public: public, pruned: o.Clock()}, nil
}

// reach is where Gatehouse is, and how it is asked.
func reach(o Options) (*http.Client, *url.URL, error) {
	base, err := parseURL(o.URL)
	if err != nil {
		return nil, nil, err
	}
	client := *o.HTTPClient
	// Where a redirect leads nobody knows, and the token would go there.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client, base, nil
}

func parseURL(text string) (*url.URL, error) {
	address, err := url.Parse(text)
	if err != nil || address.Host == "" {
		return nil, errors.New("malformed URL") // which may have a password in it
	}
	return address, nil
}

// follow polls until ctx ends.
func (f *follower) follow(ctx context.Context) {
	// A replica that hangs must not use up the time in which another one could answer; a long report must get through
	// at last.
	patience, failing := f.MaxStaleness/2, false
	ticker := time.NewTicker(f.Poll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := f.poll(ctx, patience)
		switch {
		case ctx.Err() != nil:
			return
		case f.isHarmless(err):
			continue
		case err != nil:
			patience = min(2*patience, loadTimeout)
			if !failing {
				f.Log.Warn("verify: revocations cannot be polled", "error", err.Error())
			}
		default:
			patience = f.MaxStaleness / 2
			if failing {
				f.Log.Info("verify: revocations are polled again")
			}
		}
		f.prune(f.Clock())
		failing = err != nil
	}
}

// poll asks for what is new. It confirms the set as of its own beginning: what is revoked later is for the next one.
func (f *follower) poll(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := f.Clock()
	request, err := f.request(ctx, began)
	if err != nil {
		return err
	}
	response, err := f.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch set := f.set.Load(); {
	case response.StatusCode == http.StatusOK && f.public != nil:
		return f.takeFeed(began, response)
	case f.public != nil:
		return fmt.Errorf("GET /revocations.jwt: %s", response.Status)
	case response.StatusCode == http.StatusNotModified && set != nil:
		set.Confirm(began)
	case response.StatusCode == http.StatusOK:
		return f.take(began, response)
	default:
		return fmt.Errorf("GET /revocations: %s", response.Status)
	}
	return nil
}

func (f *follower) request(ctx context.Context, now time.Time) (*http.Request, error) {
	if f.public != nil {
		return http.NewRequestWithContext(ctx, http.MethodGet, f.url.String(), http.NoBody)
	}
	raw, err := f.keys.Issue(now, f.Service)
	if err != nil {
		return nil, err
	}
	address := *f.url
	address.RawQuery = url.Values{"since": f.cursors}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+raw)
	for _, cursor := range f.cursors {
		request.Header.Add("If-None-Match", `W/"`+cursor+`"`)
	}
	return request, nil
}

func (f *follower) take(began time.Time, response *http.Response) error {
	cursor := strings.Trim(strings.TrimPrefix(response.Header.Get("ETag"), "W/"), `"`)
	if cursor == "" {
		return errors.New("GET /revocations: no ETag")
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxReport))
	if err != nil {
		return err
	}
	var report revocation.Report
	if err := json.Unmarshal(body, &report); err != nil {
		return fmt.Errorf("GET /revocations: %w", err)
	}
	set, err := f.setFor(report)
	if err != nil {
		return err
	}
	if err := set.Merge(f.Clock(), report); err != nil {
		return err
	}
	set.Confirm(began)
	f.set.Store(set)
	f.cursors = f.cursors.With(cursor)
	return nil
}

// setFor is the set, or one with all that it has for longer, where a replica gives tokens a longer life than those before
// it. What the set has forgotten by then is in the report: it is that replica's first, and so a whole one.
func (f *follower) setFor(report revocation.Report) (*revocation.Set, error) {
	known := f.set.Load()
	if known != nil && known.Covers(report) {
		return known, nil
	}
	set, err := revocation.NewCopy(f.Clock(), report)
	if err == nil && known != nil {
		all, _ := known.Since()
		err = set.Merge(f.Clock(), all)
	}
	return set, err
}

func (f *follower) prune(now time.Time) {
	if now.Sub(f.pruned) >= pruneEvery {
		f.set.Load().Prune(now)
		f.pruned = now
	}
}
