package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"gatehouse.example/internal/follow"
	"gatehouse.example/internal/revocation"
	"gatehouse.example/internal/token"
)

const (
	loadTimeout = 30 * time.Second
	maxReport   = 256 << 20 // bytes: some millions of revocations
	pruneEvery  = time.Minute
)

// follower keeps a set of revocations up to date with those of Gatehouse's replicas. Behind a load
// balancer, each poll may reach another replica: so it keeps a cursor of each, and what any of them
// knows. Its polls carry the service's own token. Where there are only public keys, it polls the
// signed feed.
type follower struct {
	Options
	set      atomic.Pointer[revocation.Set] // never nil after the first poll
	client   *http.Client
	url      *url.URL
	keys     *token.ServiceKeys // nil: it follows the feed
	cursors  revocation.Cursors
	public   *keys     // of the feed
	secret   *keys     // where there is a secret: is told whether Gatehouse accepts it still
	issued   time.Time // when the last feed was
	pruned   time.Time
	patience time.Duration // for the next poll
}

func newFollower(o Options, client *http.Client, base *url.URL, secret *keys) (*follower, error) {
	keys, err := token.NewServiceKeys(o.Keys, o.Issuer)
	if err != nil {
		return nil, err
	}
	return &follower{
		Options: o, client: client, url: base.JoinPath("revocations"), keys: keys, secret: secret,
		pruned: o.Clock(), patience: o.MaxStaleness / 2,
	}, nil
}

func newFeedFollower(o Options, client *http.Client, base *url.URL, public *keys) (*follower, error) {
	feed := base.JoinPath("revocations.jwt")
	if o.FeedURL != "" {
		var err error
		if feed, err = parseURL(o.FeedURL); err != nil {
			return nil, err
		}
	}
	return &follower{
		Options: o, client: client, url: feed, public: public, pruned: o.Clock(), patience: o.MaxStaleness / 2,
	}, nil
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
	follow.Loop{
		Step: func(ctx context.Context, _ bool) error { return f.step(ctx) }, Every: f.Poll, Log: f.Log,
		Failing: "verify: revocations cannot be polled", Recovered: "verify: revocations are polled again",
	}.Run(ctx)
}

// step is a poll. A replica that hangs must not use up the time in which another could answer, and
// a long report must get through at last. So each failure makes the next poll more patient.
func (f *follower) step(ctx context.Context) error {
	err := f.poll(ctx, f.patience)
	if f.isHarmless(err) {
		return nil
	}
	if err != nil {
		f.patience = min(2*f.patience, loadTimeout)
	} else {
		f.patience = f.MaxStaleness / 2
	}
	f.prune(f.Clock())
	return err
}

// poll asks for what is new. It confirms the set as of its own beginning: what is revoked later is
// for the next poll.
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
	if f.public != nil {
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("GET /revocations.jwt: %s", response.Status)
		}
		return f.takeFeed(began, response)
	}
	switch set := f.set.Load(); {
	case response.StatusCode == http.StatusNotModified && set != nil:
		set.Confirm(began)
	case response.StatusCode == http.StatusOK:
		if err := f.take(began, response); err != nil {
			return err
		}
	default:
		return fmt.Errorf("GET /revocations: %s", response.Status)
	}
	return f.askSecret(began, response.Header)
}

// askSecret drops the secret where Gatehouse does: its key was revoked. A release that does not say
// goes on with it.
func (f *follower) askSecret(now time.Time, h http.Header) error {
	accepted := h.Get("Gatehouse-Algorithms")
	if accepted == "" {
		return nil
	}
	return f.secret.withdraw(now, !slices.Contains(strings.Split(accepted, ", "), string(token.HS256)))
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

// setFor returns the set that a report belongs in. It is the one there is, unless the replica gives
// its tokens a longer life than that set was made for. Then it is a new set that remembers for
// longer, with all that the old one has. What the old one has forgotten is in the report, which is
// this replica's first, and so a whole one.
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
